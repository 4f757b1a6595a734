//! The store: what everything above this crate talks to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use strait_machinery::json::STACK_BYTES;
use strait_machinery::object::{Body, Header, Object};
use strait_runtime::Clock;
use strait_types::{Classified, ClusterName, ErrorKind, Revision};
use tokio::sync::oneshot;

use crate::engine::{Commit, Compare, Engine, EngineError, Extent, LeaseId, Row, Write};
use crate::index::{Change, Gone, Index, Root};
use crate::metrics::Metrics;
use crate::watch::{Watch, WatchError, decode};
use crate::writer::{Errand, Inbox, Pending, Writer};
use crate::{Key, ResourceId, Scope, Snapshot};

/// Changes published at once while opening.
const REPLAY_CHANGES: usize = 1024;

/// Called when the disk's state is unknown. It must end the process.
pub type FatalHook = Arc<dyn Fn(&EngineError) + Send + Sync>;

/// How a store behaves.
#[derive(Clone)]
pub struct Options {
    /// Memory for recent events and roots, bytes. At the limit the oldest go; readers that
    /// want them go to the log.
    pub history_bytes: usize,
    /// What compaction leaves.
    pub retention: Retention,
    /// What to do when a sync fails. The default aborts the process.
    pub fatal: FatalHook,
}

/// What compaction leaves of the log: everything younger than both.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Time that a watch may be away.
    pub age: Duration,
    /// Number of newest revisions.
    pub revisions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            history_bytes: 64 << 20,
            retention: Retention { age: Duration::from_secs(600), revisions: 10_000 },
            fatal: Arc::new(|_| std::process::abort()),
        }
    }
}

/// Whether a store takes writes. Reads go on in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Good,
    /// No space is left.
    Full,
    /// The storage reports errors.
    Failing,
}

/// Why a transaction did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The compare of this index did not hold.
    #[error("compare {0} did not hold")]
    Refused(usize),
    /// Too many transactions of this logical cluster wait already.
    #[error("too many writes of this logical cluster are waiting")]
    Busy,
    /// No space is left.
    #[error("no space is left for the store")]
    Full,
    /// The storage failed; the writer logged how.
    #[error("the store failed")]
    Failed,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Classified for CommitError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused(_) => ErrorKind::Conflict,
            Self::Busy => ErrorKind::RateLimited,
            Self::Closed => ErrorKind::Cancelled,
            Self::Full | Self::Failed => ErrorKind::Internal,
        }
    }
}

/// An object to write.
#[derive(Clone, Debug)]
pub struct Put {
    /// Where.
    pub key: Key,
    /// Its bytes.
    pub body: Body,
    /// Its header.
    pub header: Header,
    /// What its life hangs on.
    pub lease: Option<LeaseId>,
}

/// Writes that happen together, at one revision, if every compare holds.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// All must hold at the moment of the commit.
    pub compares: Vec<Compare>,
    /// Objects to write; with `deletes` at most one per resource.
    pub puts: Vec<Put>,
    /// Objects to delete.
    pub deletes: Vec<Key>,
}

impl Txn {
    /// Bytes that count for fairness.
    pub(crate) fn cost(&self) -> usize {
        let bodies: usize = self.puts.iter().map(|put| put.body.as_bytes().len()).sum();
        bodies + 256 * (self.puts.len() + self.deletes.len())
    }

    pub(crate) fn to_engine(&self) -> Commit {
        let puts = self.puts.iter().map(|put| Write {
            key: put.key.clone(),
            body: Some(put.body.as_bytes().clone()),
            lease: put.lease,
        });
        let deletes =
            self.deletes.iter().map(|key| Write { key: key.clone(), body: None, lease: None });
        Commit { compares: self.compares.clone(), writes: puts.chain(deletes).collect() }
    }
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision.
    pub revision: Revision,
    /// The objects written, in the order of [`Txn::puts`].
    pub objects: Vec<Arc<Object>>,
}

