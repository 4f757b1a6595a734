//! Whether defaults are what their own schema allows
//! (`apiextensions-apiserver` schema/defaulting/validation.go).

use std::cell::Cell;

use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Path, Segment, Value};
use crate::schema::{Schema, Shape, prune, validate};

/// Every default that its schema would refuse or prune.
pub(super) fn check(schema: &Schema, base: &Path) -> Vec<FieldError> {
    let mut checker = Checker { path: base.clone(), steps: Cell::new(0), errors: Vec::new() };
    checker.node(schema);
    checker.errors
}

struct Checker {
    path: Path,
    /// Of checking all defaults.
    steps: Cell<u64>,
    errors: Vec<FieldError>,
}

impl Checker {
    fn node(&mut self, schema: &Schema) {
        if self.errors.len() >= MAX_ERRORS {
            return;
        }
        if let Some(default) = &schema.default {
            self.default(default, schema);
        }
        match &schema.shape {
            Shape::Object(object) => {
                for property in &object.properties {
                    self.path.push(Segment::Field("properties".into()));
                    self.path.push(Segment::Key(property.name.clone()));
                    self.node(&property.schema);
                    self.path.pop();
                    self.path.pop();
                }
            }
            Shape::Array(array) => {
                self.path.push(Segment::Field("items".into()));
                self.node(&array.items);
                self.path.pop();
            }
            _ => {}
        }
    }

    fn default(&mut self, default: &Value, schema: &Schema) {
        let path = self.path.field("default");
        let mut pruned = default.clone();
        prune::prune(&mut pruned, schema);
        if pruned != *default {
            let detail = "must not have unknown fields";
            self.errors.push(FieldError::invalid(path.clone(), default.clone(), detail));
        }
        self.errors.extend(validate::without_rules(default, schema, &path, &self.steps));
    }
}
