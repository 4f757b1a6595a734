//! Agents whose joining a person approves: nobody is certified without, and a person's word
//! changes what it says and nothing else.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_runtime::ManualClock;

use crate::harness::{Answer, Client, TestHub, names, yaml};
use crate::joining::{AGENTS, Installation, make_agent, refused, token};

const REQUESTS: &str = "/apis/relay.strait.dev/v1alpha1/certificaterequests";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A hub with an agent that is to be approved, and a token for it.
async fn approved(hub: &TestHub, uses: u8) -> String {
    make_agent(&hub.admin(), "smith", "{joinPolicy: approve}").await;
    token(&hub.admin(), "smith", &format!("{{uses: {uses}}}")).await
}

/// Asserts that it waits, and returns its request's name.
#[track_caller]
fn waits(answer: &Answer) -> String {
    let body = answer.expect(202);
    assert_eq!(body.at(&["retryAfter"]).and_then(Value::as_i64), Some(5));
    body.str_at(&["request"]).unwrap().to_owned()
}

async fn decide(client: &Client, name: &str, kind: &str) -> Answer {
    let word = yaml(&format!("{{type: {kind}, message: as agreed}}"));
    client.post(&format!("{REQUESTS}/{name}/approval"), &word).await
}

fn decision(request: &Value) -> Option<&str> {
    request.array_at(&["status", "conditions"]).first()?.str_at(&["type"])
}

#[tokio::test]
async fn a_person_approves_and_only_the_key_that_asked_is_certified() {
    let hub = TestHub::start().await;
    let token = approved(&hub, 2).await;
    let (ours, other) = (Installation::new(), Installation::new());
    let name = waits(&ours.ask(&hub, &token).await);
    assert_eq!(name, format!("smith.{}", ours.instance));
    let others = waits(&other.ask(&hub, &token).await);
    // Asking again is the same request.
    assert_eq!(waits(&ours.ask(&hub, &token).await), name);
    let root = hub.admin();
    assert_eq!(names(&root.get(REQUESTS).await.expect(200)).len(), 2);
    let before = root.get(&format!("{REQUESTS}/{others}")).await.expect(200);
    let agent = root.get(&format!("{AGENTS}/smith")).await.expect(200);
    assert!(agent.array_at(&["status", "instances"]).is_empty());

    let stored = root.get(&format!("{REQUESTS}/{name}")).await.expect(200);
    assert_eq!(stored.str_at(&["spec", "host"]), Some("host-1"));
    assert_eq!(stored.str_at(&["spec", "key"]), Some(&*ours.key_hash()));
    // Who looked at another key than asks now decides nothing.
    let word = yaml("{type: Approved, key: 0a0a}");
    assert_eq!(root.post(&format!("{REQUESTS}/{name}/approval"), &word).await.status, 409);
    let said = decide(&root, &name, "Approved").await.expect(201);
    assert_eq!(
        (decision(&said), said.str_at(&["status", "decidedBy"])),
        (Some("Approved"), Some("admin"))
    );
    assert_eq!(said.get("spec"), stored.get("spec"));
    // That changed that request and nothing else.
    assert_eq!(root.get(&format!("{REQUESTS}/{others}")).await.expect(200), before);
    assert_eq!(root.get(&format!("{AGENTS}/smith")).await.expect(200), agent);
    waits(&other.ask(&hub, &token).await);
    // Another key under its name is another's.
    let thief = Installation { instance: ours.instance.clone(), ..Installation::new() };
    refused(&thief.ask(&hub, &token).await, 409, "JoinRequestExists");

    let client = ours.join(&hub, &token).await;
    client.get(&format!("{AGENTS}/smith")).await.expect(200);
    // Its answer may be lost on the way.
    ours.join(&hub, &token).await;
    // Said again it is the same; the contrary is too late.
    decide(&root, &name, "Approved").await.expect(201);
    decide(&root, &name, "Denied").await.refused(409, "Conflict");
    let agent = root.get(&format!("{AGENTS}/smith")).await.expect(200);
    assert_eq!(agent.array_at(&["status", "instances"]).len(), 1);
}

