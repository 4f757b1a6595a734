//! What tells objects of all workspaces apart.

use std::fmt;
use std::sync::Arc;

use strait_types::{ClusterName, GroupVersionResource, Uid};

/// An object of one endpoint. Two objects never share a key, not even one that was deleted and
/// made again under the same name: the uid differs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Name of the endpoint.
    pub endpoint: Arc<str>,
    /// The logical cluster, as the server marked the object.
    pub cluster: ClusterName,
    /// None for cluster-scoped objects.
    pub namespace: Option<Box<str>>,
    /// The name.
    pub name: Box<str>,
    /// The uid.
    pub uid: Uid,
}

impl ObjectKey {
    /// The object's path below an endpoint's URL.
    #[must_use]
    pub fn path(&self, resource: &GroupVersionResource) -> String {
        let collection =
            collection_path(self.cluster.as_str(), self.namespace.as_deref(), resource);
        format!("{collection}/{}", self.name)
    }
}

/// The path of a kind's objects below an endpoint's URL; `*` names every logical cluster.
pub(crate) fn collection_path(
    cluster: &str,
    namespace: Option<&str>,
    resource: &GroupVersionResource,
) -> String {
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let group_version = resource.group_version();
    let namespace = namespace.map(|name| format!("namespaces/{name}/")).unwrap_or_default();
    let resource = &resource.resource;
    format!("/clusters/{cluster}/{root}/{group_version}/{namespace}{resource}")
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}|{}|", self.endpoint, self.cluster)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}", self.name)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_the_objects_own_cluster() {
        let mut key = ObjectKey {
            endpoint: "hub".into(),
            cluster: ClusterName::new("37qd").unwrap(),
            namespace: Some("default".into()),
            name: "a".into(),
            uid: Uid::from_random([1; 16]),
        };
        let signing = GroupVersionResource::new("s.dev", "v1alpha1", "signingrequests");
        assert_eq!(
            key.path(&signing),
            "/clusters/37qd/apis/s.dev/v1alpha1/namespaces/default/signingrequests/a"
        );
        key.namespace = None;
        assert_eq!(
            key.path(&GroupVersionResource::new("", "v1", "nodes")),
            "/clusters/37qd/api/v1/nodes/a"
        );
        assert_eq!(key.to_string(), "hub|37qd|a");
    }
}
