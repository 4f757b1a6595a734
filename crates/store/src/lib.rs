//! The ordered log, its engines, and the in-memory index above them.
//!
//! ```text
//!            commit(Txn)                     snapshot / watch
//!                │                                  ▲
//!      FairQueue, one writer thread                 │
//!                │ batch                            │ publish, after the sync
//!                ▼                                  │
//!      Engine (sqlite, memory) ── durable ───────► Index
//!                ▲                                  │
//!                └──── tail: history that memory ───┘
//!                      no longer holds
//! ```
//!
//! Invariants:
//! - revisions ascend, one per transaction, and never go back, restarts included;
//! - nothing is readable or acknowledged before it is durable;
//! - a snapshot at revision N holds exactly the writes ≤ N;
//! - a watch from N yields exactly the writes > N, in order, once.
//!
//! Limits: [`WAITING_PER_CLUSTER`] transactions wait per logical cluster (then
//! [`CommitError::Busy`]), a batch holds [`BATCH_COMMITS`] of them or [`BATCH_BYTES`], history
//! in memory has [`Options::history_bytes`] (then the oldest goes), the log keeps
//! [`Options::retention`] (then [`WatchError::TooOld`]).

pub mod conformance;
pub mod engine;
mod event;
mod index;
mod interest;
mod key;
mod metrics;
mod queue;
mod scope;
mod snapshot;
mod store;
mod watch;
mod writer;

pub use event::Event;
pub use index::Gone;
pub use key::{Key, MalformedKey, ObjectName, ResourceId};
pub use queue::{BATCH_BYTES, BATCH_COMMITS, WAITING_PER_CLUSTER};
pub use scope::Scope;
pub use snapshot::{Part, Snapshot};
pub use store::{CommitError, Committed, FatalHook, Health, Options, Put, Retention, Store, Txn};
pub use watch::{Watch, WatchError};
