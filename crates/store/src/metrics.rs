//! What a store tells about itself.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Handles into the registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Time of one engine commit, sync included.
    pub(crate) commit: Histogram,
    /// Transactions in one engine commit.
    pub(crate) batch: Histogram,
    /// Transactions waiting.
    pub(crate) waiting: Gauge,
    /// Transactions refused because too many waited.
    pub(crate) busy: Counter,
    /// Transactions refused by a compare.
    pub(crate) refused: Counter,
    /// Engine commits that failed.
    pub(crate) failures: Counter,
    /// Newest revision.
    pub(crate) revision: Gauge,
    /// Oldest revision that can be watched from.
    pub(crate) floor: Gauge,
    /// Memory of retained history.
    pub(crate) history: Gauge,
    /// Steps of reading history back from the log.
    pub(crate) log_reads: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &strait_runtime::Metrics) -> Self {
        let metrics = Self {
            commit: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            waiting: Gauge::default(),
            busy: Counter::default(),
            refused: Counter::default(),
            failures: Counter::default(),
            revision: Gauge::default(),
            floor: Gauge::default(),
            history: Gauge::default(),
            log_reads: Counter::default(),
        };
        registry.register(
            "strait_store_commit_seconds",
            "Time of a group commit, sync included",
            metrics.commit.clone(),
        );
        registry.register(
            "strait_store_batch_transactions",
            "Transactions of a group commit",
            metrics.batch.clone(),
        );
        registry.register(
            "strait_store_waiting_transactions",
            "Transactions waiting for the writer",
            metrics.waiting.clone(),
        );
        registry.register(
            "strait_store_busy",
            "Transactions refused because too many of their logical cluster waited",
            metrics.busy.clone(),
        );
        registry.register(
            "strait_store_refused",
            "Transactions refused by a compare",
            metrics.refused.clone(),
        );
        registry.register(
            "strait_store_commit_failures",
            "Group commits that failed",
            metrics.failures.clone(),
        );
        registry.register("strait_store_revision", "Newest revision", metrics.revision.clone());
        registry.register(
            "strait_store_floor_revision",
            "Oldest revision that can be watched from",
            metrics.floor.clone(),
        );
        registry.register(
            "strait_store_history_bytes",
            "Memory of retained history",
            metrics.history.clone(),
        );
        registry.register(
            "strait_store_log_reads",
            "Steps in which watches read history from the log",
            metrics.log_reads.clone(),
        );
        metrics
    }
}
