//! An API server over a store in memory that can be told to fail, asked without a network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;
use strait_apiserver::behaviour::Ordinary;
use strait_apiserver::catalog::{Catalog, CustomKind, Definition, Resource};
use strait_apiserver::continuation::{KEY_LENGTH, Sealer};
use strait_apiserver::crossing::{Crossings, Entry, Unrecorded};
use strait_apiserver::registry::Registry;
use strait_apiserver::{ApiRequest, Health, Metrics, Query, Reach, Server, View, WriteKind};
use strait_auth::{Attributes, Decision, User};
use strait_machinery::discovery::{self, Origin, Subresource};
use strait_machinery::json::{Value, parse};
use strait_machinery::names::NameRule;
use strait_machinery::object::Object;
use strait_machinery::schema::Schema;
use strait_machinery::status::Status;
use strait_net::Checks;
use strait_runtime::{ManualClock, SeededEntropy, Shutdown, TaskSet};
use strait_store::engine::{
    Commit, Compare, Engine, EngineError, Extent, LeaseId, MemoryEngine, Outcome, Row,
};
use strait_store::{ObjectName, Options, ResourceId, Store};
use strait_types::{ClusterName, GroupVersionKind, Revision};

/// Where the asks of these tests are.
pub(crate) const ASKS: &str = "/apis/example.io/v1/asks";

/// A server with one kind, whose objects ask for crossings.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) engine: Arc<Fallible>,
    pub(crate) crossings: Arc<Recorded>,
    view: Arc<Everything>,
    shutdown: Shutdown,
}

impl Bench {
    /// A server over an empty store.
    pub(crate) fn new() -> Self {
        Self::over(Arc::new(Fallible::default()), Options::default())
    }

    /// A server over what is in an engine.
    pub(crate) fn over(engine: Arc<Fallible>, options: Options) -> Self {
        let metrics = strait_runtime::Metrics::new();
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let store = Store::open(engine.clone(), options, clock.clone(), &metrics).unwrap();
        let crossings = Arc::new(Recorded::default());
        let entropy = Arc::new(SeededEntropy::new(7));
        let sealer = Sealer::new(&[7; KEY_LENGTH]);
        let registry = Registry::new(store, clock.clone(), entropy, sealer, crossings.clone());
        let shutdown = Shutdown::new();
        let server = Server::new(
            registry,
            Health { live: Checks::new(), ready: Checks::new() },
            Arc::new(Metrics::register(&metrics)),
            clock,
            TaskSet::new(&metrics),
            shutdown.clone(),
        );
        let catalog = Arc::new(Catalog::new(vec![Arc::new(asks())]));
        let view = Arc::new(Everything { catalog, reach: Reach::Cluster(ClusterName::root()) });
        Self { server, engine, crossings, view, shutdown }
    }

