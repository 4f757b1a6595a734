//! Namespaces: what each begins with, and how it ends.

use std::sync::Arc;

use strait_apiserver::behaviour::{Admission, Behaviour, Companions};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName, ResourceId};

use crate::seed::Seed;

/// Namespaces that stay as long as their workspace.
const PERMANENT: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct Namespaces {
    ca: Arc<str>,
}

impl Namespaces {
    pub(super) const fn new(ca: Arc<str>) -> Self {
        Self { ca }
    }
}

impl Behaviour for Namespaces {
    fn admit_delete(&self, admission: &Admission<'_>, old: &Object) -> Result<(), Status> {
        let value = old.to_value();
        let name = value.str_at(&["metadata", "name"]).unwrap_or_default();
        if PERMANENT.contains(&name) {
            let why = "this namespace may not be deleted";
            return Err(super::refuse(admission, &value, why));
        }
        Ok(())
    }

    fn begin_deletion(&self, object: &mut Value) -> bool {
        object.set(&["status", "phase"], "Terminating");
        self.must_stay(object)
    }

    fn must_stay(&self, object: &Value) -> bool {
        !object.array_at(&["spec", "finalizers"]).is_empty()
    }

    /// Every namespace has a service account and the CA from its first moment.
    fn companions(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        _: &Key,
    ) -> Result<Companions, Status> {
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        let seed = Seed::new(admission.registry, admission.cluster);
        Ok(Companions { puts: content(&seed, name, &self.ca)?, guards: Vec::new() })
    }
}

/// What a namespace begins with.
pub(crate) fn content(
    seed: &Seed<'_>,
    namespace: &str,
    ca: &str,
) -> Result<Vec<strait_store::Put>, Status> {
    let account = ResourceId::new("", "serviceaccounts", "");
    let map = ResourceId::new("", "configmaps", "");
    Ok(vec![
        seed.put(
            &account,
            &ObjectName::namespaced(namespace, "default"),
            object! {"apiVersion": "v1", "kind": "ServiceAccount"},
        )?,
        seed.put(
            &map,
            &ObjectName::namespaced(namespace, "kube-root-ca.crt"),
            object! {"apiVersion": "v1", "kind": "ConfigMap", "data": object!{"ca.crt": ca}},
        )?,
    ])
}
