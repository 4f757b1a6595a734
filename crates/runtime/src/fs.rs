//! Files as a server needs them: whole or not at all, private, bounded.
//!
//! Everything here blocks. Errors name paths: they are for operators and never for tenants.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use strait_types::{Classified, ErrorKind};

/// Something could not be done to a file or directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FsError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FsError {
    /// For `map_err`: the error of trying to `action` (a verb) the file or directory at `path`.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }

    /// What it was done to.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the kernel said.
    #[must_use]
    pub const fn io(&self) -> &io::Error {
        &self.source
    }
}

impl Classified for FsError {
    fn kind(&self) -> ErrorKind {
        match self.source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Internal,
        }
    }
}

/// Puts a file in place, durably, with exactly the permissions `mode`: after a crash there is
/// the old content or the new, never a mixture.
///
/// # Errors
/// Any step failed. The old content stands, except when the directory could not be synced:
/// then it is one or the other.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FsError> {
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, bytes, mode)
        .map_err(FsError::new("write", &temporary))
        .and_then(|()| std::fs::rename(&temporary, path).map_err(FsError::new("replace", path)));
    if let Err(error) = written {
        // Best effort: the first error is the one to tell.
        drop(std::fs::remove_file(&temporary));
        return Err(error);
    }
    sync_dir(parent_of(path))
}

/// A name that no other writer of this machine uses now.
fn temporary_beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    parent_of(path).join(format!(".{name}.{}-{count}.tmp", std::process::id()))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What an earlier process of the same number left when it crashed.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes names in a directory durable.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_dir(path: &Path) -> Result<(), FsError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(FsError::new("sync", path))
}

/// Makes a directory, and what is missing above it, for this user alone (mode 0700), durably.
///
/// One that exists is taken over when empty (its mode becomes 0700). With content it keeps its
/// mode: it may be a mounted volume.
///
/// # Errors
/// It cannot be made, is no directory, or has content and everybody may write to it.
pub fn create_private_dir(path: &Path) -> Result<(), FsError> {
    let create = || DirBuilder::new().mode(0o700).create(path);
    let created = match create() {
        // Some file systems say so of directories that they do not take.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !parent_of(path).exists() => {
            create_private_dir(parent_of(path))?;
            create()
        }
        created => created,
    };
    match created {
        Ok(()) => sync_dir(parent_of(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            take_over(path).map_err(FsError::new("use", path))
        }
        Err(error) => Err(FsError::new("create", path)(error)),
    }
}

fn take_over(path: &Path) -> io::Result<()> {
    // Fails where `path` is not a directory.
    let empty = std::fs::read_dir(path)?.next().is_none();
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    if empty {
        return std::fs::set_permissions(path, Permissions::from_mode(0o700));
    }
    // The sticky bit does not help: others could still add files.
    if mode & 0o002 != 0 {
        let text = format!("everybody may write to it (mode {mode:o}); chmod 700 it");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(())
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// It cannot be read, or is longer.
pub fn read_capped(path: &Path, limit: usize) -> Result<Vec<u8>, FsError> {
    let mut bytes = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)
        .and_then(|file| file.take(ceiling).read_to_end(&mut bytes))
        .map_err(FsError::new("read", path))?;
    if bytes.len() > limit {
        let text = format!("it is longer than {limit} bytes");
        let error = io::Error::new(io::ErrorKind::FileTooLarge, text);
        return Err(FsError::new("read", path)(error));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use strait_types::Report;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_directory_that_nobody_can_make_is_an_error() {
        for path in ["/proc/strait", "/proc/strait/data"] {
            let error = create_private_dir(Path::new(path)).unwrap_err();
            assert!(Report(&error).to_string().contains("/proc/strait"), "{path}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        write_atomic(&path, b"one", 0o644).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(mode_of(&path), 0o600);
        let names = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 1, "nothing temporary is left");
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_and_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"new", 0o600).unwrap_err();
        assert!(error.to_string().ends_with("/taken"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        let missing = dir.path().join("no/such/file");
        let error = write_atomic(&missing, b"new", 0o600).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn directories_are_made_private_all_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        create_private_dir(&path).unwrap();
        create_private_dir(&path).unwrap();
        for part in ["a", "a/b", "a/b/c"] {
            assert_eq!(mode_of(&dir.path().join(part)), 0o700, "{part}");
        }
    }

    #[test]
    fn an_existing_directory_is_taken_over_or_refused() {
        for (mode, content, outcome) in [
            (0o755, false, Some(0o700)),
            (0o777, false, Some(0o700)),
            (0o755, true, Some(0o755)),
            (0o2770, true, Some(0o2770)),
            (0o777, true, None),
            (0o1777, true, None),
        ] {
            let parent = tempfile::tempdir().unwrap();
            let path = parent.path().join("data");
            std::fs::create_dir(&path).unwrap();
            if content {
                std::fs::write(path.join("x"), "").unwrap();
            }
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let result = create_private_dir(&path);
            assert_eq!(result.is_ok(), outcome.is_some(), "{mode:o} {content}");
            assert_eq!(mode_of(&path), outcome.unwrap_or(mode), "{mode:o} {content}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = create_private_dir(file.path()).unwrap_err();
        assert!(Report(&error).to_string().contains("ot a directory"), "{error:?}");
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        assert_eq!(read_capped(file.path(), 5).unwrap(), b"12345");
        let error = read_capped(file.path(), 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        let text = Report(&error).to_string();
        assert!(text.ends_with("it is longer than 4 bytes"), "{text}");
    }
}
