//! Roles and bindings: nobody grants what they do not have
//! (`pkg/registry/rbac/escalation_check.go`).

use std::sync::Arc;

use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_auth::rbac::{Rule, covers};
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName};
use strait_types::ClusterName;

use crate::policies::{Check, Policies};

pub(super) struct Rbac {
    policies: Arc<Policies>,
}

impl Rbac {
    pub(super) const fn new(policies: Arc<Policies>) -> Self {
        Self { policies }
    }

    /// The rules of the role that a binding refers to, the workspace's own before the
    /// system's; none where there is no such role.
    fn referred(&self, admission: &Admission<'_>, object: &Value) -> Option<Vec<Rule>> {
        let ids = self.policies.tenancy().ids();
        let name = object.str_at(&["roleRef", "name"])?;
        if !strait_types::is_path_segment(name) {
            return None;
        }
        let find = |cluster: &ClusterName, namespace: Option<&str>| -> Option<Arc<Object>> {
            let resource = if namespace.is_some() { &ids.roles } else { &ids.cluster_roles };
            let name = ObjectName::new(namespace, name);
            self.policies.tenancy().find(&Key::new(resource.clone(), cluster.clone(), name))
        };
        let role = match object.str_at(&["roleRef", "kind"])? {
            "Role" => find(admission.cluster, admission.namespace),
            _ => find(admission.cluster, None).or_else(|| find(&ClusterName::system_admin(), None)),
        }?;
        Some(role.to_value().array_at(&["rules"]).iter().map(Rule::of).collect())
    }

    fn holds(&self, admission: &Admission<'_>, wanted: &[Rule]) -> Result<(), String> {
        let namespace = admission.namespace.unwrap_or_default();
        let held = self.policies.of(admission.cluster).rules(admission.user, namespace);
        let missing = covers(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let groups: Vec<String> =
            admission.user.groups.iter().map(|group| format!("{group:?}")).collect();
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        Err(format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            admission.user.name,
            groups.join(" "),
            lines.join("\n")
        ))
    }
}

impl Behaviour for Rbac {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if admission.user.is_master() {
            return Ok(());
        }
        let is_binding = object.get("roleRef").is_some();
        let fields: &[&str] =
            if is_binding { &["subjects", "roleRef"] } else { &["rules", "aggregationRule"] };
        let changed =
            old.is_none_or(|old| fields.iter().any(|field| old.get(field) != object.get(field)));
        if !changed {
            return Ok(());
        }
        let may = |verb: &str, resource: &str, name: &str| {
            self.policies.allows(
                admission.cluster,
                admission.user,
                &Check {
                    verb,
                    group: "rbac.authorization.k8s.io",
                    resource,
                    namespace: admission.namespace.unwrap_or_default(),
                    name,
                    ..Check::default()
                },
            )
        };
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        let wanted = if is_binding {
            let role = object.str_at(&["roleRef", "name"]).unwrap_or_default();
            let kind = object.str_at(&["roleRef", "kind"]).unwrap_or_default();
            if may("bind", if kind == "Role" { "roles" } else { "clusterroles" }, role) {
                return Ok(());
            }
            let Some(rules) = self.referred(admission, object) else {
                let resource = if kind == "Role" { "roles" } else { "clusterroles" };
                let resource =
                    strait_types::GroupResource::new("rbac.authorization.k8s.io", resource);
                return Err(Status::not_found(&resource, role));
            };
            rules
        } else {
            if may("escalate", &admission.resource.gvr.resource, name) {
                return Ok(());
            }
            object.array_at(&["rules"]).iter().map(Rule::of).collect()
        };
        self.holds(admission, &wanted).map_err(|why| super::refuse(admission, object, &why))
    }
}
