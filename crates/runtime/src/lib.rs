//! How any Strait process runs: clock, entropy, tasks, shutdown, telemetry, traces, files.
//!
//! Everything here is passed down from `main`; nothing is global but the log subscriber and the
//! panic hook, of which a process has one.

mod backoff;
mod busy_poll;
mod clock;
mod context;
mod data_dir;
mod descriptors;
mod entropy;
mod executor;
pub mod fs;
mod lock;
mod metrics;
mod parent;
mod process;
mod reload;
mod request_ids;
mod shutdown;
mod tasks;
pub mod telemetry;
pub mod trace;
pub mod units;

pub use backoff::Backoff;
pub use busy_poll::BusyPoll;
pub use clock::{Clock, ManualClock, SystemClock};
pub use context::Context;
pub use data_dir::{DataDir, DataDirError, Layout};
pub use descriptors::{raise_descriptor_limit, set_descriptor_limit};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy, random_16, random_share};
pub use executor::build_runtime;
pub use lock::{DirLock, LockError};
pub use metrics::{Label, METRICS_CONTENT_TYPE, Metrics, QueueMetrics};
pub use parent::{ParentError, die_with_parent};
pub use reload::{Apply, Marks, Reload};
pub use request_ids::RequestIds;
pub use shutdown::Shutdown;
pub use tasks::{Task, TaskError, TaskSet, Unfinished};
pub use trace::{Span, SpanKind, Tracer};
