//! The kinds of kcp's and our own groups, as files in the form of an APIResourceSchema's spec.

/// One kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindFile {
    /// `plural.group`, which is also the file's name.
    pub name: &'static str,
    /// YAML of an APIResourceSchema's spec.
    pub text: &'static str,
}

macro_rules! kinds {
    ($($name:literal),* $(,)?) => {
        [$(KindFile { name: $name, text: include_str!(concat!("../kinds/", $name, ".yaml")) }),*]
    };
}

/// Kinds that every workspace has.
pub const SYSTEM: [KindFile; 5] = kinds![
    "apibindings.apis.kcp.io",
    "apiexportendpointslices.apis.kcp.io",
    "apiexports.apis.kcp.io",
    "apiresourceschemas.apis.kcp.io",
    "logicalclusters.core.kcp.io",
];

/// Kinds of the export `tenancy.kcp.io`.
pub const TENANCY: [KindFile; 2] =
    kinds!["workspaces.tenancy.kcp.io", "workspacetypes.tenancy.kcp.io"];

/// Kinds of the export `relay.strait.dev`.
pub const RELAY: [KindFile; 1] = kinds!["agents.relay.strait.dev"];

/// Kinds of the export `requests.strait.dev`.
pub const REQUESTS: [KindFile; 1] = kinds!["requestclassviews.requests.strait.dev"];
