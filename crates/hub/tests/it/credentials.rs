//! Tokens for services: bound in every way, and ended in every way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_auth::{User, groups};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_relay::credential::{Asked, Scope, Subject};
use strait_relay::hub::Caller;
use strait_relay::message::Failure;
use strait_runtime::ManualClock;
use tokio::sync::mpsc;

use crate::harness::{Client, TestHub, yaml};
use crate::tenants::{ROLE_BINDINGS, ROLES, WORKSPACES};

pub(crate) const SERVICES: &str = "/apis/relay.strait.dev/v1alpha1/services";
const AGENTS: &str = "/apis/relay.strait.dev/v1alpha1/agents";
const REVOCATIONS: &str = "/relay/v1/revocations";

/// A workspace that serves services, and alice in it with every right.
async fn workspace(hub: &TestHub, path: &str) -> Client {
    let workspace = hub.workspace(path).await;
    workspace.bind("relay", "root", "relay.strait.dev").await;
    workspace.make_administrator("alice").await;
    for agent in ["smith", "jones"] {
        workspace.create(AGENTS, &named(agent)).await.expect(201);
    }
    for (name, agent) in [("ci", "smith"), ("argo", "smith"), ("ci", "jones")] {
        workspace.post(SERVICES, &service(name, agent)).await.expect(201);
    }
    hub.client("alice", &[]).within(path)
}

fn named(name: &str) -> Value {
    yaml(&format!("{{metadata: {{name: {name}}}}}"))
}

fn service(name: &str, agent: &str) -> Value {
    yaml(&format!(
        "{{apiVersion: relay.strait.dev/v1alpha1, kind: Service,
          metadata: {{name: {name}.{agent}}},
          spec: {{agent: {agent}, name: {name}, type: jenkins}}}}"
    ))
}

pub(crate) async fn cluster(client: &Client) -> String {
    let object = client.get("/apis/core.kcp.io/v1alpha1/logicalclusters/cluster").await;
    let object = object.expect(200);
    object.str_at(&["metadata", "annotations", "kcp.io/cluster"]).unwrap().to_owned()
}

pub(crate) async fn make(client: &Client, service: &str, options: &str) -> Value {
    client.post(&format!("{SERVICES}/{service}/credentials"), &yaml(options)).await.expect(201)
}

pub(crate) async fn token(client: &Client, service: &str) -> String {
    make(client, service, "{}").await.str_at(&["token"]).unwrap().to_owned()
}

const fn asked(cluster: Option<&str>) -> Asked<'_> {
    Asked {
        cluster,
        agent: "smith",
        service: "ci",
        service_type: Some("jenkins"),
        verb: "get",
        client: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    }
}

pub(crate) fn check(hub: &TestHub, token: &str) -> Result<Caller, Failure> {
    hub.hub().credentials().check(Some(token), &asked(None), Timestamp::now())
}

/// Why a token does not get to `ci` of smith, where it cannot: the reason, and the text.
pub(crate) async fn refusal(hub: &TestHub, token: &str) -> (String, String) {
    let client = hub.anonymous().below("").header("authorization", &format!("Bearer {token}"));
    let answer = client.get("/services/relay/smith/ci/").await;
    (answer.headers.get("x-strait-error").unwrap().to_str().unwrap().to_owned(), answer.text())
}

