//! Service objects: the hub makes them, people say how they are exposed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_pki::AgentIdentity;
use strait_relay::hub::{Connected, Presence as _};
use strait_relay::link::control::Announced;
use strait_runtime::{SystemEntropy, random_16};
use strait_types::{ClusterName, InstanceId};

use crate::credentials::{check, cluster, refusal, token};
use crate::harness::{Client, TestHub, names, yaml};
use crate::joining::{AGENTS, Installation, make_agent};
use crate::tenants::condition;

const SERVICES: &str = "/apis/relay.strait.dev/v1alpha1/services";

const CI: &str = "{apiVersion: relay.strait.dev/v1alpha1, kind: Service,
  metadata: {name: ci.smith}, spec: {agent: smith, name: ci, type: jenkins}}";

#[tokio::test]
async fn people_change_how_a_service_is_exposed_and_nothing_else() {
    let hub = TestHub::start().await;
    let server = hub.admin();
    let workspace = hub.workspace("root:acme").await;
    workspace.bind("relay", "root", "relay.strait.dev").await;
    workspace.make_administrator("alice").await;
    let alice = hub.client("alice", &[]).within("root:acme");
    let server = server.within("root:acme");

    alice.post(SERVICES, &yaml(CI)).await.refused(403, "Forbidden");
    let misnamed = CI.replace("ci.smith", "other.smith");
    server.post(SERVICES, &yaml(&misnamed)).await.refused(422, "Invalid");
    let made = server.post(SERVICES, &yaml(CI)).await.expect(201);
    assert_eq!(made.at(&["spec", "exposure", "path"]), Some(&true.into()));

    let ci = format!("{SERVICES}/ci.smith");
    let exposed = "{spec: {exposure: {raw: true}, limits: {concurrent: 3}}}";
    let exposed = alice.merge(&ci, &yaml(exposed)).await.expect(200);
    assert_eq!(exposed.at(&["spec", "limits", "concurrent"]), Some(&3.into()));
    alice.merge(&ci, &yaml("{spec: {type: http}}")).await.refused(403, "Forbidden");
    alice.merge(&ci, &yaml("{spec: {agent: jones}}")).await.refused(422, "Invalid");
    let status = yaml("{status: {protocols: [http1]}}");
    alice.merge(&format!("{ci}/status"), &status).await.refused(403, "Forbidden");
    server.merge(&format!("{ci}/status"), &status).await.expect(200);
    let review = |verb: &str, subresource: &str| {
        yaml(&format!(
            "{{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview,
              spec: {{resourceAttributes: {{group: relay.strait.dev, resource: services,
              subresource: {subresource}, name: ci.smith, verb: {verb}}}}}}}"
        ))
    };
    for (verb, subresource, allowed) in [
        ("get", "connect", true),
        ("create", "connect", true),
        ("create", "credentials", true),
        ("update", "status", false),
    ] {
        let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = alice.post(reviews, &review(verb, subresource)).await.expect(201);
        let decided = answer.at(&["status", "allowed"]);
        assert_eq!(decided, Some(&allowed.into()), "{verb} {subresource}: {answer}");
    }
    alice.delete(&ci).await.expect(200);
}

/// Within this a change of connections shows.
pub(crate) const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// A workspace with the agent smith, and its logical cluster.
async fn smith(hub: &TestHub, spec: &str) -> (Client, ClusterName) {
    let workspace = hub.workspace("root:acme").await;
    workspace.bind("relay", "root", "relay.strait.dev").await;
    make_agent(&workspace, "smith", spec).await;
    let cluster = ClusterName::new(&cluster(&workspace).await).unwrap();
    (workspace, cluster)
}

/// An instance of smith.
fn member(hub: &TestHub, cluster: &ClusterName, instance: InstanceId) -> AgentIdentity {
    AgentIdentity::new(hub.hub().id().clone(), cluster.clone(), "smith", instance).unwrap()
}

fn any_member(hub: &TestHub, cluster: &ClusterName) -> AgentIdentity {
    member(hub, cluster, InstanceId::from_random(random_16(&SystemEntropy)))
}

pub(crate) fn connection(count: usize) -> Connected {
    Connected {
        peer: "192.0.2.7:4711".parse().unwrap(),
        since: jiff::Timestamp::now(),
        version: "0.3.0".into(),
        host: "agent-7f9".into(),
        count,
    }
}

