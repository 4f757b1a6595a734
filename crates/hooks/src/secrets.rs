//! A source's secrets: read from files and the environment, and again as the files change.
//!
//! [`Secrets::refresh`] is called every second or so. It compares contents, not times: a
//! Kubernetes secret volume swaps a symbolic link, and the times behind it say nothing. Each file
//! is judged by itself: one that cannot be used keeps the secret that was last read from it, so
//! that a file that is half written stops neither its own sender nor another's rotation. What is
//! to be believed no more is taken out of its file by another secret, or out of the list by the
//! configuration.
//!
//! Verifications that run keep the secrets that they began with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use strait_runtime::fs::read_capped;
use strait_types::{Redacted, Report};

use crate::signature::Scheme;
pub use crate::signature::Secret;

/// Largest file or variable of a secret, in bytes.
pub const MAX_SECRET: usize = 64 << 10;
/// Most secrets of one source: each costs a pass over every body.
pub const MAX_SECRETS: usize = 4;

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file. One newline at its end is not part of the secret.
    File(PathBuf),
    /// A variable of the environment, read once. It is the secret as it stands.
    Variable(String),
}

/// A secret cannot be used. The text names its place and never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("secret of {place} {why}")]
pub struct SecretError {
    place: String,
    why: String,
}

impl SecretError {
    /// What is wrong, without the place.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }
}

/// What [`Secrets::refresh`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Whether there are other secrets now.
    pub changed: bool,
    /// Files whose last good secret is kept.
    pub failures: Vec<SecretError>,
}

/// The secrets of one source, at least one unless the scheme needs none.
pub struct Secrets {
    scheme: Scheme,
    places: Vec<Place>,
    current: ArcSwap<Loaded>,
}

/// The secrets at one time, one for each place, in their order.
#[derive(Debug)]
pub struct Loaded {
    secrets: Vec<Secret>,
    since: Timestamp,
}

impl Loaded {
    /// What verifies.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// How long these have been the secrets, as far as this process saw.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.since)).unwrap_or_default()
    }

    /// A fingerprint for each, in their order.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.secrets.iter().map(Secret::fingerprint).collect()
    }
}

impl Secrets {
    /// Reads all secrets. Blocks on the file system.
    ///
    /// # Errors
    /// Every place whose secret is missing, unreadable, empty, too long or none of the scheme's;
    /// also that there is no place where the scheme needs one.
    pub fn load(
        scheme: Scheme,
        places: Vec<Place>,
        variable: impl Fn(&str) -> Option<String>,
        now: Timestamp,
    ) -> Result<Self, Vec<SecretError>> {
        let mut secrets = Vec::with_capacity(places.len());
        let mut errors = Vec::new();
        for place in &places {
            match read(&scheme, place, &variable) {
                Ok(secret) => secrets.push(secret),
                Err(error) => errors.push(error),
            }
        }
        if places.is_empty() && scheme.needs_secret() {
            errors.push(SecretError { place: "the source".into(), why: "is not named".into() });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let current = ArcSwap::from_pointee(Loaded { secrets, since: now });
        Ok(Self { scheme, places, current })
    }

    /// The secrets of now: to be held while one request is verified.
    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// Reads the files again. Blocks on the file system; one call at a time.
    pub fn refresh(&self, now: Timestamp) -> Refreshed {
        let before = self.current.load_full();
        let mut failures = Vec::new();
        let mut secrets = before.secrets.clone();
        for (place, secret) in self.places.iter().zip(&mut secrets) {
            if let Place::File(_) = place {
                match read(&self.scheme, place, |_| None) {
                    Ok(read) => *secret = read,
                    Err(error) => failures.push(error),
                }
            }
        }
        let changed = secrets != before.secrets;
        if changed {
            self.current.store(Arc::new(Loaded { secrets, since: now }));
        }
        Refreshed { changed, failures }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("places", &self.places).finish_non_exhaustive()
    }
}

/// Reads one secret. Blocks on the file system.
///
/// # Errors
/// It is missing, unreadable, empty, too long or none of the scheme's.
pub fn read(
    scheme: &Scheme,
    place: &Place,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Secret, SecretError> {
    let (name, bytes) = match place {
        Place::File(path) => (format!("file {}", path.display()), file(path)),
        Place::Variable(name) => {
            let value = variable(name).ok_or_else(|| "is not set".to_owned());
            let value = value.map(String::into_bytes).and_then(|bytes| {
                if bytes.len() > MAX_SECRET { Err("is too long".to_owned()) } else { Ok(bytes) }
            });
            (format!("variable {name}"), value)
        }
    };
    let secret = bytes.and_then(|bytes| {
        let secret = Secret::new(bytes).map_err(|error| error.to_string())?;
        scheme.check_secret(&secret).map_err(|error| error.to_string())?;
        Ok(secret)
    });
    secret.map_err(|why| SecretError { place: name, why })
}

fn file(path: &Path) -> Result<Vec<u8>, String> {
    // What is no file may never end, or never begin.
    let kind = |error: &io::Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(|error| kind(&error))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let bytes = read_capped(path, MAX_SECRET)
        .map_err(|error| format!("cannot be read: {}", Report(&error)))?;
    let bytes = Redacted::new(bytes);
    let text = bytes.expose();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    Ok(text.strip_suffix(b"\r").unwrap_or(text).to_vec())
}

#[cfg(test)]
mod tests;
