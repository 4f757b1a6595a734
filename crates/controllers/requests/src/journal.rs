//! What was accepted, started and ended here, durable before the next step.
//!
//! One object per execution in a store of the agent's own, changed by compare-and-set: two
//! processes on one journal cannot both start an attempt. Records whose end the hub knows are
//! compacted to 16 bytes each, so that a request that shows up again, from a backup of the hub
//! perhaps, is still known to have run.
//!
//! Limits: [`REPORTED_MAX`] reported records are kept whole, at most [`REPORTED_BYTES_MAX`] of
//! them and for [`REPORTED_AGE`]; then
//! [`TOMBSTONES_MAX`] tombstones. When those are full, classes that are at-most-once are refused.
//! [`WRITES_MAX`] writes wait for the disk at once; more wait for their turn.

mod tombstones;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_machinery::json::{Value, parse};
use strait_machinery::object::{Body, Header, Malformed, Object};
use strait_reconcile::ObjectKey;
use strait_runtime::{Clock, Metrics};
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, ObjectName, Put, ResourceId, Scope, Store, Txn};
use strait_types::{Classified, ClusterName, ErrorKind, GroupResource, HubId, Revision};
use tokio::sync::Semaphore;

use crate::execution::{ExecutionId, Outcome, Record, State};
use tombstones::Tombstones;

/// Reported records that are kept whole.
pub(crate) const REPORTED_MAX: usize = 10_000;

/// What they may take together, bytes.
pub(crate) const REPORTED_BYTES_MAX: usize = 32 << 20;

/// How long they are kept.
pub(crate) const REPORTED_AGE: Duration = Duration::from_secs(7 * 86_400);

/// Executions that are remembered without their records.
pub(crate) const TOMBSTONES_MAX: usize = 10_000_000;

/// Writes in flight: fewer than a store lets wait for one logical cluster.
const WRITES_MAX: usize = 48;

/// A journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The store did not take a write.
    #[error("the journal took no write")]
    Commit(#[from] CommitError),
    /// Another process changed the execution: it is no longer ours.
    #[error("the execution was changed by somebody else")]
    Changed,
    /// The store holds what is no record.
    #[error("the journal holds what is no record: {0}")]
    Damaged(String),
}

impl Classified for JournalError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Commit(error) => error.kind(),
            Self::Changed => ErrorKind::Conflict,
            Self::Damaged(_) => ErrorKind::Internal,
        }
    }
}

/// A record and the write that made it so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: ExecutionId,
    pub(crate) record: Record,
    revision: Revision,
}

/// The journal. Clones share it.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Inner>);

struct Inner {
    store: Store,
    executions: ResourceId,
    hub: HubId,
    clock: Arc<dyn Clock>,
    writes: Semaphore,
    tombstones: Mutex<Tombstones>,
    metrics: JournalMetrics,
}

struct JournalMetrics {
    seconds: Histogram,
    tombstones: Gauge,
}

impl Journal {
    /// Takes over a store that is the journal's alone, and the records in it, which all belong
    /// to that hub.
    ///
    /// # Errors
    /// The store holds what is no record.
    pub(crate) fn open(
        store: Store,
        hub: HubId,
        clock: Arc<dyn Clock>,
        metrics: &Metrics,
    ) -> Result<(Self, Vec<Entry>), JournalError> {
        let executions = ResourceId::new("requests.strait.dev", "executions", "");
        let tombstones = Tombstones::read(&store)?;
        let mut entries = Vec::new();
        let snapshot = store.snapshot(&executions);
        for (_, name, object) in snapshot.iter(&Scope::All) {
            entries.push(decode(name, object)?);
        }
        let seconds = Histogram::new(exponential_buckets(0.000_1, 2.0, 16));
        let stones = Gauge::default();
        stones.set(i64::try_from(tombstones.len()).unwrap_or(i64::MAX));
        metrics.register(
            "strait_requests_journal_seconds",
            "Time of one write to the journal, sync included",
            seconds.clone(),
        );
        metrics.register(
            "strait_requests_tombstones",
            "Executions that are remembered without their records",
            stones.clone(),
        );
        let inner = Inner {
            store,
            executions,
            hub,
            clock,
            writes: Semaphore::new(WRITES_MAX),
            tombstones: Mutex::new(tombstones),
            metrics: JournalMetrics { seconds, tombstones: stones },
        };
        Ok((Self(Arc::new(inner)), entries))
    }

    /// Names an attempt of a request.
    pub(crate) fn id(
        &self,
        resource: &GroupResource,
        key: &ObjectKey,
        attempt: u32,
    ) -> ExecutionId {
        ExecutionId::new(&self.0.hub, resource, key, attempt)
    }

    /// Whether a request ran here once and is forgotten; `first` names its first attempt.
    pub(crate) fn is_forgotten(&self, first: &ExecutionId) -> bool {
        self.0.tombstones.lock().contains(first)
    }

    /// Whether another execution could still be remembered for ever.
    pub(crate) fn has_room(&self) -> bool {
        self.0.tombstones.lock().len() < TOMBSTONES_MAX
    }

    /// Writes the first record of an execution; durable on return.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still write.
    pub(crate) async fn create(&self, record: Record) -> Result<Entry, JournalError> {
        let id = self.attempt_of(&record, record.attempt)?;
        self.put(id, record, Expect::Absent).await
    }

    /// Writes the next record of an execution; durable on return.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still write.
    pub(crate) async fn update(
        &self,
        before: &Entry,
        record: Record,
    ) -> Result<Entry, JournalError> {
        self.put(before.id.clone(), record, Expect::Revision(before.revision)).await
    }

