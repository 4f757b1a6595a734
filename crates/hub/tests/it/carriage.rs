//! Tunnels inside WebSockets, through something that ends TLS before the hub.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use jiff::{Timestamp, ToSpan as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use strait_net::{CallLimits, SystemResolver, call_over};
use strait_pki::{Authority, PkiError, ServerNames, ServingCertificate, server_config};
use strait_relay::agent::{FrontDoor, JoinError};
use strait_relay::dial::{Announcement, Member, NoProxy, Route, Setup, Status, Tunnel, Way, Ways};
use strait_relay::link::{Memory, Part, Stream};
use strait_relay::services::{HubConfig, Transport};
use strait_relay::{HTTP_PROTOCOL, TUNNEL_PROTOCOL};
use strait_runtime::{Context, ManualClock, SystemClock, SystemEntropy};
use strait_tunnel::{Config, OpenHead, Role};
use strait_types::{HubId, Report};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use crate::credentials::{SERVICES, token};
use crate::harness::{Client, PATIENCE, TestHub, yaml};
use crate::joining::{Installation, make_agent};
use crate::raw::client::{ask, dial, fields, key};

/// TLS with a certificate that nobody knows, for HTTP.
fn foreign_tls() -> TlsAcceptor {
    let id = HubId::from_random([9; 16]);
    let authority = Authority::create(&id, Arc::new(SystemClock), Arc::new(SystemEntropy));
    let names = ServerNames::new(["127.0.0.1"]).unwrap();
    let day = Duration::from_secs(86_400);
    let serving = ServingCertificate::new(Arc::new(authority.unwrap()), names, day).unwrap();
    let mut tls = Arc::unwrap_or_clone(server_config(serving, &[], Arc::new(SystemClock)).unwrap());
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

/// Ends TLS, hears what comes first, says this, and is gone without TLS's farewell.
async fn no_web_server(says: &'static [u8]) -> SocketAddr {
    let acceptor = foreign_tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let Ok(mut near) = acceptor.accept(near).await else { continue };
            let _ = near.read(&mut [0; 4096]).await;
            let _ = near.write_all(says).await;
            let _ = near.flush().await;
        }
    });
    address
}

/// Stands before a hub, ends TLS with a certificate that nobody knows, and speaks TLS with the
/// hub again; or passes everything as it comes, once it is told to. Tells which.
async fn ingress(hub: &TestHub) -> (SocketAddr, watch::Sender<bool>, mpsc::Receiver<&'static str>) {
    let acceptor = foreign_tls();
    let connector = hub.anonymous().tls_for(&[b"http/1.1"]);
    let to = hub.hub().address();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (passing, passes) = watch::channel(false);
    let (told, came) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            let (passes, told) = (*passes.borrow(), told.clone());
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                if passes {
                    told.send("passed").await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                    return;
                }
                let Ok(mut near) = acceptor.accept(near).await else {
                    return told.send("not understood").await.unwrap();
                };
                told.send("ended").await.unwrap();
                let name = ServerName::try_from("127.0.0.1").unwrap();
                let connector = tokio_rustls::TlsConnector::from(connector);
                let mut far = connector.connect(name, far).await.unwrap();
                let _ = copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, passing, came)
}

struct Pass(Client);

impl Member for Pass {
    fn tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        Ok(self.0.tls_for(&[TUNNEL_PROTOCOL]))
    }

    fn not_after(&self) -> Timestamp {
        Timestamp::now() + 24.hours()
    }

    fn replace_at(&self) -> Timestamp {
        self.not_after()
    }

    fn renew(&self) {}
}

/// An agent with the service `echo`, and its hub.
struct Site {
    hub: TestHub,
    workspace: Client,
    client: Client,
    context: Context,
}

impl Site {
    async fn start() -> Self {
        let hub = TestHub::start().await;
        let workspace = hub.workspace("root:acme").await;
        workspace.bind("relay", "root", "relay.strait.dev").await;
        make_agent(&workspace, "smith", "{}").await;
        let join = crate::joining::token(&workspace, "smith", "{}").await;
        let client = Installation::new().join(&hub, &join).await;
        Self { hub, workspace, client, context: Context::of_system() }
    }

