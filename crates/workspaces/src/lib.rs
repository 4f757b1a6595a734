//! Tenancy on top of the API server: workspaces, exports, bindings, virtual workspaces.
//!
//! ```text
//! /clusters/root:acme/apis/…            ─► Tenancy ─► WorkspaceView ┐
//! /services/apiexport/<lc>/<export>/…   ─► Catalogs ─► ExportView   ┴─► apiserver
//!
//! APIExport ◄─ APIBinding ─► served in the workspace, stored under the export's identity
//! ```
//!
//! What a request sees is decided when it is made, out of what is stored then: no state per
//! workspace is kept but caches that are checked against the store on every use. Controllers
//! follow the store's events and write through the same registry as everybody else.

pub mod agents;
mod behaviours;
mod binding;
mod births;
mod bootstrap;
mod catalogs;
mod controller;
mod controllers;
mod copies;
mod front;
mod ids;
mod kind;
mod locks;
mod parsed;
mod policies;
mod rbac_defaults;
mod seed;
mod tenancy;
mod views;

use std::collections::HashMap;
use std::sync::Arc;

use strait_apiserver::behaviour::Companions;
use strait_apiserver::registry::Registry;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_runtime::{Shutdown, TaskSet};
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, Txn};
use strait_types::{ClusterName, GroupResource};

pub use catalogs::{Catalogs, ExportCatalog, WorkspaceCatalog};
pub use front::{Routed, not_permitted};
pub use ids::Ids;
pub use kind::{Beside, Extras, resources};
pub use policies::{Check, Policies};
pub use tenancy::{LogicalCluster, Phase, Tenancy};

use controller::Outcome;
pub use parsed::Parsed;

/// Everything that knows workspaces.
pub struct System {
    /// Reads and writes.
    pub registry: Registry,
    /// Who is where.
    pub tenancy: Tenancy,
    /// Which kinds each workspace serves.
    pub catalogs: Catalogs,
    /// Who may do what.
    pub policies: Arc<Policies>,
    export_policies: Parsed<bool>,
    /// The hub's address, without a path.
    url: String,
    /// PEM of the hub's CA.
    ca: Arc<str>,
}

impl System {
    /// Puts tenancy together on a registry. `url` is the hub's address as clients reach it,
    /// `ca` the PEM of its CA, `extras` the hooks of kinds that the hub's own exports bring
    /// beyond tenancy's.
    #[must_use]
    pub fn new(
        registry: Registry,
        url: &str,
        ca: &str,
        extras: HashMap<GroupResource, Extras>,
    ) -> Arc<Self> {
        let tenancy = Tenancy::new(registry.store().clone());
        let policies = Arc::new(Policies::new(tenancy.clone()));
        let ca: Arc<str> = ca.into();
        let context = behaviours::Context {
            tenancy: tenancy.clone(),
            policies: policies.clone(),
            ca: ca.clone(),
        };
        let mut all = behaviours::tenancy_extras(&context);
        all.extend(extras);
        let system = behaviours::system_resources(&context);
        let catalogs = Catalogs::new(tenancy.clone(), system, all);
        let export_policies = Parsed::new(has_policy);
        let url = url.trim_end_matches('/').to_owned();
        Arc::new(Self { registry, tenancy, catalogs, policies, export_policies, url, ca })
    }

    /// Makes what a hub begins with, where it is missing, and starts the controllers.
    ///
    /// # Errors
    /// The store takes no write.
    pub async fn start(self: &Arc<Self>, tasks: &TaskSet, stop: &Shutdown) -> Result<(), Status> {
        bootstrap::run(self).await?;
        copies::sweep(self).await?;
        controllers::start_all(self, tasks, stop);
        Ok(())
    }

    /// The identity hash of one of the hub's own exports, once it is there.
    #[must_use]
    pub fn own_identity(&self, export: &str) -> Option<String> {
        let key = self.tenancy.ids().export(&ClusterName::root(), export);
        let value = self.tenancy.find(&key)?.to_value();
        value.str_at(&["status", "identityHash"]).map(str::to_owned)
    }

    /// Stores an object's new state for a controller; nothing where it is the old one.
    async fn replace(&self, key: &Key, old: &Object, value: &Value) -> Result<Outcome, Status> {
        self.replace_with(key, old, value, Companions::default()).await
    }

    /// The same with something that must be stored at the same moment.
    async fn replace_with(
        &self,
        key: &Key,
        old: &Object,
        value: &Value,
        along: Companions,
    ) -> Result<Outcome, Status> {
        let same = strait_machinery::object::Body::encode(value).is_ok_and(|body| body == old.body);
        if same && along.puts.is_empty() {
            return Ok(Outcome::Done);
        }
        let mut txn = alongside(key, old, along);
        if !same {
            txn.puts.push(seed::encoded(key.clone(), value)?);
        }
        self.commit(key, txn).await
    }

    /// Removes a finalizer, and with the last one the object that is being deleted.
    async fn remove_finalizer(
        &self,
        key: &Key,
        old: &Object,
        finalizer: &str,
        along: Companions,
    ) -> Result<Outcome, Status> {
        let mut value = old.to_value();
        let metadata = value.make_object().object_mut("metadata");
        if let Some(Value::Array(finalizers)) = metadata.get_mut("finalizers") {
            finalizers.retain(|own| own.as_str() != Some(finalizer));
            if finalizers.is_empty() {
                metadata.remove("finalizers");
            }
        }
        self.finish(key, old, &value, along).await
    }

    /// Stores an object that is being deleted, or deletes it where nothing holds it any more.
    async fn finish(
        &self,
        key: &Key,
        old: &Object,
        value: &Value,
        along: Companions,
    ) -> Result<Outcome, Status> {
        let held = !value.array_at(&["metadata", "finalizers"]).is_empty()
            || !value.array_at(&["spec", "finalizers"]).is_empty();
        if held {
            return self.replace_with(key, old, value, along).await;
        }
        let mut txn = alongside(key, old, along);
        txn.deletes.push(key.clone());
        self.commit(key, txn).await
    }

    async fn commit(&self, key: &Key, txn: Txn) -> Result<Outcome, Status> {
        match self.registry.store().commit(&key.cluster, txn).await {
            Ok(_) => Ok(Outcome::Done),
            Err(CommitError::Refused(_)) => Err(seed::changed("the object")),
            Err(error) => Err(seed::unwritten(&error)),
        }
    }
}

/// A transaction on an object as it was seen, with what goes along.
fn alongside(key: &Key, old: &Object, along: Companions) -> Txn {
    let mut compares = vec![Compare { key: key.clone(), expect: Expect::Revision(old.revision) }];
    compares.extend(along.guards);
    Txn { compares, puts: along.puts, deletes: Vec::new() }
}

/// Whether an export bounds what users of binding workspaces may do.
fn has_policy(export: &Object) -> bool {
    let value = export.to_value();
    value.at(&["spec", "maximalPermissionPolicy", "local"]).is_some_and(|local| !local.is_null())
}
