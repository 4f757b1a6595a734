//! What receiving tells of itself. Labels come from the configuration and from closed sets.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_runtime::Metrics;

use super::outcome::Outcome;
use crate::config::Answers;

type BySource = [(&'static str, Arc<str>); 1];
type BySourceAnd = [(&'static str, Arc<str>); 2];

#[derive(Clone)]
pub(super) struct IngestMetrics {
    inbound: Family<BySourceAnd, Counter>,
    bytes: Family<BySource, Counter>,
    rejects: Family<BySourceAnd, Counter>,
    duplicates: Family<BySource, Counter>,
    other_bodies: Family<BySource, Counter>,
    secret_age: Family<BySource, Gauge>,
    /// From the end of the head to the acknowledgement.
    ack_seconds: Histogram,
    pub(super) budget: Gauge,
    compatible: Counter,
}

impl IngestMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            inbound: Family::default(),
            bytes: Family::default(),
            rejects: Family::default(),
            duplicates: Family::default(),
            other_bodies: Family::default(),
            secret_age: Family::default(),
            // 250 µs to 8 s.
            ack_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            budget: Gauge::default(),
            compatible: Counter::default(),
        };
        let register = metrics;
        let inbound = "Webhooks that came in, by how they were answered";
        register.register("strait_hooks_inbound", inbound, this.inbound.clone());
        let bytes = "Bytes of webhooks that were taken";
        register.register("strait_hooks_inbound_bytes", bytes, this.bytes.clone());
        let rejects = "Webhooks that were not taken, by why";
        register.register("strait_hooks_reject", rejects, this.rejects.clone());
        let duplicates = "Webhooks that were taken before";
        register.register("strait_hooks_duplicates", duplicates, this.duplicates.clone());
        let other = "Webhooks with the name of another and not its body";
        register.register("strait_hooks_same_id_other_body", other, this.other_bodies.clone());
        let age = "Time since a source's secrets last changed, as far as was seen";
        register.register("strait_hooks_secret_age_seconds", age, this.secret_age.clone());
        let ack = "Time from the head of a webhook to its acknowledgement";
        register.register("strait_hooks_ack_seconds", ack, this.ack_seconds.clone());
        let budget = "Memory that bodies take";
        register.register("strait_hooks_budget_bytes", budget, this.budget.clone());
        let compatible = "Requests to be passed on";
        let name = "sprayproxy_http_inbound_requests";
        register.register(name, compatible, this.compatible.clone());
        this
    }

    /// Of one source, whose series exist from now on.
    pub(super) fn of(&self, source: &Arc<str>, answers: Answers) -> SourceMetrics {
        let label = [("source", source.clone())];
        SourceMetrics {
            all: self.clone(),
            accepted: self.inbound.get_or_create_owned(&two(source, "result", "accepted")),
            duplicates: self.duplicates.get_or_create_owned(&label),
            other_bodies: self.other_bodies.get_or_create_owned(&label),
            bytes: self.bytes.get_or_create_owned(&label),
            secret_age: self.secret_age.get_or_create_owned(&label),
            source: source.clone(),
            compatible: answers == Answers::Sprayproxy,
        }
    }

    /// Of a path that belongs to no source.
    pub(super) fn unknown(&self) {
        let nobody: Arc<str> = "".into();
        self.inbound.get_or_create(&two(&nobody, "result", "refused")).inc();
        self.rejects.get_or_create(&two(&nobody, "reason", "path")).inc();
    }
}

fn two(source: &Arc<str>, name: &'static str, value: &'static str) -> BySourceAnd {
    [("source", source.clone()), (name, value.into())]
}

/// The metrics of one source.
pub(super) struct SourceMetrics {
    all: IngestMetrics,
    source: Arc<str>,
    compatible: bool,
    accepted: Counter,
    duplicates: Counter,
    bytes: Counter,
    pub(super) other_bodies: Counter,
    pub(super) secret_age: Gauge,
}

impl SourceMetrics {
    /// Counts an answer to a webhook of so many bytes that took so long.
    pub(super) fn count(&self, outcome: &Outcome, bytes: usize, seconds: f64) {
        if self.compatible {
            self.all.compatible.inc();
        }
        self.bytes.inc_by(bytes as u64);
        let result = match outcome {
            Outcome::Accepted(_) => {
                self.accepted.inc();
                self.all.ack_seconds.observe(seconds);
                return;
            }
            Outcome::Duplicate(_) => {
                self.duplicates.inc();
                "duplicate"
            }
            Outcome::Failed => "failed",
            Outcome::Rejected(why) => {
                let reason = two(&self.source, "reason", why.as_str());
                self.all.rejects.get_or_create(&reason).inc();
                if why.status().is_server_error() { "unavailable" } else { "refused" }
            }
        };
        self.all.inbound.get_or_create(&two(&self.source, "result", result)).inc();
    }
}
