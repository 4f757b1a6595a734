//! A connection of HTTP/2 to a service, and the exchanges that share it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use hyper::body::{Body as _, Incoming as Answer};
use hyper::client::conn::{TrySendError, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use strait_net::fields::Fields;
use strait_runtime::{Clock, TaskSet};
use tokio::sync::mpsc;

use super::dial::Io;
use super::flow::Incoming;
use super::metrics::Connected;
use super::pool::{Lost, Said};
use super::request::Asked;
use crate::http::BadHead;
use crate::message::{ConnectError, Failure};

/// Requests at once on one connection.
const SHARED_MAX: usize = 64;
/// What one of them may hold unread, bytes. The connection has that for all of them, so that
/// those that nobody reads hold up no other.
const WINDOW: u32 = 256 << 10;
/// Longest head of an answer, and what of a request waits to be sent, bytes.
const BUFFER: usize = 64 << 10;
/// Informational heads that wait; more than come before one answer.
const INFORMED_MAX: usize = 8;

/// The connection.
pub(super) struct Shared {
    sender: http2::SendRequest<Incoming>,
    used: AtomicUsize,
    since: Mutex<Duration>,
    clock: Arc<dyn Clock>,
}

/// A place on a shared connection, given back when dropped, and the exchange there.
pub(super) struct Place {
    shared: Arc<Shared>,
    state: State,
}

enum State {
    Begun,
    Asked(Sending, mpsc::Receiver<Said>),
    Answering(Answer),
}

type Sending = Pin<Box<dyn Future<Output = Result<Response<Answer>, Unsent>> + Send>>;

/// May hold the request.
type Unsent = TrySendError<http::Request<Incoming>>;

impl Shared {
    /// A connection that is driven by a task of its own.
    ///
    /// # Errors
    /// The other side does not speak HTTP/2.
    pub(super) async fn new(
        io: Io,
        service: &str,
        counted: Connected,
        tasks: &TaskSet,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Failure> {
        let mut builder = http2::Builder::new(Spawn(tasks.clone()));
        let all = WINDOW * u32::try_from(SHARED_MAX).unwrap_or(u32::MAX);
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(all)
            .max_header_list_size(u32::try_from(BUFFER).unwrap_or(u32::MAX))
            .max_send_buf_size(BUFFER);
        let shaken = builder.handshake(TokioIo::new(io)).await;
        let failed = |_| Failure::ConnectFailed(ConnectError::Failed);
        let (sender, connection) = shaken.map_err(failed)?;
        let service = service.to_owned();
        tasks.spawn("relay.inner", async move {
            if let Err(error) = connection.await {
                let err = &error as &dyn std::error::Error;
                tracing::debug!(service, err, "a connection broke");
            }
            drop(counted);
        });
        let since = Mutex::new(clock.monotonic());
        Ok(Arc::new(Self { sender, used: AtomicUsize::new(0), since, clock }))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Since when nobody uses it; none while somebody does.
    pub(super) fn unused_since(&self) -> Option<Duration> {
        let used = self.used.load(Ordering::Acquire) > 0;
        (!used).then(|| *self.since.lock())
    }

    /// A place; none where all are taken.
    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        if !self.sender.is_ready() || self.used.load(Ordering::Acquire) >= SHARED_MAX {
            return None;
        }
        self.used.fetch_add(1, Ordering::AcqRel);
        Some(Place { shared: self.clone(), state: State::Begun })
    }
}

impl Place {
    /// Begins an exchange.
    ///
    /// # Errors
    /// Its host is none for HTTP/2.
    pub(super) fn begin(&mut self, asked: &Asked, body: Incoming) -> Result<(), BadHead> {
        let request = asked.clone().into_http2(body);
        let mut request = request.ok_or(BadHead::Authority("malformed"))?;
        let (informed, heads) = mpsc::channel(INFORMED_MAX);
        hyper::ext::on_informational(&mut request, move |head| {
            // More than are passed on need not be kept.
            drop(informed.try_send(Said::Informed(head.status(), Fields::from(head.headers()))));
        });
        let sending = self.shared.sender.clone().try_send_request(request);
        self.state = State::Asked(Box::pin(sending), heads);
        Ok(())
    }

    /// What the answer says next.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Lost>> {
        match &mut self.state {
            State::Begun => Poll::Ready(Err(Lost::Broken)),
            State::Asked(sending, heads) => {
                if let Poll::Ready(Some(informed)) = heads.poll_recv(context) {
                    return Poll::Ready(Ok(informed));
                }
                match ready!(sending.as_mut().poll(context)) {
                    Ok(response) => Poll::Ready(self.answered(response)),
                    Err(mut error) => Poll::Ready(Err(match error.take_message() {
                        Some(request) => Lost::Unsent(request.into_body()),
                        None if error.error().is_parse() => Lost::Malformed,
                        None => Lost::Broken,
                    })),
                }
            }
            State::Answering(body) => {
                let Some(frame) = ready!(Pin::new(body).poll_frame(context)) else {
                    return Poll::Ready(Ok(Said::End));
                };
                Poll::Ready(match frame.map(http_body::Frame::into_data) {
                    Err(_) => Err(Lost::Broken),
                    Ok(Ok(data)) => Ok(Said::Data(data)),
                    Ok(Err(frame)) => Ok(Said::Trailers(frame.into_trailers().unwrap_or_default())),
                })
            }
        }
    }

    fn answered(&mut self, response: Response<Answer>) -> Result<Said, Lost> {
        let (parts, body) = response.into_parts();
        let empty = body.is_end_stream();
        self.state = State::Answering(body);
        let fields = Fields::from(&parts.headers);
        if fields.len() < parts.headers.len() {
            return Err(Lost::Malformed);
        }
        Ok(Said::Head { version: parts.version, status: parts.status, fields, empty })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.shared.since.lock() = self.shared.clock.monotonic();
        self.shared.used.fetch_sub(1, Ordering::AcqRel);
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
