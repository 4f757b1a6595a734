//! The LogicalCluster object: made, moved on and removed by the hub alone.

use strait_api::well_known::{OWNER, PATH, PHASE_LABEL, RESOURCE_BINDINGS, SHARD, TYPE};
use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_machinery::json::{Path, Value};
use strait_machinery::object::Object;
use strait_machinery::status::Status;

/// Where the hub reads what a workspace is; its users may not say it.
const FIXED: [&[&str]; 12] = [
    &["spec", "initializers"],
    &["spec", "terminators"],
    &["spec", "owner"],
    &["spec", "createdBy"],
    &["spec", "directlyDeletable"],
    &["metadata", "finalizers"],
    &["metadata", "labels", PHASE_LABEL],
    &["metadata", "annotations", PATH],
    &["metadata", "annotations", TYPE],
    &["metadata", "annotations", SHARD],
    &["metadata", "annotations", OWNER],
    &["metadata", "annotations", RESOURCE_BINDINGS],
];

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
        for path in FIXED {
            if old.at(path) != object.at(path) {
                let why = format!("{} is immutable", Path::of(path));
                return Err(super::refuse(admission, object, &why));
            }
        }
        Ok(())
    }

    fn admit_delete(&self, admission: &Admission<'_>, old: &Object) -> Result<(), Status> {
        let value = old.to_value();
        if value.at(&["spec", "owner"]).is_none() {
            let why = "LogicalCluster cannot be deleted; it is the top of all workspaces";
            return Err(super::refuse(admission, &value, why));
        }
        let direct = value.at(&["spec", "directlyDeletable"]).and_then(Value::as_bool);
        if admission.user.is_master() || direct == Some(true) {
            return Ok(());
        }
        let why = "LogicalCluster cannot be deleted; delete the Workspace that owns it";
        Err(super::refuse(admission, &value, why))
    }
}
