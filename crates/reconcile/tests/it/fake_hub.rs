//! The few endpoints of a hub that controllers use, in this process and in memory.
//!
//! One virtual workspace at two URLs (as two shards would have), an endpoint slice that lists
//! them, bindings with paths, JSON and merge patches with Kubernetes' conflicts. What a
//! test does to it happens at once and shows in its watches.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;
use strait_machinery::patch::{JsonPatch, MergePatch};
use strait_net::{Body, BoxError, Incoming, Server, ServerMetrics, handler, read_body};
use strait_reconcile::{ClientError, Clients};
use strait_runtime::{Metrics, Shutdown, TaskSet};
use strait_types::Uid;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Long enough for any machine; no test waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

/// The only kind.
pub(crate) const KIND: (&str, &str, &str) = ("s.dev", "v1alpha1", "signingrequests");

/// A hub. Clones are the same.
#[derive(Clone)]
pub(crate) struct FakeHub(Arc<Inner>);

struct Inner {
    address: String,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    revision: u64,
    /// History up to this is forgotten.
    floor: u64,
    /// Watches of earlier epochs end.
    epoch: u64,
    objects: BTreeMap<Place, Value>,
    events: Vec<(u64, &'static str, Place, Value)>,
    paths: BTreeMap<String, String>,
    urls: Vec<&'static str>,
    failures: VecDeque<(Method, &'static str, StatusCode)>,
    calls: Vec<String>,
}

/// Shard, logical cluster, namespace, name.
type Place = (String, String, String, String);

/// An object by workspace, namespace and name.
pub(crate) type At<'a> = (&'a str, &'a str, &'a str);

impl FakeHub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = State { urls: vec!["one"], ..State::default() };
        let changed = watch::Sender::new(0);
        let hub = Self(Arc::new(Inner { address, state: Mutex::new(state), changed }));
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let answering = hub.clone();
        let handler = handler(move |_, request| {
            let hub = answering.clone();
            async move { hub.answer(request).await }
        });
        tasks.spawn_daemon("fake-hub", server.serve(listener, handler));
        hub
    }

    pub(crate) fn uri(&self) -> Uri {
        format!("http://{}", self.0.address).parse().unwrap()
    }

    /// Creates an object in the first shard.
    pub(crate) fn create(&self, at: At<'_>, spec: Value) -> Uid {
        self.create_in("one", at, spec)
    }

    pub(crate) fn create_in(&self, shard: &str, (cluster, ns, name): At<'_>, spec: Value) -> Uid {
        let mut state = self.0.state.lock();
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(state.revision + 1).to_be_bytes());
        let uid = Uid::from_random(bytes);
        let value = object! {
            "apiVersion": format!("{}/{}", KIND.0, KIND.1),
            "kind": "SigningRequest",
            "metadata": object!{
                "name": name, "namespace": ns, "uid": uid.to_string(), "generation": 1,
                "creationTimestamp": jiff::Timestamp::now().to_string(),
                "annotations": object!{
                    "kcp.io/cluster": cluster,
                    "requests.strait.dev/requester": r#"{"user":"alice","groupsSHA256":"00"}"#,
                },
                "managedFields": vec![object!{"manager": "test"}],
            },
            "spec": spec,
        };
        let place = (shard.into(), cluster.into(), ns.into(), name.into());
        state.put("ADDED", place, value);
        self.publish(&state);
        uid
    }

    /// Changes an object as its tenant would.
    pub(crate) fn edit(&self, at: At<'_>, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.state.lock();
        let (place, mut value) = state.find(at).expect("the object exists");
        change(&mut value);
        state.put("MODIFIED", place, value);
        self.publish(&state);
    }

    /// Deletes an object; it stays while it has finalizers.
    pub(crate) fn delete(&self, at: At<'_>) {
        let mut state = self.0.state.lock();
        let (place, mut value) = state.find(at).expect("the object exists");
        value.set(&["metadata", "deletionTimestamp"], "2026-01-01T00:00:00Z");
        state.settle(place, value);
        self.publish(&state);
    }

    /// Makes an object also appear in another shard, as when it moves there.
    pub(crate) fn copy_to(&self, shard: &str, at: At<'_>) {
        let mut state = self.0.state.lock();
        let (place, value) = state.find(at).expect("the object exists");
        state.put("ADDED", (shard.to_owned(), place.1, place.2, place.3), value);
        self.publish(&state);
    }

    /// Makes an object disappear from a shard.
    pub(crate) fn drop_from(&self, shard: &str, (cluster, ns, name): At<'_>) {
        let mut state = self.0.state.lock();
        let place = place(shard, cluster, ns, name);
        let value = state.objects.remove(&place).expect("the object exists");
        let revision = state.next();
        state.events.push((revision, "DELETED", place, value));
        self.publish(&state);
    }

    pub(crate) fn get(&self, at: At<'_>) -> Option<Value> {
        self.0.state.lock().find(at).map(|(_, value)| value)
    }

    /// Waits until the object, or its absence, is as wanted; returns it.
    pub(crate) async fn wait(
        &self,
        at: At<'_>,
        wanted: impl Fn(Option<&Value>) -> bool,
    ) -> Option<Value> {
        let mut changed = self.0.changed.subscribe();
        let waited = tokio::time::timeout(LONG, async {
            loop {
                let now = self.get(at);
                if wanted(now.as_ref()) {
                    return now;
                }
                changed.changed().await.unwrap();
            }
        });
        match waited.await {
            Ok(object) => object,
            Err(_) => panic!("{at:?} did not become as wanted: {:?}", self.get(at)),
        }
    }

    /// Waits for a phase.
    pub(crate) async fn wait_phase(&self, at: At<'_>, phase: &str) -> Value {
        let reached = |value: Option<&Value>| {
            value.is_some_and(|value| value.str_at(&["status", "phase"]) == Some(phase))
        };
        self.wait(at, reached).await.unwrap()
    }

    pub(crate) fn set_path(&self, cluster: &str, path: &str) {
        self.0.state.lock().paths.insert(cluster.into(), path.into());
    }

    /// Lists these shards in the endpoint slice.
    pub(crate) fn set_urls(&self, urls: &[&'static str]) {
        let mut state = self.0.state.lock();
        state.urls = urls.to_vec();
        state.next();
        self.publish(&state);
    }

    /// Ends every watch, as a broken connection does.
    pub(crate) fn cut_watches(&self) {
        let mut state = self.0.state.lock();
        state.epoch += 1;
        state.next();
        self.publish(&state);
    }

    /// Ends every watch and forgets history, so that it must be listed again.
    pub(crate) fn expire(&self) {
        {
            let mut state = self.0.state.lock();
            state.next();
            state.floor = state.revision;
        }
        self.cut_watches();
    }

    /// Answers the next call whose method is that and whose path contains the text so.
    pub(crate) fn fail(&self, method: Method, path: &'static str, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.0.state.lock().failures.push_back((method, path, status));
    }

    /// Takes back what is left of the failures that were asked for.
    pub(crate) fn forgive(&self) {
        self.0.state.lock().failures.clear();
    }

    /// Whether no failure that was asked for is left.
    pub(crate) fn failed(&self) -> bool {
        self.0.state.lock().failures.is_empty()
    }

    /// Calls so far that contain the text: `PATCH /clusters/…`.
    pub(crate) fn calls(&self, text: &str) -> usize {
        self.0.state.lock().calls.iter().filter(|call| call.contains(text)).count()
    }

    fn publish(&self, state: &State) {
        self.0.changed.send_replace(state.revision);
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let body = read_body(body, 4 << 20, LONG).await.unwrap();
        {
            let mut state = self.0.state.lock();
            state.calls.push(format!("{} {path}?{query}", parts.method));
            let hit = state.failures.iter().position(|(method, part, _)| {
                *method == parts.method && format!("{path}?{query}").contains(part)
            });
            if let Some((.., status)) = hit.and_then(|at| state.failures.remove(at)) {
                return refusal(status);
            }
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let content = parts.headers.get("content-type").and_then(|value| value.to_str().ok());
        match &*segments {
            ["clusters", _, "apis", "apis.kcp.io", ..] => self.slices(&query),
            ["services", _, "clusters", cluster, "apis", "apis.kcp.io", ..] => {
                self.bindings(cluster)
            }
            ["services", shard, "clusters", "*", "apis", ..] => self.collection(shard, &query),
            ["services", shard, "clusters", cluster, .., "namespaces", ns, _, name] => {
                let place = place(shard, cluster, ns, name);
                self.one(&parts.method, place, false, content, &body)
            }
            ["services", shard, "clusters", cluster, .., "namespaces", ns, _, name, "status"] => {
                let place = place(shard, cluster, ns, name);
                self.one(&parts.method, place, true, content, &body)
            }
            _ => refusal(StatusCode::NOT_FOUND),
        }
    }

    fn slices(&self, query: &str) -> Response<Body> {
        let hub = self.clone();
        let slice = move |state: &State| {
            let url = |shard: &&str| {
                object! {"url": format!("http://{}/services/{shard}", hub.0.address)}
            };
            object! {
                "metadata": object!{
                    "name": "export", "uid": Uid::from_random([9; 16]).to_string(),
                    "resourceVersion": state.revision.to_string(),
                    "annotations": object!{"kcp.io/cluster": "provider"},
                },
                "status": object!{"endpoints": state.urls.iter().map(url).collect::<Value>()},
            }
        };
        if query.contains("watch=true") {
            let after = version_in(query);
            return self.stream(after, move |state, from| {
                let line = object! {"type": "MODIFIED", "object": slice(state)};
                if state.revision > from { vec![line] } else { Vec::new() }
            });
        }
        let state = self.0.state.lock();
        let items = vec![slice(&state)];
        let metadata = object! {"resourceVersion": state.revision.to_string()};
        json(object! {"metadata": metadata, "items": items})
    }

    fn bindings(&self, cluster: &str) -> Response<Body> {
        match self.0.state.lock().paths.get(cluster) {
            Some(path) => {
                let binding =
                    object! {"metadata": object!{"annotations": object!{"kcp.io/path": path}}};
                json(object! {"items": vec![binding]})
            }
            None => refusal(StatusCode::FORBIDDEN),
        }
    }

    fn collection(&self, shard: &str, query: &str) -> Response<Body> {
        let shard = shard.to_owned();
        if query.contains("watch=true") {
            let after = version_in(query);
            if after < self.0.state.lock().floor {
                return refusal(StatusCode::GONE);
            }
            return self.stream(after, move |state, from| {
                let new = state.events.iter();
                let new =
                    new.filter(|(revision, _, place, _)| *revision > from && place.0 == shard);
                new.map(|(_, kind, _, value)| object! {"type": *kind, "object": value.clone()})
                    .collect()
            });
        }
        let state = self.0.state.lock();
        // Pages of two, so that tests need few objects; the token is how many came before.
        let skip: usize = value_in(query, "continue").parse().unwrap_or_default();
        let of_shard = || state.objects.iter().filter(|(place, _)| place.0 == shard);
        let items: Value = of_shard().skip(skip).take(2).map(|(_, value)| value.clone()).collect();
        let mut metadata = object! {"resourceVersion": state.revision.to_string()};
        if of_shard().count() > skip + 2 {
            metadata.set(&["continue"], (skip + 2).to_string());
        }
        json(object! {"metadata": metadata, "items": items})
    }

    /// A watch: what `events` finds after a revision, whenever something changed.
    fn stream(
        &self,
        after: u64,
        events: impl Fn(&State, u64) -> Vec<Value> + Send + Sync + 'static,
    ) -> Response<Body> {
        let epoch = self.0.state.lock().epoch;
        let (hub, changed) = (self.clone(), self.0.changed.subscribe());
        let seed = (hub, changed, after, events);
        let frames = stream::unfold(seed, move |(hub, mut changed, from, events)| async move {
            loop {
                changed.mark_unchanged();
                let (found, revision) = {
                    let state = hub.0.state.lock();
                    if state.epoch != epoch {
                        return None;
                    }
                    (events(&state, from), state.revision)
                };
                if !found.is_empty() {
                    let text: String = found.iter().map(|event| format!("{event}\n")).collect();
                    let frame = Ok::<_, BoxError>(Frame::data(Bytes::from(text)));
                    return Some((frame, (hub, changed, revision, events)));
                }
                changed.changed().await.ok()?;
            }
        });
        Response::new(Body::stream(StreamBody::new(frames)))
    }

    fn one(
        &self,
        method: &Method,
        place: Place,
        status: bool,
        content: Option<&str>,
        body: &[u8],
    ) -> Response<Body> {
        let mut state = self.0.state.lock();
        let Some(old) = state.objects.get(&place).cloned() else {
            return refusal(StatusCode::NOT_FOUND);
        };
        if *method == Method::GET {
            return json(old);
        }
        let mut new = old.clone();
        match content {
            Some("application/json-patch+json") => {
                match JsonPatch::decode(body).unwrap().patch.apply(new) {
                    Ok(patched) => new = patched,
                    Err(_) => return refusal(StatusCode::UNPROCESSABLE_ENTITY),
                }
            }
            Some("application/merge-patch+json") => {
                MergePatch::decode(body).unwrap().patch.apply(&mut new);
            }
            _ => return refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        }
        let uid = |value: &Value| value.str_at(&["metadata", "uid"]).map(str::to_owned);
        if uid(&new) != uid(&old) {
            return refusal(StatusCode::UNPROCESSABLE_ENTITY);
        }
        // A subresource writes its own part only.
        let (kept, part) = if status { (old, new) } else { (new, old) };
        let mut merged = kept;
        match part.get("status") {
            Some(status) => merged.set(&["status"], status.clone()),
            None => drop(merged.remove(&["status"])),
        }
        let written = state.settle(place, merged);
        self.publish(&state);
        json(written)
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn find(&self, (cluster, ns, name): At<'_>) -> Option<(Place, Value)> {
        let found =
            self.objects.iter().find(|((_, c, n, o), _)| (&**c, &**n, &**o) == (cluster, ns, name));
        found.map(|(place, value)| (place.clone(), value.clone()))
    }

    fn put(&mut self, event: &'static str, place: Place, mut value: Value) -> Value {
        let revision = self.next();
        value.set(&["metadata", "resourceVersion"], revision.to_string());
        self.objects.insert(place.clone(), value.clone());
        self.events.push((revision, event, place, value.clone()));
        value
    }

    /// Writes an object, or removes it if its deletion was waiting for nothing else.
    fn settle(&mut self, place: Place, value: Value) -> Value {
        let deleting = value.at(&["metadata", "deletionTimestamp"]).is_some();
        if !deleting || !value.array_at(&["metadata", "finalizers"]).is_empty() {
            return self.put("MODIFIED", place, value);
        }
        let value = self.put("DELETED", place.clone(), value);
        self.objects.remove(&place);
        value
    }
}

fn place(shard: &str, cluster: &str, ns: &str, name: &str) -> Place {
    (shard.into(), cluster.into(), ns.into(), name.into())
}

fn value_in<'a>(query: &'a str, name: &str) -> &'a str {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
}

fn version_in(query: &str) -> u64 {
    value_in(query, "resourceVersion").parse().unwrap_or_default()
}

fn json(value: Value) -> Response<Body> {
    Response::new(Body::from(value.to_bytes()))
}

fn refusal(status: StatusCode) -> Response<Body> {
    let text = object! {"kind": "Status", "code": i64::from(status.as_u16()), "reason": "Test"};
    let mut response = Response::new(Body::from(text.to_bytes()));
    *response.status_mut() = status;
    response
}

/// Clients without credentials.
pub(crate) struct PlainClients;

impl Clients for PlainClients {
    fn client(&self, server: &Uri) -> Result<kube::Client, ClientError> {
        Ok(kube::Client::try_from(kube::Config::new(server.clone()))?)
    }
}

/// The body of a test's objects.
pub(crate) fn spec(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}
