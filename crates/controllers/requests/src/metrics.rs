//! What the request crossing tells of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_runtime::{Label, Metrics};

use crate::execution::{Outcome, State};

/// Handles into the registry.
#[derive(Clone, Debug)]
pub(crate) struct RequestMetrics {
    /// Objects that stand, at all endpoints.
    pub(crate) known: Gauge,
    /// Of those, which wait for a turn.
    pub(crate) waiting: Gauge,
    /// Attempts that run.
    pub(crate) running: Gauge,
    /// Objects that were passed over because there is no room.
    pub(crate) overflow: Counter,
    /// Writes to the hub that have to be tried again.
    pub(crate) hub_failures: Counter,
    /// From a request's turn to its launch.
    pub(crate) start_seconds: Histogram,
    launches: Family<Label, Counter>,
    ended: Family<Label, Counter>,
}

impl RequestMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            known: Gauge::default(),
            waiting: Gauge::default(),
            running: Gauge::default(),
            overflow: Counter::default(),
            hub_failures: Counter::default(),
            start_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            launches: Family::default(),
            ended: Family::default(),
        };
        let register = |name, help, metric: &Gauge| metrics.register(name, help, metric.clone());
        register("strait_requests_known", "Requests that stand at the hub", &this.known);
        register("strait_requests_waiting", "Requests that wait for a turn", &this.waiting);
        register("strait_requests_running", "Attempts that run", &this.running);
        metrics.register(
            "strait_requests_overflow",
            "Requests that were passed over because the index is full",
            this.overflow.clone(),
        );
        metrics.register(
            "strait_requests_hub_failures",
            "Calls to the hub that failed and are tried again",
            this.hub_failures.clone(),
        );
        metrics.register(
            "strait_requests_start_seconds",
            "Time from a request's turn to its launch",
            this.start_seconds.clone(),
        );
        metrics.register(
            "strait_requests_launches",
            "Attempts that were started, by executor",
            this.launches.clone(),
        );
        metrics.register(
            "strait_requests_ended",
            "Attempts and requests that ended, by outcome",
            this.ended.clone(),
        );
        this
    }

    pub(crate) fn launched(&self, executor: &'static str) {
        self.launches.get_or_create(&[("executor", executor)]).inc();
    }

    pub(crate) fn ended(&self, state: &State) {
        let outcome = match state {
            State::Finished { outcome } | State::Reported { outcome } => match outcome {
                Outcome::Succeeded { .. } => "succeeded",
                Outcome::Failed { .. } => "failed",
                Outcome::Rejected { .. } => "rejected",
                Outcome::Cancelled => "cancelled",
                Outcome::TimedOut { .. } => "timed_out",
                Outcome::Abandoned => "abandoned",
            },
            State::Retry { .. } => "retried",
            State::Indeterminate { .. } => "indeterminate",
            State::StartPending | State::Launched => return,
        };
        self.ended.get_or_create(&[("outcome", outcome)]).inc();
    }
}