#[tokio::test]
async fn who_may_not_approve_does_not() {
    let hub = TestHub::start().await;
    let acme = hub.workspace("root:acme").await;
    acme.bind("relay", "root", "relay.strait.dev").await;
    make_agent(&acme, "smith", "{joinPolicy: approve}").await;
    let token = token(&acme, "smith", "{uses: 2}").await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &token).await);
    let all = "[{apiGroups: [relay.strait.dev], resources: [certificaterequests, certificaterequests/status, agents],
        verbs: ['*']}, {nonResourceURLs: ['/'], verbs: [access]}]";
    acme.grant("editor", "editor", all).await;
    let one = format!(
        "[{{apiGroups: [relay.strait.dev], resources: [certificaterequests/approval], resourceNames: ['{name}'],
        verbs: [create]}}, {{nonResourceURLs: ['/'], verbs: [access]}}]"
    );
    acme.grant("approver", "approver", &one).await;
    let within = |user: &str| hub.client(user, &[]).within("root:acme");
    // Whoever may do everything to the object may not approve it, nor write it.
    let editor = within("editor");
    let path = format!("{REQUESTS}/{name}");
    decide(&editor, &name, "Approved").await.refused(403, "Forbidden");
    let stored = editor.get(&path).await.expect(200);
    for client in [&editor, &acme] {
        let patch = yaml(
            "{status: {conditions: [{type: Approved, status: 'True', reason: a, message: b,
            lastTransitionTime: '2026-01-01T00:00:00Z'}]}}",
        );
        client.merge(&format!("{path}/status"), &patch).await.refused(403, "Forbidden");
        client.merge(&path, &yaml("{metadata: {labels: {a: b}}}")).await.refused(403, "Forbidden");
        let other = yaml(&format!("{{spec: {{key: '{}'}}}}", "0".repeat(64)));
        client.merge(&path, &other).await.refused(403, "Forbidden");
        let mut new = stored.clone();
        new.set(&["metadata"], yaml("{name: smith.x}"));
        client.post(REQUESTS, &new).await.refused(403, "Forbidden");
    }
    acme.grant("nobody", "nobody", "[{nonResourceURLs: ['/'], verbs: [access]}]").await;
    within("nobody")
        .post(&format!("{path}/approval"), &yaml("{type: Approved}"))
        .await
        .refused(403, "Forbidden");
    hub.anonymous()
        .within("root:acme")
        .post(&format!("{path}/approval"), &yaml("{type: Approved}"))
        .await
        .refused(403, "Forbidden");
    // In another workspace it is not, whatever one may do there.
    decide(&hub.admin(), &name, "Approved").await.refused(404, "NotFound");
    // An agent does not approve, whatever RBAC says of it.
    make_agent(&acme, "jones", "{}").await;
    let jones =
        Installation::new().join(&hub, &crate::joining::token(&acme, "jones", "{}").await).await;
    let user = format!("system:strait:agent:{}:jones", acme.cluster().await);
    acme.grant("jones", &user, "[{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]").await;
    let why = decide(&jones.within("root:acme"), &name, "Approved").await.refused(403, "Forbidden");
    assert!(why.contains("an agent does not decide"), "{why}");
    for word in ["{}", "{type: Maybe}", "{type: 1}"] {
        acme.post(&format!("{path}/approval"), &yaml(word)).await.refused(400, "BadRequest");
    }
    assert_eq!(acme.get(&path).await.expect(200), stored);
    waits(&ours.ask(&hub, &token).await);
    // Who may approve this one may do nothing else.
    let approver = within("approver");
    approver.get(&path).await.refused(403, "Forbidden");
    decide(&approver, "smith.other", "Approved").await.refused(403, "Forbidden");
    decide(&approver, &name, "Approved").await.expect(201);
    ours.join(&hub, &token).await;
    approver.delete(&path).await.refused(403, "Forbidden");
}

