//! Exports: their identity and where they are reached.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use strait_api::well_known::{IDENTITY_NAMESPACE, SKIP_ENDPOINT_SLICE};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{Key, ObjectName, Put, ResourceId, Scope, Txn};
use strait_types::ClusterName;

use super::set_condition;
use crate::System;
use crate::behaviours::namespace_content;
use crate::controller::{Follow, Outcome, Reconcile};
use crate::seed::{self, Seed};

/// Characters of an identity key.
const KEY_LENGTH: usize = 43;

/// SHA-256 of an identity key, in hexadecimal: what names the storage of an export's objects.
pub(crate) fn identity_hash(key: &[u8]) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The status of an endpoint slice: the one URL that serves every workspace.
pub(crate) fn slice_status(
    slice: &mut Value,
    url: &str,
    export: Option<(&ClusterName, &str)>,
    now: &str,
) {
    let endpoints: Vec<Value> = export
        .map(
            |(cluster, name)| object! {"url": format!("{url}/services/apiexport/{cluster}/{name}")},
        )
        .into_iter()
        .collect();
    slice.set(&["status", "endpoints"], endpoints);
    let valid = match export {
        Some(_) => ("True", "", ""),
        None => ("False", "APIExportNotFound", "the export does not exist"),
    };
    set_condition(slice, "APIExportValid", valid, now);
    set_condition(slice, "PartitionValid", ("True", "", ""), now);
}

pub(super) struct Exports {
    system: Arc<System>,
}

impl Exports {
    pub(super) const fn new(system: Arc<System>) -> Self {
        Self { system }
    }

    async fn run(&self, key: &Key) -> Result<Outcome, Status> {
        let system = &self.system;
        if key.resource == system.tenancy.ids().slices {
            return self.slice(key).await;
        }
        let Some(object) = system.tenancy.find(key) else {
            return Ok(Outcome::Done);
        };
        let leaving = system.tenancy.cluster(&key.cluster).is_none_or(|cluster| cluster.deleting);
        if object.header.deleting || leaving {
            return Ok(Outcome::Done);
        }
        let mut value = object.to_value();
        let now = system.registry.timestamp();
        let pinned = value.str_at(&["status", "identityHash"]).unwrap_or_default().to_owned();
        match self.identity(key, &object, &value).await? {
            Identity::Key(hash) if pinned.is_empty() || pinned == hash => {
                value.set(&["status", "identityHash"], hash);
                set_condition(&mut value, "IdentityValid", ("True", "", ""), &now);
            }
            // Once set, an identity never changes: objects are stored under it.
            Identity::Key(_) => {
                let why =
                    "the identity secret holds another key than the one this export began with";
                let invalid = ("False", "IdentityVerificationFailed", why);
                set_condition(&mut value, "IdentityValid", invalid, &now);
            }
            Identity::Missing => {
                let why = "the identity secret does not exist or has no data key \"key\"";
                let invalid = ("False", "IdentityVerificationFailed", why);
                set_condition(&mut value, "IdentityValid", invalid, &now);
            }
            Identity::Created(name) => {
                value.set(
                    &["spec", "identity", "secretRef"],
                    object! {
                        "namespace": IDENTITY_NAMESPACE,
                        "name": name,
                    },
                );
            }
        }
        self.make_slice(key, &object, &value).await?;
        system.replace(key, &object, &value).await
    }

