//! Webhooks to a service behind an agent, by a real tunnel with a made-up agent at its other end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use strait_hooks::Setup;
use strait_hooks::config::{self, Disk};
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::link::control::{Announced, Message, Services, Speaker};
use strait_relay::link::{Link, Part, Sender, Stream};
use strait_relay::serve::HEARTBEAT_PATH;
use strait_runtime::SystemClock;
use strait_tunnel::{Class, Code, Config, OpenHead, Response, Role, Side};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::harness::{Client, PATIENCE, TestHub};
use crate::joining::{Installation, make_agent, token};

/// What came through.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Came {
    path: String,
    user: String,
    body: Bytes,
}

/// A service behind an agent.
#[derive(Clone)]
struct Pac {
    came: watch::Sender<Vec<Came>>,
    beats: watch::Sender<usize>,
    /// Whether requests are left without an answer.
    hung: Arc<Mutex<bool>>,
}

impl Pac {
    fn new() -> Self {
        let (came, beats) = (watch::Sender::new(Vec::new()), watch::Sender::new(0));
        Self { came, beats, hung: Arc::default() }
    }

    async fn got(&self, count: usize) -> Vec<Came> {
        let mut came = self.came.subscribe();
        let found = tokio::time::timeout(PATIENCE, came.wait_for(|came| came.len() >= count)).await;
        found.expect("webhooks come").unwrap().clone()
    }

    async fn answer(self, stream: Stream, head: strait_tunnel::Request) {
        let (mut receiver, sender) = stream.split();
        let (path, identity) = (head.parts().path.to_owned(), head.parts().tlvs.identity);
        let answer = |status| sender.send_head(&Response::new(status, []).unwrap(), true).unwrap();
        if path == HEARTBEAT_PATH {
            answer(204);
            self.beats.send_modify(|beats| *beats += 1);
            return;
        }
        let identity = strait_machinery::json::parse(identity).unwrap();
        let user = identity.str_at(&["user"]).unwrap().to_owned();
        sender.accept();
        let mut body = Vec::new();
        while let Part::Data(bytes) = receiver.next().await {
            body.extend_from_slice(&bytes);
        }
        let hung = *self.hung.lock();
        self.came.send_modify(|came| came.push(Came { path, user, body: body.into() }));
        if hung {
            std::future::pending::<()>().await;
        }
        answer(202);
    }
}

/// A connection of the agent.
struct Connection {
    link: Link,
    _control: Sender,
}

impl Connection {
    /// Connects and offers the service.
    async fn open(client: &Client, pac: &Pac) -> Self {
        let io = client.connect_as(&[TUNNEL_PROTOCOL]).await;
        let config = Config::new(Role::Agent, Role::Hub, [7; 16]);
        let pac = pac.clone();
        let acceptor = Box::new(move |stream: Stream, head| match head {
            OpenHead::Http(head) => drop(tokio::spawn(pac.clone().answer(stream, head))),
            // The hub's own says nothing that matters here.
            _ => drop(tokio::spawn(async move {
                let (mut receiver, _sender) = stream.split();
                while let Part::Data(_) = receiver.next().await {}
            })),
        });
        let (link, driver) = Link::new(io, Side::Dialler, config, Arc::new(SystemClock), acceptor);
        tokio::spawn(driver);
        link.ready().await.unwrap();
        let control = link.open(&OpenHead::Control, Class::Interactive, false).unwrap();
        let (_, mut sender) = control.split();
        let service = Announced {
            name: "pac".into(),
            r#type: "http".into(),
            hash: "h".into(),
            ready: true,
            ..Announced::default()
        };
        let services = Services { r#gen: 1, hash: "h".into(), part: 1, of: 1, list: vec![service] };
        let clock = SystemClock;
        let mut speaker = Speaker::new(&mut sender, &clock);
        speaker.say(&Message::Services(services).to_bytes()).await.unwrap();
        Self { link, _control: sender }
    }

    /// Breaks, as a network does.
    async fn cut(self) {
        self.link.cut(Code::Internal, "cut");
        self.link.closed().await;
    }
}

/// Takes webhooks for the service `pac` of the agent `smith`.
async fn take_hooks(hub: &mut TestHub, rest: &str) -> SocketAddr {
    let text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\nlisten: 127.0.0.1:0\n\
         sources: [{{name: forge, path: /forge, scheme: none}}]\n\
         backends:\n- {{name: pac, sources: [forge], workspace: root, agent: smith, service: pac, \
         path: '/in?team=a'{rest}}}\n"
    );
    let directory = hub.directory().join("hooks");
    let config = config::read("hooks.yaml", &text, Some(&directory), &Disk { in_hub: true });
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    hub.hub_mut().take_hooks(Setup::new(config, |_| None)).await.unwrap();
    hub.hub().hooks_address().unwrap()
}

