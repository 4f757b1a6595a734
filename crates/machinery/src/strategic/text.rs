//! How Go prints what it read from JSON (`fmt`, verbs `%v` and `%s`).

use std::fmt::Write as _;

use crate::go_text;
use crate::json::{Map, Value};

pub(super) const GO_LIST: &str = "[]interface {}";
pub(super) const GO_MAP: &str = "map[string]interface {}";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    /// `%v`
    Value,
    /// `%s`, which takes strings only and says so of everything else.
    Text,
}

/// As `%v` prints it: `map[a:[1 x <nil>]]`.
pub(super) fn printed(value: &Value) -> String {
    let mut out = String::new();
    write(value, Verb::Value, &mut out);
    out
}

/// As [`printed`].
pub(super) fn printed_map(map: &Map) -> String {
    let mut out = String::new();
    write_map(map, Verb::Value, &mut out);
    out
}

/// As [`printed`].
pub(super) fn printed_list(elements: &[Value]) -> String {
    let mut out = String::new();
    write_list(elements, Verb::Value, &mut out);
    out
}

/// As `%s` prints it: `%!s(int64=1)` for what is no string.
pub(super) fn printed_as_text(value: &Value) -> String {
    if value.is_null() {
        return "%!s(<nil>)".into();
    }
    let mut out = String::new();
    write(value, Verb::Text, &mut out);
    out
}

/// The Go type that a value is read into; empty for `null`.
pub(super) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.as_i64().is_some() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => GO_LIST,
        Value::Object(_) => GO_MAP,
    }
}

fn write(value: &Value, verb: Verb, out: &mut String) {
    let plain = match value {
        Value::Null => return out.push_str("<nil>"),
        Value::String(text) => return out.push_str(text),
        Value::Array(elements) => return write_list(elements, verb, out),
        Value::Object(map) => return write_map(map, verb, out),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.to_string(),
            None => go_text::float(number.as_f64()),
        },
    };
    let written = match verb {
        Verb::Value => out.write_str(&plain),
        Verb::Text => write!(out, "%!s({}={plain})", go_type(value)),
    };
    debug_assert!(written.is_ok(), "a String takes all text");
}

fn write_list(elements: &[Value], verb: Verb, out: &mut String) {
    out.push('[');
    for (at, element) in elements.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write(element, verb, out);
    }
    out.push(']');
}

fn write_map(map: &Map, verb: Verb, out: &mut String) {
    out.push_str("map[");
    for (at, (name, value)) in map.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(name);
        out.push(':');
        write(value, verb, out);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    // Printed by Go 1.24.
    #[test]
    fn values_read_as_go_prints_them() {
        for (json, value, text) in [
            ("null", "<nil>", "%!s(<nil>)"),
            ("true", "true", "%!s(bool=true)"),
            ("7", "7", "%!s(int64=7)"),
            ("1e6", "1e+06", "%!s(float64=1e+06)"),
            (
                "18446744073709551615",
                "1.8446744073709552e+19",
                "%!s(float64=1.8446744073709552e+19)",
            ),
            (r#""a b""#, "a b", "a b"),
            (
                r#"{"b":[1,null,"x"],"a":{}}"#,
                "map[a:map[] b:[1 <nil> x]]",
                "map[a:map[] b:[%!s(int64=1) <nil> x]]",
            ),
        ] {
            let read = parse(json.as_bytes()).unwrap();
            assert_eq!((&*printed(&read), &*printed_as_text(&read)), (value, text));
        }
    }
}