    /// The key behind an export, made where there is none.
    async fn identity(
        &self,
        key: &Key,
        object: &Object,
        export: &Value,
    ) -> Result<Identity, Status> {
        let system = &self.system;
        let reference = |field: &str| export.str_at(&["spec", "identity", "secretRef", field]);
        let (namespace, name) = match (reference("namespace"), reference("name")) {
            (Some(namespace), Some(name)) => (namespace.to_owned(), name.to_owned()),
            _ => {
                let name = key.name.name().to_owned();
                self.make_secret(key, object, &name).await?;
                return Ok(Identity::Created(name));
            }
        };
        if !strait_types::is_path_segment(&namespace) || !strait_types::is_path_segment(&name) {
            return Ok(Identity::Missing);
        }
        let secret = Key::new(
            system.tenancy.ids().secrets.clone(),
            key.cluster.clone(),
            ObjectName::namespaced(&namespace, &name),
        );
        let data = system.tenancy.find(&secret).map(|secret| secret.to_value());
        let data = data.as_ref().and_then(|data| data.str_at(&["data", "key"]));
        let bytes = data.and_then(|data| STANDARD.decode(data).ok()).filter(|key| !key.is_empty());
        Ok(bytes.map_or(Identity::Missing, |bytes| Identity::Key(identity_hash(&bytes))))
    }

    async fn make_secret(&self, key: &Key, export: &Object, name: &str) -> Result<(), Status> {
        let system = &self.system;
        let seed = Seed::new(&system.registry, &key.cluster);
        let ids = system.tenancy.ids();
        let namespace = ObjectName::cluster_scoped(IDENTITY_NAMESPACE);
        let mut puts = vec![seed.put(
            &ids.namespaces,
            &namespace,
            crate::births::namespace(IDENTITY_NAMESPACE),
        )?];
        puts.extend(namespace_content(&seed, IDENTITY_NAMESPACE, &system.ca)?);
        self.create(key, export, puts, Vec::new()).await?;
        let home = Key::new(ids.namespaces.clone(), key.cluster.clone(), namespace);
        let home_object = system.tenancy.find(&home).filter(|home| !home.header.deleting);
        let Some(home_object) = home_object else {
            return Err(Status::unavailable("the namespace of identity secrets is being deleted"));
        };
        let secret = seed.put(
            &ids.secrets,
            &ObjectName::namespaced(IDENTITY_NAMESPACE, name),
            crate::births::identity_secret(&new_identity(&system.registry)),
        )?;
        let stays = Compare { key: home, expect: Expect::Revision(home_object.revision) };
        self.create(key, export, vec![secret], vec![stays]).await
    }

    /// Makes what belongs to an export, unless it is there, while the export is as it was seen
    /// and its workspace stays: what comes too late would be left behind for ever.
    async fn create(
        &self,
        key: &Key,
        export: &Object,
        puts: Vec<Put>,
        guards: Vec<Compare>,
    ) -> Result<(), Status> {
        let system = &self.system;
        if puts.iter().any(|put| system.tenancy.find(&put.key).is_some()) {
            return Ok(());
        }
        let unchanged = Compare { key: key.clone(), expect: Expect::Revision(export.revision) };
        let guards =
            guards.into_iter().chain([unchanged]).chain(system.cluster_guard(&key.cluster)?);
        let made = seed::create(&system.registry, &key.cluster, puts, guards.collect()).await?;
        made.map(drop).ok_or_else(|| seed::changed("the export"))
    }

    async fn make_slice(&self, key: &Key, object: &Object, export: &Value) -> Result<(), Status> {
        let system = &self.system;
        let slice =
            Key::new(system.tenancy.ids().slices.clone(), key.cluster.clone(), key.name.clone());
        if export.at(&["metadata", "annotations", SKIP_ENDPOINT_SLICE]).is_some() {
            return Ok(());
        }
        let seed = Seed::new(&system.registry, &key.cluster);
        let now = system.registry.timestamp();
        let mut value = crate::births::endpoint_slice(key.name.name(), export);
        slice_status(&mut value, &system.url, Some((&key.cluster, key.name.name())), &now);
        let put = seed.put(&slice.resource, &slice.name, value)?;
        self.create(key, object, vec![put], Vec::new()).await
    }

