//! Field errors, in the words of Kubernetes (`apimachinery/pkg/util/validation/field/errors.go`).
//!
//! Clients print these texts and tools match on them, so they are exact.

use std::fmt;

use crate::go_text;
use crate::json::{Path, Value, quoted};

/// Checks stop at about this many errors; more would tell nobody more.
pub const MAX_ERRORS: usize = 100;
/// A value of more bytes than this, about, is not shown: an error then names its type.
pub const MAX_SHOWN: usize = 16 << 10;

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// It must be there.
    Required(String),
    /// It is named twice in a set or list-map.
    Duplicate(Value),
    /// Its value breaks a rule; the text says which.
    Invalid(Value, String),
    /// Its value has the wrong type.
    TypeInvalid(Value, String),
    /// Its value is not one of these.
    NotSupported(Value, Vec<String>),
    /// It may not be set, or not now.
    Forbidden(String),
    /// More than this many bytes.
    TooLong(usize),
    /// More elements (first) than the limit (second).
    TooMany(usize, usize),
    /// What it names does not exist.
    NotFound(Value),
    /// The server failed, not the client.
    Internal(String),
}

/// One error about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// Which field.
    pub path: Path,
    /// What is wrong with it.
    pub problem: Problem,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $problem:expr;)*) => {
        impl FieldError {$(
            $(#[$doc])*
            #[must_use]
            pub fn $name(path: Path, $($arg: $type),*) -> Self {
                Self { path, problem: $problem }
            }
        )*}
    };
}

constructors! {
    /// The field must be there; `detail` may be empty.
    required(detail: impl Into<String>) = Problem::Required(detail.into());
    /// The field's value breaks a rule.
    invalid(value: impl Into<Value>, detail: impl Into<String>) = Problem::Invalid(brief(value.into()), detail.into());
    /// The field's value has the wrong type.
    type_invalid(value: impl Into<Value>, detail: impl Into<String>) = Problem::TypeInvalid(brief(value.into()), detail.into());
    /// The field may not be set, or not now.
    forbidden(detail: impl Into<String>) = Problem::Forbidden(detail.into());
    /// The value appears twice.
    duplicate(value: impl Into<Value>) = Problem::Duplicate(brief(value.into()));
    /// What the value names does not exist.
    not_found(value: impl Into<Value>) = Problem::NotFound(brief(value.into()));
    /// The value is not one of the supported ones.
    not_supported(value: impl Into<Value>, supported: Vec<String>) = Problem::NotSupported(brief(value.into()), supported);
    /// The value is longer than `max` bytes.
    too_long(max: usize) = Problem::TooLong(max);
    /// There are `actual` elements, `max` may be.
    too_many(actual: usize, max: usize) = Problem::TooMany(actual, max);
}

impl FieldError {
    /// The cause's `reason` in a Status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match &self.problem {
            Problem::Required(_) => "FieldValueRequired",
            Problem::Duplicate(_) => "FieldValueDuplicate",
            Problem::Invalid(..) => "FieldValueInvalid",
            Problem::TypeInvalid(..) => "FieldValueTypeInvalid",
            Problem::NotSupported(..) => "FieldValueNotSupported",
            Problem::Forbidden(_) => "FieldValueForbidden",
            Problem::TooLong(_) => "FieldValueTooLong",
            Problem::TooMany(..) => "FieldValueTooMany",
            Problem::NotFound(_) => "FieldValueNotFound",
            Problem::Internal(_) => "InternalError",
        }
    }

    /// The path as text: `<nil>` for the whole document, as Kubernetes has it.
    #[must_use]
    pub fn field(&self) -> String {
        if self.path.segments().is_empty() { "<nil>".into() } else { self.path.to_string() }
    }

    /// The text without the path: what a Status' cause carries.
    #[must_use]
    pub fn body(&self) -> String {
        let detailed = |head: String, detail: &str| {
            if detail.is_empty() { head } else { format!("{head}: {detail}") }
        };
        match &self.problem {
            Problem::Required(detail) => detailed("Required value".into(), detail),
            Problem::Duplicate(value) => format!("Duplicate value: {}", shown(value)),
            Problem::Invalid(value, detail) | Problem::TypeInvalid(value, detail) => {
                detailed(format!("Invalid value: {}", shown(value)), detail)
            }
            Problem::NotSupported(value, supported) => {
                let head = format!("Unsupported value: {}", shown(value));
                let list: Vec<_> = supported.iter().map(|one| quoted(one)).collect();
                if list.is_empty() {
                    head
                } else {
                    format!("{head}: supported values: {}", list.join(", "))
                }
            }
            Problem::Forbidden(detail) => detailed("Forbidden".into(), detail),
            Problem::TooLong(max) => {
                let bytes = if *max == 1 { "byte" } else { "bytes" };
                format!("Too long: may not be more than {max} {bytes}")
            }
            Problem::TooMany(actual, max) => {
                let items = if *max == 1 { "item" } else { "items" };
                format!("Too many: {actual}: must have at most {max} {items}")
            }
            Problem::NotFound(value) => format!("Not found: {}", shown(value)),
            Problem::Internal(detail) => detailed("Internal error".into(), detail),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field(), self.body())
    }
}