#[tokio::test]
async fn whoever_is_denied_forgotten_or_withdrawn_is_told_so() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    let token = approved(&hub, 3).await;
    let root = hub.admin();
    let [denied, forgotten, withdrawn] = [(); 3].map(|()| Installation::new());
    for one in [&denied, &forgotten, &withdrawn] {
        waits(&one.ask(&hub, &token).await);
    }
    decide(&root, &denied.request_name("smith"), "Denied").await.expect(201);
    let message = refused(&denied.ask(&hub, &token).await, 403, "JoinDenied");
    assert!(message.contains("a person denied it"), "{message}");
    decide(&root, &denied.request_name("smith"), "Approved").await.refused(409, "Conflict");
    root.delete(&format!("{REQUESTS}/{}", withdrawn.request_name("smith"))).await.expect(200);
    // A milder policy does not bring it back.
    for policy in ["approve", "token"] {
        let patch = format!("{{spec: {{joinPolicy: {policy}}}}}");
        root.merge(&format!("{AGENTS}/smith"), &yaml(&patch)).await.expect(200);
        refused(&withdrawn.ask(&hub, &token).await, 403, "JoinRequestGone");
    }
    clock.advance(6 * DAY);
    assert_eq!(forgotten.ask(&hub, &token).await.status, 202);
    clock.advance(2 * DAY);
    refused(&forgotten.ask(&hub, &token).await, 403, "JoinRequestExpired");
    let late = decide(&root, &forgotten.request_name("smith"), "Approved").await;
    late.refused(409, "Conflict");
    clock.advance(30 * DAY);
    root.gone(REQUESTS, &forgotten.request_name("smith")).await;
    refused(&forgotten.ask(&hub, &token).await, 403, "JoinTokenInvalid");
}

#[tokio::test]
async fn a_request_outlives_its_token_and_the_hub_in_every_state_and_takes_one_use() {
    let hub = TestHub::start().await;
    let token = approved(&hub, 1).await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &token).await);
    let hub = hub.restart().await;
    assert_eq!(waits(&ours.ask(&hub, &token).await), name);
    refused(&Installation::new().ask(&hub, &token).await, 403, "JoinTokenInvalid");
    decide(&hub.admin(), &name, "Approved").await.expect(201);
    let hub = hub.restart().await;
    ours.join(&hub, &token).await;
    let hub = hub.restart().await;
    let client = ours.join(&hub, &token).await;
    client.get(&format!("{AGENTS}/smith")).await.expect(200);
    refused(&Installation::new().ask(&hub, &token).await, 403, "JoinTokenInvalid");
}

#[tokio::test]
async fn approval_may_come_long_after_the_token_ended() {
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let hub = TestHub::start_at(clock.clone()).await;
    let token = approved(&hub, 2).await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &token).await);
    clock.advance(2 * DAY);
    assert_eq!(ours.ask(&hub, &token).await.status, 202);
    // For nobody else is it good.
    refused(&Installation::new().ask(&hub, &token).await, 403, "JoinTokenInvalid");
    decide(&hub.admin(), &name, "Approved").await.expect(201);
    clock.advance(6 * DAY);
    ours.ask(&hub, &token).await.expect(200);
    // What ended does not stand in the way of new ones.
    for _ in 0..16 {
        crate::joining::token(&hub.admin(), "smith", "{}").await;
    }
}

#[tokio::test]
async fn another_token_is_left_for_another() {
    let hub = TestHub::start().await;
    let first = approved(&hub, 1).await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &first).await);
    let second = token(&hub.admin(), "smith", "{}").await;
    assert_eq!(waits(&ours.ask(&hub, &second).await), name);
    let thief = Installation { instance: ours.instance.clone(), ..Installation::new() };
    refused(&thief.ask(&hub, &second).await, 409, "JoinRequestExists");
    decide(&hub.admin(), &name, "Approved").await.expect(201);
    refused(&thief.ask(&hub, &second).await, 409, "JoinRequestExists");
    ours.join(&hub, &second).await;
    // It was not used for any of that.
    waits(&Installation::new().ask(&hub, &second).await);
}

#[tokio::test]
async fn no_more_wait_than_may_and_who_is_turned_away_keeps_its_use() {
    const MAX: usize = 16;
    let hub = TestHub::start().await;
    let token = approved(&hub, 20).await;
    let tries: Vec<_> = (0..MAX + 3)
        .map(|number| {
            let client = hub.anonymous().from(u8::try_from(number + 2).unwrap()).below("");
            let installation = Installation::new();
            let request = installation.request(&token);
            tokio::spawn(async move {
                (client.post(strait_relay::JOIN_PATH, &request).await, installation)
            })
        })
        .collect();
    let (mut waiting, mut away) = (Vec::new(), Vec::new());
    for one in tries {
        let (answer, installation) = one.await.unwrap();
        match answer.status.as_u16() {
            202 => waiting.push(installation),
            _ => {
                refused(&answer, 429, "TooManyWaiting");
                away.push(installation);
            }
        }
    }
    assert_eq!((waiting.len(), away.len()), (MAX, 3));
    let root = hub.admin();
    assert_eq!(names(&root.get(REQUESTS).await.expect(200)).len(), MAX);
    for (denied, turn) in waiting.iter().zip(&away) {
        decide(&root, &denied.request_name("smith"), "Denied").await.expect(201);
        waits(&turn.ask(&hub, &token).await);
    }
    // 19 of 20 uses are gone.
    decide(&root, &waiting[5].request_name("smith"), "Denied").await.expect(201);
    waits(&Installation::new().ask(&hub, &token).await);
    decide(&root, &waiting[6].request_name("smith"), "Denied").await.expect(201);
    refused(&Installation::new().ask(&hub, &token).await, 403, "JoinTokenInvalid");
}

