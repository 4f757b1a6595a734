//! Which objects of a resource a read or a watch is about.

use std::ops::Bound;
use std::sync::Arc;

use strait_types::ClusterName;

use crate::ObjectName;

/// A part of a resource's objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every logical cluster.
    All,
    /// One logical cluster.
    Cluster(ClusterName),
    /// One namespace of a logical cluster.
    Namespace(ClusterName, Arc<str>),
    /// One object, whether it exists or not.
    Object(ClusterName, ObjectName),
}

impl Scope {
    /// The logical cluster, where there is only one.
    #[must_use]
    pub const fn cluster(&self) -> Option<&ClusterName> {
        match self {
            Self::All => None,
            Self::Cluster(cluster) | Self::Namespace(cluster, _) | Self::Object(cluster, _) => {
                Some(cluster)
            }
        }
    }

    /// Whether an object of that place belongs to this scope.
    #[must_use]
    pub fn contains(&self, cluster: &ClusterName, name: &ObjectName) -> bool {
        match self {
            Self::All => true,
            Self::Cluster(own) => own == cluster,
            Self::Namespace(own, namespace) => {
                own == cluster && name.namespace() == Some(&**namespace)
            }
            Self::Object(own, own_name) => own == cluster && own_name == name,
        }
    }

    /// The scopes that an object of that place belongs to.
    pub(crate) fn around(cluster: &ClusterName, name: &ObjectName) -> impl Iterator<Item = Self> {
        let namespace = name.namespace().map(|ns| Self::Namespace(cluster.clone(), ns.into()));
        [Self::All, Self::Cluster(cluster.clone()), Self::Object(cluster.clone(), name.clone())]
            .into_iter()
            .chain(namespace)
    }

    /// The range of names inside a cluster, as bytes of `namespace/name`.
    pub(crate) fn names(&self) -> (Bound<String>, Bound<String>) {
        match self {
            Self::All | Self::Cluster(_) => (Bound::Unbounded, Bound::Unbounded),
            // `0` is the byte after `/`.
            Self::Namespace(_, namespace) => {
                (Bound::Included(format!("{namespace}/")), Bound::Excluded(format!("{namespace}0")))
            }
            Self::Object(_, name) => {
                let name = name.as_str().to_owned();
                (Bound::Included(name.clone()), Bound::Included(name))
            }
        }
    }
}
