//! What a gateway keeps on disk.
//!
//! ```text
//! VERSION        format, role and id of what lies here
//! lock           held while a gateway runs
//! log/           events
//! state/         what became of them
//! backends.json  those that were added while it ran
//! purged         events whose bodies are not given out any more
//! audit/         what operators did, where no hub keeps that
//! audit-head     how far
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strait_runtime::{Context, DataDir, DataDirError, Layout, random_16};
use strait_types::{Report, Uid};

use super::StartError;
use crate::deliver::Keep;
use crate::log::{Log, Options, Recovery};
use crate::state::{Recovered, State};

/// The directory that a gateway keeps everything in.
pub(super) type Directory = DataDir<Uid>;

const LAYOUT: Layout =
    Layout { role: "hooks", format: 1, entries: &["log", "state", "backends.json", "audit"] };

/// An open directory.
pub(super) struct Disk {
    /// Held for its lock.
    pub(super) directory: Directory,
    /// Where it is.
    pub(super) path: PathBuf,
    pub(super) log: Log,
    pub(super) state: Arc<State>,
}

impl Disk {
    /// Opens a directory, which is made if missing, and tells what an earlier process left torn
    /// or damaged. When a sync fails later, the process ends: what the kernel still holds is
    /// unknown, and only a start reads the disk again.
    ///
    /// # Blocking
    /// Reads the newest segment and the whole state.
    pub(super) fn open(path: &Path, context: &Context) -> Result<Self, StartError> {
        let entropy = context.entropy.clone();
        let directory = Directory::open(path, &LAYOUT, || Uid::from_random(random_16(&*entropy)));
        let directory = directory.map_err(|error| unusable(path, error))?;
        let options = Options {
            fail: Arc::new(|error| end("the event log", error)),
            clock: context.clock.clone(),
            entropy: context.entropy.clone(),
            ..Options::default()
        };
        let (log, recovery) = Log::open(&directory.join("log"), options, &context.metrics)?;
        let fail = Box::new(|error: &io::Error| end("the deliveries' state", error));
        let (state, recovered) = State::open(&directory.join("state"), fail)?;
        tell(&recovery, recovered);
        Ok(Self { directory, path: path.to_owned(), log, state: Arc::new(state) })
    }

    /// What deliveries need of it.
    pub(super) fn keep(&self) -> Keep {
        Keep::Durable { log: self.log.clone(), state: self.state.clone() }
    }
}

/// A read-only root is what a container has that was never asked to keep anything.
fn unusable(path: &Path, error: DataDirError) -> StartError {
    match error {
        DataDirError::Fs(error) if is_for_readers(error.io()) => {
            StartError::Volume { path: path.display().to_string(), source: error }
        }
        error => StartError::Directory(error),
    }
}

fn is_for_readers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

fn end(what: &str, error: &io::Error) {
    let err = Report(error).to_string();
    tracing::error!(err, "{what} cannot be synced; ending, a start reads the disk again");
    std::process::abort();
}

fn tell(recovery: &Recovery, recovered: Recovered) {
    if let Some(cut) = &recovery.cut {
        let (segment, at, bytes) = (&cut.segment, cut.at, cut.bytes);
        tracing::warn!(segment, at, bytes, "the event log ended in something torn, which was cut");
    }
    for damaged in &recovery.damaged {
        let (segment, at, bytes) = (&damaged.segment, damaged.at, damaged.bytes);
        let (first, last) = (damaged.positions.start().0, damaged.positions.end().0);
        let kept = damaged.kept.as_deref().unwrap_or("nowhere");
        tracing::error!(segment, at, bytes, first, last, kept, "events of the log are damaged");
    }
    if recovered != Recovered::default() {
        let Recovered { damaged, cut } = recovered;
        tracing::warn!(damaged, cut, "the deliveries' state was repaired; some may be repeated");
    }
}
