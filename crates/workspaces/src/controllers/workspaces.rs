//! Workspaces: birth and end of the logical cluster behind each.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_api::well_known::{
    CHOSEN_CLUSTER, DELETION_FINALIZER, LOGICAL_CLUSTER_FINALIZER, PHASE_LABEL,
};
use strait_apiserver::behaviour::Companions;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, Scope};
use strait_types::ClusterName;

use super::{purge, set_condition};
use crate::System;
use crate::births;
use crate::controller::{Follow, Outcome, Reconcile};
use crate::seed;

pub(super) struct Workspaces {
    system: Arc<System>,
}

impl Workspaces {
    pub(super) const fn new(system: Arc<System>) -> Self {
        Self { system }
    }

    async fn run(&self, key: &Key) -> Result<Outcome, Status> {
        let Some(object) = self.system.tenancy.find(key) else {
            return Ok(Outcome::Done);
        };
        let value = object.to_value();
        if object.header.deleting {
            return self.end(key, &object, value).await;
        }
        if value.str_at(&["status", "phase"]) == Some("Ready") {
            return Ok(Outcome::Done);
        }
        self.begin(key, &object, value).await
    }

    /// Makes the logical cluster with all that it begins with, then says that it is there.
    async fn begin(&self, key: &Key, object: &Object, mut value: Value) -> Result<Outcome, Status> {
        let system = &self.system;
        let cluster = chosen(&value)?;
        let parent = system.tenancy.path_of(&key.cluster);
        let path =
            parent.join(key.name.name()).map_err(|error| Status::internal(error.to_string()))?;
        if let Err(why) = births::logical_cluster(system, &cluster, &path, key, &value).await {
            if why.reason != "Conflict" {
                let now = system.registry.timestamp();
                let waiting = ("False", "InitializerExists", &*why.message);
                set_condition(&mut value, "WorkspaceInitialized", waiting, &now);
                system.replace(key, object, &value).await?;
            }
            return Err(why);
        }
        value.set(&["spec", "cluster"], cluster.as_str());
        value.set(&["spec", "URL"], format!("{}/clusters/{path}", system.url));
        value.set(&["status", "phase"], "Ready");
        value
            .make_object()
            .object_mut("metadata")
            .object_mut("labels")
            .insert(PHASE_LABEL, "Ready");
        let now = system.registry.timestamp();
        for condition in ["WorkspaceScheduled", "WorkspaceInitialized"] {
            set_condition(&mut value, condition, ("True", "", ""), &now);
        }
        system.replace(key, object, &value).await
    }

    /// Removes the logical cluster's content and the logical cluster, then the workspace.
    async fn end(&self, key: &Key, object: &Object, value: Value) -> Result<Outcome, Status> {
        let system = &self.system;
        let cluster = match value.str_at(&["spec", "cluster"]) {
            Some(name) => {
                ClusterName::new(name).map_err(|error| Status::internal(error.to_string()))?
            }
            None => chosen(&value)?,
        };
        let own = system.tenancy.ids().logical_cluster(&cluster);
        let logical = system.tenancy.find(&own);
        let uid = object.header.uid.to_string();
        let foreign = logical.as_ref().is_some_and(|logical| {
            logical.to_value().str_at(&["spec", "owner", "uid"]) != Some(&*uid)
        });
        if !foreign {
            if let Some(logical) = &logical
                && !self.mark_deleting(&own, logical).await?
            {
                return Err(seed::changed("the logical cluster"));
            }
            // Also where there is no logical cluster: its making may have been interrupted.
            if let Some((left, wait)) = self.empty(&cluster).await? {
                self.say_what_remains(key, object, value, &left).await?;
                return Ok(wait);
            }
            if let Some(logical) = system.tenancy.find(&own) {
                let along = Companions::default();
                system.remove_finalizer(&own, &logical, DELETION_FINALIZER, along).await?;
            }
            let snapshot = system.tenancy.store().snapshot(&own.resource);
            if snapshot.get(&own.cluster, &own.name).is_some() {
                let scope = Scope::Object(own.cluster, own.name);
                return Ok(Outcome::Await(own.resource, scope, snapshot.revision()));
            }
        }
        let along = Companions::default();
        system.remove_finalizer(key, object, LOGICAL_CLUSTER_FINALIZER, along).await
    }

    /// Says in a workspace what its deletion waits for.
    async fn say_what_remains(
        &self,
        key: &Key,
        object: &Object,
        mut value: Value,
        left: &str,
    ) -> Result<(), Status> {
        let now = self.system.registry.timestamp();
        value.set(&["status", "phase"], "Deleting");
        value.set(&["metadata", "labels", PHASE_LABEL], "Deleting");
        let waiting = ("False", "SomeResourcesRemain", left);
        set_condition(&mut value, "WorkspaceContentDeleted", waiting, &now);
        self.system.replace(key, object, &value).await.map(drop)
    }

    /// Begins the deletion of a logical cluster: from then on nothing is created in it.
    async fn mark_deleting(&self, key: &Key, object: &Object) -> Result<bool, Status> {
        if object.header.deleting {
            return Ok(true);
        }
        let mut value = object.to_value();
        value.set(&["metadata", "deletionTimestamp"], self.system.registry.timestamp());
        value.set(&["metadata", "deletionGracePeriodSeconds"], 0);
        value.set(&["status", "phase"], "Deleting");
        let replaced = self.system.registry.replace_stored(key, object, &value, Vec::new()).await?;
        Ok(replaced.is_some())
    }

    /// Removes everything in a logical cluster but itself: content, then bindings, then
    /// namespaces, and last the rights of those who may have to help. Returns what has to be
    /// waited for, in words and as an outcome.
    async fn empty(&self, cluster: &ClusterName) -> Result<Option<(String, Outcome)>, Status> {
        let system = &self.system;
        let scope = Scope::Cluster(cluster.clone());
        for step in purge::whole_cluster(system) {
            let remains = purge::all(system, step, &scope).await?;
            if let Some((resource, revision)) = remains.wait {
                let words = remains.left.iter().map(|(resource, count)| {
                    format!("{count} objects of {resource} wait for their finalizers")
                });
                let words: Vec<String> = words.collect();
                return Ok(Some((words.join(", "), Outcome::Await(resource, scope, revision))));
            }
        }
        Ok(None)
    }
}

/// The logical cluster that admission chose.
fn chosen(workspace: &Value) -> Result<ClusterName, Status> {
    let name = workspace.str_at(&["metadata", "annotations", CHOSEN_CLUSTER]).unwrap_or_default();
    ClusterName::new(name).map_err(|error| Status::internal(error.to_string()))
}

impl Reconcile for Workspaces {
    fn name(&self) -> &'static str {
        "workspaces"
    }

    fn follows(&self) -> Vec<Follow> {
        self.system.tenancy.workspaces().map(Follow::own).into_iter().collect()
    }

    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>> {
        Box::pin(self.run(key))
    }
}
