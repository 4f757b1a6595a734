//! Columns that a custom kind declares (`additionalPrinterColumns`).

use jiff::Timestamp;

use super::builtin::definition;
use crate::builtin::{Layout, is_zero_time, parse_time};
use crate::duration;
use crate::go_text;
use crate::json::{Value, parse};
use crate::jsonpath::{InvalidPath, JsonPath};

/// A declared column.
#[derive(Debug, Clone)]
pub struct CustomColumn {
    /// Heading.
    pub name: Box<str>,
    /// `integer`, `number`, `string`, `boolean` or `date`; what does not fit it is not shown.
    pub kind: Box<str>,
    /// e.g. `int32`; may be empty.
    pub format: Box<str>,
    /// For people.
    pub description: Box<str>,
    /// Above 0: shown only by `-o wide`.
    pub priority: i32,
    path: JsonPath,
}

impl CustomColumn {
    /// A column of type `kind` that shows what `path` leads to.
    ///
    /// # Errors
    /// `path` is no path.
    pub fn new(name: &str, kind: &str, path: &str) -> Result<Self, InvalidPath> {
        Ok(Self {
            name: name.into(),
            kind: kind.into(),
            format: "".into(),
            description: format!("What the object has at {path}.").into(),
            priority: 0,
            path: JsonPath::parse(path)?,
        })
    }

    /// The column of kinds that declare none.
    pub(super) fn age() -> Self {
        let path = ".metadata.creationTimestamp";
        let column = Self::new("Age", "date", path).expect("a constant path is a path");
        Self { description: "How long ago the object was created.".into(), ..column }
    }

    pub(super) fn definition(&self) -> Value {
        definition(&self.name, &self.kind, &self.format, &self.description, self.priority)
    }

    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let Some(value) = self.path.first(object) else {
            return Value::Null;
        };
        match (&*self.kind, value) {
            ("string", value) => printed(value).into(),
            ("integer", Value::Number(number)) => match number.as_i64() {
                Some(_) => value.clone(),
                None => Value::from(number.as_f64().trunc()),
            },
            ("number", Value::Number(number)) => {
                parse(go_text::json_float(number.as_f64()).as_bytes()).unwrap_or_default()
            }
            ("boolean", Value::Bool(_)) => value.clone(),
            ("date", Value::String(text)) => date(text, now),
            _ => Value::Null,
        }
    }
}

/// A value as Go prints it: text as it is, containers as JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::String(text) => text.to_string(),
        Value::Number(number) if number.as_i64().is_some() => number.as_str().to_owned(),
        Value::Number(number) => go_text::float(number.as_f64()),
        Value::Bool(value) => value.to_string(),
        // Go's encoder is made for web pages.
        Value::Array(_) | Value::Object(_) => value
            .to_string()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
    }
}

fn date(text: &str, now: Timestamp) -> Value {
    if text.is_empty() || text == "null" {
        return "<unknown>".into();
    }
    match parse_time(text, Layout::Seconds) {
        Ok(time) if is_zero_time(time) => "<unknown>".into(),
        Ok(time) => duration::age(time, now).into(),
        Err(_) => "<invalid>".into(),
    }
}
