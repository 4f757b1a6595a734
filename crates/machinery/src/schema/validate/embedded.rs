//! Resources inside of objects: they have an apiVersion, a kind and good metadata
//! (`apiextensions-apiserver` schema/objectmeta/validation.go).

use super::found::Found;
use crate::field::FieldError;
use crate::json::{Map, Path, Segment, Value};
use crate::names::{NameRule, dns1035_label};
use crate::object_meta::{self, Checks};
use crate::schema::{Schema, Shape};

/// Adds what is wrong with the type and the metadata of every embedded resource.
pub(super) fn check(value: &Value, schema: &Schema, base: &Path, found: &mut Found) {
    node(value, schema, &mut base.clone(), found);
}

fn node(value: &Value, schema: &Schema, path: &mut Path, found: &mut Found) {
    if found.is_full() {
        return;
    }
    match (value, &schema.shape) {
        (Value::Object(map), Shape::Object(object)) => {
            if schema.embedded_resource {
                resource(map, path, found);
            }
            for (name, value) in map.iter() {
                if let Some(property) = object.property(name) {
                    path.push(Segment::Field(name.into()));
                    node(value, &property.schema, path, found);
                    path.pop();
                } else if let Some(additional) = &object.additional {
                    path.push(Segment::Key(name.into()));
                    node(value, additional, path, found);
                    path.pop();
                }
            }
        }
        (Value::Array(elements), Shape::Array(array)) => {
            for (at, element) in elements.iter().enumerate() {
                path.push(Segment::Index(at));
                node(element, &array.items, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn resource(map: &Map, path: &Path, found: &mut Found) {
    for (name, check) in [("apiVersion", api_version as fn(&str) -> Option<String>), ("kind", kind)]
    {
        let path = path.field(name);
        let (value, detail) = match map.get(name) {
            None => {
                found.add(FieldError::required(path, ""));
                continue;
            }
            Some(Value::String(text)) if text.is_empty() => {
                ("".into(), Some("must not be empty".into()))
            }
            Some(Value::String(text)) => (text.clone().into(), check(text)),
            Some(other) => (other.clone(), Some("must be a string".into())),
        };
        if let Some(detail) = detail {
            found.add(FieldError::invalid(path, value, detail));
        }
    }
    if let Some(Value::Object(metadata)) = map.get("metadata") {
        let mut metadata = metadata.clone();
        let has = |key: &str| {
            metadata.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        };
        let checks = Checks {
            namespaced: has("namespace"),
            name: NameRule::PathSegment,
            qualified_finalizers: false,
        };
        if !has("name") {
            // An embedded resource may go without a name.
            metadata.insert("name", "unnamed");
        }
        for error in object_meta::validate(&metadata, checks, &Path::of(&["metadata"])) {
            if found.is_full() {
                break;
            }
            let mut at = path.clone();
            error.path.segments().iter().for_each(|segment| at.push(segment.clone()));
            found.add(FieldError { path: at, problem: error.problem });
        }
    }
}

fn api_version(text: &str) -> Option<String> {
    let several = text.matches('/').count() > 1;
    several.then(|| format!("unexpected GroupVersion string: {text}"))
}

fn kind(text: &str) -> Option<String> {
    let wrong = dns1035_label(&text.to_lowercase());
    let start = "may have mixed case, but should otherwise match: ";
    (!wrong.is_empty()).then(|| format!("{start}{}", wrong.join(",")))
}
