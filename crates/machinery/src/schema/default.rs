//! Putting defaults in place of what is absent (`apiextensions-apiserver` schema/defaulting).
//!
//! A `null` where none is allowed counts as absent. Defaults reach into objects that are
//! there; they do not make an object only to fill it.

use strait_types::{Classified, ErrorKind};

use super::{Object, Schema, Shape};
use crate::json::{Map, Value};

/// Most bytes that defaults may add to an object, about: no object may be stored that is larger
/// than this, and a small list of empty objects must not become a large one.
pub const MAX_ADDED_BYTES: usize = 3 << 20;

/// Most declared members that are looked for in all objects of a value, some tenths of a
/// second of work.
pub const MAX_LOOKUPS: usize = 50_000_000;

/// Defaults would make the object too large, or take too long to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("defaults would add more than {MAX_ADDED_BYTES} bytes, or there are too many")]
pub struct DefaultsTooLarge;

impl Classified for DefaultsTooLarge {
    fn kind(&self) -> ErrorKind {
        ErrorKind::TooLarge
    }
}

/// Drops the nulls that no schema allows, and puts defaults in.
///
/// # Errors
/// [`DefaultsTooLarge`]; the value is then half done.
pub fn apply(value: &mut Value, schema: &Schema) -> Result<(), DefaultsTooLarge> {
    node(value, schema, &mut Budget { bytes: MAX_ADDED_BYTES, lookups: MAX_LOOKUPS })
}

struct Budget {
    bytes: usize,
    lookups: usize,
}

fn node(value: &mut Value, schema: &Schema, budget: &mut Budget) -> Result<(), DefaultsTooLarge> {
    match (value, &schema.shape) {
        (Value::Object(map), Shape::Object(object)) => {
            drop_nulls(map, object);
            add(map, object, budget)?;
            for (name, value) in map.iter_mut() {
                if let Some(schema) = member(object, name) {
                    node(value, schema, budget)?;
                }
            }
        }
        (Value::Array(elements), Shape::Array(array)) => {
            for element in elements {
                if element.is_null() && !array.items.nullable {
                    *element = copy(array.items.default.as_ref(), budget)?;
                }
                node(element, &array.items, budget)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Schema> {
    let declared = object.property(name).map(|property| &*property.schema);
    declared.or(object.additional.as_deref())
}

fn drop_nulls(map: &mut Map, object: &Object) {
    map.retain(|name, value| {
        let keep = |schema: &Schema| schema.nullable || schema.default.is_some();
        !value.is_null() || member(object, name).is_none_or(keep)
    });
}

fn add(map: &mut Map, object: &Object, budget: &mut Budget) -> Result<(), DefaultsTooLarge> {
    let lookups = budget.lookups.checked_sub(object.properties.len());
    budget.lookups = lookups.ok_or(DefaultsTooLarge)?;
    for property in object.properties.iter().filter(|property| property.schema.default.is_some()) {
        let is_absent = match map.get(&property.name) {
            None => true,
            Some(value) => value.is_null() && !property.schema.nullable,
        };
        if is_absent {
            let value = copy(property.schema.default.as_ref(), budget)?;
            map.insert(property.name.clone(), value);
        }
    }
    if let Some(additional) = object.additional.as_ref().filter(|schema| !schema.nullable) {
        for (name, value) in map.iter_mut() {
            if value.is_null() && object.property(name).is_none() {
                *value = copy(additional.default.as_ref(), budget)?;
            }
        }
    }
    Ok(())
}

/// A copy of a default, `null` if there is none.
fn copy(default: Option<&Value>, budget: &mut Budget) -> Result<Value, DefaultsTooLarge> {
    let Some(default) = default else {
        return Ok(Value::Null);
    };
    budget.bytes = budget.bytes.checked_sub(size(default)).ok_or(DefaultsTooLarge)?;
    Ok(default.clone())
}

/// About how many bytes a value takes.
fn size(value: &Value) -> usize {
    let inside: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    inside + 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::{json, of_x};

    // Against upstream: `schema/tests.rs`.
    #[test]
    fn defaults_are_bounded() {
        let schema = of_x(&format!(
            r#"{{"type":"array","items":{{"type":"object","properties":{{
                "a":{{"type":"string","default":"{}"}}
            }}}}}}"#,
            "d".repeat(1000)
        ));
        let list = |length: usize| json(&format!(r#"{{"x":[{}]}}"#, vec!["{}"; length].join(",")));
        let mut value = list(MAX_ADDED_BYTES / 1008);
        assert_eq!(apply(&mut value, &schema), Ok(()));
        assert!(value.to_string().len() > 3_000_000);
        let error = apply(&mut list(MAX_ADDED_BYTES / 1008 + 1), &schema).unwrap_err();
        assert!(error.to_string().starts_with("defaults would add more than 3145728 bytes"));
    }

    #[test]
    fn work_is_bounded() {
        let names: Vec<_> =
            (0..20_000).map(|at| format!(r#""m{at}":{{"type":"string"}}"#)).collect();
        let schema = of_x(&format!(
            r#"{{"type":"array","items":{{"type":"object","properties":{{{}}}}}}}"#,
            names.join(",")
        ));
        let list = |length: usize| json(&format!(r#"{{"x":[{}]}}"#, vec!["{}"; length].join(",")));
        assert_eq!(apply(&mut list(100), &schema), Ok(()));
        assert_eq!(apply(&mut list(MAX_LOOKUPS / 20_000 + 1), &schema), Err(DefaultsTooLarge));
    }

    #[test]
    fn defaults_once_applied_change_no_more() {
        let schema = of_x(
            r#"{"type":"object","default":{},"properties":{
                "a":{"type":"string","default":"d"},
                "b":{"type":"array","items":{"type":"integer","default":1}}
            }}"#,
        );
        for text in ["{}", r#"{"x":null}"#, r#"{"x":{"a":null,"b":[null,2]}}"#] {
            let mut value = json(text);
            apply(&mut value, &schema).unwrap();
            let once = value.clone();
            apply(&mut value, &schema).unwrap();
            assert_eq!(value, once);
        }
    }
}
