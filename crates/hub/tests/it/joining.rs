//! Agents come in with a token, stay with a certificate, and may do no more than they need.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_pki::{ClientIdentity, PrivateKey};
use strait_relay::agent::{Facts, FrontDoor, JoinError};
use strait_relay::services::HubConfig;
use strait_relay::token::JoinToken;
use strait_relay::{JOIN_PATH, RENEW_PATH};
use strait_runtime::{ManualClock, SystemEntropy, random_16};
use strait_types::{ClusterName, InstanceId};

use crate::carriage::ways;
use crate::harness::{Answer, Client, TestHub, yaml};
use crate::tenants::condition;

pub(crate) const AGENTS: &str = "/apis/relay.strait.dev/v1alpha1/agents";

/// The one answer for whatever is wrong with a token.
const INVALID: &str = "join token unknown, used or expired";

pub(crate) async fn make_agent(client: &Client, name: &str, spec: &str) {
    let agent = format!("{{metadata: {{name: {name}}}, spec: {spec}}}");
    client.create(AGENTS, &yaml(&agent)).await.expect(201);
}

pub(crate) async fn token(client: &Client, agent: &str, options: &str) -> String {
    let made = client.create(&format!("{AGENTS}/{agent}/token"), &yaml(options)).await.expect(201);
    made.str_at(&["token"]).unwrap().to_owned()
}

/// An installation of an agent: its key and its name for itself.
pub(crate) struct Installation {
    pub(crate) key: PrivateKey,
    pub(crate) instance: InstanceId,
}

impl Installation {
    pub(crate) fn new() -> Self {
        let instance = InstanceId::from_random(random_16(&SystemEntropy));
        Self { key: PrivateKey::generate().unwrap(), instance }
    }

    pub(crate) fn request(&self, token: &str) -> Value {
        object! {
            "token": token,
            "csr": self.key.to_csr_pem().unwrap(),
            "instance": self.instance.as_str(),
            "version": "0.1.0",
            "host": "host-1",
        }
    }

    pub(crate) async fn ask(&self, hub: &TestHub, token: &str) -> Answer {
        hub.anonymous().below("").post(JOIN_PATH, &self.request(token)).await
    }

    /// What it says of itself where it is an agent's own code that joins.
    pub(crate) fn facts(&self) -> Facts {
        let (version, host) = ("0.1.0".into(), "host-1".into());
        Facts { instance: self.instance.clone(), version, host, ephemeral: false }
    }

    /// The name of its request for approval.
    pub(crate) fn request_name(&self, agent: &str) -> String {
        format!("{agent}.{}", self.instance)
    }

    /// The hash of its public key.
    pub(crate) fn key_hash(&self) -> String {
        self.key.spki_sha256().to_string()
    }

    /// Joins, and returns a client with the certificate.
    pub(crate) async fn join(&self, hub: &TestHub, token: &str) -> Client {
        let granted = self.ask(hub, token).await.expect(200);
        self.client(hub, &granted)
    }

    pub(crate) fn client(&self, hub: &TestHub, granted: &Value) -> Client {
        client_with(hub, granted, &self.key)
    }
}

fn client_with(hub: &TestHub, granted: &Value, key: &PrivateKey) -> Client {
    let certificate = granted.str_at(&["certificate"]).unwrap();
    let key = key.to_pem().unwrap();
    let identity = ClientIdentity::from_pem(certificate.as_bytes(), key.expose().as_bytes());
    hub.client_with(Some(identity.unwrap()))
}

/// Asserts a refusal and returns its message.
#[track_caller]
pub(crate) fn refused(answer: &Answer, code: u16, reason: &str) -> String {
    let body = answer.expect(code);
    assert_eq!(body.str_at(&["reason"]), Some(reason), "{}", answer.text());
    body.str_at(&["message"]).unwrap().to_owned()
}

async fn renew(client: &Client, key: &PrivateKey) -> Answer {
    let request = object! {"csr": key.to_csr_pem().unwrap()};
    client.below("").post(RENEW_PATH, &request).await
}

