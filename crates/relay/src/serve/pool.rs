//! Connections to one service that speaks HTTP, kept between requests.
//!
//! A connection of HTTP/1.1 is driven by the exchange that uses it and rests without a task: an
//! exchange that is dropped closes it. One of HTTP/2 is shared, and has a task of its own.
//! What rests is looked at before it is used. As many may rest as were in use at once, up to
//! [`RESTING_MAX`]: were some of them closed and made again for each request, the machine would run out of
//! ports. Most of them for a short time, so that a burst leaves a service its own connections.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use parking_lot::Mutex;
use strait_net::fields::Fields;
use strait_runtime::{Clock, TaskSet};

use super::dial::{Dialer, Io};
use super::flow::Incoming;
use super::metrics::ServingMetrics;
use super::request::Asked;
use super::shared::{Place, Shared};
use super::single::Single;
use super::trust::Offered;
use crate::http::BadHead;
use crate::message::{ConnectError, Failure};
use crate::services::Protocol;

/// Connections that rest at most.
const RESTING_MAX: usize = 1_024;
/// How long the last of them that were used may.
const REST: Duration = Duration::from_secs(90);
/// How many those are, and how long the others may.
const LONG_RESTING: usize = 64;
const REST_OF_OTHERS: Duration = Duration::from_secs(10);

/// The connections of one service.
pub(super) struct Pool {
    dialer: Dialer,
    protocol: Protocol,
    clock: Arc<dyn Clock>,
    tasks: TaskSet,
    metrics: ServingMetrics,
    resting: Mutex<Vec<(Box<Single>, Duration)>>,
    shared: Mutex<Vec<Arc<Shared>>>,
    /// One connects where what is there may do for the others then.
    connecting: tokio::sync::Mutex<()>,
}

/// A connection to use.
pub(super) enum Inner {
    /// HTTP/1.1.
    Single(Box<Single>),
    /// A place on one of HTTP/2.
    Shared(Box<Place>),
}

/// What a service says next.
#[derive(Debug)]
pub(super) enum Said {
    /// A head that announces another one.
    Informed(StatusCode, Fields),
    /// The head of its answer; `empty`: nothing follows.
    Head {
        version: Version,
        status: StatusCode,
        fields: Fields,
        empty: bool,
    },
    Data(Bytes),
    Trailers(HeaderMap),
    /// It is over, and complete.
    End,
}

/// Why it says nothing more.
pub(super) enum Lost {
    /// Nothing of the request was written; its body.
    Unsent(Incoming),
    /// What came is no HTTP.
    Malformed,
    /// Either side broke off.
    Broken,
}