#[track_caller]
fn assert_revoked(hub: &TestHub, token: &str, by: &str) {
    match check(hub, token) {
        Err(Failure::CredentialRevoked { by: Some(own), .. }) => assert_eq!(own, by),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_good_for_its_service_and_nothing_else() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let (own, root) = (cluster(&alice).await, cluster(&hub.admin()).await);
    let options = "{ttl: 2h, verbs: [get, create], networks: [192.0.2.0/24]}";
    let made = make(&alice, "ci.smith", options).await;
    let (token, id) = (made.str_at(&["token"]).unwrap(), made.str_at(&["id"]).unwrap());
    let (credentials, now) = (hub.hub().credentials(), Timestamp::now());
    let caller = credentials.check(Some(token), &asked(Some(&own)), now).unwrap();
    assert_eq!((&*caller.user.name, caller.cluster.as_str()), ("alice", &*own));
    assert!(caller.user.is_in("system:authenticated"));
    assert_eq!(
        (&*caller.id, caller.expires.to_string().as_str()),
        (id, made.str_at(&["expires"]).unwrap())
    );
    assert_eq!(caller.expires.duration_since(now).as_hours(), 1);

    let base = || asked(Some(&own));
    let elsewhere = "198.51.100.1".parse().unwrap();
    for (asked, bound) in [
        (Asked { cluster: Some(&root), ..base() }, "another workspace"),
        (Asked { agent: "jones", ..base() }, "this is jones/ci"),
        (Asked { service: "argo", ..base() }, "this is smith/argo"),
        (Asked { service_type: Some("http"), ..base() }, "has type http"),
        (Asked { verb: "delete", ..base() }, "needs delete"),
        (Asked { client: elsewhere, ..base() }, "from 198.51.100.1"),
    ] {
        match credentials.check(Some(token), &asked, now) {
            Err(Failure::CredentialScope(scope)) => {
                assert!(scope.to_string().contains(bound), "{scope} {bound}");
            }
            other => panic!("{bound}: {other:?}"),
        }
    }
    let late = now + Duration::from_secs(3 * 3600);
    let expired = credentials.check(Some(token), &base(), late).unwrap_err();
    assert_eq!((expired.reason(), expired.status().as_u16()), ("CredentialExpired", 401));
    assert_eq!(credentials.check(None, &base(), now).unwrap_err(), Failure::CredentialMissing);
    let (signed, _) = token.rsplit_once('.').unwrap();
    for wrong in ["", "a.b.c", &token[1..], &format!("{signed}.{}", "A".repeat(86))] {
        let failure = credentials.check(Some(wrong), &base(), now).unwrap_err();
        assert_eq!(failure, Failure::CredentialInvalid, "{wrong}");
    }
    let other = TestHub::start().await;
    assert_eq!(check(&other, token).unwrap_err(), Failure::CredentialInvalid);
}

#[tokio::test]
async fn what_is_asked_of_a_token_is_bounded() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let made = make(&alice, "ci.smith", "{ttl: 100h}").await;
    assert_eq!(made.str_at(&["ttl"]), Some("1d"), "{made}");
    assert!(made.str_at(&["clipped"]).unwrap().contains("1d"));
    assert_eq!(make(&alice, "ci.smith", "{}").await.get("clipped"), None);
    let credentials = format!("{SERVICES}/ci.smith/credentials");
    for wrong in ["{ttl: soon}", "{verbs: [connect]}", "{networks: [everywhere]}"] {
        alice.post(&credentials, &yaml(wrong)).await.refused(400, "BadRequest");
    }
    let missing = format!("{SERVICES}/none.smith/credentials");
    alice.post(&missing, &yaml("{}")).await.refused(404, "NotFound");
}

#[tokio::test]
async fn nobody_makes_tokens_for_what_is_not_theirs() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let other = workspace(&hub, "root:other").await;
    let (bob, admin) = (hub.client("bob", &[]).within("root:other"), hub.admin());
    admin.within("root:other").delete(&format!("{ROLE_BINDINGS}/alice")).await;
    drop(other);
    let role =
        |name: &str, rule: &str| yaml(&format!("{{metadata: {{name: {name}}}, rules: [{rule}]}}"));
    let home = admin.within("root:other");
    let enter = "{nonResourceURLs: ['/'], verbs: [access]}";
    let one = "{apiGroups: [relay.strait.dev], resources: [services/credentials],
               resourceNames: [ci.smith], verbs: [create]}";
    home.create(ROLES, &role("one", &format!("{enter}, {one}"))).await.expect(201);
    let binding = "{metadata: {name: bob},
      roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: one},
      subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]}";
    home.create(ROLE_BINDINGS, &yaml(binding)).await.expect(201);

    let path = |service: &str, what: &str| format!("{SERVICES}/{service}/{what}");
    bob.post(&path("ci.smith", "credentials"), &yaml("{}")).await.expect(201);
    for (service, what) in
        [("argo.smith", "credentials"), ("ci.jones", "credentials"), ("ci.smith", "revocations")]
    {
        bob.post(&path(service, what), &yaml("{}")).await.refused(403, "Forbidden");
    }
    let across = bob.within("root:acme");
    across.post(&path("ci.smith", "credentials"), &yaml("{}")).await.refused(403, "Forbidden");
    across.post(&path("ci.smith", "revocations"), &yaml("{}")).await.refused(403, "Forbidden");
    // What leads everywhere is for operators.
    let everywhere = yaml("{user: bob}");
    alice.below("").post(REVOCATIONS, &everywhere).await.refused(403, "Forbidden");
    admin.below("").post(REVOCATIONS, &yaml("{}")).await.refused(400, "BadRequest");
    admin.below("").post(REVOCATIONS, &everywhere).await.expect(201);
}