#[tokio::test]
async fn an_agent_joins_with_a_token_and_is_who_its_certificate_says() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = token(&hub.admin(), "smith", "{}").await;
    let installation = Installation::new();
    let granted = installation.ask(&hub, &token).await.expect(200);
    assert_eq!(granted.str_at(&["agent"]), Some("smith"));
    assert_eq!(granted.str_at(&["cluster"]), Some("root"));
    assert_eq!(granted.str_at(&["workspace"]), Some("root"));
    assert_eq!(granted.str_at(&["hub"]), Some(hub.hub().id().as_str()));
    assert_eq!(granted.str_at(&["ca"]), Some(&*hub.hub().ca()));
    let agent = installation.client(&hub, &granted);
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = agent.create(reviews, &yaml("{}")).await.expect(201);
    let user = |key: &str| review.at(&["status", "userInfo", key]).cloned().unwrap();
    assert_eq!(user("username"), "system:strait:agent:root:smith".into());
    assert!(user("groups").to_string().contains("system:strait:agents"));

    let report = |instance: &str| {
        object! {
            "apiVersion": "relay.strait.dev/v1alpha1",
            "kind": "AgentHeartbeat",
            "instance": instance,
            "version": "0.2.0",
            "state": "Ready",
        }
    };
    let heartbeat = format!("{AGENTS}/smith/heartbeat");
    let own = report(installation.instance.as_str());
    let answer = agent.post(&heartbeat, &own).await.expect(201);
    assert_eq!(answer.str_at(&["path"]), Some("root"));
    let object = hub.admin().get(&format!("{AGENTS}/smith")).await.expect(200);
    assert_eq!(condition(&object, "Connected").0, "True");
    let [instance] = object.array_at(&["status", "instances"]) else {
        panic!("one instance: {object}");
    };
    assert_eq!(instance.str_at(&["id"]), Some(installation.instance.as_str()));
    assert_eq!(instance.str_at(&["version"]), Some("0.2.0"));
    assert_eq!(instance.str_at(&["state"]), Some("Ready"));
    // For another installation nobody reports, nor does who is no agent.
    let other = Installation::new();
    agent.post(&heartbeat, &report(other.instance.as_str())).await.refused(400, "BadRequest");
    hub.admin().post(&heartbeat, &own).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let hub = TestHub::start().await;
    let root = hub.admin();
    for agent in ["smith", "jones", "gone", "idle"] {
        make_agent(&root, agent, "{}").await;
    }
    let good: JoinToken = token(&root, "smith", "{}").await.parse().unwrap();
    let changed = |change: &dyn Fn(&mut JoinToken)| {
        let mut token = good.clone();
        change(&mut token);
        token.reveal()
    };
    let used = token(&root, "smith", "{uses: 1}").await;
    Installation::new().join(&hub, &used).await;
    let of_gone = token(&root, "gone", "{}").await;
    root.delete(&format!("{AGENTS}/gone")).await.expect(200);
    // Made anew under its name, it has none of its old tokens.
    make_agent(&root, "gone", "{}").await;
    root.merge(&format!("{AGENTS}/idle"), &yaml("{spec: {suspended: true}}")).await.expect(200);
    let wrong_secret = strait_types::Redacted::new([7; 32]);
    let tokens = [
        String::new(),
        "sj1.".to_owned(),
        "sj1.e30".to_owned(),
        "x".repeat(5000),
        changed(&|token| token.id = "unknown".into()),
        changed(&|token| token.secret = wrong_secret.clone()),
        changed(&|token| token.agent = "jones".into()),
        changed(&|token| token.agent = "absent".into()),
        // Of an agent that is suspended nothing is told without its token.
        changed(&|token| token.agent = "idle".into()),
        changed(&|token| token.cluster = ClusterName::new("absent").unwrap()),
        changed(&|token| token.cluster = ClusterName::system_admin()),
        of_gone,
    ];
    let mut bodies = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let from = u8::try_from(at + 2).unwrap();
        let request = Installation::new().request(token);
        let answer = hub.anonymous().from(from).below("").post(JOIN_PATH, &request).await;
        assert_eq!(refused(&answer, 403, "JoinTokenInvalid"), INVALID, "{at}");
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    // Whoever has one that was good is told why it is good no more.
    let answer = Installation::new().ask(&hub, &used).await;
    let message = refused(&answer, 403, "JoinTokenInvalid");
    assert!(message.starts_with("token was used at 20"), "{message}");
    assert!(message.ends_with("Z by host-1; make a new one"), "{message}");
    // Nothing of that used up the good one.
    Installation::new().join(&hub, &good.reveal()).await;
    let idle = root.get(&format!("{AGENTS}/idle")).await.expect(200);
    assert!(idle.array_at(&["status", "instances"]).is_empty());
}

