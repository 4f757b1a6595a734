//! Reads and writes of objects, with everything that stands between a request and the store:
//! decoding, defaults, validation, preconditions, guards, audit.
//!
//! The HTTP handlers and the hub's own controllers write through here alike.

mod create;
mod delete;
mod read;
mod shape;
mod update;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strait_auth::User;
use strait_machinery::go_text::quoted;
use strait_machinery::json::Value;
use strait_machinery::names::path_segment;
use strait_machinery::object::{Body, Object};
use strait_machinery::status::Status;
use strait_runtime::{Clock, Entropy};
use strait_store::engine::{Compare, Expect, LeaseId};
use strait_store::{CommitError, Key, ObjectName, ResourceId, Store};
use strait_types::{ClusterName, Report, Uid};

pub use self::read::{List, ListOptions, RevisionMatch};
pub(crate) use self::read::{parse_revision, refuse};
use crate::behaviour::Admission;
use crate::catalog::{Definition, Resource};
use crate::continuation::Sealer;
use crate::crossing::Crossings;
use crate::view::View;

/// Largest stored object, bytes (etcd's request limit, which clients know).
pub const OBJECT_MAX: usize = 1_572_864;

/// Attempts at a write whose guards or object changed meanwhile.
const ATTEMPTS: usize = 5;

/// Life of an Event, as of kube-apiserver's `--event-ttl`.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// Events share a lease for this long, so that leases stay few.
const EVENT_LEASE_SHARED: Duration = Duration::from_secs(300);

/// Everything that reading and writing objects needs. Clones share it.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sealer: Sealer,
    crossings: Arc<dyn Crossings>,
    namespaces: ResourceId,
    event_lease: Mutex<Option<(Duration, LeaseId)>>,
}

/// A write or read of one resource through a view.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Through what.
    pub view: &'a dyn View,
    /// Which kind.
    pub resource: &'a Arc<Resource>,
    /// In which logical cluster.
    pub cluster: &'a ClusterName,
    /// In which namespace, if the kind has them.
    pub namespace: Option<&'a str>,
    /// For whom.
    pub user: &'a User,
    /// Through which subresource; empty: the object itself.
    pub subresource: &'a str,
}

/// An object as a client sent it.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    /// The tree.
    pub value: Value,
    /// What strict validation has against the text, e.g. `duplicate field "spec.x"`.
    pub strict_errors: Vec<String>,
    /// The text, to be quoted where it is refused.
    pub raw: Bytes,
}

impl From<Value> for Incoming {
    fn from(value: Value) -> Self {
        Self { value, ..Self::default() }
    }
}

/// What a write led to.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object.
    pub object: Shown,
    /// Whether it is new.
    pub created: bool,
    /// For the client's `Warning` headers.
    pub warnings: Vec<String>,
}

/// An object to show.
#[derive(Clone, Debug)]
pub enum Shown {
    /// As stored.
    Stored(Arc<Object>),
    /// As it would be stored, without a revision of its own.
    Dry(Value),
}

/// What a deletion led to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; this is what it last was.
    Gone(Shown),
    /// The object waits for its finalizers.
    Waiting(Shown),
}

impl Shown {
    /// The object as a tree.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Stored(object) => object.to_value(),
            Self::Dry(value) => value.clone(),
        }
    }
}

