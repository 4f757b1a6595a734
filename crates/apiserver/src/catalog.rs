//! Which kinds a view serves.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use strait_machinery::names::NameRule;
use strait_machinery::object_meta::Checks;
use strait_machinery::schema::Schema;
use strait_machinery::status::Status;
use strait_machinery::table::Printer;
use strait_machinery::{builtin, discovery};
use strait_store::ResourceId;
use strait_types::{GroupResource, GroupVersion, GroupVersionResource};

use crate::behaviour::Behaviour;
use crate::documents::Documents;

/// A resource in one version, as it is served.
pub struct Resource {
    /// Names, verbs, subresources and schema, as discovery publishes them.
    pub served: discovery::Resource,
    /// Group, version and plural.
    pub gvr: GroupVersionResource,
    /// Where objects are stored. Versions of one resource share it.
    pub id: ResourceId,
    /// What objects look like.
    pub definition: Definition,
    /// What data cannot say of this kind.
    pub behaviour: Arc<dyn Behaviour>,
    /// Makes tables of objects; none for kinds that are not stored.
    pub printer: Option<Arc<Printer>>,
    /// Whether creating an object asks for a crossing, which is audited and stamped.
    pub crossing: bool,
}

/// What objects of a resource look like.
pub enum Definition {
    /// A kind of Kubernetes itself.
    Builtin(&'static builtin::Kind),
    /// A kind described by a structural schema.
    Custom(CustomKind),
}

/// What a structural schema alone does not say of a kind.
pub struct CustomKind {
    /// The schema of one object.
    pub schema: Arc<Schema>,
    /// What names must be.
    pub naming: NameRule,
    /// Whether `status` is written apart from the rest.
    pub has_status: bool,
    /// A warning for clients that use this version; empty: none.
    pub deprecation: Box<str>,
}

impl Resource {
    /// A built-in kind, stored under no identity.
    #[must_use]
    pub fn of_builtin(kind: &'static builtin::Kind, behaviour: Arc<dyn Behaviour>) -> Self {
        let stored = kind.stored_as();
        Self {
            served: discovery::Resource::of_builtin(kind),
            gvr: kind.group_version().resource(kind.plural),
            id: ResourceId::new(stored.group, stored.plural, ""),
            definition: Definition::Builtin(kind),
            behaviour,
            printer: Printer::of_builtin(kind).map(Arc::new),
            crossing: false,
        }
    }

    /// The kind of one object.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.served.gvk.kind
    }

    /// Group and resource, as messages name it.
    #[must_use]
    pub fn group_resource(&self) -> GroupResource {
        self.gvr.group_resource()
    }

    /// Group and version, as objects carry it.
    #[must_use]
    pub fn api_version(&self) -> String {
        self.gvr.group_version().to_string()
    }

    /// Whether objects are in namespaces.
    #[must_use]
    pub const fn is_namespaced(&self) -> bool {
        self.served.namespaced
    }

    /// Whether objects themselves serve a verb.
    #[must_use]
    pub fn serves(&self, verb: &str) -> bool {
        self.served.allows(verb)
    }

    /// Whether a subresource serves a verb; `None` where there is no such subresource.
    #[must_use]
    pub fn subresource_serves(&self, subresource: &str, verb: &str) -> Option<bool> {
        let found = self.served.subresources.iter().find(|own| *own.name == *subresource)?;
        Some(found.verbs.iter().any(|own| **own == *verb))
    }

    /// Whether objects are kept; reviews are only answered.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.serves("get")
    }

    /// What the kind demands of its objects' metadata.
    #[must_use]
    pub const fn metadata_checks(&self) -> Checks {
        match &self.definition {
            Definition::Builtin(kind) => kind.metadata_checks(),
            Definition::Custom(custom) => Checks {
                namespaced: self.served.namespaced,
                name: custom.naming,
                qualified_finalizers: false,
            },
        }
    }

    /// Whether a PUT may leave out the resourceVersion.
    #[must_use]
    pub const fn allows_unconditional_update(&self) -> bool {
        matches!(&self.definition, Definition::Builtin(kind) if kind.unconditional_update)
    }

    /// Whether a PUT to an absent name creates.
    #[must_use]
    pub const fn allows_create_on_update(&self) -> bool {
        matches!(&self.definition, Definition::Builtin(kind) if kind.create_on_update)
    }

    /// Whether this is a kind of Kubernetes itself.
    #[must_use]
    pub const fn is_builtin(&self) -> bool {
        matches!(self.definition, Definition::Builtin(_))
    }
}

/// The resources that a view serves, and the documents that describe them. Immutable; views
/// with the same resources share one.
pub struct Catalog {
    resources: Vec<Arc<Resource>>,
    by_name: HashMap<(GroupVersion, Arc<str>), usize>,
    documents: OnceLock<Documents>,
}

impl Catalog {
    /// A catalog of resources in order of preference: of several versions of a resource the
    /// first is the preferred one.
    #[must_use]
    pub fn new(resources: Vec<Arc<Resource>>) -> Self {
        let by_name = resources.iter().enumerate().map(|(at, resource)| {
            ((resource.gvr.group_version(), resource.gvr.resource.clone()), at)
        });
        Self { by_name: by_name.collect(), resources, documents: OnceLock::new() }
    }

    /// The resources in order of preference.
    #[must_use]
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// The resource of that group, version and plural.
    ///
    /// # Errors
    /// 404 where there is none.
    pub fn find(
        &self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Result<&Arc<Resource>, Status> {
        let key = (GroupVersion::new(group, version), Arc::from(resource));
        self.by_name.get(&key).map(|at| &self.resources[*at]).ok_or_else(Status::unknown_path)
    }

    /// Some version of a resource.
    #[must_use]
    pub fn find_any_version(&self, group: &str, resource: &str) -> Option<&Arc<Resource>> {
        self.resources.iter().find(|own| *own.gvr.group == *group && *own.gvr.resource == *resource)
    }

    /// Discovery and OpenAPI documents, made at the first call.
    pub(crate) fn documents(&self) -> &Documents {
        self.documents.get_or_init(|| Documents::new(&self.resources))
    }
}
