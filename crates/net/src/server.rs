//! HTTP as a server: what it is made of, and how it is bounded.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use rustls::ServerConfig;
use strait_runtime::{Shutdown, TaskSet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::accept::accept;
use crate::address::Network;
use crate::body::Body;
use crate::connection::Connection;
use crate::incoming::Incoming;
use crate::metrics::ServerMetrics;
use crate::request::Request;
use crate::response::Response;

/// The type of what the server itself says.
pub(crate) const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers requests. Made by [`handler`] or [`handler_of_heads`].
pub type Handler =
    Arc<dyn Fn(Arc<Connection>, Request) -> BoxFuture<'static, Response> + Send + Sync>;

/// Makes a [`Handler`] of an async function.
///
/// The future is dropped when the client goes away. A handler whose effect must not stop halfway
/// spawns it on a [`TaskSet`] and awaits the task.
///
/// A panic in it is answered with 500 and counted; the connection lives on. What it leaves of a
/// small body behind a refusal is read for it.
pub fn handler<F, R>(answer: F) -> Handler
where
    F: Fn(Arc<Connection>, http::Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = http::Response<Body>> + Send + 'static,
{
    handler_of_heads(move |connection, request| {
        answer(connection, request.into_http()).map(Response::from)
    })
}

/// The same of one that takes a [`Request`], with its head as it was read.
pub fn handler_of_heads<F, R>(answer: F) -> Handler
where
    F: Fn(Arc<Connection>, Request) -> R + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    Arc::new(move |connection, request| answer(connection, request).boxed())
}

/// A connection whose handshake is over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Speaks a protocol on a connection until that is over.
pub type Speaker =
    Arc<dyn Fn(Arc<Connection>, Box<dyn Io>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What a listener speaks beside HTTP, where a client asks for it in the TLS handshake.
#[derive(Clone)]
pub struct Protocol {
    /// Its ALPN name (RFC 7301).
    pub alpn: &'static [u8],
    /// Speaks it until the connection is over. When the server is to shut down, it must end by
    /// itself.
    pub serve: Speaker,
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Protocol").field(&String::from_utf8_lossy(self.alpn)).finish()
    }
}

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; one more is closed at once.
    pub connections: u32,
    /// TLS handshakes at once, of all and of one client ([`client_of`](crate::client_of)); more
    /// wait, within their time. Who comes through one of [`Server::proxies`] that names nobody
    /// counts among all alone.
    pub handshakes: [usize; 2],
    /// Time for a TLS handshake, the wait for its turn included.
    pub handshake_time: Duration,
    /// Time for the head of an HTTP/1.1 request, from the moment that the connection is free
    /// for it: so also how long it may be idle.
    pub head_time: Duration,
    /// Connections of one client at once ([`client_of`](crate::client_of)); one more is closed
    /// at once. None by default: as many as are free, so that one client alone has half of all.
    /// Who comes from this machine, and trusted proxies that name nobody, have all of them then.
    pub per_client: Option<u32>,
    /// HTTP/1.1: bytes that are taken of an answer before the client takes them, but for what comes
    /// with them at once.
    pub buffer: u32,
    /// The same of all connections together, in bytes: the nearer that is, the less each may have,
    /// but for a piece of 16 KiB.
    pub buffers: u64,
    /// HTTP/1.1: how long a client may take nothing of its answers before it is closed. No limit
    /// by default, since an answer may be a stream that its reader has put aside.
    pub answer_time: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // About 40 KiB each with TLS and HTTP/2.
            connections: 10_000,
            // Each is about a millisecond of CPU, and some 30 KiB.
            handshakes: [1_024, 32],
            handshake_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            per_client: None,
            buffer: 128 << 10,
            buffers: 128 << 20,
            answer_time: None,
        }
    }
}

/// What is spoken without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clear {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 too, where a client begins with it (RFC 9113 §3.3).
    Http1Or2,
}

/// An HTTP server, all but its listener and its handler.
#[derive(Clone, Debug)]
pub struct Server {
    /// TLS, which negotiates HTTP/2 or HTTP/1.1; without it, what `clear` says.
    pub tls: Option<Arc<ServerConfig>>,
    /// What it speaks without TLS.
    pub clear: Clear,
    /// What it speaks beside HTTP, over TLS.
    pub protocol: Option<Protocol>,
    /// Its limits.
    pub limits: Limits,
    /// Balancers of TCP, whose connections may begin with a header of the PROXY protocol. Only
    /// with TLS: a request in the clear could begin like one.
    pub proxies: Vec<Network>,
    /// Where it counts.
    pub metrics: ServerMetrics,
    /// Where its connections run.
    pub tasks: TaskSet,
    /// When asked, the server accepts nothing more, lets requests that it has end, and returns.
    pub shutdown: Shutdown,
}

impl Server {
    /// One that speaks HTTP/1.1 in the clear, within the usual limits.
    #[must_use]
    pub fn plain(metrics: ServerMetrics, tasks: TaskSet, shutdown: Shutdown) -> Self {
        let (clear, limits, proxies) = (Clear::Http1, Limits::default(), Vec::new());
        Self { tls: None, clear, protocol: None, limits, proxies, metrics, tasks, shutdown }
    }

    /// Serves until asked to shut down and the last connection ended. Requests that do not end
    /// by themselves, such as watches, are for the handler to end.
    pub async fn serve(self, listener: TcpListener, handler: Handler) {
        accept(self, listener, handler).await;
    }

    /// As [`serve`](Self::serve), over a socket of this machine. Who may connect is for the
    /// socket's file to say; [`Connection::peer`] is `[::]:0`.
    pub async fn serve_unix(self, listener: UnixListener, handler: Handler) {
        accept(self, listener, handler).await;
    }

    /// Answers a request, whatever the handler does.
    pub(crate) async fn answer(
        &self,
        handler: &Handler,
        connection: Arc<Connection>,
        request: Request,
    ) -> Response {
        // Within a future, so that a panic before the handler's own future exists counts too.
        let answer = async { handler(connection, request).await };
        match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(response) => response,
            // The panic hook logged it.
            Err(_) => {
                self.metrics.panics.inc();
                internal_error().into()
            }
        }
    }
}

pub(crate) fn internal_error() -> http::Response<Body> {
    says(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the server's log\n")
}

/// What the server itself says.
pub(crate) fn says(status: StatusCode, text: impl Into<Body>) -> http::Response<Body> {
    let mut response = http::Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PLAIN));
    response
}

#[cfg(test)]
mod tests;
