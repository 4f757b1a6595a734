//! What data cannot say of the kinds that every workspace has.

mod apis;
mod logical_cluster;
mod namespace;
mod rbac;
mod workspace;

use std::collections::HashMap;
use std::sync::Arc;

use strait_api::kinds::{KindFile, SYSTEM};
use strait_apiserver::behaviour::{Admission, Behaviour, Ordinary};
use strait_apiserver::catalog::Resource;
use strait_machinery::json::Value;
use strait_machinery::status::Status;
use strait_machinery::{builtin, yaml};
use strait_types::GroupResource;

use crate::kind::{Extras, resources};
use crate::policies::Policies;
use crate::tenancy::Tenancy;

pub(crate) use self::namespace::content as namespace_content;
pub(crate) use self::workspace::ROOT_TYPE_PATH;

/// What the hooks look at.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) tenancy: Tenancy,
    pub(crate) policies: Arc<Policies>,
    /// PEM of the hub's CA, for `kube-root-ca.crt`.
    pub(crate) ca: Arc<str>,
}

/// The kinds that every workspace has.
pub(crate) fn system_resources(context: &Context) -> Vec<Arc<Resource>> {
    let builtin = builtin::kinds().iter().map(|kind| {
        let behaviour: Arc<dyn Behaviour> = match (kind.group, kind.kind) {
            ("", "Namespace") => Arc::new(namespace::Namespaces::new(context.ca.clone())),
            ("rbac.authorization.k8s.io", _) => Arc::new(rbac::Rbac::new(context.policies.clone())),
            _ => Arc::new(Ordinary),
        };
        Arc::new(Resource::of_builtin(kind, behaviour))
    });
    let own = SYSTEM.iter().flat_map(|file| {
        let behaviour: Arc<dyn Behaviour> = match file.name {
            "logicalclusters.core.kcp.io" => Arc::new(logical_cluster::LogicalClusters),
            "apiresourceschemas.apis.kcp.io" => Arc::new(apis::Schemas::new(context.clone())),
            "apiexports.apis.kcp.io" => Arc::new(apis::Exports::new(context.clone())),
            "apibindings.apis.kcp.io" => Arc::new(apis::Bindings::new(context.clone())),
            _ => Arc::new(apis::Slices::new(context.clone())),
        };
        let extras = Extras { behaviour, ..Extras::none() };
        resources(&spec_of(file), "", &extras, false).expect("the files are read by tests")
    });
    builtin.chain(own).collect()
}

/// The hooks of the kinds of the export `tenancy.kcp.io`.
pub(crate) fn tenancy_extras(context: &Context) -> HashMap<GroupResource, Extras> {
    let named = |resource: &str| GroupResource::new("tenancy.kcp.io", resource);
    let extras = |behaviour: Arc<dyn Behaviour>| Extras { behaviour, ..Extras::none() };
    HashMap::from([
        (named("workspaces"), extras(Arc::new(workspace::Workspaces::new(context.clone())))),
        (named("workspacetypes"), extras(Arc::new(workspace::Types::new(context.clone())))),
    ])
}

/// The spec in a kind file.
///
/// # Panics
/// If the file is not YAML; the files are part of the program and read by its tests.
pub(crate) fn spec_of(file: &KindFile) -> Value {
    first_document(file.text)
}

/// The 403 for a write that only the server itself may do.
fn refuse(admission: &Admission<'_>, object: &Value, why: &str) -> Status {
    let name = object.str_at(&["metadata", "name"]).unwrap_or_default();
    Status::forbidden(&admission.resource.group_resource(), name, why)
}

/// Refuses to let go of a finalizer that only the server removes.
fn keeps_finalizer(
    admission: &Admission<'_>,
    object: &Value,
    old: &Value,
    finalizer: &str,
) -> Result<(), Status> {
    let has = |value: &Value| {
        let finalizers = value.array_at(&["metadata", "finalizers"]);
        finalizers.iter().any(|own| own.as_str() == Some(finalizer))
    };
    if has(old) && !has(object) {
        let why = format!("the finalizer {finalizer} is removed by the server");
        return Err(refuse(admission, object, &why));
    }
    Ok(())
}

/// Refuses a write of the status by anybody who may not do everything.
fn check_status(admission: &Admission<'_>, object: &Value) -> Result<(), Status> {
    if admission.subresource == "status" && !admission.user.is_master() {
        return Err(refuse(admission, object, "only the server changes the status"));
    }
    Ok(())
}

fn first_document(text: &str) -> Value {
    let documents = yaml::parse(text).expect("the files are read by tests");
    documents.into_iter().next().map(|document| document.value).unwrap_or_default()
}