/// An ordered store of objects. Clones share it.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Arc<dyn Engine>,
    index: Arc<Index>,
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    health: Arc<Mutex<Health>>,
    floor: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Loads an engine's log and starts the writer.
    ///
    /// # Errors
    /// The engine cannot be read or holds what is not an object.
    ///
    /// # Blocking
    /// Reads the whole log.
    ///
    /// # Panics
    /// If no thread can be started.
    pub fn open(
        engine: Arc<dyn Engine>,
        options: Options,
        clock: Arc<dyn Clock>,
        metrics: &strait_runtime::Metrics,
    ) -> Result<Self, EngineError> {
        let metrics = Arc::new(Metrics::register(metrics));
        let load = {
            let (engine, budget) = (engine.clone(), options.history_bytes);
            // Stored objects may be nested deeply; see json::STACK_BYTES.
            let thread =
                std::thread::Builder::new().name("store-load".into()).stack_size(STACK_BYTES);
            thread.spawn(move || load(&*engine, budget)).expect("a thread can be started")
        };
        let (index, extent) = load.join().expect("loading does not panic")?;
        let inner = Inner {
            engine,
            index: Arc::new(index),
            inbox: Arc::new(Inbox::new()),
            metrics,
            health: Arc::new(Mutex::new(Health::Good)),
            floor: Arc::new(AtomicU64::new(extent.floor.0)),
            writer: Mutex::new(None),
        };
        let writer = Writer {
            engine: inner.engine.clone(),
            index: inner.index.clone(),
            inbox: inner.inbox.clone(),
            clock,
            metrics: inner.metrics.clone(),
            health: inner.health.clone(),
            floor: inner.floor.clone(),
            retention: options.retention,
            fatal: options.fatal,
            samples: std::collections::VecDeque::new(),
        };
        let thread =
            std::thread::Builder::new().name("store-writer".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || writer.run()).expect("a thread can be started");
        *inner.writer.lock() = Some(thread);
        Ok(Self(Arc::new(inner)))
    }

    /// Commits a transaction; when this returns well, it is durable and readable. `cluster` is
    /// whose turn it takes in the writer's queue.
    ///
    /// # Errors
    /// [`CommitError`]; nothing was written.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may still commit.
    pub async fn commit(&self, cluster: &ClusterName, txn: Txn) -> Result<Committed, CommitError> {
        let (answer, answered) = oneshot::channel();
        let pushed = self.0.inbox.push(cluster.clone(), Pending { txn, answer });
        if pushed == Err(CommitError::Busy) {
            self.0.metrics.busy.inc();
        }
        pushed?;
        answered.await.unwrap_or(Err(CommitError::Closed))
    }

    /// Everything up to this revision is readable.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.index.published()
    }

    /// Waits until `revision` is readable; false if it is not within `limit`.
    pub async fn wait_for(&self, revision: Revision, limit: Duration) -> bool {
        let mut published = self.0.index.subscribe();
        let reached = published.wait_for(|published| *published >= revision);
        matches!(tokio::time::timeout(limit, reached).await, Ok(Ok(_)))
    }

    /// The resource's objects now.
    #[must_use]
    pub fn snapshot(&self, resource: &ResourceId) -> Snapshot {
        self.0.index.snapshot(resource)
    }

    /// The resource's objects at a revision that is readable.
    ///
    /// # Errors
    /// That state is no longer kept.
    pub fn snapshot_at(&self, resource: &ResourceId, revision: Revision) -> Result<Snapshot, Gone> {
        if revision < self.floor() {
            return Err(Gone);
        }
        self.0.index.snapshot_at(resource, revision)
    }

    /// Follows a resource from behind a revision.
    ///
    /// # Errors
    /// [`WatchError::TooOld`].
    pub fn watch(
        &self,
        resource: &ResourceId,
        scope: Scope,
        after: Revision,
    ) -> Result<Watch, WatchError> {
        let floor = self.floor();
        if after < floor {
            return Err(WatchError::TooOld { after, floor });
        }
        let Inner { index, engine, metrics, .. } = &*self.0;
        let subject = (resource.clone(), scope);
        Ok(Watch::new(index.clone(), engine.clone(), metrics.clone(), subject, after))
    }

    /// The oldest revision that can be watched from.
    #[must_use]
    pub fn floor(&self) -> Revision {
        Revision(self.0.floor.load(Ordering::Acquire))
    }

    /// Every resource that was ever read or written here.
    #[must_use]
    pub fn resources(&self) -> Vec<ResourceId> {
        self.0.index.resource_ids()
    }

    /// Number of watches of a resource.
    #[must_use]
    pub fn watches(&self, resource: &ResourceId) -> usize {
        self.0.index.resource(resource).interests.count()
    }

    /// Whether the store takes writes.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.0.health.lock()
    }

    /// Starts a lease; keys written with it go when it ends.
    ///
    /// # Errors
    /// The storage fails or the store is closed.
    pub async fn grant(&self, ttl: Duration) -> Result<LeaseId, CommitError> {
        self.errand(|answer| Errand::Grant(ttl, answer)).await
    }

    /// Lets a lease end `ttl` from now; false if it has ended.
    ///
    /// # Errors
    /// The storage fails or the store is closed.
    pub async fn keep_alive(&self, lease: LeaseId, ttl: Duration) -> Result<bool, CommitError> {
        self.errand(|answer| Errand::KeepAlive(lease, ttl, answer)).await
    }

    /// A small value kept beside the objects.
    ///
    /// # Errors
    /// The storage fails.
    ///
    /// # Blocking
    /// Reads the disk.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.0.engine.meta(name)
    }

    /// Sets such a value; durable on return.
    ///
    /// # Errors
    /// The storage fails or the store is closed.
    pub async fn set_meta(&self, name: &str, value: Vec<u8>) -> Result<(), CommitError> {
        self.errand(|answer| Errand::SetMeta(name.to_owned(), value, answer)).await
    }

    /// As [`Store::set_meta`], for threads of no async runtime.
    ///
    /// # Errors
    /// The storage fails or the store is closed.
    ///
    /// # Panics
    /// On a thread of an async runtime.
    pub fn set_meta_blocking(&self, name: &str, value: Vec<u8>) -> Result<(), CommitError> {
        let (answer, answered) = oneshot::channel();
        let errand = Errand::SetMeta(name.to_owned(), value, answer);
        if !self.0.inbox.run_errand(errand) {
            return Err(CommitError::Closed);
        }
        answer_of(answered.blocking_recv())
    }

    async fn errand<T>(
        &self,
        errand: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Errand,
    ) -> Result<T, CommitError> {
        let (answer, answered) = oneshot::channel();
        if !self.0.inbox.run_errand(errand(answer)) {
            return Err(CommitError::Closed);
        }
        answer_of(answered.await)
    }

    /// Commits what waits and ends the writer. Later writes are refused, reads go on.
    ///
    /// # Blocking
    /// Waits for the writer.
    pub fn close(&self) {
        self.0.inbox.close();
        if let Some(writer) = self.0.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

fn answer_of<T>(
    answer: Result<Result<T, EngineError>, oneshot::error::RecvError>,
) -> Result<T, CommitError> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(EngineError::Full)) => Err(CommitError::Full),
        Ok(Err(_)) => Err(CommitError::Failed),
        Err(_) => Err(CommitError::Closed),
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

