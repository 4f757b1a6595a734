//! When two values are the same, given what their schema says of lists.

use std::collections::{BTreeSet, HashMap};

use crate::json::{Map, Value};
use crate::schema::{Array, ListType, Object, Schema, Shape};

/// In what sense values are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sense {
    /// Written alike; elements of list-maps are matched by key.
    Written,
    /// As rules compare: also numbers by value, and sets in any order.
    Meant,
}

/// Whether a value is what the old one was: elements of list-maps are matched by key.
pub(super) fn unchanged(new: &Value, old: &Value, schema: &Schema) -> bool {
    same(new, old, schema, Sense::Written)
}

/// Whether `self == oldSelf`: numbers by value, list-maps by key, sets in any order.
pub(super) fn equal(new: &Value, old: &Value, schema: &Schema) -> bool {
    same(new, old, schema, Sense::Meant)
}

/// As [`equal`], for a whole resource: of its metadata, rules see the names only.
pub(super) fn equal_resource(new: &Value, old: &Value, schema: &Schema) -> bool {
    let seen = |value: &Value| {
        let mut value = value.clone();
        if let Some(Value::Object(metadata)) =
            value.as_object_mut().and_then(|map| map.get_mut("metadata"))
        {
            metadata.retain(|name, _| matches!(name, "name" | "generateName"));
        }
        value
    };
    equal(&seen(new), &seen(old), schema)
}

fn same(new: &Value, old: &Value, schema: &Schema, sense: Sense) -> bool {
    match (&schema.shape, new, old) {
        (Shape::Object(object), Value::Object(new), Value::Object(old)) => {
            new.len() == old.len() && same_members(new, old, object, sense)
        }
        (Shape::Array(array), Value::Array(new), Value::Array(old)) => {
            new.len() == old.len() && same_elements(new, old, array, sense)
        }
        (_, Value::Number(new), Value::Number(old)) if sense == Sense::Meant => {
            new.compare(old).is_eq()
        }
        _ => new == old,
    }
}

fn same_members(new: &Map, old: &Map, object: &Object, sense: Sense) -> bool {
    new.iter().all(|(name, new)| {
        let declared = object.property(name).map(|property| &property.schema);
        let schema = declared.or(object.additional.as_ref());
        old.get(name).is_some_and(|old| match schema {
            Some(schema) => same(new, old, schema, sense),
            None => new == old,
        })
    })
}

fn same_elements(new: &[Value], old: &[Value], array: &Array, sense: Sense) -> bool {
    match &array.list_type {
        ListType::Map(_) => {
            let old = Counterparts::new(old, array);
            new.iter()
                .all(|new| old.get(new).is_some_and(|old| same(new, old, &array.items, sense)))
        }
        ListType::Set if sense == Sense::Meant => {
            let texts =
                |values: &[Value]| values.iter().map(Value::to_string).collect::<BTreeSet<_>>();
            texts(new) == texts(old)
        }
        _ => new.iter().zip(old).all(|(new, old)| same(new, old, &array.items, sense)),
    }
}

/// The elements of an old list by their keys; none where elements have no keys.
pub(super) struct Counterparts<'a> {
    keys: &'a [Box<str>],
    by_keys: HashMap<String, &'a Value>,
}

impl<'a> Counterparts<'a> {
    pub(super) fn new(old: &'a [Value], array: &'a Array) -> Self {
        let keys = match &array.list_type {
            ListType::Map(keys) => &**keys,
            _ => &[],
        };
        let elements = if keys.is_empty() { &[] } else { old };
        let by_keys = elements.iter().map(|old| (key_text(old, keys), old)).collect();
        Self { keys, by_keys }
    }

    pub(super) fn get(&self, element: &Value) -> Option<&'a Value> {
        if self.by_keys.is_empty() {
            return None;
        }
        self.by_keys.get(&key_text(element, self.keys)).copied()
    }
}

/// The keys of an element as text, absent ones left out.
fn key_text(element: &Value, keys: &[Box<str>]) -> String {
    let named = keys.iter().filter_map(|key| Some((key.clone(), element.get(key)?.clone())));
    Value::Object(named.collect()).to_string()
}
