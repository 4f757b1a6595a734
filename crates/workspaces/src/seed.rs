//! Objects that the hub itself makes.

use strait_api::well_known::CLUSTER;
use strait_apiserver::registry::Registry;
use strait_machinery::json::Value;
use strait_machinery::object::{Body, Header};
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Committed, Key, ObjectName, Put, ResourceId, Txn};
use strait_types::{ClusterName, GroupResource, Report};

/// Makes objects of one logical cluster with the metadata that the server sets.
pub(crate) struct Seed<'a> {
    registry: &'a Registry,
    cluster: &'a ClusterName,
}

impl<'a> Seed<'a> {
    pub(crate) const fn new(registry: &'a Registry, cluster: &'a ClusterName) -> Self {
        Self { registry, cluster }
    }

    /// An object to write. `value` has its type and content, and what metadata it needs beyond
    /// name, namespace, uid, creation time and cluster.
    ///
    /// # Errors
    /// 500: the object cannot be encoded.
    pub(crate) fn put(
        &self,
        resource: &ResourceId,
        name: &ObjectName,
        mut value: Value,
    ) -> Result<Put, Status> {
        let metadata = value.make_object().object_mut("metadata");
        metadata.insert("name", name.name());
        if let Some(namespace) = name.namespace() {
            metadata.insert("namespace", namespace);
        }
        metadata.insert("uid", self.registry.new_uid().to_string());
        metadata.insert("creationTimestamp", self.registry.timestamp());
        metadata.object_mut("annotations").insert(CLUSTER, self.cluster.as_str());
        let key = Key::new(resource.clone(), self.cluster.clone(), name.clone());
        encoded(key, &value)
    }
}

/// A tree as something to write.
///
/// # Errors
/// 500: the object cannot be encoded.
pub(crate) fn encoded(key: Key, value: &Value) -> Result<Put, Status> {
    let broken = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(err = %Report(error), ?key, "an object of the hub cannot be stored");
        Status::internal("an object cannot be stored")
    };
    let body = Body::encode(value).map_err(|error| broken(&error))?;
    let header = Header::of(value).map_err(|error| broken(&error))?;
    Ok(Put { key, body, header, lease: None })
}

/// Creates objects in one transaction. Each is of another resource, and none may exist.
/// Nothing where one does.
///
/// # Errors
/// The store takes no write.
pub(crate) async fn create(
    registry: &Registry,
    cluster: &ClusterName,
    puts: Vec<Put>,
    guards: Vec<Compare>,
) -> Result<Option<Committed>, Status> {
    let absent = |put: &Put| Compare { key: put.key.clone(), expect: Expect::Absent };
    let compares = puts.iter().map(absent).chain(guards).collect();
    let txn = Txn { compares, puts, deletes: Vec::new() };
    match registry.store().commit(cluster, txn).await {
        Ok(committed) => Ok(Some(committed)),
        Err(CommitError::Refused(_)) => Ok(None),
        Err(error) => Err(unwritten(&error)),
    }
}

/// What was looked at is no longer so: to be looked at again.
pub(crate) fn changed(what: &str) -> Status {
    Status::conflict(&GroupResource::new("", ""), "", &format!("{what} changed meanwhile"))
}

/// The store's refusal, for the log and for retries.
pub(crate) fn unwritten(error: &CommitError) -> Status {
    match error {
        CommitError::Busy => Status::too_many_requests("too many writes are waiting", 1),
        _ => Status::unavailable(error.to_string()),
    }
}
