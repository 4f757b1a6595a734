//! Workspaces and their types.

use strait_api::well_known::{CHOSEN_CLUSTER, LOGICAL_CLUSTER_FINALIZER, OWNER, PATH, SHARD};
use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_auth::User;
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_runtime::Entropy;
use strait_store::{Key, ObjectName, ResourceId};

use super::{Context, check_status, keeps_finalizer, refuse};
use crate::policies::Check;

/// Where the types that every hub has are.
pub(crate) const ROOT_TYPE_PATH: &str = "root";

/// The type that a workspace has if it names none.
const DEFAULT_TYPE: &str = "universal";

/// Characters of a new logical cluster's name: some 82 bits.
const CLUSTER_NAME_LENGTH: usize = 16;

/// A name for a new logical cluster.
fn cluster_name(entropy: &dyn Entropy) -> String {
    const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut random = [0; CLUSTER_NAME_LENGTH * 2];
    entropy.fill(&mut random);
    let pairs = random.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    pairs.map(|number| char::from(ALPHABET[usize::from(number % 36)])).collect()
}

/// A user as annotations and `createdBy` hold it.
pub(crate) fn user_info(user: &User) -> Value {
    object! {
        "username": &*user.name,
        "groups": user.groups.iter().map(|group| &**group).collect::<Value>(),
    }
}

fn invalid(admission: &Admission<'_>, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
    Err(Status::invalid("tenancy.kcp.io", admission.resource.kind(), name, errors))
}

/// Workspace.
pub(super) struct Workspaces {
    context: Context,
}

impl Workspaces {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }

    /// Whether the type exists and the user may use it; one answer for both.
    fn may_use(&self, admission: &Admission<'_>, name: &str, path: &str) -> bool {
        let Some(cluster) = self.context.tenancy.refer(path, admission.cluster) else {
            return false;
        };
        let identity = admission.resource.id.identity();
        let types = ResourceId::new("tenancy.kcp.io", "workspacetypes", identity);
        if !strait_types::is_path_segment(name) {
            return false;
        }
        let key = Key::new(types, cluster.clone(), ObjectName::cluster_scoped(name));
        let check = Check {
            verb: "use",
            group: "tenancy.kcp.io",
            resource: "workspacetypes",
            name,
            ..Check::default()
        };
        self.context.tenancy.find(&key).is_some()
            && self.context.policies.allows(&cluster, admission.user, &check)
    }
}

impl Behaviour for Workspaces {
    fn prepare(
        &self,
        admission: &Admission<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if old.is_some() {
            return Ok(());
        }
        for field in ["cluster", "URL"] {
            if object.at(&["spec", field]).is_some() {
                let why = format!("spec.{field} is set by the server");
                return Err(refuse(admission, object, &why));
            }
        }
        if object.str_at(&["spec", "type", "name"]).is_none() {
            object.set(&["spec", "type", "name"], DEFAULT_TYPE);
            object.set(&["spec", "type", "path"], ROOT_TYPE_PATH);
        }
        if object.str_at(&["spec", "type", "path"]).unwrap_or_default().is_empty() {
            object.set(&["spec", "type", "path"], ROOT_TYPE_PATH);
        }
        let metadata = object.make_object().object_mut("metadata");
        let annotations = metadata.object_mut("annotations");
        annotations.insert(OWNER, user_info(admission.user).to_string());
        annotations.insert(CHOSEN_CLUSTER, cluster_name(admission.registry.entropy()));
        annotations.insert(SHARD, "root");
        let finalizers = metadata.entry("finalizers", || Value::Array(Vec::new()));
        if let Value::Array(finalizers) = finalizers {
            finalizers.retain(|own| own.as_str() != Some(LOGICAL_CLUSTER_FINALIZER));
            finalizers.push(LOGICAL_CLUSTER_FINALIZER.into());
        }
        Ok(())
    }

    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        check_status(admission, object)?;
        if let Some(old) = old {
            return unchanged(admission, object, old);
        }
        let mut errors = Vec::new();
        for field in ["mount", "location"] {
            if object.at(&["spec", field]).is_some_and(|value| !value.is_null()) {
                let path = Path::of(&["spec", field]);
                errors.push(FieldError::forbidden(path, "is not served by this release"));
            }
        }
        let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
        if !strait_types::is_dns1123_label(name) {
            let detail = "must be a DNS label: it becomes part of the workspace's path";
            errors.push(FieldError::invalid(Path::of(&["metadata", "name"]), name, detail));
        } else if self.context.tenancy.path_of(admission.cluster).join(name).is_err() {
            let detail = "the path of the workspace would be too long";
            errors.push(FieldError::invalid(Path::of(&["metadata", "name"]), name, detail));
        }
        invalid(admission, object, &errors)?;
        let text = |key: &str| object.str_at(&["spec", "type", key]).unwrap_or_default();
        if !self.may_use(admission, text("name"), text("path")) {
            let why = format!(
                "unable to use workspacetype {}:{}: missing verb='use' permission on workspacetype",
                text("path"),
                text("name")
            );
            return Err(refuse(admission, object, &why));
        }
        Ok(())
    }
}

