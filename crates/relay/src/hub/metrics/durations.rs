//! A histogram of durations without a lock: each request counts into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Bounds of a histogram, microseconds, that grow.
pub(super) type Bounds = [u64; 9];

/// Lines of a histogram: its bounds, infinity, sum and count.
pub(super) const LINES: usize = 9 + 3;

/// How long something took, by bounds; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Durations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static Bounds,
    /// Up to each bound from the one before, and beyond the last.
    counts: [AtomicU64; 10],
    micros: AtomicU64,
}

impl Durations {
    pub(super) fn new(bounds: &'static Bounds) -> Self {
        Self(Arc::new(Inner { bounds, counts: Default::default(), micros: AtomicU64::new(0) }))
    }

    pub(super) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = self.0.bounds.partition_point(|bound| *bound < micros);
        self.0.counts[at].fetch_add(1, Relaxed);
        self.0.micros.fetch_add(micros, Relaxed);
    }
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_precision_loss, reason = "a sum is no exact number")]
        let seconds = |micros: u64| micros as f64 / 1e6;
        let bounds = self.0.bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let counts = self.0.counts.iter().map(|count| count.load(Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = seconds(self.0.micros.load(Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use strait_runtime::Metrics;

    use super::*;

    #[test]
    fn durations_are_counted_up_to_each_bound() {
        const BOUNDS: Bounds =
            [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000];
        let metrics = Metrics::new();
        let durations = Durations::new(&BOUNDS);
        metrics.register("took_seconds", "How long it took", durations.clone());
        for micros in [0, 1_000, 1_001, 500_000, 500_001] {
            durations.observe(Duration::from_micros(micros));
        }
        let text = metrics.encode();
        for line in [
            "took_seconds_bucket{le=\"0.001\"} 2",
            "took_seconds_bucket{le=\"0.002\"} 3",
            "took_seconds_bucket{le=\"0.2\"} 3",
            "took_seconds_bucket{le=\"0.5\"} 4",
            "took_seconds_bucket{le=\"+Inf\"} 5",
            "took_seconds_sum 1.002002",
            "took_seconds_count 5",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}: {text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("took")).count(), LINES);
    }
}
