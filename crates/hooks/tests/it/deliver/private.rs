//! Backends behind agents of the hub around, which is a made-up one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};
use parking_lot::Mutex;
use strait_hooks::Position;
use strait_hooks::config::{self, Config, Files, Service};
use strait_hooks::deliver::{
    Carrier, CarryError, DeliverError, Deliveries, HEARTBEAT_PATH, Keep, Options,
};
use strait_hooks::schedule::{Outcome, Reason};
use strait_hooks::signature::Scheme;
use strait_hooks::state::{Backend, Became};
use strait_net::{Answer, Body, ServerMetrics, handler};
use strait_pki::{Authority, ServerNames, ServingCertificate, server_config};
use strait_runtime::{Clock, Shutdown, SystemClock, SystemEntropy};
use strait_types::HubId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::scene::{Gateway, LONG, Scene, event};

struct InHub;

impl Files for InHub {
    fn in_hub(&self) -> bool {
        true
    }

    fn secret(&self, _: &Scheme, _: &Path) -> Result<(), String> {
        Ok(())
    }

    fn readable(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

/// How requests end.
#[derive(Clone, Copy, Debug)]
enum Way {
    Nobody,
    Lost,
    Status(u16),
    /// Answered in the service's place.
    Strait(u16),
}

/// An agent that comes and goes.
struct Agent {
    way: Mutex<Way>,
    /// What heartbeats end with.
    beats: Mutex<Way>,
    coming: watch::Sender<u64>,
    offered: Mutex<Option<u64>>,
    /// Requests that may end.
    turns: Arc<Semaphore>,
    came: watch::Sender<Vec<(String, Bytes)>>,
}

impl Agent {
    fn new(way: Way) -> Arc<Self> {
        Arc::new(Self {
            way: Mutex::new(way),
            beats: Mutex::new(Way::Nobody),
            coming: watch::Sender::new(0),
            offered: Mutex::new(None),
            turns: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            came: watch::Sender::new(Vec::new()),
        })
    }

    /// It is there, or there anew.
    fn come(&self) {
        *self.way.lock() = Way::Status(202);
        let count = *self.coming.borrow() + 1;
        *self.offered.lock() = Some(count);
        self.coming.send_replace(count);
    }

    /// Waits until it was asked so often, and returns the paths and bodies.
    async fn asked(&self, count: usize) -> Vec<(String, Bytes)> {
        let mut came = self.came.subscribe();
        let found = tokio::time::timeout(LONG, came.wait_for(|came| came.len() >= count)).await;
        found.unwrap().unwrap().clone()
    }
}

impl Carrier for Agent {
    fn send(
        &self,
        to: &Service,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Answer, CarryError>> {
        assert_eq!(
            (to.workspace.as_str(), &*to.agent, &*to.service),
            ("root:acme", "smith", "pac")
        );
        let path = request.uri().to_string();
        let (way, turns) = if path == HEARTBEAT_PATH {
            (*self.beats.lock(), None)
        } else {
            let body = request.body().clone();
            self.came.send_modify(|came| came.push((path, body)));
            (*self.way.lock(), Some(self.turns.clone()))
        };
        async move {
            if let Some(turns) = turns {
                turns.acquire().await.unwrap().forget();
            }
            let mut headers = HeaderMap::new();
            let status = match way {
                Way::Nobody => return Err(CarryError::Nobody),
                Way::Lost => return Err(CarryError::Broken("cut".into())),
                Way::Status(status) => status,
                Way::Strait(status) => {
                    headers.insert("x-strait-error", "Why".parse().unwrap());
                    status
                }
            };
            Ok(Answer { status: StatusCode::from_u16(status).unwrap(), headers })
        }
        .boxed()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.coming.subscribe()
    }

    fn offered(&self, _: &Service) -> Option<u64> {
        *self.offered.lock()
    }
}

fn config(rest: &str) -> Config {
    let behind = "workspace: 'root:acme', agent: smith, service: pac";
    read(&format!("{{name: one, sources: [forge], {behind}{rest}}}"))
}

fn read(backends: &str) -> Config {
    let text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n\
         sources: [{{name: forge, path: /forge, scheme: none}}]\n\
         backends:\n\
         - {backends}\n"
    );
    config::read("test.yaml", &text, None, &InHub).unwrap()
}

async fn start(scene: &Scene, agent: &Arc<Agent>, rest: &str) -> Gateway {
    let carrier: Arc<dyn Carrier> = agent.clone();
    scene.start_with(&config(rest), |options| options.carrier = Some(carrier), 1 << 20).await
}

/// Waits until so many heartbeats did not come back.
async fn failed_beats(gateway: &Gateway, count: usize) {
    let metric = "strait_hooks_backend_heartbeat_failures_total{backend=\"one\"}";
    let failed = async {
        while gateway.metric(metric) != count.to_string() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, failed).await.expect("heartbeats are sent");
}

fn became(gateway: &Gateway, position: Position) -> Option<Became> {
    gateway.state.read(|table| table.became(Backend::of("one"), position))
}

// The clock stands still in these tests: what is tried again is not so because its time came.

#[tokio::test]
async fn what_waits_is_delivered_in_order_as_soon_as_the_agent_comes() {
    let (scene, agent) = (Scene::new(), Agent::new(Way::Nobody));
    let gateway = start(&scene, &agent, ", order: /ref, path: '/in?team=a'").await;
    for count in 0..20 {
        gateway.send(&format!(r#"{{"ref": "x", "count": {count}}}"#)).await;
    }
    for other in ["a", "b", "c", "d", "e"] {
        gateway.send(&format!(r#"{{"ref": "{other}"}}"#)).await;
    }
    // In trouble, and left alone.
    let status = gateway.until("one", |one| one.in_flight == 0 && one.last.is_some()).await;
    assert_eq!((status.last, status.waiting), (Some(Outcome::Refused), 25));
    let before = agent.came.borrow().len();

    agent.come();
    let status = gateway.idle("one").await;
    assert_eq!(status.last, Some(Outcome::Status(202)));
    let came = agent.asked(before + 25).await;
    assert_eq!(came.len(), before + 25, "each once more");
    assert!(came.iter().all(|(path, _)| path == "/in?team=a"), "{came:?}");
    let numbers = came[before..].iter().filter_map(|(_, body)| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["count"].as_u64()
    });
    assert!(numbers.eq(0..20));
}

#[tokio::test]
async fn a_connection_that_is_lost_costs_an_attempt_and_nothing_else() {
    let (scene, agent) = (Scene::new(), Agent::new(Way::Lost));
    let gateway = start(&scene, &agent, "").await;
    let position = gateway.send("{}").await;
    gateway.until("one", |one| one.last == Some(Outcome::Broken) && one.in_flight == 0).await;
    assert!(matches!(became(&gateway, position), Some(Became::Waiting { attempts: 1, .. })));
    agent.come();
    gateway.idle("one").await;
    assert_eq!(agent.came.borrow().len(), 2);
}

#[tokio::test]
async fn an_attempt_that_fails_after_the_agent_came_is_repeated_at_once() {
    let (scene, agent) = (Scene::new(), Agent::new(Way::Lost));
    // Nothing ends before it is told to.
    agent.turns.forget_permits(Semaphore::MAX_PERMITS);
    let gateway = start(&scene, &agent, "").await;
    for _ in 0..5 {
        gateway.send("{}").await;
    }
    agent.asked(5).await;
    agent.come();
    // The one of the start, and the one of the coming.
    failed_beats(&gateway, 2).await;
    agent.turns.add_permits(10);
    gateway.idle("one").await;
    assert_eq!(agent.came.borrow().len(), 10);
}

#[tokio::test]
async fn what_is_refused_on_the_way_waits_and_what_the_service_refuses_does_not() {
    for (way, outcome, dead) in [
        (Way::Strait(404), Outcome::Refused, false),
        (Way::Strait(403), Outcome::Refused, false),
        (Way::Strait(503), Outcome::Status(503), false),
        (Way::Strait(413), Outcome::Status(413), true),
        (Way::Status(404), Outcome::Status(404), true),
    ] {
        let (scene, agent) = (Scene::new(), Agent::new(way));
        let gateway = start(&scene, &agent, "").await;
        let position = gateway.send("{}").await;
        gateway.until("one", |one| one.last == Some(outcome) && one.in_flight == 0).await;
        match became(&gateway, position) {
            Some(Became::Dead { reason: Reason::Rejected(_), .. }) => assert!(dead, "{way:?}"),
            Some(Became::Waiting { .. }) => assert!(!dead, "{way:?}"),
            other => panic!("{way:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_heartbeat_that_comes_back_wakes_the_backend_and_is_shown() {
    const METRIC: &str = "strait_hooks_backend_last_roundtrip_seconds{backend=\"one\"}";
    let (scene, agent) = (Scene::new(), Agent::new(Way::Nobody));
    let gateway = start(&scene, &agent, "").await;
    gateway.send("{}").await;
    let status = gateway.until("one", |one| one.last == Some(Outcome::Refused)).await;
    assert_eq!((status.heartbeat, gateway.metric(METRIC)), (None, String::new()));
    failed_beats(&gateway, 1).await;

    // Nobody tells that it is there; the next heartbeat finds it.
    *agent.way.lock() = Way::Status(200);
    *agent.beats.lock() = Way::Status(204);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let status = gateway.idle("one").await;
    assert_eq!(status.last, Some(Outcome::Status(200)));
    assert!(status.heartbeat.is_some());
    assert_ne!(gateway.metric(METRIC), "");
}

/// Two attempts are under way.
async fn two_under_way(scene: &Scene, agent: &Arc<Agent>) -> (Gateway, [Position; 2]) {
    agent.turns.forget_permits(Semaphore::MAX_PERMITS);
    let gateway = start(scene, agent, "").await;
    let positions = [gateway.send("{}").await, gateway.send("{}").await];
    agent.asked(2).await;
    (gateway, positions)
}

#[tokio::test]
async fn what_ends_just_before_the_rest_is_given_up_is_recorded() {
    const LIMIT: Duration = Duration::from_secs(5);
    let (scene, agent) = (Scene::new(), Agent::new(Way::Status(200)));
    let (gateway, positions) = two_under_way(&scene, &agent).await;
    tokio::time::pause();
    let one_ends = async {
        tokio::time::sleep(LIMIT - Duration::from_millis(1)).await;
        agent.turns.add_permits(1);
    };
    let both = futures_util::future::join(gateway.deliveries.drain(LIMIT), one_ends);
    tokio::time::timeout(LONG, both).await.expect("it ends");
    let delivered = positions.map(|at| became(&gateway, at) == Some(Became::Delivered));
    assert_eq!(delivered, [true, false]);
}

#[tokio::test]
async fn a_drain_ends_though_nothing_can_be_written() {
    let (scene, agent) = (Scene::new(), Agent::new(Way::Status(200)));
    let (gateway, _) = two_under_way(&scene, &agent).await;
    // While somebody reads nobody writes.
    let (reads, reading) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let state = gateway.state.clone();
    let reader = std::thread::spawn(move || {
        state.read(|_| {
            reads.send(()).unwrap();
            released.recv().unwrap();
        });
    });
    reading.recv().unwrap();
    agent.turns.add_permits(2);
    let metric = "strait_hooks_deliver_attempts_total{backend=\"one\",class=\"delivered\"}";
    let tried = async {
        while gateway.metric(metric) != "2" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, tried).await.unwrap();
    tokio::time::timeout(LONG, gateway.deliveries.drain(Duration::ZERO)).await.expect("it ends");
    release.send(()).unwrap();
    reader.join().unwrap();
}

#[tokio::test]
async fn without_a_hub_around_nothing_starts() {
    let scene = Scene::new();
    let options = Options::new(scene.context());
    let started = Deliveries::start(&config(""), Keep::Nothing, options).await;
    assert!(matches!(started, Err(DeliverError::NoHub { name }) if *name == *"one"));
}

/// What a hub was asked: the path, the usual credential and the other.
type Asked = (String, String, String);

/// A hub that takes everything, with the PEM of its authority.
async fn hub(scene: &Scene) -> (std::net::SocketAddr, String, watch::Sender<Vec<Asked>>) {
    let (clock, id) = (Arc::new(SystemClock), HubId::from_random([7; 16]));
    let authority =
        Arc::new(Authority::create(&id, clock.clone(), Arc::new(SystemEntropy)).unwrap());
    let names = ServerNames::new(["127.0.0.1"]).unwrap();
    let day = Duration::from_secs(86_400);
    let serving = ServingCertificate::new(authority.clone(), names, day).unwrap();
    let context = scene.context();
    let metrics = ServerMetrics::new(&context.metrics);
    let server = strait_net::Server {
        tls: Some(server_config(serving, &[], clock).unwrap()),
        ..strait_net::Server::plain(metrics, scene.tasks.clone(), Shutdown::new())
    };
    let asked = watch::Sender::new(Vec::new());
    let seen = asked.clone();
    let answer = handler(move |_, request| {
        let field = |name: &str| {
            let value = request.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let path = request.uri().to_string();
        let heartbeat = path.ends_with(HEARTBEAT_PATH);
        let ended = [field("authorization"), field("x-opsmx-token")].concat().ends_with("ended");
        let one = (path, field("authorization"), field("x-opsmx-token"));
        seen.send_modify(|all| all.push(one));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match (ended, heartbeat) {
            (true, _) => StatusCode::UNAUTHORIZED,
            (false, true) => StatusCode::NO_CONTENT,
            (false, false) => StatusCode::ACCEPTED,
        };
        if ended {
            response.headers_mut().insert("x-strait-error", "CredentialExpired".parse().unwrap());
        }
        async { response }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    scene.tasks.spawn_daemon("hub", server.serve(listener, answer));
    (address, authority.bundle().unwrap().to_pem(), asked)
}

#[tokio::test]
async fn without_a_hub_around_another_is_asked_with_the_token_of_the_moment() {
    let scene = Scene::new();
    let (address, authority, asked) = hub(&scene).await;
    let file = |name: &str| scene.dir.path().join(name);
    std::fs::write(file("ca"), authority).unwrap();
    std::fs::write(file("token"), "first\n").unwrap();
    let backend = |name: &str, rest: &str| {
        let (token, ca) = (file("token"), file("ca"));
        format!(
            "{{name: {name}, sources: [forge], workspace: 'root:acme', agent: smith, service: pac, \
             path: '/in?team=a', hub: 'https://{address}', tokenFile: {}, tls: {{caFile: {}}}{rest}}}",
            token.display(),
            ca.display(),
        )
    };
    let own = backend("own", ", headers: {add: {Authorization: of the service}}");
    let config = read(&format!("{}\n- {own}", backend("one", "")));
    // The certificates are of today.
    let today = |options: &mut Options| options.context.clock = Arc::new(SystemClock);
    let gateway = scene.start_with(&config, today, 1 << 20).await;
    let until = async |wanted: &[(&str, &str, &str)]| {
        let has = |all: &Vec<Asked>| {
            wanted.iter().all(|(path, usual, other)| {
                all.iter().any(|one| (&*one.0, &*one.1, &*one.2) == (path, usual, other))
            })
        };
        let mut seen = asked.subscribe();
        let found = tokio::time::timeout(LONG, seen.wait_for(has)).await;
        assert!(found.is_ok(), "{:?}", asked.borrow());
    };
    let front = "/clusters/root:acme/services/relay/smith/pac";
    let (beat, hook) = (&*format!("{front}{HEARTBEAT_PATH}"), &*format!("{front}/in?team=a"));
    gateway.send("{}").await;
    until(&[
        (beat, "Bearer first", ""),
        (hook, "Bearer first", ""),
        (hook, "of the service", "first"),
    ])
    .await;
    for name in ["one", "own"] {
        let whole = gateway.until(name, |one| one.heartbeat.is_some() && one.last.is_some()).await;
        assert_eq!(whole.last, Some(Outcome::Status(202)));
    }

    std::fs::write(file("token"), "second").unwrap();
    gateway.send("{}").await;
    until(&[(hook, "Bearer second", ""), (hook, "of the service", "second")]).await;

    let usable =
        |name| gateway.metric(&format!("strait_hooks_backend_token_usable{{backend=\"{name}\"}}"));
    assert_eq!((usable("one"), usable("own")), ("1".to_owned(), "1".to_owned()));
    std::fs::write(file("token"), "ended").unwrap();
    let position = gateway.take(event("{}", SystemClock.now())).await;
    for name in ["one", "own"] {
        gateway
            .until(name, |one| one.last == Some(Outcome::TokenRefused) && one.in_flight == 0)
            .await;
        assert_eq!(usable(name), "0");
    }
    let now = became(&gateway, position);
    assert!(matches!(now, Some(Became::Waiting { .. })), "no dead letter: {now:?}");

    for unusable in ["", "\u{1}"] {
        std::fs::write(file("token"), unusable).unwrap();
        let before = asked.borrow().len();
        gateway.deliveries.wake("one");
        gateway.until("one", |one| one.last == Some(Outcome::NoToken) && one.in_flight == 0).await;
        assert_eq!(asked.borrow().len(), before, "nothing is sent without a token");
    }

    std::fs::write(file("token"), "third").unwrap();
    for name in ["one", "own"] {
        gateway.deliveries.wake(name);
        gateway.idle(name).await;
        assert_eq!(usable(name), "1");
    }
}

#[tokio::test]
async fn a_token_is_usable_as_soon_as_its_file_is_mended_though_its_hub_is_not_reached() {
    let scene = Scene::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let file = scene.dir.path().join("token");
    let gateway = {
        let token = file.display();
        let config = read(&format!(
            "{{name: one, sources: [forge], workspace: 'root:acme', agent: smith, service: pac, \
             hub: 'https://{nobody}', tokenFile: {token}}}"
        ));
        scene.start_with(&config, |_| {}, 1 << 20).await
    };
    let usable = || gateway.metric("strait_hooks_backend_token_usable{backend=\"one\"}");
    gateway.send("{}").await;
    gateway.until("one", |one| one.last == Some(Outcome::NoToken) && one.in_flight == 0).await;
    assert_eq!(usable(), "0");

    std::fs::write(&file, "first").unwrap();
    gateway.deliveries.wake("one");
    gateway.until("one", |one| one.last == Some(Outcome::Refused) && one.in_flight == 0).await;
    assert_eq!(usable(), "1");
}
