//! The thread that writes, and what it shares with callers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use strait_runtime::{Clock, Metrics};
use strait_types::Report;
use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::head::Head;
use crate::metrics::LogMetrics;
use crate::mirror::Mirror;
use crate::queue::{QUEUE_RECORDS_MAX, Queue, Waiting, Work};
use crate::record::Record;
use crate::writer::{Failure, Writer};

/// The mirror is at most this much behind, plus one batch.
const MIRROR_INTERVAL: Duration = Duration::from_secs(1);

/// Whether lines can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    /// The last try succeeded, or there was none.
    Well,
    /// The disk was full at the last try. Ends with a try that succeeds.
    Full,
    /// What the files hold is unknown. Does not end.
    Broken,
}

/// What callers and the thread share.
pub(crate) struct Shared {
    pub(crate) queue: Queue,
    pub(crate) metrics: LogMetrics,
    health: AtomicU8,
}

impl Shared {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let queue = metrics.queue("audit", QUEUE_RECORDS_MAX);
        Self {
            queue: Queue::new(QUEUE_RECORDS_MAX, queue),
            metrics: LogMetrics::new(metrics),
            health: AtomicU8::new(Health::Well as u8),
        }
    }

    pub(crate) fn health(&self) -> Health {
        let health = self.health.load(Ordering::Relaxed);
        let all = [Health::Well, Health::Full];
        let found = all.into_iter().find(|known| *known as u8 == health);
        found.unwrap_or(Health::Broken)
    }

    fn set_health(&self, health: Health) {
        self.health.store(health as u8, Ordering::Relaxed);
        let well = i64::from(health == Health::Well);
        self.metrics.healthy.set(well);
    }
}

/// The state of the thread that writes.
pub(crate) struct LogThread {
    pub(crate) writer: Writer,
    pub(crate) mirror: Box<dyn Mirror>,
    pub(crate) saved: Option<Head>,
    /// When the mirror was last saved, by the monotonic clock.
    pub(crate) saved_at: Option<Duration>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) shared: Arc<Shared>,
    /// Dropped when the thread ends, however it does.
    pub(crate) _ended: oneshot::Sender<()>,
}

impl Drop for LogThread {
    fn drop(&mut self) {
        self.shared.queue.abandon();
    }
}

impl LogThread {
    pub(crate) fn run(mut self) {
        loop {
            match self.shared.queue.take(self.mirror_due_in()) {
                Work::Batch(batch) => self.write(batch),
                Work::Idle => {}
                Work::Closed => break,
            }
            if self.mirror_due_in() == Some(Duration::ZERO) {
                self.save_mirror();
            }
        }
        if self.saved != Some(self.writer.head()) {
            self.save_mirror();
        }
    }

    fn write(&mut self, batch: Vec<Waiting>) {
        let records = batch.iter().map(|waiting| waiting.records.len() as u64).sum();
        let result = self.commit(batch.iter().map(|waiting| &*waiting.records));
        if result.is_ok() {
            self.shared.metrics.records.inc_by(records);
        }
        for (index, waiting) in batch.into_iter().enumerate() {
            let answer = match &result {
                Ok(heads) => Ok(heads[index]),
                Err(error) => Err(*error),
            };
            // Whoever no longer waits does not want to know.
            let _ = waiting.answer.send(answer);
        }
    }

    /// Writes what was found at opening. A full disk does not prevent opening.
    pub(crate) fn write_notes(&mut self) -> std::io::Result<()> {
        match self.writer.commit(std::iter::empty()) {
            Ok(_) => self.shared.set_health(Health::Well),
            Err(Failure::Full(_)) => self.shared.set_health(Health::Full),
            Err(Failure::Broken(error)) => return Err(error),
        }
        Ok(())
    }

    fn commit<'a>(
        &mut self,
        callers: impl Iterator<Item = &'a [Record]>,
    ) -> Result<Vec<Head>, AppendError> {
        if self.shared.health() == Health::Broken {
            return Err(AppendError::Broken);
        }
        let begun = self.clock.monotonic();
        match self.writer.commit(callers) {
            Ok(heads) => {
                let took = self.clock.monotonic().saturating_sub(begun);
                self.shared.metrics.commit_seconds.observe(took.as_secs_f64());
                self.shared.set_health(Health::Well);
                Ok(heads)
            }
            Err(Failure::Full(error)) => {
                tracing::error!(err = %error, "the audit log's disk is full; crossings are refused");
                self.shared.set_health(Health::Full);
                Err(AppendError::NoSpace)
            }
            Err(Failure::Broken(error)) => {
                tracing::error!(
                    err = %error,
                    "the audit log cannot be written; crossings are refused until a restart"
                );
                self.shared.set_health(Health::Broken);
                Err(AppendError::Broken)
            }
        }
    }

    /// How long until the mirror has to be saved; none if it is up to date.
    fn mirror_due_in(&self) -> Option<Duration> {
        let head = self.writer.head();
        if head.seq == 0 || self.saved == Some(head) {
            return None;
        }
        let Some(saved_at) = self.saved_at else {
            return Some(Duration::ZERO);
        };
        let due = saved_at + MIRROR_INTERVAL;
        Some(due.saturating_sub(self.clock.monotonic()))
    }

    fn save_mirror(&mut self) {
        let head = self.writer.head();
        if head.seq == 0 {
            return;
        }
        // A failure waits out the interval as well.
        self.saved_at = Some(self.clock.monotonic());
        match self.mirror.save(head) {
            Ok(()) => self.saved = Some(head),
            Err(error) => {
                self.shared.metrics.mirror_failures.inc();
                let error = Report(&*error).to_string();
                tracing::warn!(err = error, "cannot save the audit log's position");
            }
        }
    }
}
