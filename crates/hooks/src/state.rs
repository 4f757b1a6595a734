//! What became of every event at every backend, on disk and in memory.
//!
//! One file of small frames of one length. A change is written at its end before [`State::record`]
//! returns, so that killing the process takes nothing back, and synced within a second; dead
//! letters, purges and changes of backends are synced at once. When the file has grown to several
//! times what it says, a shorter one is made beside it, synced, and put in its place.
//!
//! At start a torn tail is cut, and a damaged frame is stepped over and told: what it said is
//! lost, so an event may be delivered twice. A sync that fails is never tried again, as its pages
//! may be marked clean: nothing more is written, and the owner is told to end the process.
//!
//! The directory belongs to one process; its owner sees to that.

mod core;
mod frame;
mod marks;
pub(crate) mod runs;
mod table;
mod volume;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use sha2::{Digest, Sha256};
use strait_runtime::fs::{FsError, create_private_dir};

use self::core::Core;
pub use self::table::Table;
use self::volume::Disk;
use crate::event::Position;
use crate::schedule::{Outcome, Reason};

/// What a crash of the machine may take back: that much, and what a sync takes.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// A backend: a hash of its name, so that all changes are of one length. Two names of one hash
/// are as likely as not among four thousand million backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend(u64);

impl Backend {
    /// The backend of that name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = Sha256::digest(name.as_bytes());
        Self(hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }
}

/// What became of an event at a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Became {
    /// It is to be tried, again or, after a replay, anew.
    Waiting {
        /// How often it was tried.
        attempts: u32,
        /// How the last attempt ended; none if there was none.
        last: Option<Outcome>,
        /// It is not tried before this time; kept in milliseconds.
        until: Timestamp,
    },
    /// The backend has it.
    Delivered,
    /// The backend does not want it: its filter kept it away, or it was of no source of its. What
    /// an older version wrote says `Delivered` of these.
    Unwanted,
    /// It is not tried again by itself.
    Dead {
        /// How often it was tried.
        attempts: u32,
        /// Why.
        reason: Reason,
        /// Since when; kept in milliseconds.
        at: Timestamp,
    },
    /// An operator took it out. It stays so until it is asked for anew: to be tried, and not
    /// tried yet.
    Purged,
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Something became of an event. What was so before is no longer.
    Became {
        /// At which backend.
        backend: Backend,
        /// Of which event.
        position: Position,
        /// What.
        became: Became,
    },
    /// A backend does not want these events.
    Unwanted {
        /// Which.
        backend: Backend,
        /// The first.
        first: Position,
        /// The last.
        last: Position,
    },
    /// There is a backend, which gets the events from a position on. Nothing, if there was.
    Added {
        /// Which.
        backend: Backend,
        /// Its first event.
        from: Position,
    },
    /// There is no such backend any more, nor what became of anything there.
    Removed {
        /// Which.
        backend: Backend,
    },
    /// The events before a position are no longer in the log.
    Forgotten {
        /// The first that may be.
        before: Position,
    },
}

impl Change {
    /// Whether it is synced before [`State::record`] returns.
    const fn is_synced_at_once(&self) -> bool {
        match self {
            Self::Added { .. } | Self::Removed { .. } => true,
            Self::Became { became, .. } => matches!(became, Became::Dead { .. } | Became::Purged),
            Self::Forgotten { .. } | Self::Unwanted { .. } => false,
        }
    }
}

/// What was wrong with the file at start, and was repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Changes that could not be read, with good ones behind them.
    pub damaged: u64,
    /// Bytes that were cut from the end.
    pub cut: u64,
}

/// Called once, with what happened, when nothing more can be written: the process should end.
pub type Fail = Box<dyn Fn(&io::Error) + Send + Sync>;

