//! What a source and its sender share.

use std::fmt;

use aws_lc_rs::digest;
use strait_types::Redacted;
use subtle::ConstantTimeEq;

/// A shared secret, at least one byte long. `Debug` shows nothing of it, and dropping it clears
/// it.
#[derive(Clone)]
pub struct Secret(Redacted<Vec<u8>>);

/// A secret of no bytes: anybody could sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is empty")]
pub struct EmptySecret;

impl Secret {
    /// Takes a secret as its sender knows it.
    ///
    /// # Errors
    /// There is nothing in it.
    pub fn new(bytes: Vec<u8>) -> Result<Self, EmptySecret> {
        if bytes.is_empty() { Err(EmptySecret) } else { Ok(Self(Redacted::new(bytes))) }
    }

    /// The bytes, for whoever verifies.
    pub(super) fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Eight hexadecimal digits by which an operator recognises a secret: too few to find it by.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, self.expose());
        hash.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}
