//! A hub and an agent over a pipe, and services of a few lines each.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use strait_api::private::Source;
use strait_audit::{AuditLog, Head, Mirror, Options};
use strait_runtime::{Context, Metrics, TaskSet};
use strait_tunnel::{
    Class, Config, Field, Method, OpenHead, RawHead, Request, RequestParts, Role, Tlvs, Trailers,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, duplex};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::carried::fields_of;
use crate::link::{Link, Part, Receiver, Stream};
use crate::record::Recorder;
use crate::serve::{Serving, ServingMetrics, Side};
use crate::services::{AgentConfig, Disk, read};

/// Longer than anything here takes.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// Who asks where a test does not care.
pub(super) const ALICE: &[u8] = br#"{"user":"alice","via":"cert"}"#;

pub(super) struct Rig {
    pub(super) hub: Link,
    pub(super) serving: Serving,
    pub(super) tasks: TaskSet,
    pub(super) metrics: Metrics,
    pub(super) audit: AuditLog,
    pub(super) files: TempDir,
}

impl Rig {
    /// An agent with these services.
    pub(super) async fn new(services: &str) -> Self {
        Self::with_files(services, &[]).await
    }

    /// Where `DIR` is the directory of these files.
    pub(super) async fn with_files(services: &str, all: &[(&str, &str)]) -> Self {
        let files = tempfile::tempdir().unwrap();
        for (name, content) in all {
            std::fs::write(files.path().join(name), content).unwrap();
        }
        let context = Context::of_system();
        let Context { clock, metrics, tasks, .. } = context.clone();
        let options = Options::new(files.path().join("audit"), "smith-1".into());
        let audit = AuditLog::open(options, Box::new(NoMirror), clock.clone(), &metrics).unwrap();
        let text = services.replace("DIR", files.path().to_str().unwrap());
        let serving = Serving::new(
            Side::Agent("smith".into()),
            config(&text),
            ServingMetrics::new(&metrics),
            Recorder::new(audit.clone(), tasks.clone()),
            &context,
        );
        let (one, other) = duplex(1 << 16);
        let hub = Config::new(Role::Hub, Role::Agent, [1; 16]);
        let mut agent = Config::new(Role::Agent, Role::Hub, [2; 16]);
        // As many as two connections have.
        agent.limits.streams = 4_096;
        let none = Box::new(|_, _| {});
        let (hub, driver) = Link::new(one, strait_tunnel::Side::Acceptor, hub, clock.clone(), none);
        tasks.spawn_daemon("hub", driver);
        let acceptor = serving.acceptor(drop);
        let (_, driver) = Link::new(other, strait_tunnel::Side::Dialler, agent, clock, acceptor);
        tasks.spawn_daemon("agent", driver);
        hub.ready().await.unwrap();
        Self { hub, serving, tasks, metrics, audit, files }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Opens a stream for a request of which nothing follows.
    pub(super) fn ask(&self, ask: &Ask<'_>) -> Stream {
        self.hub.open(&ask.head(), Class::Normal, true).unwrap()
    }

    /// Opens one with a body to come.
    pub(super) fn begin(&self, ask: &Ask<'_>) -> Stream {
        self.hub.open(&ask.head(), Class::Normal, false).unwrap()
    }

    pub(super) fn raw(&self, service: &str) -> Stream {
        let tlvs = Tlvs { service, identity: ALICE, ..Tlvs::default() };
        let head = OpenHead::Raw(RawHead::new(&tlvs).unwrap());
        self.hub.open(&head, Class::Normal, false).unwrap()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let mut stream = self.ask(&Ask { path, ..Ask::default() });
        Answer::read(&mut stream.receiver).await
    }

    /// Waits until a line of the metrics ends so.
    pub(super) async fn metric(&self, line: &str) {
        let there = async {
            while !self.metrics.encode().lines().any(|one| one == line) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(LONG, there).await.is_err() {
            panic!("no {line} in\n{}", self.metrics.encode());
        }
    }
}

/// A mirror that remembers nothing: every log is new.
struct NoMirror;

impl Mirror for NoMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }

