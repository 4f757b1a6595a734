//! Schemas as OpenAPI.

use crate::builtin;
use crate::json::{Map, Value};
use crate::schema::{Array, Bounds, Junctors, ListType, Object, Property, Rule, Schema, Shape};

use super::reference;

/// Names of definitions that were referred to.
pub(super) type Names = Vec<String>;

/// A node where it stands: by reference if it has a definition of its own.
pub(super) fn node(schema: &Schema, names: &mut Names) -> Value {
    match &schema.definition {
        Some(name) => {
            names.push(name.to_string());
            reference(name)
        }
        None => body(schema, names),
    }
}

/// What a definition says.
pub(super) fn body(schema: &Schema, names: &mut Names) -> Value {
    let mut out = schema.annotations.as_deref().cloned().unwrap_or_default();
    set_text(&mut out, "description", &schema.description);
    // Six digits of fraction are a matter of this server.
    let format = if &*schema.format == "micro-time" { "date-time" } else { &schema.format };
    set_text(&mut out, "format", format);
    shape(schema, &mut out, names);
    if let Some(default) = &schema.default {
        out.insert("default", default.clone());
    }
    if !schema.enumeration.is_empty() {
        out.insert("enum", schema.enumeration.clone());
    }
    set_flag(&mut out, "nullable", schema.nullable);
    let preserved = schema.preserve_unknown && schema.definition.is_none();
    set_flag(&mut out, "x-kubernetes-preserve-unknown-fields", preserved);
    if schema.embedded_resource {
        set_flag(&mut out, "x-kubernetes-embedded-resource", true);
        add_type_members(&mut out, names);
        let required = out.entry("required", || Value::Array(Vec::new()));
        if let Value::Array(required) = required {
            for name in ["apiVersion", "kind"] {
                if !required.contains(&name.into()) {
                    required.push(name.into());
                }
            }
        }
    }
    if !schema.rules.is_empty() {
        out.insert("x-kubernetes-validations", schema.rules.iter().map(rule).collect::<Value>());
    }
    if let Some(set) = &schema.bounds {
        bounds(set, &mut out);
    }
    if let Some(set) = &schema.junctors {
        junctors(set, &mut out, names);
    }
    out.into()
}

/// Declares `apiVersion`, `kind` and `metadata`, whatever was declared before, as built-in kinds
/// declare them.
pub(super) fn add_type_members(out: &mut Map, names: &mut Names) {
    let Some(model) = builtin::kind("", "v1", "ConfigMap") else {
        return;
    };
    let schema = model.schema();
    let properties = out.object_mut("properties");
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(member) = schema.as_object().and_then(|object| object.property(name)) {
            properties.insert(name, property(member, names));
        }
    }
}

fn shape(schema: &Schema, out: &mut Map, names: &mut Names) {
    let kind = match &schema.shape {
        Shape::Any => "",
        Shape::Object(object) => {
            members(object, out, names);
            "object"
        }
        Shape::Array(array) => {
            elements(array, out, names);
            "array"
        }
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::IntOrString => {
            set_flag(out, "x-kubernetes-int-or-string", true);
            ""
        }
    };
    if !schema.untyped {
        set_text(out, "type", kind);
    }
}

fn members(object: &Object, out: &mut Map, names: &mut Names) {
    if !object.properties.is_empty() {
        let properties = object.properties.iter();
        let properties = properties.map(|member| (member.name.clone(), property(member, names)));
        out.insert("properties", properties.collect::<Map>());
    }
    let declared = object.properties.iter().filter(|property| property.required);
    let mut required: Vec<&str> = declared.map(|property| &*property.name).collect();
    required.extend(object.required_undeclared.iter().map(|name| &**name));
    if !required.is_empty() {
        out.insert("required", required.into_iter().collect::<Value>());
    }
    if let Some(additional) = &object.additional {
        out.insert("additionalProperties", node(additional, names));
    }
    if object.atomic {
        out.insert("x-kubernetes-map-type", "atomic");
    }
}

/// A member. What is said of the member stands beside a wrapped reference, as nothing may stand
/// beside a bare one.
fn property(property: &Property, names: &mut Names) -> Value {
    let schema = &property.schema;
    let mut out = match &schema.definition {
        None => match body(schema, names) {
            Value::Object(map) => map,
            other => return other,
        },
        Some(name) => {
            names.push(name.to_string());
            let mut out = Map::new();
            set_text(&mut out, "description", &schema.description);
            out.insert("allOf", vec![reference(name)]);
            out
        }
    };
    set_text(&mut out, "x-kubernetes-patch-strategy", &property.patch_strategy);
    set_text(&mut out, "x-kubernetes-patch-merge-key", &property.patch_merge_key);
    out.into()
}

fn elements(array: &Array, out: &mut Map, names: &mut Names) {
    out.insert("items", node(&array.items, names));
    match &array.list_type {
        ListType::Atomic => {}
        ListType::Set => {
            out.insert("x-kubernetes-list-type", "set");
        }
        ListType::Map(keys) => {
            out.insert("x-kubernetes-list-type", "map");
            let keys = keys.iter().map(|key| &**key).collect::<Value>();
            out.insert("x-kubernetes-list-map-keys", keys);
        }
    }
}

fn rule(rule: &Rule) -> Value {
    let mut out = Map::new();
    for (name, text) in [
        ("rule", &rule.rule),
        ("message", &rule.message),
        ("reason", &rule.reason),
        ("fieldPath", &rule.field_path),
    ] {
        set_text(&mut out, name, text);
    }
    out.into()
}

fn bounds(bounds: &Bounds, out: &mut Map) {
    for (name, exclusive, bound) in [
        ("minimum", "exclusiveMinimum", bounds.minimum),
        ("maximum", "exclusiveMaximum", bounds.maximum),
    ] {
        if let Some((value, is_exclusive)) = bound {
            out.insert(name, value);
            set_flag(out, exclusive, is_exclusive);
        }
    }
    if let Some(value) = bounds.multiple_of {
        out.insert("multipleOf", value);
    }
    for (name, count) in [
        ("minLength", bounds.min_length),
        ("maxLength", bounds.max_length),
        ("minItems", bounds.min_items),
        ("maxItems", bounds.max_items),
        ("minProperties", bounds.min_properties),
        ("maxProperties", bounds.max_properties),
    ] {
        if let Some(count) = count {
            out.insert(name, count);
        }
    }
    if let Some(pattern) = &bounds.pattern {
        out.insert("pattern", pattern.as_str());
    }
}

fn junctors(junctors: &Junctors, out: &mut Map, names: &mut Names) {
    for (name, schemas) in
        [("allOf", &junctors.all_of), ("anyOf", &junctors.any_of), ("oneOf", &junctors.one_of)]
    {
        if !schemas.is_empty() {
            let schemas = schemas.iter().map(|schema| node(schema, names)).collect::<Value>();
            out.insert(name, schemas);
        }
    }
    if let Some(schema) = &junctors.not {
        out.insert("not", node(schema, names));
    }
}

fn set_text(out: &mut Map, name: &str, text: &str) {
    if !text.is_empty() {
        out.insert(name, text);
    }
}

fn set_flag(out: &mut Map, name: &str, value: bool) {
    if value {
        out.insert(name, true);
    }
}