impl Pool {
    pub(super) fn new(
        dialer: Dialer,
        protocol: Protocol,
        clock: Arc<dyn Clock>,
        tasks: TaskSet,
        metrics: ServingMetrics,
    ) -> Self {
        Self {
            dialer,
            protocol,
            clock,
            tasks,
            metrics,
            resting: Mutex::default(),
            shared: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// How the service is reached.
    pub(super) const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// A connection that was there, if one still is.
    pub(super) async fn rested(&self) -> Option<Inner> {
        if let Some(place) = self.place() {
            return Some(place);
        }
        loop {
            let (mut last, since) = self.resting.lock().pop()?;
            let old = self.clock.monotonic().saturating_sub(since) >= REST;
            if !old && last.is_quiet().await {
                last.rest(false);
                return Some(Inner::Single(last));
            }
        }
    }

    /// A new one; or a place on another's that was made meanwhile. `upgrade`: one that can become
    /// a connection of another protocol.
    pub(super) async fn connect(&self, upgrade: bool, limit: Duration) -> Result<Inner, Failure> {
        let offered = match self.protocol {
            Protocol::Http1 => Offered::Http1,
            _ if upgrade => Offered::Http1,
            Protocol::Auto => Offered::Both,
            Protocol::Http2 => Offered::Http2,
            Protocol::H2c => Offered::Nothing,
        };
        if matches!(self.protocol, Protocol::Http2 | Protocol::H2c) {
            let _turn = self.connecting.lock().await;
            if let Some(place) = self.place() {
                return Ok(place);
            }
            return self.dial(offered, limit).await;
        }
        self.dial(offered, limit).await
    }

    async fn dial(&self, offered: Offered, limit: Duration) -> Result<Inner, Failure> {
        let (io, h2) = self.dialer.dial(offered, limit).await?;
        match self.protocol {
            Protocol::H2c => self.share(io).await,
            Protocol::Http2 if !h2 => Err(Failure::UpstreamProtocol),
            _ if h2 => self.share(io).await,
            _ => {
                let counted = self.metrics.connection(&self.dialer.service);
                Ok(Inner::Single(Box::new(Single::new(io, counted))))
            }
        }
    }

    async fn share(&self, io: Io) -> Result<Inner, Failure> {
        let counted = self.metrics.connection(&self.dialer.service);
        let service = &self.dialer.service;
        let shared = Shared::new(io, service, counted, &self.tasks, self.clock.clone()).await?;
        let place = Shared::place(&shared);
        self.shared.lock().push(shared);
        let failed = Failure::ConnectFailed(ConnectError::Failed);
        place.map(|place| Inner::Shared(Box::new(place))).ok_or(failed)
    }

    /// A place on a connection that is open and has one.
    fn place(&self) -> Option<Inner> {
        let mut all = self.shared.lock();
        all.retain(|one| !one.is_closed());
        all.iter().find_map(Shared::place).map(|place| Inner::Shared(Box::new(place)))
    }

    /// Keeps a connection whose exchange is complete. One with half a request on it is closed.
    pub(super) fn keep(&self, inner: Inner) {
        let Inner::Single(mut single) = inner else { return };
        if !single.is_reusable() {
            return;
        }
        single.rest(true);
        let mut resting = self.resting.lock();
        resting.push((single, self.clock.monotonic()));
        let oldest = (resting.len() > RESTING_MAX).then(|| resting.remove(0));
        drop(resting);
        drop(oldest);
    }

    /// Closes what has rested for too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.monotonic();
        let mut resting = self.resting.lock();
        let old = have_rested(resting.iter().map(|(_, since)| *since), now);
        let closed: Vec<_> = resting.drain(..old).collect();
        drop(resting);
        drop(closed);
        let over = |since: Duration| now.saturating_sub(since) >= REST;
        self.shared.lock().retain(|one| !one.is_closed() && !one.unused_since().is_some_and(over));
    }
}

/// How many of connections have rested for as long as they may at `now`, given since when each does,
/// the oldest first.
fn have_rested(all: impl ExactSizeIterator<Item = Duration>, now: Duration) -> usize {
    let others = all.len().saturating_sub(LONG_RESTING);
    let limits = (0..all.len()).map(|at| if at < others { REST_OF_OTHERS } else { REST });
    all.zip(limits).take_while(|(since, limit)| now.saturating_sub(*since) >= *limit).count()
}

impl Inner {
    /// Begins to send a request; nothing happens before something is asked of it. `has_body`:
    /// `body` is one.
    ///
    /// # Errors
    /// It cannot be said in the connection's protocol.
    pub(super) fn begin(
        &mut self,
        asked: &Asked,
        body: Incoming,
        has_body: bool,
    ) -> Result<(), BadHead> {
        match self {
            Self::Single(single) => {
                single.begin(asked, body, has_body);
                Ok(())
            }
            Self::Shared(place) => place.begin(asked, body),
        }
    }

    /// Sends of the request what there is.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) {
        if let Self::Single(single) = self {
            single.poll_send(context);
        }
    }

    /// What the service says next. The request is sent meanwhile.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Lost>> {
        match self {
            Self::Single(single) => single.poll_next(context),
            Self::Shared(place) => place.poll_next(context),
        }
    }

    /// The transport of a connection that speaks another protocol now, and what of that was read.
    pub(super) fn into_io(self) -> Option<(Io, Bytes)> {
        match self {
            Self::Single(single) => Some(single.into_io()),
            Self::Shared(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_leaves_rests_for_a_short_time() {
        // How many, since when, in seconds, the oldest first; at 100 s.
        for (resting, expected) in [
            (&[(64, 11)][..], 0),
            (&[(64, 10)], 64),
            (&[(65, 11)], 1),
            (&[(1, 90), (64, 11)], 1),
            (&[(1, 91), (64, 11)], 0),
            (&[(300, 80), (20, 99)], 256),
            (&[(300, 5), (20, 99)], 300),
            (&[(3, 80), (60, 99)], 0),
            (&[], 0),
        ] {
            let since = resting.iter().flat_map(|(count, since)| {
                std::iter::repeat_n(Duration::from_secs(*since), *count)
            });
            let since: Vec<_> = since.collect();
            let found = have_rested(since.into_iter(), Duration::from_secs(100));
            assert_eq!(found, expected, "{resting:?}");
        }
    }
}
