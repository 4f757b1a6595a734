//! Files that a configuration names.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use strait_runtime::fs::read_capped;
use strait_types::{Redacted, Report};

/// Largest file of a credential or of authorities, bytes.
const FILE_MAX: usize = 1 << 20;

/// A file that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Whether others than its owner and group may read it.
    pub open_to_others: bool,
}

/// Access to files. The texts of failures say what is wrong without the path.
pub trait Files {
    /// Looks at a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn look(&self, path: &Path) -> Result<FileState, String>;

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is too long.
    fn read(&self, path: &Path) -> Result<Redacted<Vec<u8>>, String>;
}

/// The files of this machine. Blocks on the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn look(&self, path: &Path) -> Result<FileState, String> {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("is not a file".to_owned());
        }
        Ok(FileState { open_to_others: metadata.permissions().mode() & 0o007 != 0 })
    }

    fn read(&self, path: &Path) -> Result<Redacted<Vec<u8>>, String> {
        // What is no file may never end.
        if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return Err("is not a file".to_owned());
        }
        let bytes = read_capped(path, FILE_MAX);
        bytes.map(Redacted::new).map_err(|error| Report(&error).to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn files_of_the_machine_are_looked_at_and_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(Disk.look(&path).is_err() && Disk.read(&path).is_err());
        std::fs::write(&path, "secret").unwrap();
        for (mode, open) in [(0o600, false), (0o440, false), (0o604, true), (0o644, true)] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(Disk.look(&path), Ok(FileState { open_to_others: open }), "{mode:o}");
        }
        assert_eq!(Disk.read(&path).unwrap().expose(), b"secret");
        assert!(Disk.look(directory.path()).is_err() && Disk.read(directory.path()).is_err());
    }
}
