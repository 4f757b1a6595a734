//! Directories that a role keeps its state in.
//!
//! `VERSION` says what lies in one, so that neither an older release nor another role takes it
//! for its own, and `lock` is held while it is in use.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_types::{Classified, ErrorKind};

use crate::fs::{self, FsError};
use crate::lock::{DirLock, LockError};

/// `VERSION` is short.
const VERSION_MAX: usize = 4096;

/// What a role's directories look like.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The role: `hub`.
    pub role: &'static str,
    /// The arrangement of what lies in it. One with a higher number is refused.
    pub format: i64,
    /// Names below it that must not be there before `VERSION` is.
    pub entries: &'static [&'static str],
}

/// A data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A newer release made it.
    #[error("{path} has format {found}, this release reads {known}: use a newer release of strait")]
    Newer {
        /// The directory.
        path: String,
        /// Its format.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// It is not this role's.
    #[error("{path} is not the data directory of a {role}: {why}")]
    Foreign {
        /// The directory.
        path: String,
        /// The role that was to use it.
        role: &'static str,
        /// What was found.
        why: String,
    },
    /// A file or directory.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Classified for DataDirError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fs(error) => error.kind(),
            _ => ErrorKind::User,
        }
    }
}

/// An open data directory, named by an identifier that it keeps for life. The lock is held as
/// long as this lives.
#[derive(Debug)]
pub struct DataDir<I> {
    path: PathBuf,
    id: I,
    _lock: DirLock,
}

impl<I: FromStr + Display> DataDir<I> {
    /// Opens a role's directory, or makes an empty one into one.
    ///
    /// # Errors
    /// See [`DataDirError`]; nothing was changed then.
    pub fn open(
        path: &Path,
        layout: &Layout,
        new_id: impl FnOnce() -> I,
    ) -> Result<Self, DataDirError> {
        fs::create_private_dir(path)?;
        let lock = DirLock::acquire(&path.join("lock"))?;
        let version = path.join("VERSION");
        let id = match fs::read_capped(&version, VERSION_MAX) {
            Ok(text) => layout.read_version(path, &text)?,
            Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => {
                layout.check_empty(path)?;
                let id = new_id();
                let text =
                    object! {"format": layout.format, "role": layout.role, "id": id.to_string()};
                fs::write_atomic(&version, &text.to_pretty_bytes(), 0o644)?;
                id
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path: path.to_owned(), id, _lock: lock })
    }

    /// Who uses it.
    #[must_use]
    pub const fn id(&self) -> &I {
        &self.id
    }

    /// A path below.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Layout {
    fn read_version<I: FromStr>(&self, path: &Path, text: &[u8]) -> Result<I, DataDirError> {
        let value = parse(text).map_err(|_| self.foreign(path, "VERSION is not JSON"))?;
        let format = value.get("format").and_then(Value::as_i64);
        let format = format.ok_or_else(|| self.foreign(path, "VERSION names no format"))?;
        if format > self.format {
            let path = path.display().to_string();
            return Err(DataDirError::Newer { path, found: format, known: self.format });
        }
        let role = value.str_at(&["role"]).unwrap_or_default();
        if role != self.role {
            return Err(self.foreign(path, &format!("VERSION says that it is that of a {role:?}")));
        }
        let id = value.str_at(&["id"]).and_then(|id| id.parse().ok());
        id.ok_or_else(|| self.foreign(path, "VERSION names no id"))
    }

    /// A directory without VERSION must hold nothing that the role could mistake for its own.
    fn check_empty(&self, path: &Path) -> Result<(), DataDirError> {
        let found = self.entries.iter().find(|name| path.join(name).exists());
        found.map_or(Ok(()), |name| {
            Err(self.foreign(path, &format!("it holds {name} but no VERSION")))
        })
    }

    fn foreign(&self, path: &Path, why: &str) -> DataDirError {
        DataDirError::Foreign {
            path: path.display().to_string(),
            role: self.role,
            why: why.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_types::HubId;

    const LAYOUT: Layout = Layout { role: "hub", format: 1, entries: &["store.db"] };

    fn open(path: &Path) -> Result<DataDir<HubId>, DataDirError> {
        DataDir::open(path, &LAYOUT, || HubId::from_random([7; 16]))
    }

    #[test]
    fn a_directory_keeps_its_id_and_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(DataDirError::Locked(_))));
        drop(first);
        let again = DataDir::open(&path, &LAYOUT, || HubId::from_random([8; 16])).unwrap();
        assert_eq!(*again.id(), HubId::from_random([7; 16]));
    }

    #[test]
    fn newer_and_foreign_directories_are_refused() {
        for (text, error) in [
            (r#"{"format":2,"role":"hub","id":"000000000000"}"#, "use a newer release"),
            (
                r#"{"format":1,"role":"agent","id":"000000000000"}"#,
                "is not the data directory of a hub",
            ),
            (r#"{"format":1,"role":"hub"}"#, "names no id"),
            ("x", "is not JSON"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("VERSION"), text).unwrap();
            let message = open(dir.path()).unwrap_err().to_string();
            assert!(message.contains(error), "{message}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("store.db"), "x").unwrap();
        assert!(open(dir.path()).unwrap_err().to_string().contains("no VERSION"));
    }
}
