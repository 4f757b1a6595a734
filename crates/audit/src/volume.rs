//! The few file operations that the log's durability rests on, replaceable so that tests can
//! make them fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Free space under which a full disk is still called full.
const ROOM: u64 = 1 << 20;

/// A directory of segments.
pub(crate) trait Volume: Send + 'static {
    /// Opens a segment for writing; makes it, for this user alone, if asked to.
    fn open(&mut self, path: &Path, create: bool) -> io::Result<Box<dyn SegmentFile>>;

    /// Makes the directory's names durable.
    fn sync_names(&mut self) -> io::Result<()>;
}

/// One open segment.
pub(crate) trait SegmentFile: Send {
    fn size(&self) -> io::Result<u64>;
    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()>;
    fn truncate(&mut self, size: u64) -> io::Result<()>;
    /// Returns when everything written so far is durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A real directory.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Volume for Disk {
    fn open(&mut self, path: &Path, create: bool) -> io::Result<Box<dyn SegmentFile>> {
        let file =
            OpenOptions::new().write(true).create(create).truncate(false).mode(0o600).open(path)?;
        Ok(Box::new(file))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl SegmentFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether an error says that the disk, or this user's part of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether there is space again. Unknown counts as yes: the next line will tell.
pub(crate) fn has_room(directory: &Path) -> bool {
    rustix::fs::statvfs(directory)
        .map_or(true, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= ROOM)
}
