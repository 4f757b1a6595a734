//! Programs beside an agent, on their way to services beside its hub.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use strait_runtime::{Context, SpanKind};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};

use crate::harness::{PATIENCE, TestHub, context, spans_of, traced, yaml};
use crate::site::{AGENTS, Agent, Site};

const NAMED: &str = "{spec: {incoming: [{type: http, name: web}, {type: tcp, name: echo}]}}";

/// What runs beside the hub: `web` answers with the request that it got, `echo` sends bytes back.
struct Beside {
    web: SocketAddr,
    echo: SocketAddr,
}

impl Beside {
    async fn start() -> Self {
        let [web, echo] = [listen().await, listen().await];
        let started = Self { web: web.local_addr().unwrap(), echo: echo.local_addr().unwrap() };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = web.accept().await {
                tokio::spawn(async move { while answer(&mut socket).await.is_some() {} });
            }
        });
        tokio::spawn(async move {
            while let Ok((socket, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = socket.into_split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                    let _ = to.write_all(b" and an end").await;
                });
            }
        });
        started
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// A port that is free for whoever asks for it by number, and is given to nobody who asks for any.
fn free() -> (TcpSocket, SocketAddr) {
    let kept = TcpSocket::new_v4().unwrap();
    kept.set_reuseaddr(true).unwrap();
    kept.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = kept.local_addr().unwrap();
    (kept, address)
}

/// Answers one request with its head and the length of its body; or goes over to echo.
async fn answer(socket: &mut TcpStream) -> Option<()> {
    let head = read_head(socket).await?;
    if head.contains("upgrade: websocket") {
        let switch = "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        socket.write_all(switch.as_bytes()).await.ok()?;
        let (mut from, mut to) = socket.split();
        tokio::io::copy(&mut from, &mut to).await.ok()?;
        return None;
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    socket.read_exact(&mut body).await.ok()?;
    let large = if head.starts_with("GET /large ") { "x".repeat(LARGE) } else { String::new() };
    let said = format!("{head}{} bytes{large}", body.len());
    let location = "location: http://inside.example/elsewhere";
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{location}\r\n\r\n", said.len());
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(said.as_bytes()).await.ok()
}

async fn read_head(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap().to_lowercase().replacen("get", "GET", 1))
}

/// More than any buffer on the way holds.
const LARGE: usize = 8 << 20;

struct Scene {
    site: Site,
    agent: Agent,
}

impl Scene {
    async fn new(extra: &str) -> Self {
        Self::within(extra, [context(), context()]).await
    }

    /// With these parts of the hub's process and of the agent's.
    async fn within(extra: &str, [of_hub, of_agent]: [Context; 2]) -> Self {
        let beside = Beside::start().await;
        let (web, echo) = (beside.web, beside.echo);
        let services = format!(
            "services:\n\
             - {{name: web, type: http, url: 'http://{web}', upgrade: true, allow: {{users: ['*']}}}}\n\
             - {{name: echo, type: tcp, address: '{echo}', allow: {{users: ['*']}}}}\n"
        );
        let site = Site::at(TestHub::offering_within(&services, of_hub).await).await;
        let agent = site.agent_within(&file(&site, extra), of_agent).await;
        let scene = Self { site, agent };
        scene.ready().await;
        scene
    }

    async fn ready(&self) {
        self.site.connections(2).await;
    }

