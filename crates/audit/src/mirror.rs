//! The head, kept where the files are not.

use std::error::Error;
use std::path::{Path, PathBuf};

use strait_runtime::fs::{FsError, read_capped, write_atomic};
use strait_store::Store;
use strait_store::engine::{EngineError, read_meta};

use crate::head::{Head, InvalidHead};

/// Name of the value in a store.
const NAME: &str = "audit-head";

/// Keeps the newest position outside the audit directory, so that lost lines show.
///
/// Called on the log's own thread, which is not a thread of the async runtime: an
/// implementation over an async store may block on it. While it blocks, nobody's line is
/// written.
pub trait Mirror: Send + 'static {
    /// The position that was saved last, if any. Called once, at opening.
    ///
    /// # Errors
    /// It cannot be told; the log does not open.
    fn load(&mut self) -> Result<Option<Head>, Box<dyn Error + Send + Sync>>;

    /// Saves a position, durably. Called at most once a second, and on closing.
    ///
    /// # Errors
    /// It could not be saved: logged, and tried again with the next position.
    fn save(&mut self, head: Head) -> Result<(), Box<dyn Error + Send + Sync>>;
}

/// Keeps the position in a store: another file, written by another part of the process.
pub struct StoreMirror(pub Store);

impl Mirror for StoreMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn Error + Send + Sync>> {
        let Some(bytes) = self.0.meta(NAME)? else {
            return Ok(None);
        };
        Ok(Some(String::from_utf8(bytes)?.parse()?))
    }

    fn save(&mut self, head: Head) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.set_meta_blocking(NAME, head.to_string().into_bytes())?)
    }
}

/// Longest text of a position, bytes.
const TEXT_MAX: usize = 4096;

/// Keeps the position in a file outside the log's directory, for a role that has no store.
#[derive(Clone, Debug)]
pub struct FileMirror(pub PathBuf);

impl Mirror for FileMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn Error + Send + Sync>> {
        Ok(mirrored_in_file(&self.0)?)
    }

    fn save(&mut self, head: Head) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(write_atomic(&self.0, head.to_string().as_bytes(), 0o600)?)
    }
}

/// The position that a [`FileMirror`] saved; none if there is no such file.
///
/// # Errors
/// See [`MirroredError`].
///
/// # Blocking
/// Reads the disk.
pub fn mirrored_in_file(path: &Path) -> Result<Option<Head>, MirroredError> {
    match read_capped(path, TEXT_MAX) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).parse::<Head>()?)),
        Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A mirrored position cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum MirroredError {
    /// The store's file.
    #[error("the mirrored position cannot be read")]
    Engine(#[from] EngineError),
    /// A file of its own.
    #[error(transparent)]
    File(#[from] FsError),
    /// What it holds.
    #[error(transparent)]
    Invalid(#[from] InvalidHead),
}

/// The position that a [`StoreMirror`] saved in a store's file, beside a running process or
/// without one.
///
/// # Errors
/// See [`MirroredError`].
///
/// # Blocking
/// Reads the disk.
pub fn mirrored(store_file: &Path) -> Result<Option<Head>, MirroredError> {
    let bytes = read_meta(store_file, NAME)?;
    let head = bytes.map(|bytes| String::from_utf8_lossy(&bytes).parse::<Head>());
    Ok(head.transpose()?)
}
