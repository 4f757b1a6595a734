//! Where an object is: resource, logical cluster, namespace, name.
//!
//! Keys order as the bytes of `group/resource/identity/cluster/[namespace/]name`. No part may
//! contain `/`, which the types see to. The API version is not part of a key.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use strait_types::{ClusterName, is_path_segment};

/// A text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a stored key is malformed")]
pub struct MalformedKey;

/// Objects of one resource under one identity: the unit of index, ring and key prefix.
///
/// The identity is empty for kinds that the server itself defines, otherwise the hash that
/// the exporting workspace owns, so that two exporters of one name never meet. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    /// Puts the parts together.
    ///
    /// # Panics
    /// If a part contains `/`; callers pass validated group, resource and hash.
    #[must_use]
    pub fn new(group: &str, resource: &str, identity: &str) -> Self {
        let parts = [group, resource, identity];
        assert!(parts.iter().all(|part| !part.contains('/')), "parts of a resource hold no slash");
        Self(parts.join("/").into())
    }

    /// `group/resource/identity`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The API group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.part(0)
    }

    /// The resource, plural.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.part(1)
    }

    /// The identity hash, or empty.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.part(2)
    }

    fn part(&self, index: usize) -> &str {
        self.0.split('/').nth(index).unwrap_or_default()
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Namespace and name, or a name alone for cluster-scoped objects. Ordered as the bytes of
/// `namespace/name`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(Arc<str>);

impl ObjectName {
    /// A name in a namespace.
    ///
    /// # Panics
    /// If either contains `/` or is empty; callers pass validated names.
    #[must_use]
    pub fn namespaced(namespace: &str, name: &str) -> Self {
        assert!(is_path_segment(namespace) && is_path_segment(name), "names are validated before");
        Self(format!("{namespace}/{name}").into())
    }

    /// A name of cluster scope.
    ///
    /// # Panics
    /// If it contains `/` or is empty; callers pass validated names.
    #[must_use]
    pub fn cluster_scoped(name: &str) -> Self {
        assert!(is_path_segment(name), "names are validated before");
        Self(name.into())
    }

    /// Namespaced if there is a namespace.
    ///
    /// # Panics
    /// As the two constructors.
    #[must_use]
    pub fn new(namespace: Option<&str>, name: &str) -> Self {
        namespace.map_or_else(
            || Self::cluster_scoped(name),
            |namespace| Self::namespaced(namespace, name),
        )
    }

    /// The bytes that order: `namespace/name` or `name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace, if the object has one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0.split_once('/').map(|(namespace, _)| namespace)
    }

    /// The name within its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

impl std::borrow::Borrow<str> for ObjectName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one object in a store. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which resource, under which identity.
    pub resource: ResourceId,
    /// In which logical cluster.
    pub cluster: ClusterName,
    /// Namespace and name.
    pub name: ObjectName,
}

impl Key {
    /// Puts the parts together.
    #[must_use]
    pub const fn new(resource: ResourceId, cluster: ClusterName, name: ObjectName) -> Self {
        Self { resource, cluster, name }
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{}/{}/{}", self.resource.0, self.cluster, self.name.0)
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// It is not one.
    pub fn decode(text: &str) -> Result<Self, MalformedKey> {
        let mut slashes = text.match_indices('/').map(|(at, _)| at);
        let resource_end = slashes.nth(2).ok_or(MalformedKey)?;
        let cluster_end = slashes.next().ok_or(MalformedKey)?;
        let name = &text[cluster_end + 1..];
        let parts_valid = name.split('/').all(is_path_segment) && name.split('/').count() <= 2;
        if !parts_valid {
            return Err(MalformedKey);
        }
        let cluster = ClusterName::new(&text[resource_end + 1..cluster_end]);
        Ok(Self {
            resource: ResourceId(text[..resource_end].into()),
            cluster: cluster.map_err(|_| MalformedKey)?,
            name: ObjectName(name.into()),
        })
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = (self.resource.0.bytes().chain([b'/']), &self.cluster, &self.name);
        let right = (other.resource.0.bytes().chain([b'/']), &other.cluster, &other.name);
        left.0.cmp(right.0).then_with(|| left.1.cmp(right.1)).then_with(|| left.2.cmp(right.2))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(group: &str, identity: &str, cluster: &str, namespace: Option<&str>, name: &str) -> Key {
        let resource = ResourceId::new(group, "things", identity);
        Key::new(resource, ClusterName::new(cluster).unwrap(), ObjectName::new(namespace, name))
    }

    #[test]
    fn keys_round_trip() {
        for key in [
            key("", "", "root", None, "a"),
            key("g.io", "abc", "system:admin", Some("ns"), "a.b:c"),
        ] {
            assert_eq!(Key::decode(&key.encode()), Ok(key.clone()));
        }
        assert_eq!(key("", "", "root", Some("ns"), "n").encode(), "/things//root/ns/n");
        for text in ["", "a/b/c", "a/b/c/root", "a/b/c/root/", "a/b/c/ROOT/x", "a/b/c/root/x/y/z"] {
            assert_eq!(Key::decode(text), Err(MalformedKey), "{text:?}");
        }
    }

    #[test]
    fn keys_order_as_their_stored_form() {
        let mut keys = [
            key("g", "", "ab", Some("a"), "x"),
            key("g", "", "a-b", Some("a-b"), "x"),
            key("g", "", "a", Some("a-b"), "x"),
            key("g", "", "a", Some("a"), "x"),
            key("", "z", "a", Some("a"), "x"),
            key("g", "i", "a", None, "x"),
            key("g-h", "", "a", None, "x"),
        ];
        let mut texts: Vec<_> = keys.iter().map(Key::encode).collect();
        keys.sort();
        texts.sort();
        assert_eq!(keys.iter().map(Key::encode).collect::<Vec<_>>(), texts);
    }
}