#[tokio::test]
async fn a_token_of_another_hub_is_refused_on_both_sides() {
    let (hub, other) = (TestHub::start().await, TestHub::start().await);
    make_agent(&other.admin(), "smith", "{}").await;
    let foreign = token(&other.admin(), "smith", "{}").await;
    let answer = Installation::new().ask(&hub, &foreign).await;
    let message = refused(&answer, 403, "JoinTokenForeign");
    assert_eq!(message, "this token was made by another hub");
    // The agent does not even hand it over.
    let (ways, anyhow) = (ways(), HubConfig::default());
    let installation = Installation::new();
    let facts = installation.facts();
    let address = hub.hub().address().to_string();
    let door = FrontDoor { address: Some(address.clone()), ca: None };
    let foreign: JoinToken = foreign.parse().unwrap();
    let error = door.join(&foreign, &installation.key, &facts, (&ways, &anyhow)).await.unwrap_err();
    assert!(matches!(error, JoinError::NotTrusted { .. }) && error.is_final(), "{error:?}");
    let expected = format!("{address} is not the hub that made the token");
    assert!(error.to_string().starts_with(&expected), "{error}");
    let door = FrontDoor::default();
    let membership =
        door.join(&foreign, &installation.key, &facts, (&ways, &anyhow)).await.unwrap();
    assert_eq!(membership.agent, "smith");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let short = token(&hub.admin(), "smith", "{ttl: 30s}").await;
    let long = token(&hub.admin(), "smith", "{ttl: 10m}").await;
    clock.advance(Duration::from_secs(31));
    let answer = Installation::new().ask(&hub, &short).await;
    let message = refused(&answer, 403, "JoinTokenInvalid");
    assert_eq!(message, "token expired 1s ago; make a new one");
    Installation::new().join(&hub, &long).await;
    for options in ["{ttl: 0s}", "{ttl: 8d}", "{ttl: soon}", "{uses: 0}", "{uses: 101}"] {
        let path = format!("{AGENTS}/smith/token");
        hub.admin().create(&path, &yaml(options)).await.refused(400, "BadRequest");
    }
}

