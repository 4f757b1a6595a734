//! The v2 document in protobuf, which is how Go clients ask for it
//! (`google/gnostic/openapiv2/OpenAPIv2.proto`). Only what such a document of ours contains is
//! written: its head and its definitions.

use crate::json::{Map, Value};

/// How a member of a schema is written.
enum Member {
    Text,
    Texts,
    Double,
    Integer,
    Flag,
    Any,
    Anys,
    Schemas,
    Properties,
    AdditionalProperties,
    Items,
    Type,
}

/// Members of a schema with their field numbers.
const MEMBERS: [(&str, u32, Member); 23] = [
    ("$ref", 1, Member::Text),
    ("format", 2, Member::Text),
    ("description", 4, Member::Text),
    ("default", 5, Member::Any),
    ("multipleOf", 6, Member::Double),
    ("maximum", 7, Member::Double),
    ("exclusiveMaximum", 8, Member::Flag),
    ("minimum", 9, Member::Double),
    ("exclusiveMinimum", 10, Member::Flag),
    ("maxLength", 11, Member::Integer),
    ("minLength", 12, Member::Integer),
    ("pattern", 13, Member::Text),
    ("maxItems", 14, Member::Integer),
    ("minItems", 15, Member::Integer),
    ("maxProperties", 17, Member::Integer),
    ("minProperties", 18, Member::Integer),
    ("required", 19, Member::Texts),
    ("enum", 20, Member::Anys),
    ("additionalProperties", 21, Member::AdditionalProperties),
    ("type", 22, Member::Type),
    ("items", 23, Member::Items),
    ("allOf", 24, Member::Schemas),
    ("properties", 25, Member::Properties),
];

/// Field of a schema's extensions.
const EXTENSION: u32 = 31;

/// Writes a document that [`super::v2::combined`] made.
#[must_use]
pub fn encode(document: &Value) -> Vec<u8> {
    let text = |path: &[&str]| document.str_at(path).unwrap_or_default();
    let mut out = Message::default();
    out.text(1, text(&["swagger"]));
    out.message(2, |info| {
        info.text(1, text(&["info", "title"]));
        info.text(2, text(&["info", "version"]));
    });
    out.message(8, |_| {});
    out.message(9, |all| {
        let definitions = document.get("definitions").and_then(Value::as_object);
        definitions.into_iter().for_each(|definitions| all.schemas(definitions));
    });
    out.0
}

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits, and that more follow.
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u32, wire_type: u64) {
        self.varint(u64::from(field) << 3 | wire_type);
    }

    fn text(&mut self, field: u32, text: &str) {
        self.tag(field, 2);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.tag(field, 2);
        self.varint(inner.0.len() as u64);
        self.0.extend_from_slice(&inner.0);
    }

    fn integer(&mut self, field: u32, number: i64) {
        self.tag(field, 0);
        self.varint(u64::from_le_bytes(number.to_le_bytes()));
    }

    /// Any value, as YAML; JSON is that too.
    fn any(&mut self, field: u32, value: &Value) {
        self.message(field, |any| any.text(2, &value.to_string()));
    }

    fn schemas(&mut self, named: &Map) {
        for (name, schema) in named.iter() {
            self.message(1, |entry| {
                entry.text(1, name);
                entry.message(2, |out| out.schema(schema));
            });
        }
    }

    fn schema(&mut self, schema: &Value) {
        for (name, field, member) in &MEMBERS {
            if let Some(value) = schema.get(name) {
                self.member(*field, member, value);
            }
        }
        let members = schema.as_object().into_iter().flat_map(Map::iter);
        for (name, value) in members.filter(|(name, _)| name.starts_with("x-")) {
            self.message(EXTENSION, |extension| {
                extension.text(1, name);
                extension.any(2, value);
            });
        }
    }

    fn member(&mut self, field: u32, member: &Member, value: &Value) {
        let elements = value.as_array().unwrap_or_default();
        match (member, value) {
            (Member::Text, Value::String(text)) => self.text(field, text),
            (Member::Texts, _) => {
                elements.iter().filter_map(Value::as_str).for_each(|text| self.text(field, text));
            }
            (Member::Double, Value::Number(number)) => {
                self.tag(field, 1);
                self.0.extend_from_slice(&number.as_f64().to_le_bytes());
            }
            (Member::Integer, Value::Number(number)) => {
                self.integer(field, number.as_i64().unwrap_or(i64::MAX));
            }
            (Member::Flag, Value::Bool(true)) => self.integer(field, 1),
            (Member::Any, value) => self.any(field, value),
            (Member::Anys, _) => elements.iter().for_each(|value| self.any(field, value)),
            (Member::Schemas, _) => {
                elements.iter().for_each(|part| self.message(field, |out| out.schema(part)));
            }
            (Member::Properties, Value::Object(properties)) => {
                self.message(field, |out| out.schemas(properties));
            }
            (Member::AdditionalProperties, Value::Bool(allowed)) => {
                self.message(field, |out| out.integer(2, i64::from(*allowed)));
            }
            (Member::AdditionalProperties | Member::Items, schema) => {
                self.message(field, |out| out.message(1, |out| out.schema(schema)));
            }
            (Member::Type, Value::String(name)) => self.message(field, |out| out.text(1, name)),
            _ => {}
        }
    }
}
