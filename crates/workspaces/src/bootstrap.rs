//! What a hub begins with: the workspace `root`, the exports that the hub itself provides, and
//! the RBAC that holds everywhere. Run at every start; what is there stays, but for the kinds of
//! those exports: they become this version's, unless a newer one made them. Bindings follow.

use std::sync::Arc;

use futures_util::future::{try_join, try_join_all};
use strait_api::kinds::{KindFile, RELAY, REQUESTS, TENANCY};
use strait_api::well_known::{
    IDENTITY_NAMESPACE, PATH, RELAY_EXPORT, REQUESTS_EXPORT, TENANCY_EXPORT,
};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName, ResourceId};
use strait_types::{ClusterName, WorkspacePath};

use crate::System;
use crate::behaviours::{ROOT_TYPE_PATH, namespace_content, spec_of};
use crate::births;
use crate::controllers::{identity_hash, slice_status};
use crate::rbac_defaults;
use crate::seed::{self, Seed};

/// The version whose kinds an export of the hub's has; on it.
const KINDS_OF: [&str; 3] = ["metadata", "annotations", "internal.strait.dev/kinds-of"];

/// This version.
const VERSION: &str = env!("CARGO_PKG_VERSION");

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
    let key = ids.export(root, name);
    let export = system.tenancy.find(&key);
    if let Some(export) = &export
        && let Some(theirs) = export.to_value().str_at(&KINDS_OF).filter(|it| is_newer(it))
    {
        tracing::info!(export = name, version = theirs, "kinds of a newer version stay");
        return Ok(());
    }
    try_join_all(kinds.iter().map(|file| ensure_schema(system, &seed, file))).await?;
    let resources = kinds.iter().map(|file| {
        let spec = spec_of(file);
        object! {
            "name": spec.str_at(&["names", "plural"]).unwrap_or_default(),
            "group": spec.str_at(&["group"]).unwrap_or_default(),
            "schema": schema_name(&spec, file),
            "storage": object!{"crd": Value::object()},
        }
    });
    let resources: Vec<Value> = resources.collect();
    if let Some(export) = export {
        return renew(system, &key, &export, resources).await;
    }
    let identity = crate::controllers::new_identity(registry);
    let now = registry.timestamp();
    let mut export = object! {
        "apiVersion": "apis.kcp.io/v1alpha2",
        "kind": "APIExport",
        "metadata": object!{"generation": 1},
        "spec": object!{
            "resources": Value::Array(resources),
            "identity": object!{"secretRef": object!{"namespace": IDENTITY_NAMESPACE, "name": name}},
            "maximalPermissionPolicy": object!{"local": Value::object()},
        },
        "status": object!{"identityHash": identity_hash(identity.as_bytes())},
    };
    export.set(&["metadata", "annotations", PATH], root.as_str());
    export.set(&KINDS_OF, VERSION);
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

/// Gives an export that is there the kinds of this version; what it has besides stays.
async fn renew(
    system: &Arc<System>,
    key: &Key,
    export: &Object,
    mut resources: Vec<Value>,
) -> Result<(), Status> {
    let mut value = export.to_value();
    let before = value.array_at(&["spec", "resources"]).to_vec();
    let named =
        |one: &Value| ["name", "group"].map(|field| one.str_at(&[field]).map(str::to_owned));
    let own: Vec<_> = resources.iter().map(named).collect();
    resources.extend(before.iter().filter(|one| !own.contains(&named(one))).cloned());
    if resources != before {
        tracing::info!(export = key.name.name(), version = VERSION, "it has this version's kinds");
        let generation = value.at(&["metadata", "generation"]).and_then(Value::as_i64);
        value.set(&["metadata", "generation"], generation.unwrap_or(0) + 1);
        value.set(&["spec", "resources"], Value::Array(resources));
    }
    value.set(&KINDS_OF, VERSION);
    system.replace(key, export, &value).await.map(drop)
}

/// Whether a version is newer than this one; what is no version is not.
fn is_newer(version: &str) -> bool {
    let numbers = |text: &str| -> Option<[u32; 3]> {
        let mut parts = text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok());
        Some([parts.next()??, parts.next()??, parts.next()??])
    };
    numbers(version).is_some_and(|theirs| numbers(VERSION).is_some_and(|own| theirs > own))
}

/// The name that a schema of the hub's has: another one once it is changed.
fn schema_name(spec: &Value, file: &KindFile) -> String {
    let hash = identity_hash(&spec.to_bytes());
    format!("v{}.{}", &hash[..12], file.name)
}

/// A schema in `root`.
async fn ensure_schema(
    system: &Arc<System>,
    seed: &Seed<'_>,
    file: &KindFile,
) -> Result<(), Status> {
    let ids = system.tenancy.ids();
    let spec = spec_of(file);
    let (root, name) = (ClusterName::root(), schema_name(&spec, file));
    let key = ids.schema(&root, &name);
    if system.tenancy.find(&key).is_none() {
        let schema = object! {
            "apiVersion": "apis.kcp.io/v1alpha1",
            "kind": "APIResourceSchema",
            "metadata": object!{"generation": 1},
            "spec": spec,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_a_newer_version_are_told_by_its_numbers() {
        for (version, expected) in [
            (VERSION, false),
            ("0.0.9", false),
            ("999.0.0", true),
            ("0.999.0-rc.1", true),
            ("", false),
            ("newest", false),
            ("999.0", false),
        ] {
            assert_eq!(is_newer(version), expected, "{version}");
        }
    }

    #[test]
    fn a_changed_schema_has_another_name() {
        let file = &RELAY[0];
        let spec = spec_of(file);
        let name = schema_name(&spec, file);
        assert!(name.ends_with(".agents.relay.strait.dev") && name.starts_with('v'), "{name}");
        let mut changed = spec;
        changed.set(&["names", "singular"], "another");
        assert_ne!(schema_name(&changed, file), name);
    }
}
