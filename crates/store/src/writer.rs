//! The one thread that changes a store.
//!
//! It takes what waits, commits it as one batch, publishes it and answers, and never idles
//! while something waits. Between batches it deletes what expired and compacts a slice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use strait_machinery::object::Object;
use strait_runtime::Clock;
use strait_types::{ClusterName, Revision};
use tokio::sync::oneshot;

use crate::Key;
use crate::engine::{self, Commit, Engine, EngineError, LeaseId, Outcome};
use crate::index::{Change, Index};
use crate::metrics::Metrics;
use crate::queue::FairQueue;
use crate::store::{CommitError, Committed, FatalHook, Health, Put, Retention, Txn};

/// Rows that one slice of compaction looks at.
const COMPACT_ROWS: u32 = 1000;

/// Keys that one slice of expiry deletes.
const EXPIRE_KEYS: u32 = 256;

/// How often expiry, compaction and, after a failure, the disk are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// How often the revision is noted for compaction by age.
const SAMPLE: Duration = Duration::from_secs(30);

/// A transaction and where its answer goes.
pub(crate) struct Pending {
    pub(crate) txn: Txn,
    pub(crate) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

/// Work for the writer that is not a transaction. Each is durable when answered.
pub(crate) enum Errand {
    Grant(Duration, oneshot::Sender<Result<LeaseId, EngineError>>),
    KeepAlive(LeaseId, Duration, oneshot::Sender<Result<bool, EngineError>>),
    SetMeta(String, Vec<u8>, oneshot::Sender<Result<(), EngineError>>),
}

/// What callers and the writer share.
pub(crate) struct Inbox {
    state: Mutex<InboxState>,
    wake: Condvar,
}

struct InboxState {
    queue: FairQueue<Pending>,
    errands: VecDeque<Errand>,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        let state = InboxState { queue: FairQueue::new(), errands: VecDeque::new(), closed: false };
        Self { state: Mutex::new(state), wake: Condvar::new() }
    }

    /// Adds a transaction.
    pub(crate) fn push(&self, cluster: ClusterName, pending: Pending) -> Result<(), CommitError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(CommitError::Closed);
        }
        let cost = pending.txn.cost();
        state.queue.push(cluster, cost, pending).map_err(|_| CommitError::Busy)?;
        self.wake.notify_one();
        Ok(())
    }

    /// Adds an errand; false once closed.
    pub(crate) fn run_errand(&self, errand: Errand) -> bool {
        let mut state = self.state.lock();
        if !state.closed {
            state.errands.push_back(errand);
            self.wake.notify_one();
        }
        !state.closed
    }

    /// Lets the writer finish what waits and end.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }
}

/// The writer thread's state.
pub(crate) struct Writer {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) index: Arc<Index>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) health: Arc<Mutex<Health>>,
    pub(crate) floor: Arc<AtomicU64>,
    pub(crate) retention: Retention,
    pub(crate) fatal: FatalHook,
    /// Times and the newest revision then, oldest first.
    pub(crate) samples: VecDeque<(Duration, Revision)>,
}

