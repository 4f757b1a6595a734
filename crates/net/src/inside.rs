//! Connections inside other connections: secured and served as a listener's own.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::accept::in_time;
use crate::connection::Connection;
use crate::metrics::ServerMetrics;
use crate::server::{Limits, Protocol};

/// Serves one protocol, over TLS, on transports that something else accepted. Who they come from
/// is proved inside. Clones are the same.
#[derive(Clone, Debug)]
pub struct Inside {
    tls: TlsServer,
    protocol: Protocol,
    limits: Limits,
    metrics: ServerMetrics,
    turns: Arc<Semaphore>,
}

/// A handshake's place among those that there may be at once.
#[derive(Debug)]
pub struct Turn(OwnedSemaphorePermit);

#[derive(Clone)]
struct TlsServer(TlsAcceptor);

impl Inside {
    /// With the certificate of `tls`, and no other protocol than this one.
    #[must_use]
    pub fn new(
        tls: &ServerConfig,
        protocol: Protocol,
        limits: Limits,
        metrics: ServerMetrics,
    ) -> Self {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![protocol.alpn.to_vec()];
        let turns = Arc::new(Semaphore::new(limits.handshakes));
        Self { tls: TlsServer(Arc::new(tls).into()), protocol, limits, metrics, turns }
    }

    /// A place for a handshake; none while there are as many as may be.
    #[must_use]
    pub fn turn(&self) -> Option<Turn> {
        self.turns.clone().try_acquire_owned().ok().map(Turn)
    }

    /// Serves a transport, once it is there, until it is over. What is no handshake of this
    /// protocol within its time is dropped.
    pub async fn serve<T>(
        &self,
        Turn(turn): Turn,
        transport: impl Future<Output = std::io::Result<T>>,
        peer: SocketAddr,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let secured = async { self.tls.0.accept(transport.await?).await };
        let secured = in_time(secured, self.limits.handshake_time, &self.metrics, peer).await;
        drop(turn);
        let Some(stream) = secured else { return };
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(self.protocol.alpn) {
            tracing::debug!(%peer, "a connection inside another asks for no protocol");
            return;
        }
        let chain = session.peer_certificates().unwrap_or_default().to_vec();
        let connection = Arc::new(Connection::new(peer, chain));
        (self.protocol.serve)(connection, Box::new(stream)).await;
    }
}

impl std::fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsServer").finish_non_exhaustive()
    }
}
