//! A hub on a free loopback port, and clients that speak to it as everybody else does: HTTPS with
//! a client certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use strait_hub::{Config, Hub, OwnServices, StoreKind};
use strait_machinery::json::{Value, parse};
use strait_pki::{Authority, ClientIdentity, ClientSubject, client_config};
use strait_relay::http::proxies::TrustedProxies;
use strait_relay::hub::Ending;
use strait_runtime::trace::{EndedSpan, Spans};
use strait_runtime::{Clock, Context, Shutdown, SystemClock, SystemEntropy, Tracer};
use strait_types::Sampler;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Lets others run until it is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let comes = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, comes).await.expect("it comes to that");
}

/// The file of what the hub itself offers, in its directory.
const OWN: &str = "own.yaml";

/// A hub of its own for one test.
pub(crate) struct TestHub {
    hub: Option<Hub>,
    authority: Authority,
    directory: Arc<TempDir>,
    address: std::net::SocketAddr,
}

impl TestHub {
    /// A new hub on an empty directory, its objects in a file.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(Arc::new(directory)).await
    }

    /// A new hub that offers these services to agents.
    pub(crate) async fn offering(services: &str) -> Self {
        Self::offering_within(services, context()).await
    }

    /// The same with these parts of a process.
    pub(crate) async fn offering_within(services: &str, context: Context) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        write_own(directory.path(), services);
        Self::start_with(directory, context).await
    }

    /// Changes what it offers.
    pub(crate) fn offer(&self, services: &str) {
        write_own(self.directory.path(), services);
    }

    /// A new hub that goes by another clock.
    pub(crate) async fn start_at(clock: Arc<dyn Clock>) -> Self {
        Self::start_within(Context { clock, ..context() }).await
    }

    /// A new hub with these parts of a process.
    pub(crate) async fn start_within(context: Context) -> Self {
        Self::start_with(Arc::new(tempfile::tempdir().unwrap()), context).await
    }

    /// A hub on a directory that may have been used before.
    pub(crate) async fn start_in(directory: Arc<TempDir>) -> Self {
        Self::start_with(directory, context()).await
    }

    /// A new hub that takes so long to end.
    pub(crate) async fn ending(ending: Ending) -> Self {
        Self::ending_by(ending, Shutdown::new()).await
    }

    /// The same, once this is asked for.
    pub(crate) async fn ending_by(ending: Ending, shutdown: Shutdown) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let config = Config { relay_ending: ending, ..config(directory.path()) };
        Self::start_as(&config, directory, Context { shutdown, ..context() }).await
    }

    async fn start_with(directory: Arc<TempDir>, context: Context) -> Self {
        Self::start_as(&config(directory.path()), directory, context).await
    }

    async fn start_as(config: &Config, directory: Arc<TempDir>, context: Context) -> Self {
        let hub = Hub::start(config, context).await.unwrap();
        let pki = directory.path().join("pki");
        let authority = Authority::load(&pki, Arc::new(SystemClock), Arc::new(SystemEntropy));
        Self {
            address: hub.address(),
            hub: Some(hub),
            authority: authority.unwrap().unwrap(),
            directory,
        }
    }

    /// Stops the hub and starts another on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_within(context()).await
    }

    /// The same with these parts of a process.
    pub(crate) async fn restart_within(mut self, context: Context) -> Self {
        let directory = self.stop().await;
        Self::start_with(directory, context).await
    }

    /// Stops the hub.
    pub(crate) async fn stop(&mut self) -> Arc<TempDir> {
        self.hub.take().unwrap().stop().await;
        self.directory.clone()
    }

    /// The hub.
    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().unwrap()
    }

    /// The hub, to be changed.
    pub(crate) fn hub_mut(&mut self) -> &mut Hub {
        self.hub.as_mut().unwrap()
    }

    /// Its data directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A client with every right, in the workspace `root`.
    pub(crate) fn admin(&self) -> Client {
        self.client("admin", &["system:masters"])
    }

    /// A client that is this user in this group, if any, in the workspace `root`.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Client {
        assert!(groups.len() <= 1, "the hub's certificates name one group");
        let group = groups.first().map(|&group| group.to_owned());
        let subject = ClientSubject { user: user.to_owned(), group, uri: None };
        let issued =
            self.authority.issue_client(&subject, Duration::from_secs(90 * 24 * 3600)).unwrap();
        let key = issued.key_pem().unwrap();
        let certificate = issued.certificate_pem();
        let identity = ClientIdentity::from_pem(certificate.as_bytes(), key.expose().as_bytes());
        self.client_with(Some(identity.unwrap()))
    }

    /// A client without a certificate.
    pub(crate) fn anonymous(&self) -> Client {
        self.client_with(None)
    }

    /// A client with this certificate.
    pub(crate) fn client_with(&self, identity: Option<ClientIdentity>) -> Client {
        let bundle = self.authority.bundle().unwrap();
        let tls = client_config(&bundle, identity, Arc::new(SystemClock)).unwrap();
        let base = "/clusters/root".to_owned();
        let source = std::net::Ipv4Addr::LOCALHOST;
        let (address, headers) = (self.address, HeaderMap::new());
        Client { address, source, passed_on: "", tls, base, headers }
    }
}

