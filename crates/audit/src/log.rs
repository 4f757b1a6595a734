//! The running log: callers on one side, the thread that writes on the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use strait_runtime::fs::{FsError, create_private_dir};
use strait_runtime::{Clock, Metrics};
use tokio::sync::oneshot;

use crate::error::{AppendError, OpenError};
use crate::head::Head;
use crate::mirror::Mirror;
use crate::queue::Waiting;
use crate::record::{RECORD_BYTES_MAX, Record};
use crate::recover::recover;
use crate::thread::{Health, LogThread, Shared};
use crate::volume::{Disk, Volume, has_room};
use crate::writer::Writer;

/// Where and how a log is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's own directory, made if missing (mode 0700).
    pub directory: PathBuf,
    /// The `writer` of every line: the hub's id, or the agent's instance.
    pub writer: String,
    /// A segment of this size is not written on. 64 MiB by default.
    pub segment_bytes: u64,
}

impl Options {
    /// A log in `directory`, written by `writer`.
    #[must_use]
    pub const fn new(directory: PathBuf, writer: String) -> Self {
        Self { directory, writer, segment_bytes: 64 << 20 }
    }
}

/// A log that is being written. Clones are the same log; when the last is dropped, what waits is
/// written and the thread ends, but only [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct AuditLog(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    directory: PathBuf,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl AuditLog {
    /// Opens the log, cuts a torn tail, and starts its thread. What was repaired or found
    /// missing is in the log before this returns, unless the disk is full: then it comes
    /// before the next line.
    ///
    /// Blocks.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        options: Options,
        mirror: Box<dyn Mirror>,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        let volume = Box::new(Disk(options.directory.clone()));
        Self::open_on(volume, options, mirror, clock, metrics)
    }

    pub(crate) fn open_on(
        volume: Box<dyn Volume>,
        options: Options,
        mut mirror: Box<dyn Mirror>,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<Self, OpenError> {
        let directory = options.directory;
        create_private_dir(&directory)?;
        let mirrored = mirror.load().map_err(OpenError::Mirror)?;
        let recovered = recover(&directory, mirrored)?;
        let shared = Arc::new(Shared::new(metrics));
        let failed = || FsError::new("write the audit log in", &directory);
        let writer = Writer::new(
            volume,
            directory.clone(),
            options.writer,
            options.segment_bytes,
            clock.clone(),
            recovered,
        );
        let (ended, end) = oneshot::channel();
        let mut thread = LogThread {
            writer: writer.map_err(failed())?,
            mirror,
            saved: mirrored,
            saved_at: None,
            clock,
            shared: shared.clone(),
            _ended: ended,
        };
        thread.write_notes().map_err(failed())?;
        let handle = std::thread::Builder::new()
            .name("strait-audit".to_owned())
            .spawn(move || thread.run())
            .map_err(failed())?;
        Ok(Self(Arc::new(Owner { shared, directory, thread: Mutex::new(Some((handle, end))) })))
    }

    /// Appends records in this order and returns, when they are durable, the position after the
    /// last. Either all are in the log then, or, after an error, none may be relied on.
    ///
    /// # Errors
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    /// Dropped while it waits, the records may be written all the same.
    pub async fn append(&self, records: Vec<Record>) -> Result<Head, AppendError> {
        let result = match self.enqueue(records) {
            Ok(answer) => answer.await.unwrap_or(Err(AppendError::Broken)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.0.shared.metrics.failed(error);
        }
        result
    }

    fn enqueue(
        &self,
        records: Vec<Record>,
    ) -> Result<oneshot::Receiver<Result<Head, AppendError>>, AppendError> {
        if self.0.shared.health() == Health::Broken {
            return Err(AppendError::Broken);
        }
        if records.iter().any(|record| record.size() > RECORD_BYTES_MAX) {
            return Err(AppendError::TooLarge);
        }
        let (answer, receiver) = oneshot::channel();
        self.0.shared.queue.push(Waiting { records, answer })?;
        Ok(receiver)
    }

    /// Whether the next append can be expected to succeed: nothing failed, or the disk was full
    /// and has space again.
    #[must_use]
    pub fn healthy(&self) -> bool {
        match self.0.shared.health() {
            Health::Well => true,
            Health::Full => has_room(&self.0.directory),
            Health::Broken => false,
        }
    }

    /// Takes no more records, writes what waits, saves the mirror, and waits for all that. The
    /// first caller waits; others return at once.
    pub async fn close(&self) {
        self.0.shared.queue.close();
        let thread = self.0.thread.lock().take();
        if let Some((handle, end)) = thread {
            // Ends when the thread lets go of the other end.
            drop(end.await);
            if handle.join().is_err() {
                tracing::error!("the audit log's thread panicked");
            }
        }
    }
}

impl std::fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let directory = &self.0.directory;
        f.debug_struct("AuditLog").field("directory", directory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