#[tokio::test]
async fn of_two_agents_that_race_with_one_token_exactly_one_wins() {
    const ROUNDS: u8 = 100;
    let hub = TestHub::start().await;
    for round in 0..ROUNDS {
        let name = format!("a{round}");
        make_agent(&hub.admin(), &name, "{}").await;
        let token = token(&hub.admin(), &name, "{}").await;
        let client = hub.anonymous().from(round + 2).below("");
        let racers = [Installation::new(), Installation::new()];
        let [first, second] = racers.each_ref().map(|racer| racer.request(&token));
        let (first, second) =
            tokio::join!(client.post(JOIN_PATH, &first), client.post(JOIN_PATH, &second));
        let mut codes = [first.status.as_u16(), second.status.as_u16()];
        codes.sort_unstable();
        assert_eq!(codes, [200, 403], "round {round}: {} {}", first.text(), second.text());
        let agent = hub.admin().get(&format!("{AGENTS}/{name}")).await.expect(200);
        assert_eq!(agent.array_at(&["status", "instances"]).len(), 1, "round {round}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_a_burnt_use_stays_burnt_over_a_restart() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = token(&hub.admin(), "smith", "{}").await;
    let installation = Installation::new();
    installation.join(&hub, &token).await;
    let hub = hub.restart().await;
    let again = installation.join(&hub, &token).await;
    again.get(&format!("{AGENTS}/smith")).await.expect(200);
    let agent = hub.admin().get(&format!("{AGENTS}/smith")).await.expect(200);
    assert_eq!(agent.array_at(&["status", "instances"]).len(), 1);
    // Another key, or another installation with the same key, is another use.
    let other_key = Installation { key: PrivateKey::generate().unwrap(), ..installation };
    refused(&other_key.ask(&hub, &token).await, 403, "JoinTokenInvalid");
    let elsewhere = Installation { key: installation.key, ..Installation::new() };
    refused(&elsewhere.ask(&hub, &token).await, 403, "JoinTokenInvalid");
}

#[tokio::test]
async fn a_key_belongs_to_one_agent() {
    let hub = TestHub::start().await;
    for agent in ["smith", "jones"] {
        make_agent(&hub.admin(), agent, "{}").await;
    }
    let other = hub.workspace("root:other").await;
    other.bind("relay", "root", "relay.strait.dev").await;
    make_agent(&other, "smith", "{}").await;
    let mine = Installation::new();
    mine.join(&hub, &token(&hub.admin(), "smith", "{}").await).await;
    let same_key = Installation { instance: Installation::new().instance, ..mine };
    for token in [
        token(&hub.admin(), "jones", "{}").await,
        // The same name in another workspace is another agent.
        token(&other, "smith", "{}").await,
    ] {
        refused(&same_key.ask(&hub, &token).await, 403, "KeyInUse");
        // That burnt nothing.
        let own = Installation::new();
        let client = own.join(&hub, &token).await;
        refused(&renew(&client, &same_key.key).await, 403, "KeyInUse");
        renew(&client, &own.key).await.expect(200);
    }
}

#[tokio::test]
async fn no_more_installations_join_than_the_agent_allows_however_many_try() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{maxInstances: 2}").await;
    let token = token(&hub.admin(), "smith", "{uses: 6}").await;
    let tries: Vec<_> = (0..6_u8)
        .map(|number| {
            let client = hub.anonymous().from(number + 2).below("");
            let request = Installation::new().request(&token);
            tokio::spawn(async move { client.post(JOIN_PATH, &request).await })
        })
        .collect();
    let mut joined = 0;
    for answer in tries {
        let answer = answer.await.unwrap();
        match answer.status.as_u16() {
            200 => joined += 1,
            _ => drop(refused(&answer, 409, "TooManyInstances")),
        }
    }
    assert_eq!(joined, 2);
    let agent = hub.admin().get(&format!("{AGENTS}/smith")).await.expect(200);
    assert_eq!(agent.array_at(&["status", "instances"]).len(), 2);
}

#[tokio::test]
async fn a_pod_that_is_gone_leaves_its_place_to_the_next() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{maxInstances: 2}").await;
    let token = token(&hub.admin(), "smith", "{uses: 5}").await;
    let pods = [(); 3].map(|()| Installation::new());
    let ask = async |pod: &Installation, ephemeral: bool| {
        let mut request = pod.request(&token);
        request.set(&["ephemeral"], ephemeral);
        hub.anonymous().below("").post(JOIN_PATH, &request).await
    };
    Installation::new().join(&hub, &token).await;
    let first = pods[0].client(&hub, &ask(&pods[0], true).await.expect(200));
    refused(&ask(&pods[1], true).await, 409, "TooManyInstances");
    clock.advance(Duration::from_secs(11 * 60));
    ask(&pods[1], true).await.expect(200);
    let object = format!("{AGENTS}/smith");
    first.get(&object).await.refused(401, "Unauthorized");
    clock.advance(Duration::from_secs(9 * 60));
    refused(&ask(&pods[2], true).await, 409, "TooManyInstances");
    let agent = hub.admin().get(&object).await.expect(200);
    let ids = agent.array_at(&["status", "instances"]).iter();
    let ids: Vec<_> = ids.filter_map(|own| own.str_at(&["id"])).collect();
    assert!(ids.len() == 2 && ids.contains(&pods[1].instance.as_str()), "{ids:?}");
}

#[tokio::test]
async fn a_certificate_is_honoured_and_renewed_only_as_the_agent_object_says() {
    let hub = TestHub::start().await;
    let object = format!("{AGENTS}/smith");
    let root = hub.admin();
    make_agent(&root, "smith", "{}").await;
    let installation = Installation::new();
    let token = token(&root, "smith", "{}").await;
    let granted = installation.ask(&hub, &token).await.expect(200);
    let agent = installation.client(&hub, &granted);
    // Renewed for a new key; the old one is honoured until it ends.
    let next_key = PrivateKey::generate().unwrap();
    let renewed = renew(&agent, &next_key).await.expect(200);
    assert_eq!(renewed.str_at(&["agent"]), Some("smith"));
    let next = client_with(&hub, &renewed, &next_key);
    for client in [&agent, &next] {
        client.get(&object).await.expect(200);
    }
    let stored = root.get(&object).await.expect(200);
    let instance = &stored.array_at(&["status", "instances"])[0];
    let serial = instance.str_at(&["certificate", "serial"]).unwrap();
    let serials = format!("{{spec: {{revokedSerials: ['{serial}']}}}}");
    root.merge(&object, &yaml(&serials)).await.expect(200);
    agent.get(&object).await.expect(200);
    next.get(&object).await.refused(401, "Unauthorized");
    refused(&renew(&next, &next_key).await, 403, "CertificateRefused");
    for (patch, why) in [
        ("{spec: {suspended: true}}", "the agent is suspended"),
        ("{spec: {suspended: null, revokedBefore: '2999-01-01T00:00:00Z'}}", "was revoked"),
    ] {
        root.merge(&object, &yaml(patch)).await.expect(200);
        let message = agent.get(&object).await.refused(401, "Unauthorized");
        assert!(message.contains(why), "{message}");
        let message = refused(&renew(&agent, &installation.key).await, 403, "CertificateRefused");
        assert!(message.contains(why), "{message}");
    }
    root.merge(&object, &yaml("{spec: {revokedBefore: null}}")).await.expect(200);
    agent.get(&object).await.expect(200);
    // A new agent of the same name does not know the old one's installations.
    root.delete(&object).await.expect(200);
    agent.get(&object).await.refused(401, "Unauthorized");
    refused(&renew(&agent, &installation.key).await, 403, "CertificateRefused");
    make_agent(&root, "smith", "{}").await;
    agent.get(&object).await.refused(401, "Unauthorized");
    refused(&renew(&agent, &installation.key).await, 403, "CertificateRefused");
    // Who is no agent renews nothing.
    refused(&renew(&root, &installation.key).await, 403, "CertificateRefused");
    renew(&hub.anonymous(), &installation.key).await.expect(403);
}

