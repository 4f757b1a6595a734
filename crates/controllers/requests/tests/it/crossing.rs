//! What tenants see, and what the private side sees of them.

use http::Method;
use strait_machinery::json::Value;

use crate::fake_hub::FakeHub;
use crate::support::{ALLOW, Agent, Home, Service, condition, config, digest, finalizers, phase};

const AT: (&str, &str, &str) = ("a", "ns", "release-1");

/// Ended, told, and let go.
async fn ended(hub: &FakeHub, at: (&str, &str, &str), as_phase: &str) -> Value {
    let over = |object: Option<&Value>| {
        object.is_some_and(|object| phase(object) == as_phase && finalizers(object) == 0)
    };
    hub.wait(at, over).await.unwrap()
}

#[tokio::test]
async fn a_request_crosses() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    let uid = hub.create(AT, digest("d1")).to_string();
    let object = ended(&hub, AT, "Succeeded").await;

    assert_eq!(object.str_at(&["status", "signature"]), Some("signed d1"));
    assert_eq!(object.at(&["status", "results"]).unwrap().to_string(), "{}");
    assert!(!object.to_string().contains("secret"));
    for (kind, expected) in [
        ("Succeeded", "Succeeded=True Succeeded"),
        ("Accepted", "Accepted=True Accepted"),
        ("Started", "Started=True Started"),
        ("Complete", "Complete=True Succeeded"),
    ] {
        assert_eq!(condition(&object, kind), expected);
    }
    let first = object.array_at(&["status", "conditions"])[0].str_at(&["type"]);
    assert_eq!(first, Some("Succeeded"));
    assert!(object.str_at(&["status", "completionTime"]).is_some());
    assert_eq!(object.str_at(&["status", "executor", "id"]), Some("aaaaaaaaaa"));

    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].0.len(), 26);
    assert!(hub.calls("/release-1/status") <= 3);
    assert_eq!(home.audited(&uid), ["decided all allowed", "started  http", "ended  Succeeded"]);
    agent.stop().await;
}

#[tokio::test]
async fn requests_of_one_name_in_two_workspaces_never_meet() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let other = ("b", "ns", "release-1");
    hub.create(AT, digest("d1"));
    hub.create(other, digest("d2"));
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    for (at, signature) in [(AT, "signed d1"), (other, "signed d2")] {
        let object = ended(&hub, at, "Succeeded").await;
        assert_eq!(object.str_at(&["status", "signature"]), Some(signature));
    }
    let asked = service.asked();
    assert_ne!(asked[0].0, asked[1].0);
    agent.stop().await;
}

#[tokio::test]
async fn a_request_that_no_rule_allows_is_rejected_without_a_word_of_the_policy() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let rules = "{name: only-bob, effect: allow, match: {users: [bob]}}, \
                 {name: never-alice, effect: deny, match: {users: [alice]}}";
    let agent = Agent::start(&hub, &home, &config(&service, "", rules));
    let uid = hub.create(AT, digest("d1")).to_string();
    let object = ended(&hub, AT, "Rejected").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=False Rejected");
    assert_eq!(condition(&object, "Accepted"), "Accepted=False Rejected");
    assert_eq!(condition(&object, "Complete"), "Complete=True Rejected");
    assert!(object.str_at(&["status", "completionTime"]).is_some());
    let status = object.get("status").unwrap().to_string();
    for word in ["bob", "alice", "never", "rule"] {
        assert!(!status.to_lowercase().contains(word), "{status}");
    }
    // It was never claimed.
    assert_eq!(hub.calls("PATCH"), hub.calls("/release-1/status"));
    assert_eq!(home.audited(&uid), ["decided never-alice Rejected Rejected"]);
    assert!(service.asked().is_empty());
    agent.stop().await;

    // Final for the object, whatever the policy says later.
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    hub.create(("a", "ns", "second"), digest("d2"));
    ended(&hub, ("a", "ns", "second"), "Succeeded").await;
    assert_eq!(phase(&hub.get(AT).unwrap()), "Rejected");
    agent.stop().await;
}