    fn connect(&self, address: SocketAddr, transport: Transport) -> watch::Receiver<Status> {
        let addresses = vec![address.to_string()];
        let way = Way { addresses, transport, proxy_file: None };
        let route = Route { way, connections: 1 };
        let message = r#"{"t":"services","gen":1,"hash":"h","list":[
            {"name":"echo","type":"tcp","hash":"h","ready":true,"raw":true}]}"#;
        let messages = vec![message.into()];
        let announcement = Arc::new(Announcement { generation: 1, messages });
        let setup = Setup {
            member: Arc::new(Pass(self.client.clone())),
            config: Config::new(Role::Agent, Role::Hub, [1; 16]),
            route: watch::channel(Some(route)).1,
            announcements: watch::channel(announcement).1,
            acceptor: Box::new(|| Box::new(|stream, head| echo(stream, &head))),
            memory: Memory::new(64 << 20),
            ways: ways(),
            probe_every: Duration::from_millis(200),
        };
        let tunnel = Tunnel::new(setup, &self.context);
        let status = tunnel.status();
        drop(self.context.tasks.spawn("tunnel-run", tunnel.run()));
        status
    }

    /// Sends a megabyte to the service and back.
    async fn cross(&self) {
        self.workspace.wait(SERVICES, "echo.smith", |_| true).await;
        let exposed = yaml("{spec: {exposure: {raw: true}}}");
        self.workspace.merge(&format!("{SERVICES}/echo.smith"), &exposed).await.expect(200);
        let token = token(&self.workspace, "echo.smith").await;
        let pipe = dial(&self.hub.anonymous(), "echo", &token).await.unwrap();
        let (mut from, mut to) = tokio::io::split(pipe);
        let sent = vec![7; 1 << 20];
        let expected = sent.clone();
        let write = async move {
            to.write_all(&sent).await.unwrap();
            to.shutdown().await.unwrap();
            to
        };
        let mut heard = Vec::new();
        let (_, read) = tokio::join!(write, from.read_to_end(&mut heard));
        read.unwrap();
        assert!(heard == expected);
    }

    /// Waits until this carries so many connections, as the agent's metrics say it and the hub's.
    async fn carries(&self, expected: &[&str]) {
        let carries = async { while self.carried().await != expected {} };
        let carries = tokio::time::timeout(PATIENCE, carries).await;
        carries.unwrap_or_else(|_| panic!("never {expected:?}"));
    }

    async fn carried(&self) -> Vec<String> {
        let agent = self.context.metrics.encode();
        let hub = self.hub.admin().below("").get("/metrics").await.text();
        let own = |text: String| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with("strait_relay_connections{"));
            let mut each: Vec<_> =
                lines.filter_map(|line| line.split_once("carriage=\"")).collect();
            each.sort_unstable();
            each.into_iter().map(|(_, rest)| rest.to_owned()).collect()
        };
        [own(agent), own(hub)].concat()
    }
}

pub(crate) fn ways() -> Ways {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    Ways::new(None, NoProxy::default(), Arc::new(SystemResolver), clock, entropy)
}

async fn until(status: &mut watch::Receiver<Status>, is: impl FnMut(&Status) -> bool) {
    let found = tokio::time::timeout(PATIENCE, status.wait_for(is)).await;
    found.expect("it comes to that").unwrap();
}