    fn save(&mut self, _: Head) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

pub(super) fn config(services: &str) -> AgentConfig {
    let head = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
    let text = format!("{head}{services}");
    let source = Source { file: "a.yaml", text: &text };
    read(&source, &Disk, true).unwrap().unwrap().config
}

/// A request, as a hub says it.
#[derive(Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) tlvs: Tlvs<'a>,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        let client = Some("192.0.2.7:4000".parse().unwrap());
        let tlvs =
            Tlvs { service: "web", identity: ALICE, request_id: "r-1", client, ..Tlvs::default() };
        Self { method: "GET", path: "/", fields: &[], tlvs }
    }
}

impl Ask<'_> {
    pub(super) fn head(&self) -> OpenHead {
        let parts = RequestParts {
            method: Method::new(self.method).unwrap(),
            authority: "hub.example",
            path: self.path,
            tlvs: self.tlvs,
        };
        let fields = self.fields.iter().map(|(name, value)| Field::new(name, value.as_bytes()));
        OpenHead::Http(Request::new(&parts, fields).unwrap())
    }
}

/// Everything that came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) informed: Vec<u16>,
    pub(super) status: u16,
    /// What the agent says that the service took.
    pub(super) took: Option<Duration>,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<Trailers>,
    /// [`Part::End`] or how it broke.
    pub(super) end: Part,
}

impl Answer {
    pub(super) async fn read(receiver: &mut Receiver) -> Self {
        let mut answer = Self {
            informed: Vec::new(),
            status: 0,
            took: None,
            fields: HeaderMap::new(),
            body: Vec::new(),
            trailers: None,
            end: Part::End,
        };
        let reading = async {
            loop {
                match receiver.next().await {
                    Part::Head(head) if head.is_informational() => {
                        answer.informed.push(head.status());
                    }
                    Part::Head(head) => {
                        answer.status = head.status();
                        answer.took = head.took();
                        answer.fields = fields_of(head.fields(), head.block()).to_map();
                    }
                    Part::Data(bytes) => answer.body.extend_from_slice(&bytes),
                    Part::Trailers(trailers) => answer.trailers = Some(trailers),
                    end => break answer.end = end,
                }
            }
        };
        tokio::time::timeout(LONG, reading).await.unwrap();
        answer
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Status, reason of ours, and whether it is complete.
    pub(super) fn told(&self) -> (u16, &str, bool) {
        (self.status, self.field("x-strait-error"), self.end == Part::End)
    }

    /// The code that the stream was reset with.
    pub(super) fn code(&self) -> strait_tunnel::Code {
        match &self.end {
            Part::Broken(end) => end.code,
            end => panic!("{end:?}"),
        }
    }
}

/// A port on loopback, and its URL.
pub(super) async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// An address that refuses connections. It is held by somebody who does not listen: a test beside
/// this one cannot be given it.
pub(super) fn refusing() -> (TcpSocket, String) {
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let url = format!("http://{}", held.local_addr().unwrap());
    (held, url)
}

/// A service that answers each request on each connection with these bytes, keeps the
/// connection, and tells the heads of the requests.
pub(super) fn scripted(
    tasks: &TaskSet,
    listener: TcpListener,
    answer: &'static str,
) -> tokio::sync::mpsc::Receiver<String> {
    let (heard, heads) = tokio::sync::mpsc::channel(1024);
    let set = tasks.clone();
    tasks.spawn_daemon("service", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let heard = heard.clone();
            set.spawn_daemon("service", async move {
                let mut socket = BufReader::new(socket);
                while let Some(head) = head_of(&mut socket).await {
                    let _ = heard.try_send(head);
                    if write(socket.get_mut(), answer).await.is_none() {
                        break;
                    }
                }
            });
        }
    });
    heads
}

/// Writes bytes, with `|` for a line end.
pub(super) async fn write(socket: &mut TcpStream, text: &str) -> Option<()> {
    let bytes = text.replace('|', "\r\n");
    tokio::io::AsyncWriteExt::write_all(socket, bytes.as_bytes()).await.ok()
}

/// A request's head, up to its empty line; none at the end of the connection.
pub(super) async fn head_of(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

pub(super) async fn exactly(socket: &mut BufReader<TcpStream>, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    tokio::time::timeout(LONG, socket.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

pub(super) fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251) % 251).unwrap()).collect()
}
