//! Backends behind agents of the hub around, which is a made-up one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use parking_lot::Mutex;
use strait_hooks::Position;
use strait_hooks::config::{self, Config, Files, Service};
use strait_hooks::deliver::{
    Carrier, CarryError, DeliverError, Deliveries, HEARTBEAT_PATH, Keep, Options,
};
use strait_hooks::schedule::{Outcome, Reason};
use strait_hooks::signature::Scheme;
use strait_hooks::state::{Backend, Became};
use strait_net::Answer;
use tokio::sync::{Semaphore, watch};

use super::scene::{Gateway, LONG, Scene};

const ROUND_TRIP: &str = "strait_hooks_backend_last_roundtrip_seconds{backend=\"one\"}";

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
    /// What heartbeats end with, once they may.
    beats: Mutex<Way>,
    beat_turns: Arc<Semaphore>,
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
            beat_turns: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
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
            (*self.beats.lock(), self.beat_turns.clone())
        } else {
            let body = request.body().clone();
            self.came.send_modify(|came| came.push((path, body)));
            (*self.way.lock(), self.turns.clone())
        };
        async move {
            turns.acquire().await.unwrap().forget();
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

pub(super) fn read(backends: &str) -> Config {
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

/// Time passes until the next heartbeat.
async fn next_beat() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
}

pub(super) fn connected(gateway: &Gateway) -> String {
    gateway.metric("strait_hooks_backend_agent_connected{backend=\"one\"}")
}

pub(super) fn became(gateway: &Gateway, position: Position) -> Option<Became> {
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
    assert_eq!(connected(&gateway), "0");

    agent.come();
    let status = gateway.idle("one").await;
    assert_eq!((status.last, connected(&gateway)), (Some(Outcome::Status(202)), "1".to_owned()));
    let came = agent.asked(before + 25).await;
    assert_eq!(came.len(), before + 25, "each once more");
    assert!(came.iter().all(|(path, _)| path == "/in?team=a"), "{came:?}");
    let numbers = came[before..].iter().filter_map(|(_, body)| {
        let body: serde_json::Value = serde_json::from_slice(body).unwrap();
        body["count"].as_u64()
    });
    assert!(numbers.eq(0..20));

    // That it went is seen with the next heartbeat.
    *agent.offered.lock() = None;
    next_beat().await;
    let gone = async {
        while connected(&gateway) != "0" {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();

    // Behind no agent, it says nothing of one.
    gateway.apply(&read("{name: one, sources: [forge], url: 'https://backend.example'}")).await;
    assert_eq!(connected(&gateway), "");
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
    let (scene, agent) = (Scene::new(), Agent::new(Way::Nobody));
    let gateway = start(&scene, &agent, "").await;
    gateway.send("{}").await;
    let status = gateway.until("one", |one| one.last == Some(Outcome::Refused)).await;
    assert_eq!((status.heartbeat, gateway.metric(ROUND_TRIP)), (None, String::new()));
    failed_beats(&gateway, 1).await;

    // Nobody tells that it is there; the next heartbeat finds it.
    *agent.way.lock() = Way::Status(200);
    *agent.beats.lock() = Way::Status(204);
    next_beat().await;
    let status = gateway.idle("one").await;
    assert_eq!(status.last, Some(Outcome::Status(200)));
    assert!(status.heartbeat.is_some());
    assert_ne!(gateway.metric(ROUND_TRIP), "");
}

#[tokio::test]
async fn a_heartbeat_that_ends_after_its_backend_changed_or_went_shows_nothing() {
    for now in ["one", "other"] {
        let (scene, agent) = (Scene::new(), Agent::new(Way::Status(200)));
        *agent.beats.lock() = Way::Status(204);
        agent.beat_turns.forget_permits(Semaphore::MAX_PERMITS);
        let gateway = start(&scene, &agent, "").await;
        let under_way = async |wanted: bool| {
            let reached = async {
                while (Arc::strong_count(&agent.beat_turns) > 1) != wanted {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(LONG, reached).await.expect("heartbeats begin and end");
        };
        under_way(true).await;
        let url = "url: 'https://backend.example'";
        gateway.apply(&read(&format!("{{name: {now}, sources: [forge], {url}}}"))).await;
        let forgotten = async {
            while !connected(&gateway).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, forgotten).await.expect("it is forgotten");
        agent.beat_turns.add_permits(1);
        under_way(false).await;
        assert_eq!(
            (gateway.metric(ROUND_TRIP), connected(&gateway)),
            (String::new(), String::new())
        );
    }
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
