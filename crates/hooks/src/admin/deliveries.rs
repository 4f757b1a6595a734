//! What delivers, as operators reach it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use strait_net::BoxError;

use crate::config::{Backend, Source};
use crate::deliver::{self, Schemes, Status};
use crate::event::Position;

/// What delivers.
pub trait Deliveries: Send + Sync + 'static {
    /// The backends of now.
    fn backends(&self) -> Arc<[Backend]>;

    /// What the events of each source say of themselves.
    fn schemes(&self) -> Arc<Schemes>;

    /// How they are.
    fn status(&self) -> BoxFuture<'_, Vec<Status>>;

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

    /// Delivers what these sources send to these backends from now on, and to no others.
    ///
    /// # Errors
    /// Nothing changed.
    fn apply<'a>(
        &'a self,
        sources: &'a [Source],
        backends: &'a [Backend],
    ) -> BoxFuture<'a, Result<(), BoxError>>;
}

impl Deliveries for deliver::Deliveries {
    fn backends(&self) -> Arc<[Backend]> {
        Self::backends(self)
    }

    fn schemes(&self) -> Arc<Schemes> {
        Self::schemes(self)
    }

    fn status(&self) -> BoxFuture<'_, Vec<Status>> {
        Box::pin(Self::status(self))
    }

    fn replay<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>> {
        Box::pin(async { Ok(Self::replay(self, backends, positions).await?) })
    }

    fn purge<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>> {
        Box::pin(async { Ok(Self::purge(self, backends, positions).await?) })
    }

    fn apply<'a>(
        &'a self,
        sources: &'a [Source],
        backends: &'a [Backend],
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async { Ok(Self::apply(self, sources, backends).await?) })
    }
}