/// Builds the index: what stands up to the floor, then every later change as an event.
fn load(engine: &dyn Engine, budget: usize) -> Result<(Index, Extent), EngineError> {
    let floor = engine.extent()?.floor;
    let index = Index::new(floor, budget);
    let mut seeds: HashMap<ResourceId, (Revision, Root)> = HashMap::new();
    let mut changes = Vec::new();
    let mut damage = None;
    let extent = engine.load(&mut |row| {
        let Row { revision, key, body, .. } = row;
        let object = match body.map(|body| decode(revision, body)).transpose() {
            Ok(object) => object,
            Err(error) => {
                damage.get_or_insert(error);
                return;
            }
        };
        match object {
            Some(object) if revision <= floor => {
                let (newest, root) = seeds.entry(key.resource).or_default();
                *newest = revision;
                root.entry(key.cluster).or_default().insert(key.name, object);
            }
            object => {
                if !seeds.is_empty() {
                    index.seed(std::mem::take(&mut seeds));
                }
                changes.push(Change { revision, key, object });
                if changes.len() >= REPLAY_CHANGES {
                    index.publish(std::mem::take(&mut changes), revision);
                }
            }
        }
    })?;
    if let Some(error) = damage {
        return Err(error);
    }
    index.seed(seeds);
    index.publish(changes, extent.head);
    Ok((index, extent))
}