impl Registry {
    /// Puts a registry together.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        sealer: Sealer,
        crossings: Arc<dyn Crossings>,
    ) -> Self {
        let namespaces = ResourceId::new("", "namespaces", "");
        let event_lease = Mutex::default();
        Self(Arc::new(Inner { store, clock, entropy, sealer, crossings, namespaces, event_lease }))
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// The source of randomness.
    #[must_use]
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.0.entropy
    }

    /// A fresh uid.
    #[must_use]
    pub fn new_uid(&self) -> Uid {
        Uid::from_random(strait_runtime::random_16(self.entropy()))
    }

    /// Now, as `metadata.creationTimestamp` writes it: RFC 3339, whole seconds, UTC.
    #[must_use]
    pub fn timestamp(&self) -> String {
        self.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// An object as it is now.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Object>> {
        self.store().snapshot(&key.resource).get(&key.cluster, &key.name).cloned()
    }

    /// What must hold for content to be written in a namespace: that it is there and stays.
    fn namespace_guard(&self, call: &Call<'_>, name: &str) -> Result<Option<Compare>, Status> {
        let Some(namespace) = call.namespace.filter(|_| call.resource.is_namespaced()) else {
            return Ok(None);
        };
        let object_name = ObjectName::cluster_scoped(namespace);
        let key = Key::new(self.0.namespaces.clone(), call.cluster.clone(), object_name);
        let Some(object) = self.find(&key) else {
            let resource = strait_types::GroupResource::new("", "namespaces");
            return Err(Status::not_found(&resource, namespace));
        };
        if object.header.deleting {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let cause = format!("namespace {namespace} is being terminated");
            return Err(Status::forbidden(&call.resource.group_resource(), name, &why).cause(
                "NamespaceTerminating",
                cause,
                "metadata.namespace",
            ));
        }
        Ok(Some(Compare { key, expect: Expect::Revision(object.revision) }))
    }

    /// The lease that a new object's life hangs on: Events go after an hour.
    async fn lease_for(&self, resource: &Resource) -> Result<Option<LeaseId>, Status> {
        if resource.id.resource() != "events" || !resource.is_builtin() {
            return Ok(None);
        }
        let now = self.clock().monotonic();
        let shared = *self.0.event_lease.lock();
        if let Some((since, lease)) = shared
            && now.saturating_sub(since) < EVENT_LEASE_SHARED
        {
            return Ok(Some(lease));
        }
        let lease = self.store().grant(EVENT_TTL + EVENT_LEASE_SHARED).await;
        let lease = lease.map_err(|error| unwritten(&error))?;
        *self.0.event_lease.lock() = Some((now, lease));
        Ok(Some(lease))
    }
}

impl<'a> Call<'a> {
    /// What behaviours see of the call.
    pub(crate) fn admission(&self, registry: &'a Registry, dry_run: bool) -> Admission<'a> {
        Admission {
            registry,
            resource: self.resource,
            cluster: self.cluster,
            namespace: self.namespace,
            user: self.user,
            subresource: self.subresource,
            dry_run,
        }
    }

    /// The key of an object of that name.
    ///
    /// # Errors
    /// 400 or 404: no object can have such a name.
    pub fn key(&self, name: &str) -> Result<Key, Status> {
        let namespace = self.namespace.filter(|_| self.resource.is_namespaced());
        if let Some(why) = path_segment(name).first() {
            return Err(Status::bad_request(format!(
                "Name parameter invalid: {}: {why}",
                quoted(name)
            )));
        }
        if !strait_types::is_path_segment(name)
            || !namespace.is_none_or(strait_types::is_path_segment)
        {
            return Err(self.not_found(name));
        }
        let name = ObjectName::new(namespace, name);
        Ok(Key::new(self.resource.id.clone(), self.cluster.clone(), name))
    }

    /// The 404 for an object of that name.
    #[must_use]
    pub fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.resource.group_resource(), name)
    }

    /// The 422 for an object, by the kind that it is stored as.
    fn invalid(&self, name: &str, errors: &[strait_machinery::field::FieldError]) -> Status {
        let group = match &self.resource.definition {
            Definition::Builtin(kind) => kind.stored_as().group,
            Definition::Custom(_) => &self.resource.gvr.group,
        };
        Status::invalid(group, self.resource.kind(), name, errors)
    }

    fn conflict(&self, name: &str, why: &str) -> Status {
        Status::conflict(&self.resource.group_resource(), name, why)
    }

    fn changed(&self, name: &str) -> Status {
        self.conflict(
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }
}

/// The stored form of a tree: the bytes, at most [`OBJECT_MAX`].
fn encode(value: &Value) -> Result<Body, Status> {
    let body = Body::encode(value).map_err(|error| {
        tracing::error!(err = %Report(&error), "an admitted object cannot be stored");
        Status::internal("the object cannot be stored")
    })?;
    if body.as_bytes().len() > OBJECT_MAX {
        return Err(Status::too_large(OBJECT_MAX));
    }
    Ok(body)
}

/// What a client is told when the store takes no write.
fn unwritten(error: &CommitError) -> Status {
    match error {
        CommitError::Busy => {
            Status::too_many_requests("too many writes of this workspace are waiting", 1)
        }
        CommitError::Full => {
            Status::internal("the server has no space left, nothing was written; reads go on")
        }
        CommitError::Closed => {
            Status::unavailable("the server is shutting down, nothing was written").retry_after(5)
        }
        _ => Status::internal("the store failed, nothing was written"),
    }
}
