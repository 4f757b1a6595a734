//! The gateway's listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use rustls::ServerConfig;
use strait_net::{Body, Handler, Limits, Server, ServerMetrics, handler, metrics_probe};
use strait_pki::{FileCertificate, file_server_config};
use strait_runtime::{Context, Metrics, Task};
use tokio::net::TcpListener;

use super::StartError;
use crate::config::Listener;

/// A listener that is bound and not served yet.
pub(super) struct Bound {
    listener: TcpListener,
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<Arc<FileCertificate>>,
    tls: Option<Arc<ServerConfig>>,
}

impl Bound {
    /// Binds an address and reads its certificate.
    pub(super) async fn new(at: &Listener, context: &Context) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: at.address, source };
        let listener = TcpListener::bind(at.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let load = |files: &crate::config::Identity| {
            FileCertificate::load(&files.certificates, &files.key)
        };
        let certificate = at.tls.as_ref().map(load).transpose()?;
        let tls = certificate.clone().map(|one| file_server_config(one, context.clock.clone()));
        Ok(Self { listener, address, certificate, tls: tls.transpose()? })
    }

    /// Serves it in a task that ends when the process is asked to end and requests have.
    pub(super) fn serve(
        self,
        limits: Limits,
        metrics: &ServerMetrics,
        context: &Context,
        handler: Handler,
    ) -> Task<()> {
        let served = server(self.tls, limits, metrics, context).serve(self.listener, handler);
        context.tasks.spawn("hooks-listener", served)
    }
}

/// A server of this process.
pub(super) fn server(
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    metrics: &ServerMetrics,
    context: &Context,
) -> Server {
    let Context { tasks, shutdown, .. } = context.clone();
    Server { tls, limits, ..Server::plain(metrics.clone(), tasks, shutdown) }
}

/// Connections of those who read metrics.
const METRICS_CONNECTIONS: u32 = 64;

/// What a listener for metrics takes on.
pub(super) fn metrics_limits() -> Limits {
    Limits { connections: METRICS_CONNECTIONS, ..Limits::default() }
}

/// Shows metrics at `/metrics` to whoever asks.
pub(super) fn show(metrics: Metrics) -> Handler {
    let shown = Arc::new(metrics_probe(metrics));
    handler(move |_, request| {
        let shown = shown.clone();
        async move {
            let mut response = Response::new(Body::empty());
            match (request.method(), request.uri().path()) {
                (&Method::GET | &Method::HEAD, "/metrics") => return shown(),
                (_, "/metrics") => *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED,
                _ => *response.status_mut() = StatusCode::NOT_FOUND,
            }
            response
        }
    })
}