#[tokio::test]
async fn what_was_revoked_does_not_come_back_by_asking_again() {
    let hub = TestHub::start().await;
    let root = hub.admin();
    make_agent(&root, "smith", "{}").await;
    make_agent(&root, "jones", "{joinPolicy: approve}").await;
    for agent in ["smith", "jones"] {
        let token = token(&root, agent, "{}").await;
        let ours = Installation::new();
        if ours.ask(&hub, &token).await.status == 202 {
            decide(&root, &ours.request_name(agent), "Approved").await.expect(201);
        }
        ours.join(&hub, &token).await;
        let object = format!("{AGENTS}/{agent}");
        let stored = root.get(&object).await.expect(200);
        let instance = &stored.array_at(&["status", "instances"])[0];
        let serial = instance.str_at(&["certificate", "serial"]).unwrap();
        for patch in [
            format!("{{spec: {{revokedSerials: ['{serial}']}}}}"),
            "{spec: {revokedSerials: [], revokedBefore: '2999-01-01T00:00:00Z'}}".to_owned(),
        ] {
            root.merge(&object, &yaml(&patch)).await.expect(200);
            refused(&ours.ask(&hub, &token).await, 403, "CertificateRevoked");
        }
        root.merge(&object, &yaml("{spec: {revokedBefore: null}}")).await.expect(200);
        ours.join(&hub, &token).await;
    }
}

#[tokio::test]
async fn a_request_dies_with_its_agent() {
    let hub = TestHub::start().await;
    let token = approved(&hub, 1).await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &token).await);
    let root = hub.admin();
    root.delete(&format!("{AGENTS}/smith")).await.expect(200);
    decide(&root, &name, "Approved").await.refused(409, "Conflict");
    make_agent(&root, "smith", "{joinPolicy: approve}").await;
    decide(&root, &name, "Approved").await.refused(409, "Conflict");
    refused(&ours.ask(&hub, &token).await, 403, "JoinTokenInvalid");
    // The next agent of that name knows nothing of it.
    let next = crate::joining::token(&root, "smith", "{}").await;
    assert_eq!(waits(&ours.ask(&hub, &next).await), name);
    decide(&root, &name, "Approved").await.expect(201);
    ours.join(&hub, &next).await;
}

#[tokio::test]
async fn whoever_joins_and_who_approved_stand_in_the_audit_log_before_it_happens() {
    let hub = TestHub::start().await;
    let token = approved(&hub, 1).await;
    let ours = Installation::new();
    let name = waits(&ours.ask(&hub, &token).await);
    let carol = hub.client("carol", &["system:masters"]);
    decide(&carol, &name, "Approved").await.expect(201);
    ours.join(&hub, &token).await;
    let lines = list(&hub.directory().join("audit"), Filter::default()).unwrap();
    let told: Vec<_> = lines
        .map(|line| line.unwrap().record)
        .map(|line| (line.actor.user, line.outcome))
        .filter(|(_, outcome)| outcome.starts_with("relay."))
        .collect();
    let agent = "system:strait:agent:root:smith".to_owned();
    let own = |verb: &str| {
        (agent.clone(), format!("relay.agent.{verb} {} from 127.0.0.1", ours.instance))
    };
    let [made, asked, approved, joined] = &told[..] else { panic!("{told:?}") };
    assert!(made.1.starts_with("relay.token.create uses 1"), "{made:?}");
    assert_eq!(asked, &own("ask"));
    assert_eq!(approved, &("carol".to_owned(), "relay.agent.approve".to_owned()));
    assert_eq!(joined, &own("join"));
    assert!(told.iter().all(|(_, outcome)| !outcome.contains(&token)));
}
