//! Bindings: from a reference to resources that are served, and back.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_api::well_known::{BINDING_FINALIZER, CROSSING, PATH};
use strait_apiserver::behaviour::Companions;
use strait_apiserver::catalog::Resource;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{Key, Scope};
use strait_types::ClusterName;

use super::purge;
use super::set_condition;
use crate::System;
use crate::binding::{BoundResource, bound_resources};
use crate::controller::{Concerns, Follow, Outcome, Reconcile};
use crate::copies;
use crate::locks::Locks;
use crate::seed;

/// Puts into a binding what it brings, with every condition that says so.
pub(crate) fn bound_status(
    binding: &mut Value,
    export_cluster: &ClusterName,
    resources: &[(BoundResource, String, String)],
    crossing: bool,
    now: &str,
) {
    let bound = resources.iter().map(|(resource, schema, version)| {
        object! {
            "group": &*resource.group,
            "resource": &*resource.resource,
            "schema": object!{
                "name": &**schema,
                "UID": &*resource.schema_uid,
                "identityHash": &*resource.identity,
            },
            "storageVersions": vec![Value::from(&**version)],
        }
    });
    binding.set(&["status", "boundResources"], bound.collect::<Value>());
    binding.set(&["status", "apiExportClusterName"], export_cluster.as_str());
    binding.set(&["status", "phase"], "Bound");
    let annotations = binding.make_object().object_mut("metadata").object_mut("annotations");
    if crossing {
        annotations.insert(CROSSING, "true");
    } else {
        annotations.remove(CROSSING);
    }
    for condition in ["APIExportValid", "BindingUpToDate", "InitialBindingCompleted", "Ready"] {
        set_condition(binding, condition, ("True", "", ""), now);
    }
    let claims = binding.array_at(&["spec", "permissionClaims"]).is_empty();
    let applied = if claims {
        ("True", "", "")
    } else {
        ("False", "NotServed", "permission claims are not served by this release; none is in force")
    };
    set_condition(binding, "PermissionClaimsApplied", applied, now);
}

