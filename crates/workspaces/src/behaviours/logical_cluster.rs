//! The LogicalCluster object: made, moved on and removed by the hub alone.

use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;

pub(super) struct LogicalClusters;

impl Behaviour for LogicalClusters {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if admission.user.is_master() {
            return Ok(());
        }
        let Some(old) = old else {
            return Err(super::refuse(admission, object, "LogicalCluster cannot be created"));
        };
        if !admission.subresource.is_empty() {
            return Err(super::refuse(admission, object, "only the server changes the status"));
        }
        for field in ["initializers", "terminators", "owner", "directlyDeletable"] {
            if old.at(&["spec", field]) != object.at(&["spec", field]) {
                let why = format!("spec.{field} is immutable");
                return Err(super::refuse(admission, object, &why));
            }
        }
        Ok(())
    }

    fn admit_delete(&self, admission: &Admission<'_>, old: &Object) -> Result<(), Status> {
        let value = old.to_value();
        let direct = value.at(&["spec", "directlyDeletable"]).and_then(Value::as_bool);
        if admission.user.is_master() || direct == Some(true) {
            return Ok(());
        }
        let why = "LogicalCluster cannot be deleted; delete the Workspace that owns it";
        Err(super::refuse(admission, &value, why))
    }
}
