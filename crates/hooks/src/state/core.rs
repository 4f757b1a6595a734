//! The file: changes at its end, and from time to time a shorter file in its place.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::frame::{FRAME_BYTES, Frame, FrameBytes};
use super::table::Table;
use super::volume::{Bytes, Volume};
use super::{Change, Fail, Recovered, StateError};

/// The file's name.
pub(super) const NAME: &str = "state";

/// What will be in its place.
const NEXT: &str = "state.next";

/// A file under this size is not made shorter.
pub(super) const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// A file this many times the size of what it says is made shorter.
const COMPACT_FACTOR: u64 = 4;

/// Longer than changes of others take, shorter than a sync.
const LOCK_WAIT: Duration = Duration::from_micros(200);

/// Frames that are read at a time.
const READ_FRAMES: usize = 4_096;

pub(super) struct Core {
    volume: Box<dyn Volume>,
    fail: Fail,
    inner: Mutex<Inner>,
    /// Held by who syncs or compacts; taken before `inner`. One failure of a file is told to one
    /// caller of sync alone, so nobody may sync beside another.
    syncing: Mutex<()>,
}

struct Inner {
    table: Table,
    file: Arc<dyn Bytes>,
    size: u64,
    /// The size at which to compact.
    compact_at: u64,
    /// Something was written that was not synced.
    dirty: bool,
    /// What the file holds is unknown; nothing more is written.
    broken: bool,
}

/// A shorter file that is not in place yet.
pub(super) struct Next {
    file: Arc<dyn Bytes>,
    size: u64,
    /// Up to where it says what the old one says.
    from: u64,
}

impl Core {
    pub(super) fn open(
        volume: Box<dyn Volume>,
        fail: Fail,
    ) -> Result<(Self, Recovered), StateError> {
        let (inner, recovered) = match volume.open(NAME)? {
            Some(file) => {
                volume.remove(NEXT)?;
                load(file)?
            }
            None => {
                let table = Table::default();
                let file = volume.create(NEXT)?;
                file.write_at(&table.encode(), 0)?;
                file.sync()?;
                volume.rename(NEXT, NAME)?;
                (Inner::new(table, file, FRAME_BYTES as u64), Recovered::default())
            }
        };
        // A process that was killed may have renamed the file and not come to this.
        volume.sync_names()?;
        let core = Self { volume, fail, inner: Mutex::new(inner), syncing: Mutex::new(()) };
        // What is damaged is left behind with the old file.
        if recovered.damaged > 0 {
            core.compact()?;
        }
        Ok((core, recovered))
    }

    /// Writes the changes, all or none unless the process ends meanwhile, and then takes them
    /// into the table.
    pub(super) fn write(&self, changes: &[Change]) -> Result<(), StateError> {
        self.write_to(self.inner()?, changes)
    }

    /// As [`write`](Self::write), if nobody holds changes up for long.
    pub(super) fn try_write(&self, changes: &[Change]) -> Option<Result<(), StateError>> {
        let inner = self.inner.try_lock_for(LOCK_WAIT)?;
        Some(if inner.broken { Err(StateError::Broken) } else { self.write_to(inner, changes) })
    }

    fn write_to(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        changes: &[Change],
    ) -> Result<(), StateError> {
        let frames = changes.iter().map(|change| Frame::Change(*change));
        let mut bytes = Vec::with_capacity(changes.len() * FRAME_BYTES);
        frames.clone().for_each(|frame| bytes.extend_from_slice(&frame.encode()));
        if let Err(error) = inner.file.write_at(&bytes, inner.size) {
            if super::is_full(&error) {
                // Nothing of a change that did not happen may stand behind later ones.
                return Err(match inner.file.truncate(inner.size) {
                    Ok(()) => StateError::Full(error),
                    Err(error) => self.broke(inner, error),
                });
            }
            return Err(self.broke(inner, error));
        }
        inner.size += bytes.len() as u64;
        inner.dirty = true;
        frames.for_each(|frame| inner.table.apply(frame));
        Ok(())
    }

    /// Returns when all that was written before is durable.
    pub(super) fn sync(&self) -> Result<(), StateError> {
        let _syncing = self.syncing.lock();
        let mut inner = self.inner()?;
        if !std::mem::take(&mut inner.dirty) {
            return Ok(());
        }
        let file = inner.file.clone();
        drop(inner);
        file.sync().map_err(|error| self.broke(self.inner.lock(), error))
    }

    pub(super) fn wants_compaction(&self) -> bool {
        let inner = self.inner.lock();
        !inner.broken && inner.size > inner.compact_at
    }

    /// Puts a file in place that says the same in fewer bytes. Changes are held up only while
    /// those that came meanwhile are copied and synced.
    ///
    /// A full disk leaves the old file in use.
    pub(super) fn compact(&self) -> Result<(), StateError> {
        let _syncing = self.syncing.lock();
        let next = self.write_next()?;
        self.put_in_place(next)
    }

