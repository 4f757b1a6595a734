//! What a logical cluster begins with.
//!
//! It is all there at once, in one group commit: whoever sees a workspace Ready finds its
//! namespaces, its administrator and its default bindings.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use strait_api::well_known::{
    BINDING_FINALIZER, DELETION_FINALIZER, LOGICAL_CLUSTER, OWNER, PATH, PHASE_LABEL, SHARD, TYPE,
    WORKSPACE_ADMIN,
};
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{Key, ObjectName, Put, ResourceId};
use strait_types::{ClusterName, WorkspacePath};

use crate::System;
use crate::behaviours::namespace_content;
use crate::binding::BoundResource;
use crate::controllers::{bound_resource, bound_status};
use crate::copies;
use crate::locks::Locks;
use crate::seed::{self, Seed};

/// Namespaces of every logical cluster.
pub(crate) const NAMESPACES: [&str; 4] =
    ["default", "kube-system", "kube-public", "kube-node-lease"];

/// A namespace in use.
pub(crate) fn namespace(name: &str) -> Value {
    object! {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": object!{"labels": object!{"kubernetes.io/metadata.name": name}},
        "spec": object!{"finalizers": vec!["kubernetes".into()]},
        "status": object!{"phase": "Active"},
    }
}

/// The secret that holds an export's identity key.
pub(crate) fn identity_secret(key: &str) -> Value {
    object! {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "data": object!{"key": STANDARD.encode(key)},
    }
}

/// The endpoint slice that comes with an export and goes with it.
pub(crate) fn endpoint_slice(export: &str, owner: &Value) -> Value {
    let mut slice = object! {
        "apiVersion": "apis.kcp.io/v1alpha1",
        "kind": "APIExportEndpointSlice",
        "metadata": object!{"generation": 1},
        "spec": object!{"export": object!{"name": export}},
    };
    if let Some(path) = owner.str_at(&["metadata", "annotations", PATH]) {
        slice.set(&["spec", "export", "path"], path);
        slice.set(&["metadata", "annotations", PATH], path);
    }
    if let Some(uid) = owner.str_at(&["metadata", "uid"]) {
        let reference = object! {
            "apiVersion": "apis.kcp.io/v1alpha2",
            "kind": "APIExport",
            "name": export,
            "uid": uid,
        };
        slice.set(&["metadata", "ownerReferences"], vec![reference]);
    }
    slice
}

/// A ClusterRoleBinding of `cluster-admin` to one user.
pub(crate) fn workspace_admin(user: &str) -> Value {
    object! {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "roleRef": object!{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": vec![object!{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "User",
            "name": user,
        }],
    }
}

/// The LogicalCluster object of a cluster that is ready.
pub(crate) fn logical_cluster_object(
    (cluster, path): (&ClusterName, &WorkspacePath),
    kind: &str,
    url: &str,
    owner: Option<Value>,
    created_by: Option<Value>,
) -> Value {
    let mut value = object! {
        "apiVersion": "core.kcp.io/v1alpha1",
        "kind": "LogicalCluster",
        "metadata": object!{
            "generation": 1,
            "annotations": object!{},
            "labels": object!{},
        },
        "spec": object!{"directlyDeletable": false},
        "status": object!{"phase": "Ready", "URL": format!("{url}/clusters/{cluster}")},
    };
    value.set(&["metadata", "annotations", PATH], path.as_str());
    value.set(&["metadata", "annotations", TYPE], kind);
    value.set(&["metadata", "annotations", SHARD], "root");
    value.set(&["metadata", "labels", PHASE_LABEL], "Ready");
    if let Some(owner) = owner {
        value.set(&["spec", "owner"], owner);
        value.set(&["metadata", "finalizers"], vec![Value::from(DELETION_FINALIZER)]);
    }
    if let Some(user) = created_by {
        value.set(&["spec", "createdBy"], user);
    }
    value
}

