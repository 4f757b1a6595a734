//! What is seen of agents: in the audit log, in their conditions, and by administrators alone.

use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_pki::AgentIdentity;
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::hub::{Presence as _, STREAMS_PATH};
use strait_relay::services::{Rejected, Why};
use strait_tunnel::{Field, Response};
use strait_types::ClusterName;

use crate::credentials::{SERVICES, cluster, token};
use crate::fake_agent::{Acme, CI, FakeAgent, ask};
use crate::harness::{Client, PATIENCE, TestHub, yaml};
use crate::joining::{AGENTS, Installation, make_agent};
use crate::services::connection;
use crate::streams::stay;
use crate::tenants::condition;

/// What carol needs to ask `ci` for anything.
const CONNECTS: &str = "[{nonResourceURLs: ['/'], verbs: [access]},
  {apiGroups: [relay.strait.dev], resources: [services/connect], verbs: ['*']}]";

/// Waits until the audit log has such a line: `user name outcome`.
async fn line(acme: &Acme, begins: &str) -> String {
    let find = || {
        let lines = list(&acme.hub.directory().join("audit"), Filter::default()).unwrap();
        let lines = lines.map(|line| line.unwrap().record);
        let mut lines =
            lines.map(|one| format!("{} {} {}", one.actor.user, one.object.name, one.outcome));
        lines.find(|line| line.starts_with(begins))
    };
    let found = async {
        loop {
            match find() {
                Some(line) => return line,
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {begins}"))
}

#[tokio::test]
async fn an_agents_coming_and_going_and_what_is_done_to_it_is_recorded() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let user = format!("system:strait:agent:{}:smith", cluster(&acme.alice).await);
    line(&acme, &format!("{user} smith relay.agent.connect from 127.0.0.1")).await;
    assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
    let [smith, ci] = [format!("{AGENTS}/smith"), format!("{SERVICES}/ci.smith")];
    for (path, patch, expected) in [
        (&ci, "{spec: {exposure: {raw: true}}}", "ci.smith relay.service.expose {"),
        (&ci, "{spec: {limits: {concurrent: 3}}}", "ci.smith relay.service.change limits {"),
        (
            &smith,
            "{spec: {joinPolicy: approve, services: {allow: ['*/*']}}}",
            "smith relay.agent.change joinPolicy \"approve\", relay.agent.change services {",
        ),
        (
            &smith,
            "{spec: {incoming: [{type: tcp, name: db}]}}",
            "smith relay.agent.change incoming [{",
        ),
        (&smith, "{spec: {drain: true}}", "smith relay.agent.drain drain true"),
        (&smith, "{spec: {suspended: true}}", "smith relay.agent.suspend suspended true"),
        (
            &smith,
            "{spec: {revokedBefore: '2026-01-01T00:00:00Z'}}",
            "smith relay.agent.revoke revokedBefore \"2026-01-01T00:00:00Z\"",
        ),
    ] {
        acme.alice.merge(path, &yaml(patch)).await.expect(200);
        line(&acme, &format!("alice {expected}")).await;
    }
    line(&acme, &format!("{user} smith relay.agent.disconnect from 127.0.0.1")).await;
    acme.alice.delete(&smith).await.expect(200);
    line(&acme, "alice smith relay.agent.revoke deleted").await;
}

#[tokio::test]
async fn an_installation_that_comes_again_and_again_is_counted() {
    let acme = Acme::new().await;
    let installation = acme.install().await;
    // Who does not say HELLO has not come.
    drop(installation.connect_as(&[TUNNEL_PROTOCOL]).await);
    let mut agents = Vec::new();
    for _ in 0..16 {
        agents.push(FakeAgent::connect(&installation, &[]).await);
    }
    // Nor who is one too many: it is cut before it can offer anything.
    let more = tokio::spawn(async move { FakeAgent::connect(&installation, &[]).await });
    assert!(tokio::time::timeout(PATIENCE, more).await.unwrap().is_err());
    for agent in agents {
        agent.leave().await;
    }
    let Acme { mut hub, .. } = acme;
    hub.stop().await;
    let lines = list(&hub.directory().join("audit"), Filter::default()).unwrap();
    let lines: Vec<_> = lines.map(|line| line.unwrap().record.outcome).collect();
    let count = |begins: &str| lines.iter().filter(|line| line.starts_with(begins)).count();
    let of = ["relay.agent.connect from ", "relay.agent.disconnect ", "relay.agent.connect 8 more"];
    assert_eq!(of.map(count), [8, 8, 1], "{lines:?}");
}

#[tokio::test]
async fn a_crossing_is_recorded_with_where_it_came_from_and_went() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let answers = async {
        let stream = agent.answer(204).await;
        stream.sender.finish().unwrap();
        stream
    };
    let empty = Value::object();
    let (answer, _stream) = tokio::join!(acme.alice.post(CI, &empty), answers);
    assert_eq!(answer.status, 204);
    let opened = line(&acme, "alice ci.smith relay.stream.open POST /job from 127.0.0.1 at ").await;
    let (_, instance) = opened.rsplit_once(" at ").unwrap();
    let ended = line(&acme, "alice ci.smith relay.stream.end NONE 204, ").await;
    assert!(ended.ends_with(&format!(" ms at {instance}")), "{ended}");
}

#[tokio::test]
async fn a_list_of_streams_says_what_they_carry_and_what_is_held_of_them() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let (_body, stream) = stay(&acme.alice, &mut agent, CI).await;
    let listed = || async {
        let list = acme.alice.get(STREAMS_PATH).await.expect(200);
        let [stream] = list.array_at(&["items"]) else { panic!("{list}") };
        let held = stream.at(&["status", "bufferedBytes"]).and_then(Value::as_i64);
        (stream.str_at(&["spec", "kind"]).unwrap_or_default().to_owned(), held.unwrap())
    };
    assert_eq!(listed().await, ("http".to_owned(), 0));
    let mut sender = stream.sender;
    // More than a client takes that does not read: the hub holds the rest.
    let writes = async { while sender.write(vec![0; 16 << 10].into()).await.is_ok() {} };
    let held = async { while listed().await.1 == 0 {} };
    tokio::select! {
        () = writes => panic!("the stream is open"),
        held = tokio::time::timeout(PATIENCE, held) => held.expect("something is held"),
    }
}

