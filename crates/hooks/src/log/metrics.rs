//! What the log tells of itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use strait_runtime::{Label, Metrics};

use super::AppendError;

pub(super) struct LogMetrics {
    /// Of writing and syncing one batch.
    pub(super) sync_seconds: Histogram,
    pub(super) batch_records: Histogram,
    pub(super) bytes: Gauge,
    pub(super) queue_bytes: Gauge,
    pub(super) damaged: Counter,
    failures: Family<Label, Counter>,
}

impl LogMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self {
            // 100 µs to 3 s.
            sync_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            batch_records: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            bytes: Gauge::default(),
            queue_bytes: Gauge::default(),
            damaged: Counter::default(),
            failures: Family::default(),
        };
        metrics.register(
            "strait_hooks_log_sync_seconds",
            "Time to write and sync one batch",
            this.sync_seconds.clone(),
        );
        metrics.register(
            "strait_hooks_log_batch_records",
            "Events that were synced together",
            this.batch_records.clone(),
        );
        metrics.register(
            "strait_hooks_log_bytes",
            "What the log takes of its disk",
            this.bytes.clone(),
        );
        metrics.register(
            "strait_hooks_log_queue_bytes",
            "Events that wait to be on disk",
            this.queue_bytes.clone(),
        );
        metrics.register(
            "strait_hooks_log_damaged",
            "Damaged places that were met",
            this.damaged.clone(),
        );
        metrics.register(
            "strait_hooks_log_append_failures",
            "Appends that failed",
            this.failures.clone(),
        );
        this
    }

    pub(super) fn failed(&self, error: AppendError) {
        let reason = match error {
            AppendError::Full => "full",
            AppendError::Busy => "busy",
            AppendError::TooLarge => "too_large",
            AppendError::Closed => "closed",
        };
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }
}
