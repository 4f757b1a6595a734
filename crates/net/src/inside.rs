//! Connections inside other connections: secured and served as a listener's own.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::accept::{Context, in_time};
use crate::server::{Handler, Server};

/// HTTP, as it is agreed on inside.
const HTTP: &[u8] = b"http/1.1";

/// Serves TLS on transports that something else accepted: the protocol of a server, and HTTP/1.1.
/// Who they come from is proved inside. Clones are the same.
#[derive(Clone)]
pub struct Inside {
    context: Arc<Context>,
    tls: TlsAcceptor,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// A connection's place among those that there may be at once, and its handshake's.
#[derive(Debug)]
pub struct Turn {
    handshake: OwnedSemaphorePermit,
    connection: OwnedSemaphorePermit,
}

impl Inside {
    /// With the certificate of `tls` and all else of `server`, its limits counted anew. `handler`
    /// answers requests.
    #[must_use]
    pub fn new(tls: &ServerConfig, server: Server, handler: Handler) -> Self {
        let mut tls = tls.clone();
        let other = server.protocol.as_ref().map(|own| own.alpn.to_vec());
        tls.alpn_protocols = other.into_iter().chain([HTTP.to_vec()]).collect();
        let limits = server.limits;
        Self {
            context: Arc::new(Context::new(server, handler)),
            tls: Arc::new(tls).into(),
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            connections: Arc::new(Semaphore::new(limits.connections as usize)),
        }
    }

    /// A place for a connection; none while there are as many of them, or of their handshakes, as
    /// may be.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        let place = |places: &Arc<Semaphore>| places.clone().try_acquire_owned().ok();
        Some(Turn { handshake: place(&self.handshakes)?, connection: place(&self.connections)? })
    }

    /// Serves a transport, once it is there, until it is over. What is no handshake within its time,
    /// or asks for no protocol in it, is dropped.
    pub async fn serve<T>(
        &self,
        Turn { handshake, connection }: Turn,
        transport: impl Future<Output = std::io::Result<T>>,
        peer: SocketAddr,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = &self.context.server;
        let secured = async { self.tls.accept(transport.await?).await };
        let secured = in_time(secured, server.limits.handshake_time, &server.metrics, peer).await;
        drop(handshake);
        let Some(stream) = secured else { return };
        if stream.get_ref().1.alpn_protocol().is_none() {
            tracing::debug!(%peer, "a connection inside another asks for no protocol");
            return;
        }
        if let Err(error) = self.context.clone().speak(stream, peer).await {
            let error = strait_types::Report(&error);
            tracing::debug!(%peer, err = %error, "a connection inside another ended");
        }
        drop(connection);
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("server", &self.context.server).finish_non_exhaustive()
    }
}