/// Sends a webhook, which is acknowledged.
async fn send(to: SocketAddr, body: String) {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/forge/below?x=1")
        .header("host", "hooks")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
}

async fn metric(hub: &TestHub, line: &str) -> Option<f64> {
    let text = hub.admin().below("").get("/metrics").await.text();
    let value = text.lines().find_map(|one| one.strip_prefix(line))?;
    value.trim().parse().ok()
}

/// Waits until a metric is as wanted.
async fn until(hub: &TestHub, line: &str, wanted: impl Fn(f64) -> bool) {
    let there = async {
        while !metric(hub, line).await.is_some_and(&wanted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never {line}"));
}

async fn member(hub: &TestHub) -> Client {
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = token(&hub.admin(), "smith", "{}").await;
    Installation::new().join(hub, &token).await
}

fn numbers(came: &[Came]) -> Vec<String> {
    let number = |one: &Came| String::from_utf8_lossy(&one.body).into_owned();
    came.iter().map(number).collect()
}

const REFUSED: &str = "strait_hooks_deliver_attempts_total{backend=\"pac\",class=\"refused\"}";
const BROKEN: &str = "strait_hooks_deliver_attempts_total{backend=\"pac\",class=\"broken\"}";
const DELIVERED: &str = "strait_hooks_deliver_attempts_total{backend=\"pac\",class=\"delivered\"}";
const ROUND_TRIP: &str = "strait_hooks_backend_last_roundtrip_seconds{backend=\"pac\"}";

#[tokio::test]
async fn what_waits_for_an_agent_is_delivered_in_order_when_it_comes() {
    let mut hub = TestHub::start().await;
    let hooks = take_hooks(&mut hub, ", order: /key, retry: {first: 1h}").await;
    let member = member(&hub).await;
    let bodies: Vec<_> = (0..50).map(|count| format!(r#"{{"key":"x","count":{count}}}"#)).collect();
    for body in &bodies {
        send(hooks, body.clone()).await;
    }
    until(&hub, REFUSED, |count| count >= 1.0).await;
    assert_eq!(metric(&hub, ROUND_TRIP).await, None);

    let pac = Pac::new();
    let _connection = Connection::open(&member, &pac).await;
    let begun = Instant::now();
    let came = pac.got(50).await;
    // A second is what is promised; the rest is for a machine with much else to do.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(numbers(&came), bodies);
    let Came { path, user, .. } = &came[0];
    assert_eq!((&**path, &**user), ("/in/below?team=a&x=1", "system:strait:hooks"));
    assert_eq!(user, strait_hub::HOOKS_USER);
    until(&hub, DELIVERED, |count| count >= 50.0).await;
    // The agent that came was asked for a heartbeat at once.
    until(&hub, ROUND_TRIP, |seconds| seconds > 0.0).await;
    assert!(*pac.beats.borrow() >= 1);
    hub.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_cut_costs_an_attempt_and_loses_nothing() {
    let mut hub = TestHub::start().await;
    let hooks = take_hooks(&mut hub, ", retry: {first: 1h}").await;
    let member = member(&hub).await;
    let pac = Pac::new();
    let connection = Connection::open(&member, &pac).await;
    send(hooks, "{\"count\":0}".to_owned()).await;
    pac.got(1).await;
    until(&hub, DELIVERED, |count| count >= 1.0).await;

    *pac.hung.lock() = true;
    for count in 1..=5 {
        send(hooks, format!("{{\"count\":{count}}}")).await;
    }
    assert_eq!(pac.got(6).await.len(), 6);
    connection.cut().await;
    *pac.hung.lock() = false;
    let _connection = Connection::open(&member, &pac).await;
    let mut came = numbers(&pac.got(11).await[6..]);
    came.sort_unstable();
    let expected: Vec<_> = (1..=5).map(|count| format!("{{\"count\":{count}}}")).collect();
    assert_eq!(came, expected);
    until(&hub, DELIVERED, |count| count >= 6.0).await;
    assert_eq!(metric(&hub, BROKEN).await, Some(5.0));
    hub.stop().await;
    assert_eq!(pac.came.borrow().len(), 11, "each once more, and no oftener");
}
