//! What an APIBinding object says.

use strait_api::well_known::CROSSING;
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_store::ResourceId;
use strait_types::ClusterName;

/// A binding, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// Its name.
    pub name: String,
    /// Logical cluster of the export, once it is known.
    pub export_cluster: Option<ClusterName>,
    /// Name of the export.
    pub export_name: String,
    /// Whether its resources are served.
    pub bound: bool,
    /// Whether something keeps it from being as its export is now.
    pub waits: bool,
    /// Whether its resources ask for crossings.
    pub crossing: bool,
    /// What is served because of it.
    pub resources: Vec<BoundResource>,
}

/// One resource that a binding brings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BoundResource {
    /// API group.
    pub group: String,
    /// Resource, plural.
    pub resource: String,
    /// UID of the schema.
    pub schema_uid: String,
    /// Identity that objects are stored under.
    pub identity: String,
}

impl BoundResource {
    /// Where the objects are stored.
    #[must_use]
    pub(crate) fn id(&self) -> ResourceId {
        ResourceId::new(&self.group, &self.resource, &self.identity)
    }

    /// Whether a workspace could serve only one of them.
    #[must_use]
    pub(crate) fn is_named_as(&self, other: &Self) -> bool {
        self.group == other.group && self.resource == other.resource
    }
}

impl Binding {
    /// Reads an object.
    #[must_use]
    pub(crate) fn of(object: &Object) -> Self {
        let value = object.to_value();
        let text = |path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
        let export_cluster = value.str_at(&["status", "apiExportClusterName"]);
        Self {
            name: text(&["metadata", "name"]),
            export_cluster: export_cluster.and_then(|name| ClusterName::new(name).ok()),
            export_name: text(&["spec", "reference", "export", "name"]),
            bound: value.str_at(&["status", "phase"]) == Some("Bound"),
            waits: ["Ready", "BindingUpToDate", "APIExportValid"].iter().any(|kind| {
                let conditions = value.array_at(&["status", "conditions"]);
                let own = conditions.iter().find(|own| own.str_at(&["type"]) == Some(kind));
                own.and_then(|own| own.str_at(&["status"])) == Some("False")
            }),
            crossing: value.str_at(&["metadata", "annotations", CROSSING]) == Some("true"),
            resources: bound_resources(&value),
        }
    }

    /// Whether this binds an export.
    #[must_use]
    pub(crate) fn binds(&self, cluster: &ClusterName, export: &str) -> bool {
        self.export_cluster.as_ref() == Some(cluster) && self.export_name == export
    }

    /// What this brings that is stored there.
    #[must_use]
    pub(crate) fn resource(&self, id: &ResourceId) -> Option<&BoundResource> {
        self.resources.iter().find(|bound| bound.id() == *id).filter(|_| self.bound)
    }
}

/// What a binding's status says that it brings.
#[must_use]
pub(crate) fn bound_resources(binding: &Value) -> Vec<BoundResource> {
    let text = |value: &Value, path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
    let bound = binding.array_at(&["status", "boundResources"]).iter();
    bound
        .map(|bound| BoundResource {
            group: text(bound, &["group"]),
            resource: text(bound, &["resource"]),
            schema_uid: text(bound, &["schema", "UID"]),
            identity: text(bound, &["schema", "identityHash"]),
        })
        .collect()
}
