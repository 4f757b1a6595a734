//! What the API server tells about itself, under the names that dashboards know.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Verb and answer of a request; both from closed sets.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

/// Handles into the registry.
#[derive(Debug)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    duration: Family<VerbLabels, Histogram>,
    /// Open watches.
    pub(crate) watches: Gauge,
    /// Events sent to watches.
    pub(crate) events: Counter,
    /// Requests being answered.
    inflight: Family<VerbLabels, Gauge>,
    /// Requests refused because too many were being answered.
    rejected: Family<VerbLabels, Counter>,
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn register(registry: &strait_runtime::Metrics) -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_5, 2.0, 16));
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(seconds as fn() -> Histogram),
            watches: Gauge::default(),
            events: Counter::default(),
            inflight: Family::default(),
            rejected: Family::default(),
        };
        registry.register(
            "apiserver_request",
            "Requests by verb and status code",
            metrics.requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to answer, watches left out",
            metrics.duration.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Open watches",
            metrics.watches.clone(),
        );
        registry.register(
            "apiserver_watch_events",
            "Events sent to watches",
            metrics.events.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests being answered",
            metrics.inflight.clone(),
        );
        registry.register(
            "apiserver_request_rejected",
            "Requests refused because too many were being answered",
            metrics.rejected.clone(),
        );
        metrics
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, verb: &'static str, code: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { verb, code: u32::from(code) }).inc();
        if verb != "watch" {
            self.duration.get_or_create(&VerbLabels { verb }).observe(took.as_secs_f64());
        }
    }

    /// The gauge of requests being answered, for reads or writes.
    pub(crate) fn inflight_of(&self, reads: bool) -> Gauge {
        self.inflight.get_or_create(&VerbLabels { verb: class(reads) }).clone()
    }

    /// The counter of refused requests, for reads or writes.
    pub(crate) fn rejected_of(&self, reads: bool) -> Counter {
        self.rejected.get_or_create(&VerbLabels { verb: class(reads) }).clone()
    }
}

const fn class(reads: bool) -> &'static str {
    if reads { "readOnly" } else { "mutating" }
}
