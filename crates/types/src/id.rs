//! Opaque identifiers. Random bytes come from the caller, so that tests can repeat them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text is not an id of the expected form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidId {
    text: String,
    expected: &'static str,
}

/// An object's `metadata.uid`: a version 4 UUID (RFC 9562 §5.4) in lower-case text form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid([u8; 16]);

impl Uid {
    /// Makes a version 4 UUID of 16 random bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The sixteen bytes in network order.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The text form: ASCII, lower-case.
    #[must_use]
    pub fn text(&self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (index, byte) in self.0.iter().enumerate() {
            at += usize::from(matches!(index, 4 | 6 | 8 | 10));
            text[at] = DIGITS[usize::from(byte >> 4)];
            text[at + 1] = DIGITS[usize::from(byte & 0xf)];
            at += 2;
        }
        text
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hexadecimal digits and hyphens.
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uid {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        parse_uuid(text)
            .map(Self)
            .ok_or_else(|| InvalidId { text: text.to_owned(), expected: "a UUID" })
    }
}

fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 {
        return None;
    }
    let mut bytes = [0; 16];
    let mut at = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            if text[at] != b'-' {
                return None;
            }
            at += 1;
        }
        *byte = hex(text[at])? << 4 | hex(text[at + 1])?;
        at += 2;
    }
    Some(bytes)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident, $length:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Characters in the text form.
            pub const LENGTH: usize = $length;

            /// Makes an id of random bytes, of which the first `LENGTH` are used.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
                let text: String = bytes[..Self::LENGTH]
                    .iter()
                    .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
                    .collect();
                Self(text.into())
            }

            /// The text form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid = text.len() == Self::LENGTH
                    && text.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_lowercase());
                if valid {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { text: text.to_owned(), expected: $expected })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    };
}

short_id! {
    /// A hub's store, made once when its data directory is: every hub on that store has it.
    HubId, 12, "a hub id (12 characters of [0-9a-z])"
}

short_id! {
    /// One installation of an agent, made once when its data directory is.
    InstanceId, 10, "an agent instance id (10 characters of [0-9a-z])"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_is_a_version_4_uuid() {
        let uid = Uid::from_random([0xff; 16]);
        assert_eq!(uid.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uid.to_string().parse(), Ok(uid));
    }

    #[test]
    fn malformed_ids_are_refused() {
        for text in [
            "",
            "ffffffff",
            "ffffffff-ffff-4fff-bfff-fffffffffffg",
            "ffffffffaffff-4fff-bfff-ffffffffffff",
        ] {
            assert!(text.parse::<Uid>().is_err(), "{text}");
        }
        assert!("ABCDEFGHIJKL".parse::<HubId>().is_err());
        assert!("abc".parse::<InstanceId>().is_err());
    }
}
