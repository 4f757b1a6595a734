//! What is served, and the documents that say so: aggregated (`apidiscovery.k8s.io/v2`) and the
//! older ones of one group or version each.
//!
//! All are made from one list of [`Resource`]s, in whatever order it comes, and equal lists
//! make equal documents. Groups stand in the order in which clients prefer them: the core,
//! Kubernetes' own, then the others by name; versions from the most stable; resources by name.

mod order;
mod resource;

use strait_types::{GroupVersion, GroupVersionKind};

use crate::json::{Map, Value};
use crate::object;

pub use order::{by_group, by_version};
pub use resource::{Origin, Resource, Subresource};

/// Media type of the aggregated documents.
pub const AGGREGATED_MEDIA_TYPE: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The aggregated document of `/api` (the core group), or of `/apis` (all others).
#[must_use]
pub fn aggregated(resources: &[&Resource], core: bool) -> Value {
    let items = groups(resources, core).into_iter().map(|group| {
        let mut metadata = Map::new();
        if !group[0][0].gvk.group.is_empty() {
            metadata.insert("name", &*group[0][0].gvk.group);
        }
        let versions = group.iter().map(|version| {
            object! {
                "version": &*version[0].gvk.version,
                "freshness": "Current",
                "resources": version.iter().map(|resource| aggregated_resource(resource)).collect::<Value>(),
            }
        });
        object! {"metadata": metadata, "versions": versions.collect::<Value>()}
    });
    object! {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": Value::object(),
        "items": items.collect::<Value>(),
    }
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut value = object! {
        "resource": &*resource.plural,
        "responseKind": response_kind(&resource.gvk, resource),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": &*resource.singular,
        "verbs": list(&resource.verbs),
    };
    let subresources = resource.subresources.iter().map(|subresource| {
        object! {
            "subresource": &*subresource.name,
            "responseKind": response_kind(&subresource.gvk, resource),
            "verbs": list(&subresource.verbs),
        }
    });
    set_if_any(&mut value, "subresources", subresources.collect());
    set_if_any(&mut value, "shortNames", list(&resource.short_names));
    set_if_any(&mut value, "categories", list(&resource.categories));
    value
}

/// Built-in resources leave out the group and version where they are those of the resource.
fn response_kind(kind: &GroupVersionKind, resource: &Resource) -> Value {
    let implied =
        resource.origin == Origin::Builtin && kind.group_version() == resource.gvk.group_version();
    let (group, version) = if implied { ("", "") } else { (&*kind.group, &*kind.version) };
    object! {"group": group, "version": version, "kind": &*kind.kind}
}

/// The older document of `/api`. `address` is where the server can be reached, host and port.
#[must_use]
pub fn core_versions(address: &str) -> Value {
    object! {
        "kind": "APIVersions",
        "versions": vec!["v1".into()],
        "serverAddressByClientCIDRs": vec![object! {
            "clientCIDR": "0.0.0.0/0",
            "serverAddress": address,
        }],
    }
}

/// The older document of `/apis`.
#[must_use]
pub fn group_list(resources: &[&Resource]) -> Value {
    let groups = groups(resources, false);
    object! {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": groups.iter().map(|group| group_members(group)).collect::<Value>(),
    }
}

/// The older document of `/apis/GROUP`; none if nothing of the group is served.
#[must_use]
pub fn group(resources: &[&Resource], name: &str) -> Option<Value> {
    let groups = groups(resources, false);
    let group = groups.iter().find(|group| *group[0][0].gvk.group == *name)?;
    let mut value = group_members(group);
    value.set(&["kind"], "APIGroup");
    value.set(&["apiVersion"], "v1");
    Some(value)
}

fn group_members(versions: &[Vec<&Resource>]) -> Value {
    let version = |resources: &Vec<&Resource>| {
        let version = resources[0].gvk.group_version();
        object! {"groupVersion": version.to_string(), "version": &*version.version}
    };
    object! {
        "name": &*versions[0][0].gvk.group,
        "versions": versions.iter().map(version).collect::<Value>(),
        "preferredVersion": version(&versions[0]),
    }
}

/// The older document of `/api/v1` or `/apis/GROUP/VERSION`; none if nothing of it is served.
#[must_use]
pub fn resource_list(resources: &[&Resource], version: &GroupVersion) -> Option<Value> {
    let groups = groups(resources, version.group.is_empty());
    let mut versions = groups.into_iter().flatten();
    let resources = versions.find(|resources| resources[0].gvk.group_version() == *version)?;
    let mut value = object! {
        "kind": "APIResourceList",
        "groupVersion": version.to_string(),
        "resources": resources.iter().flat_map(|resource| listed(resource)).collect::<Value>(),
    };
    if !version.group.is_empty() {
        value.set(&["apiVersion"], "v1");
    }
    Some(value)
}

/// A resource and its subresources as entries of one list.
fn listed(resource: &Resource) -> Vec<Value> {
    let entry = |name: &str, singular: &str, kind: &GroupVersionKind, verbs: &[Box<str>]| {
        let mut entry = object! {
            "name": name,
            "singularName": singular,
            "namespaced": resource.namespaced,
            "kind": &*kind.kind,
            "verbs": list(verbs),
        };
        if kind.group_version() != resource.gvk.group_version() {
            entry.set(&["group"], &*kind.group);
            entry.set(&["version"], &*kind.version);
        }
        entry
    };
    let mut main = entry(&resource.plural, &resource.singular, &resource.gvk, &resource.verbs);
    set_if_any(&mut main, "shortNames", list(&resource.short_names));
    set_if_any(&mut main, "categories", list(&resource.categories));
    let subresources = resource.subresources.iter().map(|subresource| {
        let name = format!("{}/{}", resource.plural, subresource.name);
        entry(&name, "", &subresource.gvk, &subresource.verbs)
    });
    std::iter::once(main).chain(subresources).collect()
}

/// Resources by group and version, everything in the order of the documents. No group and no
/// version is empty.
fn groups<'a>(resources: &[&'a Resource], core: bool) -> Vec<Vec<Vec<&'a Resource>>> {
    let of_root = |resource: &&&'a Resource| resource.gvk.group.is_empty() == core;
    let mut sorted: Vec<&Resource> = resources.iter().filter(of_root).copied().collect();
    sorted.sort_by(|a, b| {
        by_group(&a.gvk.group, &b.gvk.group)
            .then_with(|| by_version(&a.gvk.version, &b.gvk.version))
            .then_with(|| a.plural.cmp(&b.plural))
    });
    sorted
        .chunk_by(|a, b| a.gvk.group == b.gvk.group)
        .map(|group| {
            let versions = group.chunk_by(|a, b| a.gvk.version == b.gvk.version);
            versions.map(<[&Resource]>::to_vec).collect()
        })
        .collect()
}

fn list(texts: &[Box<str>]) -> Value {
    texts.iter().map(|text| &**text).collect()
}

fn set_if_any(object: &mut Value, name: &str, elements: Value) {
    if elements.as_array().is_some_and(|elements| !elements.is_empty()) {
        object.set(&[name], elements);
    }
}

#[cfg(test)]
mod tests;
