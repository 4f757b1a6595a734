//! Connections inside other connections: secured and served as a listener's own.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::accept::Context;
use crate::proxied::Whose;
use crate::server::{Handler, Server};

/// HTTP, as it is agreed on inside.
const HTTP: &[u8] = b"http/1.1";

/// Serves TLS on transports that something else accepted: the protocol of a server, and HTTP/1.1.
/// Who they come from is proved inside. Clones are the same.
#[derive(Clone)]
pub struct Inside {
    context: Arc<Context>,
    tls: TlsAcceptor,
    connections: Arc<Semaphore>,
}

/// A connection's place among those that there may be at once.
#[derive(Debug)]
pub struct InsidePlace {
    _permit: OwnedSemaphorePermit,
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
            connections: Arc::new(Semaphore::new(limits.connections as usize)),
        }
    }

    /// A place for a connection; none while there are as many of them as may be.
    #[must_use]
    pub fn place(&self) -> Option<InsidePlace> {
        self.connections
            .clone()
            .try_acquire_owned()
            .ok()
            .map(|permit| InsidePlace { _permit: permit })
    }

    /// Serves a transport, once it is there, until it is over. What is no handshake within its time,
    /// the wait for its turn included, or asks for no protocol in it, is dropped.
    pub async fn serve<T>(
        &self,
        place: InsidePlace,
        transport: impl Future<Output = std::io::Result<T>>,
        peer: SocketAddr,
    ) where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let whose = Whose::client(peer);
        let secured = self.context.handshake(self.tls.clone(), transport, whose).await;
        let Some(stream) = secured else { return };
        if stream.get_ref().1.alpn_protocol().is_none() {
            tracing::debug!(%peer, "a connection inside another asks for no protocol");
            return;
        }
        if let Err(error) = self.context.clone().speak(stream, whose).await {
            let error = strait_types::Report(&*error);
            tracing::debug!(%peer, err = %error, "a connection inside another ended");
        }
        drop(place);
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").field("server", &self.context.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use http::Response;
    use rustls::pki_types::ServerName;
    use strait_pki::{ServerNames, ServingCertificate, server_config};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::body::Body;
    use crate::server::{Limits, handler};
    use crate::testing::{LIMITS, Scene, clock};

    /// With one turn for handshakes.
    fn inside(scene: &Scene) -> Inside {
        let names = ServerNames::new(["localhost"]).unwrap();
        let serving = ServingCertificate::new(scene.authority.clone(), names, LIMITS.total * 60);
        let tls = server_config(serving.unwrap(), &[], clock()).unwrap();
        let limits = Limits { handshakes: [1, 1], ..Limits::default() };
        let answer = handler(|_, _| async { Response::new(Body::from("ok")) });
        Inside::new(&tls, Server { limits, ..scene.plain() }, answer)
    }

    fn serve<T>(scene: &Scene, inside: &Inside, transport: T)
    where
        T: Future<Output = std::io::Result<DuplexStream>> + Send + 'static,
    {
        let (inside, place) = (inside.clone(), inside.place().unwrap());
        let peer = "127.0.0.1:1".parse().unwrap();
        scene.tasks.spawn_daemon("inside", async move {
            inside.serve(place, transport, peer).await;
        });
    }

    /// What a client hears.
    async fn ask(scene: &Scene, transport: DuplexStream) -> String {
        let mut config = Arc::unwrap_or_clone(scene.client_config());
        config.alpn_protocols = vec![HTTP.to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let secured = TlsConnector::from(Arc::new(config)).connect(name, transport);
        let mut stream = tokio::time::timeout(LIMITS.connect, secured).await.unwrap().unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        heard
    }

    #[tokio::test]
    async fn a_transport_that_is_not_there_yet_takes_no_turn() {
        let scene = Scene::new();
        let inside = inside(&scene);
        serve(&scene, &inside, pending());
        tokio::task::yield_now().await;
        let (near, far) = duplex(1 << 10);
        serve(&scene, &inside, ready(Ok(far)));
        assert!(ask(&scene, near).await.ends_with("ok"));
    }

    #[tokio::test]
    async fn who_finds_no_turn_waits_for_one() {
        let scene = Scene::new();
        let inside = inside(&scene);
        let (silent, far) = duplex(1 << 10);
        serve(&scene, &inside, ready(Ok(far)));
        tokio::task::yield_now().await;
        let (near, far) = duplex(1 << 10);
        serve(&scene, &inside, ready(Ok(far)));
        tokio::task::yield_now().await;
        drop(silent);
        assert!(ask(&scene, near).await.ends_with("ok"));
    }
}
