//! JSON into the form that a typed API server stores: what `encoding/json` does on the way
//! into a Go struct and what protobuf storage and `encoding/json` do on the way out.
//!
//! Undeclared members are dropped and named; `null` is absence; a value of another type is
//! refused in Go's words; times, integers and base64 take their canonical text; empty values
//! are left out or written as upstream does. Members are visited in the order of their names,
//! so of several mistakes the alphabetically first is reported.

use std::fmt;

use strait_types::{Classified, ErrorKind};

use super::model::{Kind, Member, Message, Table, Type};
use super::time::{self, Layout};
use super::{base64, table};
use crate::json::{Map, Number, Value};
use crate::status::Status;
use crate::{go_text, json};

/// An object, and what of the client's text is not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Every declared member in canonical form.
    pub object: Value,
    /// `unknown field "spec.x"` for everything that was dropped, at most
    /// [`json::MAX_DUPLICATES`].
    pub unknown: Vec<String>,
}

/// A value cannot be taken; the text is what kube-apiserver says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A value of another type.
    #[error("json: cannot unmarshal {found} into Go {place} of type {wanted}")]
    Type {
        /// What there is: `string`, `number 1.5`, …
        found: String,
        /// `struct field ConfigMap.data`, or `value` at the top.
        place: String,
        /// The Go type.
        wanted: String,
    },
    /// Bytes that are not base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// A string that is not a time.
    #[error("{0}")]
    Time(String),
}

impl Classified for DecodeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl Kind {
    /// Decodes an object of this kind. Its `apiVersion` and `kind` are set, whatever they were.
    ///
    /// # Errors
    /// A value that the kind's type does not take.
    pub fn decode(&self, value: Value) -> Result<Decoded, DecodeError> {
        let mut decoded = self.message().decode(value)?;
        decoded.object.set(&["apiVersion"], self.group_version().to_string());
        decoded.object.set(&["kind"], self.kind);
        Ok(decoded)
    }

    /// The 400 for an object of this kind that cannot be taken as one.
    #[must_use]
    pub fn refusal(&self, why: &dyn fmt::Display) -> Status {
        let (kind, version) = (self.kind, self.version);
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
        ))
    }
}

impl Message {
    /// Decodes a value of this message.
    ///
    /// # Errors
    /// A value that the message's type does not take.
    pub fn decode(&self, value: Value) -> Result<Decoded, DecodeError> {
        decode_in(table(), self, value)
    }
}

fn decode_in(table: &Table, message: &Message, value: Value) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder { table, holder: "", path: Vec::new(), unknown: Vec::new() };
    let object = decoder.message(message, value)?;
    Ok(Decoded { object, unknown: decoder.unknown })
}

/// One step from the top of the object.
enum Step {
    Member(&'static str),
    Key(Box<str>),
    Index(usize),
}

struct Decoder<'t> {
    table: &'t Table,
    /// Name of the struct that the value being decoded is a member of.
    holder: &'static str,
    path: Vec<Step>,
    unknown: Vec<String>,
}