/// All at once, as an editor does.
fn write_own(directory: &Path, services: &str) {
    let head = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
    let beside = directory.join("own.yaml.new");
    std::fs::write(&beside, format!("{head}{services}")).unwrap();
    std::fs::rename(beside, directory.join(OWN)).unwrap();
}

/// Settings of a hub on a free port, with a proxy at 127.0.0.9 before it.
pub(crate) fn config(directory: &Path) -> Config {
    let own = directory.join(OWN);
    Config {
        data_dir: directory.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        metrics: Some("127.0.0.1:0".parse().unwrap()),
        advertise: Vec::new(),
        store: StoreKind::Sqlite,
        relay_token_life_max: Duration::from_secs(24 * 3600),
        relay_services: own.exists().then(|| OwnServices::read(&own).unwrap()),
        relay_ending: Ending { grace: Duration::ZERO, hard: Duration::ZERO },
        relay_trusted_proxies: TrustedProxies::new(vec!["127.0.0.9".parse().unwrap()]),
    }
}

/// What a process passes down, new.
pub(crate) fn context() -> Context {
    strait_pki::install_provider();
    Context::of_system()
}

/// The same with traces, and where their spans go.
pub(crate) fn traced() -> (Context, Spans) {
    let mut context = context();
    let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
    let (tracer, spans) = Tracer::new(Sampler::default(), clock, entropy, &context.metrics);
    context.tracer = tracer;
    (context, spans)
}

/// The spans of a trace, of which one is waited for.
pub(crate) async fn spans_of(spans: &mut Spans, trace: &str, last: &str) -> Vec<EndedSpan> {
    let mut all = Vec::new();
    let is_there = |all: &[EndedSpan]| all.iter().any(|own| own.name == last);
    while !is_there(&all) {
        let more = tokio::time::timeout(PATIENCE, spans.wait(&mut all, 1)).await;
        more.unwrap_or_else(|_| panic!("never {last}: {all:?}"));
        all.retain(|own| own.context.trace.to_string() == trace);
    }
    all
}

/// An object, written as YAML.
pub(crate) fn yaml(text: &str) -> Value {
    let documents = strait_machinery::yaml::parse(text).expect("the test's own YAML");
    documents.into_iter().next().expect("one document").value
}

/// Speaks to a hub, one connection per request.
#[derive(Clone)]
pub(crate) struct Client {
    address: std::net::SocketAddr,
    source: std::net::Ipv4Addr,
    /// What comes before TLS.
    passed_on: &'static str,
    tls: Arc<rustls::ClientConfig>,
    base: String,
    headers: HeaderMap,
}

impl Client {
    /// The same client in another workspace: `root:demo`.
    pub(crate) fn within(&self, workspace: &str) -> Self {
        Self { base: format!("/clusters/{workspace}"), ..self.clone() }
    }

    /// The same client, of another hub: of one that was started anew, for example.
    pub(crate) fn at(&self, hub: &TestHub) -> Self {
        Self { address: hub.address, ..self.clone() }
    }

    /// The same client below another path, such as a virtual workspace's.
    pub(crate) fn below(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// The same client with one more header.
    pub(crate) fn header(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.insert(name, value.parse().unwrap());
        client
    }

    /// Sends a request with JSON, or none.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_bytes).unwrap_or_default();
        self.send_bytes(method, path, body.into()).await
    }

