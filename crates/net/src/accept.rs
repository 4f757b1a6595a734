//! Connections: accepted, secured, served.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, TryFutureExt as _};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use rustls::ServerConnection;
use socket2::SockRef;
use strait_runtime::TaskSet;
use strait_types::is_field_name;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::begun::Begun;
use crate::body::{Body, BoxError};
use crate::connection::Connection;
use crate::handshakes::Handshakes;
use crate::http1::serve::serve;
use crate::http1::{HEAD_BYTES_MAX, Malformed};
use crate::incoming::Incoming;
use crate::metrics::{ConnectionFailure, Counted, ServerMetrics};
use crate::peers::Peers;
use crate::proxied::{self, Is, Said, Whose};
use crate::request::Request;
use crate::response::Response;
use crate::server::{Clear, Handler, Protocol, Server, says};
use crate::unread::Unread;

/// HTTP/2: requests at once on a connection, as kube-apiserver has it.
const STREAMS_MAX: u32 = 250;
/// HTTP/2: what a client may send of one body before it is read.
const STREAM_WINDOW: u32 = 1 << 20;
/// HTTP/2: the same of all bodies. A small one would also end connections with many unread
/// small frames (h2 accounts for those against half of it).
const CONNECTION_WINDOW: u32 = 8 << 20;
/// HTTP/2: bytes that are taken of an answer before the client takes them; a piece comes whole.
/// With 64 KiB a download is not faster.
const SEND_BUFFER: usize = 16 << 10;
/// HTTP/2: the same of all that TLS takes of a connection. HTTP/1.1 counts what is there.
const TLS_BUFFER: usize = 32 << 10;
/// HTTP/2: a silent client is asked whether it is there, and how long it may think about it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// TCP: the same for HTTP/1.1, where a watch may be silent for long.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Of a connection that many share: bytes that the kernel keeps unsent, and how long a peer may
/// acknowledge nothing.
const UNSENT_MAX: u32 = 128 << 10;
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// A pause when the kernel has no connection to give, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Listen {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;

    /// What it begins with, which stays to be read.
    fn first(stream: &Self::Stream) -> impl Future<Output = io::Result<u8>> + Send;

    /// Best effort: a connection that is not tuned is slower, or noticed later when it is gone.
    fn tune(stream: &Self::Stream) -> io::Result<()>;

    /// The same for a connection that many share: what waits is to wait where its order can
    /// still be changed, and a peer that takes nothing is gone.
    fn tune_long(stream: &Self::Stream) -> io::Result<()>;
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        Self::accept(self).await
    }

    async fn first(stream: &TcpStream) -> io::Result<u8> {
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(first[0]),
        }
    }

    fn tune(stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(stream, true)?;
        Ok(sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?)
    }

    fn tune_long(stream: &TcpStream) -> io::Result<()> {
        tune_shared(stream)
    }
}

/// Options of a connection that many share: what waits is to wait where its order can still be
/// changed, and a peer that takes nothing for 15 s is gone.
///
/// # Errors
/// The kernel does not know them.
pub fn tune_shared(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = Self::accept(self).await?;
        Ok((stream, (Ipv6Addr::UNSPECIFIED, 0).into()))
    }

    async fn first(_: &UnixStream) -> io::Result<u8> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn tune(_: &UnixStream) -> io::Result<()> {
        Ok(())
    }

    fn tune_long(_: &UnixStream) -> io::Result<()> {
        Ok(())
    }
}

/// What the connections of one listener share.
pub(crate) struct Context {
    pub(crate) server: Server,
    handler: Handler,
    handshakes: Handshakes,
}

/// What is spoken on a connection, until it is over.
pub(crate) type Spoken = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// How that ended.
pub(crate) type Ended = Result<(), BoxError>;