    /// Writes what the file says so far to another, durably.
    pub(super) fn write_next(&self) -> Result<Next, StateError> {
        let inner = self.inner()?;
        let (bytes, from) = (inner.table.encode(), inner.size);
        drop(inner);
        let begun = self.volume.create(NEXT).and_then(|file| {
            file.write_at(&bytes, 0)?;
            Ok(file)
        });
        let file = match begun {
            Ok(file) => file,
            Err(error) => return Err(self.put_off(self.inner()?, error)),
        };
        // So that little is left to sync when changes are held up.
        file.sync().map_err(|error| self.broke(self.inner.lock(), error))?;
        Ok(Next { file, size: bytes.len() as u64, from })
    }

    /// Adds what came meanwhile, and puts the other file in place.
    pub(super) fn put_in_place(&self, next: Next) -> Result<(), StateError> {
        let mut inner = self.inner()?;
        let copied = match copy(&*inner.file, next.from..inner.size, &*next.file, next.size) {
            Ok(copied) => copied,
            Err(error) => return Err(self.put_off(inner, error)),
        };
        if let Err(error) = next.file.sync() {
            return Err(self.broke(inner, error));
        }
        if let Err(error) = self.volume.rename(NEXT, NAME) {
            return Err(self.put_off(inner, error));
        }
        // From here the old file may be no more after a crash.
        if let Err(error) = self.volume.sync_names() {
            return Err(self.broke(inner, error));
        }
        (inner.file, inner.size, inner.dirty) = (next.file, next.size + copied, false);
        inner.compact_at = compact_at(next.size);
        Ok(())
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        look(&self.inner.lock().table)
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        self.inner.lock().size
    }

    fn inner(&self) -> Result<MutexGuard<'_, Inner>, StateError> {
        let inner = self.inner.lock();
        if inner.broken { Err(StateError::Broken) } else { Ok(inner) }
    }

    fn broke(&self, mut inner: MutexGuard<'_, Inner>, error: io::Error) -> StateError {
        let already = std::mem::replace(&mut inner.broken, true);
        drop(inner);
        if !already {
            (self.fail)(&error);
        }
        StateError::Io(error)
    }

    /// Goes on with the old file, and tries again when it has grown as much once more.
    fn put_off(&self, mut inner: MutexGuard<'_, Inner>, error: io::Error) -> StateError {
        inner.compact_at = inner.size.saturating_mul(2);
        // Best effort: it is removed at the next start, or made anew.
        drop(self.volume.remove(NEXT));
        StateError::NotCompacted(error)
    }
}

impl Inner {
    fn new(table: Table, file: Arc<dyn Bytes>, size: u64) -> Self {
        let compact_at = compact_at(table.size());
        Self { table, file, size, compact_at, dirty: false, broken: false }
    }
}

fn compact_at(live: u64) -> u64 {
    live.saturating_mul(COMPACT_FACTOR).max(COMPACT_BYTES_MIN)
}

/// Appends a part of one file to another; returns its length.
fn copy(
    from: &dyn Bytes,
    range: std::ops::Range<u64>,
    to: &dyn Bytes,
    end: u64,
) -> io::Result<u64> {
    let mut buffer = vec![0; READ_FRAMES * FRAME_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        from.read_at(&mut buffer[..length], at)?;
        to.write_at(&buffer[..length], end + (at - range.start))?;
        at += length as u64;
    }
    Ok(range.end - range.start)
}

/// Reads a file, steps over what is damaged, and cuts what is behind the last good frame.
fn load(file: Arc<dyn Bytes>) -> Result<(Inner, Recovered), StateError> {
    let length = file.size()?;
    let (mut table, mut recovered) = (Table::default(), Recovered::default());
    let (mut good, mut damaged, mut at) = (0, 0, 0);
    let mut buffer = vec![0; READ_FRAMES * FRAME_BYTES];
    let whole = length - length % FRAME_BYTES as u64;
    while at < whole {
        let part = usize::try_from(whole - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_at(&mut buffer[..part], at)?;
        for bytes in buffer[..part].as_chunks::<FRAME_BYTES>().0 {
            let bytes: &FrameBytes = bytes;
            at += FRAME_BYTES as u64;
            match Frame::decode(bytes) {
                None => damaged += 1,
                Some(Frame::Header { ours: false }) => return Err(StateError::Foreign),
                Some(frame) => {
                    table.apply(frame);
                    recovered.damaged += std::mem::take(&mut damaged);
                    good = at;
                }
            }
        }
    }
    if good == 0 {
        return Err(StateError::Foreign);
    }
    recovered.cut = length - good;
    if recovered.cut > 0 {
        file.truncate(good)?;
    }
    // A process that was killed may have written without a sync.
    file.sync()?;
    Ok((Inner::new(table, file, good), recovered))
}
