//! Where the objects that tenancy is made of are stored.

use strait_store::{Key, ObjectName, ResourceId};
use strait_types::ClusterName;

use strait_api::well_known::LOGICAL_CLUSTER;

/// Storage of each kind. The kinds of the hub's own exports are under the identity that the
/// export got at the first start.
#[derive(Clone, Debug)]
pub struct Ids {
    /// `namespaces`.
    pub namespaces: ResourceId,
    /// `serviceaccounts`.
    pub service_accounts: ResourceId,
    /// `configmaps`.
    pub config_maps: ResourceId,
    /// `secrets`.
    pub secrets: ResourceId,
    /// `clusterroles`.
    pub cluster_roles: ResourceId,
    /// `clusterrolebindings`.
    pub cluster_role_bindings: ResourceId,
    /// `roles`.
    pub roles: ResourceId,
    /// `rolebindings`.
    pub role_bindings: ResourceId,
    /// `logicalclusters`.
    pub logical_clusters: ResourceId,
    /// `apiresourceschemas`.
    pub schemas: ResourceId,
    /// `apiexports`.
    pub exports: ResourceId,
    /// `apibindings`.
    pub bindings: ResourceId,
    /// `apiexportendpointslices`.
    pub slices: ResourceId,
}

impl Ids {
    /// The fixed ones.
    #[must_use]
    pub fn new() -> Self {
        const RBAC: &str = "rbac.authorization.k8s.io";
        let core = |resource| ResourceId::new("", resource, "");
        let rbac = |resource| ResourceId::new(RBAC, resource, "");
        let apis = |resource| ResourceId::new("apis.kcp.io", resource, "");
        Self {
            namespaces: core("namespaces"),
            service_accounts: core("serviceaccounts"),
            config_maps: core("configmaps"),
            secrets: core("secrets"),
            cluster_roles: rbac("clusterroles"),
            cluster_role_bindings: rbac("clusterrolebindings"),
            roles: rbac("roles"),
            role_bindings: rbac("rolebindings"),
            logical_clusters: ResourceId::new("core.kcp.io", "logicalclusters", ""),
            schemas: apis("apiresourceschemas"),
            exports: apis("apiexports"),
            bindings: apis("apibindings"),
            slices: apis("apiexportendpointslices"),
        }
    }

    /// The key of a logical cluster's one object.
    #[must_use]
    pub fn logical_cluster(&self, cluster: &ClusterName) -> Key {
        let name = ObjectName::cluster_scoped(LOGICAL_CLUSTER);
        Key::new(self.logical_clusters.clone(), cluster.clone(), name)
    }

    /// The key of an export.
    #[must_use]
    pub fn export(&self, cluster: &ClusterName, name: &str) -> Key {
        Key::new(self.exports.clone(), cluster.clone(), ObjectName::cluster_scoped(name))
    }

    /// The key of a schema.
    #[must_use]
    pub fn schema(&self, cluster: &ClusterName, name: &str) -> Key {
        Key::new(self.schemas.clone(), cluster.clone(), ObjectName::cluster_scoped(name))
    }

    /// The key of a binding.
    #[must_use]
    pub fn binding(&self, cluster: &ClusterName, name: &str) -> Key {
        Key::new(self.bindings.clone(), cluster.clone(), ObjectName::cluster_scoped(name))
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self::new()
    }
}

/// The logical cluster that holds a copy of every bound schema, named by its uid: bindings go
/// on serving what they bound whatever becomes of the provider's objects.
///
/// # Panics
/// Never: the name is valid.
#[must_use]
pub(crate) fn bound_schemas() -> ClusterName {
    ClusterName::new("system:bound-crds").expect("the name is valid")
}
