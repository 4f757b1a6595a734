//! What reaches services behind agents: the hub that a gateway runs in, as deliveries know it.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Request;
use strait_net::{Answer, BoxError};
use tokio::sync::watch;

use crate::config::Service;

/// Carries requests to services behind the agents of the hub around.
pub trait Carrier: Send + Sync {
    /// Makes a request, whose URI is a path of the service, and reads the answer. It has no limit
    /// of time of its own, and repeats nothing that may have been executed.
    ///
    /// # Cancel safety
    /// Dropped, the request may have been made or not.
    fn send(
        &self,
        to: &Service,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Answer, CarryError>>;

    /// Changes whenever a service may have come back.
    fn changes(&self) -> watch::Receiver<u64>;

    /// A number that is another one each time that an agent comes and offers the service; none
    /// while nobody does.
    fn offered(&self, service: &Service) -> Option<u64>;
}

/// A request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// No agent takes it. Nothing was executed.
    #[error("no agent is there that takes it")]
    Nobody,
    /// It is none that can be carried.
    #[error("the request cannot be carried")]
    Malformed(#[source] BoxError),
    /// Whether it had its effect is unknown.
    #[error("the agent took the request and gave no answer")]
    Broken(#[source] BoxError),
}
