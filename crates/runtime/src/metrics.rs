//! The metrics of one process, passed down; there is no global registry.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::Clock;
use crate::process::ProcessCollector;

/// The content type of [`Metrics::encode`].
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One label whose values come from a closed set, as a [`Family`]'s key.
pub type Label = [(&'static str, &'static str); 1];

/// A process's metrics. Clones are the same registry.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    tasks: Family<Label, Gauge>,
    panics: Family<Label, Counter>,
    queues: QueueFamilies,
}

#[derive(Default)]
struct State {
    registry: Registry,
    names: BTreeSet<&'static str>,
}

#[derive(Default)]
struct QueueFamilies {
    length: Family<Label, Gauge>,
    capacity: Family<Label, Gauge>,
    refused: Family<Label, Counter>,
}

/// What every bounded queue exports: `strait_runtime_queue_{length,capacity}` and
/// `strait_runtime_queue_refused_total`, by queue.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    /// How many wait.
    pub length: Gauge,
    /// How many were turned away because the queue was full.
    pub refused: Counter,
}

impl Metrics {
    /// A registry with the metrics of tasks and queues.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self(Arc::new(Inner {
            state: Mutex::default(),
            tasks: Family::default(),
            panics: Family::default(),
            queues: QueueFamilies::default(),
        }));
        let inner = &*metrics.0;
        metrics.register("strait_runtime_tasks", "Tasks that run now", inner.tasks.clone());
        metrics.register(
            "strait_runtime_task_panics",
            "Tasks that ended by a panic",
            inner.panics.clone(),
        );
        metrics.register(
            "strait_runtime_queue_length",
            "Entries that wait in a queue",
            inner.queues.length.clone(),
        );
        metrics.register(
            "strait_runtime_queue_capacity",
            "Entries that a queue holds at most",
            inner.queues.capacity.clone(),
        );
        metrics.register(
            "strait_runtime_queue_refused",
            "Entries that a full queue refused",
            inner.queues.refused.clone(),
        );
        metrics
    }

    /// Adds a metric. `name` is whole (`strait_<crate>_<noun>_<unit>`); a counter's is without
    /// `_total`, which the encoding adds.
    ///
    /// # Panics
    /// In a debug build, if the name was registered before: two families of one name are not
    /// OpenMetrics.
    pub fn register(&self, name: &'static str, help: &str, metric: impl Metric) {
        let mut state = self.0.state.lock();
        let fresh = state.names.insert(name);
        debug_assert!(fresh, "metric {name} is registered twice");
        state.registry.register(name, help, metric);
    }

    /// Adds `process_*`: resident memory, open files, start, CPU seconds. Read at each scrape.
    pub fn register_process(&self, clock: &dyn Clock) {
        self.register_collector(ProcessCollector::new(clock));
    }

    /// Adds what is read at each scrape. Its names must be nobody else's.
    pub fn register_collector(&self, collector: impl Collector) {
        self.0.state.lock().registry.register_collector(Box::new(collector));
    }

    /// The metrics of a queue that holds at most `capacity` entries.
    #[must_use]
    pub fn queue(&self, name: &'static str, capacity: usize) -> QueueMetrics {
        let (label, queues) = ([("queue", name)], &self.0.queues);
        let capacity = i64::try_from(capacity).unwrap_or(i64::MAX);
        queues.capacity.get_or_create(&label).set(capacity);
        QueueMetrics {
            length: queues.length.get_or_create_owned(&label),
            refused: queues.refused.get_or_create_owned(&label),
        }
    }

    pub(crate) fn tasks(&self, name: &'static str) -> Gauge {
        self.0.tasks.get_or_create_owned(&[("task", name)])
    }

    pub(crate) fn panics(&self, name: &'static str) -> Counter {
        self.0.panics.get_or_create_owned(&[("task", name)])
    }

    /// Everything as OpenMetrics text ([`METRICS_CONTENT_TYPE`]).
    ///
    /// # Panics
    /// Never: writing to a string does not fail.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.state.lock().registry).expect("a string takes all text");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.state.lock().names.len();
        f.debug_struct("Metrics").field("names", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn encodes_what_was_registered() {
        let metrics = Metrics::new();
        let counter = Counter::<u64>::default();
        metrics.register("strait_test_things", "Things", counter.clone());
        counter.inc_by(3);
        let queue = metrics.queue("inbox", 64);
        queue.length.set(2);
        queue.refused.inc();

        let text = metrics.encode();
        for line in [
            "# HELP strait_test_things Things.",
            "# TYPE strait_test_things counter",
            "strait_test_things_total 3",
            "strait_runtime_queue_length{queue=\"inbox\"} 2",
            "strait_runtime_queue_capacity{queue=\"inbox\"} 64",
            "strait_runtime_queue_refused_total{queue=\"inbox\"} 1",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_queue_asked_for_twice_is_the_same() {
        let metrics = Metrics::new();
        metrics.queue("inbox", 1).refused.inc();
        assert_eq!(metrics.queue("inbox", 1).refused.get(), 1);
    }

    #[test]
    #[should_panic(expected = "strait_test_things is registered twice")]
    #[cfg(debug_assertions)]
    fn a_name_is_taken_once() {
        let metrics = Metrics::new();
        metrics.register("strait_test_things", "", Counter::<u64>::default());
        metrics.register("strait_test_things", "", Counter::<u64>::default());
    }

    #[test]
    fn tells_of_the_process() {
        let metrics = Metrics::new();
        metrics.register_process(&SystemClock);
        let text = metrics.encode();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in\n{text}")).trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 100_000.0);
        assert!(value("process_open_fds ") >= 3.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double")]
        let now = SystemClock.now().as_second() as f64;
        let started = value("process_start_time_seconds ");
        assert!((now - 3600.0..=now + 1.0).contains(&started), "{started} {now}");
    }
}
