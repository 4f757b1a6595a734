//! From an address to a transport that a tunnel, or HTTP, can be spoken on.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::header::HOST;
use http::{HeaderValue, Request, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use socket2::SockRef;
use strait_net::{Io, Resolve};
use strait_pki::{PinMismatch, unverified_client_config};
use strait_runtime::{Clock, Entropy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::error::DialError;
use super::proxy::{ANSWER_WITHIN, Proxy, ProxyError};
use crate::HTTP_PROTOCOL;
use crate::link::Carriage;
use crate::websocket::{Key, Pipe, Role, Subprotocol, TUNNEL_PATH};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Head start of an address before the next one of the same name (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Time to reach one address of the hub's, all of its name's together.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Time for the handshake on it.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A connection that takes and brings nothing for so long is dead.
const USER_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes that may wait in the kernel and are not on the wire: what waits here instead can still
/// be put in another order.
const UNSENT_MAX: u32 = 128 << 10;

/// Time for a WebSocket, with the TLS around it.
const UPGRADE_WITHIN: Duration = Duration::from_secs(10);

/// What a connection to a hub is made with. The TLS has the one protocol that is to be spoken.
pub(super) struct Means<'a> {
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) resolver: &'a dyn Resolve,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) entropy: &'a dyn Entropy,
}

/// Connects to a hub, through a proxy or not, directly or inside a WebSocket.
pub(super) async fn connect(
    address: &Address,
    carriage: Carriage,
    means: Means<'_>,
) -> Result<Box<dyn Io>, DialError> {
    let stream = match means.proxy {
        None => within(CONNECT_WITHIN, address, reach(address, means.resolver)).await?,
        Some(proxy) => through(proxy, address, means.resolver).await?,
    };
    tune(&stream).map_err(|source| DialError::Connect { address: address.to_string(), source })?;
    match carriage {
        Carriage::Direct => {
            within(HANDSHAKE_WITHIN, address, secure(stream, address, means.tls)).await
        }
        Carriage::WebSocket => {
            let upgraded = upgrade(stream, address, means.clock, means.entropy);
            let pipe = within(UPGRADE_WITHIN, address, upgraded).await?;
            within(HANDSHAKE_WITHIN, address, secure(pipe, address, means.tls)).await
        }
    }
}

/// A WebSocket with a hub, or with what stands before it.
///
/// Whose certificate that shows does not matter: what passes in it is TLS again, which believes
/// the hub alone. So an inspecting proxy, whose authority nobody here knows, is no obstacle.
async fn upgrade(
    stream: TcpStream,
    address: &Address,
    clock: &Arc<dyn Clock>,
    entropy: &dyn Entropy,
) -> Result<Pipe<TokioIo<Upgraded>>, DialError> {
    let tls = unverified_client_config(None, clock.clone())?;
    let secured = TlsConnector::from(tls).connect(name(address)?, stream).await;
    let secured = secured.map_err(|source| refused(address, source))?;
    let broken = |error: hyper::Error| DialError::no_answer(address.to_string(), &error);
    let handshake = http1::handshake(TokioIo::new(secured)).await;
    let (mut sender, connection) = handshake.map_err(broken)?;
    let key = Key::new(Subprotocol::Tunnel, entropy);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = Uri::from_static(TUNNEL_PATH);
    let host = HeaderValue::from_str(&address.to_string());
    let host = host.map_err(|_| DialError::Address(address.to_string()))?;
    request.headers_mut().insert(HOST, host);
    key.put(request.headers_mut());
    let asked = async {
        let mut response = sender.send_request(request).await.map_err(broken)?;
        let checked = key.check(response.status(), response.headers());
        let no_tunnel = |source| DialError::NoWebSocket { address: address.to_string(), source };
        checked.map_err(no_tunnel)?;
        hyper::upgrade::on(&mut response).await.map_err(broken)
    };
    // The connection ends as it is handed over; an answer that is none ends both.
    let driven = async { connection.with_upgrades().await.map_err(broken) };
    let mut asked = pin!(asked);
    let upgraded = tokio::select! {
        upgraded = asked.as_mut() => upgraded?,
        driven = driven => {
            driven?;
            asked.await?
        }
    };
    Ok(Pipe::new(TokioIo::new(upgraded), Role::Client).await)
}

async fn within<T>(
    limit: Duration,
    address: &Address,
    work: impl Future<Output = Result<T, DialError>>,
) -> Result<T, DialError> {
    let late = || DialError::TimedOut { address: address.to_string() };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

/// A connection through a proxy.
async fn through(
    proxy: &Proxy,
    address: &Address,
    resolver: &dyn Resolve,
) -> Result<TcpStream, DialError> {
    let at = &proxy.address;
    let unreachable = |source| ProxyError::Unreachable { proxy: at.to_string(), source };
    let mut stream = match within(CONNECT_WITHIN, at, reach(at, resolver)).await {
        Ok(stream) => stream,
        Err(DialError::Connect { source, .. } | DialError::Resolve { source, .. }) => {
            return Err(unreachable(source).into());
        }
        Err(_) => return Err(unreachable(io::ErrorKind::TimedOut.into()).into()),
    };
    match tokio::time::timeout(ANSWER_WITHIN, proxy.connect(&mut stream, address)).await {
        Ok(answer) => answer?,
        Err(_) => {
            let source = io::ErrorKind::TimedOut.into();
            return Err(ProxyError::Broken { proxy: at.to_string(), source }.into());
        }
    }
    Ok(stream)
}

/// Resolves a name and connects to the first of its addresses that takes it: each gets a start
/// before the next, and none waits for one that failed.
async fn reach(address: &Address, resolver: &dyn Resolve) -> Result<TcpStream, DialError> {
    let Address { host, port } = address;
    let resolved = resolver.resolve(host).await;
    let mut left = resolved
        .map_err(|source| DialError::Resolve { host: host.clone(), source })?
        .into_iter()
        .take(ADDRESSES_MAX)
        .map(|ip| SocketAddr::new(ip, *port));
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = left.next();
        let last = next.is_none();
        attempts.extend(next.map(TcpStream::connect));
        let stagger = tokio::time::sleep(STAGGER);
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = error,
                None if last => {
                    return Err(DialError::Connect { address: address.to_string(), source: failed });
                }
                None => {}
            },
            () = stagger, if !last => {}
        }
    }
}

