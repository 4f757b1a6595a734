//! Raw services: bytes both ways between a client's WebSocket and an agent's stream.

mod agent;
pub(crate) mod client;

use std::io;
use std::time::{Duration, Instant};

use http::{HeaderMap, header};
use strait_machinery::object;
use strait_relay::websocket::{Closed, Pipe};
use strait_tunnel::Code;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::credentials::{SERVICES, make, token};
use crate::harness::{Client, PATIENCE, TestHub, yaml};
use crate::joining::make_agent;
use agent::Agent;
use client::{Io, ask, dial, fields, key};

/// What has not changed for so long stands still.
const QUIET: Duration = Duration::from_millis(300);

/// A hub, an agent with its services exposed as bytes, and who may reach them.
pub(crate) struct Site {
    pub(crate) hub: TestHub,
    workspace: Client,
    agent: Agent,
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::on(TestHub::start().await).await
    }

    pub(crate) async fn on(hub: TestHub) -> Self {
        let workspace = hub.workspace("root:acme").await;
        workspace.bind("relay", "root", "relay.strait.dev").await;
        make_agent(&workspace, "smith", "{}").await;
        let agent = Agent::start(&hub, &workspace).await;
        for service in agent::SERVICES {
            let name = format!("{service}.smith");
            workspace.wait(SERVICES, &name, |_| true).await;
            let exposed = yaml("{spec: {exposure: {raw: true}}}");
            workspace.merge(&format!("{SERVICES}/{name}"), &exposed).await.expect(200);
        }
        Self { hub, workspace, agent }
    }

    pub(crate) async fn token(&self, service: &str) -> String {
        token(&self.workspace, &format!("{service}.smith")).await
    }

    pub(crate) async fn dial(&self, service: &str) -> Pipe<Io> {
        let token = self.token(service).await;
        dial(&self.hub.anonymous(), service, &token).await.unwrap()
    }
}

impl Site {
    /// Of a `source` that nobody reads little is on the way, and all of that arrives.
    pub(crate) async fn holds_little(&mut self, mut pipe: impl AsyncRead + Unpin) {
        // What was written stands still once every buffer on the way is full.
        let counted = &mut self.agent.counted;
        in_time("the first bytes", counted.changed()).await.unwrap();
        while tokio::time::timeout(QUIET, counted.changed()).await.is_ok() {}
        let full = *counted.borrow();
        // Most of it is the kernel's: 6 MiB to send and 6 MiB received, at its defaults.
        assert!(full < 24 << 20, "{full}");
        let (mut taken, mut some) = (0, vec![0; 64 << 10]);
        while taken <= full {
            let count = in_time("a read", pipe.read(&mut some)).await.unwrap();
            assert_ne!(count, 0);
            taken += count as u64;
        }
        drop(pipe);
        assert_eq!(in_time("the end", self.agent.ends.recv()).await, Some(Code::Cancel));
    }
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

fn closed(error: &io::Error) -> (u16, &str) {
    let closed = Closed::find(error).unwrap_or_else(|| panic!("{error}"));
    (closed.code, &closed.reason)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_megabytes_come_back_as_they_went() {
    let site = Site::start().await;
    let (mut from, mut to) = tokio::io::split(site.dial("echo").await);
    const LENGTH: usize = 50 << 20;
    let byte = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0];
    let write = tokio::spawn(async move {
        let (mut at, mut size) = (0, 1);
        while at < LENGTH {
            size = (size * 31 + 7) % 150_000;
            let end = (at + size).min(LENGTH);
            let piece: Vec<u8> = (at..end).map(byte).collect();
            to.write_all(&piece).await.unwrap();
            at = end;
        }
        to.shutdown().await.unwrap();
        to
    });
    let (mut at, mut buffer) = (0, vec![0; 100_000]);
    loop {
        let count = in_time("a read", from.read(&mut buffer)).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().enumerate().all(|(i, own)| *own == byte(at + i)), "{at}");
        at += count;
    }
    assert_eq!(at, LENGTH);
    write.await.unwrap();
}

#[tokio::test]
async fn each_direction_ends_in_its_own_time() {
    let mut site = Site::start().await;
    // The client first.
    let mut pipe = site.dial("count").await;
    pipe.write_all(b"12345").await.unwrap();
    pipe.shutdown().await.unwrap();
    let mut told = String::new();
    in_time("the count", pipe.read_to_string(&mut told)).await.unwrap();
    assert_eq!(told, "5");
    // The service first.
    let mut pipe = site.dial("greet").await;
    let mut told = String::new();
    in_time("the greeting", pipe.read_to_string(&mut told)).await.unwrap();
    assert_eq!(told, "hello");
    pipe.write_all(b"6789").await.unwrap();
    pipe.shutdown().await.unwrap();
    assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::None));
    assert_eq!(*site.agent.counted.borrow(), 9);
}

