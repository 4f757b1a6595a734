//! One process to a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use strait_types::{Classified, ErrorKind};

use crate::fs::FsError;

/// More than any process number has digits.
const PID_TEXT_MAX: u64 = 20;

/// Exclusive use of a directory, held until dropped or until the process ends, however it ends
/// (`flock(2)` on a file in it). The file stays and holds the owner's process number as text.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct DirLock {
    _file: File,
}

/// The directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {}", path.display(), owner(*.pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who has it, if it could be read.
        pid: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error(transparent)]
    Fs(#[from] FsError),
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Classified for LockError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Held { .. } => ErrorKind::Conflict,
            Self::Fs(error) => error.kind(),
        }
    }
}

impl DirLock {
    /// Locks with the file at `path`, made if missing. Does not wait.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn acquire(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(FsError::new("open", path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file);
                let path = path.to_owned();
                return Err(LockError::Held { path, pid });
            }
            Err(TryLockError::Error(error)) => {
                return Err(FsError::new("lock", path)(error).into());
            }
        }
        write_pid(&mut file).map_err(FsError::new("write", path))?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_TEXT_MAX).read_to_string(&mut text).ok()?;
    text.trim_end().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = DirLock::acquire(&path).unwrap();
        // Another open file of the same process conflicts just as another process does.
        let error = DirLock::acquire(&path).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error, LockError::Held { pid: Some(got), .. } if got == pid));
        assert_eq!(error.to_string(), format!("{} is in use by process {pid}", path.display()));
        assert_eq!(error.kind(), ErrorKind::Conflict);

        drop(held);
        drop(DirLock::acquire(&path).unwrap());
        assert!(path.exists());
    }

    #[test]
    fn what_an_earlier_owner_wrote_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, "4294967295 and more text than a number").unwrap();
        let held = DirLock::acquire(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(held);
    }
}
