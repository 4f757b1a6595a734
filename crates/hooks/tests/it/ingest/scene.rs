//! A listener for webhooks with a log and backends that do as they are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use strait_hooks::config::{Answers, Limits, Source};
use strait_hooks::ingest::{Acknowledge, Append, Deliveries, Ingest, Receiving, server_limits};
use strait_hooks::log::AppendError;
use strait_hooks::secrets::{Place, Secrets};
use strait_hooks::signature::Scheme;
use strait_hooks::{Event, Position};
use strait_net::{Server, ServerMetrics};
use strait_runtime::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Long enough for any machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) const SECRET: &str = "s3cret";

pub(super) fn limits() -> Limits {
    Limits {
        body: 25 << 20,
        body_deadline: LONG,
        head_deadline: LONG,
        connections: 2_000,
        per_address: 200,
        memory: 128 << 20,
        disk: 1 << 30,
    }
}

/// A log in memory.
pub(super) struct FakeLog {
    pub(super) events: Mutex<Vec<Arc<Event>>>,
    pub(super) error: Mutex<Option<AppendError>>,
    /// Appends that were begun.
    pub(super) begun: AtomicUsize,
    /// What an append needs to go on.
    pub(super) turns: Semaphore,
}

impl FakeLog {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            error: Mutex::default(),
            begun: AtomicUsize::new(0),
            turns: Semaphore::new(1 << 20),
        })
    }

    /// One whose appends wait for turns.
    pub(super) fn stuck() -> Arc<Self> {
        let log = Self::new();
        log.turns.try_acquire_many(1 << 20).unwrap().forget();
        log
    }
}

impl Append for FakeLog {
    fn append(&self, event: Arc<Event>) -> BoxFuture<'_, Result<Position, AppendError>> {
        async move {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.turns.acquire().await.unwrap().forget();
            if let Some(error) = *self.error.lock() {
                return Err(error);
            }
            let mut events = self.events.lock();
            events.push(event);
            Ok(Position(events.len() as u64))
        }
        .boxed()
    }
}

/// Backends that note what they are told.
#[derive(Default)]
pub(super) struct FakeDeliveries {
    pub(super) none: AtomicBool,
    pub(super) fail: AtomicBool,
    pub(super) offered: Mutex<Vec<(Position, Arc<Event>)>>,
    pub(super) redriven: Mutex<Vec<Position>>,
}

impl Deliveries for FakeDeliveries {
    fn has_backend(&self, _: &str) -> bool {
        !self.none.load(Ordering::Relaxed)
    }

    fn offer(&self, position: Position, event: &Arc<Event>) {
        self.offered.lock().push((position, event.clone()));
    }

    fn redrive(&self, position: Position) -> BoxFuture<'static, usize> {
        self.redriven.lock().push(position);
        Box::pin(std::future::ready(1))
    }

    fn at_once(&self, event: &Arc<Event>) -> BoxFuture<'static, bool> {
        self.offered.lock().push((Position(0), event.clone()));
        let good = !self.fail.load(Ordering::Relaxed);
        async move { good }.boxed()
    }
}

/// What a test is about.
pub(super) struct Options {
    pub(super) sources: Vec<Receiving>,
    pub(super) limits: Limits,
    pub(super) log: Option<Arc<FakeLog>>,
    pub(super) wait: Duration,
    pub(super) store_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sources: vec![github("/hook", Answers::Strait)],
            limits: limits(),
            log: Some(FakeLog::new()),
            wait: LONG,
            store_only: false,
        }
    }
}

pub(super) struct Scene {
    pub(super) address: SocketAddr,
    pub(super) ingest: Ingest,
    pub(super) log: Arc<FakeLog>,
    pub(super) deliveries: Arc<FakeDeliveries>,
    pub(super) context: Context,
}

impl Scene {
    pub(super) async fn new(options: Options) -> Self {
        Self::within(Context::of_system(), options).await
    }

    pub(super) async fn within(context: Context, options: Options) -> Self {
        let log = options.log.clone().unwrap_or_else(FakeLog::new);
        let acknowledge = match options.log {
            Some(log) => Acknowledge::Durable(log, options.wait),
            None => Acknowledge::AtOnce,
        };
        let deliveries = Arc::new(FakeDeliveries::default());
        let limits = options.limits;
        let listen = server_limits(&limits);
        let ingest = Ingest::new(limits, acknowledge, deliveries.clone(), context.clone());
        ingest.serve(options.sources, options.store_only);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let Context { tasks, shutdown, .. } = context.clone();
        let metrics = ServerMetrics::new(&context.metrics);
        let server = Server { limits: listen, ..Server::plain(metrics, tasks, shutdown) };
        context.tasks.spawn_daemon("server", server.serve(listener, ingest.handler()));
        Self { address, ingest, log, deliveries, context }
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Everything that is said to these bytes until the connection is closed.
    pub(super) async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        // It may be refused before it was written.
        drop(stream.write_all(bytes.as_ref()).await);
        until_closed(stream).await
    }

    /// What a metric says now.
    pub(super) fn metric(&self, name: &str) -> String {
        let text = self.context.metrics.encode();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_default().to_owned()
    }
}

/// Waits for something to be so.
pub(super) async fn eventually(what: impl Fn() -> bool) {
    let until = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, until).await.expect("it happens");
}

pub(super) async fn until_closed(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let read = tokio::time::timeout(LONG, stream.read_to_end(&mut said)).await;
    drop(read.expect("the connection is closed"));
    String::from_utf8_lossy(&said).into_owned()
}

/// One answer of a connection that stays open.
pub(super) async fn one_answer(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&said).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let read = tokio::time::timeout(LONG, stream.read_buf(&mut said)).await;
        assert!(read.unwrap().unwrap() > 0, "closed after {text:?}");
    }
}

/// The status line's number and the body.
pub(super) fn status_and_body(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    (head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0), body)
}

pub(super) fn receiving(path: &str, scheme: Scheme, answers: Answers, secret: &str) -> Receiving {
    let places = match scheme {
        Scheme::None => Vec::new(),
        _ => vec![Place::Variable("SECRET".to_owned())],
    };
    let secret = secret.to_owned();
    let now = strait_runtime::Clock::now(&strait_runtime::SystemClock);
    let value = move |_: &str| Some(secret.clone());
    let secrets = Secrets::load(scheme.clone(), places.clone(), value, now).unwrap();
    let name = path.trim_start_matches('/');
    let source = Source {
        name: if name.is_empty() { "root".into() } else { name.replace('/', "-").into() },
        path: path.into(),
        scheme,
        secrets: places,
        dedupe: Duration::from_secs(3_600),
        addresses: Vec::new(),
        answers,
    };
    Receiving { source, secrets: Arc::new(secrets) }
}

pub(super) fn github(path: &str, answers: Answers) -> Receiving {
    receiving(path, Scheme::Github, answers, SECRET)
}

pub(super) fn hex_mac(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A signed webhook of GitHub, closed behind; `more` are header lines.
pub(super) fn signed(path: &str, body: &[u8], more: &str) -> Vec<u8> {
    let mac = hex_mac(body);
    let more = format!("X-Hub-Signature-256: sha256={mac}\r\nConnection: close\r\n{more}");
    unsigned(path, body, &more)
}

/// A webhook whose header lines but the usual ones are `more`.
pub(super) fn unsigned(path: &str, body: &[u8], more: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: hooks\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{more}\r\n"
    );
    [head.as_bytes(), body].concat()
}
