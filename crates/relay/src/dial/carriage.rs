//! From an address to a transport that a tunnel can be spoken on.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use strait_net::Resolve;
use strait_pki::PinMismatch;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::error::DialError;
use super::proxy::{ANSWER_WITHIN, Proxy, ProxyError};
use crate::TUNNEL_PROTOCOL;

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

/// A connection to a hub.
pub(super) type Transport = TlsStream<TcpStream>;

/// Connects to a hub, through a proxy or not.
pub(super) async fn connect(
    address: &Address,
    proxy: Option<&Proxy>,
    tls: Arc<ClientConfig>,
    resolver: &dyn Resolve,
) -> Result<Transport, DialError> {
    let stream = match proxy {
        None => within(CONNECT_WITHIN, address, reach(address, resolver)).await?,
        Some(proxy) => through(proxy, address, resolver).await?,
    };
    tune(&stream).map_err(|source| DialError::Connect { address: address.to_string(), source })?;
    within(HANDSHAKE_WITHIN, address, secure(stream, address, tls)).await
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

/// TLS, with a hub that speaks the tunnel's protocol.
async fn secure(
    stream: TcpStream,
    address: &Address,
    tls: Arc<ClientConfig>,
) -> Result<Transport, DialError> {
    let name = ServerName::try_from(address.host.clone());
    let name = name.map_err(|_| DialError::Address(address.to_string()))?;
    let secured = TlsConnector::from(tls).connect(name, stream).await;
    let secured = secured.map_err(|source| refused(address, source))?;
    if secured.get_ref().1.alpn_protocol() != Some(TUNNEL_PROTOCOL) {
        return Err(DialError::NoTunnel { address: address.to_string() });
    }
    Ok(secured)
}

fn refused(address: &Address, source: io::Error) -> DialError {
    let address = address.to_string();
    if let Some(found) = PinMismatch::find(&source) {
        return DialError::NotTrusted { address, found: found.clone() };
    }
    let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(
            rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
            | rustls::Error::InvalidMessage(_),
        ) => DialError::NoTunnel { address },
        _ => DialError::Tls { address, source },
    }
}