#[tokio::test]
async fn a_revocation_ends_what_it_names_at_once_and_nothing_else() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let tenant = workspace(&hub, "root:other").await;
    let neighbour = token(&tenant, "ci.smith").await;
    let (told, mut tells) = mpsc::channel(64);
    hub.hub().credentials().on_revocation(Box::new(move |revocation| {
        let _ = told.try_send(revocation.subject.clone());
    }));
    let at = |path: &str| format!("{path}/revocations");
    let (service, agent) = (at(&format!("{SERVICES}/ci.smith")), at(&format!("{AGENTS}/smith")));
    for (path, what) in [
        (&service, "credential"),
        (&service, "user"),
        (&service, ""),
        (&agent, "user"),
        (&agent, ""),
        (&agent, "credential"),
    ] {
        let made = make(&alice, "ci.smith", "{}").await;
        let token = made.str_at(&["token"]).unwrap();
        check(&hub, token).unwrap();
        let body = match what {
            "credential" => object! {"credential": made.str_at(&["id"]).unwrap()},
            "user" => object! {"user": "alice"},
            _ => Value::object(),
        };
        let argo = self::token(&alice, "argo.smith").await;
        alice.post(path, &body).await.expect(201);
        assert_revoked(&hub, token, "alice");
        let subject = tokio::time::timeout(Duration::from_secs(2), tells.recv()).await;
        let subject = subject.expect("whoever holds streams is told within two seconds").unwrap();
        assert_eq!(matches!(subject, Subject::All(_)), what.is_empty(), "{subject:?}");
        // Another tenant's, and another service's unless the agent was meant.
        check(&hub, &neighbour).unwrap();
        let of_argo = Asked { service: "argo", ..asked(None) };
        let argo = hub.hub().credentials().check(Some(&argo), &of_argo, Timestamp::now());
        assert_eq!(argo.is_err(), path == &agent && what != "credential", "{path} {what}");
    }
    // What is made after it is good, also in the same second.
    check(&hub, &token(&alice, "ci.smith").await).unwrap();

    // No tenant reaches another's by its id or user name.
    let id = check(&hub, &neighbour).unwrap().id.to_string();
    alice.post(&service, &object! {"credential": id}).await.expect(201);
    alice.post(&agent, &object! {"user": "alice"}).await.expect(201);
    check(&hub, &neighbour).unwrap();
    let user = object! {"user": "alice"};
    hub.admin().below("").post(REVOCATIONS, &user).await.expect(201);
    assert_revoked(&hub, &neighbour, "admin");
}

#[tokio::test]
async fn keys_and_revocations_outlive_the_process_and_a_revoked_key_signs_no_more() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    // The first key is made once, whoever comes first.
    let (one, two, three) = tokio::join!(
        token(&alice, "ci.smith"),
        make(&alice, "ci.smith", "{}"),
        make(&alice, "ci.smith", "{}"),
    );
    let id = |made: &Value| made.str_at(&["id"]).unwrap().to_owned();
    let key = |made: &Value| id(made).split_once('.').unwrap().0.to_owned();
    assert_eq!(key(&two), key(&three));
    let body = object! {"credential": id(&two)};
    alice.post(&format!("{SERVICES}/ci.smith/revocations"), &body).await.expect(201);

    let hub = hub.restart().await;
    let alice = hub.client("alice", &[]).within("root:acme");
    check(&hub, &one).unwrap();
    assert_revoked(&hub, two.str_at(&["token"]).unwrap(), "alice");
    let by_key = object! {"key": key(&three)};
    hub.admin().below("").post(REVOCATIONS, &by_key).await.expect(201);
    assert_revoked(&hub, &one, "admin");
    let made = make(&alice, "ci.smith", "{}").await;
    assert_ne!(key(&made), key(&three));
    check(&hub, made.str_at(&["token"]).unwrap()).unwrap();
    assert_revoked(&hub, three.str_at(&["token"]).unwrap(), "admin");
}

