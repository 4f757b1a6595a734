//! What `main` passes down.

use std::sync::Arc;

use crate::{Clock, Entropy, Metrics, Shutdown, SystemClock, SystemEntropy, TaskSet, Tracer};

/// What a role runs in: nothing below `main` reaches for any of it by itself.
#[derive(Clone)]
pub struct Context {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Metrics.
    pub metrics: Metrics,
    /// Tasks.
    pub tasks: TaskSet,
    /// When to end.
    pub shutdown: Shutdown,
    /// What begins spans.
    pub tracer: Tracer,
}

impl Context {
    /// The machine's own clock and randomness, nothing running yet, and no traces.
    #[must_use]
    pub fn of_system() -> Self {
        let metrics = Metrics::new();
        Self {
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            tasks: TaskSet::new(&metrics),
            metrics,
            shutdown: Shutdown::new(),
            tracer: Tracer::off(),
        }
    }
}
