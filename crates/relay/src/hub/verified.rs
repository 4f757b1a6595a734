//! Tokens whose signature was found right lately.
//!
//! A signature costs more than everything else about a small request. What is kept of a token is
//! its hash and what it says; whether it is its time, and whether it was revoked, is asked anew at
//! every use.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::recent::Recent;

/// Most of them, of each of two generations.
const GENERATION_MAX: usize = 8_192;

/// What tokens say, by the tokens' hashes.
pub(super) struct Verified<T>(Recent<[u8; 32], Arc<T>>);

impl<T> Verified<T> {
    pub(super) fn new() -> Self {
        Self(Recent::new(GENERATION_MAX))
    }

    /// What a token says, as it was found, or as `verify` finds it now.
    ///
    /// # Errors
    /// What `verify` says; that is not kept.
    pub(super) fn of<E>(
        &self,
        token: &str,
        verify: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(found) = self.0.find(&hash) {
            return Ok(found);
        }
        let found = Arc::new(verify()?);
        self.0.keep(hash, found.clone());
        Ok(found)
    }

    /// Forgets everything: a key is honoured no more.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_verified_once() {
        let verified = Verified::new();
        let ask = |token: &str, answer: Result<usize, &'static str>| {
            verified.of(token, || answer).map(|found| *found)
        };
        assert_eq!(ask("a", Err("no")), Err("no"));
        assert_eq!(ask("a", Ok(1)), Ok(1));
        assert_eq!(ask("a", Err("not asked")), Ok(1));
        assert_eq!(ask("b", Err("no")), Err("no"));
        verified.clear();
        assert_eq!(ask("a", Err("asked anew")), Err("asked anew"));
    }
}
