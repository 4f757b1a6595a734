//! Bearer tokens in files.
//!
//! Files are read again as they change. One that cannot be read is good for nobody until it can:
//! taking a file away takes its token back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use strait_runtime::Clock;
use strait_runtime::fs::read_capped;
use strait_types::{Redacted, Report};
use subtle::ConstantTimeEq;

use super::authorize::AuthorizerError;
use crate::config::{Permission, Token};

/// Longest token, in bytes; a head may not be much longer.
const TOKEN_BYTES_MAX: usize = 16 << 10;

/// How old what was read may be.
const AGE_MAX: Duration = Duration::from_secs(2);

/// Tokens, and what each is good for.
pub(super) struct FileTokens {
    tokens: Arc<[Token]>,
    clock: Arc<dyn Clock>,
    current: ArcSwap<Loaded>,
}

/// A token that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) may: Vec<Permission>,
}

struct Loaded {
    /// By the place of their token; none where the file cannot be read.
    hashes: Vec<Option<[u8; 32]>>,
    /// By the monotonic clock.
    at: Duration,
}

impl FileTokens {
    /// Reads all files. Blocks on the file system.
    ///
    /// # Errors
    /// A file that cannot be read, or holds no token.
    pub(super) fn load(tokens: Vec<Token>, clock: Arc<dyn Clock>) -> Result<Self, AuthorizerError> {
        let at = clock.monotonic();
        let mut hashes = Vec::with_capacity(tokens.len());
        for token in &tokens {
            let hash = read(&token.file);
            let wrong = |why| AuthorizerError::Token { path: token.file.clone(), why };
            hashes.push(Some(hash.map_err(wrong)?));
        }
        let current = ArcSwap::from_pointee(Loaded { hashes, at });
        Ok(Self { tokens: tokens.into(), clock, current })
    }

    /// Whose token this is.
    pub(super) async fn find(&self, token: &str) -> Option<Known> {
        if self.tokens.is_empty() {
            return None;
        }
        let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let loaded = self.fresh().await;
        let mut found = None;
        // All of them, so that time tells nothing.
        for (known, hash) in self.tokens.iter().zip(&loaded.hashes) {
            if hash.is_some_and(|hash| hash.ct_eq(&presented).into()) {
                found = Some(known);
            }
        }
        found.map(|token| Known { name: token.name.clone(), may: token.may.clone() })
    }

    async fn fresh(&self) -> Arc<Loaded> {
        let loaded = self.current.load_full();
        let now = self.clock.monotonic();
        if now.saturating_sub(loaded.at) < AGE_MAX {
            return loaded;
        }
        let tokens = self.tokens.clone();
        let read = tokio::task::spawn_blocking(move || {
            let read_one = |token: &Token| {
                let hash = read(&token.file);
                if let Err(why) = &hash {
                    tracing::warn!(token = &*token.name, why, "a token cannot be used");
                }
                hash.ok()
            };
            tokens.iter().map(read_one).collect::<Vec<_>>()
        });
        // Its only failure is a panic, after which no token is good.
        let hashes = read.await.unwrap_or_default();
        let loaded = Arc::new(Loaded { hashes, at: now });
        self.current.store(loaded.clone());
        loaded
    }
}

/// The hash of a file's token, without white space around it.
fn read(file: &Path) -> Result<[u8; 32], String> {
    let bytes = read_capped(file, TOKEN_BYTES_MAX);
    let bytes = bytes.map_err(|error| format!("cannot be read: {}", Report(&error)))?;
    let bytes = Redacted::new(bytes);
    let token = bytes.expose().trim_ascii();
    if token.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(Sha256::digest(token).into())
}

#[cfg(test)]
mod tests {
    use strait_runtime::ManualClock;

    use super::*;

    #[tokio::test]
    async fn files_are_read_again_and_one_that_is_gone_is_good_for_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let token = |name: &str, may: &[Permission]| Token {
            name: name.into(),
            file: directory.path().join(name),
            may: may.to_vec(),
        };
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("a", "first\n");
        write("b", "other");
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let tokens = vec![token("a", &[Permission::View]), token("b", &[Permission::Replay])];
        let tokens = FileTokens::load(tokens, clock.clone()).unwrap();
        let found = tokens.find("first").await.unwrap();
        assert_eq!((&*found.name, found.may), ("a", vec![Permission::View]));
        assert_eq!(&*tokens.find("other").await.unwrap().name, "b");
        for wrong in ["", "firs", "first\n", "first2", "OTHER"] {
            assert_eq!(tokens.find(wrong).await, None, "{wrong}");
        }

        write("a", "second");
        std::fs::remove_file(directory.path().join("b")).unwrap();
        assert!(tokens.find("first").await.is_some(), "read a moment ago");
        clock.advance(AGE_MAX);
        assert_eq!(tokens.find("first").await, None);
        assert!(tokens.find("second").await.is_some());
        assert_eq!(tokens.find("other").await, None);
    }

    #[test]
    fn every_file_must_hold_a_token_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("empty");
        std::fs::write(&file, " \n").unwrap();
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let tokens = vec![Token { name: "a".into(), file, may: vec![Permission::View] }];
        let error = FileTokens::load(tokens, clock).err().unwrap();
        assert!(error.to_string().ends_with("is empty"), "{error}");
    }
}
