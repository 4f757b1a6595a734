//! Who is there: what a hub knows of it, what it stores, and what a restart makes of it.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_pki::AgentIdentity;
use strait_relay::JOIN_PATH;
use strait_relay::hub::{Connected, Presence as _};
use strait_runtime::{Context, ManualClock};
use strait_types::ClusterName;

use crate::agent_rights::VIEWS;
use crate::harness::{Answer, Client, TestHub, context, revision, yaml};
use crate::joining::{AGENTS, Installation, make_agent, refused, token};
use crate::services::{SHOWS_WITHIN, connection};
use crate::tenants::{CONFIG_MAPS, condition, config_map};

/// Between two reports of an instance.
const REPORT: Duration = Duration::from_secs(10);

fn clock() -> Arc<ManualClock> {
    // Whole seconds, as times are written.
    Arc::new(ManualClock::new(Timestamp::from_second(Timestamp::now().as_second()).unwrap()))
}

fn within(clock: &Arc<ManualClock>) -> Context {
    Context { clock: clock.clone(), ..context() }
}

/// An instance of an agent in the workspace `root`.
struct Instance {
    agent: &'static str,
    installation: Installation,
    client: Client,
}

impl Instance {
    async fn join(hub: &TestHub, agent: &'static str) -> Self {
        let installation = Installation::new();
        let token = token(&hub.admin(), agent, "{}").await;
        let client = installation.join(hub, &token).await;
        Self { agent, installation, client }
    }

    fn id(&self) -> &str {
        self.installation.instance.as_str()
    }

    fn member(&self, hub: &TestHub) -> AgentIdentity {
        member(hub, self.agent, &self.installation)
    }

    /// The same at a hub that was started anew.
    fn at(self, hub: &TestHub) -> Self {
        Self { client: self.client.at(hub), ..self }
    }

    async fn say(&self, instance: &str, state: &str) -> Answer {
        let report = object! {
            "instance": instance, "version": "0.1.0", "host": "host-1", "state": state,
        };
        self.client.post(&format!("{AGENTS}/{}/heartbeat", self.agent), &report).await
    }

    async fn report_of(&self, instance: &str) -> Answer {
        self.say(instance, "Ready").await
    }

    async fn report(&self) {
        self.report_of(self.id()).await.expect(201);
    }

    /// What an agent says of its class again and again.
    async fn publish(&self, available: bool) -> Value {
        let name = format!("{}.sign", self.agent);
        let view = object! {
            "metadata": object! {"name": name.as_str()},
            "agent": self.agent,
            "className": "sign",
            "availability": object! {"available": available, "lastSeen": "2999-01-01T00:00:00Z"},
        };
        let written = self.client.merge(&format!("{VIEWS}/{name}"), &view).await;
        if written.status == StatusCode::NOT_FOUND {
            return self.client.create(VIEWS, &view).await.expect(201);
        }
        written.expect(200)
    }

    /// Its entry in the Agent's status.
    fn of<'a>(&self, agent: &'a Value) -> &'a Value {
        let mut all = agent.array_at(&["status", "instances"]).iter();
        all.find(|one| one.str_at(&["id"]) == Some(self.id())).expect("it is listed")
    }

    fn state<'a>(&self, agent: &'a Value) -> Option<&'a str> {
        self.of(agent).str_at(&["state"])
    }
}

fn member(hub: &TestHub, agent: &str, installation: &Installation) -> AgentIdentity {
    let (id, instance) = (hub.hub().id().clone(), installation.instance.clone());
    AgentIdentity::new(id, ClusterName::root(), agent, instance).unwrap()
}

/// What a connection and reports say alike.
fn connections(count: usize) -> Connected {
    Connected { version: "0.1.0".into(), host: "host-1".into(), ..connection(count) }
}

async fn agent(hub: &TestHub) -> Value {
    hub.admin().get(&format!("{AGENTS}/smith")).await.expect(200)
}

/// The store's revision, after one more.
async fn mark(hub: &TestHub, name: &str) -> u64 {
    revision(&hub.admin().create(CONFIG_MAPS, &config_map(name)).await.expect(201))
}

fn seconds(timestamp: &str) -> i64 {
    timestamp.parse::<Timestamp>().unwrap().as_second()
}