impl Decoder<'_> {
    fn message(&mut self, message: &Message, value: Value) -> Result<Value, DecodeError> {
        let given = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => return Err(self.type_error(kind_of(&other), &message.go_type())),
        };
        let outer = std::mem::replace(&mut self.holder, message.name());
        let mut members: Vec<(&str, Value)> = Vec::with_capacity(message.members.len());
        let mut rest = message.members.iter().peekable();
        for (key, value) in given {
            while let Some(absent) = rest.next_if(|member| *member.name < *key) {
                members.extend(self.absent(absent)?.map(|value| (absent.name, value)));
            }
            match rest.next_if(|member| *member.name == *key) {
                Some(member) => {
                    self.path.push(Step::Member(member.name));
                    members.extend(self.member(member, value)?.map(|value| (member.name, value)));
                    self.path.pop();
                }
                None => self.note_unknown(&key),
            }
        }
        for absent in rest {
            members.extend(self.absent(absent)?.map(|value| (absent.name, value)));
        }
        self.holder = outer;
        Ok(members.into_iter().collect::<Map>().into())
    }

    /// What is written for a member that is not there.
    fn absent(&mut self, member: &Member) -> Result<Option<Value>, DecodeError> {
        if member.pointer || !(member.keep || member.is_struct()) {
            return Ok(None);
        }
        self.member(member, Value::Null)
    }

    /// The member as it is written, if it is.
    fn member(&mut self, member: &Member, value: Value) -> Result<Option<Value>, DecodeError> {
        if member.pointer {
            return if value.is_null() {
                Ok(None)
            } else {
                self.typed(&member.ty, value).map(Some)
            };
        }
        let value = self.typed(&member.ty, value)?;
        let empty = is_empty(&value);
        let always = member.keep || (member.is_struct() && !member.omit_zero);
        Ok(match member.ty {
            _ if empty && !always => None,
            Type::List(_) | Type::Map(_) if empty => Some(Value::Null),
            _ => Some(value),
        })
    }

    /// The canonical form of a value; for `null` that of Go's zero value.
    fn typed(&mut self, ty: &Type, value: Value) -> Result<Value, DecodeError> {
        match (ty, value) {
            (Type::Message(at), value) => {
                let table = self.table;
                self.message(&table.messages[*at], value)
            }
            (Type::FieldsV1 | Type::RawExtension, value) => Ok(value),
            (Type::List(items), Value::Array(elements)) => self.list(items, elements),
            (Type::Strings(_), Value::Array(elements)) => self.list(&Type::String(None), elements),
            (Type::Map(values), Value::Object(map)) => self.map(values, map),
            (Type::String(_) | Type::IntOrString, Value::String(text)) => Ok(Value::String(text)),
            (Type::Bool, Value::Bool(value)) => Ok(Value::Bool(value)),
            (Type::Int32 | Type::IntOrString, Value::Number(number)) => {
                self.integer(number, "int32", |value| i32::try_from(value).is_ok())
            }
            (Type::Int64, Value::Number(number)) => self.integer(number, "int64", |_| true),
            (Type::Bytes, Value::String(text)) => {
                let bytes = base64::decode(text.as_bytes()).map_err(DecodeError::Base64)?;
                Ok(base64::encode(&bytes).into())
            }
            (Type::Time, Value::String(text)) => canonical_time(&text, Layout::Seconds),
            (Type::MicroTime, Value::String(text)) => canonical_time(&text, Layout::Micros),
            (ty, Value::Null) => Ok(zero(ty)),
            (ty, other) => {
                let wanted = match ty {
                    Type::Time | Type::MicroTime => "string".to_owned(),
                    Type::IntOrString => "int32".to_owned(),
                    ty => ty.go_type(self.table),
                };
                Err(self.type_error(kind_of(&other), &wanted))
            }
        }
    }

    fn list(&mut self, items: &Type, elements: Vec<Value>) -> Result<Value, DecodeError> {
        let mut list = Vec::with_capacity(elements.len());
        for (at, element) in elements.into_iter().enumerate() {
            self.path.push(Step::Index(at));
            list.push(self.typed(items, element)?);
            self.path.pop();
        }
        Ok(list.into())
    }

    fn map(&mut self, values: &Type, map: Map) -> Result<Value, DecodeError> {
        let mut members = Vec::with_capacity(map.len());
        for (key, value) in map {
            self.path.push(Step::Key(key.clone()));
            members.push((key, self.typed(values, value)?));
            self.path.pop();
        }
        Ok(members.into_iter().collect::<Map>().into())
    }

    fn integer(
        &self,
        number: Number,
        wanted: &str,
        fits: impl Fn(i64) -> bool,
    ) -> Result<Value, DecodeError> {
        match number.as_i64() {
            Some(value) if fits(value) => Ok(value.into()),
            _ => Err(self.type_error(&format!("number {}", number.as_str()), wanted)),
        }
    }

    fn type_error(&self, found: &str, wanted: &str) -> DecodeError {
        let members: Vec<_> = self
            .path
            .iter()
            .filter_map(|step| if let Step::Member(name) = step { Some(*name) } else { None })
            .collect();
        let place = if members.is_empty() {
            "value".to_owned()
        } else {
            format!("struct field {}.{}", self.holder, members.join("."))
        };
        DecodeError::Type { found: found.to_owned(), place, wanted: wanted.to_owned() }
    }

    fn note_unknown(&mut self, key: &str) {
        if self.unknown.len() >= json::MAX_DUPLICATES {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Index(at) => path.push_str(&format!("[{at}]")),
                Step::Member(name) => push_name(&mut path, name),
                Step::Key(name) => push_name(&mut path, name),
            }
        }
        push_name(&mut path, key);
        self.unknown.push(format!("unknown field {}", go_text::quoted(&path)));
    }
}

fn push_name(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

fn canonical_time(text: &str, layout: Layout) -> Result<Value, DecodeError> {
    let time = time::parse(text, layout).map_err(DecodeError::Time)?;
    Ok(if time::is_zero(time) { Value::Null } else { time::format(time, layout).into() })
}

/// The word of `encoding/json`.
const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        other => other.type_name(),
    }
}

fn zero(ty: &Type) -> Value {
    match ty {
        Type::String(_) | Type::Bytes => "".into(),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
        _ => Value::Null,
    }
}

/// What `omitempty` leaves out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::read_table;
    use crate::json::parse;

    #[test]
    fn types_of_kinds_to_come_are_decoded() {
        let table = read_table(
            "package p q.v1\nmessage p.A |\n  port 1 IntOrString |\n  ports 2 []IntOrString keep |\n  raw 3 *RawExtension |\n",
        );
        let message = table.message("p.A").unwrap();
        for (given, expected) in [
            ("{}", r#"{"port":0,"ports":null}"#),
            (
                r#"{"port":"http","ports":[80,"x",null],"raw":{"a":[null]}}"#,
                r#"{"port":"http","ports":[80,"x",0],"raw":{"a":[null]}}"#,
            ),
            (
                r#"{"port":1.5}"#,
                "json: cannot unmarshal number 1.5 into Go struct field A.port of type int32",
            ),
            (
                r#"{"ports":[true]}"#,
                "json: cannot unmarshal bool into Go struct field A.ports of type int32",
            ),
            ("[]", "json: cannot unmarshal array into Go value of type v1.A"),
        ] {
            let decoded = decode_in(&table, message, parse(given.as_bytes()).unwrap());
            let told = decoded.map_or_else(|error| error.to_string(), |it| it.object.to_string());
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn undeclared_members_are_named_up_to_a_limit() {
        let kind = crate::builtin::kind("", "v1", "Secret").unwrap();
        let many = (0..2 * json::MAX_DUPLICATES).map(|at| (format!("x{at}"), Value::Null));
        let decoded = kind.decode(many.collect::<Map>().into()).unwrap();
        assert_eq!(decoded.unknown.len(), json::MAX_DUPLICATES);
    }
}