#[tokio::test]
async fn a_certificate_that_ended_lately_is_renewed_and_one_that_ended_long_ago_is_not() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    make_agent(&hub.admin(), "smith", "{certificateTTL: 1h}").await;
    let token = token(&hub.admin(), "smith", "{}").await;
    let installation = Installation::new();
    let agent = installation.join(&hub, &token).await;
    let day = Duration::from_secs(24 * 3600);
    clock.advance(2 * day);
    agent.get(&format!("{AGENTS}/smith")).await.refused(401, "Unauthorized");
    renew(&agent, &PrivateKey::generate().unwrap()).await.expect(200);
    clock.advance(6 * day);
    refused(&renew(&agent, &installation.key).await, 403, "CertificateRefused");
}

#[tokio::test]
async fn an_address_that_tries_too_often_waits_and_others_do_not() {
    let hub = TestHub::start().await;
    let here = hub.anonymous().below("");
    let request = Installation::new().request("sj1.x");
    for _ in 0..10 {
        refused(&here.post(JOIN_PATH, &request).await, 403, "JoinTokenInvalid");
    }
    refused(&here.post(JOIN_PATH, &request).await, 429, "TooManyRequests");
    let there = here.from(2);
    refused(&there.post(JOIN_PATH, &request).await, 403, "JoinTokenInvalid");
    // Who has a token has turns of their own: behind an ingress all have one address.
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = token(&hub.admin(), "smith", "{uses: 2}").await;
    Installation::new().join(&hub, &token).await;
    let request = Installation::new().request(&token);
    let mut answer = here.post(JOIN_PATH, &request).await;
    for _ in 0..200 {
        if answer.status.as_u16() != 200 {
            break;
        }
        answer = here.post(JOIN_PATH, &request).await;
    }
    let message = refused(&answer, 429, "TooManyRequests");
    assert_eq!(message, "too many attempts to join with this token; try again in a minute");
}

#[tokio::test]
async fn malformed_requests_to_join_are_refused() {
    let hub = TestHub::start().await;
    make_agent(&hub.admin(), "smith", "{}").await;
    let token = token(&hub.admin(), "smith", "{}").await;
    let door = hub.anonymous().below("");
    let good = Installation::new().request(&token);
    for (field, value) in [("csr", "x"), ("csr", ""), ("instance", ""), ("instance", "../x")] {
        let mut request = good.clone();
        request.set(&[field], value);
        refused(&door.post(JOIN_PATH, &request).await, 400, "BadRequest");
    }
    for body in ["", "{", "[]"] {
        let answer = door.send_bytes(Method::POST, JOIN_PATH, Bytes::from(body)).await;
        refused(&answer, 400, "BadRequest");
    }
    let large = Bytes::from(vec![b' '; 65 << 10]);
    let answer = door.from(2).send_bytes(Method::POST, JOIN_PATH, large).await;
    answer.refused(413, "RequestEntityTooLarge");
    door.get(JOIN_PATH).await.refused(405, "MethodNotAllowed");
    // None of that used the token.
    door.from(2).post(JOIN_PATH, &good).await.expect(200);
}