#[tokio::test]
async fn agents_that_stay_connected_cause_hardly_a_write() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    hub.admin().bind("requests", "root", "requests.strait.dev").await;
    let mut instances = Vec::new();
    for agent in ["smith", "jones"] {
        make_agent(&hub.admin(), agent, "{}").await;
        instances.push(Instance::join(&hub, agent).await);
    }
    for one in &instances {
        hub.hub().told().connected(&one.member(&hub), &connections(2));
        one.report().await;
        one.publish(true).await;
        let connected = |agent: &Value| one.of(agent).at(&["connections"]) == Some(&2.into());
        hub.admin().wait(AGENTS, one.agent, connected).await;
    }
    let mut last = mark(&hub, "begin").await;
    let mut minutes = Vec::new();
    for minute in 0..10 {
        for report in 0..6 {
            clock.advance(REPORT);
            for one in &instances {
                hub.hub().told().round_trip(&one.member(&hub), Duration::from_millis(report));
                one.report().await;
                if report % 3 == 0 {
                    one.publish(true).await;
                }
            }
        }
        let now = mark(&hub, &format!("minute-{minute}")).await;
        minutes.push(now - last - 1);
        last = now;
    }
    // In ten minutes the time of each agent and of each class is stored twice.
    println!("revisions, minute by minute: {minutes:?}");
    assert!(minutes.iter().all(|count| *count <= 4), "{minutes:?}");
    assert!(minutes.iter().sum::<u64>() <= 8, "{minutes:?}");
}

#[tokio::test]
async fn the_time_is_stored_when_an_instance_goes() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let one = Instance::join(&hub, "smith").await;
    one.report().await;
    let first = agent(&hub).await;
    for _ in 0..4 {
        clock.advance(REPORT);
        one.report().await;
    }
    assert_eq!(revision(&agent(&hub).await), revision(&first), "nothing was new");
    clock.advance(Duration::from_secs(31));
    let lost = |agent: &Value| one.state(agent) == Some("Lost");
    let gone = hub.admin().wait(AGENTS, "smith", lost).await;
    let seen = |agent: &Value| seconds(one.of(agent).str_at(&["lastSeen"]).unwrap());
    assert_eq!(seen(&gone) - seen(&first), 40);
    assert_eq!(condition(&gone, "Connected").0, "False");
    // It is back with the first report, and what is new is stored at once.
    one.report().await;
    let back = agent(&hub).await;
    assert_eq!((one.state(&back), seen(&back) - seen(&first)), (Some("Ready"), 71));
    assert_eq!(condition(&back, "Connected").0, "True");
}

#[tokio::test]
async fn after_a_restart_who_does_not_come_back_is_lost_whatever_others_say() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let (stays, goes) = (Instance::join(&hub, "smith").await, Instance::join(&hub, "smith").await);
    let before = Instance::join(&hub, "smith").await;
    before.report().await;
    clock.advance(Duration::from_secs(31));
    stays.report().await;
    goes.report().await;
    hub.admin().wait(AGENTS, "smith", |agent| before.state(agent) == Some("Lost")).await;
    let hub = hub.restart_within(within(&clock)).await;
    let (stays, goes, before) = (stays.at(&hub), goes.at(&hub), before.at(&hub));
    clock.advance(Duration::from_secs(20));
    stays.report().await;
    stays.report_of(goes.id()).await.refused(400, "BadRequest");
    stays.report_of(before.id()).await.refused(400, "BadRequest");
    let object = agent(&hub).await;
    assert_eq!(goes.state(&object), Some("Ready"), "it may be on its way");
    assert_eq!(before.state(&object), Some("Lost"));
    let seen = goes.of(&object).str_at(&["lastSeen"]).unwrap().to_owned();
    clock.advance(Duration::from_secs(11));
    let object = hub.admin().wait(AGENTS, "smith", |agent| goes.state(agent) == Some("Lost")).await;
    assert_eq!((stays.state(&object), before.state(&object)), (Some("Ready"), Some("Lost")));
    assert_eq!(goes.of(&object).str_at(&["lastSeen"]), Some(&*seen), "nobody saw it since");
    assert_eq!(condition(&object, "Connected").0, "True");
}

/// Asks for a place as a pod does.
async fn ask(hub: &TestHub, pod: &Installation, token: &str) -> Answer {
    let mut request = pod.request(token);
    request.set(&["ephemeral"], true);
    hub.anonymous().below("").post(JOIN_PATH, &request).await
}

/// Whether the instances of an agent are in these states.
fn states(expected: &'static [&str]) -> impl Fn(&Value) -> bool {
    move |agent| {
        let all = agent.array_at(&["status", "instances"]).iter();
        all.map(|one| one.str_at(&["state"]).unwrap_or_default()).eq(expected.iter().copied())
    }
}

