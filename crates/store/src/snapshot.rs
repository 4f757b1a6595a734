//! A resource's objects at one revision.

use std::ops::Bound;
use std::sync::Arc;

use strait_machinery::object::Object;
use strait_types::{ClusterName, Revision};

use crate::index::{Objects, Root};
use crate::{ObjectName, Scope};

/// An immutable state. Cheap to make and to keep; holds every write up to its revision and
/// none after.
#[derive(Clone)]
pub struct Snapshot {
    revision: Revision,
    root: Root,
}

impl Snapshot {
    pub(crate) const fn new(revision: Revision, root: Root) -> Self {
        Self { revision, root }
    }

    /// The revision.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// One object.
    #[must_use]
    pub fn get(&self, cluster: &ClusterName, name: &ObjectName) -> Option<&Arc<Object>> {
        self.root.get(cluster)?.get(name)
    }

    /// Number of objects in a logical cluster.
    #[must_use]
    pub fn count(&self, cluster: &ClusterName) -> usize {
        self.root.get(cluster).map_or(0, Objects::len)
    }

    /// The objects of one logical cluster, to compare with those of another moment.
    #[must_use]
    pub fn part(&self, cluster: &ClusterName) -> Part {
        Part(self.root.get(cluster).cloned())
    }

    /// The objects of a scope in key order.
    pub fn iter<'a>(
        &'a self,
        scope: &'a Scope,
    ) -> impl Iterator<Item = (&'a ClusterName, &'a ObjectName, &'a Arc<Object>)> {
        self.iter_after(scope, None)
    }

    /// The objects of a scope in key order, from behind a place.
    pub fn iter_after<'a>(
        &'a self,
        scope: &'a Scope,
        after: Option<(&'a ClusterName, &'a ObjectName)>,
    ) -> impl Iterator<Item = (&'a ClusterName, &'a ObjectName, &'a Arc<Object>)> {
        let clusters = match (scope.cluster(), after) {
            (Some(cluster), _) => (Bound::Included(cluster), Bound::Included(cluster)),
            (None, Some((cluster, _))) => (Bound::Included(cluster), Bound::Unbounded),
            (None, None) => (Bound::Unbounded, Bound::Unbounded),
        };
        self.root.range::<_, ClusterName>(clusters).flat_map(move |(cluster, objects)| {
            let (mut from, to) = scope.names();
            if let Some((_, name)) = after.filter(|(after, _)| *after == cluster) {
                from = Bound::Excluded(name.as_str().to_owned());
            }
            let range = (from.as_ref().map(String::as_str), to.as_ref().map(String::as_str));
            objects.range::<_, str>(range).map(move |(name, object)| (cluster, name, object))
        })
    }
}

/// One logical cluster's objects of a resource at some moment. Cheap to make, to keep and to
/// compare: equal means that nothing was written there in between.
#[derive(Clone)]
pub struct Part(Option<Objects>);

impl PartialEq for Part {
    /// By identity. May be false where the objects are equal again.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(own), Some(others)) => own.ptr_eq(others),
            _ => false,
        }
    }
}

impl Part {
    /// The objects in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectName, &Arc<Object>)> {
        self.0.iter().flatten()
    }
}
