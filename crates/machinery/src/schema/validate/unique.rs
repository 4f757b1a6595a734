//! Uniqueness in sets and list-maps (`apiextensions-apiserver` schema/listtype). Kubernetes' own
//! types, metadata above all, have rules of their own instead.

use std::collections::HashMap;

use super::found::Found;
use crate::field::FieldError;
use crate::json::{Map, Path, Segment, Value};
use crate::schema::{Array, ListType, Schema, Shape};

/// Adds an error for every element that comes a second time.
pub(super) fn check(value: &Value, schema: &Schema, base: &Path, found: &mut Found) {
    node(value, schema, &mut base.clone(), found);
}

fn node(value: &Value, schema: &Schema, path: &mut Path, found: &mut Found) {
    if schema.definition.is_some() || found.is_full() {
        return;
    }
    match (value, &schema.shape) {
        (Value::Object(map), Shape::Object(object)) => {
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
            list(elements, array, path, found);
            for (at, element) in elements.iter().enumerate() {
                path.push(Segment::Index(at));
                node(element, &array.items, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn list(elements: &[Value], array: &Array, path: &Path, found: &mut Found) {
    match &array.list_type {
        ListType::Atomic => {}
        ListType::Set => distinct(elements.iter().cloned(), path, found),
        ListType::Map(keys) => {
            let is_element = |element: &Value| element.is_null() || element.as_object().is_some();
            if let Some(at) = elements.iter().position(|element| !is_element(element)) {
                let detail = "must be an object for an array of list-type map";
                let value = elements[at].clone();
                found.add(FieldError::invalid(path.index(at), value, detail));
                return;
            }
            let keyed = elements.iter().map(|element| {
                let named =
                    keys.iter().filter_map(|key| Some((key.clone(), element.get(key)?.clone())));
                Value::Object(named.collect::<Map>())
            });
            distinct(keyed, path, found);
        }
    }
}

fn distinct(values: impl ExactSizeIterator<Item = Value>, path: &Path, found: &mut Found) {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(values.len());
    for (at, value) in values.enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            found.add(FieldError::duplicate(path.index(at), value));
        }
    }
}
