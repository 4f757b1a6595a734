//! What a crash leaves, and what the next life makes of it.

use http::Method;
use strait_machinery::json::Value;

use crate::fake_hub::FakeHub;
use crate::support::{ALLOW, Agent, Home, Service, condition, config, digest, finalizers, phase};

const AT: (&str, &str, &str) = ("a", "ns", "release-1");

#[tokio::test]
async fn a_call_that_was_under_way_is_never_repeated_and_its_outcome_is_unknown() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let text = config(&service, "", ALLOW);
    let agent = Agent::start(&hub, &home, &text);
    service.hold();
    let uid = hub.create(AT, digest("d1")).to_string();
    service.wait_asked(1).await;
    agent.crash().await;
    service.let_answer(1000);

    let agent = Agent::start(&hub, &home, &text);
    let object = hub.wait_phase(AT, "Indeterminate").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=Unknown Indeterminate");
    assert_eq!(condition(&object, "Complete"), "Complete=False Indeterminate");
    assert!(object.str_at(&["status", "completionTime"]).is_none());
    agent.stop().await;
    assert_eq!(home.audited(&uid).last().unwrap(), "ended  Indeterminate");

    // Nor later, and its deletion does not wait for a person.
    let agent = Agent::start(&hub, &home, &text);
    hub.delete(AT);
    hub.wait(AT, |object| object.is_none()).await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn at_least_once_goes_on_after_a_crash() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let text = config(&service, "  execution: AtLeastOnce", ALLOW);
    let agent = Agent::start(&hub, &home, &text);
    service.hold();
    hub.create(AT, digest("d1"));
    service.wait_asked(1).await;
    agent.crash().await;
    service.let_answer(1000);

    let agent = Agent::start(&hub, &home, &text);
    let object = hub.wait_phase(AT, "Succeeded").await;
    assert_eq!(object.at(&["status", "attempt"]), Some(&2.into()));
    let asked = service.asked();
    assert_eq!((asked.len(), &asked[0].0), (2, &asked[1].0));
    agent.stop().await;
}

#[tokio::test]
async fn an_end_that_the_hub_did_not_take_is_told_by_the_next_life() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let text = config(&service, "", ALLOW);
    let agent = Agent::start(&hub, &home, &text);
    service.hold();
    hub.create(AT, digest("d1"));
    hub.wait_phase(AT, "Running").await;
    for _ in 0..20 {
        hub.fail(Method::PATCH, "release-1/status", 503);
    }
    service.let_answer(1);
    while hub.calls("PATCH") < 4 {
        tokio::task::yield_now().await;
    }
    agent.crash().await;
    assert_eq!(phase(&hub.get(AT).unwrap()), "Running");
    hub.forgive();

    let agent = Agent::start(&hub, &home, &text);
    let told = |object: Option<&Value>| {
        object.is_some_and(|object| phase(object) == "Succeeded" && finalizers(object) == 0)
    };
    let object = hub.wait(AT, told).await.unwrap();
    assert_eq!(object.str_at(&["status", "signature"]), Some("signed d1"));
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_hub_that_was_restored_from_a_backup_repeats_nothing() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let text = config(&service, "", ALLOW);
    let agent = Agent::start(&hub, &home, &text);
    hub.create(AT, digest("d1"));
    let over = |object: Option<&Value>| {
        object.is_some_and(|object| phase(object) == "Succeeded" && finalizers(object) == 0)
    };
    hub.wait(AT, over).await;
    agent.stop().await;
    hub.edit(AT, |object| drop(object.remove(&["status"])));

    let agent = Agent::start(&hub, &home, &text);
    hub.wait(AT, over).await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn what_somebody_claimed_and_left_no_record_of_is_never_run() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    hub.create(AT, digest("d1"));
    hub.edit(AT, |object| object.set(&["status", "phase"], "Running"));
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    let object = hub.wait_phase(AT, "Indeterminate").await;
    assert_eq!(condition(&object, "Complete"), "Complete=False Indeterminate");
    assert!(service.asked().is_empty());
    agent.stop().await;
}

#[tokio::test]
async fn of_two_agents_one_runs_a_request_and_the_other_leaves_it_alone() {
    let (hub, service) = (FakeHub::start().await, Service::start().await);
    let homes = [Home::new(), Home::new()];
    let text = config(&service, "", ALLOW);
    let one = Agent::start_as("aaaaaaaaaa", &hub, &homes[0], &text);
    let two = Agent::start_as("bbbbbbbbbb", &hub, &homes[1], &text);
    let names: Vec<_> = (0..20).map(|n| format!("r{n}")).collect();
    for name in &names {
        hub.create(("a", "ns", name), digest("d1"));
    }
    for name in &names {
        hub.wait_phase(("a", "ns", name), "Succeeded").await;
    }
    assert_eq!(service.asked().len(), names.len());
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_claim_without_a_record_is_taken_up() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    hub.create(AT, digest("d1"));
    hub.edit(AT, |object| {
        let claim = vec![Value::from("requests.strait.dev/agent-aaaaaaaaaa")];
        object.set(&["metadata", "finalizers"], claim);
    });
    let agent = Agent::start(&hub, &home, &config(&service, "", ALLOW));
    hub.wait_phase(AT, "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_the_answer_of_a_call() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let text = config(&service, "", ALLOW);
    let agent = Agent::start(&hub, &home, &text);
    service.hold();
    hub.create(AT, digest("d1"));
    service.wait_asked(1).await;
    let stopping = agent.stop();
    tokio::pin!(stopping);
    assert!(futures_util::poll!(&mut stopping).is_pending());
    service.let_answer(1);
    stopping.await;

    let agent = Agent::start(&hub, &home, &text);
    hub.wait_phase(AT, "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}
