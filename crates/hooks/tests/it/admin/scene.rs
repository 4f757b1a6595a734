//! A log with events, what became of them, and an operators' listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use strait_audit::{AuditLog, Head, Mirror};
use strait_hooks::admin::{Admin, Authorizer, Backends, Deliveries, Kept, Parts, Purged};
use strait_hooks::breaker::Breaker;
use strait_hooks::config::{
    self, AdminListener, Answers, Backend, DynamicBackends, Listener, Permission, Source,
};
use strait_hooks::deliver::{Schemes, Status};
use strait_hooks::log::{Log, Options};
use strait_hooks::schedule::{Outcome, Reason};
use strait_hooks::signature::Scheme;
use strait_hooks::state::{self, Became, Change, State};
use strait_hooks::{Event, Position};
use strait_net::{BoxError, CallLimits, Checks, Client, EgressPolicy, Server, ServerMetrics};
use strait_runtime::{ManualClock, Metrics, Shutdown, TaskSet};
use tokio::net::TcpListener;

pub(super) const NOW: &str = "2026-11-21T12:00:00Z";

/// Tokens and what each may.
pub(super) const TOKENS: [(&str, Permission); 4] = [
    ("viewer", Permission::View),
    ("reader", Permission::Payload),
    ("repairer", Permission::Replay),
    ("registrar", Permission::Backends),
];

struct NoMirror;

impl Mirror for NoMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(None)
    }

    fn save(&mut self, _: Head) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

/// Keeps in the state what it is told, and delivers nothing.
pub(super) struct Fake {
    pub(super) state: Arc<State>,
    pub(super) backends: Mutex<Arc<[Backend]>>,
}

impl Fake {
    fn set(
        &self,
        backends: &[Arc<str>],
        positions: &[Position],
        became: Became,
    ) -> Result<usize, BoxError> {
        let each = backends.iter().map(|backend| state::Backend::of(backend));
        let each = each.flat_map(|backend| {
            let change =
                move |position: &Position| Change::Became { backend, position: *position, became };
            positions.iter().map(change)
        });
        let changes: Vec<_> = each.collect();
        self.state.record(&changes)?;
        Ok(changes.len())
    }
}

impl Deliveries for Fake {
    fn backends(&self) -> Arc<[Backend]> {
        self.backends.lock().clone()
    }

    fn schemes(&self) -> Arc<Schemes> {
        Arc::new(BTreeMap::from([(Arc::from("forge"), Scheme::Github)]))
    }

    fn status(&self) -> BoxFuture<'_, Vec<Status>> {
        let count = |backend: &Backend| {
            self.state.read(|table| table.dead(state::Backend::of(&backend.name)).count())
        };
        let one = |backend: &Backend| Status {
            name: backend.name.clone(),
            waiting: 1,
            in_flight: 0,
            dead: count(backend),
            breaker: Breaker::default(),
            oldest: Some(at(0)),
            last: Some(Outcome::TimedOut),
            heartbeat: None,
        };
        let status = self.backends().iter().map(one).collect();
        Box::pin(async { status })
    }

    fn replay<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>> {
        let became = Became::Waiting { attempts: 0, last: None, until: now() };
        Box::pin(async move { self.set(backends, positions, became) })
    }

    fn purge<'a>(
        &'a self,
        backends: &'a [Arc<str>],
        positions: &'a [Position],
    ) -> BoxFuture<'a, Result<usize, BoxError>> {
        Box::pin(async move { self.set(backends, positions, Became::Purged) })
    }

    fn apply<'a>(
        &'a self,
        _: &'a [Source],
        backends: &'a [Backend],
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            if backends.iter().any(|backend| {
                backend.address.url().and_then(http::Uri::host) == Some("fails.example")
            }) {
                return Err("it cannot be delivered to".into());
            }
            *self.backends.lock() = backends.into();
            Ok(())
        })
    }
}

/// The one source.
pub(super) fn sources() -> Vec<Source> {
    vec![Source {
        name: "forge".into(),
        path: "/forge".into(),
        scheme: Scheme::Github,
        secrets: Vec::new(),
        dedupe: Duration::from_secs(60),
        addresses: Vec::new(),
        answers: Answers::Strait,
    }]
}

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// So many minutes ago.
pub(super) fn at(minutes: i64) -> Timestamp {
    now() - jiff::SignedDuration::from_mins(minutes)
}

