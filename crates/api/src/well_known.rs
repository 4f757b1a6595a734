//! Annotations, labels, finalizers and names that more than one crate knows.
//!
//! Those under `kcp.io` mean what kcp means by them; those under `strait.dev` are ours.

/// Logical cluster of an object; on every object, set by the server.
pub const CLUSTER: &str = "kcp.io/cluster";

/// Canonical path of a logical cluster; on it and on what others refer to by path.
pub const PATH: &str = "kcp.io/path";

/// Type of a logical cluster: `path:name`.
pub const TYPE: &str = "internal.tenancy.kcp.io/type";

/// Logical cluster chosen for a workspace, before there is one.
pub const CHOSEN_CLUSTER: &str = "internal.tenancy.kcp.io/cluster";

/// User who asked for a workspace: JSON of a `UserInfo`.
pub const OWNER: &str = "experimental.tenancy.kcp.io/owner";

/// Phase of a workspace or logical cluster, as a label.
pub const PHASE_LABEL: &str = "tenancy.kcp.io/phase";

/// Shard of a workspace or logical cluster. There is one: `root`.
pub const SHARD: &str = "core.kcp.io/shard";

/// Holds a workspace until its logical cluster is gone.
pub const LOGICAL_CLUSTER_FINALIZER: &str = "core.kcp.io/logicalcluster";

/// Holds a logical cluster until its content is gone.
pub const DELETION_FINALIZER: &str = "core.kcp.io/logicalcluster-deletion";

/// Holds a binding until the objects that it served are gone.
pub const BINDING_FINALIZER: &str = "apis.kcp.io/apibinding-finalizer";

/// Which binding brings which resource into a logical cluster; on it: JSON of `plural.group` to
/// `{"n": binding}`.
pub const RESOURCE_BINDINGS: &str = "internal.apis.kcp.io/resource-bindings";

/// Says on an export, by being there, that it gets no endpoint slice of its own.
pub const SKIP_ENDPOINT_SLICE: &str = "apiexports.apis.kcp.io/skip-endpointslice";

/// Says on an export that creating one of its objects asks for a crossing. The server copies it
/// to the export's bindings.
pub const CROSSING: &str = "requests.strait.dev/crossing";

/// Name of the one LogicalCluster object.
pub const LOGICAL_CLUSTER: &str = "cluster";

/// ClusterRoleBinding that gives a workspace to who asked for it.
pub const WORKSPACE_ADMIN: &str = "workspace-admin";

/// Namespace of identity secrets.
pub const IDENTITY_NAMESPACE: &str = "kcp-system";

/// Exports that the hub itself provides, in the workspace `root`.
pub const TENANCY_EXPORT: &str = "tenancy.kcp.io";
/// Agents.
pub const RELAY_EXPORT: &str = "relay.strait.dev";
/// What agents say of requests.
pub const REQUESTS_EXPORT: &str = "requests.strait.dev";
