//! A server on loopback with a CA of its own, and clients for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::ClientConfig;
use strait_pki::{
    Authority, ClientIdentity, ClientSubject, ServerNames, ServingCertificate, client_config,
    server_config,
};
use strait_runtime::{Clock, Metrics, SeededEntropy, Shutdown, SystemClock, Task, TaskSet};
use strait_types::HubId;
use tokio::net::TcpListener;

use crate::client::{CallError, CallLimits, Client};
use crate::egress::EgressPolicy;
use crate::metrics::ServerMetrics;
use crate::server::{Handler, Limits, Protocol, Server};

/// Long enough for any machine.
pub(crate) const LIMITS: CallLimits = CallLimits {
    connect: Duration::from_secs(60),
    total: Duration::from_secs(60),
    response_bytes: 1 << 20,
};

const DAY: Duration = Duration::from_secs(86_400);

/// What servers and clients of one test share.
pub(crate) struct Scene {
    pub(crate) authority: Arc<Authority>,
    pub(crate) registry: Metrics,
    pub(crate) metrics: ServerMetrics,
    pub(crate) tasks: TaskSet,
    pub(crate) shutdown: Shutdown,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let hub = HubId::from_random([7; 16]);
        let entropy = Arc::new(SeededEntropy::new(1));
        let authority = Authority::create(&hub, Arc::new(SystemClock), entropy).unwrap();
        let registry = Metrics::new();
        Self {
            authority: Arc::new(authority),
            metrics: ServerMetrics::new(&registry),
            tasks: TaskSet::new(&registry),
            registry,
            shutdown: Shutdown::new(),
        }
    }

    /// Starts a TLS server; its task ends when it has drained.
    pub(crate) async fn serve(&self, limits: Limits, handler: Handler) -> (SocketAddr, Task<()>) {
        self.start(Server { limits, ..self.plain() }, handler).await
    }

    /// The same behind balancers there.
    pub(crate) async fn serve_behind(
        &self,
        proxies: &[&str],
        limits: Limits,
        handler: Handler,
    ) -> SocketAddr {
        let proxies = proxies.iter().map(|own| own.parse().unwrap()).collect();
        self.start(Server { proxies, limits, ..self.plain() }, handler).await.0
    }

    /// The same with another protocol beside HTTP.
    pub(crate) async fn serve_beside(
        &self,
        protocol: Protocol,
        handler: Handler,
    ) -> (SocketAddr, Task<()>) {
        self.start(Server { protocol: Some(protocol), ..self.plain() }, handler).await
    }

    /// A server without TLS.
    pub(crate) fn plain(&self) -> Server {
        Server::plain(self.metrics.clone(), self.tasks.clone(), self.shutdown.clone())
    }

    async fn start(&self, server: Server, handler: Handler) -> (SocketAddr, Task<()>) {
        let others: Vec<&[u8]> = server.protocol.iter().map(|own| own.alpn).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let names = ServerNames::new(["localhost", "127.0.0.1"]).unwrap();
        let serving = ServingCertificate::new(self.authority.clone(), names, DAY).unwrap();
        let tls = server_config(serving, &others, clock()).unwrap();
        let server = Server { tls: Some(tls), ..server };
        let served = self.tasks.spawn("server", server.serve(listener, handler));
        (address, served)
    }

    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        client_config(&self.authority.bundle().unwrap(), None, clock()).unwrap()
    }

    /// With a certificate for this user.
    pub(crate) fn client_config_of(&self, user: &str) -> Arc<ClientConfig> {
        let subject = ClientSubject { user: user.to_owned(), ..ClientSubject::default() };
        let issued = self.authority.issue_client(&subject, DAY).unwrap();
        let identity = ClientIdentity::try_from(&issued).unwrap();
        let bundle = self.authority.bundle().unwrap();
        client_config(&bundle, Some(identity), clock()).unwrap()
    }

    /// What a metric says now.
    pub(crate) fn metric(&self, name: &str) -> String {
        let text = self.registry.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_default().trim().to_owned()
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub(crate) fn get(url: String) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

pub(crate) async fn call(
    tls: Option<Arc<ClientConfig>>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, CallError> {
    let client = Client::new(tls, EgressPolicy::unrestricted());
    client.call(request, &LIMITS).await
}
