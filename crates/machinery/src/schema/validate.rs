//! Whether a value is what its schema says, in the words of Kubernetes
//! (`kube-openapi/pkg/validation/validate`, `apiextensions-apiserver`).
//!
//! Four walks, as there: values against the schema, embedded resources, uniqueness in sets and
//! list-maps, and, once nothing of the first is missing or of the wrong type, transition rules.
//! On update, what is wrong in a part that did not change is let pass (KEP-4008), so that a
//! stricter schema does not freeze old objects.
//!
//! Work is bounded by [`MAX_STEPS`], and reports stop at about
//! [`MAX_ERRORS`](crate::field::MAX_ERRORS).

mod embedded;
mod found;
mod junctor;
mod same;
mod scalar;
#[cfg(test)]
mod tests;
mod transition;
mod unique;
mod walk;

use std::cell::Cell;

use found::Found;

use super::Schema;
use crate::field::{FieldError, Problem};
use crate::json::{Path, Value};

/// Most steps of checking one value, about a second of work. A node is a few dozen, a
/// pattern its weight times the length of the text.
pub const MAX_STEPS: u64 = 500_000_000;

/// Steps of looking at one node.
const NODE_STEPS: u64 = 20;
/// Steps of writing up one error, its path aside.
const ERROR_STEPS: u64 = 500;
/// Steps of each byte of an error's path.
const PATH_BYTE_STEPS: u64 = 16;

/// What is wrong with a new value. Paths start at `base`; texts speak of fields by their path
/// from there.
#[must_use]
pub fn validate(value: &Value, schema: &Schema, base: &Path) -> Vec<FieldError> {
    let mut errors = without_rules(value, schema, base, &Cell::new(0));
    if has_blocking(&errors) && transition::has_rules(schema) {
        errors.push(unchecked_rules());
    }
    errors
}

/// As [`validate`], where rules are nobody's concern. `steps` counts those taken, here and before.
pub(super) fn without_rules(
    value: &Value,
    schema: &Schema,
    base: &Path,
    steps: &Cell<u64>,
) -> Vec<FieldError> {
    let mut found = Found::new(walk::check(value, schema, None, base, steps));
    embedded::check(value, schema, base, &mut found);
    unique::check(value, schema, base, &mut found);
    found.into_errors()
}

/// What is wrong with a value that takes the place of another.
#[must_use]
pub fn validate_update(new: &Value, old: &Value, schema: &Schema, base: &Path) -> Vec<FieldError> {
    let mut found = Found::new(walk::check(new, schema, Some(old), base, &Cell::new(0)));
    embedded::check(new, schema, base, &mut found);
    let mut of_old = Found::new(Vec::new());
    unique::check(old, schema, base, &mut of_old);
    if of_old.as_slice().is_empty() {
        unique::check(new, schema, base, &mut found);
    }
    if !has_blocking(found.as_slice()) {
        transition::check(new, old, schema, base, &mut found);
        return found.into_errors();
    }
    let mut errors = found.into_errors();
    if transition::has_rules(schema) {
        errors.push(unchecked_rules());
    }
    errors
}

/// Errors with which a rule could not be evaluated.
fn has_blocking(errors: &[FieldError]) -> bool {
    errors.iter().any(|error| {
        matches!(
            error.problem,
            Problem::NotSupported(..)
                | Problem::Required(_)
                | Problem::TooLong(_)
                | Problem::TooMany(..)
                | Problem::TypeInvalid(..)
        )
    })
}

fn unchecked_rules() -> FieldError {
    let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    FieldError::invalid(Path::root(), Value::Null, detail)
}