pub(crate) fn offer(name: &str, hash: &str) -> Announced {
    let annotations = [("description".to_owned(), "build server".to_owned())];
    Announced {
        name: name.into(),
        r#type: "jenkins".into(),
        hash: hash.into(),
        ready: true,
        protocols: vec!["http1".into()],
        methods: vec!["GET".into()],
        annotations: BTreeMap::from(annotations),
        ..Announced::default()
    }
}

fn says(service: &Value, kind: &str, status: &str) -> bool {
    condition(service, kind).0 == status
}

#[tokio::test]
async fn what_an_agent_announces_becomes_objects_within_its_ceiling() {
    let hub = TestHub::start().await;
    let (acme, cluster) = smith(&hub, "{services: {allow: [\"jenkins/c*\"]}}").await;
    let told = hub.hub().told();
    let (one, other) = (any_member(&hub, &cluster), any_member(&hub, &cluster));
    let refused = told.offers(&one, vec![offer("ci", "h1"), offer("db", "h1")]).refused;
    assert_eq!((refused.len(), &*refused[0].0), (1, "db"));
    let made = acme.wait(SERVICES, "ci.smith", |_| true).await;
    for (path, expected) in [
        (&["spec", "type"][..], "jenkins"),
        (&["metadata", "labels", "strait.dev/type"], "jenkins"),
        (&["status", "annotations", "description"], "build server"),
    ] {
        assert_eq!(made.str_at(path), Some(expected), "{made}");
    }
    let owner = &made.array_at(&["metadata", "ownerReferences"])[0];
    let agent = acme.get(&format!("{AGENTS}/smith")).await.expect(200);
    assert_eq!(owner.str_at(&["uid"]), agent.str_at(&["metadata", "uid"]));
    assert!(says(&made, "Available", "True") && says(&made, "Degraded", "False"), "{made}");
    assert_eq!(names(&acme.get(SERVICES).await.expect(200)), ["ci.smith"]);
    let observed = |agent: &Value| agent.at(&["status", "observedServices"]) == Some(&1.into());
    acme.wait(AGENTS, "smith", observed).await;

    // People's part stays, whatever the agent says next; and how often it does so is bounded.
    let ci = format!("{SERVICES}/ci.smith");
    let exposed = yaml("{spec: {exposure: {raw: true}}}");
    acme.merge(&ci, &exposed).await.expect(200);
    let started = Instant::now();
    let mut events = acme.watch(&format!("{SERVICES}?watch=true")).await;
    assert_eq!(events.next().await.str_at(&["type"]), Some("ADDED"));
    for at in 0..100 {
        let hash = if at % 2 == 0 { "h2" } else { "h3" };
        told.offers(&other, vec![offer("ci", hash)]);
    }
    let event = events.next().await;
    let changed = event.get("object").unwrap();
    assert!(says(changed, "Degraded", "True"), "{changed}");
    assert_eq!(changed.at(&["spec", "exposure", "raw"]), Some(&true.into()));
    assert!(started.elapsed() > Duration::from_secs(3), "{:?}", started.elapsed());
    told.offers(&one, Vec::new());
    told.disconnected(&other, 0);
    let gone = acme.wait(SERVICES, "ci.smith", |ci| says(ci, "Available", "False")).await;
    assert!(says(&gone, "Announced", "False"));
    assert_eq!(gone.at(&["spec", "exposure", "raw"]), Some(&true.into()));
}

#[tokio::test]
async fn a_service_ends_with_its_agent_and_so_do_its_credentials() {
    let hub = TestHub::start().await;
    let (acme, cluster) = smith(&hub, "{}").await;
    let (told, one) = (hub.hub().told(), any_member(&hub, &cluster));
    told.offers(&one, vec![offer("ci", "h1")]);
    acme.wait(SERVICES, "ci.smith", |_| true).await;
    let old = token(&acme, "ci.smith").await;
    check(&hub, &old).unwrap();
    // The list goes at once, so it need not be read by a name.
    acme.delete(&format!("{SERVICES}/ci.smith")).await.expect(200);
    acme.wait(SERVICES, "ci.smith", |_| true).await;
    check(&hub, &old).unwrap();

    acme.delete(&format!("{AGENTS}/smith")).await.expect(200);
    acme.gone(SERVICES, "ci.smith").await;
    make_agent(&acme, "smith", "{}").await;
    told.offers(&one, vec![offer("ci", "h1")]);
    acme.wait(SERVICES, "ci.smith", |_| true).await;
    assert_eq!(refusal(&hub, &old).await.0, "CredentialScope");
    assert_eq!(refusal(&hub, &token(&acme, "ci.smith").await).await.0, "AgentOffline");
}

