//! What feeds tell of themselves.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strait_runtime::{Label, Metrics};

/// The metrics of every [`Feed`](crate::Feed) of a process: made once, cloned to each.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    pub(crate) watches: Gauge,
    pub(crate) events: Counter,
    pub(crate) malformed: Counter,
    restarts: Family<Label, Counter>,
}

/// Why a watch starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// The server ended it, as it does after a while.
    Ended,
    /// What was missed is no longer known there: everything is listed again.
    Expired,
    /// Something failed.
    Failed,
}

impl FeedMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            watches: Gauge::default(),
            events: Counter::default(),
            malformed: Counter::default(),
            restarts: Family::default(),
        };
        metrics.register(
            "strait_reconcile_watches",
            "Watches that are connected",
            this.watches.clone(),
        );
        metrics.register(
            "strait_reconcile_events",
            "Objects that lists and watches brought",
            this.events.clone(),
        );
        metrics.register(
            "strait_reconcile_malformed_objects",
            "Objects that were passed over because they cannot be told apart or named",
            this.malformed.clone(),
        );
        metrics.register(
            "strait_reconcile_watch_restarts",
            "Watches that started again",
            this.restarts.clone(),
        );
        this
    }

    pub(crate) fn restarted(&self, why: Restart) {
        let reason = match why {
            Restart::Ended => "ended",
            Restart::Expired => "expired",
            Restart::Failed => "failed",
        };
        self.restarts.get_or_create(&[("reason", reason)]).inc();
    }
}
