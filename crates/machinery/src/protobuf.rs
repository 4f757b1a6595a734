//! Request bodies in Kubernetes' protobuf, as JSON trees.
//!
//! A body is four magic bytes and a `runtime.Unknown` message that holds the object's type and
//! bytes (`apimachinery/pkg/runtime/serializer/protobuf`). The objects of built-in kinds are
//! read with the same table as their JSON ([`crate::builtin`]): fields that it does not know
//! are skipped. The result still has to be decoded, which drops what is empty.
//!
//! Bytes are foreign: no input panics, and a body makes at most [`MAX_ELEMENTS`] elements.

mod wire;

use strait_types::{Classified, ErrorKind};

use crate::builtin::{self, Layout, Member, Message, Table, Type};
use crate::json::{Map, Value, parse};

pub use wire::WireError;
use wire::{Field, Fields};

/// What every body begins with.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// Most list elements and map entries of one body: an element takes two bytes there and a
/// hundred times as much as a tree.
pub const MAX_ELEMENTS: usize = 200_000;

/// A body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtobufError {
    /// It does not begin with [`MAGIC`].
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    NoMagic,
    /// It is not protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A field has the wire type of another type.
    #[error("proto: wrong wireType for field {0}")]
    WireType(&'static str),
    /// A time before the year 1 or after the year 9999.
    #[error("time is out of range in field {0}")]
    Time(&'static str),
    /// A field that holds JSON holds something else.
    #[error("field {0} does not hold JSON")]
    Json(&'static str),
    /// More than [`MAX_ELEMENTS`].
    #[error("too many elements")]
    TooMany,
}

impl Classified for ProtobufError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// A body, its object still in protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Group and version, or empty.
    pub api_version: &'a str,
    /// The kind, or empty.
    pub kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a body.
    ///
    /// # Errors
    /// The bytes are no such message.
    pub fn open(body: &'a [u8]) -> Result<Self, ProtobufError> {
        let bytes = body.strip_prefix(&MAGIC).ok_or(ProtobufError::NoMagic)?;
        let mut envelope = Self { api_version: "", kind: "", raw: &[] };
        for field in Fields::of(bytes) {
            match field? {
                (1, Field::Bytes(type_meta)) => envelope.read_type(type_meta)?,
                (2, Field::Bytes(raw)) => envelope.raw = raw,
                (1 | 2, _) => return Err(ProtobufError::WireType("runtime.Unknown")),
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<(), ProtobufError> {
        for field in Fields::of(bytes) {
            match field? {
                (1, Field::Bytes(text)) => self.api_version = utf8(text)?,
                (2, Field::Bytes(text)) => self.kind = utf8(text)?,
                (1 | 2, _) => return Err(ProtobufError::WireType("runtime.TypeMeta")),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether it says nothing at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.api_version.is_empty() && self.kind.is_empty() && self.raw.is_empty()
    }

    /// The object as JSON, to be decoded as that message. Its `apiVersion` and `kind` are those
    /// of the envelope.
    ///
    /// # Errors
    /// The object's bytes are not of that message.
    pub fn object(&self, message: &Message) -> Result<Value, ProtobufError> {
        let mut map = decode_in(builtin::table(), message, self.raw)?;
        for (key, text) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            if !text.is_empty() {
                map.insert(key, text);
            }
        }
        Ok(map.into())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| WireError::Utf8.into())
}

fn decode_in(table: &Table, message: &Message, bytes: &[u8]) -> Result<Map, ProtobufError> {
    let mut map = Map::new();
    Reader { table, elements: 0 }.message(message, bytes, &mut map)?;
    Ok(map)
}

struct Reader<'t> {
    table: &'t Table,
    elements: usize,
}

impl Reader<'_> {
    /// Reads a message over what is there, as repetitions of one field add up. Messages do not
    /// contain themselves, so nesting is bounded by the table.
    fn message(
        &mut self,
        message: &Message,
        bytes: &[u8],
        into: &mut Map,
    ) -> Result<(), ProtobufError> {
        for field in Fields::of(bytes) {
            let (number, field) = field?;
            let member = message.members.iter().find(|member| member.number == number);
            let Some(member) = member.filter(|member| member.number > 0) else {
                continue;
            };
            self.member(member, field, into)?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        member: &Member,
        field: Field<'_>,
        into: &mut Map,
    ) -> Result<(), ProtobufError> {
        let name = member.name;
        match (&member.ty, field) {
            (Type::List(items), field) => {
                self.count()?;
                let value = self.value(items, field, name)?;
                if let Value::Array(list) = into.entry(name, || Value::Array(Vec::new())) {
                    list.push(value);
                }
            }
            (Type::Map(values), Field::Bytes(entry)) => {
                self.count()?;
                let (key, value) = self.entry(values, entry, name)?;
                into.object_mut(name).insert(key, value);
            }
            (Type::Message(at), Field::Bytes(bytes)) => {
                let message = &self.table.messages[*at];
                self.message(message, bytes, into.object_mut(name))?;
            }
            (ty, field) => {
                let value = self.value(ty, field, name)?;
                into.insert(name, value);
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), ProtobufError> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS { Err(ProtobufError::TooMany) } else { Ok(()) }
    }

    fn entry(
        &mut self,
        values: &Type,
        bytes: &[u8],
        name: &'static str,
    ) -> Result<(Box<str>, Value), ProtobufError> {
        let (mut key, mut value) = (Box::default(), Value::Null);
        for field in Fields::of(bytes) {
            match field? {
                (1, Field::Bytes(bytes)) => key = text(bytes),
                (1, _) => return Err(ProtobufError::WireType(name)),
                (2, field) => value = self.value(values, field, name)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn value(
        &mut self,
        ty: &Type,
        field: Field<'_>,
        name: &'static str,
    ) -> Result<Value, ProtobufError> {
        Ok(match (ty, field) {
            (Type::Bool, Field::Varint(number)) => (number != 0).into(),
            (Type::Int64, Field::Varint(number)) => number.cast_signed().into(),
            (Type::Int32, Field::Varint(number)) => low_half(number).into(),
            (Type::String(_), Field::Bytes(bytes)) => text(bytes).into(),
            (Type::Bytes, Field::Bytes(bytes)) => builtin::encode_base64(bytes).into(),
            (Type::Time, Field::Bytes(bytes)) => time(bytes, Layout::Seconds, name)?,
            (Type::MicroTime, Field::Bytes(bytes)) => time(bytes, Layout::Micros, name)?,
            (Type::FieldsV1 | Type::RawExtension, Field::Bytes(bytes)) => raw_json(bytes, name)?,
            (Type::IntOrString, Field::Bytes(bytes)) => int_or_string(bytes, name)?,
            (Type::Strings(_), Field::Bytes(bytes)) => self.strings(bytes, name)?,
            (Type::Message(at), Field::Bytes(bytes)) => {
                let mut map = Map::new();
                self.message(&self.table.messages[*at], bytes, &mut map)?;
                map.into()
            }
            _ => return Err(ProtobufError::WireType(name)),
        })
    }

    fn strings(&mut self, bytes: &[u8], name: &'static str) -> Result<Value, ProtobufError> {
        let mut list: Vec<Value> = Vec::new();
        for field in Fields::of(bytes) {
            match field? {
                (1, Field::Bytes(bytes)) => {
                    self.count()?;
                    list.push(text(bytes).into());
                }
                (1, _) => return Err(ProtobufError::WireType(name)),
                _ => {}
            }
        }
        Ok(list.into())
    }
}

/// Text; what is not UTF-8 in it is replaced, as Go does when it writes JSON.
fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// A 32-bit integer, cut off as Go cuts it off.
fn low_half(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// A `Timestamp`; no bytes mean no time.
fn time(bytes: &[u8], layout: Layout, name: &'static str) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Field::Varint(number)) => seconds = number.cast_signed(),
            (2, Field::Varint(number)) => nanos = low_half(number),
            (1 | 2, _) => return Err(ProtobufError::WireType(name)),
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if layout == Layout::Seconds {
        nanos = 0;
    }
    let in_range = (0..1_000_000_000).contains(&nanos);
    let base = jiff::Timestamp::from_second(seconds).ok().filter(|_| in_range);
    let time = base
        .and_then(|time| time.checked_add(jiff::SignedDuration::from_nanos(nanos.into())).ok())
        .filter(|time| (1..=9999).contains(&jiff::tz::Offset::UTC.to_datetime(*time).year()))
        .ok_or(ProtobufError::Time(name))?;
    Ok(builtin::format_time(time, layout).into())
}

/// A message of one field that holds JSON.
fn raw_json(bytes: &[u8], name: &'static str) -> Result<Value, ProtobufError> {
    let mut raw: &[u8] = &[];
    for field in Fields::of(bytes) {
        match field? {
            (1, Field::Bytes(bytes)) => raw = bytes,
            (1, _) => return Err(ProtobufError::WireType(name)),
            _ => {}
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    parse(raw).map_err(|_| ProtobufError::Json(name))
}

fn int_or_string(bytes: &[u8], name: &'static str) -> Result<Value, ProtobufError> {
    let (mut is_string, mut number, mut string) = (false, 0, Box::default());
    for field in Fields::of(bytes) {
        match field? {
            (1, Field::Varint(kind)) => is_string = kind == 1,
            (2, Field::Varint(value)) => number = low_half(value),
            (3, Field::Bytes(value)) => string = text(value),
            (1..=3, _) => return Err(ProtobufError::WireType(name)),
            _ => {}
        }
    }
    Ok(if is_string { string.into() } else { number.into() })
}

#[cfg(test)]
mod tests;
