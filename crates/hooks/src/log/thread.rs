//! The thread that writes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use strait_runtime::{Clock, DirLock};
use tokio::sync::oneshot;

use super::queue::{Batch, Queue};
use super::store::Store;
use super::writer::{Failure, Writer};
use super::{AppendError, Fail};

/// Longest wait for others to sync with.
const GATHER_MAX: Duration = Duration::from_millis(1);

/// What callers and the thread share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) store: Arc<Store>,
    /// Held until the last of both is gone.
    pub(super) _lock: Option<DirLock>,
}

/// The state of the thread.
pub(super) struct LogThread {
    pub(super) writer: Writer,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) fail: Fail,
    pub(super) shared: Arc<Shared>,
    /// Dropped when the thread ends, however it does.
    pub(super) _ended: oneshot::Sender<()>,
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.shared.queue.abandon();
        if std::thread::panicking() {
            (self.fail)(&io::Error::other("the event log's thread panicked"));
        }
    }
}

/// How long the next batch is gathered: not at all for a sender that is alone, as nobody would
/// come; otherwise twice as long as a sync takes, but never so long that a sender would notice.
/// Each sync costs as much as receiving several webhooks, whatever it covers.
fn gathering(count: usize, took: Duration) -> Duration {
    if count > 1 { (2 * took).min(GATHER_MAX) } else { Duration::ZERO }
}

impl LogThread {
    pub(super) fn run(mut self) {
        let mut gather = Duration::ZERO;
        while let Some(batch) = self.shared.queue.take(gather) {
            let (count, begun) = (batch.events.len(), self.clock.monotonic());
            let written = self.write(batch);
            gather = gathering(count, self.clock.monotonic().saturating_sub(begun));
            if let Err(error) = written {
                tracing::error!(err = %error, "the event log cannot be written any more");
                // Whoever waits or comes is refused before anything else happens.
                self.shared.queue.abandon();
                (self.fail)(&error);
                return;
            }
        }
    }

    /// Writes a batch and answers for it.
    fn write(&mut self, batch: Batch) -> io::Result<()> {
        let begun = self.clock.monotonic();
        let result = self.writer.commit(&batch.events);
        let count = batch.events.len();
        // Bodies are given back before anyone is told that there is room again.
        drop(batch.events);
        self.shared.queue.written(batch.bytes);
        let metrics = &self.shared.store.metrics;
        let (first, result) = match result {
            Ok(first) => {
                let took = self.clock.monotonic().saturating_sub(begun);
                metrics.sync_seconds.observe(took.as_secs_f64());
                // A batch has far fewer than 2^52.
                metrics.batch_records.observe(count as f64);
                (Ok(first.0), Ok(()))
            }
            Err(Failure::Full(error)) => {
                tracing::error!(err = %error, "the event log's disk is full; events are refused");
                (Err(AppendError::Full), Ok(()))
            }
            Err(Failure::Broken(error)) => (Err(AppendError::Closed), Err(error)),
        };
        for (index, answer) in (0..).zip(batch.answers) {
            // Whoever no longer waits does not want to know.
            let _ = answer.send(first.map(|first| crate::Position(first + index)));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_who_are_not_alone_wait_for_others() {
        let micros = Duration::from_micros;
        for (count, took, expected) in
            [(1, 150, 0), (2, 150, 300), (64, 150, 300), (2, 5_000, 1_000), (1, 5_000, 0)]
        {
            assert_eq!(gathering(count, micros(took)), micros(expected), "{count} {took}");
        }
    }
}
