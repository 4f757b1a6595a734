//! The durable, ordered log that a store stands on.
//!
//! An engine knows keys, bytes and one sequence of revisions, nothing of Kubernetes. Every
//! engine passes [`crate::conformance`].

mod memory;
mod sqlite;

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use strait_types::{Classified, ErrorKind, Revision};

pub use memory::MemoryEngine;
pub use sqlite::{OpenError, SqliteEngine, read_meta};

use crate::Key;

/// Keys attached to a lease are deleted when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// What must hold of a key for a transaction to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such key.
    Absent,
    /// The key was last written at this revision.
    Revision(Revision),
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// Which key.
    pub key: Key,
    /// What must hold of it.
    pub expect: Expect,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which key.
    pub key: Key,
    /// The new bytes; `None` deletes.
    pub body: Option<Bytes>,
    /// The lease that the key's life hangs on.
    pub lease: Option<LeaseId>,
}

/// Writes that happen together, at one revision, if every compare holds.
///
/// At most one key of a resource is written: a watch of that resource resumed between two
/// would lose the second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// All must hold, read in the state that the earlier commits of the batch leave.
    pub compares: Vec<Compare>,
    /// At most one per resource.
    pub writes: Vec<Write>,
}

/// What became of one commit of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable, at this revision.
    Committed(Revision),
    /// The compare of this index did not hold; nothing was written.
    Refused(usize),
}

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The revision of the write.
    pub revision: Revision,
    /// The key written.
    pub key: Key,
    /// The bytes written; `None`: deleted.
    pub body: Option<Bytes>,
    /// What the key held before: its revision and bytes. Present where the row before is still
    /// in the log.
    pub previous: Option<(Revision, Bytes)>,
}

/// Where a log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Everything after this revision is in the log; up to it, only each key's newest row is.
    pub floor: Revision,
    /// The newest revision.
    pub head: Revision,
}

/// An engine failed. Nothing of the failed batch is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No space is left where the log lives.
    #[error("no space left for the store")]
    Full,
    /// The log could not be synced; what the disk holds is unknown, so the process must end.
    #[error("the store could not be synced to disk")]
    Sync(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log holds something that was not written by an engine.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// History up to this revision is compacted away.
    #[error("history up to revision {floor} is gone")]
    Compacted {
        /// The newest revision that can no longer be read from.
        floor: Revision,
    },
    /// Anything else that the storage library reports.
    #[error("the store failed")]
    Io(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classified for EngineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Compacted { .. } => ErrorKind::Conflict,
            _ => ErrorKind::Internal,
        }
    }
}

/// A durable, ordered log with compares.
///
/// All methods block. `commit`, `compact` and `expire` are called from one thread; `tail`,
/// `meta` and `extent` from any.
pub trait Engine: Send + Sync + 'static {
    /// Where the log begins and ends.
    ///
    /// # Errors
    /// The storage fails.
    fn extent(&self) -> Result<Extent, EngineError>;

    /// Reads the whole log in order: each key's newest row up to the floor (deletions left
    /// out), then every row after it. `previous` is not filled in.
    ///
    /// # Errors
    /// The storage fails or holds what no engine wrote.
    fn load(&self, each: &mut dyn FnMut(Row)) -> Result<Extent, EngineError>;

    /// Commits a batch: revisions ascend in the batch's order, and all that commits is durable
    /// when this returns. Refused commits do not hinder the others.
    ///
    /// # Errors
    /// The storage fails; then nothing of the batch happened.
    fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>, EngineError>;

    /// Rows after a revision in order, at most `max` and then whole transactions only.
    ///
    /// # Errors
    /// [`EngineError::Compacted`] if `after` is below the floor, or the storage fails.
    fn tail(&self, after: Revision, max: usize) -> Result<Vec<Row>, EngineError>;

    /// Raises the floor towards `floor`, looking at no more than `max` rows. Returns whether
    /// there is more to do.
    ///
    /// # Errors
    /// The storage fails.
    fn compact(&self, floor: Revision, max: u32) -> Result<bool, EngineError>;

    /// Starts a lease that ends `ttl` from `now`.
    ///
    /// # Errors
    /// The storage fails.
    fn grant(&self, ttl: Duration, now: Timestamp) -> Result<LeaseId, EngineError>;

    /// Lets a lease end `ttl` from `now`; false if it already ended.
    ///
    /// # Errors
    /// The storage fails.
    fn keep_alive(
        &self,
        lease: LeaseId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, EngineError>;

    /// Deletes keys of leases that ended before `now`, at most `max`, each at a revision of
    /// its own, durable on return. Returns the rows.
    ///
    /// # Errors
    /// The storage fails; then nothing was deleted.
    fn expire(&self, now: Timestamp, max: u32) -> Result<Vec<Row>, EngineError>;

    /// A small value kept beside the log, outside the sequence of revisions.
    ///
    /// # Errors
    /// The storage fails.
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError>;

    /// Sets such a value, durably.
    ///
    /// # Errors
    /// The storage fails.
    fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), EngineError>;
}

/// Panics if a commit writes two keys of one resource; see [`Commit`].
fn assert_one_key_per_resource(commit: &Commit) {
    for (at, write) in commit.writes.iter().enumerate() {
        let again =
            commit.writes[..at].iter().any(|other| other.key.resource == write.key.resource);
        assert!(!again, "a commit writes two keys of {:?}", write.key.resource);
    }
}