/// Makes the logical cluster of a workspace, unless it is there.
///
/// # Errors
/// The store takes no write, or the cluster belongs to another workspace.
pub(crate) async fn logical_cluster(
    system: &Arc<System>,
    cluster: &ClusterName,
    path: &WorkspacePath,
    workspace_key: &Key,
    workspace: &Value,
) -> Result<(), Status> {
    let own = system.tenancy.ids().logical_cluster(cluster);
    let uid = workspace.str_at(&["metadata", "uid"]).unwrap_or_default();
    if let Some(existing) = system.tenancy.find(&own) {
        let existing = existing.to_value();
        if existing.str_at(&["spec", "owner", "uid"]) == Some(uid) {
            return Ok(());
        }
        return Err(Status::internal("the chosen logical cluster belongs to another workspace"));
    }
    let text = |path: &[&str]| workspace.str_at(path).unwrap_or_default();
    let owner = object! {
        "apiVersion": "tenancy.kcp.io/v1alpha1",
        "resource": "workspaces",
        "name": workspace_key.name.name(),
        "cluster": workspace_key.cluster.as_str(),
        "uid": uid,
    };
    let created_by = parse(text(&["metadata", "annotations", OWNER]).as_bytes()).ok();
    let kind = format!("{}:{}", text(&["spec", "type", "path"]), text(&["spec", "type", "name"]));
    let object = logical_cluster_object(
        (cluster, path),
        &kind,
        &system.url,
        Some(owner),
        created_by.clone(),
    );
    let user = created_by.as_ref().and_then(|user| user.str_at(&["username"]));
    // The workspace must not be deleted in between: nothing would ever remove the cluster.
    let version = text(&["metadata", "resourceVersion"]).parse().unwrap_or_default();
    let guard = Compare { key: workspace_key.clone(), expect: Expect::Revision(version) };
    let bindings = default_bindings(system, (cluster, path), workspace).await?;
    found(system, cluster, object, user, bindings, vec![guard]).await
}

/// Stores a logical cluster with all that it begins with. The LogicalCluster object is in the
/// last transaction: if it is there, everything is.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn found(
    system: &Arc<System>,
    cluster: &ClusterName,
    mut object: Value,
    admin: Option<&str>,
    bindings: Vec<NewBinding>,
    mut guards: Vec<Compare>,
) -> Result<(), Status> {
    let registry = &system.registry;
    let ids = system.tenancy.ids();
    let seed = Seed::new(registry, cluster);
    let mut locks = Locks::default();
    let mut batches: Vec<Vec<Put>> = Vec::new();
    for name in NAMESPACES {
        let object_name = ObjectName::cluster_scoped(name);
        let mut puts = vec![seed.put(&ids.namespaces, &object_name, namespace(name))?];
        puts.extend(namespace_content(&seed, name, &system.ca)?);
        batches.push(puts);
    }
    // One of each resource fits into a transaction: what is alone of its kind goes along.
    if let Some(admin) = admin {
        let name = ObjectName::cluster_scoped(WORKSPACE_ADMIN);
        batches[0].push(seed.put(&ids.cluster_role_bindings, &name, workspace_admin(admin))?);
    }
    for (at, mut new) in bindings.into_iter().enumerate() {
        guards.append(&mut new.guards);
        let binding = new.put(system, &seed, &mut locks)?;
        if at < batches.len() {
            batches[at].push(binding);
        } else {
            batches.push(vec![binding]);
        }
    }
    locks.write(&mut object);
    let last =
        seed.put(&ids.logical_clusters, &ObjectName::cluster_scoped(LOGICAL_CLUSTER), object)?;
    // All but the last may be there from an attempt that did not finish. The writer keeps the
    // order in which one cluster's transactions were handed over.
    let writes =
        batches.into_iter().map(|puts| seed::create(registry, cluster, puts, guards.clone()));
    let all = futures_util::future::join_all(writes).await;
    for result in all {
        result?;
    }
    if seed::create(registry, cluster, vec![last], guards).await?.is_none() {
        return Err(seed::changed("the workspace"));
    }
    Ok(())
}

/// A binding that is about to be made, with what it brings from its first moment.
pub(crate) struct NewBinding {
    name: String,
    value: Value,
    provider: ClusterName,
    resources: Vec<(BoundResource, String, String)>,
    crossing: bool,
    /// What must hold when it is stored.
    guards: Vec<Compare>,
}

impl NewBinding {
    /// Completes it, unless something that it brings is already there: then its controller says
    /// so in its conditions.
    fn put(
        mut self,
        system: &Arc<System>,
        seed: &Seed<'_>,
        locks: &mut Locks,
    ) -> Result<Put, Status> {
        let is_taken = |resource: &BoundResource| {
            locks.holder(resource).is_some()
                || system.catalogs.system().iter().any(|own| {
                    *own.gvr.group == *resource.group && *own.gvr.resource == *resource.resource
                })
        };
        if !self.resources.iter().any(|(resource, ..)| is_taken(resource)) {
            locks.take(&self.name, self.resources.iter().map(|(resource, ..)| resource));
            let now = system.registry.timestamp();
            let resources = &self.resources;
            bound_status(&mut self.value, &self.provider, resources, self.crossing, &now);
        }
        let name = ObjectName::cluster_scoped(&self.name);
        seed.put(&system.tenancy.ids().bindings, &name, self.value)
    }
}

