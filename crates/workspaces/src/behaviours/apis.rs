//! Schemas, exports, bindings and endpoint slices.

use strait_api::well_known::{BINDING_FINALIZER, CROSSING, PATH};
use strait_apiserver::behaviour::{Admission, Behaviour};
use strait_machinery::field::FieldError;
use strait_machinery::json::{Path, Value};
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::Scope;
use strait_types::ClusterName;

use super::{Context, check_status, keeps_finalizer, refuse};
use crate::kind::{Extras, resources};
use crate::policies::Check;

/// Groups that schemas may export without a dot in them (kcp's list).
const SHORT_GROUPS: [&str; 5] = ["apps", "batch", "extensions", "policy", "autoscaling"];

/// Groups that belong to the server.
const OWN_GROUPS: [&str; 7] = [
    "apis.kcp.io",
    "core.kcp.io",
    "tenancy.kcp.io",
    "topology.kcp.io",
    "relay.strait.dev",
    "requests.strait.dev",
    "tenancy.strait.dev",
];

impl Context {
    /// Forces the annotation that names an object's workspace by path.
    fn annotate_path(&self, admission: &Admission<'_>, object: &mut Value) {
        let annotations = object.make_object().object_mut("metadata").object_mut("annotations");
        match self.tenancy.path(admission.cluster) {
            Some(path) => annotations.insert(PATH, path.as_str()),
            None => annotations.remove(PATH),
        };
    }

    /// The export that `path` and `name` refer to, if the user may bind it. Whether it exists
    /// is not said to those who may not.
    fn bindable(&self, admission: &Admission<'_>, path: &str, name: &str) -> Option<ClusterName> {
        let cluster = self.tenancy.refer(path, admission.cluster)?;
        let check = Check {
            verb: "bind",
            group: "apis.kcp.io",
            resource: "apiexports",
            name,
            ..Check::default()
        };
        self.policies.allows(&cluster, admission.user, &check).then_some(cluster)
    }
}

fn invalid(admission: &Admission<'_>, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
    let resource = admission.resource;
    Err(Status::invalid(&resource.gvr.group, resource.kind(), name, errors))
}

/// APIResourceSchema.
pub(super) struct Schemas {
    context: Context,
}

impl Schemas {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }

    fn check(object: &Value) -> Vec<FieldError> {
        let text = |path: &[&str]| object.str_at(path).unwrap_or_default();
        let (group, plural) = (text(&["spec", "group"]), text(&["spec", "names", "plural"]));
        let mut errors = Vec::new();
        let suffix = format!(".{plural}.{}", if group.is_empty() { "core" } else { group });
        let name = text(&["metadata", "name"]);
        if name.strip_suffix(&suffix).is_none_or(|prefix| !is_prefix(prefix)) {
            let detail = format!("must be a lower-case word followed by {suffix:?}");
            errors.push(FieldError::invalid(Path::of(&["metadata", "name"]), name, detail));
        }
        let path = || Path::of(&["spec", "group"]);
        if !group.contains('.') && !SHORT_GROUPS.contains(&group) {
            errors.push(FieldError::invalid(
                path(),
                group,
                "should be a domain with at least one dot",
            ));
        }
        if OWN_GROUPS.contains(&group) {
            errors.push(FieldError::forbidden(path(), "is a reserved group"));
        }
        let approved = object.at(&["metadata", "annotations", "api-approved.kubernetes.io"]);
        if (group.ends_with(".k8s.io") || group.ends_with(".kubernetes.io")) && approved.is_none() {
            let detail =
                "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
            errors.push(FieldError::required(Path::of(&["metadata", "annotations"]), detail));
        }
        let versions = object.array_at(&["spec", "versions"]);
        let stored =
            versions.iter().filter(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
        if stored.count() != 1 {
            let detail = "must have exactly one version marked as storage version";
            errors.push(FieldError::invalid(Path::of(&["spec", "versions"]), "", detail));
        }
        if versions.len() > 1 {
            let detail = "more than one version is not served by this release";
            errors.push(FieldError::forbidden(Path::of(&["spec", "versions"]), detail));
        }
        for (at, version) in versions.iter().enumerate() {
            if version.at(&["subresources", "scale"]).is_some_and(|scale| !scale.is_null()) {
                let path =
                    Path::of(&["spec", "versions"]).index(at).field("subresources").field("scale");
                errors.push(FieldError::forbidden(path, "is not served by this release"));
            }
        }
        let spec = object.get("spec").unwrap_or(&Value::Null);
        errors.extend(resources(spec, "", &Extras::none(), false).err().unwrap_or_default());
        errors
    }
}

fn is_prefix(prefix: &str) -> bool {
    strait_types::is_dns1123_label(prefix) && prefix.starts_with(|c: char| c.is_ascii_lowercase())
}

