//! OpenAPI v2: all definitions in one document.
//!
//! kubectl still reads it to check lists of objects and kinds that it does not find, and other
//! clients learn from it which kinds there are. It is made from the documents of v3, without
//! what v2 cannot say; operations are described in v3 only.

use super::definitions::GVK;
use crate::json::{Map, Value};
use crate::object;

/// The members of a schema that v2 has; the rest is left out.
const MEMBERS: [&str; 22] = [
    "additionalProperties",
    "allOf",
    "default",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "type",
];

/// One document out of those of all groups and versions.
#[must_use]
pub fn combined<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut definitions = Map::new();
    for document in documents {
        let schemas = document.at(&["components", "schemas"]).and_then(Value::as_object);
        for (name, schema) in schemas.into_iter().flat_map(Map::iter) {
            match definitions.get_mut(name) {
                Some(known) => add_kinds(known, schema.array_at(&[GVK])),
                None => drop(definitions.insert(name, downgraded(schema))),
            }
        }
    }
    object! {
        "swagger": "2.0",
        "info": object! {"title": "Kubernetes", "version": "1.34"},
        "paths": Value::object(),
        "definitions": definitions,
    }
}

/// Some definitions, such as that of the options of a deletion, belong to a kind of every group.
fn add_kinds(definition: &mut Value, kinds: &[Value]) {
    if kinds.is_empty() {
        return;
    }
    let mut all = definition.array_at(&[GVK]).to_vec();
    let known = |all: &[Value], kind: &Value| all.contains(kind);
    for kind in kinds {
        if !known(&all, kind) {
            all.push(kind.clone());
        }
    }
    definition.set(&[GVK], all);
}

fn downgraded(schema: &Value) -> Value {
    let Some(schema) = schema.as_object() else {
        return schema.clone();
    };
    if let Some(target) = target(schema) {
        let mut reference = Map::new();
        reference.insert("$ref", target.replacen("#/components/schemas/", "#/definitions/", 1));
        if let Some(description) = schema.get("description") {
            reference.insert("description", description.clone());
        }
        return reference.into();
    }
    let kept = schema.iter().filter(|(key, _)| key.starts_with("x-") || MEMBERS.contains(key));
    kept.map(|(key, value)| (key, member(key, value))).collect::<Map>().into()
}

/// What a schema refers to, be it by itself or as its only part.
fn target(schema: &Map) -> Option<&str> {
    if let Some(target) = schema.get("$ref") {
        return target.as_str();
    }
    match schema.get("allOf")?.as_array()? {
        [only] => only.str_at(&["$ref"]),
        _ => None,
    }
}

fn member(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("properties", Value::Object(properties)) => properties
            .iter()
            .map(|(name, schema)| (name, downgraded(schema)))
            .collect::<Map>()
            .into(),
        ("items" | "additionalProperties", schema) => downgraded(schema),
        ("allOf", Value::Array(parts)) => parts.iter().map(downgraded).collect::<Vec<_>>().into(),
        (_, value) => value.clone(),
    }
}
