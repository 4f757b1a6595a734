//! Connections to one service that speaks HTTP, kept between requests.
//!
//! A connection of HTTP/1.1 is driven by the exchange that uses it and rests without a task: an
//! exchange that is dropped closes it. One of HTTP/2 is shared, and has a task of its own.
//! What rests is looked at before it is used. At most [`RESTING_MAX`] rest, for [`REST`].

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::Either;
use futures_util::poll;
use http::{Request, Response, Version};
use hyper::body::Incoming as Answer;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use strait_runtime::{Clock, TaskSet};

use super::dial::{Dialer, Io};
use super::flow::Incoming;
use super::framing::To;
use super::metrics::{Connected, ServingMetrics};
use super::reader::{Strict, Wire};
use super::trust::Offered;
use crate::message::{ConnectError, Failure};
use crate::services::Protocol;

/// Connections that rest at most.
const RESTING_MAX: usize = 64;
/// How long.
const REST: Duration = Duration::from_secs(90);
/// Requests at once on one connection of HTTP/2.
const SHARED_MAX: usize = 64;
/// What one of them may hold unread, bytes. The connection has that for all of them, so that
/// those that nobody reads hold up no other.
const WINDOW: u32 = 256 << 10;
/// Longest head of an answer, and what of an answer waits to be read, bytes.
const BUFFER: usize = 64 << 10;

/// May hold the request.
pub(super) type Unsent = TrySendError<Request<Incoming>>;

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
    Shared(Lease),
}

/// A connection of HTTP/1.1.
pub(super) struct Single {
    sender: http1::SendRequest<Incoming>,
    connection: http1::Connection<TokioIo<Strict>, Incoming>,
    wire: Arc<Wire>,
    ended: bool,
    counted: Connected,
}

pub(super) struct Shared {
    sender: http2::SendRequest<Incoming>,
    used: AtomicUsize,
    since: Mutex<Duration>,
}

/// A place on a shared connection, given back when dropped.
pub(super) struct Lease {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        *self.shared.since.lock() = self.clock.monotonic();
        self.shared.used.fetch_sub(1, Ordering::AcqRel);
    }
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
        if let Some(lease) = self.lease() {
            return Some(Inner::Shared(lease));
        }
        loop {
            let (mut last, since) = self.resting.lock().pop()?;
            let old = self.clock.monotonic().saturating_sub(since) >= REST;
            if !old && last.is_open().await {
                last.counted.rest(false);
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
            if let Some(lease) = self.lease() {
                return Ok(Inner::Shared(lease));
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
            _ => self.single(io).await,
        }
    }

    async fn single(&self, io: Io) -> Result<Inner, Failure> {
        let wire = Arc::new(Wire::default());
        let io = TokioIo::new(Strict::new(io, wire.clone()));
        let shaken = http1::Builder::new().max_buf_size(BUFFER).handshake(io).await;
        let (sender, connection) = shaken.map_err(|_| failed())?;
        let counted = self.metrics.connection(&self.dialer.service);
        Ok(Inner::Single(Box::new(Single { sender, connection, wire, ended: false, counted })))
    }

    async fn share(&self, io: Io) -> Result<Inner, Failure> {
        let mut builder = http2::Builder::new(Spawn(self.tasks.clone()));
        let all = WINDOW * u32::try_from(SHARED_MAX).unwrap_or(u32::MAX);
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(all)
            .max_header_list_size(u32::try_from(BUFFER).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER);
        let shaken = builder.handshake(TokioIo::new(io)).await;
        let (sender, connection) = shaken.map_err(|_| failed())?;
        let counted = self.metrics.connection(&self.dialer.service);
        let service = self.dialer.service.clone();
        self.tasks.spawn("relay.inner", async move {
            if let Err(error) = connection.await {
                let err = &error as &dyn std::error::Error;
                tracing::debug!(service, err, "a connection broke");
            }
            drop(counted);
        });
        let since = Mutex::new(self.clock.monotonic());
        let shared = Arc::new(Shared { sender, used: AtomicUsize::new(1), since });
        let mut all = self.shared.lock();
        all.push(shared.clone());
        Ok(Inner::Shared(Lease { shared, clock: self.clock.clone() }))
    }

    /// A place on a connection that is open and has one.
    fn lease(&self) -> Option<Lease> {
        let mut all = self.shared.lock();
        all.retain(|one| !one.sender.is_closed());
        let free = |one: &&Arc<Shared>| {
            one.sender.is_ready() && one.used.load(Ordering::Acquire) < SHARED_MAX
        };
        let shared = all.iter().find(free)?.clone();
        shared.used.fetch_add(1, Ordering::AcqRel);
        Some(Lease { shared, clock: self.clock.clone() })
    }

    /// Keeps a connection whose exchange is complete, if it can be used again.
    pub(super) async fn keep(&self, inner: Inner) {
        let Inner::Single(mut single) = inner else { return };
        if !single.is_open().await {
            return;
        }
        single.counted.rest(true);
        let mut resting = self.resting.lock();
        resting.push((single, self.clock.monotonic()));
        let oldest = (resting.len() > RESTING_MAX).then(|| resting.remove(0));
        drop(resting);
        drop(oldest);
    }

    /// Closes what has rested for too long.
    pub(super) fn sweep(&self) {
        let now = self.clock.monotonic();
        let over = |since: Duration| now.saturating_sub(since) >= REST;
        let mut resting = self.resting.lock();
        let old = resting.partition_point(|(_, since)| over(*since));
        let closed: Vec<_> = resting.drain(..old).collect();
        drop(resting);
        drop(closed);
        self.shared.lock().retain(|one| {
            let used = one.used.load(Ordering::Acquire) > 0;
            !one.sender.is_closed() && (used || !over(*one.since.lock()))
        });
    }
}