#[tokio::test]
async fn a_connection_that_becomes_another_protocol_carries_both_ways_too() {
    let site = Site::start().await;
    let token = site.token("web").await;
    let mut fields = fields(&key(), Some(&token));
    fields.insert("sec-websocket-protocol", "chat".parse().unwrap());
    let path = "/services/relay/smith/web/talk";
    let (_, mut io) = ask(&site.hub.anonymous(), path, fields).await.unwrap();
    io.write_all(b"there and back").await.unwrap();
    io.shutdown().await.unwrap();
    let mut told = String::new();
    in_time("the echo", io.read_to_string(&mut told)).await.unwrap();
    assert_eq!(told, "there and back");
}

#[tokio::test]
async fn what_breaks_off_never_looks_complete() {
    let mut site = Site::start().await;
    // The service.
    let mut pipe = site.dial("break").await;
    pipe.shutdown().await.unwrap();
    let mut told = Vec::new();
    let error = in_time("the break", pipe.read_to_end(&mut told)).await.unwrap_err();
    assert_eq!((&*told, closed(&error).0), (&b"so far"[..], 4502));
    assert!(closed(&error).1.starts_with("UpstreamReset: "), "{error}");
    // Silence has a reason of its own.
    let mut pipe = site.dial("idle").await;
    pipe.shutdown().await.unwrap();
    let error = in_time("the end", pipe.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(closed(&error).0, 4504, "{error}");
    assert!(closed(&error).1.starts_with("IdleTimeout: nothing passed for 1h"), "{error}");
    // The client, without a word and with a wrong one.
    let mut pipe = site.dial("count").await;
    pipe.write_all(b"x").await.unwrap();
    drop(pipe);
    assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::Cancel));
    let token = site.token("count").await;
    let (key, path) = (key(), "/services/relay/smith/count");
    let (_, mut io) = ask(&site.hub.anonymous(), path, fields(&key, Some(&token))).await.unwrap();
    io.write_all(&[0x82, 1, b'x']).await.unwrap();
    let mut told = Vec::new();
    in_time("the close", io.read_to_end(&mut told)).await.unwrap();
    assert_eq!(told, [0x88, 2, 0x03, 0xea], "1002: frames of clients are masked");
    assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::Cancel));
    // The agent.
    let mut pipe = site.dial("echo").await;
    site.agent.link.cut(Code::None, "");
    let error = in_time("the loss", pipe.read(&mut [0; 8])).await.unwrap_err();
    assert!(closed(&error).1.starts_with("ConnectionLost: "), "{error}");
}

/// Many close TLS without a word of that, right behind the last thing that they had to say.
#[tokio::test]
async fn what_a_client_said_before_it_broke_off_arrives() {
    let mut site = Site::start().await;
    let said = vec![b'x'; 48 << 10];
    let mut counted = 0;
    for half in [false, true] {
        let mut pipe = site.dial("count").await;
        pipe.write_all(&said).await.unwrap();
        pipe.flush().await.unwrap();
        if half {
            pipe.shutdown().await.unwrap();
        }
        drop(pipe);
        counted += said.len() as u64;
        let all = site.agent.counted.wait_for(|all| *all == counted);
        in_time("all that was said", all).await.unwrap();
        if !half {
            assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::Cancel));
        }
    }
}

#[tokio::test]
async fn pings_are_answered_also_behind_the_end_of_what_a_client_says() {
    let mut site = Site::start().await;
    let token = site.token("quiet").await;
    let (key, path) = (key(), "/services/relay/smith/quiet");
    let (_, mut io) = ask(&site.hub.anonymous(), path, fields(&key, Some(&token))).await.unwrap();
    let half = br#"{"half-close":true}"#;
    let length = 0x80 | u8::try_from(half.len()).unwrap();
    io.write_all(&[&[0x81, length, 0, 0, 0, 0], &half[..]].concat()).await.unwrap();
    for _ in 0..3 {
        io.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
        let mut pong = [0; 4];
        in_time("the pong", io.read_exact(&mut pong)).await.unwrap();
        assert_eq!(pong, [0x8a, 2, b'h', b'i']);
    }
    drop(io);
    assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::Cancel));
}

#[tokio::test]
async fn who_reads_nothing_is_sent_a_bounded_amount() {
    let mut site = Site::start().await;
    let pipe = site.dial("source").await;
    site.holds_little(pipe).await;
}

#[tokio::test]
async fn a_revocation_ends_streams_in_both_directions_within_two_seconds() {
    let mut site = Site::start().await;
    let made = make(&site.workspace, "source.smith", "{}").await;
    let source = made.str_at(&["token"]).unwrap();
    let mut read = dial(&site.hub.anonymous(), "source", source).await.unwrap();
    let stalled = dial(&site.hub.anonymous(), "source", source).await.unwrap();
    let mut other = site.dial("echo").await;
    in_time("bytes", read.read(&mut [0; 8])).await.unwrap();

    let revoked = object! {"credential": made.str_at(&["id"]).unwrap()};
    let path = format!("{SERVICES}/source.smith/revocations");
    site.workspace.post(&path, &revoked).await.expect(201);
    let since = Instant::now();
    let error = loop {
        if let Err(error) = in_time("the end", read.read(&mut [0; 64 << 10])).await {
            break error;
        }
    };
    assert_eq!(closed(&error).0, 4401, "{error}");
    assert!(closed(&error).1.starts_with("CredentialRevoked: "), "{error}");
    for _ in 0..2 {
        assert_eq!(in_time("the end", site.agent.ends.recv()).await, Some(Code::Revoked));
    }
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    drop(stalled);
    other.write_all(b"still there").await.unwrap();
    in_time("the others go on", other.read_exact(&mut [0; 11])).await.unwrap();
    let again = dial(&site.hub.anonymous(), "source", source).await.unwrap_err();
    assert_eq!((again.status.as_u16(), &*again.reason), (401, "CredentialRevoked"));
}

