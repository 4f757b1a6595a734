//! Deliveries: every backend gets every event that it wants, from the log, by itself.
//!
//! ```text
//! offer ─► intake: in order, wanted by whom ─► lane of a backend: what waits, may it be tried
//!                                                  │ worker: one task
//!                                                  ▼
//!            log or memory ─► attempt (one deadline) ─► state ─► its place is free again
//! ```
//! Positions wait, not bodies; a body is in memory while its attempt is under way, within a share
//! that no other backend can take. What is delivered, dead or put off is in the state before
//! anything else takes its place, so a restart repeats at most what was in flight.
//!
//! Without a log ([`Keep::Nothing`]) events are only tried at once.

mod attempt;
mod budget;
mod carrier;
mod fetch;
mod heartbeat;
mod intake;
mod lane;
mod metrics;
mod outlet;
mod recent;
mod repair;
mod retention;
mod setup;
mod tls;
mod token;
mod worker;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use strait_net::{CallError, Resolve, SystemResolver};
use strait_runtime::{Clock, Context, Task};

pub use self::carrier::{Carrier, CarryError};
pub use self::heartbeat::{HEARTBEAT_PATH, Heartbeat};
pub use self::intake::Schemes;

use self::budget::Budget;
use self::intake::{Decisions, Intake};
use self::lane::{Decision, Ending, Lane};
use self::metrics::DeliveryMetrics;
use self::recent::Recent;
use crate::breaker::Breaker;
use crate::config::{Backend, Config, Retention, Source};
use crate::event::{Event, Position};
use crate::log::Log;
use crate::schedule::Outcome;
use crate::state::{Change, State, StateError};

/// The share of the memory for bodies that deliveries take: a fourth. The rest is for those that
/// come in.
pub const MEMORY_SHARE: usize = 4;

/// Between looks at what may wait for so long.
const TICK: Duration = Duration::from_secs(1);

/// How long attempts that were given up may take to end: what ended before them is still being
/// written.
const ABANDON_TIME: Duration = Duration::from_secs(1);

/// Until a full disk is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What deliveries run in.
#[derive(Clone)]
pub struct Options {
    /// Clock, randomness, metrics, tasks.
    pub context: Context,
    /// Where backends' addresses come from.
    pub resolver: Arc<dyn Resolve>,
    /// The hub around, if there is one.
    pub carrier: Option<Arc<dyn Carrier>>,
}

impl Options {
    /// With the machine's resolver, and no hub around.
    #[must_use]
    pub fn new(context: Context) -> Self {
        Self { context, resolver: Arc::new(SystemResolver), carrier: None }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("resolver", &self.resolver).finish_non_exhaustive()
    }
}

/// Where events and what became of them are.
#[derive(Clone, Debug)]
pub enum Keep {
    /// In a log and a state.
    Durable {
        /// The events.
        log: Log,
        /// What became of them.
        state: Arc<State>,
    },
    /// Nowhere: they are only tried at once.
    Nothing,
}

/// Deliveries cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// A backend cannot be called.
    #[error("cannot deliver to backend {name}")]
    Backend {
        /// Its name.
        name: Arc<str>,
        /// Why.
        #[source]
        source: CallError,
    },
    /// A backend is behind an agent of the hub around, and there is none.
    #[error("backend {name} names no hub, and this runs in none")]
    NoHub {
        /// The backend.
        name: Arc<str>,
    },
    /// The state cannot be changed.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no log: events are only tried at once.
    #[error("nothing is kept here")]
    NothingKept,
}

/// How a backend is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its name.
    pub name: Arc<str>,
    /// Events that wait, those that are put off included.
    pub waiting: usize,
    /// Attempts that are under way.
    pub in_flight: usize,
    /// Whether it may be tried.
    pub breaker: Breaker,
    /// Its dead letters.
    pub dead: usize,
    /// When the oldest event that it has still to get was received.
    pub oldest: Option<Timestamp>,
    /// How the last attempt ended, if there was one since the start.
    pub last: Option<Outcome>,
    /// The last heartbeat that came back, of a service behind an agent.
    pub heartbeat: Option<Heartbeat>,
}

