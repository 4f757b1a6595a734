//! The few file operations that the state's durability rests on, replaceable so that tests can
//! make them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

/// A directory.
pub(super) trait Volume: Send + Sync {
    /// Opens a file for reading and writing; none if there is no such.
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Bytes>>>;

    /// Makes an empty file, for this user alone, in place of one of the name.
    fn create(&self, name: &str) -> io::Result<Arc<dyn Bytes>>;

    /// Gives a file another's name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if there is one of the name.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub(super) trait Bytes: Send + Sync {
    fn size(&self) -> io::Result<u64>;
    /// Fills the buffer or fails.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()>;
    /// Returns when the system has the bytes: what kills the process does not take them back.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn truncate(&self, size: u64) -> io::Result<()>;
    /// Returns when everything written so far is durable.
    fn sync(&self) -> io::Result<()>;
}

/// A real directory.
pub(super) struct Disk(pub(super) PathBuf);

impl Volume for Disk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Bytes>>> {
        match OpenOptions::new().read(true).write(true).open(self.0.join(name)) {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Bytes>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        Ok(Arc::new(options.open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Bytes for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
