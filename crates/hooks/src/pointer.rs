//! JSON pointers (RFC 6901), and what stands at several of them, in one pass.
//!
//! Bodies may be 25 MiB; as a tree they would be many times that. [`find`] reads the text once,
//! keeps only what it was asked for, and passes over the rest.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A place in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(Vec<Box<str>>);

/// A text is not a pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a JSON pointer such as /repository/full_name")]
pub struct InvalidPointer;

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let names = text.strip_prefix('/').ok_or(InvalidPointer)?.split('/');
        names.map(unescaped).collect::<Option<_>>().map(Self).ok_or(InvalidPointer)
    }
}

/// `~1` is a slash and `~0` a tilde; a tilde stands nowhere else.
fn unescaped(name: &str) -> Option<Box<str>> {
    let mut parts = name.split('~');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    Some(plain.into())
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|name| write!(f, "/{}", name.replace('~', "~0").replace('/', "~1")))
    }
}

/// What stands at each of the pointers, in their order. Of members with one name the last counts.
/// Nothing is found in what is not JSON, even if only its end is not.
#[must_use]
pub fn find(json: &[u8], pointers: &[&Pointer]) -> Vec<Option<Value>> {
    let mut found = vec![None; pointers.len()];
    let wanted = pointers.iter().map(|pointer| pointer.0.as_slice()).enumerate().collect();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = At { wanted, found: &mut found }.deserialize(&mut reader);
    if read.and_then(|()| reader.end()).is_err() {
        found.fill(None);
    }
    found
}

/// One value of the text, and what is wanted of it: which pointer, and what is left of it.
struct At<'a, 'p> {
    wanted: Vec<(usize, &'p [Box<str>])>,
    found: &'a mut Vec<Option<Value>>,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            return IgnoredAny::deserialize(reader).map(drop);
        }
        if self.wanted.iter().all(|(_, rest)| !rest.is_empty()) {
            return reader.deserialize_any(self);
        }
        // The value itself is wanted; what is wanted inside it is in it.
        let value = Value::deserialize(reader)?;
        for (index, rest) in self.wanted {
            self.found[index] = inside(&value, rest).cloned();
        }
        Ok(())
    }
}

fn inside<'v>(value: &'v Value, names: &[Box<str>]) -> Option<&'v Value> {
    names.iter().try_fold(value, |value, name| match value {
        Value::Object(members) => members.get(&**name),
        Value::Array(elements) => elements.get(index(name)?),
        _ => None,
    })
}

/// An array index: decimal, without leading zeros.
fn index(name: &str) -> Option<usize> {
    let plain = name.bytes().all(|c| c.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    plain.then(|| name.parse().ok())?
}

macro_rules! scalars {
    ($($visit:ident($type:ty)),* $(,)?) => {$(
        fn $visit<E: Error>(self, _: $type) -> Result<(), E> {
            Ok(())
        }
    )*};
}

impl<'de, 'p> Visitor<'de> for At<'_, 'p> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    scalars!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str));

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            let wanted = below(&self.wanted, |first| first == name, self.found);
            map.next_value_seed(At { wanted, found: &mut *self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut at = 0;
        loop {
            let wanted = below(&self.wanted, |first| index(first) == Some(at), self.found);
            let next = elements.next_element_seed(At { wanted, found: &mut *self.found })?;
            if next.is_none() {
                return Ok(());
            }
            at += 1;
        }
    }
}

/// What is wanted of one member; what an earlier one of its name had is forgotten.
fn below<'p>(
    wanted: &[(usize, &'p [Box<str>])],
    is_next: impl Fn(&str) -> bool,
    found: &mut [Option<Value>],
) -> Vec<(usize, &'p [Box<str>])> {
    let mut inner = Vec::new();
    for (pointer, names) in wanted {
        if let Some((first, rest)) = names.split_first()
            && is_next(first)
        {
            found[*pointer] = None;
            inner.push((*pointer, rest));
        }
    }
    inner
}

#[cfg(test)]
mod tests;
