//! What waits to be written, bounded by its bytes.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::oneshot;

use super::AppendError;
use super::writer::Encoded;
use crate::event::Position;

/// What one sync makes durable, if as much waits: longer batches would make the first wait for
/// the last.
pub(super) const BATCH_BYTES: usize = 1 << 20;

pub(super) type Answer = oneshot::Sender<Result<Position, AppendError>>;

/// Between callers and the log's thread.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// In bytes.
    capacity: usize,
    length: Gauge,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Encoded, Answer)>,
    /// Of what waits and of what is being written.
    bytes: usize,
    closed: bool,
}

/// What is written together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Encoded>,
    /// As many as events.
    pub(super) answers: Vec<Answer>,
    pub(super) bytes: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize, length: Gauge) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), capacity, length }
    }

    /// An event longer than the queue is taken when nothing else waits.
    pub(super) fn push(&self, event: Encoded, answer: Answer) -> Result<(), AppendError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.bytes > 0 && state.bytes.saturating_add(event.bytes()) > self.capacity {
            return Err(AppendError::Busy);
        }
        state.bytes += event.bytes();
        state.waiting.push_back((event, answer));
        self.changed.notify_one();
        self.show(&state);
        Ok(())
    }

    /// Waits for something to do, and then for so long that others can come along; none when the
    /// queue was closed and everything was taken.
    pub(super) fn take(&self, gather: Duration) -> Option<Batch> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
        if !gather.is_zero() && !state.closed && state.bytes < BATCH_BYTES {
            // Not on the condition: each who comes would wake this thread.
            parking_lot::MutexGuard::unlocked(&mut state, || std::thread::sleep(gather));
        }
        let mut batch = Batch::default();
        while let Some((event, _)) = state.waiting.front()
            && (batch.events.is_empty() || batch.bytes + event.bytes() <= BATCH_BYTES)
            && let Some((event, answer)) = state.waiting.pop_front()
        {
            batch.bytes += event.bytes();
            batch.events.push(event);
            batch.answers.push(answer);
        }
        Some(batch)
    }

    /// Gives back the room of a batch that was written.
    pub(super) fn written(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
        self.show(&state);
    }

    /// Takes no more; what waits is still to be written.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Takes no more and forgets what waits: nobody is there to write it.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.bytes = 0;
        let forgotten = std::mem::take(&mut state.waiting);
        self.show(&state);
        drop(state);
        drop(forgotten);
    }

    fn show(&self, state: &State) {
        self.length.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }
}