#[tokio::test]
async fn a_restart_gives_no_place_away_before_pods_could_come_back() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{maxInstances: 2}").await;
    let token = token(&hub.admin(), "smith", "{uses: 5}").await;
    let pods = [(); 3].map(|()| Installation::new());
    for pod in &pods[..2] {
        ask(&hub, pod, &token).await.expect(200);
        hub.hub().told().connected(&member(&hub, "smith", pod), &connections(1));
    }
    hub.admin().wait(AGENTS, "smith", states(&["Ready", "Ready"])).await;
    hub.hub().told().disconnected(&member(&hub, "smith", &pods[1]), 0);
    hub.admin().wait(AGENTS, "smith", states(&["Ready", "Lost"])).await;
    let hub = hub.restart_within(within(&clock)).await;
    // That may pass: nobody is connected to this hub yet.
    refused(&ask(&hub, &pods[2], &token).await, 503, "NoPlaceYet");
    for pod in &pods[..2] {
        hub.hub().told().connected(&member(&hub, "smith", pod), &connections(1));
    }
    // All are back.
    refused(&ask(&hub, &pods[2], &token).await, 409, "TooManyInstances");
    hub.admin().wait(AGENTS, "smith", states(&["Ready", "Ready"])).await;
    let hub = hub.restart_within(within(&clock)).await;
    hub.hub().told().connected(&member(&hub, "smith", &pods[0]), &connections(1));
    refused(&ask(&hub, &pods[2], &token).await, 503, "NoPlaceYet");
    clock.advance(Duration::from_secs(31));
    hub.admin().wait(AGENTS, "smith", states(&["Ready", "Lost"])).await;
    ask(&hub, &pods[2], &token).await.expect(200);
    let object = agent(&hub).await;
    let ids = object.array_at(&["status", "instances"]).iter();
    let ids: Vec<_> = ids.filter_map(|own| own.str_at(&["id"])).collect();
    assert_eq!(ids, [pods[0].instance.as_str(), pods[2].instance.as_str()]);
}

#[tokio::test]
async fn a_pod_that_has_just_come_back_keeps_its_place() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{maxInstances: 1}").await;
    let token = token(&hub.admin(), "smith", "{uses: 5}").await;
    let (pod, next) = (Installation::new(), Installation::new());
    ask(&hub, &pod, &token).await.expect(200);
    let (told, pod) = (hub.hub().told(), member(&hub, "smith", &pod));
    told.connected(&pod, &connections(1));
    hub.admin().wait(AGENTS, "smith", states(&["Ready"])).await;
    for silence in [Duration::from_secs(40), Duration::ZERO] {
        told.disconnected(&pod, 0);
        hub.admin().wait(AGENTS, "smith", states(&["Lost"])).await;
        clock.advance(silence);
        told.connected(&pod, &connections(1));
        // A second passes between two writes: that it is back is not stored yet.
        refused(&ask(&hub, &next, &token).await, 409, "TooManyInstances");
        hub.admin().wait(AGENTS, "smith", states(&["Ready"])).await;
    }
    told.disconnected(&pod, 0);
    hub.admin().wait(AGENTS, "smith", states(&["Lost"])).await;
    ask(&hub, &next, &token).await.expect(200);
}

#[tokio::test]
async fn the_pod_after_one_that_ends_or_fell_silent_waits_for_its_place() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{maxInstances: 1}").await;
    let token = token(&hub.admin(), "smith", "{uses: 9}").await;
    for state in ["Draining", "Ready"] {
        let (installation, next) = (Installation::new(), Installation::new());
        let granted = ask(&hub, &installation, &token).await.expect(200);
        let client = installation.client(&hub, &granted);
        let pod = Instance { agent: "smith", installation, client };
        hub.hub().told().connected(&pod.member(&hub), &connections(1));
        pod.report().await;
        refused(&ask(&hub, &next, &token).await, 409, "TooManyInstances");
        // It ends in order, or goes on without a connection and then no more.
        if state == "Ready" {
            hub.hub().told().disconnected(&pod.member(&hub), 0);
        }
        pod.say(pod.id(), state).await.expect(201);
        let told = refused(&ask(&hub, &next, &token).await, 503, "NoPlaceYet");
        assert!(told.contains("try again"), "{told}");
        let gone = if state == "Draining" {
            hub.hub().told().disconnected(&pod.member(&hub), 0);
            "Ended"
        } else {
            clock.advance(Duration::from_secs(31));
            "Lost"
        };
        hub.admin().wait(AGENTS, "smith", |agent| pod.state(agent) == Some(gone)).await;
        ask(&hub, &next, &token).await.expect(200);
        hub.hub().told().connected(&member(&hub, "smith", &next), &connections(1));
        hub.admin().wait(AGENTS, "smith", states(&["Ready"])).await;
        hub.hub().told().disconnected(&member(&hub, "smith", &next), 0);
        hub.admin().wait(AGENTS, "smith", states(&["Lost"])).await;
    }
}

