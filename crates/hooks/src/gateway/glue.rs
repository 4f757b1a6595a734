//! Deliveries, as receiving knows them.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::deliver::Deliveries;
use crate::ingest;
use crate::schedule::Outcome;
use crate::{Event, Position};

impl ingest::Deliveries for Deliveries {
    fn has_backend(&self, source: &str) -> bool {
        Self::has_backend(self, source)
    }

    fn offer(&self, position: Position, event: &Arc<Event>) {
        Self::offer(self, position, event);
    }

    fn redrive(&self, position: Position) -> BoxFuture<'static, usize> {
        let this = self.clone();
        async move { Self::redrive(&this, position).await }.boxed()
    }

    fn at_once(&self, event: &Arc<Event>) -> BoxFuture<'static, bool> {
        let (this, event) = (self.clone(), event.clone());
        let taken = |outcome: &Outcome| matches!(outcome, Outcome::Status(200..=299));
        async move {
            let outcomes = Self::at_once(&this, &event).await;
            outcomes.iter().all(|(_, outcome)| taken(outcome))
        }
        .boxed()
    }
}
