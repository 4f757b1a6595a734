//! Leases.

use crate::field::FieldError;
use crate::json::{Path, Value};

/// Members of a feature that is off: dropped, unless the old object has them.
pub(super) fn prepare(object: &mut Value, old: Option<&Value>) {
    for name in ["strategy", "preferredHolder"] {
        let path = ["spec", name];
        if old.and_then(|old| old.at(&path)).is_none() {
            object.remove(&path);
        }
    }
}

pub(super) fn validate(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, minimum, detail) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        let number = object.at(&["spec", name]).and_then(Value::as_i64);
        if let Some(number) = number.filter(|number| *number < minimum) {
            errors.push(FieldError::invalid(Path::of(&["spec", name]), number, detail));
        }
    }
    errors
}