/// The bindings that a workspace's type asks for.
async fn default_bindings(
    system: &Arc<System>,
    home: (&ClusterName, &WorkspacePath),
    workspace: &Value,
) -> Result<Vec<NewBinding>, Status> {
    let text = |path: &[&str]| workspace.str_at(path).unwrap_or_default();
    let missing = || Status::unavailable("the workspace's type is missing");
    let path = text(&["spec", "type", "path"]);
    let of_type = system.tenancy.refer(path, home.0).ok_or_else(missing)?;
    let workspaces = system.tenancy.workspaces().ok_or_else(missing)?;
    let types = ResourceId::new("tenancy.kcp.io", "workspacetypes", workspaces.identity());
    let name = ObjectName::cluster_scoped(text(&["spec", "type", "name"]));
    let kind = system
        .tenancy
        .find(&Key::new(types, of_type.clone(), name))
        .ok_or_else(missing)?
        .to_value();
    let mut bindings: Vec<NewBinding> = Vec::new();
    for binding in kind.array_at(&["spec", "defaultAPIBindings"]) {
        let text = |key: &str| binding.str_at(&[key]).unwrap_or_default();
        let path = Some(text("path")).filter(|path| !path.is_empty());
        let path = path.unwrap_or(of_type.as_str());
        let new = new_binding(system, home, path, text("export")).await?;
        if bindings.iter().all(|other| other.name != new.name) {
            bindings.push(new);
        }
    }
    Ok(bindings)
}

/// A binding to an export whose schemas are known.
///
/// # Errors
/// Something of the export is missing, or the store takes no write.
pub(crate) async fn new_binding(
    system: &Arc<System>,
    (cluster, home): (&ClusterName, &WorkspacePath),
    path: &str,
    export: &str,
) -> Result<NewBinding, Status> {
    let missing = |what: &str| {
        Status::unavailable(format!("{what} of the export {path}:{export} is missing"))
    };
    let ids = system.tenancy.ids();
    let provider = system.tenancy.refer(path, cluster).ok_or_else(|| missing("the workspace"))?;
    let exported = strait_types::is_path_segment(export)
        .then(|| system.tenancy.find(&ids.export(&provider, export)))
        .flatten();
    let exported = exported.ok_or_else(|| missing("the object"))?.to_value();
    let identity =
        exported.str_at(&["status", "identityHash"]).ok_or_else(|| missing("the identity"))?;
    let mut value = object! {
        "apiVersion": "apis.kcp.io/v1alpha2",
        "kind": "APIBinding",
        "metadata": object!{
            "generation": 1,
            "finalizers": vec![BINDING_FINALIZER.into()],
        },
        "spec": object!{"reference": object!{"export": object!{"path": path, "name": export}}},
    };
    value.set(&["metadata", "annotations", PATH], home.as_str());
    let (mut resources, mut guards) = (Vec::new(), Vec::new());
    for listed in exported.array_at(&["spec", "resources"]) {
        let name = listed.str_at(&["schema"]).unwrap_or_default();
        let schema = strait_types::is_path_segment(name)
            .then(|| system.tenancy.find(&ids.schema(&provider, name)))
            .flatten()
            .ok_or_else(|| missing("a schema"))?;
        guards.push(copies::keep(system, (&provider, name), &schema).await?);
        resources.push(bound_resource(&schema, name, identity));
    }
    let crossing = exported.str_at(&["metadata", "annotations", strait_api::well_known::CROSSING]);
    let crossing = crossing == Some("true");
    let name = binding_name(&provider, path, export);
    Ok(NewBinding { name, value, provider, resources, crossing, guards })
}

/// The name of a default binding (kcp's rule: the export's, and five characters of a digest).
fn binding_name(provider: &ClusterName, path: &str, export: &str) -> String {
    use sha2::{Digest, Sha224};
    let digest = Sha224::digest(format!("{provider}|{path}|{export}").as_bytes());
    let head = export.get(..247).unwrap_or(export);
    let digest = base62(&digest).to_lowercase();
    format!("{head}-{}", digest.get(..5).unwrap_or(&digest))
}

/// A big-endian number in base 62, digits then lower then upper case (Go's `big.Int.Text`).
fn base62(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut number: Vec<u8> = bytes.to_vec();
    let mut text = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest * 256 + u32::from(*byte);
            *byte =
                u8::try_from(value / 62).expect("a remainder below 62 keeps the quotient a byte");
            rest = value % 62;
        }
        text.push(DIGITS[rest as usize]);
    }
    text.reverse();
    String::from_utf8(text).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_62_is_that_of_go() {
        use sha2::{Digest, Sha224};
        assert_eq!(base62(&[0xff]), "47");
        let digest = Sha224::digest(b"root:tenancy.kcp.io");
        assert_eq!(base62(&digest), "bmCdly9xXiUpEHe3ypvDwvXMTfoVZUE92mqAQf");
    }
}