impl Behaviour for Schemas {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if old.is_some() {
            return Ok(());
        }
        invalid(admission, object, &Self::check(object))
    }

    /// A schema stays while an export of the same workspace lists it.
    fn admit_delete(&self, admission: &Admission<'_>, old: &Object) -> Result<(), Status> {
        let tenancy = &self.context.tenancy;
        let leaving = tenancy.cluster(admission.cluster).is_none_or(|cluster| cluster.deleting);
        if leaving {
            return Ok(());
        }
        let value = old.to_value();
        let name = value.str_at(&["metadata", "name"]).unwrap_or_default();
        let exports = tenancy.store().snapshot(&tenancy.ids().exports);
        let scope = Scope::Cluster(admission.cluster.clone());
        let user = exports.iter(&scope).find(|(_, _, export)| {
            let export = export.to_value();
            export
                .array_at(&["spec", "resources"])
                .iter()
                .any(|r| r.str_at(&["schema"]) == Some(name))
        });
        match user {
            Some((_, export, _)) => Err(Status::conflict(
                &admission.resource.group_resource(),
                name,
                &format!("it is exported by the APIExport {:?}", export.name()),
            )),
            None => Ok(()),
        }
    }
}

/// APIExport.
pub(super) struct Exports {
    context: Context,
}

impl Exports {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Behaviour for Exports {
    fn prepare(
        &self,
        admission: &Admission<'_>,
        object: &mut Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        self.context.annotate_path(admission, object);
        Ok(())
    }

    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        check_status(admission, object)?;
        let mut errors = Vec::new();
        for (at, resource) in object.array_at(&["spec", "resources"]).iter().enumerate() {
            let text = |key: &str| resource.str_at(&[key]).unwrap_or_default();
            let path = Path::of(&["spec", "resources"]).index(at);
            let group = if text("group").is_empty() { "core" } else { text("group") };
            let suffix = format!(".{}.{group}", text("name"));
            if !text("schema").ends_with(&suffix) {
                let detail = format!("must end in {suffix:?}");
                errors.push(FieldError::invalid(path.field("schema"), text("schema"), detail));
            }
            let storage =
                |kind: &str| resource.at(&["storage", kind]).is_some_and(|s| !s.is_null());
            if storage("virtual") {
                let path = path.field("storage").field("virtual");
                errors.push(FieldError::forbidden(path, "is not served by this release"));
            } else if !storage("crd") {
                errors.push(FieldError::required(path.field("storage"), "crd must be set"));
            }
        }
        invalid(admission, object, &errors)
    }
}

/// APIBinding.
pub(super) struct Bindings {
    context: Context,
}

impl Bindings {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }
}

fn reference(object: &Value) -> (&str, &str) {
    let text = |key: &str| object.str_at(&["spec", "reference", "export", key]).unwrap_or_default();
    (text("path"), text("name"))
}

impl Behaviour for Bindings {
    fn prepare(
        &self,
        admission: &Admission<'_>,
        object: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        self.context.annotate_path(admission, object);
        // Whether objects are crossings is the provider's to say; the controller copies it.
        let kept = old.and_then(|old| old.at(&["metadata", "annotations", CROSSING])).cloned();
        let metadata = object.make_object().object_mut("metadata");
        let annotations = metadata.object_mut("annotations");
        match kept {
            Some(kept) => annotations.insert(CROSSING, kept),
            None => annotations.remove(CROSSING),
        };
        if old.is_none() {
            let finalizers = metadata.entry("finalizers", || Value::Array(Vec::new()));
            if let Value::Array(finalizers) = finalizers
                && !finalizers.iter().any(|own| own.as_str() == Some(BINDING_FINALIZER))
            {
                finalizers.push(BINDING_FINALIZER.into());
            }
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
            return keeps_finalizer(admission, object, old, BINDING_FINALIZER);
        }
        let (path, name) = reference(object);
        if name.is_empty() {
            let path = Path::of(&["spec", "reference", "export"]);
            return invalid(admission, object, &[FieldError::required(path, "")]);
        }
        if self.context.bindable(admission, path, name).is_none() {
            let export = if path.is_empty() { name.to_owned() } else { format!("{path}:{name}") };
            let why =
                format!("unable to create APIBinding: no permission to bind to export {export}");
            return Err(refuse(admission, object, &why));
        }
        Ok(())
    }
}

/// APIExportEndpointSlice.
pub(super) struct Slices {
    context: Context,
}

impl Slices {
    pub(super) const fn new(context: Context) -> Self {
        Self { context }
    }
}

impl Behaviour for Slices {
    fn admit(
        &self,
        admission: &Admission<'_>,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        check_status(admission, object)?;
        if object.at(&["spec", "partition"]).is_some_and(|partition| !partition.is_null()) {
            let path = Path::of(&["spec", "partition"]);
            let error = FieldError::forbidden(path, "is not served by this release");
            return invalid(admission, object, &[error]);
        }
        if old.is_some() {
            return Ok(());
        }
        let text = |key: &str| object.str_at(&["spec", "export", key]).unwrap_or_default();
        if self.context.bindable(admission, text("path"), text("name")).is_none() {
            let why = "no permission to bind to the export";
            return Err(refuse(admission, object, why));
        }
        Ok(())
    }
}