pub(super) struct Scene {
    pub(super) directory: tempfile::TempDir,
    pub(super) kept: Kept,
    pub(super) fake: Arc<Fake>,
    pub(super) backends: Arc<Backends>,
    pub(super) admin: Admin,
    pub(super) shutdown: Shutdown,
    pub(super) clock: Arc<ManualClock>,
    tasks: TaskSet,
    metrics: Metrics,
}

impl Scene {
    /// Ten events of `acme/one` and `acme/two`, one each minute, the last now:
    /// `one` got the first five, lost 6 and 7, and has 8 to try again; `two` has all to get.
    pub(super) async fn new() -> Self {
        let scene = Self::empty().await;
        scene.append(10, |index| at(10 - i64::try_from(index).unwrap())).await;
        let one = state::Backend::of("one");
        let became = |position, became| Change::Became {
            backend: one,
            position: Position(position),
            became,
        };
        let dead = |reason| Became::Dead { attempts: 3, reason, at: at(1) };
        let last = Some(Outcome::Status(500));
        let mut changes: Vec<Change> =
            (1..=5).map(|position| became(position, Became::Delivered)).collect();
        changes.push(became(6, dead(Reason::Rejected(404))));
        changes.push(became(7, dead(Reason::TooOld(Outcome::TimedOut))));
        changes.push(became(8, Became::Waiting { attempts: 2, last, until: now() }));
        scene.kept.state.record(&changes).unwrap();
        scene
    }

    async fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new();
        let path = |name: &str| directory.path().join(name);
        let clock = Arc::new(ManualClock::new(now()));
        let (log, _) = Log::open(&path("log"), Options::default(), &metrics).unwrap();
        let (state, _) = State::open(&path("state"), Box::new(|_| {})).unwrap();
        let options = strait_audit::Options::new(path("audit"), "test".to_owned());
        let audit = AuditLog::open(options, Box::new(NoMirror), clock.clone(), &metrics).unwrap();
        let purged = Purged::open(directory.path(), log.floor()).unwrap();
        let state = Arc::new(state);
        let kept = Kept { log, state: state.clone(), purged: Arc::new(purged), audit };
        let backends = ["one", "two"].map(configured).to_vec();
        for backend in &backends {
            let backend = state::Backend::of(&backend.name);
            state.record(&[Change::Added { backend, from: Position(1) }]).unwrap();
        }
        let fake = Arc::new(Fake { state, backends: Mutex::new(Arc::new([])) });
        let dynamic = DynamicBackends { networks: Vec::new(), timeout: None, insecure: false };
        let data_dir = Some(directory.path());
        let audit = Some(kept.audit.clone());
        let dynamic = Backends::open(dynamic, data_dir, fake.clone(), audit).unwrap();
        dynamic.apply(sources(), backends).await.unwrap();
        let dynamic = Arc::new(dynamic);
        let (tasks, shutdown) = (TaskSet::new(&metrics), Shutdown::new());
        let ready = Checks::new();
        let admin = Admin::new(Parts {
            kept: Some(kept.clone()),
            deliveries: fake.clone(),
            backends: Some(dynamic.clone()),
            metrics: metrics.clone(),
            ready,
            clock: clock.clone(),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        });
        Self { directory, kept, fake, backends: dynamic, admin, shutdown, clock, tasks, metrics }
    }

    pub(super) async fn append(&self, count: u64, received: impl Fn(u64) -> Timestamp) {
        for index in 1..=count {
            let event = event(index, received(index));
            self.kept.log.append(event).await.unwrap();
        }
    }

    /// An authorizer of the four tokens.
    pub(super) async fn authorizer(&self) -> Arc<Authorizer> {
        let token = |(name, may): (&str, Permission)| {
            let file = self.directory.path().join(name);
            std::fs::write(&file, format!("{name}-token\n")).unwrap();
            config::Token { name: name.into(), file, may: vec![may] }
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let admin = config::Admin {
            listen: AdminListener::Tcp(Listener { address, tls: None }),
            tokens: TOKENS.map(token).to_vec(),
            cluster: None,
        };
        Arc::new(Authorizer::open(&admin, self.clock.clone()).await.unwrap())
    }

    pub(super) fn server(&self) -> Server {
        let metrics = ServerMetrics::new(&Metrics::new());
        Server::plain(metrics, self.tasks.clone(), self.shutdown.clone())
    }

    pub(super) async fn serve_by(&self, authorizer: Arc<Authorizer>) -> Api {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = self.server().serve(listener, self.admin.handler(authorizer));
        self.tasks.spawn_daemon("admin", served);
        Api { address }
    }

    pub(super) async fn serve(&self) -> Api {
        let authorizer = self.authorizer().await;
        self.serve_by(authorizer).await
    }

    /// Lines of the audit log: who, what about, what.
    pub(super) fn audited(&self) -> Vec<String> {
        let directory = self.directory.path().join("audit");
        let entries = strait_audit::list(&directory, strait_audit::Filter::default()).unwrap();
        let line = |entry: strait_audit::Entry| {
            let record = entry.record;
            let object = &record.object;
            let what = format!("{} {} {}", object.resource, object.name, record.outcome);
            format!("{} {}: {what}", record.actor.user, record.stage)
        };
        entries.map(|entry| line(entry.unwrap())).collect()
    }

    pub(super) fn metrics(&self) -> String {
        self.metrics.encode()
    }
}

