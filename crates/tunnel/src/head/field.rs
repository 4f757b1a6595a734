//! Fields: name, sensitivity, value.

use bytes::BufMut;
use strait_types::{Field, field_name_byte, is_field_name, is_field_value};

use super::{HeadError, MAX_BLOCK, MAX_FIELDS, MAX_NAME};
use crate::names;
use crate::wire::Reader;

/// The value must not be logged.
const SENSITIVE: u8 = 1;

/// The fields of a head in their order, repetitions included.
#[derive(Clone, Debug)]
pub struct Fields<'a>(Reader<'a>);

impl<'a> Fields<'a> {
    /// Over fields that were checked.
    pub(super) const fn checked(bytes: &'a [u8]) -> Self {
        Self(Reader(bytes))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        read(&mut self.0).ok()
    }
}

/// Checks everything up to the end of a block: count limit, each field.
pub(super) fn check(bytes: &[u8], count: Option<u16>) -> Result<(), HeadError> {
    let mut rest = Reader(bytes);
    let mut found = 0;
    while !rest.0.is_empty() {
        if found == MAX_FIELDS {
            return Err(HeadError::TooManyFields);
        }
        let literal = rest.0.first() == Some(&0);
        let field = read(&mut rest)?;
        if literal && !is_name(field.name) {
            return Err(HeadError::Name);
        }
        if !is_field_value(field.value) || field.value.trim_ascii().len() != field.value.len() {
            return Err(HeadError::Value);
        }
        found += 1;
    }
    match count {
        Some(count) if usize::from(count) > MAX_FIELDS => Err(HeadError::TooManyFields),
        Some(count) if usize::from(count) != found => Err(HeadError::Length),
        _ => Ok(()),
    }
}

/// Appends a field to a block that begins at `from`; blanks around its value are left out.
pub(super) fn put(out: &mut Vec<u8>, from: usize, field: Field<'_>) -> Result<(), HeadError> {
    let value = field.value.trim_ascii();
    if !is_field_value(value) {
        return Err(HeadError::Value);
    }
    let flags = if field.sensitive { SENSITIVE } else { 0 };
    let length = u16::try_from(value.len()).map_err(|_| HeadError::TooLarge)?.to_be_bytes();
    match names::index(field.name) {
        Some(index) => out.put_slice(&[index, flags, length[0], length[1]]),
        None if !is_name(field.name) => return Err(HeadError::Name),
        None => {
            let bytes = u8::try_from(field.name.len()).map_err(|_| HeadError::Name)?;
            out.put_slice(&[0, bytes]);
            out.put_slice(field.name);
            out.put_slice(&[flags, length[0], length[1]]);
        }
    }
    out.put_slice(value);
    if out.len() - from > MAX_BLOCK { Err(HeadError::TooLarge) } else { Ok(()) }
}

/// Takes a field off the front; what it says is not looked at but for its form.
fn read<'a>(rest: &mut Reader<'a>) -> Result<Field<'a>, HeadError> {
    let name = match rest.u8().ok_or(HeadError::Length)? {
        0 => {
            let length = rest.u8().ok_or(HeadError::Length)?;
            rest.take(usize::from(length)).ok_or(HeadError::Length)?
        }
        index => names::name(index).ok_or(HeadError::Name)?.as_bytes(),
    };
    let flags = rest.u8().ok_or(HeadError::Length)?;
    let length = rest.u16().ok_or(HeadError::Length)?;
    let value = rest.take(usize::from(length)).ok_or(HeadError::Length)?;
    Ok(Field { name, value, sensitive: flags & SENSITIVE != 0 })
}

/// A token (RFC 9110 §5.6.2) in lower case.
fn is_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME && is_field_name(name)
}

/// Whether all bytes are so. Without a way out in the middle, several are looked at at once.
pub(super) fn all(bytes: &[u8], is_so: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, byte| all & is_so(*byte))
}

/// A character of a token (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    field_name_byte(byte).is_some()
}
