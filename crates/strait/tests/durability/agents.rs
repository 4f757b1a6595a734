//! Agents that are killed, or lose their power, while requests run.
//!
//! The moment is counted in operations of the agent on its disk: between any two of them lies
//! another point of the journal's protocol.

use super::chance::Chance;
use super::model::Loss;
use super::site::{Site, audit_is_intact, kill_all_below};

const ROUNDS: usize = 25;

/// Requests of a round.
const ASKS: usize = 5;

/// Operations of an agent that starts and does a round's work, roughly.
const OPERATIONS: usize = 220;

/// Supervisors outlive the agent and tell the next one: every request is done, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_done_once_however_often_the_agent_is_killed() {
    let (mut chance, mut site) = (Chance::new(), Site::new());
    let disk = site.disk();
    for _ in 0..ROUNDS {
        let agent = site.start_agent(&disk);
        site.ask(ASKS).await;
        disk.wait_for_records(1 + chance.below(OPERATIONS));
        drop(agent);
        disk.forget();
    }
    let agent = site.start_agent(&disk);
    let phases = site.settled().await;
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(phases.len(), site.asked());
    assert!(phases.values().all(|phase| phase == "Succeeded"), "{phases:?}");
    let done = site.done();
    assert_eq!(done.len(), site.asked());
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    audit_is_intact(disk.root());
    site.stop();
}

/// What ran when the power went is unknown, and said to be; nothing runs twice, and nothing is
/// forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_done_twice_or_lost_however_often_the_agent_loses_its_power() {
    let (mut chance, mut site) = (Chance::new(), Site::new());
    let mut disk = site.disk();
    let mut over = std::collections::BTreeMap::new();
    for _ in 0..ROUNDS {
        let agent = site.start_agent(&disk);
        site.ask(ASKS).await;
        disk.wait_for_records(1 + chance.below(OPERATIONS));
        drop(agent);
        kill_all_below(disk.root());
        disk.note();
        disk.cut(if chance.below(2) == 0 { Loss::All } else { Loss::Some }, &mut chance);
        over.extend(site.phases().await.into_iter().filter(|(_, phase)| phase == "Succeeded"));
    }
    let agent = site.start_agent(&disk);
    let phases = site.settled().await;
    assert_eq!(agent.terminate().code, Some(0));
    assert_eq!(phases.len(), site.asked());
    let done = site.done();
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    for (digest, phase) in &phases {
        match &**phase {
            "Succeeded" => assert!(done.contains_key(digest), "{digest} was not done"),
            phase => assert_eq!(phase, "Indeterminate", "{}", site.status(digest).await),
        }
    }
    for (digest, phase) in over {
        assert_eq!(phases[&digest], phase, "{digest} was over");
    }
    audit_is_intact(disk.root());
    site.stop();
}