#[tokio::test]
async fn mistakes_are_told_before_the_connection_changes() {
    let site = Site::start().await;
    let exposed = async |service: &str, raw: bool| {
        let change = yaml(&format!("{{spec: {{exposure: {{raw: {raw}}}}}}}"));
        site.workspace.merge(&format!("{SERVICES}/{service}.smith"), &change).await.expect(200);
    };
    exposed("greet", false).await;
    let client = site.hub.anonymous();
    for (service, status, reason, text) in [
        ("refuse", 502, "ConnectFailed", "smith could not connect to refuse: connection refused"),
        ("late", 504, "ConnectTimeout", "late"),
        ("users", 403, "AgentRule", ""),
        ("web", 501, "UpgradeNotAllowed", "by its path, /services/relay/smith/web/"),
        ("greet", 403, "NotExposed", "set spec.exposure.raw of Service"),
    ] {
        // What speaks HTTP is told so, exposed or not.
        for raw in if service == "web" { &[true, false][..] } else { &[false] } {
            if service == "web" {
                exposed("web", *raw).await;
            }
            let refused = dial(&client, service, &site.token(service).await).await.unwrap_err();
            assert_eq!((refused.status.as_u16(), &*refused.reason), (status, reason), "{service}");
            assert!(refused.text.contains(text), "{refused:?}");
        }
    }
    let token = site.token("echo").await;
    let other = site.token("count").await;
    let reading = make(&site.workspace, "echo.smith", "{verbs: [get]}").await;
    let reading = reading.str_at(&["token"]).unwrap().to_owned();
    let wrong = |name: &'static str, value: &'static str| {
        let mut fields = fields(&key(), Some(&token));
        fields.insert(name, value.parse().unwrap());
        fields
    };
    let mut plain = HeaderMap::new();
    plain.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    const PATH: &str = "/services/relay/smith/echo";
    for (path, fields, status, reason) in [
        (PATH, fields(&key(), None), 401, "CredentialMissing"),
        (PATH, fields(&key(), Some("x")), 401, "CredentialInvalid"),
        (PATH, fields(&key(), Some(&other)), 403, "CredentialScope"),
        (PATH, fields(&key(), Some(&reading)), 403, "CredentialScope"),
        (PATH, wrong("sec-websocket-protocol", "chat"), 426, "UpgradeRequired"),
        (PATH, wrong("sec-websocket-version", "8"), 400, "BadWebSocket"),
        (PATH, wrong("sec-websocket-key", "c2hvcnQ="), 400, "BadWebSocket"),
        (PATH, plain, 426, "UpgradeRequired"),
        ("/services/relay/smith/echo/x", fields(&key(), Some(&token)), 400, "BadTarget"),
        ("/services/relay/smith/echo?x", fields(&key(), Some(&token)), 400, "BadTarget"),
        ("/services/relay/smith/none", fields(&key(), Some(&token)), 403, "CredentialScope"),
    ] {
        let refused = ask(&client, path, fields).await.unwrap_err();
        assert_eq!((refused.status.as_u16(), &*refused.reason), (status, reason), "{refused:?}");
        let upgrades = refused.fields.get(header::UPGRADE).is_some();
        assert_eq!(upgrades, status == 426, "{refused:?}");
    }
    // The long path, by a certificate.
    let path = "/clusters/root:acme/services/relay/smith/echo/";
    let nobody = site.hub.client("bob", &[]);
    let refused = ask(&nobody, path, fields(&key(), None)).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), &*refused.reason), (404, "NotFound"), "{refused:?}");
    site.workspace.make_administrator("alice").await;
    let alice = site.hub.client("alice", &[]);
    ask(&alice, path, fields(&key(), None)).await.unwrap();
}

#[tokio::test]
async fn a_stream_is_in_the_audit_log_before_and_after() {
    let mut site = Site::start().await;
    let mut pipe = site.dial("count").await;
    pipe.write_all(b"12345").await.unwrap();
    pipe.shutdown().await.unwrap();
    in_time("the count", pipe.read_to_end(&mut Vec::new())).await.unwrap();
    let directory = site.hub.stop().await;
    let mut lines = String::new();
    for file in std::fs::read_dir(directory.path().join("audit")).unwrap() {
        lines += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    let about = |what: &str| lines.lines().filter(|line| line.contains(what)).count();
    assert_eq!(about("relay.stream.open GET /"), 1);
    assert_eq!(about("relay.stream.end NONE 101, 5 bytes up, 1 down"), 1, "{lines}");
}