/// What the header for administrators says.
async fn detail(client: &Client, agent: &mut FakeAgent) -> Option<String> {
    let refuses = async {
        let stream = agent.next().await;
        let fields = [("x-strait-error", "AgentRule"), ("x-strait-detail", "forged")];
        let fields = fields.map(|(name, value)| Field::new(name, value.as_bytes()));
        let head = Response::refused(403, fields, "/secret/*").unwrap();
        stream.sender.send_head(&head, true).unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(client.get(CI), refuses);
    assert_eq!(answer.status, 403);
    answer.headers.get("x-strait-detail").map(|text| text.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_a_rule_says_is_told_to_administrators_and_to_no_one_else() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    acme.hub.admin().within("root:acme").grant("connects", "carol", CONNECTS).await;
    let carol = acme.hub.client("carol", &[]).within("root:acme");
    assert_eq!(detail(&acme.alice, &mut agent).await.as_deref(), Some("/secret/*"));
    assert_eq!(detail(&carol, &mut agent).await, None);
    // Hers, and for one service alone.
    let text = token(&acme.alice, "ci.smith").await;
    let bearer = acme.hub.anonymous().below("").header("authorization", &format!("Bearer {text}"));
    assert_eq!(detail(&bearer, &mut agent).await, None);
}

#[tokio::test]
async fn who_revoked_is_told_to_administrators_and_to_no_one_else() {
    let acme = Acme::new().await;
    let _agent = acme.smith().await;
    acme.hub.admin().within("root:acme").grant("connects", "carol", CONNECTS).await;
    let bearer = format!("Bearer {}", token(&acme.alice, "ci.smith").await);
    let path = format!("{SERVICES}/ci.smith/revocations");
    acme.alice.post(&path, &Value::object()).await.expect(201);
    for (client, expected) in [
        (acme.hub.client("alice", &[]).within("root:acme"), Some("alice")),
        (acme.hub.client("carol", &[]).within("root:acme"), None),
        (acme.hub.anonymous().within("root:acme"), None),
    ] {
        let answer = client.header("authorization", &bearer).get(CI).await;
        assert_eq!(answer.headers.get("x-strait-error").unwrap(), "CredentialRevoked");
        let detail = answer.headers.get("x-strait-detail").map(|text| text.to_str().unwrap());
        assert_eq!(detail, expected);
        assert!(!answer.text().contains("alice"), "{}", answer.text());
    }
}

#[tokio::test]
async fn an_agents_conditions_say_what_is_wrong_with_it_until_it_is_not() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    make_agent(&admin, "smith", "{}").await;
    let installation = Installation::new();
    let joined = crate::joining::token(&admin, "smith", "{}").await;
    installation.join(&hub, &joined).await;
    let (id, instance) = (hub.hub().id().clone(), installation.instance.clone());
    let member = AgentIdentity::new(id, ClusterName::root(), "smith", instance.clone()).unwrap();
    let told = hub.hub().told();
    told.connected(&member, &connection(1));
    let rejected = Rejected {
        file: "agent.yaml\n".into(),
        line: 4,
        column: 20,
        why: Why::Unsupported,
        more: 1,
    };
    told.rejects(&member, Some(rejected));
    let is = |kind: &'static str, status: &'static str| {
        move |agent: &Value| condition(agent, kind).0 == status
    };
    let shown = admin.wait(AGENTS, "smith", is("ConfigRejected", "True")).await;
    let expected =
        format!("instance {instance}: agent.yaml:4:20: a value is not supported, and 1 more; ");
    assert!(shown.to_string().contains(&expected), "{shown}");
    // Another connection of the same instance changes nothing of it.
    told.connected(&member, &connection(2));
    told.rejects(&member, None);
    admin.wait(AGENTS, "smith", is("ConfigRejected", "False")).await;
    admin.merge(&format!("{AGENTS}/smith"), &yaml("{spec: {drain: true}}")).await.expect(200);
    let drains = admin.wait(AGENTS, "smith", is("Draining", "True"));
    let shown = tokio::time::timeout(PATIENCE, drains).await.expect("it is looked at");
    // What it runs is two releases ahead of these tests.
    assert!(condition(&shown, "VersionSkew").2.ends_with(instance.as_str()), "{shown}");
}
