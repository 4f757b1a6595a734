//! Checks of one value that do not look inside it.

use super::walk::{Outcome, Walker};
use crate::field::{FieldError, MAX_SHOWN};
use crate::go_text;
use crate::json::{Number, Value};
use crate::schema::format;
use crate::schema::{Bounds, Schema, Shape};

/// How many bytes are compared at the cost of a step.
const COMPARED_PER_STEP: u64 = 16;

/// Steps of listing one value of an enumeration.
const LISTED_STEPS: u64 = 50;

/// Whole numbers beyond this may have lost digits as doubles.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

/// The type that a node demands, as messages name it; none if it demands none.
const fn demanded(schema: &Schema) -> Option<&'static str> {
    match &schema.shape {
        _ if schema.untyped => None,
        Shape::Any => None,
        Shape::Object(_) => Some("object"),
        Shape::Array(_) => Some("array"),
        Shape::String => Some("string"),
        Shape::Integer => Some("integer"),
        Shape::Number => Some("number"),
        Shape::Boolean => Some("boolean"),
        Shape::IntOrString => Some("integer,string"),
    }
}

/// The type of a value, where a number is an integer if it is written as one.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Number(number) if number.as_i64().is_some() => "integer",
        value => value.type_name(),
    }
}

/// Whether a number is whole, however it is written.
fn is_whole(number: &Number) -> bool {
    number.as_i64().is_some() || number.is_integral() && number.as_f64().abs() <= MAX_EXACT
}

/// Checks the type, and of what is no text, that no format of text is demanded.
pub(super) fn kind(walker: &Walker<'_>, value: &Value, schema: &Schema, outcome: &mut Outcome) {
    let demanded = demanded(schema);
    let fits = match (&schema.shape, value) {
        _ if demanded.is_none() => true,
        (_, Value::Null) => schema.nullable,
        (Shape::Object(_), Value::Object(_))
        | (Shape::Array(_), Value::Array(_))
        | (Shape::String | Shape::IntOrString, Value::String(_))
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Number, Value::Number(_)) => true,
        (Shape::Integer | Shape::IntOrString, Value::Number(number)) => is_whole(number),
        _ => false,
    };
    let is_text = matches!(value, Value::String(_) | Value::Array(_) | Value::Null);
    let of_text = demanded.is_none_or(|demanded| demanded == "string");
    let has_format = format::is_known(&schema.format);
    if !value.is_null() && (demanded.is_some() || has_format) {
        outcome.matches += 1;
    }
    if of_text && !is_text && has_format {
        let native = match value {
            Value::Number(number) if number.as_i64().is_some() => "int64",
            Value::Number(_) => "float64",
            _ => "",
        };
        wrong_type(walker, &schema.format, native, outcome);
    } else if fits {
        let counts = value.is_null() || demanded.is_some() || has_format;
        outcome.matches += u64::from(counts);
    } else {
        wrong_type(walker, demanded.unwrap_or_default(), kind_of(value), outcome);
    }
}

fn wrong_type(walker: &Walker<'_>, demanded: &str, found: &str, outcome: &mut Outcome) {
    let text =
        walker.should(format_args!("must be of type {demanded}: {}", go_text::quoted(found)));
    outcome.add(FieldError::type_invalid(walker.at(), found, text));
}

/// Checks that a value is one of those listed.
pub(super) fn enumeration(
    walker: &Walker<'_>,
    value: &Value,
    schema: &Schema,
    outcome: &mut Outcome,
) {
    let equal = |listed: &Value| match (listed, value) {
        (Value::Number(listed), Value::Number(number)) => listed.compare(number).is_eq(),
        (listed, value) => listed == value,
    };
    let each = 1 + weight(value) / COMPARED_PER_STEP;
    if !walker.take_steps(each.saturating_mul(count(schema.enumeration.len())))
        || schema.enumeration.iter().any(equal)
    {
        return;
    }
    let supported = listed(&schema.enumeration);
    walker.take_steps(LISTED_STEPS * count(supported.len()));
    let error = FieldError::not_supported(walker.at(), value.clone(), supported);
    outcome.add(error);
}

/// The values of an enumeration as errors list them, as many as can be shown.
fn listed(values: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.to_string(),
        other => go_text::json(other),
    };
    let mut left = MAX_SHOWN;
    let fits = |text: &String| {
        let rest = left.checked_sub(text.len());
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    values.iter().map(text).take_while(fits).collect()
}

/// About how many bytes are looked at to compare a value.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => count(text.len()),
        Value::Array(elements) => elements.iter().map(|element| 8 + weight(element)).sum(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| 8 + count(key.len()) + weight(value)).sum()
        }
        _ => 8,
    }
}

/// Checks length, pattern and format; only the first that fails is told, and the format.
pub(super) fn text(walker: &Walker<'_>, text: &str, schema: &Schema, outcome: &mut Outcome) {
    if let Some(bounds) = &schema.bounds {
        bounded_text(walker, text, bounds, outcome);
    }
    outcome.matches += 1;
    match format::matches(&schema.format, text) {
        None => return,
        Some(true) => {}
        Some(false) => {
            let shown = if text.len() > MAX_SHOWN { "string" } else { text };
            let told = walker.should(format_args!(
                "must be of type {}: {}",
                schema.format,
                go_text::quoted(shown)
            ));
            outcome.add(FieldError::type_invalid(walker.at(), text, told));
        }
    }
    outcome.matches += 1;
}

