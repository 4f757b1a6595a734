//! What operators see and repair, on a listener of their own.
//!
//! | request | takes | answer |
//! |---|---|---|
//! | GET `/events` | view | events, newest first, and what became of each; `limit`, `continue` |
//! | GET `/events/ID` | view | one |
//! | GET `/payloads/ID` | payload | its body, byte for byte |
//! | GET `/status` | view | backends with what waits there |
//! | GET `/tail` | view | lines of JSON: `event`, `outcome`, and `end` with a reason |
//! | POST `/replay` | replay | lines of JSON: progress, and at last `done` or `error` |
//! | POST `/purge` | replay | the same |
//! | GET, POST, DELETE `/backends` | backends | see [`backends`] |
//! | GET `/metrics` | view | metrics |
//! | GET `/livez`, `/readyz` | | whether it works |
//!
//! Events are selected by a query: `id` (of the log), `delivery` (of the sender), `source`,
//! `backend`, `state` (`waiting`, `dead`, `delivered`, `purged`), `event`, `action`, `repository`
//! (a pattern), `since` and `until` (a time, or how long ago). What changes something wants a
//! selector, or `all`; with `dryRun` it only counts. A tail ends within a minute when the right to it
//! was taken back.
//!
//! Failures are `Status` objects. Paths are such that a role on paths of Kubernetes
//! (`nonResourceURLs`) can give each permission by itself. Every change, and every reading of a
//! body, is in the audit log before it happens.
//!
//! Looks at the log have threads of their own, [`LOOKS_MAX`] at once; changes go one after the
//! other.

mod answer;
mod audit;
pub mod authorize;
pub mod backends;
mod change;
mod deliveries;
mod events;
mod kept;
mod lines;
mod purged;
mod reviews;
mod routes;
mod select;
mod tail;
mod tokens;
mod view;

use std::sync::Arc;

use http::{Request, Response};
use strait_net::{Body, Checks, Connection, Handler, Incoming, handler};
use strait_runtime::{Clock, Metrics, Shutdown, TaskSet};
use tokio::sync::Semaphore;

pub use authorize::{Asked, Authorizer, AuthorizerError, Caller, Decide, Refusal};
pub use backends::Backends;
pub use deliveries::Deliveries;
pub use kept::Kept;
pub use purged::Purged;

/// Looks at the log at once; more wait.
pub const LOOKS_MAX: usize = 4;

/// Readers of `/tail` at once; more are refused.
const TAILS_MAX: usize = 16;

/// What operators look at.
pub struct Parts {
    /// What is on disk; none where nothing is kept.
    pub kept: Option<Kept>,
    /// What delivers.
    pub deliveries: Arc<dyn Deliveries>,
    /// Backends that come and go, if they may.
    pub backends: Option<Arc<Backends>>,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// What `/readyz` shows.
    pub ready: Checks,
    /// What times are relative to.
    pub clock: Arc<dyn Clock>,
    /// Where changes and tails run.
    pub tasks: TaskSet,
    /// Ends tails.
    pub shutdown: Shutdown,
}

/// Answers operators. Clones are the same.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

struct Inner {
    kept: Option<Kept>,
    deliveries: Arc<dyn Deliveries>,
    backends: Option<Arc<Backends>>,
    metrics: Metrics,
    ready: Checks,
    clock: Arc<dyn Clock>,
    tasks: TaskSet,
    shutdown: Shutdown,
    looks: Semaphore,
    changes: Arc<Semaphore>,
    tails: Arc<Semaphore>,
}

impl Admin {
    /// Answers about these.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { kept, deliveries, backends, metrics, ready, clock, tasks, shutdown } = parts;
        Self(Arc::new(Inner {
            kept,
            deliveries,
            backends,
            metrics,
            ready,
            clock,
            tasks,
            shutdown,
            looks: Semaphore::new(LOOKS_MAX),
            changes: Arc::new(Semaphore::new(1)),
            tails: Arc::new(Semaphore::new(TAILS_MAX)),
        }))
    }

    /// Answers those whom `authorizer` lets in.
    #[must_use]
    pub fn handler(&self, authorizer: Arc<Authorizer>) -> Handler {
        let this = self.clone();
        handler(move |connection, request| {
            let (this, authorizer) = (this.clone(), authorizer.clone());
            async move { this.answer(&authorizer, &connection, request).await }
        })
    }

    /// Answers one request.
    pub async fn answer(
        &self,
        authorizer: &Arc<Authorizer>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let answered = self.0.clone().route(authorizer, connection, request).await;
        answered.unwrap_or_else(|status| answer::failed(&status))
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("kept", &self.0.kept.is_some()).finish_non_exhaustive()
    }
}
