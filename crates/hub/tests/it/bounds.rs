//! Bounds that keep one workspace, or one credential, from what others need.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_relay::link::control::Announced;
use strait_runtime::ManualClock;

use crate::fake_agent::{Acme, CI, ask, end_of};
use crate::harness::{PATIENCE, TestHub, until, yaml};
use crate::joining::{AGENTS, make_agent};
use crate::services::offer;
use crate::streams::{READS, stay};

/// Row 41: CVE-2023-44487.
#[tokio::test]
async fn who_gives_up_too_many_requests_waits_and_nobody_else_does() {
    // Together 512, as many as may be open at once, and those of 2.4 s.
    const MANY: [usize; 2] = [332, 300];
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let clock = Arc::new(ManualClock::new(now));
    let acme = Acme::on(TestHub::start_at(clock.clone()).await).await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    acme.hub.admin().within("root:acme").grant("reads", "carol", READS).await;
    let carol = acme.hub.client("carol", &[]).within("root:acme");
    for many in MANY {
        let mut open = Vec::new();
        for _ in 0..many {
            open.push(stay(alice, &mut agent, CI).await);
        }
        for (body, mut stream) in open {
            drop(body);
            end_of(&mut stream).await;
        }
    }
    until(|| acme.hub.hub().front().live().count() == 0).await;
    let refused = alice.get(CI).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.headers.get("retry-after").unwrap(), "3");
    assert_eq!(ask(&carol, &mut agent).await.status, 200);
    clock.advance(Duration::from_secs(3));
    assert_eq!(ask(alice, &mut agent).await.status, 200);
}

/// A gateway of many people has one credential: some of them always leave.
#[tokio::test]
async fn who_lets_as_many_requests_end_may_give_up_more() {
    const MANY: usize = 600;
    // No time passes: what counts is remembered.
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let acme = Acme::on(TestHub::start_at(clock).await).await;
    let mut agent = acme.smith().await;
    for _ in 0..MANY {
        let (body, mut stream) = stay(&acme.alice, &mut agent, CI).await;
        drop(body);
        end_of(&mut stream).await;
        assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
    }
    until(|| acme.hub.hub().front().live().count() == 0).await;
}

#[tokio::test]
async fn what_ends_with_its_agent_was_not_given_up_by_its_client() {
    const MANY: usize = 100;
    // No time passes: what counts is remembered.
    let clock = Arc::new(ManualClock::new(Timestamp::now()));
    let acme = Acme::on(TestHub::start_at(clock).await).await;
    let mut agent = acme.smith().await;
    agent.offer(&[Announced { retry: true, ..offer("ci", "h2") }]).await;
    let mut asked = Vec::new();
    for _ in 0..MANY {
        let alice = acme.alice.clone();
        asked.push((tokio::spawn(async move { alice.get(CI).await }), agent.next().await));
    }
    asked.iter().for_each(|(_, stream)| stream.sender.accept());
    agent.leave().await;
    for (asked, _) in asked {
        let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
    }
    let text = acme.hub.admin().below("").get("/metrics").await.text();
    let lost = format!("resets_total{{code=\"LOST\",by=\"connection\"}} {MANY}");
    assert!(text.contains(&lost) && !text.contains("code=\"CANCEL\""), "{text}");
    let mut back = acme.smith().await;
    assert_eq!(ask(&acme.alice, &mut back).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_has_so_many_agents_and_no_more() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    let at_once = 50;
    for first in (0..1_000).step_by(at_once) {
        let make = |number| {
            let (admin, name) = (admin.clone(), format!("agent-{number}"));
            tokio::spawn(async move { make_agent(&admin, &name, "{}").await })
        };
        for made in (first..first + at_once).map(make).collect::<Vec<_>>() {
            made.await.unwrap();
        }
    }
    let one = yaml("{metadata: {name: smith}}");
    let refused = admin.create(AGENTS, &one).await.refused(403, "Forbidden");
    assert!(refused.contains("1000 agents"), "{refused}");
    // Those that there are change, and one that goes makes room.
    admin.merge(&format!("{AGENTS}/agent-7"), &yaml("{spec: {drain: true}}")).await.expect(200);
    admin.delete(&format!("{AGENTS}/agent-7")).await.expect(200);
    admin.gone(AGENTS, "agent-7").await;
    make_agent(&admin, "smith", "{}").await;
}