/// What only the server changes of a workspace.
fn unchanged(admission: &Admission<'_>, object: &Value, old: &Value) -> Result<(), Status> {
    for field in ["cluster", "URL"] {
        if old.at(&["spec", field]) != object.at(&["spec", field]) {
            return Err(refuse(admission, object, &format!("spec.{field} is immutable")));
        }
    }
    for key in [OWNER, CHOSEN_CLUSTER, SHARD] {
        let path = ["metadata", "annotations", key];
        if old.at(&path) != object.at(&path) {
            return Err(refuse(admission, object, &format!("annotation {key} is immutable")));
        }
    }
    keeps_finalizer(admission, object, old, LOGICAL_CLUSTER_FINALIZER)
}

/// WorkspaceType.
pub(super) struct Types {
    context: Context,
}

impl Types {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Behaviour for Types {
    fn prepare(
        &self,
        admission: &Admission<'_>,
        object: &mut Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        let annotations = object.make_object().object_mut("metadata").object_mut("annotations");
        if let Some(path) = self.context.tenancy.path(admission.cluster) {
            annotations.insert(PATH, path.as_str());
        }
        Ok(())
    }

    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        check_status(admission, object)?;
        let mut errors = Vec::new();
        for field in [
            "initializer",
            "terminator",
            "extend",
            "limitAllowedChildren",
            "limitAllowedParents",
            "initializerPermissions",
            "terminatorPermissions",
            "authenticationConfigurations",
            "defaultChildWorkspaceType",
        ] {
            let value = object.at(&["spec", field]);
            if value.is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false))) {
                let path = Path::of(&["spec", field]);
                errors.push(FieldError::forbidden(path, "is not served by this release"));
            }
        }
        invalid(admission, object, &errors)?;
        let list = |value: Option<&Value>| -> Vec<(String, String)> {
            let bindings = value.map(|value| value.array_at(&["spec", "defaultAPIBindings"]));
            let text =
                |binding: &Value, key: &str| binding.str_at(&[key]).unwrap_or_default().to_owned();
            bindings
                .unwrap_or_default()
                .iter()
                .map(|b| (text(b, "path"), text(b, "export")))
                .collect()
        };
        let before = list(old);
        for (path, export) in list(Some(object)) {
            if before.contains(&(path.clone(), export.clone())) {
                continue;
            }
            let check = Check {
                verb: "bind",
                group: "apis.kcp.io",
                resource: "apiexports",
                name: &export,
                ..Check::default()
            };
            let cluster = self.context.tenancy.refer(&path, admission.cluster);
            let allowed = cluster.is_some_and(|cluster| {
                self.context.policies.allows(&cluster, admission.user, &check)
            });
            if !allowed {
                let why = format!("no permission to bind to export {path}:{export}");
                return Err(refuse(admission, object, &why));
            }
        }
        Ok(())
    }
}
