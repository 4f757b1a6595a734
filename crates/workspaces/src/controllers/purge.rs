//! Removing many objects, each with respect for its finalizers.

use std::sync::Arc;

use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, ResourceId, Scope, Txn};
use strait_types::{GroupResource, Revision};

use crate::System;
use crate::seed::{changed, encoded, unwritten};

/// Deletions of one purge under way at once; below the store's bound per logical cluster, so
/// that a tenant's own writes still find a place.
const PARALLEL: usize = 16;

/// What a purge left behind.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Objects that wait for their finalizers.
    pub(crate) count: usize,
    /// The state in which they wait; none if nothing waits.
    pub(crate) blocked_at: Option<Revision>,
}

/// Deletes the objects of a scope that nothing holds, and begins the deletion of the others.
pub(crate) async fn objects(
    system: &Arc<System>,
    resource: &ResourceId,
    scope: &Scope,
) -> Result<Left, Status> {
    let snapshot = system.tenancy.store().snapshot(resource);
    let revision = snapshot.revision();
    let mut left = Left::default();
    let mut work: Vec<(Key, Arc<Object>)> = Vec::new();
    for (cluster, name, object) in snapshot.iter(scope) {
        let key = Key::new(resource.clone(), cluster.clone(), name.clone());
        if object.header.finalizers.is_empty() {
            work.push((key, object.clone()));
            continue;
        }
        left.count += 1;
        left.blocked_at = Some(revision);
        if !object.header.deleting {
            work.push((key, object.clone()));
        }
    }
    for chunk in work.chunks(PARALLEL) {
        let deletions = chunk.iter().map(|(key, object)| delete(system, key, object));
        for result in futures_util::future::join_all(deletions).await {
            result?;
        }
    }
    Ok(left)
}

/// Deletes one object or begins to. What changed meanwhile is left for the next time.
async fn delete(system: &Arc<System>, key: &Key, object: &Object) -> Result<(), Status> {
    let mut txn = Txn::default();
    txn.compares.push(Compare { key: key.clone(), expect: Expect::Revision(object.revision) });
    if object.header.finalizers.is_empty() {
        txn.deletes.push(key.clone());
    } else {
        let mut value = object.to_value();
        value.set(&["metadata", "deletionTimestamp"], system.registry.timestamp());
        value.set(&["metadata", "deletionGracePeriodSeconds"], 0);
        if let Some(generation) = value.at(&["metadata", "generation"]).and_then(Value::as_i64) {
            value.set(&["metadata", "generation"], generation + 1);
        }
        txn.puts.push(encoded(key.clone(), &value)?);
    }
    match system.tenancy.store().commit(&key.cluster, txn).await {
        Ok(_) => Ok(()),
        Err(CommitError::Refused(_)) => Err(changed("an object that is being deleted")),
        Err(error) => Err(unwritten(&error)),
    }
}

/// What a scope still holds after a purge of several resources.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// Objects that wait for their finalizers, per resource.
    pub(crate) left: Vec<(GroupResource, usize)>,
    /// What has to change before another try can come further.
    pub(crate) wait: Option<(ResourceId, Revision)>,
}

/// Purges several resources of a scope; what holds one of them does not hold the others.
pub(crate) async fn all(
    system: &Arc<System>,
    resources: Vec<ResourceId>,
    scope: &Scope,
) -> Result<Remains, Status> {
    let mut remains = Remains::default();
    for resource in resources {
        let left = objects(system, &resource, scope).await?;
        if let Some(revision) = left.blocked_at {
            let name = GroupResource::new(resource.group(), resource.resource());
            remains.left.push((name, left.count));
            remains.wait.get_or_insert((resource, revision));
        }
    }
    Ok(remains)
}

/// Every resource of a logical cluster but its own object, in the steps in which a workspace is
/// emptied: ordinary content, bindings, namespaces, rights.
pub(crate) fn whole_cluster(system: &System) -> [Vec<ResourceId>; 4] {
    let ids = system.tenancy.ids();
    let rights = [&ids.role_bindings, &ids.roles, &ids.cluster_role_bindings, &ids.cluster_roles];
    let mut content = system.tenancy.store().resources();
    content.retain(|resource| {
        let later = [&ids.bindings, &ids.namespaces, &ids.logical_clusters];
        !later.contains(&resource) && !rights.contains(&resource)
    });
    let (bindings, namespaces) = (vec![ids.bindings.clone()], vec![ids.namespaces.clone()]);
    [content, bindings, namespaces, rights.map(Clone::clone).to_vec()]
}
