//! Dropping what a schema does not declare (`apiextensions-apiserver` schema/pruning).

use super::{Object, Schema, Shape};
use crate::json::{Map, Path, Segment, Value};

/// At most this many dropped members are named; the rest would tell nobody more.
pub const MAX_UNKNOWN: usize = 100;

/// Drops undeclared members. Returns their paths, sorted by their texts, at most [`MAX_UNKNOWN`],
/// for messages of the form `unknown field "spec.x"`.
pub fn prune(value: &mut Value, schema: &Schema) -> Vec<Path> {
    let mut pruner = Pruner { path: Path::root(), unknown: Vec::new() };
    pruner.node(value, schema);
    pruner.unknown.sort_by_cached_key(Path::to_string);
    pruner.unknown
}

struct Pruner {
    path: Path,
    unknown: Vec<Path>,
}

impl Pruner {
    fn node(&mut self, value: &mut Value, schema: &Schema) {
        match (value, &schema.shape) {
            (_, Shape::Any) => {}
            (Value::Object(map), Shape::Object(object)) => {
                self.members(map, object, schema.preserve_unknown);
            }
            (Value::Array(elements), Shape::Array(array)) => {
                for (at, element) in elements.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    if schema.preserve_unknown {
                        self.preserved_element(element, &array.items);
                    } else {
                        self.node(element, &array.items);
                    }
                    self.path.pop();
                }
            }
            (value, _) if !schema.preserve_unknown => self.clear(value),
            _ => {}
        }
    }

    fn members(&mut self, map: &mut Map, object: &Object, preserve_unknown: bool) {
        map.retain(|name, value| {
            let declared = object.property(name).map(|property| &property.schema);
            let Some(schema) = declared.or(object.additional.as_ref()) else {
                if !preserve_unknown {
                    self.record(name);
                }
                return preserve_unknown;
            };
            self.path.push(Segment::Field(name.into()));
            self.node(value, schema);
            self.path.pop();
            true
        });
    }

    /// An element of an array that preserves what is unknown: the elements do so, too, but not
    /// what is declared in them.
    fn preserved_element(&mut self, element: &mut Value, schema: &Schema) {
        match (element, &schema.shape) {
            (Value::Object(map), Shape::Object(object)) => self.members(map, object, true),
            (Value::Array(elements), Shape::Array(array)) => {
                for (at, element) in elements.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    self.preserved_element(element, &array.items);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// Objects have members only where a schema says so.
    fn clear(&mut self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.keys().for_each(|name| self.record(name));
                *map = Map::new();
            }
            Value::Array(elements) => {
                for (at, element) in elements.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    self.clear(element);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, name: &str) {
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown.push(self.path.field(name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::tests::{json, of_x};

    #[test]
    fn what_is_dropped_is_named_by_its_path() {
        let schema = of_x(
            r#"{"type":"object","properties":{
                "list":{"type":"array","items":{"type":"object","properties":{"a":{"type":"string"}}}},
                "map":{"type":"object","additionalProperties":{"type":"object","properties":{}}},
                "kept":{"x-kubernetes-preserve-unknown-fields":true}
            }}"#,
        );
        let mut value = json(
            r#"{"z":1,"x":{
                "list":[{"a":"1"},{"b":{"c":1}}],
                "map":{"k.l":{"d":1}},
                "kept":{"e":{"f":1}},
                "g":[1]
            }}"#,
        );
        let dropped: Vec<_> = prune(&mut value, &schema).iter().map(Path::to_string).collect();
        assert_eq!(dropped, ["x.g", "x.list[1].b", "x.map.k.l.d", "z"]);
        let left = r#"{"x":{"kept":{"e":{"f":1}},"list":[{"a":"1"},{}],"map":{"k.l":{}}}}"#;
        assert_eq!(value.to_string(), left);
        assert!(prune(&mut value, &schema).is_empty());
    }

    #[test]
    fn a_hundred_are_named_and_all_are_dropped() {
        let schema = of_x(r#"{"type":"object"}"#);
        let members = (0..1000).map(|at| (Box::from(format!("m{at}")), Value::Null)).collect();
        let mut value = Value::Object(members);
        assert_eq!(prune(&mut value, &schema).len(), MAX_UNKNOWN);
        assert_eq!(value.to_string(), "{}");
    }
}
