//! A hash-chained log of crossings, on disk before the effect.
//!
//! [`AuditLog`] appends lines to segment files in a directory of its own and answers when they
//! are durable; one thread writes, and whatever waits shares its sync. If a line cannot be
//! written, the crossing must not happen. [`list()`] and [`verify()`] read the files and need no
//! running log.
//!
//! # A line
//! One JSON object in canonical form (keys sorted, no spaces) and a newline, with exactly these
//! members, all always present:
//!
//! | member | content |
//! |---|---|
//! | `apiVersion` | `audit.strait.dev/v1alpha1` |
//! | `writer` | id of the hub or of the agent's instance that wrote the line |
//! | `seq` | number of the line: 1, 2, 3, … in the whole directory |
//! | `time` | when it was written: RFC 3339, UTC, six decimals |
//! | `crossing` | the request's uid; empty in lines about the log itself |
//! | `stage` | `asked`, `decided`, `started`, `ended`; `repaired` and `truncated` are about the log itself |
//! | `actor` | `{groups, user}`: who caused this stage; groups in their order, may be empty |
//! | `object` | `{cluster, group, name, namespace, resource, uid}`: the request; cluster is the logical cluster's name, resource the plural |
//! | `rule` | the rule that decided, by name; empty where none did |
//! | `outcome` | what came of the stage, in a word or a short text; empty where nothing did yet |
//! | `prev` | `hash` of the line before; 64 zeros in the first |
//! | `hash` | SHA-256, in lower-case hexadecimal, of this line without the member `hash` and without the newline |
//!
//! So a line can be checked with nothing but a text editor's delete key and `sha256sum`.
//!
//! # What happened to the files shows for ever
//! The newest position ([`Head`]) is mirrored outside the directory. On opening, a torn tail is
//! cut and the cut is a line (`repaired`). If the mirror is ahead of the files, lines are
//! missing: the log goes on from the mirror's position and says so (`truncated`), so that
//! [`verify()`] reports the hole from then on. Changed lines do not stop the log; they are for
//! [`verify()`] to find.
//!
//! # Limits
//! [`RECORD_BYTES_MAX`], [`QUEUE_RECORDS_MAX`]; a segment ends at the first batch after 64 MiB.
//! Nothing is ever deleted.

mod error;
mod head;
mod line;
mod log;
mod metrics;
mod mirror;
mod queue;
mod read;
mod record;
mod recover;
mod segment;
#[cfg(test)]
mod testing;
mod thread;
mod verify;
mod volume;
mod writer;

pub use error::{AppendError, OpenError};
pub use head::{Hash, Head, InvalidHead};
pub use line::Entry;
pub use log::{AuditLog, Options};
pub use mirror::{FileMirror, Mirror, MirroredError, StoreMirror, mirrored, mirrored_in_file};
pub use queue::QUEUE_RECORDS_MAX;
pub use read::{Entries, Filter, ReadError, list};
pub use record::{Actor, InvalidStage, Object, RECORD_BYTES_MAX, Record, Stage};
pub use verify::{FAULTS_MAX, Fault, FaultKind, Report, verify};
