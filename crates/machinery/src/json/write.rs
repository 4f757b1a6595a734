//! Trees to bytes.

use std::fmt;

use super::{Map, Value};

impl Value {
    /// Compact canonical JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_into(&mut out);
        out
    }

    /// Appends compact canonical JSON.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
            Self::String(text) => escape_into(text, out),
            Self::Array(elements) => {
                out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    element.write_into(out);
                }
                out.push(b']');
            }
            Self::Object(map) => map.write_into(out),
        }
    }

    /// JSON with two spaces of indentation and a final line break, as curl users get it.
    #[must_use]
    pub fn to_pretty_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write_pretty(&mut out, 0);
        out.push(b'\n');
        out
    }

    fn write_pretty(&self, out: &mut Vec<u8>, depth: usize) {
        let line = |out: &mut Vec<u8>, depth: usize| {
            out.push(b'\n');
            out.resize(out.len() + 2 * depth, b' ');
        };
        match self {
            Self::Array(elements) if !elements.is_empty() => {
                for (at, element) in elements.iter().enumerate() {
                    out.push(if at == 0 { b'[' } else { b',' });
                    line(out, depth + 1);
                    element.write_pretty(out, depth + 1);
                }
                line(out, depth);
                out.push(b']');
            }
            Self::Object(map) if !map.is_empty() => {
                for (at, (key, value)) in map.iter().enumerate() {
                    out.push(if at == 0 { b'{' } else { b',' });
                    line(out, depth + 1);
                    escape_into(key, out);
                    out.extend_from_slice(b": ");
                    value.write_pretty(out, depth + 1);
                }
                line(out, depth);
                out.push(b'}');
            }
            other => other.write_into(out),
        }
    }
}

impl Map {
    /// Appends compact canonical JSON.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_member(key, value, out);
        }
        out.push(b'}');
    }
}

/// Appends `"key":value`.
pub(crate) fn write_member(key: &str, value: &Value, out: &mut Vec<u8>) {
    escape_into(key, out);
    out.push(b':');
    value.write_into(out);
}

/// Appends a JSON string. Only what RFC 8259 §7 demands is escaped, plus U+2028 and U+2029,
/// which Go escapes too.
pub fn escape_into(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: Option<&[u8]> = match byte {
            b'"' => Some(b"\\\""),
            b'\\' => Some(b"\\\\"),
            b'\n' => Some(b"\\n"),
            b'\r' => Some(b"\\r"),
            b'\t' => Some(b"\\t"),
            0x08 => Some(b"\\b"),
            0x0c => Some(b"\\f"),
            0..=0x1f => None,
            // U+2028 and U+2029 are e2 80 a8 and e2 80 a9.
            0xe2 if bytes.get(at + 1) == Some(&0x80) => match bytes.get(at + 2) {
                Some(0xa8) => Some(b"\\u2028"),
                Some(0xa9) => Some(b"\\u2029"),
                _ => continue,
            },
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..at]);
        match escape {
            Some(escape) => out.extend_from_slice(escape),
            None => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
        start = at + if byte == 0xe2 { 3 } else { 1 };
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

/// The text as a JSON string, for messages.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    escape_into(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;

    #[test]
    fn writes_sorted_and_compact() {
        let value = object! {"b": vec![Value::Null, true.into()], "a": object!{"x": -1}};
        assert_eq!(value.to_string(), r#"{"a":{"x":-1},"b":[null,true]}"#);
    }

    #[test]
    fn escapes_what_must_be_escaped() {
        let text = "\" \\ \n \u{1} \u{2028}é\u{2029}";
        assert_eq!(quoted(text), "\"\\\" \\\\ \\n \\u0001 \\u2028é\\u2029\"");
    }

    #[test]
    fn pretty_json_indents_by_two() {
        let value = object! {"a": vec![1.into(), Value::object()], "b": Vec::<Value>::new()};
        let expected = "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}\n";
        assert_eq!(String::from_utf8(value.to_pretty_bytes()).unwrap(), expected);
    }
}
