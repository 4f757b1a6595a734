//! Rules over the old and the new value: `self == oldSelf`.

use super::found::Found;
use super::same::{Counterparts, equal, equal_resource};
use crate::field::FieldError;
use crate::json::{Path, Segment, Value};
use crate::schema::{Rule, Schema, Shape};

/// Whether a schema has rules anywhere.
pub(super) fn has_rules(schema: &Schema) -> bool {
    let inside = match &schema.shape {
        Shape::Object(object) => {
            object.properties.iter().any(|property| has_rules(&property.schema))
                || object.additional.as_deref().is_some_and(has_rules)
        }
        Shape::Array(array) => has_rules(&array.items),
        _ => false,
    };
    inside || !schema.rules.is_empty()
}

/// Adds an error for every rule that a change breaks. What was absent or is gone breaks none.
pub(super) fn check(new: &Value, old: &Value, schema: &Schema, base: &Path, found: &mut Found) {
    let mut walk = Walk { path: base.clone(), found };
    walk.node(new, old, schema, true);
}

struct Walk<'a> {
    path: Path,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn node(&mut self, new: &Value, old: &Value, schema: &Schema, is_root: bool) {
        if new.is_null() || old.is_null() || self.found.is_full() {
            return;
        }
        if !schema.rules.is_empty() {
            self.rules(new, old, schema, is_root);
        }
        match (new, old, &schema.shape) {
            (Value::Object(new), Value::Object(old), Shape::Object(object)) => {
                for (name, new) in new.iter() {
                    let Some(old) = old.get(name) else {
                        continue;
                    };
                    let (segment, schema) = match (object.property(name), &object.additional) {
                        (Some(property), _) => (Segment::Field(name.into()), &property.schema),
                        (None, Some(additional)) => (Segment::Key(name.into()), additional),
                        (None, None) => continue,
                    };
                    self.path.push(segment);
                    self.node(new, old, schema, false);
                    self.path.pop();
                }
            }
            (Value::Array(new), Value::Array(old), Shape::Array(array)) => {
                let old = Counterparts::new(old, array);
                for (at, new) in new.iter().enumerate() {
                    if let Some(old) = old.get(new) {
                        self.path.push(Segment::Index(at));
                        self.node(new, old, &array.items, false);
                        self.path.pop();
                    }
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, new: &Value, old: &Value, schema: &Schema, is_root: bool) {
        let equal = if is_root || schema.embedded_resource { equal_resource } else { equal };
        if equal(new, old, schema) {
            return;
        }
        for rule in &schema.rules {
            if self.found.is_full() {
                return;
            }
            let mut path = self.path.clone();
            rule.blame.segments().iter().for_each(|segment| path.push(segment.clone()));
            self.found.add(broken(rule, schema, path));
        }
    }
}

fn broken(rule: &Rule, schema: &Schema, path: Path) -> FieldError {
    let detail = match rule.message.trim() {
        "" => format!("failed rule: {}", rule.rule.trim()),
        message => message.to_owned(),
    };
    // Kubernetes shows the type, not the value.
    let shown = match &schema.shape {
        Shape::Object(_) => "object",
        Shape::Array(_) => "array",
        Shape::String => "string",
        Shape::Integer => "integer",
        Shape::Number => "number",
        Shape::Boolean => "boolean",
        Shape::Any | Shape::IntOrString => "",
    };
    match &*rule.reason {
        "FieldValueForbidden" => FieldError::forbidden(path, detail),
        "FieldValueRequired" => FieldError::required(path, detail),
        "FieldValueDuplicate" => FieldError::duplicate(path, shown),
        _ => FieldError::invalid(path, shown, detail),
    }
}