#[tokio::test]
async fn a_workspace_made_again_under_its_old_name_honours_no_old_token() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let (before, old) = (cluster(&alice).await, token(&alice, "ci.smith").await);
    hub.admin().delete(&format!("{WORKSPACES}/acme")).await;
    hub.admin().gone(WORKSPACES, "acme").await;
    let alice = workspace(&hub, "root:acme").await;
    let now = cluster(&alice).await;
    assert_ne!(before, now);
    let credentials = hub.hub().credentials();
    let refused = credentials.check(Some(&old), &asked(Some(&now)), Timestamp::now());
    assert_eq!(refused.unwrap_err(), Failure::CredentialScope(Scope::Workspace));
    // By the short path it leads to where it was made, which is no more.
    let short = credentials.check(Some(&old), &asked(None), Timestamp::now()).unwrap();
    assert_eq!(short.cluster.as_str(), before);
}

#[tokio::test]
async fn an_agent_made_again_under_its_old_name_honours_no_old_token() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let admin = hub.admin().within("root:acme");
    let old = token(&alice, "ci.smith").await;
    assert_eq!(refusal(&hub, &old).await.0, "AgentOffline");
    // Its services first, so that nothing of the agent is left that could be ended with it.
    for (collection, name) in [(SERVICES, "ci.smith"), (SERVICES, "argo.smith"), (AGENTS, "smith")]
    {
        admin.delete(&format!("{collection}/{name}")).await;
        admin.gone(collection, name).await;
    }
    admin.create(AGENTS, &named("smith")).await.expect(201);
    admin.post(SERVICES, &service("ci", "smith")).await.expect(201);
    let (told, text) = refusal(&hub, &old).await;
    assert_eq!(told, "CredentialScope");
    assert!(text.contains("an agent that is no more"), "{text}");
    assert_eq!(refusal(&hub, &token(&alice, "ci.smith").await).await.0, "AgentOffline");
}

#[tokio::test]
async fn credentials_are_on_record_without_their_secrets() {
    let mut hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let made = make(&alice, "ci.smith", "{verbs: [get]}").await;
    let body = object! {"credential": made.str_at(&["id"]).unwrap()};
    alice.post(&format!("{SERVICES}/ci.smith/revocations"), &body).await.expect(201);
    let directory = hub.stop().await;
    let mut lines = String::new();
    for file in std::fs::read_dir(directory.path().join("audit")).unwrap() {
        lines += &String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap());
    }
    let id = made.str_at(&["id"]).unwrap();
    for event in ["relay.credential.create", "relay.credential.revoke"] {
        let line = lines.lines().find(|line| line.contains(event)).unwrap();
        assert!(line.contains(id) && line.contains("\"alice\""), "{line}");
    }
    assert!(!lines.contains(made.str_at(&["token"]).unwrap()));
}

#[tokio::test]
async fn a_token_opens_nothing_that_became_another_type_of_service() {
    let hub = TestHub::start().await;
    let alice = workspace(&hub, "root:acme").await;
    let admin = hub.admin().within("root:acme");
    let token = token(&alice, "ci.smith").await;
    assert_eq!(refusal(&hub, &token).await.0, "AgentOffline");
    admin.merge(&format!("{SERVICES}/ci.smith"), &yaml("{spec: {type: http}}")).await.expect(200);
    assert_eq!(refusal(&hub, &token).await.0, "CredentialScope");
}

#[tokio::test]
async fn a_certificate_is_as_good_as_it_is_new() {
    let hour = Duration::from_secs(3600);
    let clock = Arc::new(ManualClock::new(Timestamp::now() - hour));
    let hub = TestHub::start_at(clock.clone()).await;
    let (master, alice) = (User::authenticated("root", &[groups::MASTERS]), "alice");
    let revoke = async || {
        let revoked = object! {"user": alice};
        hub.hub().credentials().revoke_everywhere(&master, &revoked).await.unwrap();
    };
    revoke().await;
    clock.advance(hour);
    workspace(&hub, "root:acme").await;
    let admin = hub.admin().within("root:acme");
    let client = hub.client(alice, &[]).below("/clusters/root:acme/services/relay");
    let reason = async || {
        let answer = client.get("/smith/ci/").await;
        answer.headers.get("x-strait-error").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(reason().await, "AgentOffline");
    // What was made for an agent ends; who people are does not.
    for path in [format!("{AGENTS}/smith"), format!("{SERVICES}/ci.smith")] {
        admin.post(&format!("{path}/revocations"), &Value::object()).await.expect(201);
        assert_eq!(reason().await, "AgentOffline", "{path}");
    }
    revoke().await;
    assert_eq!(reason().await, "CredentialRevoked");
}