/// A value, or its type's name if it is too large to show.
fn brief(value: Value) -> Value {
    fn fits(value: &Value, left: &mut usize) -> bool {
        let own = value.as_str().map_or(1, str::len);
        let Some(rest) = left.checked_sub(own) else {
            return false;
        };
        *left = rest;
        match value {
            Value::Array(elements) => elements.iter().all(|element| fits(element, left)),
            Value::Object(map) => map.iter().all(|(key, value)| {
                *left = left.saturating_sub(key.len());
                fits(value, left)
            }),
            _ => true,
        }
    }
    if fits(&value, &mut { MAX_SHOWN }) { value } else { value.type_name().into() }
}

/// Scalars as Go prints them, everything else as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go_text::quoted(text),
        Value::Number(number) if number.as_i64().is_none() => go_text::float(number.as_f64()),
        other => go_text::json(other),
    }
}

/// The errors as one text: alone as it is, several in brackets
/// (`apimachinery/pkg/util/errors`).
#[must_use]
pub fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.as_slice() {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_kubernetes() {
        let path = || Path::of(&["spec", "x"]);
        for (error, text) in [
            (FieldError::required(path(), ""), "spec.x: Required value"),
            (FieldError::required(path(), "name it"), "spec.x: Required value: name it"),
            (
                FieldError::invalid(path(), -1, "must be greater"),
                "spec.x: Invalid value: -1: must be greater",
            ),
            (FieldError::invalid(path(), "a", "bad"), "spec.x: Invalid value: \"a\": bad"),
            (
                FieldError::not_supported(path(), "c", vec!["a".into(), "b".into()]),
                "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"",
            ),
            (FieldError::forbidden(path(), "not now"), "spec.x: Forbidden: not now"),
            (FieldError::duplicate(path(), "a"), "spec.x: Duplicate value: \"a\""),
            (
                FieldError::invalid(path(), crate::json::parse(b"1e7").unwrap(), "bad"),
                "spec.x: Invalid value: 1e+07: bad",
            ),
            (
                FieldError::invalid(Path::root(), Value::Null, "bad"),
                "<nil>: Invalid value: null: bad",
            ),
            (FieldError::too_long(path(), 1), "spec.x: Too long: may not be more than 1 byte"),
            (FieldError::too_long(path(), 3), "spec.x: Too long: may not be more than 3 bytes"),
            (FieldError::too_many(path(), 9, 8), "spec.x: Too many: 9: must have at most 8 items"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn what_is_too_large_is_not_shown() {
        let text = |length: usize| Value::from("a".repeat(length));
        let of = |value: Value| FieldError::invalid(Path::of(&["x"]), value, "bad").to_string();
        assert!(of(text(MAX_SHOWN)).len() > MAX_SHOWN);
        assert_eq!(of(text(MAX_SHOWN + 1)), "x: Invalid value: \"string\": bad");
        let list = Value::from(vec![text(MAX_SHOWN / 2); 2]);
        assert_eq!(of(list), "x: Invalid value: \"array\": bad");
        let map: crate::json::Map = [("k".repeat(MAX_SHOWN), 1)].into_iter().collect();
        assert_eq!(of(map.into()), "x: Invalid value: \"object\": bad");
    }

    #[test]
    fn several_errors_stand_in_brackets_once_each() {
        let a = FieldError::required(Path::of(&["a"]), "");
        let b = FieldError::required(Path::of(&["b"]), "");
        assert_eq!(aggregate(std::slice::from_ref(&a)), "a: Required value");
        assert_eq!(aggregate(&[a.clone(), b, a]), "[a: Required value, b: Required value]");
    }
}