    /// Sends a request with any bytes.
    pub(crate) async fn send_bytes(&self, method: Method, path: &str, body: Bytes) -> Answer {
        let response = self.open(method, path, body).await;
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the answer ends");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.expect("the answer is whole").to_bytes(),
        }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    /// POST of an object.
    pub(crate) async fn post(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::POST, path, Some(object)).await
    }

    /// PUT of an object.
    pub(crate) async fn put(&self, path: &str, object: &Value) -> Answer {
        self.send(Method::PUT, path, Some(object)).await
    }

    /// JSON merge patch.
    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Answer {
        let client = self.header("content-type", "application/merge-patch+json");
        client.send(Method::PATCH, path, Some(patch)).await
    }

    /// A patch of a type: `json-patch`, `merge-patch`, `strategic-merge-patch`.
    pub(crate) async fn patch(&self, kind: &str, path: &str, patch: &str) -> Answer {
        let client = self.header("content-type", &format!("application/{kind}+json"));
        client.send_bytes(Method::PATCH, path, Bytes::copy_from_slice(patch.as_bytes())).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, None).await
    }

    /// Waits until there is no such object.
    pub(crate) async fn gone(&self, collection: &str, name: &str) {
        let one = format!("fieldSelector=metadata.name={name}");
        let list = self.get(&format!("{collection}?{one}")).await.expect(200);
        if list.array_at(&["items"]).is_empty() {
            return;
        }
        let version = list.str_at(&["metadata", "resourceVersion"]).unwrap();
        let path = format!("{collection}?watch=true&{one}&resourceVersion={version}");
        let mut events = self.watch(&path).await;
        while events.next().await.str_at(&["type"]) != Some("DELETED") {}
    }

    /// The same client from another address of this machine: `127.0.0.x`.
    pub(crate) fn from(&self, last: u8) -> Self {
        Self { source: std::net::Ipv4Addr::new(127, 0, 0, last), ..self.clone() }
    }

    /// The same client behind a balancer that says this before TLS.
    pub(crate) fn passed_on(&self, header: &'static str) -> Self {
        Self { passed_on: header, ..self.clone() }
    }

    /// How it makes connections for these protocols.
    pub(crate) fn tls_for(&self, protocols: &[&[u8]]) -> Arc<rustls::ClientConfig> {
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        tls.alpn_protocols = protocols.iter().map(|own| own.to_vec()).collect();
        Arc::new(tls)
    }

    /// Where it connects to.
    pub(crate) const fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    /// Opens a watch; the path says `watch=true` itself.
    pub(crate) async fn watch(&self, path: &str) -> Events {
        let response = self.open(Method::GET, path, Bytes::new()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        Events { body: response.into_body(), read: Vec::new() }
    }

    /// A connection that nothing was sent on yet.
    pub(crate) async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.connect_as(&[]).await
    }

    /// The same, for one of these protocols.
    pub(crate) async fn connect_as(
        &self,
        protocols: &[&[u8]],
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((self.source, 0).into()).unwrap();
        let mut stream = socket.connect(self.address).await.expect("the hub listens");
        stream.set_nodelay(true).unwrap();
        stream.write_all(self.passed_on.as_bytes()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(self.tls_for(protocols));
        connector.connect(name, stream).await.expect("the handshake succeeds")
    }

    /// Sends a request and returns once the head of the answer is there.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> http::Response<Incoming> {
        self.open_with(method, path, &[], body).await
    }

    /// The same with more fields.
    pub(crate) async fn open_with(
        &self,
        method: Method,
        path: &str,
        fields: &[(&'static str, &'static str)],
        body: Bytes,
    ) -> http::Response<Incoming> {
        let stream = self.connect().await;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.base).parse().expect("a path");
        request.headers_mut().insert("host", self.address.to_string().parse().unwrap());
        request.headers_mut().insert("content-type", "application/json".parse().unwrap());
        for (name, value) in fields {
            request.headers_mut().insert(*name, http::HeaderValue::from_static(value));
        }
        request.headers_mut().extend(self.headers.clone());
        let sent = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        sent.expect("the hub answers in time").expect("the hub answers")
    }

    /// Reads until the object fits, by a watch, and returns it.
    pub(crate) async fn wait(
        &self,
        collection: &str,
        name: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("{collection}?watch=true&fieldSelector=metadata.name={name}");
        first(self.watch(&path).await, fits).await
    }

    /// Reads until any object of a collection fits, by a watch, and returns it.
    pub(crate) async fn wait_any(&self, collection: &str, fits: impl Fn(&Value) -> bool) -> Value {
        first(self.watch(&format!("{collection}?watch=true")).await, fits).await
    }
}

async fn first(mut events: Events, fits: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event = events.next().await;
        let object = event.get("object").cloned().unwrap_or_default();
        if fits(&object) {
            return object;
        }
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        parse(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts the status code and returns the body.
    #[track_caller]
    pub(crate) fn expect(&self, code: u16) -> Value {
        assert_eq!(self.status.as_u16(), code, "{}", self.text());
        self.json()
    }

    /// Asserts a Status with this code and reason and returns its message.
    #[track_caller]
    pub(crate) fn refused(&self, code: u16, reason: &str) -> String {
        let status = self.expect(code);
        assert_eq!(status.str_at(&["kind"]), Some("Status"), "{}", self.text());
        assert_eq!(status.str_at(&["reason"]).unwrap_or_default(), reason, "{}", self.text());
        status.str_at(&["message"]).unwrap_or_default().to_owned()
    }
}

/// Revision of an object or of a list.
pub(crate) fn revision(object: &Value) -> u64 {
    object.str_at(&["metadata", "resourceVersion"]).unwrap().parse().unwrap()
}

/// Names of the objects in a list.
pub(crate) fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| item.str_at(&["metadata", "name"]).unwrap().to_owned();
    list.array_at(&["items"]).iter().map(name).collect()
}

/// The events of a watch.
pub(crate) struct Events {
    body: Incoming,
    read: Vec<u8>,
}

impl Events {
    /// The next event.
    pub(crate) async fn next(&mut self) -> Value {
        self.more().await.expect("the watch goes on")
    }

    /// The next event; none when the watch has ended.
    pub(crate) async fn more(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(parse(&line).expect("an event is JSON"));
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("an event comes in time")?.ok()?;
            self.read.extend_from_slice(frame.data_ref()?);
        }
    }
}
