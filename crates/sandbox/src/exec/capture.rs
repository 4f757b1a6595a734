//! One output of a program, copied into its file up to a limit.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A pipe's usual capacity.
const CHUNK: usize = 64 << 10;

/// After the program's end, what is still read: more than a pipe holds, so that everything that
/// it wrote is kept, and little enough that nobody who holds the pipe open delays the end.
const LATE_CHUNKS: usize = 32;

/// A pipe and the file that it goes to.
#[derive(Debug)]
pub(super) struct Capture {
    pipe: Option<File>,
    file: File,
    left: u64,
    /// Whether there was more than the limit.
    pub(super) exceeded: bool,
    /// Whether the file took less than it was given.
    pub(super) failed: bool,
}

impl Capture {
    /// Makes the file. [`attach`](Self::attach) comes next.
    pub(super) fn create(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Self { pipe: None, file, left: limit, exceeded: false, failed: false })
    }

    /// Takes the reading end of the program's pipe.
    pub(super) fn attach(&mut self, pipe: impl Into<OwnedFd>) -> io::Result<()> {
        let pipe = pipe.into();
        rustix::io::ioctl_fionbio(&pipe, true)?;
        self.pipe = Some(File::from(pipe));
        Ok(())
    }

    /// The pipe while it is open.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Copies one chunk of what is there now; false if there is nothing (yet, or any more).
    pub(super) fn copy(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        let mut chunk = [0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                self.keep(&chunk[..count]);
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                self.failed = true;
                self.pipe = None;
            }
        }
        false
    }

    /// Copies what is left after the program's end, and closes the pipe.
    pub(super) fn finish(&mut self) {
        for _ in 0..LATE_CHUNKS {
            if !self.copy() {
                break;
            }
        }
        self.pipe = None;
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(room)];
        self.exceeded |= kept.len() < bytes.len();
        self.left -= kept.len() as u64;
        if !self.failed && self.file.write_all(kept).is_err() {
            self.failed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(limit: u64, written: &[u8]) -> (Vec<u8>, bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stdout");
        let mut capture = Capture::create(&path, limit).unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        capture.attach(OwnedFd::from(reader)).unwrap();
        assert!(!capture.copy());
        writer.write_all(written).unwrap();
        capture.finish();
        assert!(capture.fd().is_none() && !capture.failed);
        (std::fs::read(&path).unwrap(), capture.exceeded)
    }

    #[test]
    fn the_beginning_is_kept_and_more_is_noticed() {
        for (limit, written, kept, exceeded) in [
            (5, &b"abc"[..], &b"abc"[..], false),
            (3, b"abc", b"abc", false),
            (2, b"abc", b"ab", true),
            (0, b"", b"", false),
            (0, b"a", b"", true),
        ] {
            assert_eq!(captured(limit, written), (kept.to_vec(), exceeded), "{limit}");
        }
    }
}