impl Writer {
    /// Runs until the inbox is closed and empty.
    pub(crate) fn run(mut self) {
        let mut tidied = self.clock.monotonic();
        loop {
            let (batch, errands, closed) = self.wait();
            let idle = batch.is_empty() && errands.is_empty();
            if !batch.is_empty() {
                self.commit(batch);
            }
            for errand in errands {
                self.run_errand(errand);
            }
            if idle && closed {
                return;
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(tidied) >= HOUSEKEEPING {
                tidied = now;
                self.keep_house(now);
            }
        }
    }

    fn wait(&self) -> (Vec<Pending>, VecDeque<Errand>, bool) {
        let mut state = self.inbox.state.lock();
        if state.queue.len() == 0 && state.errands.is_empty() && !state.closed {
            self.inbox.wake.wait_for(&mut state, HOUSEKEEPING);
        }
        self.metrics.waiting.set(state.queue.len().cast_signed() as i64);
        (state.queue.take(), std::mem::take(&mut state.errands), state.closed)
    }

    fn commit(&self, batch: Vec<Pending>) {
        let commits: Vec<Commit> = batch.iter().map(|pending| pending.txn.to_engine()).collect();
        self.metrics.batch.observe(commits.len() as f64);
        let started = self.clock.monotonic();
        let outcomes = self.engine.commit(&commits);
        self.metrics.commit.observe(self.clock.monotonic().saturating_sub(started).as_secs_f64());
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let error = self.failed(&error);
                for pending in batch {
                    let _ = pending.answer.send(Err(error.clone()));
                }
                return;
            }
        };
        self.recovered();
        let mut changes = Vec::new();
        let mut answers = Vec::with_capacity(batch.len());
        let mut up_to = self.index.published();
        for (pending, outcome) in batch.into_iter().zip(outcomes) {
            let answer = match outcome {
                Outcome::Refused(compare) => {
                    self.metrics.refused.inc();
                    Err(CommitError::Refused(compare))
                }
                Outcome::Committed(revision) => {
                    up_to = revision;
                    Ok(Committed { revision, objects: apply(pending.txn, revision, &mut changes) })
                }
            };
            answers.push((pending.answer, answer));
        }
        self.publish(changes, up_to);
        for (channel, answer) in answers {
            let _ = channel.send(answer);
        }
    }

    fn publish(&self, changes: Vec<Change>, up_to: Revision) {
        self.index.publish(changes, up_to);
        self.metrics.revision.set(up_to.0.cast_signed());
        let history = self.index.retained_bytes.load(Ordering::Relaxed);
        self.metrics.history.set(history.cast_signed() as i64);
    }

    /// Notes a failure and says what the waiting callers get to know of it.
    fn failed(&self, error: &EngineError) -> CommitError {
        self.metrics.failures.inc();
        let report = strait_types::Report(error).to_string();
        let (health, answer) = match error {
            EngineError::Full => (Health::Full, CommitError::Full),
            _ => (Health::Failing, CommitError::Failed),
        };
        let mut state = self.health.lock();
        if *state != health {
            tracing::error!(err = %report, "the store takes no writes");
            *state = health;
        }
        drop(state);
        if matches!(error, EngineError::Sync(_)) {
            // Said first: nothing follows.
            (self.fatal)(error);
        }
        answer
    }

    fn recovered(&self) {
        let mut state = self.health.lock();
        if *state != Health::Good {
            tracing::info!("the store takes writes again");
            *state = Health::Good;
        }
    }

    fn run_errand(&self, errand: Errand) {
        let now = self.clock.now();
        match errand {
            Errand::Grant(ttl, answer) => self.answer(answer, self.engine.grant(ttl, now)),
            Errand::KeepAlive(lease, ttl, answer) => {
                self.answer(answer, self.engine.keep_alive(lease, ttl, now));
            }
            Errand::SetMeta(name, value, answer) => {
                self.answer(answer, self.engine.set_meta(&name, &value));
            }
        }
    }

    fn answer<T>(
        &self,
        answer: oneshot::Sender<Result<T, EngineError>>,
        result: Result<T, EngineError>,
    ) {
        if let Err(error) = &result {
            self.failed(error);
        }
        let _ = answer.send(result);
    }

    fn keep_house(&mut self, now: Duration) {
        if *self.health.lock() != Health::Good {
            // Nobody may be writing: find out whether the disk takes writes again.
            match self.engine.set_meta("probe", b"") {
                Ok(()) => self.recovered(),
                Err(error) => drop(self.failed(&error)),
            }
        }
        if let Err(error) = self.expire(self.clock.now()) {
            self.failed(&error);
        }
        if let Err(error) = self.compact(now) {
            self.failed(&error);
        }
    }

    fn expire(&self, now: Timestamp) -> Result<(), EngineError> {
        let rows = self.engine.expire(now, EXPIRE_KEYS)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        let up_to = last.revision;
        let deletion =
            |row: engine::Row| Change { revision: row.revision, key: row.key, object: None };
        self.publish(rows.into_iter().map(deletion).collect(), up_to);
        Ok(())
    }

    /// Compacts one slice of what is older than the retention.
    fn compact(&mut self, now: Duration) -> Result<(), EngineError> {
        let head = self.index.published();
        let due = self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= SAMPLE);
        if due {
            self.samples.push_back((now, head));
        }
        while let [(_, _), (next, _), ..] = self.samples.make_contiguous()
            && now.saturating_sub(*next) >= self.retention.age
        {
            self.samples.pop_front();
        }
        let old_enough = match self.samples.front() {
            Some((at, revision)) if now.saturating_sub(*at) >= self.retention.age => *revision,
            _ => return Ok(()),
        };
        let floor = old_enough.0.min(head.0.saturating_sub(self.retention.revisions));
        if floor > self.floor.load(Ordering::Acquire) {
            // Raised first: a read from below must not start while rows go.
            self.floor.store(floor, Ordering::Release);
            self.metrics.floor.set(floor.cast_signed());
        }
        self.engine.compact(Revision(self.floor.load(Ordering::Acquire)), COMPACT_ROWS)?;
        Ok(())
    }
}

/// The changes of a committed transaction, and its objects.
fn apply(txn: Txn, revision: Revision, changes: &mut Vec<Change>) -> Vec<Arc<Object>> {
    let mut objects = Vec::with_capacity(txn.puts.len());
    for Put { key, body, header, .. } in txn.puts {
        let object = Object::new(revision, body, header);
        objects.push(object.clone());
        changes.push(Change { revision, key, object: Some(object) });
    }
    let deletion = |key: Key| Change { revision, key, object: None };
    changes.extend(txn.deletes.into_iter().map(deletion));
    objects
}