fn configured(name: &str) -> Backend {
    let dynamic = DynamicBackends { networks: Vec::new(), timeout: None, insecure: false };
    let url = format!("https://{name}.example/hook?secret=x");
    let made = config::dynamic::backend(&url, &dynamic, &["forge".into()]);
    Backend { name: name.into(), ..made.unwrap() }
}

/// The event of an index: odd ones are pushes to `acme/one`, even ones opened pull requests of
/// `acme/two`.
pub(super) fn event(index: u64, received: Timestamp) -> Event {
    let (kind, action, repository) =
        if index % 2 == 1 { ("push", "", "one") } else { ("pull_request", "opened", "two") };
    let body = format!(
        r#"{{"action":"{action}","repository":{{"full_name":"acme/{repository}"}},"secret":"canary-{index}"}}"#
    );
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(name, HeaderValue::try_from(value).unwrap());
    };
    set("content-type", "application/json");
    set("x-github-event", kind);
    set("x-hub-signature-256", "sha256=canary");
    Event {
        source: "forge".into(),
        delivery: format!("delivery-{index}").into(),
        received,
        path: "".into(),
        query: "token=canary".into(),
        headers,
        body: body.into_bytes().into(),
        sha256: [7; 32],
    }
}

/// The operators' API.
#[derive(Clone, Copy)]
pub(super) struct Api {
    pub(super) address: SocketAddr,
}

impl Api {
    pub(super) async fn call(
        self,
        token: &str,
        method: Method,
        path: &str,
        body: &'static str,
    ) -> Response<Bytes> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        if !token.is_empty() {
            let value = format!("Bearer {token}-token").parse().unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let limit = Duration::from_secs(60);
        let limits = CallLimits { connect: limit, total: limit, response_bytes: 64 << 20 };
        let client = Client::new(None, EgressPolicy::unrestricted());
        client.call(request, &limits).await.unwrap()
    }

    /// What a GET by who may see says.
    pub(super) async fn get(self, path: &str) -> Value {
        self.get_as("viewer", path).await
    }

    async fn get_as(self, token: &str, path: &str) -> Value {
        let response = self.call(token, Method::GET, path, "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap()
    }

    /// The status and the text of the failure.
    pub(super) async fn fails(self, token: &str, method: Method, path: &str) -> (u16, String) {
        let response = self.call(token, method, path, "").await;
        let status: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        assert_eq!(status["kind"], "Status", "{path}: {:?}", response.body());
        (response.status().as_u16(), status["message"].as_str().unwrap().to_owned())
    }

    /// The last line of a change by who may replay.
    pub(super) async fn change(self, path: &str) -> Value {
        let response = self.call("repairer", Method::POST, path, "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}: {:?}", response.body());
        let text = std::str::from_utf8(response.body()).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap()
    }

    /// The ids of a list.
    pub(super) async fn ids(self, query: &str) -> Vec<u64> {
        self.ids_as("viewer", query).await
    }

    pub(super) async fn ids_as(self, token: &str, query: &str) -> Vec<u64> {
        let list = self.get_as(token, &format!("/events?{query}")).await;
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_u64().unwrap()).collect()
    }
}
