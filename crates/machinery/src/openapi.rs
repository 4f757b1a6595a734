//! OpenAPI v3: one document for each group and version, and an index of them; and v2, made of
//! those.
//!
//! The documents are what kubectl reads: for every kind a definition that carries its group,
//! version and kind, and operations that say which patches and parameters are taken. They are
//! made from the same [`Resource`]s as discovery. Built-in definitions refer to each other by
//! name; custom kinds are published as their schema says, with `apiVersion`, `kind` and
//! `metadata` put in. Equal lists make equal bytes.

mod definitions;
pub mod gnostic;
mod operations;
mod parameters;
mod schema;
pub mod v2;

use strait_types::{GroupVersion, GroupVersionKind};

use crate::discovery::{Origin, Resource};
use crate::json::{Map, Value};
use crate::object;

use definitions::Definitions;

/// The document of one group and version.
///
/// Of `resources`, those of another group or version are left out.
#[must_use]
pub fn document(version: &GroupVersion, resources: &[&Resource]) -> Value {
    let mut served: Vec<&Resource> = resources
        .iter()
        .copied()
        .filter(|resource| resource.gvk.group_version() == *version)
        .collect();
    served.sort_by(|a, b| a.plural.cmp(&b.plural));
    let mut definitions = Definitions::new(version);
    let mut paths = Map::new();
    for resource in served {
        definitions.add_resource(resource);
        for (path, item) in operations::paths(resource) {
            paths.insert(path, item);
        }
    }
    object! {
        "openapi": "3.0.0",
        "info": object! {"title": "Kubernetes", "version": "1.34"},
        "paths": paths,
        "components": object! {"schemas": definitions.into_schemas()},
    }
}

/// The index: where each document is, with the hash that its `ETag` will be. `prefix` is what
/// the server's paths begin with, e.g. `/clusters/root`.
#[must_use]
pub fn index<'a>(
    prefix: &str,
    documents: impl IntoIterator<Item = (&'a GroupVersion, &'a str)>,
) -> Value {
    let paths = documents.into_iter().map(|(version, hash)| {
        let path = path_of(version);
        let url = format!("{prefix}/openapi/v3/{path}?hash={hash}");
        (path, object! {"serverRelativeURL": url})
    });
    object! {"paths": paths.collect::<Map>()}
}

/// Path of a group and version without the leading slash: `api/v1`, `apis/apps/v1`.
#[must_use]
pub fn path_of(version: &GroupVersion) -> String {
    if version.group.is_empty() {
        format!("api/{}", version.version)
    } else {
        format!("apis/{version}")
    }
}

/// Name of a resource's definition: that of its schema, or for custom kinds the group backwards,
/// version and kind.
fn definition_name(resource: &Resource) -> String {
    match (&resource.schema.definition, resource.origin) {
        (Some(name), Origin::Builtin) => name.to_string(),
        _ => custom_name(&resource.gvk, &resource.gvk.kind),
    }
}

/// Name of the definition of a resource's lists.
fn list_name(resource: &Resource) -> String {
    match (&resource.schema.definition, resource.origin) {
        (Some(name), Origin::Builtin) => format!("{name}List"),
        _ => custom_name(&resource.gvk, &resource.list_kind),
    }
}

fn custom_name(gvk: &GroupVersionKind, kind: &str) -> String {
    let mut parts: Vec<_> = gvk.group.split('.').rev().collect();
    parts.extend([&*gvk.version, kind]);
    parts.join(".")
}

fn reference(name: &str) -> Value {
    object! {"$ref": format!("#/components/schemas/{name}")}
}

#[cfg(test)]
mod tests;
