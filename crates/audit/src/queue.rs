//! What waits to be written.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use strait_runtime::QueueMetrics;
use tokio::sync::oneshot;

use crate::error::AppendError;
use crate::head::Head;
use crate::record::Record;

/// Records that may wait to be written; one more is refused. At a thousand batches a second
/// that is seconds of work.
pub const QUEUE_RECORDS_MAX: usize = 4_096;

/// Texts that one batch takes before it is written: about a millisecond of hashing.
const BATCH_BYTES: usize = 1 << 20;

/// Records of one caller, to be written one after another.
pub(crate) struct Waiting {
    pub(crate) records: Vec<Record>,
    pub(crate) answer: oneshot::Sender<Result<Head, AppendError>>,
}

/// A bounded queue between callers and the log's thread.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// In records.
    capacity: usize,
    metrics: QueueMetrics,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    records: usize,
    closed: bool,
}

/// What the thread is to do next.
pub(crate) enum Work {
    Batch(Vec<Waiting>),
    /// The time ran out with nothing to write.
    Idle,
    /// Closed, and everything was taken.
    Closed,
}

impl Queue {
    pub(crate) fn new(capacity: usize, metrics: QueueMetrics) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), capacity, metrics }
    }

    pub(crate) fn push(&self, waiting: Waiting) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.records + waiting.records.len() > self.capacity {
            self.metrics.refused.inc();
            return Err(AppendError::QueueFull);
        }
        state.records += waiting.records.len();
        state.waiting.push_back(waiting);
        self.changed.notify_one();
        self.show(&state);
        Ok(())
    }

    /// Waits for something to do, at most `limit` if there is one.
    pub(crate) fn take(&self, limit: Option<Duration>) -> Work {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return Work::Closed;
            }
            match limit {
                None => self.changed.wait(&mut state),
                Some(limit) => {
                    if self.changed.wait_for(&mut state, limit).timed_out() {
                        return Work::Idle;
                    }
                }
            }
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some(waiting) = state.waiting.pop_front()
        {
            bytes += waiting.records.iter().map(Record::size).sum::<usize>();
            state.records -= waiting.records.len();
            batch.push(waiting);
        }
        self.show(&state);
        Work::Batch(batch)
    }

    /// Takes no more; what waits is still to be written.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Takes no more and forgets what waits: nobody is there to write it.
    pub(crate) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.records = 0;
        let forgotten = std::mem::take(&mut state.waiting);
        self.show(&state);
        drop(state);
        drop(forgotten);
    }

    fn show(&self, state: &State) {
        let records = i64::try_from(state.records).unwrap_or(i64::MAX);
        self.metrics.length.set(records);
    }
}