/// What a schema brings under an identity; with its name and the version that is stored.
pub(crate) fn bound_resource(
    schema: &Object,
    name: &str,
    identity: &str,
) -> (BoundResource, String, String) {
    let value = schema.to_value();
    let text = |path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
    let versions = value.array_at(&["spec", "versions"]).iter();
    let stored = versions
        .clone()
        .find(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .and_then(|version| version.str_at(&["name"]));
    let resource = BoundResource {
        group: text(&["spec", "group"]),
        resource: text(&["spec", "names", "plural"]),
        schema_uid: schema.header.uid.to_string(),
        identity: identity.to_owned(),
    };
    (resource, name.to_owned(), stored.unwrap_or_default().to_owned())
}

pub(super) struct Bindings {
    system: Arc<System>,
}

/// What a binding should bring.
struct Plan {
    provider: ClusterName,
    /// Each with the schema's name and the stored version.
    resources: Vec<(BoundResource, String, String)>,
    schemas: Vec<(String, Arc<Object>)>,
    crossing: bool,
}

/// Why a binding cannot be completed.
struct Unbound {
    condition: &'static str,
    reason: &'static str,
    message: String,
}

impl Unbound {
    fn export(reason: &'static str, message: &str) -> Self {
        Self { condition: "APIExportValid", reason, message: message.into() }
    }

    fn schema(reason: &'static str, message: String) -> Self {
        Self { condition: "BindingUpToDate", reason, message }
    }
}

impl Bindings {
    pub(super) const fn new(system: Arc<System>) -> Self {
        Self { system }
    }

    async fn run(&self, key: &Key) -> Result<Outcome, Status> {
        let system = &self.system;
        let Some(object) = system.tenancy.find(key) else {
            return Ok(Outcome::Done);
        };
        let mut value = object.to_value();
        if object.header.deleting {
            return self.unbind(key, &object, value).await;
        }
        let home = system.tenancy.ids().logical_cluster(&key.cluster);
        let snapshot = system.tenancy.store().snapshot(&home.resource);
        let Some(logical) = snapshot.get(&home.cluster, &home.name) else {
            // Still being made.
            let scope = Scope::Object(home.cluster, home.name);
            return Ok(Outcome::Await(home.resource, scope, snapshot.revision()));
        };
        let logical_value = logical.to_value();
        let mut locks = Locks::of(&logical_value);
        let now = system.registry.timestamp();
        let (mut guards, mut dropped) = (Vec::new(), Vec::new());
        match self.plan(key, &value, &locks) {
            Ok(plan) => {
                for (name, schema) in &plan.schemas {
                    guards.push(copies::keep(system, (&plan.provider, name), schema).await?);
                }
                let kept = |uid: &str| plan.resources.iter().any(|own| own.0.schema_uid == uid);
                dropped = bound_resources(&value);
                dropped.retain(|bound| !kept(&bound.schema_uid));
                locks.take(key.name.name(), plan.resources.iter().map(|(resource, ..)| resource));
                bound_status(&mut value, &plan.provider, &plan.resources, plan.crossing, &now);
            }
            Err(why) => refused(&mut value, &why, &now),
        }
        let path = system.tenancy.path_of(&key.cluster);
        value.set(&["metadata", "annotations", PATH], path.as_str());
        let mut along = hold(&home, logical, logical_value, locks)?;
        along.guards.extend(guards);
        let outcome = system.replace_with(key, &object, &value, along).await?;
        for bound in dropped {
            copies::drop_unused(system, &bound.schema_uid).await?;
        }
        Ok(outcome)
    }

    /// What a binding should bring, decided from what is stored.
    fn plan(&self, key: &Key, binding: &Value, locks: &Locks) -> Result<Plan, Unbound> {
        let system = &self.system;
        let text = |field: &str| {
            binding.str_at(&["spec", "reference", "export", field]).unwrap_or_default()
        };
        let not_found = || Unbound::export("APIExportNotFound", "the export does not exist");
        let provider = system.tenancy.refer(text("path"), &key.cluster).ok_or_else(not_found)?;
        let name = text("name");
        if !strait_types::is_path_segment(name) {
            return Err(not_found());
        }
        let export_key = system.tenancy.ids().export(&provider, name);
        let export = system.tenancy.find(&export_key).ok_or_else(not_found)?.to_value();
        let identity = export.str_at(&["status", "identityHash"]).ok_or_else(|| {
            Unbound::export("MissingIdentityHash", "the export has no identity yet")
        })?;
        check_pinned(binding, &provider, identity)?;
        let mut plan = Plan {
            crossing: export.str_at(&["metadata", "annotations", CROSSING]) == Some("true"),
            provider,
            resources: Vec::new(),
            schemas: Vec::new(),
        };
        for exported in export.array_at(&["spec", "resources"]) {
            let name = exported.str_at(&["schema"]).unwrap_or_default();
            let schema = strait_types::is_path_segment(name)
                .then(|| system.tenancy.find(&system.tenancy.ids().schema(&plan.provider, name)))
                .flatten();
            let schema = schema.ok_or_else(|| {
                let message = format!("the schema {name:?} does not exist");
                Unbound::schema("APIResourceSchemaInvalid", message)
            })?;
            let bound = bound_resource(&schema, name, identity);
            self.check_conflict(key, &bound.0, &schema, locks)?;
            plan.resources.push(bound);
            plan.schemas.push((name.to_owned(), schema));
        }
        keep_dropped(binding, &mut plan.resources);
        Ok(plan)
    }

    /// A name can be brought by one binding only: the one that has it keeps it.
    fn check_conflict(
        &self,
        key: &Key,
        wanted: &BoundResource,
        schema: &Object,
        locks: &Locks,
    ) -> Result<(), Unbound> {
        let ids = self.system.tenancy.ids();
        let conflict = |name: &str, holder: String| {
            let message = format!("{name}.{} is brought by {holder}", wanted.group);
            Err(Unbound::schema("NamingConflicts", message))
        };
        // One that is gone holds nothing.
        let holder = locks.holder(wanted).filter(|holder| {
            *holder != key.name.name()
                && strait_types::is_path_segment(holder)
                && self.system.tenancy.find(&ids.binding(&key.cluster, holder)).is_some()
        });
        if let Some(holder) = holder {
            return conflict(&wanted.resource, format!("the APIBinding {holder:?}"));
        }
        let names = Names::of(&schema.to_value());
        let served = self.system.catalogs.of(&key.cluster);
        for other in served.catalog.resources().iter().filter(|own| *own.gvr.group == *wanted.group)
        {
            let bringer = served.binding(&other.id);
            if bringer.is_some_and(|binding| binding.name == key.name.name()) {
                continue;
            }
            if let Some(name) = names.shared_with(other) {
                let holder = match bringer {
                    Some(binding) => format!("the APIBinding {:?}", binding.name),
                    None => "the server itself".to_owned(),
                };
                return conflict(name, holder);
            }
        }
        Ok(())
    }

    /// Removes every object that the binding served, then lets the binding go.
    async fn unbind(
        &self,
        key: &Key,
        object: &Object,
        mut value: Value,
    ) -> Result<Outcome, Status> {
        let system = &self.system;
        for bound in bound_resources(&value) {
            let id = bound.id();
            let scope = Scope::Cluster(key.cluster.clone());
            let left = purge::objects(system, &id, &scope).await?;
            if let Some(revision) = left.blocked_at {
                let message = format!(
                    "{} objects of {}.{} wait for their finalizers",
                    left.count, bound.resource, bound.group
                );
                let waiting = ("False", "SomeFinalizersRemain", &*message);
                set_condition(
                    &mut value,
                    "BindingResourceDeleteSuccess",
                    waiting,
                    &system.registry.timestamp(),
                );
                system.replace(key, object, &value).await?;
                return Ok(Outcome::Await(id, scope, revision));
            }
        }
        let home = system.tenancy.ids().logical_cluster(&key.cluster);
        let along = match system.tenancy.find(&home) {
            Some(logical) => {
                let logical_value = logical.to_value();
                let mut locks = Locks::of(&logical_value);
                locks.release(key.name.name());
                hold(&home, &logical, logical_value, locks)?
            }
            None => Companions::default(),
        };
        let outcome = system.remove_finalizer(key, object, BINDING_FINALIZER, along).await?;
        for bound in bound_resources(&value) {
            copies::drop_unused(system, &bound.schema_uid).await?;
        }
        Ok(outcome)
    }
}

/// The write of who holds what, to go with a binding's own; nothing where it stays as it is.
/// The comparison is made in any case: what was decided was decided from this.
fn hold(
    home: &Key,
    logical: &Object,
    mut value: Value,
    locks: Locks,
) -> Result<Companions, Status> {
    let compare = Compare { key: home.clone(), expect: Expect::Revision(logical.revision) };
    let changed = Locks::of(&value) != locks;
    locks.write(&mut value);
    let puts = if changed { vec![seed::encoded(home.clone(), &value)?] } else { Vec::new() };
    Ok(Companions { puts, guards: vec![compare] })
}

/// Says in a binding why it is not complete.
fn refused(binding: &mut Value, why: &Unbound, now: &str) {
    let state = ("False", why.reason, &*why.message);
    if binding.str_at(&["status", "phase"]) != Some("Bound") {
        binding.set(&["status", "phase"], "Binding");
        set_condition(binding, "InitialBindingCompleted", state, now);
        set_condition(binding, "Ready", state, now);
    }
    set_condition(binding, why.condition, state, now);
}

/// What was bound once stays what is bound: another export that took over the name, or another
/// identity, is not followed. Objects are stored under the first.
fn check_pinned(binding: &Value, provider: &ClusterName, identity: &str) -> Result<(), Unbound> {
    let invalid = |message: &str| Err(Unbound::export("APIExportInvalidReference", message));
    let pinned = binding.str_at(&["status", "apiExportClusterName"]);
    if pinned.is_some_and(|pinned| pinned != provider.as_str()) {
        return invalid("the path leads to another workspace than the one that was bound");
    }
    if bound_resources(binding).iter().any(|bound| bound.identity != identity) {
        return invalid("the export has another identity than the one that was bound");
    }
    Ok(())
}

/// What an export no longer lists stays bound, since objects may be stored.
fn keep_dropped(binding: &Value, resources: &mut Vec<(BoundResource, String, String)>) {
    let entries = binding.array_at(&["status", "boundResources"]);
    for (bound, entry) in bound_resources(binding).into_iter().zip(entries) {
        if resources.iter().any(|(own, ..)| own.is_named_as(&bound)) {
            continue;
        }
        let schema = entry.str_at(&["schema", "name"]).unwrap_or_default().to_owned();
        let version = entry.array_at(&["storageVersions"]).first().and_then(Value::as_str);
        resources.push((bound, schema, version.unwrap_or_default().to_owned()));
    }
}

/// What a schema wants to be called by.
struct Names {
    resources: Vec<String>,
    kinds: Vec<String>,
}

impl Names {
    fn of(schema: &Value) -> Self {
        let text = |field: &str| schema.str_at(&["spec", "names", field]).map(str::to_owned);
        let kind = text("kind").unwrap_or_default();
        let short = schema.array_at(&["spec", "names", "shortNames"]).iter();
        let singular = text("singular").unwrap_or_else(|| kind.to_lowercase());
        let list = text("listKind").unwrap_or_else(|| format!("{kind}List"));
        Self {
            resources: [text("plural").unwrap_or_default(), singular]
                .into_iter()
                .chain(short.filter_map(Value::as_str).map(str::to_owned))
                .collect(),
            kinds: vec![kind, list],
        }
    }

    /// A name that a served resource has already.
    fn shared_with<'a>(&'a self, other: &Resource) -> Option<&'a str> {
        let own = &other.served;
        let has_resource = |name: &String| {
            *own.plural == **name
                || *own.singular == **name
                || own.short_names.iter().any(|short| **short == **name)
        };
        let has_kind = |kind: &String| *own.gvk.kind == **kind || *own.list_kind == **kind;
        let shared = self.resources.iter().find(|name| has_resource(name));
        shared.or_else(|| self.kinds.iter().find(|kind| has_kind(kind))).map(String::as_str)
    }
}

