//! What a hub begins with: the workspace `root`, the exports that the hub itself provides, and
//! the RBAC that holds everywhere. Run at every start; what is there stays.

use std::sync::Arc;

use futures_util::future::{try_join, try_join_all};
use strait_api::kinds::{KindFile, RELAY, REQUESTS, TENANCY};
use strait_api::well_known::{
    IDENTITY_NAMESPACE, PATH, RELAY_EXPORT, REQUESTS_EXPORT, TENANCY_EXPORT,
};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName, ResourceId};
use strait_types::{ClusterName, WorkspacePath};

use crate::System;
use crate::behaviours::{ROOT_TYPE_PATH, namespace_content, spec_of};
use crate::births;
use crate::controllers::{identity_hash, slice_status};
use crate::rbac_defaults;
use crate::seed::{self, Seed};

/// Prefix of the names of the hub's own schemas. A changed schema gets a new one.
const SCHEMA_PREFIX: &str = "v1";

/// Exports that the hub provides, in the workspace `root`.
const EXPORTS: [(&str, &[KindFile]); 3] =
    [(TENANCY_EXPORT, &TENANCY), (RELAY_EXPORT, &RELAY), (REQUESTS_EXPORT, &REQUESTS)];

/// Makes what is missing.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn run(system: &Arc<System>) -> Result<(), Status> {
    let root = ClusterName::root();
    // None of these needs another: what they write shares the disk's syncs.
    let exports = EXPORTS.iter().map(|(name, kinds)| ensure_export(system, &root, name, kinds));
    try_join(rbac_defaults::ensure(system), try_join_all(exports)).await?;
    let identity = |export: &str| -> Result<String, Status> {
        let object = system.tenancy.find(&system.tenancy.ids().export(&root, export));
        let object = object.ok_or_else(|| Status::internal("an export of the hub is missing"))?;
        let value = object.to_value();
        let hash = value.str_at(&["status", "identityHash"]).unwrap_or_default();
        Ok(hash.to_owned())
    };
    let tenancy = identity(TENANCY_EXPORT)?;
    system.tenancy.set_workspaces(ResourceId::new("tenancy.kcp.io", "workspaces", &tenancy));
    system.catalogs.set_own_identities(vec![
        tenancy.clone(),
        identity(RELAY_EXPORT)?,
        identity(REQUESTS_EXPORT)?,
    ]);
    ensure_type(system, &root, &tenancy).await?;
    ensure_root(system, &root).await
}

/// An export with its schemas, its identity and its endpoint slice.
async fn ensure_export(
    system: &Arc<System>,
    root: &ClusterName,
    name: &str,
    kinds: &[KindFile],
) -> Result<(), Status> {
    let ids = system.tenancy.ids();
    let registry = &system.registry;
    let seed = Seed::new(registry, root);
    try_join_all(kinds.iter().map(|file| ensure_schema(system, &seed, file))).await?;
    let resources = kinds.iter().map(|file| {
        let spec = spec_of(file);
        object! {
            "name": spec.str_at(&["names", "plural"]).unwrap_or_default(),
            "group": spec.str_at(&["group"]).unwrap_or_default(),
            "schema": schema_name(file),
            "storage": object!{"crd": Value::object()},
        }
    });
    let resources: Value = resources.collect();
    let key = ids.export(root, name);
    if system.tenancy.find(&key).is_some() {
        return Ok(());
    }
    let identity = crate::controllers::new_identity(registry);
    let now = registry.timestamp();
    let mut export = object! {
        "apiVersion": "apis.kcp.io/v1alpha2",
        "kind": "APIExport",
        "metadata": object!{"generation": 1},
        "spec": object!{
            "resources": resources,
            "identity": object!{"secretRef": object!{"namespace": IDENTITY_NAMESPACE, "name": name}},
            "maximalPermissionPolicy": object!{"local": Value::object()},
        },
        "status": object!{"identityHash": identity_hash(identity.as_bytes())},
    };
    export.set(&["metadata", "annotations", PATH], root.as_str());
    crate::controllers::set_condition(&mut export, "IdentityValid", ("True", "", ""), &now);
    let mut slice = births::endpoint_slice(name, &export);
    slice_status(&mut slice, &system.url, Some((root, name)), &now);
    let mut namespace = vec![seed.put(
        &ids.namespaces,
        &ObjectName::cluster_scoped(IDENTITY_NAMESPACE),
        births::namespace(IDENTITY_NAMESPACE),
    )?];
    namespace.extend(namespace_content(&seed, IDENTITY_NAMESPACE, &system.ca)?);
    seed::create(registry, root, namespace, Vec::new()).await?;
    let secret = ObjectName::namespaced(IDENTITY_NAMESPACE, name);
    let name = ObjectName::cluster_scoped(name);
    let puts = vec![
        seed.put(&ids.secrets, &secret, births::identity_secret(&identity))?,
        seed.put(&ids.exports, &name, export)?,
        seed.put(&ids.slices, &name, slice)?,
    ];
    seed::create(registry, root, puts, Vec::new()).await?;
    Ok(())
}

