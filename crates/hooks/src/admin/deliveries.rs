//! What delivers, as operators reach it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::Backend;
use crate::event::Position;
use crate::schedule::Outcome;
use crate::state::StateError;

/// A backend now.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Events that it has still to get.
    pub waiting: u64,
    /// Attempts under way.
    pub in_flight: usize,
    /// Dead letters.
    pub dead: u64,
    /// Whether it is tried: `closed` (freely), `open` (not now), `half-open` (once).
    pub breaker: &'static str,
    /// When the oldest event was received that it has still to get.
    pub oldest: Option<Timestamp>,
    /// How its last attempt ended.
    pub last: Option<Outcome>,
}

/// What delivers. All but `backends` and `status` may block.
pub trait Deliveries: Send + Sync + 'static {
    /// The backends of now.
    fn backends(&self) -> Arc<[Backend]>;

    /// How they are, in the same order.
    fn status(&self) -> Vec<BackendStatus>;

    /// Has events, in their order, delivered to a backend once more, or for the first time.
    ///
    /// # Errors
    /// See [`StateError`].
    fn replay(&self, backend: &str, positions: &[Position]) -> Result<(), StateError>;

    /// Takes events, in their order, out of what a backend is to get; no attempt begins after
    /// this.
    ///
    /// # Errors
    /// See [`StateError`].
    fn purge(&self, backend: &str, positions: &[Position]) -> Result<(), StateError>;

    /// Delivers to these backends from now on, and to no others.
    ///
    /// # Errors
    /// Why not; nothing changed.
    fn apply(&self, backends: &[Backend]) -> Result<(), String>;
}
