//! A position in the chain.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The hash of a line. Prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first line has for the line before it.
    pub const ZERO: Self = Self([0; 32]);

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let invalid = || InvalidHead(text.to_owned());
        let mut hash = [0; 32];
        if text.len() != 64 {
            return Err(invalid());
        }
        for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = match (digit(digits[0]), digit(digits[1])) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(invalid()),
            };
        }
        Ok(Self(hash))
    }
}

/// Lower case only: a hash has one text.
const fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The newest line's number and hash. Its text form is `<seq>:<hash>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The line's number; 0 before the first.
    pub seq: u64,
    /// The line's hash.
    pub hash: Hash,
}

impl Head {
    /// Before the first line.
    pub(crate) const START: Self = Self { seq: 0, hash: Hash::ZERO };
}

/// A text is not a position or a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a position in an audit log (<seq>:<hash>)")]
pub struct InvalidHead(String);

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let parts = text.split_once(':').and_then(|(seq, hash)| {
            Some(Self { seq: seq.parse().ok()?, hash: hash.parse().ok()? })
        });
        parts.ok_or_else(|| InvalidHead(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_back() {
        let head = Head { seq: 42, hash: Hash::of(b"line") };
        assert_eq!(head.to_string().parse(), Ok(head));
        let zeros = "0".repeat(64);
        assert_eq!(format!("0:{zeros}").parse(), Ok(Head::START));
        for text in ["", "1", "1:", &format!("x:{zeros}"), &format!("1:{zeros}0")] {
            assert!(text.parse::<Head>().is_err(), "{text}");
        }
        let upper = format!("1:{}", "A".repeat(64));
        assert!(upper.parse::<Head>().is_err());
    }
}
