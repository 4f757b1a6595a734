//! From a verified webhook to a place in the log.
//!
//! What is begun here is finished whether or not the sender waits for it: where it goes away, a
//! task takes over. Who stays costs none.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use strait_runtime::{Clock, TaskSet};
use tokio::runtime::Handle;

use super::Deliveries;
use super::outcome::{Outcome, RETRY_SECONDS, Rejection};
use super::recent::{Claim, Kept, Recent, outcome};
use super::sources::Served;
use crate::budget::Share;
use crate::dedupe::Identity;
use crate::log::{AppendError, Log};
use crate::{Event, Position};

/// What events are appended to.
pub trait Append: Send + Sync + 'static {
    /// Appends an event and returns its position when it is durable.
    ///
    /// # Errors
    /// See [`AppendError`].
    fn append(&self, event: Arc<Event>) -> BoxFuture<'_, Result<Position, AppendError>>;
}

impl Append for Log {
    fn append(&self, event: Arc<Event>) -> BoxFuture<'_, Result<Position, AppendError>> {
        Box::pin(Self::append(self, event))
    }
}

pub(super) struct Keeper {
    pub(super) log: Arc<dyn Append>,
    pub(super) recent: Arc<Recent>,
    pub(super) deliveries: Arc<dyn Deliveries>,
    pub(super) tasks: TaskSet,
    pub(super) health: Arc<Health>,
    /// How long a sender waits for the log.
    pub(super) wait: Duration,
}

impl Keeper {
    /// Keeps an event. `share` is held until it is on disk.
    pub(super) async fn keep(&self, served: &Served, event: Event, share: Share) -> Outcome {
        let id = event.delivery.clone();
        let identity = Identity::new(&event.source, &event.delivery, &event.sha256);
        let claim = self.recent.claim(&event.source, identity, event.received);
        let (kept, duplicate) = match claim {
            Claim::Again(position) => (self.within(async move { Ok(position) }).await, true),
            Claim::Wait(underway) => {
                drop((event, share));
                (self.within(outcome(underway)).await, true)
            }
            Claim::First { claimed, other_body } => {
                if other_body {
                    served.metrics.other_bodies.inc();
                }
                let (log, deliveries) = (self.log.clone(), self.deliveries.clone());
                let health = self.health.clone();
                let work = async move {
                    let event = Arc::new(event);
                    let kept = log.append(event.clone()).await;
                    drop(share);
                    health.saw(kept);
                    claimed.end(kept, event.received);
                    if let Ok(position) = kept {
                        deliveries.offer(position, &event);
                    }
                    kept
                };
                let ended = ToItsEnd { work: Some(Box::pin(work)), tasks: self.tasks.clone() };
                (self.within(ended).await, false)
            }
        };
        match kept {
            Ok(position) if duplicate => {
                self.redrive(position).await;
                Outcome::Duplicate(id)
            }
            Ok(_) => Outcome::Accepted(id),
            Err(why) => Outcome::Rejected(why),
        }
    }

    async fn within(&self, kept: impl Future<Output = Kept>) -> Result<Position, Rejection> {
        match tokio::time::timeout(self.wait, kept).await {
            Ok(kept) => kept.map_err(Rejection::Log),
            Err(_) => {
                self.health.stuck();
                Err(Rejection::Stuck)
            }
        }
    }

    /// A sender that sends again what was received gets what is dead tried again.
    async fn redrive(&self, position: Position) {
        let count = self.deliveries.redrive(position).await;
        if count > 0 {
            tracing::info!(position = position.0, count, "dead letters are tried again");
        }
    }
}

/// Work that a task takes over if whoever waits for it goes away.
struct ToItsEnd {
    work: Option<BoxFuture<'static, Kept>>,
    tasks: TaskSet,
}

impl Future for ToItsEnd {
    type Output = Kept;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Kept> {
        // Taken out, so that a panic leaves nothing to go on with.
        let Some(mut work) = self.work.take() else {
            return Poll::Ready(Err(AppendError::Closed));
        };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl Drop for ToItsEnd {
    fn drop(&mut self) {
        // Without a runtime the process is ending, as at any other point.
        if let Some(work) = self.work.take()
            && Handle::try_current().is_ok()
        {
            self.tasks.spawn("webhook", work);
        }
    }
}

/// Whether the log can be written, as far as is known.
///
/// A failure counts for a while and is then forgotten: who is not ready gets nothing that could
/// show that it is ready again.
pub(super) struct Health {
    clock: Arc<dyn Clock>,
    failed: Mutex<Failed>,
}

enum Failed {
    Not,
    Since(Duration, &'static str),
    ForGood,
}

impl Health {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, failed: Mutex::new(Failed::Not) }
    }

    fn saw(&self, kept: Kept) {
        let failed = match kept {
            Err(AppendError::Closed) => Failed::ForGood,
            Err(AppendError::Full) => Failed::Since(self.clock.monotonic(), "its disk is full"),
            Err(AppendError::Busy) => Failed::Since(self.clock.monotonic(), "it is busy"),
            Ok(_) | Err(AppendError::TooLarge) => Failed::Not,
        };
        *self.failed.lock() = failed;
    }

    fn stuck(&self) {
        let mut failed = self.failed.lock();
        if !matches!(*failed, Failed::ForGood) {
            *failed = Failed::Since(self.clock.monotonic(), "it does not answer");
        }
    }

    /// Why the log cannot be written.
    pub(super) fn check(&self) -> Result<(), String> {
        let age = |since| self.clock.monotonic().saturating_sub(since);
        match *self.failed.lock() {
            Failed::ForGood => Err("it is closed".to_owned()),
            Failed::Since(since, why) if age(since) < Duration::from_secs(RETRY_SECONDS) => {
                Err(why.to_owned())
            }
            Failed::Since(..) | Failed::Not => Ok(()),
        }
    }
}
