//! What deliveries tell of themselves. Labels are names of the configuration.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_runtime::Metrics;

use crate::breaker::Breaker;
use crate::schedule::Outcome;

type Label = [(&'static str, String); 1];
type Labels = [(&'static str, String); 2];

/// The metrics of all backends.
#[derive(Clone, Debug)]
pub(super) struct DeliveryMetrics {
    attempts: Family<Labels, Counter>,
    seconds: Family<Label, Histogram>,
    waiting: Family<Label, Gauge>,
    breaker: Family<Label, Gauge>,
    dead: Family<Label, Gauge>,
    oldest: Family<Label, Gauge>,
    connected: Family<Label, Gauge>,
    roundtrip: Family<Label, Gauge<f64, AtomicU64>>,
    failed_beats: Family<Label, Counter>,
    tokens: Family<Label, Gauge>,
    opened: Family<Label, Counter>,
    reused: Family<Label, Counter>,
    dropped: Family<Labels, Counter>,
    pub(super) bytes: Gauge,
    forwarded: Family<Labels, Counter>,
    response: Histogram,
}

/// Those of one.
#[derive(Debug)]
pub(super) struct BackendMetrics {
    all: DeliveryMetrics,
    backend: String,
    host: String,
    /// The usual outcome, at hand.
    delivered: Counter,
    forwarded: Counter,
    seconds: Histogram,
    pub(super) waiting: Gauge,
    pub(super) dead: Gauge,
    /// In seconds; 0 if there is none.
    pub(super) oldest: Gauge,
    breaker: Gauge,
    pub(super) opened: Counter,
    pub(super) reused: Counter,
}

const DELIVERED: &str = "delivered";

impl DeliveryMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        // 1 ms to 30 s.
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let this = Self {
            attempts: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            waiting: Family::default(),
            breaker: Family::default(),
            dead: Family::default(),
            oldest: Family::default(),
            connected: Family::default(),
            roundtrip: Family::default(),
            failed_beats: Family::default(),
            tokens: Family::default(),
            opened: Family::default(),
            reused: Family::default(),
            dropped: Family::default(),
            bytes: Gauge::default(),
            forwarded: Family::default(),
            response: Histogram::new([0.005, 0.05, 0.5, 5.0]),
        };
        this.register(metrics);
        this
    }

    fn register(&self, metrics: &Metrics) {
        let name = "strait_hooks_deliver_attempts";
        metrics.register(name, "Attempts by how they ended", self.attempts.clone());
        let name = "strait_hooks_deliver_seconds";
        metrics.register(name, "Time of an attempt", self.seconds.clone());
        let name = "strait_hooks_deliver_waiting";
        metrics.register(name, "Events that wait or are in flight", self.waiting.clone());
        let name = "strait_hooks_deliver_breaker_state";
        metrics.register(name, "0 closed, 1 half open, 2 open", self.breaker.clone());
        let name = "strait_hooks_deliver_dead_letters";
        metrics.register(name, "Events that are not tried again", self.dead.clone());
        let name = "strait_hooks_deliver_oldest_undelivered_seconds";
        metrics.register(name, "Age of the oldest event that waits", self.oldest.clone());
        let name = "strait_hooks_backend_agent_connected";
        let help = "1 while an agent is there that offers a backend's service, else 0";
        metrics.register(name, help, self.connected.clone());
        let name = "strait_hooks_backend_last_roundtrip_seconds";
        let help = "Time of the last heartbeat that came back from a backend's agent";
        metrics.register(name, help, self.roundtrip.clone());
        let name = "strait_hooks_backend_heartbeat_failures";
        metrics.register(name, "Heartbeats that did not come back", self.failed_beats.clone());
        let name = "strait_hooks_backend_token_usable";
        let help = "1, or 0 if the token for a backend's hub cannot be read or is not taken";
        metrics.register(name, help, self.tokens.clone());
        let name = "strait_hooks_deliver_connections_opened";
        metrics.register(name, "Connections that were opened", self.opened.clone());
        let name = "strait_hooks_deliver_connections_reused";
        metrics.register(name, "Requests over a connection that was there", self.reused.clone());
        let name = "strait_hooks_deliver_dropped";
        metrics.register(name, "Events that were removed undelivered", self.dropped.clone());
        let name = "strait_hooks_deliver_budget_bytes";
        metrics.register(name, "Events in memory to be sent", self.bytes.clone());
        let name = "sprayproxy_http_forwarded_requests";
        metrics.register(name, "Requests to backends", self.forwarded.clone());
        let name = "sprayproxy_http_response_time_duration_seconds";
        metrics.register(name, "Time until a backend answered or did not", self.response.clone());
    }

    pub(super) fn of(&self, backend: &str, host: String) -> BackendMetrics {
        let label = [("backend", backend.to_owned())];
        BackendMetrics {
            delivered: self.attempts.get_or_create_owned(&class(backend, DELIVERED)),
            forwarded: self.forwarded.get_or_create_owned(&error(&host, "none")),
            seconds: self.seconds.get_or_create_owned(&label),
            waiting: self.waiting.get_or_create_owned(&label),
            dead: self.dead.get_or_create_owned(&label),
            oldest: self.oldest.get_or_create_owned(&label),
            breaker: self.breaker.get_or_create_owned(&label),
            opened: self.opened.get_or_create_owned(&label),
            reused: self.reused.get_or_create_owned(&label),
            all: self.clone(),
            backend: backend.to_owned(),
            host,
        }
    }

    /// What is not there any more is not shown.
    pub(super) fn forget(&self, backend: &str) {
        self.forget_agent(backend);
        let label = [("backend", backend.to_owned())];
        for gauges in [&self.waiting, &self.dead, &self.oldest, &self.breaker] {
            gauges.remove(&label);
        }
    }

    /// A backend is behind no agent, or not any more.
    pub(super) fn forget_agent(&self, backend: &str) {
        let label = [("backend", backend.to_owned())];
        self.roundtrip.remove(&label);
        self.tokens.remove(&label);
        self.connected.remove(&label);
    }

    pub(super) fn dropped(&self, backend: &str, reason: &'static str, count: u64) {
        let labels = [("backend", backend.to_owned()), ("reason", reason.to_owned())];
        self.dropped.get_or_create(&labels).inc_by(count);
    }
}

impl BackendMetrics {
    pub(super) fn ended(&self, outcome: Outcome, seconds: f64) {
        self.seconds.observe(seconds);
        self.all.response.observe(seconds);
        if let Outcome::Status(200..=299) = outcome {
            self.delivered.inc();
            self.forwarded.inc();
            return;
        }
        let attempts = &self.all.attempts;
        attempts.get_or_create(&class(&self.backend, class_of(outcome))).inc();
        let wrong = match outcome {
            Outcome::Status(0..400) => "none",
            Outcome::Status(_) => "http-error",
            _ => "non-http-error",
        };
        self.all.forwarded.get_or_create(&error(&self.host, wrong)).inc();
    }

    /// A heartbeat came back after so long, or did not.
    pub(super) fn beat(&self, took: Option<Duration>) {
        let label = [("backend", self.backend.clone())];
        let failures = self.all.failed_beats.get_or_create_owned(&label);
        match took {
            Some(took) => {
                self.all.roundtrip.get_or_create(&label).set(took.as_secs_f64());
            }
            None => drop(failures.inc()),
        }
    }

    /// Whether an agent is there that offers the backend's service.
    pub(super) fn connected(&self, is: bool) {
        let label = [("backend", self.backend.clone())];
        self.all.connected.get_or_create(&label).set(is.into());
    }

    /// Whether the token for the backend's hub can be used.
    pub(super) fn token(&self) -> Gauge {
        self.all.tokens.get_or_create_owned(&[("backend", self.backend.clone())])
    }

    pub(super) fn breaker(&self, breaker: Breaker) {
        self.breaker.set(match breaker {
            Breaker::Closed { .. } => 0,
            Breaker::HalfOpen => 1,
            Breaker::Open { .. } => 2,
        });
    }
}

pub(super) const fn class_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Status(200..=299) => DELIVERED,
        Outcome::Status(300..=399) => "redirected",
        Outcome::Status(400..=499) => "client_error",
        Outcome::Status(_) => "server_error",
        Outcome::TimedOut => "timed_out",
        Outcome::Refused => "refused",
        Outcome::Broken => "broken",
        Outcome::Forbidden => "forbidden",
        Outcome::NoToken => "no_token",
        Outcome::TokenRefused => "token_refused",
    }
}

fn class(backend: &str, class: &str) -> Labels {
    [("backend", backend.to_owned()), ("class", class.to_owned())]
}

fn error(host: &str, error: &str) -> Labels {
    [("host", host.to_owned()), ("error", error.to_owned())]
}