/// Options of the socket; see the constants.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    socket.set_tcp_notsent_lowat(UNSENT_MAX)
}

fn name(address: &Address) -> Result<ServerName<'static>, DialError> {
    let name = ServerName::try_from(address.host.clone());
    name.map_err(|_| DialError::Address(address.to_string()))
}

/// TLS, with a hub that speaks the same protocol. Of HTTP, what stands before a hub may say nothing.
async fn secure<T>(
    stream: T,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<Box<dyn Io>, DialError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoken = tls.alpn_protocols.first().cloned();
    let secured = TlsConnector::from(tls).connect(name(address)?, stream).await;
    let secured = secured.map_err(|source| refused(address, source))?;
    let agreed = secured.get_ref().1.alpn_protocol().unwrap_or(HTTP_PROTOCOL);
    if spoken.as_deref() != Some(agreed) {
        return Err(DialError::NoTunnel { address: address.to_string() });
    }
    Ok(Box::new(secured))
}

fn refused(address: &Address, source: io::Error) -> DialError {
    let address = address.to_string();
    if let Some(found) = PinMismatch::find(&source) {
        return DialError::NotTrusted { address, found: found.clone() };
    }
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(
            rustls::Error::AlertReceived(
                // Every hub speaks TLS 1.3.
                AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion,
            )
            | rustls::Error::InvalidMessage(_),
        ) => DialError::NoTunnel { address },
        _ => DialError::Tls { address, source },
    }
}
