//! Tokens whose signature was found right lately.
//!
//! A signature costs more than everything else about a small request. What is kept of a token is
//! its hash and what it says; whether it is its time, and whether it was revoked, is asked anew at
//! every use. Two generations bound the memory: what was not used through a whole one is forgotten.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Most entries of a generation.
const GENERATION_MAX: usize = 8_192;

/// What tokens say, by the tokens' hashes.
pub(super) struct Verified<T> {
    limit: usize,
    generations: Mutex<Generations<T>>,
}

struct Generations<T> {
    young: HashMap<[u8; 32], Arc<T>>,
    old: HashMap<[u8; 32], Arc<T>>,
}

impl<T> Verified<T> {
    pub(super) fn new() -> Self {
        Self::with_limit(GENERATION_MAX)
    }

    fn with_limit(limit: usize) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { limit, generations: Mutex::new(generations) }
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
        if let Some(found) = self.find(&hash) {
            return Ok(found);
        }
        let found = Arc::new(verify()?);
        self.keep(&mut self.generations.lock(), hash, found.clone());
        Ok(found)
    }

    /// Forgets everything: a key is honoured no more.
    pub(super) fn clear(&self) {
        let mut generations = self.generations.lock();
        generations.young.clear();
        generations.old.clear();
    }

    fn find(&self, hash: &[u8; 32]) -> Option<Arc<T>> {
        let mut generations = self.generations.lock();
        if let Some(found) = generations.young.get(hash) {
            return Some(found.clone());
        }
        let found = generations.old.remove(hash)?;
        self.keep(&mut generations, *hash, found.clone());
        Some(found)
    }

    fn keep(&self, generations: &mut Generations<T>, hash: [u8; 32], value: Arc<T>) {
        if generations.young.len() >= self.limit {
            generations.old = mem::take(&mut generations.young);
        }
        generations.young.insert(hash, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_memory_is_bounded() {
        let verified = Verified::with_limit(2);
        let ask = |token: &str| {
            let mut asked = false;
            let found = verified.of(token, || {
                asked = true;
                Ok::<_, ()>(token.len())
            });
            assert_eq!(*found.unwrap(), token.len());
            asked
        };
        for (token, verifies) in [
            ("a", true),
            ("a", false),
            ("bb", true),
            ("ccc", true),
            // Used, it came over from the generation before.
            ("a", false),
            ("dddd", true),
            ("a", false),
            ("bb", true),
        ] {
            assert_eq!(ask(token), verifies, "{token}");
        }
        verified.clear();
        assert!(ask("a"));
        assert_eq!(verified.of("no", || Err::<usize, _>("no")), Err("no"));
        let generations = verified.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 4);
    }
}
