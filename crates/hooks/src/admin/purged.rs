//! Events whose bodies are not given out any more.
//!
//! One line for each run of positions, appended and synced before a purge is told done; written
//! anew, shorter, at each start. A line that was torn is one of a purge that nobody was told of.
//! The bytes themselves leave the disk with their segment, when retention removes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use parking_lot::{Mutex, RwLock};
use strait_runtime::fs::{FsError, read_capped, write_atomic};

use crate::event::Position;
use crate::state::runs::Runs;

const NAME: &str = "purged";

/// Far more than a log of events can have runs.
const FILE_BYTES_MAX: usize = 256 << 20;

/// Which events were purged.
pub struct Purged {
    runs: RwLock<Runs>,
    /// None once a write or sync failed: what it holds is unknown.
    file: Mutex<Option<File>>,
}

impl Purged {
    /// Reads the file in a directory, and forgets what is before the log's first position.
    ///
    /// # Errors
    /// The file cannot be read or written.
    ///
    /// # Blocking
    /// Reads and syncs.
    pub fn open(directory: &Path, floor: Position) -> Result<Self, FsError> {
        let path = directory.join(NAME);
        let bytes = match read_capped(&path, FILE_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.io().kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut runs = Runs::default();
        for (first, last) in bytes.split_inclusive(|byte| *byte == b'\n').filter_map(run) {
            runs.insert(first, last);
        }
        runs.remove(0, floor.0.saturating_sub(1));
        let lines: String = runs.iter().map(|(first, last)| line(first, last)).collect();
        write_atomic(&path, lines.as_bytes(), 0o600)?;
        let file = OpenOptions::new().append(true).open(&path);
        let file = file.map_err(FsError::new("open", &path))?;
        Ok(Self { runs: RwLock::new(runs), file: Mutex::new(Some(file)) })
    }

    /// Whether an event was purged.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        self.runs.read().contains(position.0)
    }

    /// Adds events, durably.
    ///
    /// # Errors
    /// The disk. Nothing more is added after that.
    ///
    /// # Blocking
    /// For a sync.
    pub fn add(&self, positions: &[Position]) -> io::Result<()> {
        let mut added = Runs::default();
        positions.iter().for_each(|position| added.insert(position.0, position.0));
        let lines: String = added.iter().map(|(first, last)| line(first, last)).collect();
        let mut file = self.file.lock();
        let broken = || io::Error::other("an earlier purge could not be written");
        let mut open = file.take().ok_or_else(broken)?;
        open.write_all(lines.as_bytes())?;
        open.sync_data()?;
        *file = Some(open);
        let mut runs = self.runs.write();
        added.iter().for_each(|(first, last)| runs.insert(first, last));
        Ok(())
    }
}

impl std::fmt::Debug for Purged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Purged").finish_non_exhaustive()
    }
}

fn line(first: u64, last: u64) -> String {
    format!("{first} {last}\n")
}

fn run(line: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (first, last) = text.split_once(' ')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_purged_stays_so() {
        let directory = tempfile::tempdir().unwrap();
        let open = |floor| Purged::open(directory.path(), Position(floor)).unwrap();
        let purged = open(1);
        purged.add(&[3, 4, 9].map(Position)).unwrap();
        purged.add(&[Position(5)]).unwrap();
        let path = directory.path().join(NAME);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3 4\n9 9\n5 5\n");
        drop(purged);
        // Torn.
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"20 2");
        std::fs::write(&path, text).unwrap();
        let purged = open(4);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4 5\n9 9\n");
        for (position, expected) in [(3, false), (4, true), (5, true), (9, true), (20, false)] {
            assert_eq!(purged.contains(Position(position)), expected, "{position}");
        }
    }
}