async fn next(came: &mut mpsc::Receiver<&'static str>) -> &'static str {
    let came = tokio::time::timeout(PATIENCE, came.recv()).await;
    came.expect("a connection comes").unwrap()
}

/// Sends back what comes.
fn echo(stream: Stream, head: &OpenHead) {
    assert!(matches!(head, OpenHead::Raw(_)), "{head:?}");
    tokio::spawn(async move {
        let (mut receiver, mut sender) = stream.split();
        sender.accept();
        while let Part::Data(bytes) = receiver.next().await {
            if sender.write(bytes).await.is_err() {
                return;
            }
        }
        let _ = sender.finish();
    });
}

#[tokio::test]
async fn an_agent_reaches_its_hub_through_what_ends_tls_and_is_who_it_is() {
    let site = Site::start().await;
    let (address, _passing, mut came) = ingress(&site.hub).await;
    let mut status = site.connect(address, Transport::WebSocket);
    until(&mut status, |status| status.ready == 1).await;
    assert_eq!(next(&mut came).await, "ended");
    site.cross().await;
    site.carries(&["websocket\"} 1", "websocket\"} 1.0"]).await;
    site.context.shutdown.ask();
    until(&mut status, |status| status.open == 0).await;
}

#[tokio::test]
async fn what_passes_is_found_and_a_direct_way_is_taken_once_there_is_one() {
    let site = Site::start().await;
    let (address, passing, mut came) = ingress(&site.hub).await;
    let mut status = site.connect(address, Transport::Auto);
    until(&mut status, |status| status.ready == 1).await;
    // What ends TLS knows no tunnels.
    assert_eq!(next(&mut came).await, "not understood");
    assert_eq!(next(&mut came).await, "ended");
    site.cross().await;
    assert_eq!(next(&mut came).await, "not understood", "it is tried again and again");
    passing.send_replace(true);
    while next(&mut came).await != "passed" {}
    assert_eq!(next(&mut came).await, "passed", "behind the attempt comes the connection");
    until(&mut status, |status| status.ready == 1 && status.open == 1).await;
    site.cross().await;
    site.carries(&["direct\"} 1", "websocket\"} 0", "direct\"} 1.0"]).await;
    site.context.shutdown.ask();
    until(&mut status, |status| status.open == 0).await;
}

#[tokio::test]
async fn an_agent_joins_and_renews_through_what_ends_tls() {
    let hub = TestHub::start().await;
    let (address, _passing, mut came) = ingress(&hub).await;
    make_agent(&hub.admin(), "smith", "{}").await;
    for transport in [Transport::WebSocket, Transport::Auto] {
        let join = crate::joining::token(&hub.admin(), "smith", "{}").await;
        let door = FrontDoor { address: Some(address.to_string()), ca: None };
        let (installation, ways) = (Installation::new(), ways());
        let by = (&ways, &HubConfig { transport, ..HubConfig::default() });
        let (token, facts) = (join.parse().unwrap(), installation.facts());
        let member = door.join(&token, &installation.key, &facts, by).await.unwrap();
        assert_eq!(member.agent, "smith");
        let renewed = door.renew(&member, by).await.unwrap();
        assert_ne!(renewed.certificate, member.certificate);
        while came.try_recv().is_ok() {}
        door.renew(&renewed, by).await.unwrap();
        assert_eq!(next(&mut came).await, "ended");
        assert!(came.try_recv().is_err(), "what won is tried first, and alone");
    }
    let direct = HubConfig { transport: Transport::Tls, ..HubConfig::default() };
    let installation = Installation::new();
    let token = crate::joining::token(&hub.admin(), "smith", "{}").await.parse().unwrap();
    let door = FrontDoor { address: Some(address.to_string()), ca: None };
    let facts = installation.facts();
    let refused = door.join(&token, &installation.key, &facts, (&ways(), &direct)).await;
    assert!(matches!(refused, Err(JoinError::NotTrusted { .. })), "{refused:?}");
}

#[tokio::test]
async fn who_ends_tls_and_is_no_web_server_is_in_the_way_for_good() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = crate::joining::token(&hub.admin(), "smith", "{}").await.parse().unwrap();
    let installation = Installation::new();
    let facts = installation.facts();
    for says in [&b""[..], b"220 mail.example ESMTP\r\n"] {
        let address = no_web_server(says).await.to_string();
        let door = FrontDoor { address: Some(address.clone()), ca: None };
        let by = (&ways(), &HubConfig::default());
        let error = door.join(&token, &installation.key, &facts, by).await.unwrap_err();
        assert!(matches!(error, JoinError::NotTrusted { .. }) && error.is_final(), "{error:?}");
        let said = Report(&error).to_string();
        let expected = format!(
            "{address} is not the hub that made the token, or an inspecting proxy is in the way \
             and passes no WebSocket: the server presented a certificate by "
        );
        assert!(said.starts_with(&expected) && said.contains("; expected hub CA "), "{said}");
        // By a WebSocket alone nobody knows whose certificate that is: it may pass.
        let by = (&ways(), &HubConfig { transport: Transport::WebSocket, ..Default::default() });
        let error = door.join(&token, &installation.key, &facts, by).await.unwrap_err();
        let said = Report(&error).to_string();
        assert!(!error.is_final() && !said.contains("docs.rs"), "{said}");
        let expected =
            format!("no connection to the hub: {address} does not answer as a web server");
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(said.ends_with(": it closed the connection"), says.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn inside_a_websocket_agents_are_served_and_nobody_else() {
    let site = Site::start().await;
    let own = "/clusters/root:acme/apis/relay.strait.dev/v1alpha1/agents/smith";
    let service = "/clusters/root:acme/services/relay/smith/echo/";
    for (client, path, status) in [
        (&site.client, own, 200),
        (&site.client, service, 403),
        (&site.client, "/tunnel", 403),
        (&site.hub.admin(), own, 403),
        (&site.hub.anonymous(), "/version", 403),
        (&site.hub.anonymous(), "/readyz", 403),
        (&site.hub.anonymous(), "/relay/v1/join", 405),
        (&site.hub.anonymous(), "/relay/v1/renew", 405),
    ] {
        let answer = inside(&site.hub, client, path).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn inside_a_websocket_an_agent_is_told_when_its_certificate_ended() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{certificateTTL: 1h}").await;
    let join = crate::joining::token(&hub.admin(), "smith", "{}").await;
    let agent = Installation::new().join(&hub, &join).await;
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    let own = "/clusters/root/apis/relay.strait.dev/v1alpha1/agents/smith";
    let directly = agent.below("").get(own).await.refused(401, "Unauthorized");
    let answer = inside(&hub, &agent, own).await;
    assert_eq!(answer.status(), 401);
    let said = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(directly.contains("expired") && said.contains(&directly), "{directly}: {said}");
    let service = "/clusters/root/services/relay/smith/echo/";
    assert_eq!(inside(&hub, &agent, service).await.status(), 403);
}

/// What a hub answers inside a WebSocket.
async fn inside(hub: &TestHub, client: &Client, path: &str) -> Response<Bytes> {
    let addresses = vec![hub.hub().address().to_string()];
    let way = Way { addresses, transport: Transport::WebSocket, proxy_file: None };
    let (address, io) = ways().connect(&way, client.tls_for(&[HTTP_PROTOCOL])).await.unwrap();
    let request = Request::get(format!("https://{address}{path}")).body(Bytes::new());
    let limits = CallLimits { connect: PATIENCE, total: PATIENCE, response_bytes: 1 << 20 };
    call_over(io, request.unwrap(), &limits).await.unwrap()
}

#[tokio::test]
async fn inside_a_websocket_only_agents_keep_their_connections() {
    let site = Site::start().await;
    let addresses = vec![site.hub.hub().address().to_string()];
    let way = Way { addresses, transport: Transport::WebSocket, proxy_file: None };
    for (client, path, keeps) in [
        (&site.client, "/version", true),
        (&site.hub.admin(), "/version", false),
        (&site.hub.anonymous(), "/version", false),
        (&site.hub.anonymous(), "/relay/v1/join", false),
        (&site.hub.anonymous(), "/relay/v1/renew", false),
    ] {
        let tls = client.tls_for(&[HTTP_PROTOCOL]);
        let (_, mut io) = ways().connect(&way, tls).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: hub\r\n\r\n");
        io.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(io.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert_eq!(!head.contains("connection: close"), keeps, "{path}: {head}");
        if !keeps {
            let mut rest = Vec::new();
            let ended = tokio::time::timeout(PATIENCE, io.read_to_end(&mut rest)).await;
            ended.expect("the hub ends it").unwrap();
        }
    }
}

#[tokio::test]
async fn a_hub_directly_takes_websockets_too_and_no_strangers() {
    let site = Site::start().await;
    let mut status = site.connect(site.hub.hub().address(), Transport::WebSocket);
    until(&mut status, |status| status.ready == 1).await;
    site.cross().await;
    let client = site.hub.anonymous();
    let refused = ask(&client, "/tunnel", HeaderMap::new()).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 426, "{refused:?}");
    let raw = fields(&key(), None);
    let refused = ask(&client, "/tunnel", raw.clone()).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 426, "another subprotocol: {refused:?}");
    let mut old = raw;
    old.insert(header::SEC_WEBSOCKET_PROTOCOL, "strait-tunnel.v1".parse().unwrap());
    old.insert(header::SEC_WEBSOCKET_VERSION, "8".parse().unwrap());
    let refused = ask(&client, "/tunnel", old.clone()).await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 400, "{refused:?}");
    // What is no TLS inside is dropped.
    old.insert(header::SEC_WEBSOCKET_VERSION, "13".parse().unwrap());
    let (_, mut io) = ask(&client, "/tunnel", old).await.unwrap();
    io.write_all(&[0x82, 0x85, 0, 0, 0, 0, b'h', b'e', b'l', b'l', b'o']).await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, io.read_to_end(&mut rest));
    drop(read.await.expect("the hub ends it"));
}
