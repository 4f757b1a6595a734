//! The log: what was acknowledged, in segments of append-only records.
//!
//! An append is answered when its record is synced; what waits meanwhile is written and synced
//! together. Events are numbered densely from 1, and a number is never given twice: not after
//! removal, not after a restart, and not where an end was torn or damaged, which leaves a hole
//! instead. Only whole segments are removed, never the newest.
//!
//! A sync that fails is not tried again: the log ends and says so to [`Options::fail`], whose
//! owner ends the process. A full disk refuses appends and is met again by each; what was written
//! of a refused batch is taken back before the refusal is told.
//!
//! Every operation but [`append`](Log::append) and [`close`](Log::close) blocks.

mod aside;
mod disk;
mod metrics;
mod queue;
mod record;
mod recover;
mod segment;
mod store;
mod thread;
mod walk;
mod writer;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use strait_runtime::fs::{FsError, create_private_dir};
use strait_runtime::{Clock, DirLock, Entropy, LockError, Metrics, SystemClock, SystemEntropy};
use strait_types::{Classified, ErrorKind};
use tokio::sync::oneshot;

pub use self::record::Summary;
#[cfg(feature = "fuzzing")]
pub use self::record::fuzz_record;
pub use self::recover::{Cut, Damaged, Recovery};

use self::disk::{Directory, Disk};
use self::metrics::LogMetrics;
use self::queue::Queue;
use self::record::encode_summary;
use self::recover::recover;
use self::store::Store;
use self::thread::{LogThread, Shared};
use self::writer::{Encoded, Writer};
use crate::event::{Event, Position};

/// Told once, on the log's thread, what ended the log.
pub type Fail = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// How a log is written.
#[derive(Clone)]
pub struct Options {
    /// A segment takes no batch that makes it longer, unless it is empty. 64 MiB by default;
    /// taken from the disk as a segment begins.
    pub segment_bytes: u64,
    /// Events that may wait to be on disk, in bytes; one more is refused. 64 MiB by default.
    pub queue_bytes: usize,
    /// Told when the log ends because of its disk. The process has to end then: what the kernel
    /// still holds of the last batch is unknown. Does nothing by default.
    pub fail: Fail,
    /// Measures syncs. The system's by default.
    pub clock: Arc<dyn Clock>,
    /// Marks segments. The system's by default.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            queue_bytes: 64 << 20,
            fail: Arc::new(|_| {}),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("queue_bytes", &self.queue_bytes)
            .finish_non_exhaustive()
    }
}

/// An event is not in the log, or, if [`Closed`](Self::Closed), may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. A later try may succeed.
    #[error("the event log's disk is full")]
    Full,
    /// Too much waits already. A later try may succeed.
    #[error("the event log is busy")]
    Busy,
    /// Its head takes more than 1 MiB, or its body more than 256 MiB.
    #[error("an event is too large for the log")]
    TooLarge,
    /// The log was closed, or its disk failed.
    #[error("the event log is closed")]
    Closed,
}

impl Classified for AppendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Full => ErrorKind::Internal,
            Self::Busy => ErrorKind::RateLimited,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::Closed => ErrorKind::Cancelled,
        }
    }
}

/// An event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is damaged, or its position was given up when an end was cut.
    #[error("event {} of the log is damaged", .0.0)]
    Damaged(Position),
    /// The disk.
    #[error("cannot read the event log")]
    Io(#[source] io::Error),
}

impl Classified for ReadError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A file or directory.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Classified for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Locked(error) => error.kind(),
            Self::Fs(error) => error.kind(),
        }
    }
}

/// A log that is being written. Clones are the same log; when the last is dropped, what waits is
/// written and the thread ends, but only [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Log(Arc<Owner>);

struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<(JoinHandle<()>, oneshot::Receiver<()>)>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Log {
    /// Opens the log in a directory of its own, made if missing (mode 0700), and starts its
    /// thread. Says what an earlier process left torn or damaged in the newest segment; what is
    /// damaged in older ones is found when it is read.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(
        dir: &Path,
        options: Options,
        metrics: &Metrics,
    ) -> Result<(Self, Recovery), OpenError> {
        create_private_dir(dir)?;
        let lock = DirLock::acquire(&dir.join("lock"))?;
        let disk = Box::new(Directory(dir.to_owned()));
        let opened = Self::open_on(disk, Some(lock), options, metrics);
        Ok(opened.map_err(FsError::new("open the event log in", dir))?)
    }

    fn open_on(
        disk: Box<dyn Disk>,
        lock: Option<DirLock>,
        options: Options,
        metrics: &Metrics,
    ) -> io::Result<(Self, Recovery)> {
        let metrics = LogMetrics::new(metrics);
        let queue = Queue::new(options.queue_bytes, metrics.queue_bytes.clone());
        let (store, writer, recovery) =
            open_store(disk, metrics, options.segment_bytes, options.entropy)?;
        let shared = Arc::new(Shared { queue, store, _lock: lock });
        let (ended, end) = oneshot::channel();
        let thread = LogThread {
            writer,
            clock: options.clock,
            fail: options.fail,
            shared: shared.clone(),
            _ended: ended,
        };
        let handle = std::thread::Builder::new()
            .name("strait-hooks-log".to_owned())
            .spawn(move || thread.run())?;
        let owner = Owner { shared, thread: Mutex::new(Some((handle, end))) };
        Ok((Self(Arc::new(owner)), recovery))
    }

    /// Appends an event and returns its position when it is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    ///
    /// # Cancel safety
    /// Dropped while it waits, the event may be appended all the same.
    pub async fn append(&self, event: impl Into<Arc<Event>>) -> Result<Position, AppendError> {
        let result = match self.enqueue(event.into()) {
            Ok(answer) => answer.await.unwrap_or(Err(AppendError::Closed)),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.0.shared.store.metrics.failed(error);
        }
        result
    }

    fn enqueue(
        &self,
        event: Arc<Event>,
    ) -> Result<oneshot::Receiver<Result<Position, AppendError>>, AppendError> {
        let summary = encode_summary(&event).ok_or(AppendError::TooLarge)?;
        let (answer, receiver) = oneshot::channel();
        self.0.shared.queue.push(Encoded { event, summary }, answer)?;
        Ok(receiver)
    }

    /// The event at a position; none if it was removed or is not there yet.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, at: Position) -> Result<Option<Event>, ReadError> {
        self.0.shared.store.read(at)
    }

    /// The newest position that was given to an event; 0 if none was.
    #[must_use]
    pub fn head(&self) -> Position {
        self.0.shared.store.head()
    }

    /// Nothing is below this position; the head's successor if there is nothing at all.
    #[must_use]
    pub fn floor(&self) -> Position {
        self.0.shared.store.floor()
    }

    /// What [`floor`](Self::floor) is when the oldest segment is removed; none if it is the
    /// newest.
    #[must_use]
    pub(crate) fn second_floor(&self) -> Option<Position> {
        self.0.shared.store.second_floor()
    }

    /// Calls `f` for each event from a position up to the present head, in their order, until it
    /// breaks. Does not read bodies. Damaged events are left out.
    ///
    /// # Errors
    /// The disk, as in [`ReadError`].
    pub fn for_each(
        &self,
        from: Position,
        f: impl FnMut(Position, &Summary) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.0.shared.store.for_each(from, f)
    }

    /// Removes the segments all of whose events are below a position; never the newest.
    ///
    /// # Errors
    /// The disk: some may have been removed then, the oldest first.
    pub fn remove_below(&self, position: Position) -> io::Result<()> {
        self.0.shared.store.remove_below(position)
    }

    /// What the segments take of the disk, with what is taken in advance.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.shared.store.bytes()
    }

    /// Takes no more events, writes what waits, and waits for that. The first caller waits;
    /// others return at once. Another process can open the log when the last clone is gone, too.
    pub async fn close(self) {
        self.0.shared.queue.close();
        let thread = self.0.thread.lock().take();
        if let Some((handle, end)) = thread {
            // Ends when the thread lets go of the other end.
            drop(end.await);
            if handle.join().is_err() {
                tracing::error!("the event log's thread panicked");
            }
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("head", &self.head()).finish_non_exhaustive()
    }
}

fn open_store(
    disk: Box<dyn Disk>,
    metrics: LogMetrics,
    segment_bytes: u64,
    entropy: Arc<dyn Entropy>,
) -> io::Result<(Arc<Store>, Writer, Recovery)> {
    let recovered = recover(&*disk)?;
    let head = Position(recovered.next.0 - 1);
    let store = Arc::new(Store::new(disk, metrics, recovered.segments, head));
    let (current, next) = (recovered.current, recovered.next);
    let writer = Writer::new(store.clone(), segment_bytes, entropy, current, next);
    Ok((store, writer, recovered.recovery))
}