    fn attempt_of(&self, record: &Record, attempt: u32) -> Result<ExecutionId, JournalError> {
        let key = record.request.key();
        let key = key.ok_or_else(|| JournalError::Damaged("a record without a key".to_owned()))?;
        Ok(self.id(&record.request.group_resource(), &key, attempt))
    }

    async fn put(
        &self,
        id: ExecutionId,
        record: Record,
        expect: Expect,
    ) -> Result<Entry, JournalError> {
        let key = self.key(&id);
        let (body, header) = encode(&id, &record)?;
        let put = Put { key: key.clone(), body, header, lease: None };
        let compares = vec![Compare { key, expect }];
        let txn = Txn { compares, puts: vec![put], deletes: Vec::new() };
        let revision = self.commit(txn).await?;
        Ok(Entry { id, record, revision })
    }

    /// Takes back a record whose execution never began.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub(crate) async fn withdraw(&self, entry: &Entry) -> Result<(), JournalError> {
        let key = self.key(&entry.id);
        let expect = Expect::Revision(entry.revision);
        let compares = vec![Compare { key: key.clone(), expect }];
        self.commit(Txn { compares, puts: Vec::new(), deletes: vec![key] }).await?;
        Ok(())
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, JournalError> {
        let _turn = self.0.writes.acquire().await;
        let begun = self.0.clock.monotonic();
        // All in one queue: fairness between tenants is decided before.
        let committed = self.0.store.commit(&ClusterName::root(), txn).await;
        let took = self.0.clock.monotonic().saturating_sub(begun);
        self.0.metrics.seconds.observe(took.as_secs_f64());
        match committed {
            Ok(committed) => Ok(committed.revision),
            Err(CommitError::Refused(_)) => Err(JournalError::Changed),
            Err(error) => Err(error.into()),
        }
    }

    fn key(&self, id: &ExecutionId) -> Key {
        let name = ObjectName::cluster_scoped(id.as_str());
        Key::new(self.0.executions.clone(), ClusterName::root(), name)
    }

    /// Forgets records whose end the hub knows, but for their tombstones, which are durable
    /// before the records go.
    ///
    /// # Errors
    /// See [`JournalError`]; what was not forgotten is so later.
    pub(crate) async fn forget(&self, going: &[Entry]) -> Result<(), JournalError> {
        let stones = going.iter().map(|entry| {
            let first = self.attempt_of(&entry.record, 1)?;
            Ok(first.tombstone())
        });
        let stones = stones.collect::<Result<Vec<_>, JournalError>>()?;
        let chunk = self.0.tombstones.lock().chunk_with(&stones);
        self.commit(chunk.txn()?).await?;
        let len = {
            let mut tombstones = self.0.tombstones.lock();
            tombstones.commit(chunk);
            tombstones.len()
        };
        self.0.metrics.tombstones.set(i64::try_from(len).unwrap_or(i64::MAX));
        for entry in going {
            self.withdraw(entry).await?;
        }
        Ok(())
    }
}

/// Records that can be forgotten: reported, and beyond the limits of number, size and age,
/// oldest first. At most one chunk of tombstones at a time.
pub(crate) fn surplus<'a>(entries: impl Iterator<Item = &'a Entry>, now: Timestamp) -> Vec<Entry> {
    let reported = |entry: &&Entry| matches!(entry.record.state, State::Reported { .. });
    let mut reported: Vec<_> = entries.filter(reported).collect();
    let finished = |entry: &Entry| entry.record.times.finished.unwrap_or(Timestamp::MIN);
    reported.sort_by_key(|entry| std::cmp::Reverse(finished(entry)));
    let mut bytes = 0;
    let kept = reported.iter().take(REPORTED_MAX).take_while(|entry| {
        let age = now.duration_since(finished(entry));
        bytes += weight(entry);
        bytes <= REPORTED_BYTES_MAX && (age.is_negative() || age.unsigned_abs() <= REPORTED_AGE)
    });
    let kept = kept.count();
    let going = reported.split_off(kept).into_iter().rev();
    going.take(tombstones::CHUNK_STONES).cloned().collect()
}

/// Bytes of a record, roughly.
fn weight(entry: &Entry) -> usize {
    const FIXED: usize = 1 << 10;
    match &entry.record.state {
        State::Reported { outcome: Outcome::Succeeded { results } } => {
            FIXED + results.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>()
        }
        _ => FIXED,
    }
}

fn encode(id: &ExecutionId, record: &Record) -> Result<(Body, Header), JournalError> {
    let damaged = |error: &dyn std::fmt::Display| JournalError::Damaged(error.to_string());
    let text = serde_json::to_vec(record).map_err(|error| damaged(&error))?;
    let mut value = Value::object();
    value.set(&["metadata", "name"], id.as_str());
    value.set(&["metadata", "uid"], &*record.request.uid);
    value.set(&["record"], parse(&text).map_err(|error| damaged(&error))?);
    let encoded = || -> Result<_, Malformed> { Ok((Body::encode(&value)?, Header::of(&value)?)) };
    encoded().map_err(|error| damaged(&error))
}

fn decode(name: &ObjectName, object: &Object) -> Result<Entry, JournalError> {
    let damaged =
        |error: &dyn std::fmt::Display| JournalError::Damaged(format!("{}: {error}", name.name()));
    let value = object.to_value();
    let record = value.get("record").map(Value::to_bytes).unwrap_or_default();
    let record = serde_json::from_slice(&record).map_err(|error| damaged(&error))?;
    let id = ExecutionId::of_journal(name.name());
    Ok(Entry { id, record, revision: object.revision })
}

#[cfg(test)]
mod tests;