const fn failed() -> Failure {
    Failure::ConnectFailed(ConnectError::Failed)
}

impl Inner {
    pub(super) const fn version(&self) -> Version {
        match self {
            Self::Single(_) => Version::HTTP_11,
            Self::Shared(_) => Version::HTTP_2,
        }
    }

    /// Says what the next answer is to.
    pub(super) fn ask(&self, to: To) {
        if let Self::Single(single) = self {
            single.wire.ask(to);
        }
    }

    /// Hands a request over; nothing happens before the connection is driven.
    pub(super) fn send(
        &mut self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Answer>, Unsent>> + use<> {
        match self {
            Self::Single(single) => Either::Left(single.sender.try_send_request(request)),
            Self::Shared(lease) => {
                Either::Right(lease.shared.sender.clone().try_send_request(request))
            }
        }
    }

    /// Whether an answer was refused before the parser saw it.
    pub(super) fn has_refused(&self) -> bool {
        matches!(self, Self::Single(single) if single.wire.has_refused())
    }

    /// Does something that needs the connection to move.
    pub(super) async fn drive<T>(&mut self, work: Pin<&mut impl Future<Output = T>>) -> T {
        match self {
            Self::Shared(_) => work.await,
            Self::Single(single) => single.drive(work).await,
        }
    }

    /// The transport of a connection that speaks another protocol now, and what of that was read.
    pub(super) async fn into_io(self) -> Option<(Io, bytes::Bytes)> {
        let Self::Single(mut single) = self else { return None };
        if !single.ended {
            poll_fn(|context| single.connection.poll_without_shutdown(context)).await.ok()?;
        }
        let parts = single.connection.into_parts();
        Some((parts.io.into_inner().into_inner(), parts.read_buf))
    }
}

impl Single {
    /// The connection first: what it reads is what `work` waits for.
    async fn drive<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|context| {
            if !self.ended {
                self.ended = self.connection.poll_without_shutdown(context).is_ready();
            }
            match work.as_mut().poll(context) {
                Poll::Pending if self.ended => work.as_mut().poll(context),
                polled => polled,
            }
        })
        .await
    }

    /// Whether another request can be sent, as far as is known.
    async fn is_open(&mut self) -> bool {
        let mut connection = Pin::new(&mut self.connection);
        !self.ended && poll!(&mut connection).is_pending() && self.sender.is_ready()
    }
}

/// Runs what HTTP/2 needs beside a connection as tasks of ours.
#[derive(Clone)]
struct Spawn(TaskSet);

impl<F> Executor<F> for Spawn
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("relay.inner", future);
    }
}
