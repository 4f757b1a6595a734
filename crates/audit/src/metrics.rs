//! What the log tells of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_runtime::{Label, Metrics};

use crate::error::AppendError;

pub(crate) struct LogMetrics {
    pub(crate) records: Counter,
    pub(crate) mirror_failures: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) healthy: Gauge,
    failures: Family<Label, Counter>,
}

impl LogMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            records: Counter::default(),
            mirror_failures: Counter::default(),
            // 100 µs to 3 s.
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            healthy: Gauge::default(),
            failures: Family::default(),
        };
        metrics.register("strait_audit_records", "Records written", this.records.clone());
        metrics.register(
            "strait_audit_append_failures",
            "Appends that failed",
            this.failures.clone(),
        );
        metrics.register(
            "strait_audit_mirror_failures",
            "Positions that could not be mirrored",
            this.mirror_failures.clone(),
        );
        metrics.register(
            "strait_audit_commit_seconds",
            "Time to write and sync one batch",
            this.commit_seconds.clone(),
        );
        metrics.register(
            "strait_audit_healthy",
            "1 while lines can be written",
            this.healthy.clone(),
        );
        this
    }

    pub(crate) fn failed(&self, error: AppendError) {
        let reason = match error {
            AppendError::QueueFull => "queue_full",
            AppendError::TooLarge => "too_large",
            AppendError::NoSpace => "no_space",
            AppendError::Broken => "broken",
            AppendError::Closed => "closed",
        };
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }
}