/// The deliveries of a process. Clones are the same.
#[derive(Clone)]
pub struct Deliveries(Arc<Shared>);

struct Shared {
    options: Options,
    keep: Option<Kept>,
    retention: Retention,
    disk: u64,
    intake: Intake,
    recent: Recent,
    /// Held by who reads the log into `recent`.
    loading: tokio::sync::Mutex<()>,
    budget: Budget,
    metrics: DeliveryMetrics,
    /// By backend; those that are gone until they have ended.
    workers: Mutex<HashMap<Arc<str>, Working>>,
    /// Held by who changes backends.
    applying: tokio::sync::Mutex<()>,
}

/// A worker, and those of the same backend that it waits for.
struct Working {
    lanes: Vec<Arc<Lane>>,
    task: Task<()>,
}

struct Kept {
    log: Log,
    state: Arc<State>,
}

impl Deliveries {
    /// Starts delivering to the backends of a configuration, all of what waits at once. What the
    /// state knows of other backends is forgotten; a backend that it does not know gets the
    /// events from now on.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub async fn start(
        config: &Config,
        keep: Keep,
        options: Options,
    ) -> Result<Self, DeliverError> {
        let shared = Arc::new(Shared::new(config, keep, options));
        setup::begin(&shared, &config.sources, &config.backends).await?;
        Ok(Self(shared))
    }

    /// Whether events of a source go anywhere.
    #[must_use]
    pub fn has_backend(&self, source: &str) -> bool {
        self.0.intake.has_backend(source)
    }

    /// The backends of now, in the order of their configuration.
    #[must_use]
    pub fn backends(&self) -> Arc<[Backend]> {
        self.0.intake.lanes().iter().map(|lane| lane.outlet.backend.clone()).collect()
    }

    /// How the senders of each source say what their webhooks are.
    #[must_use]
    pub fn schemes(&self) -> Arc<Schemes> {
        self.0.intake.schemes()
    }

    /// Delivers an event that is durable at this position. Does not wait; the order of calls
    /// does not matter. Without a log it does nothing.
    pub fn offer(&self, position: Position, event: &Arc<Event>) {
        if self.0.keep.is_none() {
            return;
        }
        let (shared, lanes) = (&self.0, self.0.intake.lanes());
        // What takes long is decided when it is its turn, in memory that is counted.
        let quick = Intake::is_quick(event, &lanes);
        let decisions = if quick { shared.intake.decide(event, &lanes) } else { Vec::new() };
        let unwanted = |(_, decision): &&(_, _)| *decision == Decision::Unwanted;
        let takers = lanes.len() - decisions.iter().filter(unwanted).count();
        shared.recent.put(position, event, Some(takers));
        shared.intake.offer(position, decisions);
    }

    /// Tries an event once at each backend of its source, all at the same time, and returns how
    /// each attempt ended. Filters count, breakers and orders do not, and nothing is recorded.
    ///
    /// # Cancel safety
    /// Dropped, attempts may have been made or not.
    pub async fn at_once(&self, event: &Arc<Event>) -> Vec<(Arc<str>, Outcome)> {
        let decisions = self.0.decide(event, self.0.intake.lanes()).await;
        let wanted = decisions.iter().filter(|(_, decision)| *decision != Decision::Unwanted);
        let attempts = wanted.map(|(lane, _)| async move {
            let tried = lane.outlet.send(event).await;
            let outcome = tried.map_or(Outcome::Forbidden, |tried| tried.outcome);
            (lane.outlet.backend.name.clone(), outcome)
        });
        join_all(attempts).await
    }

    /// Makes these the sources and backends: what is new gets the events from now on, what changed goes on
    /// where it was, and what is gone is forgotten when its last attempts have ended. All or,
    /// after an error, nothing.
    ///
    /// # Errors
    /// See [`DeliverError`].
    ///
    /// # Cancel safety
    /// Dropped, some of the new ones may be known to the state already, and get events that came
    /// meanwhile when they are added again.
    pub async fn apply(
        &self,
        sources: &[Source],
        backends: &[Backend],
    ) -> Result<(), DeliverError> {
        setup::apply(&self.0, sources, backends).await
    }

    /// A backend is known to be there again: it is tried at once with all that was put off.
    pub fn wake(&self, backend: &str) {
        let now = self.0.clock().monotonic();
        for lane in self.0.intake.lanes().iter().filter(|lane| lane.name() == backend) {
            lane.wake(now);
        }
    }

    /// Starts nothing new, waits for what is in flight, at most so long, and gives the rest up:
    /// it is delivered after the restart. Where the disk takes nothing it returns a second later,
    /// and what ended meanwhile may be repeated.
    pub async fn drain(&self, limit: Duration) {
        let workers: Vec<_> = self.0.workers.lock().drain().map(|(_, working)| working).collect();
        let (lanes, tasks): (Vec<_>, Vec<_>) =
            workers.into_iter().map(|working| (working.lanes, working.task)).unzip();
        let end = |ending| lanes.iter().flatten().for_each(|lane| lane.end(ending));
        end(Ending::Drain);
        let mut ended = std::pin::pin!(join_all(tasks));
        if tokio::time::timeout(limit, &mut ended).await.is_err() {
            end(Ending::Abandon);
            if tokio::time::timeout(ABANDON_TIME, ended).await.is_err() {
                tracing::warn!("what became of some webhooks was not written in time");
            }
        }
    }
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}