#[tokio::test]
async fn what_people_closed_is_not_opened_by_a_deletion() {
    let hub = TestHub::start().await;
    let (acme, cluster) = smith(&hub, "{}").await;
    let (told, one) = (hub.hub().told(), any_member(&hub, &cluster));
    told.offers(&one, vec![offer("ci", "h1")]);
    acme.wait(SERVICES, "ci.smith", |_| true).await;
    let ci = format!("{SERVICES}/ci.smith");
    for (closed, open) in [
        ("{spec: {exposure: {path: false}}}", "{spec: {exposure: {path: true}}}"),
        ("{spec: {limits: {concurrent: 1}}}", "{spec: {limits: {concurrent: 0}}}"),
    ] {
        acme.merge(&ci, &yaml(closed)).await.expect(200);
        let why = acme.delete(&ci).await.refused(403, "Forbidden");
        assert!(why.contains("set spec.exposure.path to true and spec.limits to 0 first"), "{why}");
        acme.delete(SERVICES).await.refused(403, "Forbidden");
        acme.get(&ci).await.expect(200);
        acme.merge(&ci, &yaml(open)).await.expect(200);
    }
    acme.delete(&ci).await.expect(200);
    acme.wait(SERVICES, "ci.smith", |_| true).await;
    let lines = list(&hub.directory().join("audit"), Filter::default()).unwrap();
    let deleted = lines
        .map(|line| line.unwrap().record)
        .find(|line| line.object.name == "ci.smith" && line.outcome.ends_with("deleted"));
    assert_eq!(deleted.unwrap().outcome, "relay.service.change deleted");
    // With its Agent it goes whatever people said.
    acme.merge(&ci, &yaml("{spec: {exposure: {path: false}}}")).await.expect(200);
    acme.delete(&format!("{AGENTS}/smith")).await.expect(200);
    acme.gone(SERVICES, "ci.smith").await;
}

#[tokio::test]
async fn connections_of_an_agent_show_within_two_seconds() {
    let hub = TestHub::start().await;
    let (acme, cluster) = smith(&hub, "{}").await;
    let installation = Installation::new();
    let join = crate::joining::token(&acme, "smith", "{}").await;
    installation.join(&hub, &join).await;
    let one = member(&hub, &cluster, installation.instance.clone());
    let told = hub.hub().told();
    let instance = |agent: &Value| agent.array_at(&["status", "instances"])[0].clone();
    let shows = |count: i64, state: &'static str| {
        move |agent: &Value| {
            let one = instance(agent);
            let own = one.at(&["connections"]).and_then(Value::as_i64).unwrap_or(0);
            (own, one.str_at(&["state"])) == (count, Some(state))
        }
    };
    let within = async |count: i64, state: &'static str| {
        let waited = acme.wait(AGENTS, "smith", shows(count, state));
        let agent = tokio::time::timeout(SHOWS_WITHIN, waited).await;
        agent.unwrap_or_else(|_| panic!("{count} {state} does not show in time"))
    };
    told.connected(&one, &connection(1));
    let agent = within(1, "Ready").await;
    assert!(says(&agent, "Connected", "True"));
    assert_eq!(instance(&agent).str_at(&["address"]), Some("192.0.2.7"));
    assert_eq!(instance(&agent).str_at(&["hub"]), Some(hub.hub().id().as_str()));
    told.connected(&one, &connection(2));
    told.round_trip(&one, Duration::from_millis(18));
    let agent = within(2, "Ready").await;
    assert_eq!(instance(&agent).at(&["rttMillis"]), Some(&18.into()));
    told.disconnected(&one, 1);
    within(1, "Ready").await;
    told.disconnected(&one, 0);
    let agent = within(0, "Lost").await;
    assert!(says(&agent, "Connected", "False"));

    // A hub that starts is connected to nobody, whatever the last one wrote.
    told.connected(&one, &connection(1));
    within(1, "Ready").await;
    let hub = hub.restart().await;
    let acme = hub.admin().within("root:acme");
    let waited = acme.wait(AGENTS, "smith", shows(0, "Ready"));
    tokio::time::timeout(SHOWS_WITHIN, waited).await.unwrap();
}
