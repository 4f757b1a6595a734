//! How Go prints values, for messages that must read as Kubernetes' do (`fmt` verbs `%v` and
//! `%q`, `strconv`, `encoding/json`).

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

use crate::json::{Value, quoted as json_quoted};

/// A double as `%v` prints it: shortest digits, an exponent below -4 and from 6 on.
#[must_use]
pub fn float(value: f64) -> String {
    match exponent(value) {
        Some(exponent) if !(-4..6).contains(&exponent) => scientific(value, 2),
        _ => format!("{value}"),
    }
}

/// A double as `encoding/json` prints it: an exponent below -6 and from 21 on.
#[must_use]
pub fn json_float(value: f64) -> String {
    match exponent(value) {
        Some(exponent) if !(-6..21).contains(&exponent) => scientific(value, 1),
        _ => format!("{value}"),
    }
}

/// A value as `encoding/json` prints it after reading it: numbers that are no integers in the
/// fewest digits.
#[must_use]
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    write_json(value, &mut out);
    out
}

fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) if number.as_i64().is_none() => {
            out.push_str(&json_float(number.as_f64()));
        }
        Value::Array(elements) => {
            out.push('[');
            for (at, element) in elements.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write_json(element, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (at, (name, value)) in map.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(&json_quoted(name));
                out.push(':');
                write_json(value, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// The decimal exponent; none for zero and what is not a number.
fn exponent(value: f64) -> Option<i32> {
    if value == 0.0 || !value.is_finite() {
        return None;
    }
    let text = format!("{value:e}");
    text.split_once('e')?.1.parse().ok()
}

/// `1.5e+06`: the exponent signed, with at least `digits` digits.
fn scientific(value: f64, digits: usize) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(rest) => ('-', rest),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{exponent:0>digits$}")
}

/// Text as `%q` prints it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_print(c) => out.push(c),
            c => escape(c, &mut out),
        }
    }
    out.push('"');
    out
}

fn escape(c: char, out: &mut String) {
    let code = u32::from(c);
    let written = match code {
        ..0x80 => write!(out, "\\x{code:02x}"),
        0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    debug_assert!(written.is_ok(), "a String takes all text");
}

/// `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
#[must_use]
pub fn is_print(c: char) -> bool {
    static PRINTABLE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").expect("a constant pattern compiles")
    });
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    PRINTABLE.is_match(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_as_go_prints_them() {
        for (value, verb, json) in [
            (1.0, "1", "1"),
            (1.5, "1.5", "1.5"),
            (0.1, "0.1", "0.1"),
            (0.0, "0", "0"),
            (100_000.0, "100000", "100000"),
            (123_456.5, "123456.5", "123456.5"),
            (1e6, "1e+06", "1000000"),
            (-1_234_567.5, "-1.2345675e+06", "-1234567.5"),
            (1e20, "1e+20", "100000000000000000000"),
            (1e21, "1e+21", "1e+21"),
            (1e-4, "0.0001", "0.0001"),
            (1e-5, "1e-05", "0.00001"),
            (2.5e-7, "2.5e-07", "2.5e-7"),
        ] {
            assert_eq!(float(value), verb);
            assert_eq!(json_float(value), json);
        }
    }

    #[test]
    fn quotes_escape_what_cannot_be_printed() {
        assert_eq!(
            quoted("\0\u{1}\n\t\u{a0}é\u{2028}😀\u{200b}\u{7f}\"\\'<"),
            r#""\x00\x01\n\t\u00a0é\u2028😀\u200b\x7f\"\\'<""#
        );
    }
}
