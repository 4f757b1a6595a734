//! Bindings: from a reference to resources that are served, and back.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_api::well_known::{BINDING_FINALIZER, CROSSING};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_store::{Key, Scope};
use strait_types::ClusterName;

use super::purge;
use super::set_condition;
use crate::System;
use crate::binding::{BoundResource, bound_resources};
use crate::controller::{Concerns, Follow, Outcome, Reconcile};
use crate::ids::bound_schemas;
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

pub(super) struct Bindings {
    system: Arc<System>,
}

/// Why a binding cannot be completed.
struct Unbound {
    condition: &'static str,
    reason: &'static str,
    message: String,
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
        let now = system.registry.timestamp();
        match self.plan(key, &value) {
            Ok((cluster, resources, crossing)) => {
                self.keep_schemas(&cluster, &resources).await?;
                bound_status(&mut value, &cluster, &resources, crossing, &now);
            }
            Err(why) => {
                if value.str_at(&["status", "phase"]) != Some("Bound") {
                    value.set(&["status", "phase"], "Binding");
                    let waiting = ("False", why.reason, &*why.message);
                    set_condition(&mut value, "InitialBindingCompleted", waiting, &now);
                    set_condition(&mut value, "Ready", waiting, &now);
                }
                set_condition(&mut value, why.condition, ("False", why.reason, &why.message), &now);
            }
        }
        system.replace(key, &object, &value).await
    }

    /// What a binding should bring, decided from what is stored.
    #[expect(clippy::type_complexity, reason = "one caller takes it apart at once")]
    fn plan(
        &self,
        key: &Key,
        binding: &Value,
    ) -> Result<(ClusterName, Vec<(BoundResource, String, String)>, bool), Unbound> {
        let system = &self.system;
        let text = |field: &str| {
            binding.str_at(&["spec", "reference", "export", field]).unwrap_or_default()
        };
        let not_found = || Unbound {
            condition: "APIExportValid",
            reason: "APIExportNotFound",
            message: "the export does not exist".into(),
        };
        let cluster = system.tenancy.refer(text("path"), &key.cluster).ok_or_else(not_found)?;
        let name = text("name");
        if !strait_types::is_path_segment(name) {
            return Err(not_found());
        }
        let export_key = system.tenancy.ids().export(&cluster, name);
        let export = system.tenancy.find(&export_key).ok_or_else(not_found)?.to_value();
        let identity = export.str_at(&["status", "identityHash"]).ok_or_else(|| Unbound {
            condition: "APIExportValid",
            reason: "MissingIdentityHash",
            message: "the export has no identity yet".into(),
        })?;
        let mut resources = Vec::new();
        for exported in export.array_at(&["spec", "resources"]) {
            let schema_name = exported.str_at(&["schema"]).unwrap_or_default();
            let schema = strait_types::is_path_segment(schema_name)
                .then(|| system.tenancy.find(&system.tenancy.ids().schema(&cluster, schema_name)))
                .flatten()
                .ok_or_else(|| Unbound {
                    condition: "BindingUpToDate",
                    reason: "APIResourceSchemaInvalid",
                    message: format!("the schema {schema_name:?} does not exist"),
                })?;
            let value = schema.to_value();
            let text = |path: &[&str]| value.str_at(path).unwrap_or_default().to_owned();
            let versions = value.array_at(&["spec", "versions"]);
            let stored =
                versions.iter().find(|v| v.get("storage").and_then(Value::as_bool) == Some(true));
            let version = stored.and_then(|v| v.str_at(&["name"])).unwrap_or_default();
            let resource = BoundResource {
                group: text(&["spec", "group"]),
                resource: text(&["spec", "names", "plural"]),
                schema_uid: schema.header.uid.to_string(),
                identity: identity.to_owned(),
            };
            self.check_conflict(key, &resource)?;
            resources.push((resource, schema_name.to_owned(), version.to_owned()));
        }
        self.keep_dropped(binding, &mut resources);
        let crossing = export.str_at(&["metadata", "annotations", CROSSING]) == Some("true");
        Ok((cluster, resources, crossing))
    }

    /// A name can be brought by one binding only: the one that has it keeps it.
    fn check_conflict(&self, key: &Key, wanted: &BoundResource) -> Result<(), Unbound> {
        let others = self.system.catalogs.bindings(&key.cluster);
        let other = others
            .iter()
            .filter(|other| other.name != key.name.name() && other.bound)
            .find(|other| other.resources.iter().any(|brought| brought.is_named_as(wanted)));
        let system =
            self.system.catalogs.system().iter().any(|own| {
                *own.gvr.group == *wanted.group && *own.gvr.resource == *wanted.resource
            });
        let holder = match other {
            Some(other) => format!("the APIBinding {:?}", other.name),
            None if system => "the server itself".to_owned(),
            None => return Ok(()),
        };
        Err(Unbound {
            condition: "BindingUpToDate",
            reason: "NamingConflicts",
            message: format!("{}.{} is brought by {holder}", wanted.resource, wanted.group),
        })
    }

    /// What an export no longer lists stays bound, since objects may be stored.
    fn keep_dropped(&self, binding: &Value, resources: &mut Vec<(BoundResource, String, String)>) {
        for bound in bound_resources(binding) {
            if resources.iter().any(|(own, ..)| own.is_named_as(&bound)) {
                continue;
            }
            let entry = binding.array_at(&["status", "boundResources"]).iter().find(|entry| {
                entry.str_at(&["resource"]) == Some(&bound.resource)
                    && entry.str_at(&["group"]) == Some(&bound.group)
            });
            let text = |path: &[&str]| {
                entry.and_then(|entry| entry.str_at(path)).unwrap_or_default().to_owned()
            };
            let version = entry.map(|entry| entry.array_at(&["storageVersions"]));
            let version = version.and_then(|list| list.first()).and_then(Value::as_str);
            resources.push((
                bound,
                text(&["schema", "name"]),
                version.unwrap_or_default().to_owned(),
            ));
        }
    }

    /// Keeps a copy of every bound schema, so that serving does not depend on the provider.
    async fn keep_schemas(
        &self,
        provider: &ClusterName,
        resources: &[(BoundResource, String, String)],
    ) -> Result<(), Status> {
        let system = &self.system;
        let home = bound_schemas();
        for (resource, name, _) in resources {
            let copy = system.tenancy.ids().schema(&home, &resource.schema_uid);
            if system.tenancy.find(&copy).is_some() {
                continue;
            }
            let original = system.tenancy.find(&system.tenancy.ids().schema(provider, name));
            let Some(original) = original else {
                continue;
            };
            let mut value = original.to_value();
            value.set(
                &["metadata"],
                object! {
                    "name": &*resource.schema_uid,
                    "uid": system.registry.new_uid().to_string(),
                    "creationTimestamp": system.registry.timestamp(),
                    "annotations": object!{
                        "apis.kcp.io/schema-cluster": provider.as_str(),
                        "apis.kcp.io/schema-name": &**name,
                    },
                },
            );
            let put = seed::encoded(copy, &value)?;
            seed::create(&system.registry, &home, vec![put], Vec::new()).await?;
        }
        Ok(())
    }

    /// Removes every object that the binding served, then lets the binding go.
    async fn unbind(
        &self,
        key: &Key,
        object: &object::Object,
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
        system.remove_finalizer(key, object, BINDING_FINALIZER).await
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
                let export = system.catalogs.parsed(&own, object).export_cluster.clone();
                (own, export)
            });
            // One that has no export yet may have been waiting for this.
            let concerned =
                all.filter(|(_, export)| export.as_ref().is_none_or(|of| *of == key.cluster));
            concerned.map(|(own, _)| own).collect()
        };
        let bindings_of_provider: Concerns = Arc::new(bindings_of_provider);
        vec![
            Follow::own(ids.bindings.clone()),
            Follow { resource: ids.exports.clone(), keys: bindings_of_provider.clone() },
            Follow { resource: ids.schemas.clone(), keys: bindings_of_provider },
        ]
    }

    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>> {
        Box::pin(self.run(key))
    }
}