impl Reconcile for Bindings {
    fn name(&self) -> &'static str {
        "apibindings"
    }

    fn follows(&self) -> Vec<Follow> {
        let ids = self.system.tenancy.ids();
        // An export or schema concerns every binding of its provider's exports.
        let system = self.system.clone();
        let bindings_of_provider = move |key: &Key| -> Vec<Key> {
            let bindings = system.tenancy.store().snapshot(&system.tenancy.ids().bindings);
            let all = bindings.iter(&Scope::All).map(|(cluster, name, object)| {
                let own = system.tenancy.ids().binding(cluster, name.name());
                let binding = system.catalogs.parsed(&own, object);
                (own, binding)
            });
            // One that has no export yet, or another than it had, may have waited for this.
            let concerned = all.filter(|(_, binding)| {
                binding.waits || binding.export_cluster.as_ref().is_none_or(|of| *of == key.cluster)
            });
            concerned.map(|(own, _)| own).collect()
        };
        let bindings_of_provider: Concerns = Arc::new(bindings_of_provider);
        // One that goes may make room for others of its workspace.
        let system = self.system.clone();
        let own_and_waiting = move |key: &Key| -> Vec<Key> {
            let ids = system.tenancy.ids();
            let others = system.catalogs.bindings(&key.cluster);
            let waiting = others.iter().filter(|other| other.waits);
            let waiting = waiting.map(|other| ids.binding(&key.cluster, &other.name));
            std::iter::once(key.clone()).chain(waiting.filter(|other| other != key)).collect()
        };
        vec![
            Follow { resource: ids.bindings.clone(), keys: Arc::new(own_and_waiting) },
            Follow { resource: ids.exports.clone(), keys: bindings_of_provider.clone() },
            Follow { resource: ids.schemas.clone(), keys: bindings_of_provider },
        ]
    }

    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>> {
        Box::pin(self.run(key))
    }
}
