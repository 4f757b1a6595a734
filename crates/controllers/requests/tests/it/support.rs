//! An agent, a private service, and configurations for the tests.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use strait_audit::{AuditLog, Filter, Head, Mirror, list};
use strait_machinery::json::{Value, parse};
use strait_net::{Body, Server, ServerMetrics, handler};
use strait_requests::{Controller, Dependencies, load};
use strait_runtime::{Metrics, SeededEntropy, Shutdown, SystemClock, TaskSet};
use strait_sandbox::exec::Launcher;
use strait_store::engine::SqliteEngine;
use strait_store::{Options, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::fake_hub::{FakeHub, PlainClients};

/// Long enough for any machine; no test waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

/// A service that signs: it answers `{"signature": "signed <digest>"}`.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    url: String,
    /// What it was asked, in order: the key and the digest.
    asked: watch::Sender<Vec<(String, String)>>,
    /// A permit for every answer.
    answers: Semaphore,
    /// Statuses of the next answers.
    statuses: Mutex<Vec<u16>>,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Self(Arc::new(Inner {
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: watch::Sender::new(Vec::new()),
            answers: Semaphore::new(Semaphore::MAX_PERMITS),
            statuses: Mutex::default(),
        }));
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let answering = service.clone();
        let answer = handler(move |_, request| {
            let service = answering.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                service.answer(&head.headers, &body).await
            }
        });
        tasks.spawn_daemon("service", server.serve(listener, answer));
        service
    }

    async fn answer(&self, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let digest = parse(body).unwrap().str_at(&["digest"]).unwrap_or_default().to_owned();
        let text = format!(r#"{{"signature":"signed {digest}","secret":"x"}}"#);
        self.0.asked.send_modify(|asked| asked.push((key, digest)));
        self.0.answers.acquire().await.unwrap().forget();
        let mut response = Response::new(Body::from(text));
        if let Some(status) = self.0.statuses.lock().pop() {
            *response.status_mut() = status.try_into().unwrap();
        }
        response
    }

    /// From now on it answers only as often as it is let.
    pub(crate) fn hold(&self) {
        self.0.answers.forget_permits(usize::MAX);
    }

    pub(crate) fn let_answer(&self, times: usize) {
        self.0.answers.add_permits(times);
    }

    /// Gives the next answers these statuses.
    pub(crate) fn answer_with(&self, statuses: &[u16]) {
        *self.0.statuses.lock() = statuses.iter().rev().copied().collect();
    }

    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.0.asked.borrow().clone()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn wait_asked(&self, times: usize) -> Vec<(String, String)> {
        let mut asked = self.0.asked.subscribe();
        let reached = asked.wait_for(|asked| asked.len() >= times);
        tokio::time::timeout(LONG, reached).await.expect("it is asked").unwrap().clone()
    }
}

/// The usual documents: one endpoint, a mapping, the class `sign`, and these rules.
pub(crate) fn config(service: &Service, class: &str, rules: &str) -> String {
    let url = &service.0.url;
    let executor = format!(
        "http:
      url: {url}/sign
      allowedNetworks: [127.0.0.0/8]
      body: [{{to: /digest, param: /digest}}]"
    );
    documents(&executor, class, rules)
}

pub(crate) fn documents(executor: &str, class: &str, rules: &str) -> String {
    let version = "apiVersion: requests.strait.dev/v1alpha1";
    format!(
        "{version}
kind: RemoteEndpoint
metadata: {{name: hub}}
spec: {{workspace: 'root:provider', endpointSlice: export}}
---
{version}
kind: RequestKindMapping
metadata: {{name: signing}}
spec:
  endpoint: hub
  resource: {{group: s.dev, version: v1alpha1, resource: signingrequests}}
  className: sign
  cancelPath: /spec/cancel
  deadlinePath: /spec/deadline
  results: [{{name: signature, path: /status/signature}}]
---
{version}
kind: RequestClass
metadata: {{name: sign}}
spec:
  paramSchema:
    type: object
    required: [digest]
    properties: {{digest: {{type: string, pattern: '^d'}}}}
  results: [{{name: signature, from: /signature, required: true}}]
  backoff: {{initial: 10ms, max: 50ms}}
{class}
  executor:
    {executor}
---
{version}
kind: RequestPolicy
metadata: {{name: policy}}
spec:
  rules: [{rules}]
"
    )
}