/// The name that a schema of the hub's has.
fn schema_name(file: &KindFile) -> String {
    format!("{SCHEMA_PREFIX}.{}", file.name)
}

/// A schema in `root`.
async fn ensure_schema(
    system: &Arc<System>,
    seed: &Seed<'_>,
    file: &KindFile,
) -> Result<(), Status> {
    let ids = system.tenancy.ids();
    let (root, name) = (ClusterName::root(), schema_name(file));
    let key = ids.schema(&root, &name);
    if system.tenancy.find(&key).is_none() {
        let schema = object! {
            "apiVersion": "apis.kcp.io/v1alpha1",
            "kind": "APIResourceSchema",
            "metadata": object!{"generation": 1},
            "spec": spec_of(file),
        };
        let put = seed.put(&ids.schemas, &key.name, schema)?;
        seed::create(&system.registry, &root, vec![put], Vec::new()).await?;
    }
    Ok(())
}

/// The type that workspaces have if they name none.
async fn ensure_type(
    system: &Arc<System>,
    root: &ClusterName,
    identity: &str,
) -> Result<(), Status> {
    let types = ResourceId::new("tenancy.kcp.io", "workspacetypes", identity);
    let name = ObjectName::cluster_scoped("universal");
    if system.tenancy.find(&Key::new(types.clone(), root.clone(), name.clone())).is_some() {
        return Ok(());
    }
    let mut value = object! {
        "apiVersion": "tenancy.kcp.io/v1alpha1",
        "kind": "WorkspaceType",
        "metadata": object!{"generation": 1},
        "spec": object!{
            "defaultAPIBindings": vec![object!{"path": ROOT_TYPE_PATH, "export": TENANCY_EXPORT}],
        },
    };
    value.set(&["metadata", "annotations", PATH], root.as_str());
    let now = system.registry.timestamp();
    crate::controllers::set_condition(&mut value, "Ready", ("True", "", ""), &now);
    let put = Seed::new(&system.registry, root).put(&types, &name, value)?;
    seed::create(&system.registry, root, vec![put], Vec::new()).await?;
    Ok(())
}

/// The workspace at the top of the tree.
async fn ensure_root(system: &Arc<System>, root: &ClusterName) -> Result<(), Status> {
    if system.tenancy.cluster(root).is_some() {
        return Ok(());
    }
    let path = WorkspacePath::root();
    let object =
        births::logical_cluster_object((root, &path), "root:root", &system.url, None, None);
    let mut bindings = Vec::new();
    for export in [TENANCY_EXPORT, RELAY_EXPORT] {
        let home = (root, &path);
        bindings.push(births::new_binding(system, home, ROOT_TYPE_PATH, export).await?);
    }
    births::found(system, root, object, None, bindings, Vec::new()).await
}
