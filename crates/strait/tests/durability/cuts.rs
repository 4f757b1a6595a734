//! Power cuts under a hub.

use std::collections::BTreeSet;

use super::chance::Chance;
use super::disk::Disk;
use super::hub::Hub;
use super::load::Ledger;
use super::model::Loss;
use super::site::{Site, ask_until_gone, asked, audit_is_intact};

/// Starts and ends of one hub.
const ROUNDS: usize = 14;

/// Power cuts while requests are made.
const CROSSINGS: usize = 6;

/// Power cuts while a new hub starts.
const STARTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_acknowledged_or_showed_survives_a_power_cut() {
    let mut chance = Chance::new();
    let mut disk = Disk::new();
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let hub = Hub::start_on(&disk);
        let access = hub.access(disk.root());
        ledger.check(&access).await.unwrap_or_else(|lost| panic!("round {round}: {lost}"));
        match chance.below(4) {
            // What it found at its start counts as shown, though it wrote nothing.
            0 => hub.kill(),
            _ => ledger.work_and_kill(hub, &access, 20 + chance.below(300)).await,
        }
        disk.note();
        match chance.below(3) {
            0 => {}
            1 => disk.cut(Loss::All, &mut chance),
            _ => disk.cut(Loss::Some, &mut chance),
        }
    }
    assert!(ledger.len() > 100, "{} objects are no load", ledger.len());
}

/// The test above can fail. A disk that ignores syncs of the write-ahead log leaves what a
/// database that does not ask for them (`synchronous` below `FULL`) leaves on a good one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_not_synced_is_missed() {
    let mut chance = Chance::new();
    let mut disk = Disk::new();
    Hub::start_on(&disk).stop();
    disk.note();
    let mut ledger = Ledger::default();
    let hub = Hub::start_on(&disk);
    let access = hub.access(disk.root());
    ledger.work_and_kill(hub, &access, 50).await;
    disk.note_of(|file| !file.ends_with("store.db-wal"));
    disk.cut(Loss::All, &mut chance);
    let hub = Hub::start_on(&disk);
    let lost = ledger.check(&hub.access(disk.root())).await.unwrap_err();
    assert!(lost.contains("older than") || lost.contains("acknowledged"), "{lost}");
}

/// A hub that is killed between a write and its sync leaves what the next one reads, though the
/// disk may not have it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_hub_finds_at_its_start_is_synced_before_it_is_shown() {
    let mut disk = Disk::new();
    Hub::start_on(&disk).stop();
    disk.note();
    let mut ledger = Ledger::default();
    let hub = Hub::start_on(&disk);
    let access = hub.access(disk.root());
    ledger.work_and_kill(hub, &access, 50).await;
    disk.note_of(|file| !file.ends_with("store.db-wal"));
    let hub = Hub::start_on(&disk);
    ledger.check(&hub.access(disk.root())).await.unwrap();
    hub.kill();
    disk.note();
    disk.cut(Loss::All, &mut Chance::new());
    let hub = Hub::start_on(&disk);
    ledger.check(&hub.access(disk.root())).await.unwrap();
}

/// No request is there that the audit log does not know, and none is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_in_the_audit_log_after_a_power_cut() {
    let mut chance = Chance::new();
    let mut disk = Site::new().into_disk();
    let mut acknowledged = BTreeSet::new();
    for round in 0..CROSSINGS {
        let hub = Hub::start_on(&disk);
        let access = hub.access(disk.root());
        let asking = |writer: usize| {
            tokio::spawn(ask_until_gone(access.clone(), format!("r{round}-{writer}")))
        };
        let asking: Vec<_> = (0..4).map(asking).collect();
        disk.wait_for_records(200 + chance.below(400));
        hub.kill();
        for asked in asking {
            acknowledged.extend(asked.await.unwrap());
        }
        disk.note();
        disk.cut(if chance.below(2) == 0 { Loss::All } else { Loss::Some }, &mut chance);
    }
    let hub = Hub::start_on(&disk);
    let there = asked(&hub.access(disk.root())).await;
    assert!(acknowledged.len() > CROSSINGS, "{} requests are no load", acknowledged.len());
    assert!(acknowledged.is_subset(&there), "{:?}", acknowledged.difference(&there));
    hub.stop();
    let mut audited = String::new();
    for segment in std::fs::read_dir(disk.root().join("audit")).unwrap() {
        audited += &std::fs::read_to_string(segment.unwrap().path()).unwrap();
    }
    let asked = |uid: &String| {
        let mut lines = audited.lines().filter(|line| line.contains(uid));
        lines.any(|line| line.contains("\"asked\""))
    };
    assert!(there.iter().all(asked), "a request that was not audited");
    assert!(!audited.contains("\"truncated\""), "what was mirrored was durable");
    audit_is_intact(disk.root());
}

#[test]
fn a_hub_that_lost_its_power_while_it_began_begins_again() {
    let mut chance = Chance::new();
    for _ in 0..STARTS {
        let mut disk = Disk::new();
        let hub = Hub::begin_on(&disk);
        // As far as it comes until it has done so many things to the disk.
        disk.wait_for_records(chance.below(150));
        drop(hub);
        disk.note();
        disk.cut(Loss::Some, &mut chance);
        Hub::start_on(&disk).stop();
    }
}
