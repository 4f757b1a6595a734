//! Turns, limits, and requests that end before theirs comes.

use strait_machinery::json::Value;

use crate::fake_hub::FakeHub;
use crate::support::{ALLOW, Agent, Home, Service, condition, config, digest, finalizers, phase};

const ONE_AT_A_TIME: &str = "  concurrency: 1";

fn at(name: &str) -> (&str, &str, &str) {
    ("a", "ns", name)
}

#[tokio::test]
async fn a_class_runs_so_many_at_once_and_the_others_wait_accepted() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, ONE_AT_A_TIME, ALLOW));
    service.hold();
    hub.create(at("first"), digest("d1"));
    service.wait_asked(1).await;
    for name in ["second", "third"] {
        hub.create(at(name), digest("d2"));
        let object = hub.wait_phase(at(name), "Accepted").await;
        assert_eq!(condition(&object, "Succeeded"), "Succeeded=Unknown Queued");
        assert_eq!(finalizers(&object), 0, "a request that waits is not claimed");
    }
    assert_eq!(service.asked().len(), 1);
    service.let_answer(3);
    for name in ["first", "second", "third"] {
        hub.wait_phase(at(name), "Succeeded").await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_tenant_that_asks_much_does_not_hold_others_up() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, ONE_AT_A_TIME, ALLOW));
    service.hold();
    for name in ["r1", "r2", "r3", "r4"] {
        hub.create(at(name), digest("d-much"));
    }
    service.wait_asked(1).await;
    hub.create(("b", "ns", "r1"), digest("d-other"));
    hub.wait_phase(("b", "ns", "r1"), "Accepted").await;
    service.let_answer(5);
    let asked = service.wait_asked(5).await;
    let place = asked.iter().position(|(_, digest)| digest == "d-other").unwrap();
    assert!(place <= 2, "{asked:?}");
    agent.stop().await;
}

#[tokio::test]
async fn beyond_the_quota_requests_stay_pending_until_there_is_room() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let class = "  concurrency: 1\n  maxPending: 1";
    let agent = Agent::start(&hub, &home, &config(&service, class, ALLOW));
    service.hold();
    hub.create(at("runs"), digest("d1"));
    service.wait_asked(1).await;
    hub.create(at("waits"), digest("d2"));
    hub.wait_phase(at("waits"), "Accepted").await;
    hub.create(at("beyond"), digest("d3"));
    let object = hub.wait_phase(at("beyond"), "Pending").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=Unknown QuotaExceeded");
    assert_eq!(condition(&object, "Complete"), "Complete=False QuotaExceeded");
    service.let_answer(3);
    hub.wait_phase(at("beyond"), "Succeeded").await;
    agent.stop().await;
}

#[tokio::test]
async fn who_waits_can_be_cancelled_deleted_or_be_too_late() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, ONE_AT_A_TIME, ALLOW));
    service.hold();
    hub.create(at("runs"), digest("d1"));
    service.wait_asked(1).await;
    let with = |field: &str, value: Value| {
        let mut spec = digest("d2");
        spec.set(&[field], value);
        spec
    };
    hub.create(at("cancelled"), digest("d2"));
    hub.create(at("deleted"), digest("d2"));
    hub.create(at("late"), with("deadline", "1s".into()));
    hub.create(at("never"), with("deadline", "soon".into()));
    hub.wait_phase(at("cancelled"), "Accepted").await;
    hub.wait_phase(at("deleted"), "Accepted").await;
    hub.edit(at("cancelled"), |object| object.set(&["spec", "cancel"], true));
    hub.delete(at("deleted"));
    let object = hub.wait_phase(at("cancelled"), "Cancelled").await;
    assert_eq!(condition(&object, "Complete"), "Complete=True Cancelled");
    hub.wait(at("deleted"), |object| object.is_none()).await;
    for name in ["late", "never"] {
        let object = hub.wait_phase(at(name), "TimedOut").await;
        assert_eq!(condition(&object, "Succeeded"), "Succeeded=False DeadlineExceeded");
    }
    service.let_answer(1);
    hub.wait_phase(at("runs"), "Succeeded").await;
    assert_eq!(service.asked().len(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_turn_that_does_not_come_in_time_ends_the_wait() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let class = "  concurrency: 1\n  queueTimeout: 100ms";
    let agent = Agent::start(&hub, &home, &config(&service, class, ALLOW));
    service.hold();
    hub.create(at("runs"), digest("d1"));
    service.wait_asked(1).await;
    hub.create(at("waits"), digest("d2"));
    let object = hub.wait_phase(at("waits"), "TimedOut").await;
    assert_eq!(condition(&object, "Succeeded"), "Succeeded=False QueueTimeout");
    service.let_answer(1);
    hub.wait_phase(at("runs"), "Succeeded").await;
    agent.stop().await;
}

#[tokio::test]
async fn a_burst_is_drained_without_a_loss_or_a_repetition() {
    let (hub, service, home) = (FakeHub::start().await, Service::start().await, Home::new());
    let agent = Agent::start(&hub, &home, &config(&service, "  concurrency: 8", ALLOW));
    let names: Vec<_> = (0..100).map(|n| format!("r{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let cluster = ["a", "b", "c"][n % 3];
        hub.create((cluster, "ns", name), digest(&format!("d{n}")));
        if n % 25 == 24 {
            hub.expire();
        }
    }
    for (n, name) in names.iter().enumerate() {
        let place = (["a", "b", "c"][n % 3], "ns", name.as_str());
        let over = |object: Option<&Value>| phase(object.unwrap()) == "Succeeded";
        let object = hub.wait(place, over).await.unwrap();
        let signature = format!("signed d{n}");
        assert_eq!(object.str_at(&["status", "signature"]), Some(&*signature));
    }
    let mut keys: Vec<_> = service.asked().into_iter().map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!((keys.len(), service.asked().len()), (100, 100));
    agent.stop().await;
}