fn bounded_text(walker: &Walker<'_>, text: &str, bounds: &Bounds, outcome: &mut Outcome) {
    let (most, least) = (bounds.max_length, bounds.min_length);
    let length = if most.is_some() || least.is_some() { count(text.chars().count()) } else { 0 };
    if let Some(most) = most.filter(|&most| length > most) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        outcome.add(FieldError::too_long(walker.at(), most));
    } else if let Some(least) = least.filter(|&least| length < least) {
        let told = walker.should(format_args!("should be at least {least} chars long"));
        outcome.add(FieldError::invalid(walker.at(), text, told));
    } else if let Some(pattern) = &bounds.pattern
        && walker.take_steps(pattern.steps(text.len()))
        && !pattern.is_match(text)
    {
        let told = walker.should(format_args!("should match '{}'", pattern.as_str()));
        outcome.add(FieldError::invalid(walker.at(), text, told));
    }
}

/// Checks a number's bounds.
pub(super) fn number(walker: &Walker<'_>, number: &Number, schema: &Schema, outcome: &mut Outcome) {
    outcome.matches += 2;
    let Some(bounds) = &schema.bounds else {
        return;
    };
    let shown = Value::Number(number.clone());
    let mut refuse = |told: std::fmt::Arguments<'_>| {
        outcome.add(FieldError::invalid(walker.at(), shown.clone(), walker.should(told)));
    };
    if let Some(factor) = bounds.multiple_of {
        if factor <= 0.0 {
            let told = format!(
                "factor MultipleOf declared for {} must be positive: {}",
                walker.named(),
                bound(factor, number)
            );
            outcome.add(FieldError::invalid(walker.at(), factor, told));
            return;
        }
        if !is_multiple(number, factor) {
            refuse(format_args!("should be a multiple of {}", bound(factor, number)));
        }
    }
    if let Some((least, exclusive)) = bounds.minimum {
        let least_shown = bound(least, number);
        if exclusive && !above(number, least) {
            refuse(format_args!("should be greater than {least_shown}"));
        } else if !exclusive && below(number, least) {
            refuse(format_args!("should be greater than or equal to {least_shown}"));
        }
    }
    if let Some((most, exclusive)) = bounds.maximum {
        let most_shown = bound(most, number);
        if exclusive && !below(number, most) {
            refuse(format_args!("should be less than {most_shown}"));
        } else if !exclusive && above(number, most) {
            refuse(format_args!("should be less than or equal to {most_shown}"));
        }
    }
}

/// Whether a number is above a bound; exact for integers beyond 2⁵³.
fn above(number: &Number, bound: f64) -> bool {
    match number.as_i64() {
        Some(value) => i128::from(value) > floor(bound),
        None => number.as_f64() > bound,
    }
}

/// Whether a number is below a bound.
fn below(number: &Number, bound: f64) -> bool {
    match number.as_i64() {
        Some(value) => i128::from(value) < -floor(-bound),
        None => number.as_f64() < bound,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "saturates far beyond every i64")]
fn floor(bound: f64) -> i128 {
    bound.floor() as i128
}

fn is_multiple(number: &Number, factor: f64) -> bool {
    if let (Some(value), 0.0) = (number.as_i64(), factor.fract()) {
        return i128::from(value) % floor(factor).max(1) == 0;
    }
    let value = number.as_f64();
    let times = if factor < 1.0 { 1.0 / factor * value } else { value / factor };
    // As near to a whole number as doubles of that size can tell.
    let nearest = times.round();
    times.is_finite() && (times - nearest).abs() <= nearest.abs() * 1e-9
}

/// A bound as it is told beside a number: as an integer beside one.
fn bound(bound: f64, number: &Number) -> String {
    if number.as_i64().is_some() && bound.fract() == 0.0 && bound.abs() < 1e18 {
        floor(bound).to_string()
    } else {
        go_text::float(bound)
    }
}

/// Checks how many members or elements there are.
pub(super) fn sizes(walker: &Walker<'_>, value: &Value, bounds: &Bounds, outcome: &mut Outcome) {
    let (size, least, most, what) = match value {
        Value::Array(elements) => (elements.len(), bounds.min_items, bounds.max_items, "items"),
        Value::Object(map) => {
            (map.len(), bounds.min_properties, bounds.max_properties, "properties")
        }
        _ => return,
    };
    if let Some(least) = least.filter(|&least| count(size) < least) {
        let told = walker.should(format_args!("should have at least {least} {what}"));
        outcome.add(FieldError::invalid(walker.at(), size, told));
    }
    if let Some(most) = most.filter(|&most| count(size) > most) {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        outcome.add(FieldError::too_many(walker.at(), size, most));
    }
}

fn count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