/// See [`Server::serve`].
pub(crate) async fn accept<L: Listen>(server: Server, listener: L, handler: Handler) {
    let limits = server.limits;
    let connections = Arc::new(Semaphore::new(limits.connections as usize));
    let peers = Peers::new(limits.per_client, connections.clone());
    let context = Arc::new(Context::new(server, handler));
    let Server { metrics, tasks, shutdown, .. } = &context.server;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.asked() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                metrics.failed(ConnectionFailure::Accept);
                if !is_the_clients(&error) {
                    tracing::warn!(err = %error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else {
            metrics.failed(ConnectionFailure::Limit);
            tracing::debug!(%peer, "too many connections");
            continue;
        };
        let passed_on = context.is_proxy(peer);
        let place = if passed_on { None } else { peers.enter(peer.ip()) };
        if place.is_none() && !passed_on {
            context.crowded(peer);
            continue;
        }
        let (context, peers) = (context.clone(), peers.clone());
        if let Err(error) = L::tune(&stream) {
            tracing::debug!(err = %error, "cannot set options of a connection");
        }
        tasks.spawn("connection", async move {
            let _open = Counted::open(&context.server.metrics);
            let (mut stream, mut whose, mut place) = (stream, Whose::client(peer), place);
            if passed_on {
                let Some(said) = Box::pin(context.whose::<L>(&mut stream, peer)).await else {
                    return;
                };
                whose = said;
                if whose.is == Is::Client {
                    place = peers.enter(whose.address.ip());
                    if place.is_none() {
                        return context.crowded(whose.address);
                    }
                }
            }
            let peer = whose.address;
            // Boxed: what a handshake takes is given back when it is over.
            let spoken = Box::pin(context.begin::<L>(stream, whose)).await;
            if let Some(spoken) = spoken
                && let Err(error) = spoken.await
            {
                tracing::debug!(%peer, err = %strait_types::Report(&*error), "connection ended");
            }
            drop((permit, place));
        });
    }
    drop(listener);
    // All places are free again when the last connection ended. Never closed, so never an error.
    drop(connections.acquire_many(limits.connections).await);
}

/// Errors about one connection, which says nothing of the next.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

impl Context {
    pub(crate) fn new(server: Server, handler: Handler) -> Self {
        let [all, each] = server.limits.handshakes;
        Self { handshakes: Handshakes::new(all, each), server, handler }
    }

    /// Whether a connection comes through a proxy: it is somebody else's.
    fn is_proxy(&self, peer: SocketAddr) -> bool {
        let Server { proxies, tls, .. } = &self.server;
        tls.is_some() && proxies.iter().any(|own| own.contains(peer.ip()))
    }

    /// One connection too many of a client.
    fn crowded(&self, peer: SocketAddr) {
        self.server.metrics.failed(ConnectionFailure::AddressLimit);
        tracing::debug!(%peer, "too many connections of one client");
    }

    /// Whose a connection is that comes from a trusted proxy. None where that does not say it
    /// clearly.
    async fn whose<L: Listen>(&self, stream: &mut L::Stream, peer: SocketAddr) -> Option<Whose> {
        let said = async {
            if !proxied::begins(L::first(stream).await?) {
                return Ok(Said::Own);
            }
            proxied::read(stream).await
        };
        let Server { limits, metrics, .. } = &self.server;
        let said = tokio::time::timeout(limits.handshake_time, said).await;
        let error = match said {
            Ok(Ok(Said::Client(client))) => return Some(Whose::client(client)),
            Ok(Ok(Said::Own)) => return Some(Whose { address: peer, is: Is::Proxy }),
            Ok(Ok(Said::Nobody)) => return Some(Whose { address: peer, is: Is::Nobodys }),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        metrics.failed(match error.kind() {
            io::ErrorKind::InvalidData => ConnectionFailure::Proxy,
            io::ErrorKind::TimedOut => ConnectionFailure::HandshakeTimeout,
            _ => ConnectionFailure::Handshake,
        });
        tracing::debug!(%peer, err = %error, "a trusted proxy's connection is closed");
        None
    }

    /// Secures a connection if it is to be, and answers with what is then spoken on it.
    async fn begin<L: Listen>(self: Arc<Self>, stream: L::Stream, whose: Whose) -> Option<Spoken> {
        let Some(tls) = &self.server.tls else {
            let connection = Arc::new(Connection::new(whose, Vec::new()));
            let (begun, is_http2) = self.look(stream).await?;
            return Some(if is_http2 {
                Box::pin(self.http2(begun, connection))
            } else {
                Box::pin(self.http1(begun, connection))
            });
        };
        let acceptor = TlsAcceptor::from(tls.clone());
        let stream = self.handshake(acceptor, std::future::ready(Ok(stream)), whose).await?;
        let (socket, session) = stream.get_ref();
        let tuned = self.other(session).map(|_| L::tune_long(socket));
        if let Some(Err(error)) = tuned {
            tracing::debug!(err = %error, "cannot set options of a connection");
        }
        Some(self.speak(stream, whose))
    }

    /// What a connection in the clear begins with: whether that is HTTP/2. None where nothing
    /// comes.
    async fn look<T: AsyncRead + Unpin>(&self, stream: T) -> Option<(Begun<T>, bool)> {
        if self.server.clear == Clear::Http1 {
            return Some((Begun::new(stream), false));
        }
        tokio::select! {
            begun = Begun::look(stream) => begun.ok(),
            () = self.server.shutdown.asked() => None,
            () = tokio::time::sleep(self.server.limits.head_time) => None,
        }
    }

    /// The protocol beside HTTP, if that is what was agreed on.
    fn other(&self, session: &ServerConnection) -> Option<&Protocol> {
        let other = self.server.protocol.as_ref();
        other.filter(|own| session.alpn_protocol() == Some(own.alpn))
    }

    /// Speaks what was agreed on in the handshake until that is over.
    pub(crate) fn speak<T>(self: Arc<Self>, mut stream: TlsStream<T>, whose: Whose) -> Spoken
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (_, session) = stream.get_mut();
        let chain = session.peer_certificates().unwrap_or_default();
        let connection = Arc::new(Connection::new(whose, chain.to_vec()));
        if let Some(other) = self.other(session) {
            let served = (other.serve)(connection, Box::new(stream));
            Box::pin(served.map(Ok))
        } else if session.alpn_protocol() == Some(b"h2") {
            session.set_buffer_limit(Some(TLS_BUFFER));
            Box::pin(self.http2(stream, connection))
        } else {
            Box::pin(self.http1(stream, connection))
        }
    }

    /// Secures a transport once it is there: until then it takes no turn.
    pub(crate) async fn handshake<T>(
        &self,
        acceptor: TlsAcceptor,
        transport: impl Future<Output = io::Result<T>>,
        whose: Whose,
    ) -> Option<TlsStream<T>>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Whose { address: peer, is } = whose;
        // A proxy's are many clients'.
        let client = (is == Is::Client).then(|| peer.ip());
        let secured = async {
            let stream = transport.await?;
            // Never closed, so never an error.
            let _turn = self.handshakes.turn(client).await;
            acceptor.accept(stream).await
        };
        let Server { limits, metrics, .. } = &self.server;
        in_time(secured, limits.handshake_time, metrics, peer).await
    }

    fn http1<T>(
        self: Arc<Self>,
        io: T,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Ended> + Send
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        serve(self, io, connection).map_err(Into::into)
    }

    async fn http2<T>(self: Arc<Self>, io: T, connection: Arc<Connection>) -> Ended
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shutdown = self.server.shutdown.clone();
        let mut http = http2::Builder::new(Streams(self.server.tasks.clone()));
        if self.server.tls.is_some() {
            // A browser asks for another protocol over HTTP/2 where it may (RFC 8441).
            http.enable_connect_protocol();
        }
        let served = http
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEAD_BYTES_MAX)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .serve_connection(TokioIo::new(io), self.service(connection));
        let mut served = std::pin::pin!(served);
        tokio::select! {
            ended = served.as_mut() => return ended.map_err(Into::into),
            () = shutdown.asked() => served.as_mut().graceful_shutdown(),
        }
        served.await.map_err(Into::into)
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, connection: Arc<Connection>, request: Request) -> Response {
        self.server.answer(&self.handler, connection, request).await
    }

    /// Answers the requests of a connection of HTTP/2.
    fn service(
        self: &Arc<Self>,
        connection: Arc<Connection>,
    ) -> impl hyper::service::Service<
        http::Request<hyper::body::Incoming>,
        Response = http::Response<Body>,
        Error = Infallible,
        Future = impl Future<Output = Result<http::Response<Body>, Infallible>> + Send + use<>,
    > + use<> {
        let context = self.clone();
        service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (context, connection) = (context.clone(), connection.clone());
            let unread = Unread::of(&request);
            let request = request.map(|body| Incoming::of_http2(body, unread.clone()));
            async move {
                // As over HTTP/1.1: hyper lets names pass that are no tokens.
                let mut names = request.headers().keys().map(|name| name.as_str().as_bytes());
                let mut answer = match names.all(is_field_name) {
                    true => context.answer(connection, request.into()).await.into_http(),
                    false => {
                        let (status, text) = Malformed::Framing("a field's name").told();
                        says(status, text)
                    }
                };
                if let Some(unread) = unread {
                    answer = unread.end(answer, &context.server.tasks).await;
                }
                Ok(answer)
            }
        })
    }
}

/// The result of a handshake that succeeds in time; others are counted.
async fn in_time<T>(
    handshake: impl Future<Output = io::Result<T>>,
    limit: Duration,
    metrics: &ServerMetrics,
    peer: SocketAddr,
) -> Option<T> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => {
            metrics.failed(ConnectionFailure::Handshake);
            tracing::debug!(%peer, err = %error, "TLS handshake failed");
        }
        Err(_) => {
            metrics.failed(ConnectionFailure::HandshakeTimeout);
            tracing::debug!(%peer, "TLS handshake took too long");
        }
    }
    None
}

/// Runs HTTP/2's requests as tasks of the server's set.
#[derive(Clone)]
pub(crate) struct Streams(pub(crate) TaskSet);

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("request", future);
    }
}
