//! What delivers, as operators reach it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use strait_net::BoxError;

use crate::breaker::Breaker;
use crate::config::Backend;
use crate::event::Position;
use crate::schedule::Outcome;

/// A backend now.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Events that wait.
    pub waiting: usize,
    /// Attempts under way.
    pub in_flight: usize,
    /// Dead letters.
    pub dead: usize,
    /// Whether it is tried.
    pub breaker: Breaker,
    /// When the oldest event was received that it has still to get.
    pub oldest: Option<Timestamp>,
    /// How its last attempt ended.
    pub last: Option<Outcome>,
}

/// What delivers.
pub trait Deliveries: Send + Sync + 'static {
    /// The backends of now.
    fn backends(&self) -> Arc<[Backend]>;

    /// How they are.
    fn status(&self) -> BoxFuture<'_, Vec<BackendStatus>>;

    /// Has events, in their order, delivered to backends once more, or for the first time, unless
    /// they wait there already. At how many.
    ///
    /// # Errors
    /// Some may have been.
    fn replay<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>>;

    /// Takes events, in their order, out of what backends are to get; no attempt begins after
    /// this. At how many.
    ///
    /// # Errors
    /// Some may have been.
    fn purge<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>>;

    /// Delivers to these backends from now on, and to no others.
    ///
    /// # Errors
    /// Nothing changed.
    fn apply<'a>(&'a self, backends: &'a [Backend]) -> BoxFuture<'a, Result<(), BoxError>>;
}