impl Shared {
    fn new(config: &Config, keep: Keep, options: Options) -> Self {
        let metrics = DeliveryMetrics::new(&options.context.metrics);
        let bytes = config.limits.memory / MEMORY_SHARE;
        let keep = match keep {
            Keep::Durable { log, state } => Some(Kept { log, state }),
            Keep::Nothing => None,
        };
        let head = keep.as_ref().map_or(Position(0), |kept| kept.log.head());
        Self {
            retention: config.retention.clone(),
            disk: config.limits.disk,
            intake: Intake::new(&config.sources, head),
            recent: Recent::default(),
            loading: tokio::sync::Mutex::default(),
            budget: Budget::new(bytes, metrics.bytes.clone()),
            metrics,
            workers: Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            keep,
            options,
        }
    }

    fn clock(&self) -> &dyn Clock {
        &*self.options.context.clock
    }

    /// Of those that were started with a log, as all with workers are.
    fn keep(&self) -> &Kept {
        self.keep.as_ref().expect("only what is kept is worked on")
    }

    fn kept(&self) -> Result<&Kept, DeliverError> {
        self.keep.as_ref().ok_or(DeliverError::NothingKept)
    }

    /// What is to be done with an event, found out where that stops nobody.
    async fn decide(self: &Arc<Self>, event: &Arc<Event>, lanes: Arc<Vec<Arc<Lane>>>) -> Decisions {
        if Intake::is_quick(event, &lanes) {
            return self.intake.decide(event, &lanes);
        }
        let (shared, event) = (self.clone(), event.clone());
        let decide = move || shared.intake.decide(&event, &lanes);
        // A panic was told; what is not decided is looked at again.
        tokio::task::spawn_blocking(decide).await.unwrap_or_default()
    }

    /// Records changes where that stops nobody. A full disk is tried again until it is not.
    async fn record(self: Arc<Self>, changes: Vec<Change>) -> Result<(), StateError> {
        let changes: Arc<[Change]> = changes.into();
        loop {
            let (shared, changes) = (self.clone(), changes.clone());
            let recorded =
                tokio::task::spawn_blocking(move || shared.keep().state.record(&changes)).await;
            match recorded {
                Ok(Err(StateError::Full(error))) => {
                    let err = error.to_string();
                    tracing::warn!(err, "what became of webhooks cannot be written; trying again");
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                Ok(result) => return result,
                Err(panic) => return Err(StateError::Io(std::io::Error::other(panic))),
            }
        }
    }

    /// A backend is gone, and nothing of it is in flight any more.
    async fn remove(self: &Arc<Self>, lane: &Lane) {
        self.metrics.forget(lane.name());
        let removed = self.clone().record(vec![Change::Removed { backend: lane.id }]).await;
        if let Err(error) = removed {
            let err = strait_types::Report(&error).to_string();
            tracing::error!(backend = lane.name(), err, "cannot forget a backend");
        }
    }
}