pub(crate) const ALLOW: &str = "{name: all, effect: allow}";

/// What an agent keeps between its lives.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The agent's audit lines about a request: `stage rule outcome`.
    pub(crate) fn audited(&self, crossing: &str) -> Vec<String> {
        let lines = list(&self.path("audit"), Filter::default()).unwrap();
        let lines = lines.map(|line| line.unwrap().record);
        let lines = lines.filter(|line| line.crossing == crossing);
        lines.map(|line| format!("{} {} {}", line.stage, line.rule, line.outcome)).collect()
    }
}

struct NoMirror;

impl Mirror for NoMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn Error + Send + Sync>> {
        Ok(None)
    }

    fn save(&mut self, _: Head) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) audit: AuditLog,
    pub(crate) metrics: Metrics,
    store: Store,
    tasks: TaskSet,
    shutdown: Shutdown,
}

impl Agent {
    pub(crate) fn start(hub: &FakeHub, home: &Home, config: &str) -> Self {
        Self::start_as("aaaaaaaaaa", hub, home, config)
    }

    pub(crate) fn start_as(instance: &str, hub: &FakeHub, home: &Home, config: &str) -> Self {
        let file = home.path("config.yaml");
        std::fs::write(&file, config).unwrap();
        let config = load(&[file]).unwrap_or_else(|error| panic!("{error}"));
        let metrics = Metrics::new();
        let clock = Arc::new(SystemClock);
        let options = strait_audit::Options::new(home.path("audit"), instance.to_owned());
        let audit = AuditLog::open(options, Box::new(NoMirror), clock.clone(), &metrics).unwrap();
        let engine = Arc::new(SqliteEngine::open(&home.path("journal.db")).unwrap());
        let store = Store::open(engine, Options::default(), clock.clone(), &metrics).unwrap();
        let tasks = TaskSet::new(&metrics);
        let shutdown = Shutdown::new();
        let dependencies = Dependencies {
            clock,
            entropy: Arc::new(SeededEntropy::new(1)),
            tasks: tasks.clone(),
            metrics: metrics.clone(),
            audit: audit.clone(),
            journal: store.clone(),
            clients: Arc::new(PlainClients),
            hub: hub.uri(),
            hub_id: "0123456789ab".parse().unwrap(),
            instance: instance.parse().unwrap(),
            exec_dir: home.path("exec"),
            launcher: launcher(),
        };
        let controller = Controller::new(config, dependencies, shutdown.clone()).unwrap();
        tasks.spawn("controller", controller.run());
        Self { audit, metrics, store, tasks, shutdown }
    }

    /// Ends it well.
    pub(crate) async fn stop(self) {
        self.shutdown.ask();
        self.tasks.shutdown(LONG).await.unwrap();
        self.close().await;
    }

    /// Ends it wherever it is.
    pub(crate) async fn crash(self) {
        let _ = self.tasks.shutdown(Duration::ZERO).await;
        self.close().await;
    }

    async fn close(self) {
        self.audit.close().await;
        self.store.close();
    }
}

/// This binary as the supervisor, where its harness can be one.
fn launcher() -> Launcher {
    Launcher { program: std::env::current_exe().unwrap(), args: vec!["__exec".into()] }
}

/// `Succeeded=True Succeeded`, of the condition of that type.
pub(crate) fn condition(object: &Value, kind: &str) -> String {
    let conditions = object.array_at(&["status", "conditions"]);
    let found = conditions.iter().find(|one| one.str_at(&["type"]) == Some(kind)).unwrap();
    let text = |field| found.str_at(&[field]).unwrap();
    format!("{kind}={} {}", text("status"), text("reason"))
}

pub(crate) fn phase(object: &Value) -> &str {
    object.str_at(&["status", "phase"]).unwrap_or_default()
}

pub(crate) fn finalizers(object: &Value) -> usize {
    object.array_at(&["metadata", "finalizers"]).len()
}

/// A request for the signature of a digest.
pub(crate) fn digest(text: &str) -> Value {
    parse(format!(r#"{{"digest":"{text}"}}"#).as_bytes()).unwrap()
}

/// Whether a file is there.
pub(crate) fn exists(path: &Path) -> bool {
    std::fs::exists(path).unwrap()
}