/// The state cannot be opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] FsError),
    /// The file has nothing of ours, or is of another version.
    #[error("the deliveries' state file is not of this version")]
    Foreign,
    /// The disk is full: the changes did not happen. The next try may succeed.
    #[error("the disk of the deliveries' state is full")]
    Full(#[source] io::Error),
    /// Reading, writing or syncing failed. Nothing more is written.
    #[error("cannot read or write the deliveries' state")]
    Io(#[from] io::Error),
    /// It failed before.
    #[error("the deliveries' state is broken")]
    Broken,
    /// There is no shorter file in the place of the old one, which stays in use.
    #[error("cannot compact the deliveries' state")]
    NotCompacted(#[source] io::Error),
}

/// What became of every event at every backend. Dropped, it syncs what was written and waits for
/// that.
pub struct State {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    core: Core,
    signal: Mutex<Signal>,
    changed: Condvar,
}

#[derive(Default)]
struct Signal {
    dirty: bool,
    closing: bool,
}

impl State {
    /// Opens the state in a directory of its own, which is made if missing (mode 0700), and
    /// starts the thread that syncs it. `fail` may be called from it.
    ///
    /// # Errors
    /// See [`StateError`].
    ///
    /// # Blocking
    /// Reads the whole file.
    pub fn open(directory: &Path, fail: Fail) -> Result<(Self, Recovered), StateError> {
        create_private_dir(directory)?;
        Self::start(Core::open(Box::new(Disk(directory.to_owned())), fail))
    }

    fn start(
        opened: Result<(Core, Recovered), StateError>,
    ) -> Result<(Self, Recovered), StateError> {
        let (core, recovered) = opened?;
        let (signal, changed) = (Mutex::new(Signal::default()), Condvar::new());
        let shared = Arc::new(Shared { core, signal, changed });
        let thread = std::thread::Builder::new().name("strait-state".to_owned()).spawn({
            let shared = shared.clone();
            move || shared.run()
        })?;
        Ok((Self { shared, thread: Some(thread) }, recovered))
    }

    /// Makes changes, in their order. Those that a kill of the process could take back are
    /// written when this returns; dead letters, purges and changes of backends, and what was
    /// written before them, are durable. All happen or, after an error, none may be relied on.
    ///
    /// # Errors
    /// See [`StateError`].
    ///
    /// # Blocking
    /// For a write, and for a sync where one of the changes asks for it.
    pub fn record(&self, changes: &[Change]) -> Result<(), StateError> {
        self.shared.core.write(changes)?;
        self.shared.tell();
        let at_once = changes.iter().any(Change::is_synced_at_once);
        if at_once { self.shared.core.sync() } else { Ok(()) }
    }

    /// As [`record`](Self::record), unless that could take longer than a thread of the runtime
    /// may stand still: where it would sync, or a shorter file is put in place just now. Nothing
    /// happened then.
    pub fn try_record(&self, changes: &[Change]) -> Option<Result<(), StateError>> {
        if changes.iter().any(Change::is_synced_at_once) {
            return None;
        }
        let written = self.shared.core.try_write(changes)?;
        self.shared.tell();
        Some(written)
    }

    /// Looks at what became of the events. Changes wait meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        self.shared.core.read(look)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.shared.signal.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the deliveries' state panicked");
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl Shared {
    /// There is something to sync.
    fn tell(&self) {
        if !std::mem::replace(&mut self.signal.lock().dirty, true) {
            self.changed.notify_one();
        }
    }

    fn run(&self) {
        while self.wait() {
            self.tend();
        }
        self.tend();
    }

    /// Waits for a change, and then for others that a sync can take along. False when closing.
    fn wait(&self) -> bool {
        let mut signal = self.signal.lock();
        self.changed.wait_while(&mut signal, |signal| !signal.dirty && !signal.closing);
        self.changed.wait_while_for(&mut signal, |signal| !signal.closing, SYNC_INTERVAL);
        signal.dirty = false;
        !signal.closing
    }

    fn tend(&self) {
        let core = &self.core;
        let synced = core.sync();
        let compacted = if core.wants_compaction() { core.compact() } else { Ok(()) };
        match synced.and(compacted) {
            Ok(()) | Err(StateError::Broken) => {}
            Err(error) => {
                let err = strait_types::Report(&error).to_string();
                tracing::error!(err, "cannot keep the deliveries' state");
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