    async fn until(&self, probe: &str, line: &str) {
        let said = async {
            while !self.site.probe(probe).await.contains(line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("never {line:?}"));
    }

    async fn name(&self, spec: &str) {
        let provider = self.site.within("root:provider");
        provider.merge(&format!("{AGENTS}/smith"), &yaml(spec)).await.expect(200);
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.site.home.path().join(name)
    }

    async fn connect(&self, name: &str) -> UnixStream {
        UnixStream::connect(self.socket(name)).await.unwrap()
    }

    async fn ask(&self, head: &str, body: &[u8]) -> String {
        ask(self.connect("web.sock").await, head, body).await
    }
}

/// The agent's file, with sockets in its home.
fn file(site: &Site, extra: &str) -> String {
    let home = site.home.path().display();
    format!(
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\nincoming:\n\
         - {{name: web, listen: 'unix:{home}/web.sock', service: {{agent: hub, type: http, name: web}}}}\n\
         - {{name: echo, listen: 'unix:{home}/echo.sock', service: {{agent: hub, type: tcp, name: echo}}}}\n\
         {extra}"
    )
}

fn at(name: &str, address: SocketAddr) -> String {
    format!(
        "- {{name: {name}, listen: '{address}', service: {{agent: hub, type: http, name: web}}}}\n"
    )
}

async fn ask(socket: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &[u8]) -> String {
    ask_under("localhost", socket, head, body).await
}

async fn ask_under(
    host: &str,
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> String {
    let head = format!("{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let asked = async {
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.write_all(body).await.unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).await.unwrap();
        said
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("it is answered")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_beside_the_agent_reaches_what_the_hub_offers_to_it() {
    let (_kept, address) = free();
    let scene = Scene::new(&at("tcp", address)).await;
    let mode = std::fs::metadata(scene.socket("web.sock")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let refused = scene.ask("GET / HTTP/1.1", b"").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("x-strait-error: NotOffered"), "{refused}");
    assert!(refused.contains("the hub does not offer web to this agent"), "{refused}");

    scene.name(NAMED).await;
    let said = scene.ask("GET /a?b=c HTTP/1.1\r\nX-Remote-User: admin\r\nX-Mine: 1", b"").await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    let head = said.to_lowercase();
    for expected in ["get /a?b=c http/1.1", ":smith\r\n", "x-mine: 1", "x-forwarded-for: 127.0.0.1"]
    {
        assert!(head.contains(expected), "{expected} in {said}");
    }
    assert!(!head.contains("admin"), "{said}");
    let socket = TcpStream::connect(address).await.unwrap();
    assert!(ask(socket, "GET / HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 OK"));
    let body = vec![b'b'; LARGE];
    let sent = scene.ask(&format!("POST /up HTTP/1.1\r\nContent-Length: {LARGE}"), &body).await;
    assert!(sent.ends_with(&format!("{LARGE} bytes")), "{}", sent.len());
    let got = scene.ask("GET /large HTTP/1.1", b"").await;
    assert!(got.starts_with("HTTP/1.1 200 OK") && got.len() > LARGE, "{}", got.len());
    // A page of another site is not a program beside the agent.
    let foreign = "POST / HTTP/1.1\r\nOrigin: http://other.example\r\nContent-Length: 0";
    let foreign = scene.ask(foreign, b"").await;
    assert!(foreign.contains("x-strait-error: CrossSite"), "{foreign}");

    let lines = strait_audit::list(&scene.site.home.path().join("agent/audit"), Default::default());
    let lines: Vec<_> = lines.unwrap().map(|line| line.unwrap().record).collect();
    let sent = lines.iter().find(|one| one.outcome == "relay.stream.open POST /up").unwrap();
    let [hub, _] = scene.site.audited(&sent.crossing);
    assert!(hub[0].ends_with("relay.stream.open POST /up"), "{hub:?}");
    scene.until("/metrics", "incoming_streams_total{incoming=\"web\",code=\"NONE\"}").await;
    scene.agent.stop().await;
    assert!(!scene.site.home.path().join("web.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_and_other_protocols_pass_both_ways_to_their_ends() {
    let scene = Scene::new("").await;
    // A connection to what is not offered breaks.
    let mut refused = scene.connect("echo.sock").await;
    let _ = refused.write_all(b"x").await;
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
    scene.name(NAMED).await;
    let mut bytes = scene.connect("echo.sock").await;
    let sent: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    let (mut from, mut to) = bytes.split();
    let write = async {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut came = Vec::new();
    let both = async { tokio::join!(write, from.read_to_end(&mut came)) };
    let ((), read) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    read.unwrap();
    assert!(came.starts_with(&sent) && came[LARGE..] == *b" and an end", "{}", came.len());

    let mut socket = scene.connect("web.sock").await;
    let head =
        "GET /ws HTTP/1.1\r\nHost: local\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let head = read_head(&mut socket).await.unwrap();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    socket.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    socket.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ping");
    // What is taken away ends, here as there.
    scene.name("{spec: {incoming: []}}").await;
    let ended = async { while socket.read(&mut four).await.is_ok_and(|count| count > 0) {} };
    tokio::time::timeout(Duration::from_secs(2), ended).await.expect("it ends");
    scene.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_change_with_the_file_whole_or_not_at_all() {
    let scene = Scene::new("").await;
    scene.name(NAMED).await;
    let mut kept = scene.connect("echo.sock").await;
    let mut ping = async || {
        kept.write_all(b"ping").await.unwrap();
        let mut four = [0; 4];
        tokio::time::timeout(PATIENCE, kept.read_exact(&mut four)).await.unwrap().unwrap();
    };
    ping().await;
    let (_kept, address) = free();
    let taken = TcpListener::bind(address).await.unwrap();
    let other = format!(
        "- {{name: more, listen: 'unix:{}', service: {{agent: hub, type: http, name: web}}}}\n",
        scene.socket("more.sock").display()
    );
    let wanted = format!("{other}{}", at("tcp", address));
    scene.site.write(&file(&scene.site, &wanted));
    scene.until("/metrics", "config_reload_total{result=\"rejected\"} 1").await;
    assert!(!scene.socket("more.sock").exists(), "nothing of it holds");
    assert!(scene.ask("GET / HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 OK"));
    // It is tried again until the port is free.
    drop(taken);
    scene.until("/metrics", "config_reload_total{result=\"applied\"} 1").await;
    assert!(scene.socket("more.sock").exists());
    let socket = TcpStream::connect(address).await.unwrap();
    assert!(ask(socket, "GET / HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 OK"));

    // One that is gone takes nothing more; one whose address stays goes on, whatever its name.
    let text = file(&scene.site, "").replace("name: echo, listen", "name: bytes, listen");
    scene.site.write(&text);
    scene.until("/metrics", "config_reload_total{result=\"applied\"} 2").await;
    assert!(!scene.socket("more.sock").exists());
    assert!(TcpStream::connect(address).await.is_err());
    ping().await;
    drop(kept);
    scene.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_takes_another_address_or_protocol_at_its_port_in_one_reload() {
    let ((_kept, address), taken) = (free(), listen().await);
    let scene = Scene::new(&at("tcp", address)).await;
    scene.name(NAMED).await;
    let wide = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let answers = async || {
        let socket = TcpStream::connect(address).await.unwrap();
        ask(socket, "GET / HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 OK")
    };
    assert!(answers().await);
    // Nothing of a file holds that asks for a port that is taken as well.
    let both = at("tcp", wide) + &at("more", taken.local_addr().unwrap());
    scene.site.write(&file(&scene.site, &both));
    scene.until("/metrics", "config_reload_total{result=\"rejected\"} 1").await;
    let from_all = TcpStream::connect(("127.0.0.2", address.port())).await;
    assert!(answers().await && from_all.is_err());
    let bytes = at("tcp", address).replace("type: http, name: web", "type: tcp, name: echo");
    for (count, extra) in [at("tcp", wide), at("tcp", address), bytes].iter().enumerate() {
        scene.site.write(&file(&scene.site, extra));
        let line = format!("config_reload_total{{result=\"applied\"}} {}", count + 1);
        scene.until("/metrics", &line).await;
        let from_all = TcpStream::connect(("127.0.0.2", address.port())).await;
        assert_eq!(from_all.is_ok(), count == 0, "{extra}");
        if count < 2 {
            assert!(answers().await, "{extra}");
        }
    }
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"ping").await.unwrap();
    let mut four = [0; 4];
    tokio::time::timeout(PATIENCE, socket.read_exact(&mut four)).await.unwrap().unwrap();
    assert_eq!(&four, b"ping");
    drop(socket);
    scene.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_at_a_port_answers_under_its_own_names_alone() {
    let (_kept, address) = free();
    let named = at("tcp", address);
    let scene = Scene::new(&named).await;
    scene.name(NAMED).await;
    let under = async |host: &str| {
        let socket = TcpStream::connect(address).await.unwrap();
        let said = ask_under(host, socket, "GET / HTTP/1.1", b"").await;
        said["HTTP/1.1 ".len()..].split(' ').next().unwrap().to_owned() + &said
    };
    for host in ["localhost", "127.0.0.1", "[::1]:1", &address.to_string()] {
        assert!(under(host).await.starts_with("200"), "{host}");
    }
    for host in ["store.local", "localhost.other.example", "192.0.2.7"] {
        let told = under(host).await;
        assert!(told.starts_with("421"), "{host} {told}");
        assert!(told.contains("x-strait-error: Misdirected") && told.contains("`hosts`"), "{told}");
    }
    // A socket is no place that a page can lead a name to.
    let socket = scene.connect("web.sock").await;
    let told = ask_under("store.local", socket, "GET / HTTP/1.1", b"").await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    let listed = named.replace(", service", ", hosts: [store.local], service");
    scene.site.write(&file(&scene.site, &listed));
    scene.until("/metrics", "config_reload_total{result=\"applied\"} 1").await;
    assert!(under("store.local:8014").await.starts_with("200"));
    assert!(under("other.example").await.starts_with("421"));
    scene.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_way_to_the_hub_a_program_is_told_so() {
    let mut scene = Scene::new("").await;
    scene.name(NAMED).await;
    assert!(scene.ask("GET / HTTP/1.1", b"").await.starts_with("HTTP/1.1 200 OK"));
    drop(scene.site.hub.stop().await);
    scene.site.connections(0).await;
    let away = scene.ask("POST / HTTP/1.1\r\nContent-Length: 1", b"x").await;
    assert!(away.starts_with("HTTP/1.1 503 ") && away.contains("HubAway"), "{away}");
    assert!(away.contains("nothing was executed"), "{away}");
    scene.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_a_program_beside_the_agent_is_one_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ((hub, mut of_hub), (agent, mut of_agent)) = (traced(), traced());
    let scene = Scene::within("", [hub, agent]).await;
    scene.name(NAMED).await;
    let head = format!("GET / HTTP/1.1\r\nTraceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let said = loop {
        // The hub says in its own time what it offers.
        let said = scene.ask(&head, b"").await;
        if said.starts_with("HTTP/1.1 200 ") {
            break said;
        }
    };
    let there = spans_of(&mut of_hub, TRACE, "hub.relay").await;
    let (dial, relay) = (&there[0], &there[1]);
    assert_eq!((dial.name, relay.name), ("hub.dial", "hub.relay"));
    let parent = relay.parent.unwrap();
    let asked = loop {
        // Before it was offered it was refused, which was a span as well.
        let asked = spans_of(&mut of_agent, TRACE, "agent.relay").await.pop().unwrap();
        if asked.context == parent {
            break asked;
        }
    };
    assert_eq!([asked.kind, relay.kind], [SpanKind::Server, SpanKind::Client]);
    assert_eq!(dial.parent.map(|own| own.span), Some(relay.context.span));
    assert!(said.contains(&relay.context.to_string()), "{said}");
    scene.agent.stop().await;
}