#[tokio::test]
async fn an_empty_policy_rejects_everything() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ""));
    hub.create(AT, digest("d1"));
    ended(&hub, AT, "Rejected").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_workspace_counts_by_the_path_that_the_hub_confirms() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    hub.set_path("a", "root:demo");
    let rules = "{name: demo, effect: allow, match: {workspaces: ['root:demo']}}";
    let agent = Agent::start(&hub, &home, &config(&service, "", rules));
    hub.create(AT, digest("d1"));
    // A tenant's word for its own path is worth nothing.
    let liar = ("b", "ns", "release-1");
    hub.create(liar, digest("d2"));
    hub.edit(liar, |object| {
        object.set(&["metadata", "annotations", "kcp.io/path"], "root:demo");
    });
    ended(&hub, AT, "Succeeded").await;
    ended(&hub, liar, "Rejected").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn wrong_parameters_are_rejected_and_named() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    hub.create(AT, digest("x"));
    let object = ended(&hub, AT, "Rejected").await;
    assert_eq!(condition(&object, "Accepted"), "Accepted=False Rejected");
    assert_eq!(object.str_at(&["status", "failure", "code"]), Some("InvalidParams"));
    let message = object.str_at(&["status", "failure", "message"]).unwrap();
    assert!(message.starts_with("digest: Invalid value"), "{message}");
    assert!(service.asked().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn a_request_made_again_under_its_name_is_another_request() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    for digest_of in ["d1", "d2"] {
        hub.create(AT, digest(digest_of));
        let object = ended(&hub, AT, "Succeeded").await;
        let signature = format!("signed {digest_of}");
        assert_eq!(object.str_at(&["status", "signature"]), Some(&*signature));
        hub.delete(AT);
    }
    assert_eq!(service.asked().len(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_forged_status_is_written_over_and_runs_nothing() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    hub.create(AT, digest("d1"));
    ended(&hub, AT, "Succeeded").await;
    hub.edit(AT, |object| object.set(&["status", "phase"], "Pending"));
    ended(&hub, AT, "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_service_is_a_failure_without_its_words() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    service.answer_with(&[503]);
    hub.create(AT, digest("d1"));
    let object = ended(&hub, AT, "Failed").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=False Failed");
    assert_eq!(object.str_at(&["status", "failure", "code"]), Some("HTTP503"));
    assert_eq!(object.at(&["status", "failure", "retryable"]), Some(&true.into()));
    let status = object.get("status").unwrap().to_string();
    assert!(!status.contains("127.0.0.1") && !status.contains("signed"), "{status}");
    agent.stop().await;
}

#[tokio::test]
async fn results_that_the_hub_does_not_take_fail_the_request() {
    for code in [413, 422] {
        let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
        let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
        service.hold();
        let uid = hub.create(AT, digest("d1")).to_string();
        hub.wait_phase(AT, "Running").await;
        hub.fail(Method::PATCH, "release-1/status", code);
        service.let_answer(1);
        let object = ended(&hub, AT, "Failed").await;
        assert_eq!(object.str_at(&["status", "failure", "code"]), Some("ResultRefused"));
        assert_eq!(object.at(&["status", "signature"]), None);
        agent.stop().await;
        assert_eq!(home.audited(&uid).last().unwrap(), "ended  Failed ResultRefused");
    }
}

#[tokio::test]
async fn at_least_once_is_tried_again_with_one_key() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let class = "  execution: AtLeastOnce\n  maxAttempts: 3";
    let agent = Agent::start(&hub, &home, &config(&service, class, ALLOW));
    service.answer_with(&[503, 429]);
    hub.create(AT, digest("d1"));
    let object = ended(&hub, AT, "Succeeded").await;
    assert_eq!(object.at(&["status", "attempt"]), Some(&3.into()));
    let asked = service.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|(key, _)| *key == asked[0].0));
    agent.stop().await;
}

#[tokio::test]
async fn what_never_reached_the_service_is_tried_again_even_at_most_once() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let token = home.path("token");
    std::fs::write(&token, "").unwrap();
    let bearer = format!("http:\n      bearerFile: {}\n", token.display());
    let text = config(&service, "", ALLOW).replace("http:\n", &bearer);
    let agent = Agent::start(&hub, &home, &text);
    hub.create(AT, digest("d1"));
    let object = hub.wait_phase(AT, "Accepted").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=Unknown Retrying");
    assert_eq!(object.at(&["status", "attempt"]), Some(&1.into()));
    std::fs::write(&token, "token").unwrap();
    let object = ended(&hub, AT, "Succeeded").await;
    assert_eq!(object.at(&["status", "attempt"]), Some(&1.into()));
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_request_that_is_deleted_while_it_runs_goes_at_once() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    service.hold();
    let uid = hub.create(AT, digest("d1")).to_string();
    service.wait_asked(1).await;
    hub.wait_phase(AT, "Running").await;
    hub.delete(AT);
    // The service has not answered: only the wish is in the journal.
    hub.wait(AT, |object| object.is_none()).await;
    service.let_answer(1);
    agent.stop().await;
    let audited = home.audited(&uid);
    assert_eq!(audited.last().unwrap(), "ended  Succeeded");
}

#[tokio::test]
async fn failures_of_the_hub_cost_time_and_nothing_else() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    for path in ["signingrequests/release-1?", "release-1/status"] {
        hub.fail(Method::PATCH, path, 500);
        hub.fail(Method::PATCH, path, 429);
    }
    hub.create(AT, digest("d1"));
    ended(&hub, AT, "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn nothing_starts_that_the_audit_log_did_not_take() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    agent.audit.close().await;
    hub.create(AT, digest("d1"));
    hub.wait(AT, |object| finalizers(object.unwrap()) == 1).await;
    // Tried, and tried again: read anew each time.
    while hub.calls("GET /services/one/clusters/a/") < 2 {
        tokio::task::yield_now().await;
    }
    assert!(service.asked().is_empty());
    agent.stop().await;

    // Once it is written again, the request runs.
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    ended(&hub, AT, "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}
