//! The store's sequence.

use std::fmt;
use std::str::FromStr;

/// A text is not a resourceVersion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a resource version (a decimal number without leading zeros)")]
pub struct InvalidRevision(String);

/// A position in a store's one sequence of writes. Zero is before the first write. Clients
/// see it as `metadata.resourceVersion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// Before the first write.
    pub const ZERO: Self = Self(0);

    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for Revision {
    type Err = InvalidRevision;

    fn from_str(text: &str) -> Result<Self, InvalidRevision> {
        let digits = text.bytes().all(|c| c.is_ascii_digit());
        let canonical = text == "0" || !text.starts_with('0');
        if !digits || !canonical {
            return Err(InvalidRevision(text.to_owned()));
        }
        text.parse().map(Self).map_err(|_| InvalidRevision(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_decimals_parse() {
        assert_eq!("0".parse(), Ok(Revision(0)));
        assert_eq!("18446744073709551615".parse(), Ok(Revision(u64::MAX)));
        for text in ["", "01", "+1", "-1", "1a", " 1", "18446744073709551616"] {
            assert!(text.parse::<Revision>().is_err(), "{text:?}");
        }
    }
}
