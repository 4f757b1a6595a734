//! Which kinds each workspace and each export serves.
//!
//! A workspace serves the system's kinds and what its bindings brought. Compiled schemas are
//! shared by schema and identity, catalogs by their content, so a workspace that binds what
//! others bind costs an entry in a map.
//!
//! Everything kept here is compared with the store at every use, so none of it can be stale.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use strait_api::well_known::CROSSING;
use strait_apiserver::catalog::{Catalog, CustomKind, Definition, Resource};
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_store::{Key, Part, ResourceId};
use strait_types::{ClusterName, GroupResource, Revision};

use crate::binding::Binding;
use crate::ids::bound_schemas;
use crate::kind::{Extras, beside, resources};
use crate::parsed::Parsed;
use crate::tenancy::Tenancy;

/// Workspaces whose catalogs are kept; at the limit the cache starts over.
const CATALOGS_MAX: usize = 20_000;

/// Compiled schemas that are kept; at the limit the cache starts over.
const SCHEMAS_MAX: usize = 5_000;

/// Exports whose catalogs are kept; at the limit the cache starts over.
const EXPORTS_MAX: usize = 5_000;

/// Resources of one schema under one identity, crossing or not.
type SchemaKey = (String, String, bool);

/// The served versions of one schema's resource.
type Compiled = Arc<[Arc<Resource>]>;

/// Makes and keeps catalogs.
pub struct Catalogs {
    tenancy: Tenancy,
    system: Vec<Arc<Resource>>,
    /// Hooks of the hub's own exported kinds.
    extras: HashMap<GroupResource, Extras>,
    /// Identities of the hub's own exports; hooks go with these and no other.
    own_identities: RwLock<Vec<String>>,
    schemas: RwLock<HashMap<SchemaKey, Compiled>>,
    shared: RwLock<HashMap<Vec<SchemaKey>, Weak<Catalog>>>,
    workspaces: RwLock<HashMap<ClusterName, (Part, Arc<WorkspaceCatalog>)>>,
    exports: RwLock<HashMap<Key, (ExportState, Arc<ExportCatalog>)>>,
    bindings: Parsed<Binding>,
}

/// What an export's catalog was made of: the export, and the schemas of its workspace.
#[derive(PartialEq)]
struct ExportState(Revision, Part);

/// What a workspace serves, and by which binding.
pub struct WorkspaceCatalog {
    /// The resources.
    pub catalog: Arc<Catalog>,
    /// Bindings by what they bring, as they were when this was made.
    bound_by: HashMap<ResourceId, Arc<Binding>>,
}

impl WorkspaceCatalog {
    /// The binding that brings what is stored there.
    #[must_use]
    pub(crate) fn binding(&self, id: &ResourceId) -> Option<&Arc<Binding>> {
        self.bound_by.get(id)
    }
}

/// What an export is, for its virtual workspace.
pub struct ExportCatalog {
    /// The resources as exported now, and bindings to read.
    pub catalog: Arc<Catalog>,
    /// Where objects of its resources are stored.
    pub identity: String,
}

impl Catalogs {
    /// `system` are the kinds that every workspace has, `extras` the hooks of the kinds that
    /// the hub's own exports bring.
    #[must_use]
    pub fn new(
        tenancy: Tenancy,
        system: Vec<Arc<Resource>>,
        extras: HashMap<GroupResource, Extras>,
    ) -> Self {
        Self {
            tenancy,
            system,
            extras,
            own_identities: RwLock::default(),
            schemas: RwLock::default(),
            shared: RwLock::default(),
            workspaces: RwLock::default(),
            exports: RwLock::default(),
            bindings: Parsed::new(Binding::of),
        }
    }

    /// Tells the identities of the hub's own exports.
    pub fn set_own_identities(&self, identities: Vec<String>) {
        *self.own_identities.write() = identities;
    }

    /// The kinds that every workspace has.
    #[must_use]
    pub fn system(&self) -> &[Arc<Resource>] {
        &self.system
    }

    /// What a workspace serves now.
    #[must_use]
    pub fn of(&self, cluster: &ClusterName) -> Arc<WorkspaceCatalog> {
        let part = self.tenancy.store().snapshot(&self.tenancy.ids().bindings).part(cluster);
        if let Some((then, catalog)) = self.workspaces.read().get(cluster)
            && *then == part
        {
            return catalog.clone();
        }
        let catalog = Arc::new(self.build(cluster, &part));
        let mut workspaces = self.workspaces.write();
        if workspaces.len() >= CATALOGS_MAX {
            workspaces.clear();
        }
        workspaces.insert(cluster.clone(), (part, catalog.clone()));
        catalog
    }

    fn build(&self, cluster: &ClusterName, bindings: &Part) -> WorkspaceCatalog {
        let mut bound_by = HashMap::new();
        let mut keys = Vec::new();
        for (name, object) in bindings.iter() {
            let key = self.tenancy.ids().binding(cluster, name.name());
            let binding = self.bindings.of(&key, object);
            for bound in binding.resources.iter().filter(|_| binding.bound) {
                bound_by.entry(bound.id()).or_insert_with(|| binding.clone());
                keys.push((bound.schema_uid.clone(), bound.identity.clone(), binding.crossing));
            }
        }
        keys.sort();
        keys.dedup();
        WorkspaceCatalog { catalog: self.shared(keys), bound_by }
    }