#[tokio::test]
async fn a_restart_takes_nobody_for_lost_who_comes_back() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let (stays, goes) = (Instance::join(&hub, "smith").await, Instance::join(&hub, "smith").await);
    for one in [&stays, &goes] {
        hub.hub().told().connected(&one.member(&hub), &connections(2));
    }
    hub.admin().wait(AGENTS, "smith", states(&["Ready", "Ready"])).await;
    let before = agent(&hub).await;
    let hub = hub.restart_within(within(&clock)).await;
    let shows = |connections: [i64; 2]| {
        let (stays, goes) = (&stays, &goes);
        move |agent: &Value| {
            let count = |one: &Instance| one.of(agent).at(&["connections"]).and_then(Value::as_i64);
            [count(stays), count(goes)] == connections.map(Some)
        }
    };
    // No request can be sent to them, and they are not gone.
    let started = hub.admin().wait(AGENTS, "smith", shows([0, 0])).await;
    assert!(states(&["Ready", "Ready"])(&started), "{started}");
    hub.hub().told().connected(&stays.member(&hub), &connections(1));
    let back = hub.admin().wait(AGENTS, "smith", shows([1, 0])).await;
    assert_eq!(condition(&back, "Connected"), condition(&before, "Connected"));
    clock.advance(Duration::from_secs(31));
    let after = hub.admin().wait(AGENTS, "smith", states(&["Ready", "Lost"])).await;
    assert_eq!(condition(&after, "Connected").0, "True");
}

#[tokio::test]
async fn an_agent_that_ended_in_order_is_not_connected_any_more() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let one = Instance::join(&hub, "smith").await;
    let told = hub.hub().told();
    let shows = async |state: &str, connected: &str| {
        let is_so = |agent: &Value| {
            one.state(agent) == Some(state) && condition(agent, "Connected").0 == connected
        };
        let admin = hub.admin();
        let waited = admin.wait(AGENTS, "smith", is_so);
        let shown = tokio::time::timeout(SHOWS_WITHIN, waited).await;
        if shown.is_err() {
            let is = agent(&hub).await;
            panic!("{state} {connected} does not show in time: {is}");
        }
    };
    // It says that it drains before its last connection ends, or just behind that.
    for says_first in [true, false] {
        told.connected(&one.member(&hub), &connections(1));
        one.report().await;
        shows("Ready", "True").await;
        if says_first {
            one.say(one.id(), "Draining").await.expect(201);
            shows("Draining", "True").await;
        }
        told.disconnected(&one.member(&hub), 0);
        if !says_first {
            one.say(one.id(), "Draining").await.expect(201);
        }
        shows("Ended", "False").await;
    }
}

#[tokio::test]
async fn when_a_class_was_last_seen_the_hub_says() {
    let clock = clock();
    let hub = TestHub::start_at(clock.clone()).await;
    hub.admin().bind("requests", "root", "requests.strait.dev").await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let one = Instance::join(&hub, "smith").await;
    one.report().await;
    let seen = |view: &Value| seconds(view.str_at(&["availability", "lastSeen"]).unwrap());
    let first = one.publish(true).await;
    let start = seen(&first);
    clock.advance(Duration::from_secs(299));
    one.report().await;
    assert_eq!(revision(&one.publish(true).await), revision(&first), "nothing is new");
    clock.advance(Duration::from_secs(1));
    assert_eq!(seen(&one.publish(true).await) - start, 300);
    clock.advance(Duration::from_secs(7));
    assert_eq!(seen(&one.publish(false).await) - start, 307);
    clock.advance(Duration::from_secs(3));
    assert_eq!(seen(&one.publish(true).await) - start, 310);
    clock.advance(Duration::from_secs(10));
    one.report().await;
    // Where it does not say so itself, it was there when its agent was.
    clock.advance(Duration::from_secs(31));
    let is_gone = |view: &Value| {
        view.at(&["availability", "available"]).and_then(Value::as_bool) == Some(false)
    };
    let gone = hub.admin().wait(VIEWS, "smith.sign", is_gone).await;
    assert_eq!(seen(&gone) - start, 320);
    // People's own words stay.
    let told = yaml("{availability: {lastSeen: '2026-01-01T00:00:00Z'}}");
    let view = hub.admin().merge(&format!("{VIEWS}/smith.sign"), &told).await.expect(200);
    assert_eq!(seen(&view), seconds("2026-01-01T00:00:00Z"));
}