    /// Sends a request of the user `alice` and reads the answer: code and body.
    pub(crate) async fn ask(&self, method: &str, url: &str, body: &str) -> (u16, Value) {
        let (code, text) = self.read(method, url, body).await;
        (code, parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// As [`Bench::ask`], the body as text.
    pub(crate) async fn read(&self, method: &str, url: &str, body: &str) -> (u16, String) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut headers = HeaderMap::new();
        if method == "PATCH" {
            headers.insert("content-type", "application/merge-patch+json".parse().unwrap());
        }
        let request = ApiRequest {
            method: method.parse::<Method>().unwrap(),
            path: path.to_owned(),
            query: Query::parse(query),
            headers,
            body: body.to_owned().into(),
        };
        let user = Arc::new(User::authenticated("alice", &["team"]));
        let response =
            self.server.answer(self.view.clone(), user, request, Arc::new(|| true)).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Ends watches, now and later ones.
    pub(crate) fn stop(&self) {
        self.shutdown.ask();
    }
}

/// A kind in no namespace, with a status and members of any form.
fn asks() -> Resource {
    let boxed = |words: &str| words.split(' ').map(Into::into).collect::<Vec<Box<str>>>();
    let gvk = GroupVersionKind::new("example.io", "v1", "Ask");
    let status =
        Subresource { name: "status".into(), gvk: gvk.clone(), verbs: boxed("get patch update") };
    let schema = Arc::new(Schema { preserve_unknown: true, ..Schema::default() });
    let served = discovery::Resource {
        plural: "asks".into(),
        singular: "ask".into(),
        list_kind: "AskList".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced: false,
        verbs: boxed("create delete get list patch update watch"),
        subresources: vec![status],
        schema: schema.clone(),
        origin: Origin::Custom,
        gvk: gvk.clone(),
    };
    Resource {
        served,
        gvr: gvk.group_version().resource("asks"),
        id: ResourceId::new("example.io", "asks", "identity"),
        definition: Definition::Custom(CustomKind {
            schema,
            naming: NameRule::Subdomain,
            has_status: true,
            deprecation: "".into(),
        }),
        behaviour: Arc::new(Ordinary),
        printer: None,
        crossing: true,
    }
}

/// A view in which everybody may do everything.
struct Everything {
    catalog: Arc<Catalog>,
    reach: Reach,
}

impl View for Everything {
    fn reach(&self) -> &Reach {
        &self.reach
    }

    fn label(&self) -> String {
        "everything".into()
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    fn authorize(&self, _user: &User, _attributes: &Attributes<'_>) -> Decision {
        Decision::Allow(String::new())
    }

    fn sees(&self, _: &Resource, _: &ClusterName, _: &ObjectName, _: &Object) -> bool {
        true
    }

    fn rules(&self, _user: &User, _namespace: &str) -> Vec<strait_auth::rbac::Rule> {
        Vec::new()
    }

    fn guards(&self, _resource: &Resource, _write: WriteKind) -> Result<Vec<Compare>, Status> {
        Ok(Vec::new())
    }
}

/// An audit log in memory that can be told to take nothing.
#[derive(Default)]
pub(crate) struct Recorded {
    entries: Mutex<Vec<Entry>>,
    pub(crate) fails: AtomicBool,
}

impl Recorded {
    /// What was recorded since the last call: stage, user and outcome.
    pub(crate) fn take(&self) -> Vec<String> {
        let entries = std::mem::take(&mut *self.entries.lock());
        let line =
            |entry: Entry| format!("{:?} {} {}", entry.stage, entry.user.name, entry.outcome);
        entries.into_iter().map(line).map(|line| line.trim_end().to_owned()).collect()
    }
}

impl Crossings for Recorded {
    fn record(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), Unrecorded>> {
        Box::pin(async move {
            if self.fails.load(Ordering::SeqCst) {
                return Err(Unrecorded);
            }
            self.entries.lock().extend(entries);
            Ok(())
        })
    }
}

/// An engine in memory that can be told that there is no space left.
#[derive(Default)]
pub(crate) struct Fallible {
    inner: MemoryEngine,
    pub(crate) full: AtomicBool,
}

impl Engine for Fallible {
    fn extent(&self) -> Result<Extent, EngineError> {
        self.inner.extent()
    }

    fn load(&self, each: &mut dyn FnMut(Row)) -> Result<Extent, EngineError> {
        self.inner.load(each)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>, EngineError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(EngineError::Full);
        }
        self.inner.commit(batch)
    }

    fn tail(&self, after: Revision, max: usize) -> Result<Vec<Row>, EngineError> {
        self.inner.tail(after, max)
    }

    fn compact(&self, floor: Revision, max: u32) -> Result<bool, EngineError> {
        self.inner.compact(floor, max)
    }

    fn grant(&self, ttl: Duration, now: Timestamp) -> Result<LeaseId, EngineError> {
        self.inner.grant(ttl, now)
    }

    fn keep_alive(
        &self,
        lease: LeaseId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        self.inner.keep_alive(lease, ttl, now)
    }

    fn expire(&self, now: Timestamp, max: u32) -> Result<Vec<Row>, EngineError> {
        self.inner.expire(now, max)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.meta(name)
    }

    fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), EngineError> {
        self.inner.set_meta(name, value)
    }
}

/// An ask of this name.
pub(crate) fn ask(name: &str) -> String {
    format!(r#"{{"apiVersion":"example.io/v1","kind":"Ask","metadata":{{"name":"{name}"}}}}"#)
}

/// A status with this phase, as a patch.
pub(crate) fn phase(phase: &str) -> String {
    format!(r#"{{"status":{{"phase":"{phase}"}}}}"#)
}