    async fn slice(&self, key: &Key) -> Result<Outcome, Status> {
        let system = &self.system;
        let Some(object) = system.tenancy.find(key).filter(|object| !object.header.deleting) else {
            return Ok(Outcome::Done);
        };
        let mut value = object.to_value();
        let text =
            |field: &str| value.str_at(&["spec", "export", field]).unwrap_or_default().to_owned();
        let (path, name) = (text("path"), text("name"));
        let cluster = system.tenancy.refer(&path, &key.cluster);
        let export = cluster.filter(|_| strait_types::is_path_segment(&name)).and_then(|cluster| {
            let export = system.tenancy.find(&system.tenancy.ids().export(&cluster, &name))?;
            Some((cluster, export))
        });
        let owned = object.header.owners.iter().find(|owner| &*owner.kind == "APIExport");
        let uid = export.as_ref().map(|(_, export)| export.header.uid.to_string());
        if owned.is_some_and(|owner| Some(&*owner.uid) != uid.as_deref()) {
            return self.remove(key, &object).await;
        }
        let found = export.as_ref().map(|(cluster, _)| (cluster, &*name));
        slice_status(&mut value, &system.url, found, &system.registry.timestamp());
        system.replace(key, &object, &value).await
    }
}

impl Exports {
    /// Removes a slice whose export is gone: it goes with its owner.
    async fn remove(&self, key: &Key, slice: &Object) -> Result<Outcome, Status> {
        let compare = Compare { key: key.clone(), expect: Expect::Revision(slice.revision) };
        let held = !slice.header.finalizers.is_empty();
        if held {
            return Ok(Outcome::Done);
        }
        let txn = Txn { compares: vec![compare], puts: Vec::new(), deletes: vec![key.clone()] };
        self.system.commit(key, txn).await
    }
}

/// A fresh identity key: printable, from 256 random bits.
pub(crate) fn new_identity(registry: &strait_apiserver::registry::Registry) -> String {
    let mut random = [0; 32];
    registry.entropy().fill(&mut random);
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random);
    debug_assert_eq!(key.len(), KEY_LENGTH);
    key
}

enum Identity {
    /// There is a key with this hash.
    Key(String),
    /// There should be one and is not.
    Missing,
    /// A secret of this name was made.
    Created(String),
}

impl Reconcile for Exports {
    fn name(&self) -> &'static str {
        "apiexports"
    }

    fn follows(&self) -> Vec<Follow> {
        let ids = self.system.tenancy.ids();
        let of_name = |resource: &ResourceId, key: &Key| {
            Key::new(resource.clone(), key.cluster.clone(), key.name.clone())
        };
        // A slice may be of an export of any workspace, but is found by the export's name.
        let system = self.system.clone();
        let slices_of = move |key: &Key| -> Vec<Key> {
            let slices = system.tenancy.store().snapshot(&system.tenancy.ids().slices);
            let named = slices.iter(&Scope::All).filter(|(_, _, slice)| {
                let name = slice.to_value();
                name.str_at(&["spec", "export", "name"]) == Some(key.name.name())
            });
            let named = named.map(|(cluster, name, _)| {
                Key::new(system.tenancy.ids().slices.clone(), cluster.clone(), name.clone())
            });
            std::iter::once(key.clone()).chain(named).collect()
        };
        // Identities come from secrets.
        let system = self.system.clone();
        let exports_near = move |key: &Key| -> Vec<Key> {
            let ids = system.tenancy.ids();
            let exports = system.tenancy.store().snapshot(&ids.exports);
            let near = exports.part(&key.cluster);
            near.iter().map(|(name, _)| ids.export(&key.cluster, name.name())).collect()
        };
        let exports = ids.exports.clone();
        vec![
            Follow { resource: ids.exports.clone(), keys: Arc::new(slices_of) },
            // One that goes is made again.
            Follow {
                resource: ids.slices.clone(),
                keys: Arc::new(move |key| vec![key.clone(), of_name(&exports, key)]),
            },
            Follow { resource: ids.secrets.clone(), keys: Arc::new(exports_near) },
        ]
    }

    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>> {
        Box::pin(self.run(key))
    }
}
