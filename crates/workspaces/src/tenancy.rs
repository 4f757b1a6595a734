//! Who is where: from paths to logical clusters, and what state these are in.

use std::sync::Arc;

use parking_lot::RwLock;
use strait_api::well_known::{PATH, TYPE};
use strait_machinery::object::Object;
use strait_store::{Key, ObjectName, ResourceId, Store};
use strait_types::{ClusterName, Revision, WorkspacePath};

use crate::ids::Ids;
use crate::parsed::Parsed;

/// Where a logical cluster is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet usable.
    Scheduling,
    /// Initializers work in it.
    Initializing,
    /// In use.
    Ready,
    /// Something it needs is broken.
    Unavailable,
    /// Frozen.
    Inactive,
    /// Terminators work in it.
    Terminating,
    /// Its content is being removed.
    Deleting,
}

impl Phase {
    fn parse(text: &str) -> Self {
        match text {
            "Initializing" => Self::Initializing,
            "Ready" => Self::Ready,
            "Unavailable" => Self::Unavailable,
            "Inactive" => Self::Inactive,
            "Terminating" => Self::Terminating,
            "Deleting" => Self::Deleting,
            _ => Self::Scheduling,
        }
    }

    /// Whether users may enter.
    #[must_use]
    pub const fn is_enterable(self) -> bool {
        !matches!(self, Self::Scheduling | Self::Unavailable)
    }
}

/// What a LogicalCluster object says.
#[derive(Clone, Debug)]
pub struct LogicalCluster {
    /// Where it is in its life.
    pub phase: Phase,
    /// Its canonical path.
    pub path: Option<WorkspacePath>,
    /// `path:name` of its type.
    pub kind: String,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// The revision of the object.
    pub revision: Revision,
}

/// What a Workspace object says of the logical cluster behind it.
#[derive(Clone, Debug)]
struct Child {
    cluster: Option<ClusterName>,
}

/// Answers questions about workspaces out of the store. Clones share it.
#[derive(Clone)]
pub struct Tenancy(Arc<Inner>);

struct Inner {
    store: Store,
    ids: Ids,
    /// Set once the hub knows the identity of its own tenancy export.
    workspaces: RwLock<Option<ResourceId>>,
    clusters: Parsed<LogicalCluster>,
    children: Parsed<Child>,
}

impl Tenancy {
    /// Reads from a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let (clusters, children) = (Parsed::new(parse_cluster), Parsed::new(parse_child));
        let workspaces = RwLock::default();
        Self(Arc::new(Inner { store, ids: Ids::new(), workspaces, clusters, children }))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Where things are stored.
    #[must_use]
    pub fn ids(&self) -> &Ids {
        &self.0.ids
    }

    /// Tells where Workspace objects are stored.
    pub fn set_workspaces(&self, id: ResourceId) {
        *self.0.workspaces.write() = Some(id);
    }

    /// Where Workspace objects are stored.
    #[must_use]
    pub fn workspaces(&self) -> Option<ResourceId> {
        self.0.workspaces.read().clone()
    }

    /// An object as it is now.
    #[must_use]
    pub fn find(&self, key: &Key) -> Option<Arc<Object>> {
        self.store().snapshot(&key.resource).get(&key.cluster, &key.name).cloned()
    }

    /// What is known of a logical cluster; none if there is no such.
    #[must_use]
    pub fn cluster(&self, cluster: &ClusterName) -> Option<Arc<LogicalCluster>> {
        let key = self.ids().logical_cluster(cluster);
        let object = self.find(&key)?;
        Some(self.0.clusters.of(&key, &object))
    }

    /// The logical cluster behind a path: its first segment names one, the others are walked.
    #[must_use]
    pub fn resolve(&self, path: &WorkspacePath) -> Option<ClusterName> {
        let (mut cluster, names) = path.split();
        for name in names {
            let key = Key::new(self.workspaces()?, cluster, ObjectName::cluster_scoped(name));
            let object = self.find(&key)?;
            cluster = self.0.children.of(&key, &object).cluster.clone()?;
        }
        Some(cluster)
    }

    /// The canonical path of a logical cluster, as the hub knows it.
    #[must_use]
    pub fn path(&self, cluster: &ClusterName) -> Option<WorkspacePath> {
        self.cluster(cluster)?.path.clone()
    }

    /// The path that workspaces below a logical cluster continue.
    #[must_use]
    pub fn path_of(&self, cluster: &ClusterName) -> WorkspacePath {
        self.path(cluster).unwrap_or_else(|| WorkspacePath::from(cluster))
    }

    /// A reference by path to a logical cluster that is there; an empty path is `own`.
    #[must_use]
    pub fn refer(&self, path: &str, own: &ClusterName) -> Option<ClusterName> {
        if path.is_empty() {
            return Some(own.clone());
        }
        let found = self.resolve(&WorkspacePath::new(path).ok()?)?;
        // A cluster may refer to itself before it is complete.
        (found == *own || self.cluster(&found).is_some()).then_some(found)
    }
}

fn parse_cluster(object: &Object) -> LogicalCluster {
    let value = object.to_value();
    let annotation = |key: &str| value.str_at(&["metadata", "annotations", key]);
    LogicalCluster {
        phase: Phase::parse(value.str_at(&["status", "phase"]).unwrap_or_default()),
        path: annotation(PATH).and_then(|path| WorkspacePath::new(path).ok()),
        kind: annotation(TYPE).unwrap_or_default().to_owned(),
        deleting: object.header.deleting,
        revision: object.revision,
    }
}

fn parse_child(object: &Object) -> Child {
    let value = object.to_value();
    let cluster = value.str_at(&["spec", "cluster"]).and_then(|name| ClusterName::new(name).ok());
    Child { cluster }
}
