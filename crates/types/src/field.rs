//! Fields of HTTP messages, one by one.

use std::fmt;

/// One field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// A token in lower case.
    pub name: &'a [u8],
    /// No control character but TAB; as the tunnel carries it, no blanks at its ends either.
    pub value: &'a [u8],
    /// Its value is never logged.
    pub sensitive: bool,
}

impl<'a> Field<'a> {
    /// A field that may be logged.
    #[must_use]
    pub const fn new(name: &'a str, value: &'a [u8]) -> Self {
        Self { name: name.as_bytes(), value, sensitive: false }
    }

    /// One whose value is never logged.
    #[must_use]
    pub const fn secret(name: &'a str, value: &'a [u8]) -> Self {
        Self { name: name.as_bytes(), value, sensitive: true }
    }

    /// Whether it has this name.
    #[must_use]
    #[inline]
    pub fn is(&self, name: &str) -> bool {
        // Most that have the same length begin otherwise.
        self.name.first() == name.as_bytes().first() && self.name == name.as_bytes()
    }

    /// Whether it has one of these names.
    #[must_use]
    pub fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

/// For logs and tests: a sensitive value is left out.
impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = (self.name.escape_ascii(), self.value.escape_ascii());
        match self.sensitive {
            true => write!(f, "{name}: …"),
            false => write!(f, "{name}: {value}"),
        }
    }
}

/// What a name's byte is in lower case; none where no name has it (a token, RFC 9110 §5.6.2).
#[must_use]
#[inline]
pub fn field_name_byte(byte: u8) -> Option<u8> {
    let lower = LOWER[usize::from(byte)];
    (lower != 0).then_some(lower)
}

/// Whether these bytes are a field's name in lower case.
#[must_use]
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| field_name_byte(*byte) == Some(*byte))
}

/// Whether these bytes may be a field's value: visible characters, blanks, TAB and bytes over 127
/// (RFC 9110 §5.5).
#[must_use]
pub fn is_field_value(value: &[u8]) -> bool {
    let one = |byte: &u8| (*byte >= b' ' || *byte == b'\t') && *byte != 0x7f;
    // Eight at once; what of the last ones was looked at already is looked at again.
    let quick = value.last_chunk::<8>().is_some_and(|last| {
        value
            .as_chunks::<8>()
            .0
            .iter()
            .chain([last])
            .all(|word| is_plain(u64::from_le_bytes(*word)))
    });
    quick || value.iter().all(one)
}

/// Whether none of eight bytes is a control character, of which TAB is one.
const fn is_plain(bytes: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES << 7;
    // Where one is less, what is taken from it is borrowed from its top bit.
    let low = bytes.wrapping_sub(ONES * 0x20) & !bytes;
    let delete = bytes ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    (low | delete) & TOPS == 0
}

/// See [`field_name_byte`]; 0 for none.
static LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut byte = 0_u8;
    while byte < 128 {
        let mut is_token = byte.is_ascii_alphanumeric();
        let mut at = 0;
        while at < others.len() {
            is_token |= others[at] == byte;
            at += 1;
        }
        if is_token {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_tokens_in_lower_case() {
        for byte in 0..=255_u8 {
            let lower = http::HeaderName::from_bytes(&[byte]).ok();
            let lower = lower.map(|name| name.as_str().as_bytes()[0]);
            assert_eq!(field_name_byte(byte), lower, "{byte}");
            assert_eq!(is_field_name(&[b'a', byte]), lower == Some(byte), "{byte}");
        }
        assert!(!is_field_name(b""));
    }

    #[test]
    fn values_have_no_control_character() {
        for byte in 0..=255_u8 {
            let expected = http::HeaderValue::from_bytes(&[byte]).is_ok();
            for length in 1..20 {
                for at in 0..length {
                    let mut value = vec![b'v'; length];
                    value[at] = byte;
                    assert_eq!(is_field_value(&value), expected, "{byte} at {at} of {length}");
                }
            }
        }
        assert!(is_field_value(b""));
    }

    #[test]
    fn what_is_sensitive_is_not_printed() {
        assert_eq!(format!("{:?}", Field::new("age", b"1\xe4")), "age: 1\\xe4");
        assert_eq!(format!("{:?}", Field::secret("cookie", b"canary")), "cookie: …");
    }

    proptest! {
        #[test]
        fn values_are_those_of_a_library(value in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(is_field_value(&value), http::HeaderValue::from_bytes(&value).is_ok());
        }
    }
}
