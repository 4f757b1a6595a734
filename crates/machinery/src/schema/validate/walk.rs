//! The main walk: types, bounds, formats, enumerations, members, elements.

use std::cell::Cell;

use super::found::path_bytes;
use super::junctor;
use super::same::{Counterparts, unchanged};
use super::scalar;
use super::{ERROR_STEPS, MAX_STEPS, NODE_STEPS, PATH_BYTE_STEPS};
use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Map, Path, Segment, Value};
use crate::schema::{Array, Object, Schema, Shape};

/// What came of checking one value against one node.
#[derive(Default)]
pub(super) struct Outcome {
    pub errors: Vec<FieldError>,
    /// How many checks passed, about: among branches of which none fits, the one that fits best
    /// is told.
    pub matches: u64,
}

impl Outcome {
    pub(super) fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn add(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS && !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.matches += other.matches;
        other.errors.into_iter().for_each(|error| self.add(error));
    }
}

pub(super) struct Walker<'a> {
    base: &'a Path,
    /// From the base.
    path: Path,
    steps: &'a Cell<u64>,
}

/// Checks a value, against what it takes the place of if there is such. `steps` counts those
/// taken, here and before.
pub(super) fn check(
    value: &Value,
    schema: &Schema,
    old: Option<&Value>,
    base: &Path,
    steps: &Cell<u64>,
) -> Vec<FieldError> {
    let mut walker = Walker { base, path: Path::root(), steps };
    let mut outcome = walker.ratcheted(value, schema, old);
    if steps.get() > MAX_STEPS {
        let detail = "checking the value takes too many steps";
        outcome.errors.insert(0, FieldError::forbidden(base.clone(), detail));
    }
    outcome.errors
}

impl Walker<'_> {
    /// Checks, and lets pass what did not change.
    fn ratcheted(&mut self, value: &Value, schema: &Schema, old: Option<&Value>) -> Outcome {
        let mut outcome = self.check(value, schema, old);
        let same = |old| unchanged(value, old, schema);
        if !outcome.is_valid() && old.is_some_and(same) {
            outcome.errors.clear();
        }
        outcome
    }

    /// Checks one value against one node and what is inside.
    pub(super) fn check(&mut self, value: &Value, schema: &Schema, old: Option<&Value>) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.take_steps(NODE_STEPS) {
            return outcome;
        }
        self.scalar(value, schema, &mut outcome);
        if value.is_null() {
            return outcome;
        }
        if let Some(junctors) = &schema.junctors {
            let found = junctor::check(self, value, junctors);
            outcome.merge(found);
        }
        match (value, &schema.shape) {
            (Value::Object(map), Shape::Object(object)) => {
                self.members(map, object, old, &mut outcome);
            }
            (Value::Array(elements), Shape::Array(array)) => {
                self.elements(elements, array, old, &mut outcome);
            }
            _ => {}
        }
        outcome.matches += match value {
            Value::Array(_) => 6,
            Value::Object(_) => 5,
            _ => 4,
        };
        if let Some(bounds) = &schema.bounds {
            scalar::sizes(self, value, bounds, &mut outcome);
        }
        outcome
    }

    /// The checks that do not look inside.
    fn scalar(&self, value: &Value, schema: &Schema, outcome: &mut Outcome) {
        scalar::kind(self, value, schema, outcome);
        if !schema.enumeration.is_empty() {
            scalar::enumeration(self, value, schema, outcome);
        }
        match value {
            Value::String(text) => scalar::text(self, text, schema, outcome),
            Value::Number(number) => scalar::number(self, number, schema, outcome),
            _ => {}
        }
    }

    fn members(&mut self, map: &Map, object: &Object, old: Option<&Value>, outcome: &mut Outcome) {
        let old = old.and_then(Value::as_object);
        for (name, value) in map.iter() {
            let Some(schema) = member(object, name) else {
                continue;
            };
            self.path.push(Segment::Field(name.into()));
            let old = old.and_then(|old| old.get(name));
            let found = self.ratcheted(value, schema, old);
            self.path.pop();
            outcome.merge(found);
        }
        self.required(map, object, outcome);
    }

    fn required(&self, map: &Map, object: &Object, outcome: &mut Outcome) {
        let names = object.properties.len() + object.required_undeclared.len();
        if !self.take_steps(count(names)) {
            return;
        }
        let declared = object.properties.iter().filter(|property| property.required);
        let names = declared.map(|property| &property.name).chain(&object.required_undeclared);
        for name in names.filter(|name| !map.contains_key(name)) {
            outcome.add(FieldError::required(self.at().field(name), ""));
        }
    }

    fn elements(
        &mut self,
        elements: &[Value],
        array: &Array,
        old: Option<&Value>,
        outcome: &mut Outcome,
    ) {
        let old = old.and_then(Value::as_array).map(|old| Counterparts::new(old, array));
        for (at, value) in elements.iter().enumerate() {
            self.path.push(Segment::Index(at));
            let old = old.as_ref().and_then(|old| old.get(value));
            let found = self.ratcheted(value, &array.items, old);
            self.path.pop();
            outcome.merge(found);
        }
    }

    /// Takes steps beside those of nodes; false when there are none left.
    pub(super) fn take_steps(&self, steps: u64) -> bool {
        self.steps.set(self.steps.get().saturating_add(steps));
        self.steps.get() <= MAX_STEPS
    }

    /// Where the walk is, for texts.
    pub(super) fn named(&self) -> String {
        self.path.to_string()
    }

    /// Where the walk is, for errors.
    pub(super) fn at(&self) -> Path {
        let mut path = self.base.clone();
        self.path.segments().iter().for_each(|segment| path.push(segment.clone()));
        self.take_steps(ERROR_STEPS + PATH_BYTE_STEPS * count(path_bytes(&path)));
        path
    }

    /// For an error about the whole, as Kubernetes reports what junctors say.
    pub(super) fn at_base(&self) -> Path {
        self.take_steps(ERROR_STEPS);
        self.base.clone()
    }

    /// `spec.x in body <should>`.
    pub(super) fn should(&self, should: impl std::fmt::Display) -> String {
        format!("{} in body {should}", self.path)
    }
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The schema of a member, declared or not.
fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Schema> {
    let declared = object.property(name).map(|property| &*property.schema);
    declared.or(object.additional.as_deref())
}