    /// The catalog of the system's kinds and those schemas.
    fn shared(&self, keys: Vec<SchemaKey>) -> Arc<Catalog> {
        if let Some(catalog) = self.shared.read().get(&keys).and_then(Weak::upgrade) {
            return catalog;
        }
        let bound = keys.iter().flat_map(|key| self.bound_schema(key).to_vec());
        let all = self.system.iter().cloned().chain(bound).collect();
        let catalog = Arc::new(Catalog::new(all));
        let mut shared = self.shared.write();
        shared.retain(|_, catalog| catalog.strong_count() > 0);
        shared.insert(keys, Arc::downgrade(&catalog));
        catalog
    }

    /// The resources of a schema that some workspace bound; none where its copy is missing.
    fn bound_schema(&self, key: &SchemaKey) -> Compiled {
        self.compiled(key, || {
            let found = self.tenancy.find(&self.tenancy.ids().schema(&bound_schemas(), &key.0));
            if found.is_none() {
                tracing::error!(schema = key.0, "a bound schema is missing");
            }
            found
        })
    }

    /// The resources of a schema; `find` looks it up where they are not known.
    fn compiled(&self, key: &SchemaKey, find: impl FnOnce() -> Option<Arc<Object>>) -> Compiled {
        if let Some(resources) = self.schemas.read().get(key) {
            return resources.clone();
        }
        let Some(schema) = find() else {
            return Arc::new([]);
        };
        let made = self.compile(&schema.to_value(), &key.1, key.2);
        let mut schemas = self.schemas.write();
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(key.clone(), made.clone());
        made
    }

    fn compile(&self, schema: &Value, identity: &str, crossing: bool) -> Compiled {
        let text = |path: &[&str]| schema.str_at(path).unwrap_or_default();
        let name = GroupResource::new(text(&["spec", "group"]), text(&["spec", "names", "plural"]));
        let own = self.own_identities.read().iter().any(|own| own == identity);
        let extras = self.extras.get(&name).filter(|_| own).cloned().unwrap_or_else(Extras::none);
        let spec = schema.get("spec").unwrap_or(&Value::Null);
        match resources(spec, identity, &extras, crossing) {
            Ok(resources) => resources.into_iter().chain(beside(&extras, identity)).collect(),
            Err(errors) => {
                let errors = strait_machinery::field::aggregate(&errors);
                tracing::error!(schema = %name, errors, "a stored schema does not compile");
                Arc::new([])
            }
        }
    }

    /// What the virtual workspace of an export serves now; none if there is no such export or
    /// it has no identity yet.
    #[must_use]
    pub fn of_export(&self, cluster: &ClusterName, export: &str) -> Option<Arc<ExportCatalog>> {
        let key = self.tenancy.ids().export(cluster, export);
        let object = self.tenancy.find(&key)?;
        let schemas = self.tenancy.store().snapshot(&self.tenancy.ids().schemas).part(cluster);
        let state = ExportState(object.revision, schemas);
        if let Some((then, catalog)) = self.exports.read().get(&key)
            && *then == state
        {
            return Some(catalog.clone());
        }
        let catalog = Arc::new(self.build_export(cluster, &object.to_value())?);
        let mut exports = self.exports.write();
        if exports.len() >= EXPORTS_MAX {
            exports.clear();
        }
        exports.insert(key, (state, catalog.clone()));
        Some(catalog)
    }

    fn build_export(&self, cluster: &ClusterName, export: &Value) -> Option<ExportCatalog> {
        let identity = export.str_at(&["status", "identityHash"])?.to_owned();
        let crossing = export.str_at(&["metadata", "annotations", CROSSING]) == Some("true");
        let bindings = &self.tenancy.ids().bindings;
        let bindings = self.system.iter().filter(|resource| resource.id == *bindings);
        let mut all: Vec<Arc<Resource>> =
            bindings.filter_map(|own| read_only(own)).map(Arc::new).collect();
        for exported in export.array_at(&["spec", "resources"]) {
            let name =
                exported.str_at(&["schema"]).filter(|name| strait_types::is_path_segment(name));
            let schema =
                name.and_then(|name| self.tenancy.find(&self.tenancy.ids().schema(cluster, name)));
            let Some(schema) = schema else {
                continue;
            };
            let key = (schema.header.uid.to_string(), identity.clone(), crossing);
            all.extend(self.compiled(&key, || Some(schema)).iter().cloned());
        }
        Some(ExportCatalog { catalog: Arc::new(Catalog::new(all)), identity })
    }

    /// What an APIBinding object says.
    #[must_use]
    pub(crate) fn parsed(&self, key: &Key, object: &Object) -> Arc<Binding> {
        self.bindings.of(key, object)
    }

    /// The bindings of a workspace as they are now.
    #[must_use]
    pub(crate) fn bindings(&self, cluster: &ClusterName) -> Vec<Arc<Binding>> {
        let part = self.tenancy.store().snapshot(&self.tenancy.ids().bindings).part(cluster);
        let parsed = part.iter().map(|(name, object)| {
            self.bindings.of(&self.tenancy.ids().binding(cluster, name.name()), object)
        });
        parsed.collect()
    }
}

/// A resource that can only be read; none for a built-in kind.
fn read_only(resource: &Resource) -> Option<Resource> {
    let Definition::Custom(custom) = &resource.definition else {
        return None;
    };
    let mut served = resource.served.clone();
    served.verbs = ["get", "list", "watch"].map(Into::into).to_vec();
    served.subresources.clear();
    Some(Resource {
        served,
        gvr: resource.gvr.clone(),
        id: resource.id.clone(),
        definition: Definition::Custom(CustomKind {
            schema: custom.schema.clone(),
            naming: custom.naming,
            has_status: false,
            deprecation: custom.deprecation.clone(),
        }),
        behaviour: resource.behaviour.clone(),
        printer: resource.printer.clone(),
        crossing: false,
    })
}
