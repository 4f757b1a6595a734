//! What `strait hooks serve` acknowledged reaches every backend, whatever happens to it.

mod backends;
mod gateway;
mod senders;

use std::collections::BTreeSet;

use self::backends::Backends;
use self::gateway::Gateway;
use super::chance::Chance;
use super::disk::{Disk, Fault};
use super::model::Loss;

/// kill -9 at a moment of chance, and a start.
const KILLS: usize = 100;

/// The same where the disk loses what was not synced.
const CUTS: usize = 14;

/// What a backend may have got and the gateway not noted, when it is killed.
const IN_FLIGHT: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_acknowledged_is_delivered_after_kill_9() {
    let mut chance = Chance::new();
    let home = tempfile::tempdir().unwrap();
    let mut backends = Backends::start().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..KILLS {
        let gateway = Gateway::start(home.path(), &backends);
        let wanted = 1 + chance.below(120);
        let sent = senders::until_gone(gateway, round, wanted).await;
        assert!(sent.acknowledged.len() >= wanted);
        acknowledged.extend(sent.acknowledged);
        for (backend, again) in backends.count_repeated().into_iter().enumerate() {
            assert!(again <= IN_FLIGHT, "round {round}: backend {backend} got {again} twice");
        }
    }
    let gateway = Gateway::start(home.path(), &backends);
    backends.have_all(&acknowledged).await;
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gateway_acknowledged_is_delivered_after_a_power_cut() {
    let mut chance = Chance::new();
    let mut disk = Disk::new();
    let backends = Backends::start().await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..CUTS {
        let gateway = Gateway::start_on(&disk, &backends);
        let sent = senders::until_gone(gateway, round, 20 + chance.below(150)).await;
        acknowledged.extend(sent.acknowledged);
        disk.note();
        match chance.below(3) {
            0 => {}
            1 => disk.cut(Loss::All, &mut chance),
            _ => disk.cut(Loss::Some, &mut chance),
        }
    }
    let gateway = Gateway::start_on(&disk, &backends);
    backends.have_all(&acknowledged).await;
    gateway.stop();
}

/// The test above can fail: so does a disk that ignores syncs of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_not_synced_is_missed() {
    let mut disk = Disk::new();
    let backends = Backends::start().await;
    Gateway::start_on(&disk, &backends).stop();
    disk.note();
    backends.hang();
    let gateway = Gateway::start_on(&disk, &backends);
    let sent = senders::until_gone(gateway, 0, 50).await;
    disk.note_of(|file| !file.components().any(|part| part.as_os_str() == "log"));
    disk.cut(Loss::All, &mut Chance::new());
    let backends = Backends::start().await;
    let gateway = Gateway::start_on(&disk, &backends);
    // What is sent now comes after everything that is left.
    let last = senders::one(&gateway, 1).await.unwrap();
    backends.have_all(&BTreeSet::from([last])).await;
    gateway.stop();
    assert!(backends.lack_some(&sent.acknowledged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_puts_senders_off_and_what_was_acknowledged_is_delivered() {
    let mut disk = Disk::new();
    let backends = Backends::start().await;
    let gateway = Gateway::start_on(&disk, &backends);
    let before = senders::one(&gateway, 0).await.unwrap();
    disk.set(Fault::Full);
    for _ in 0..3 {
        let refused = senders::one(&gateway, 1).await.unwrap_err();
        assert_eq!(refused.status, 503);
        assert!(refused.retry_after.is_some());
    }
    assert_eq!(gateway.readiness().await, 500);
    disk.set(Fault::None);
    let after = senders::one(&gateway, 2).await.unwrap();
    assert_eq!(gateway.readiness().await, 200);
    backends.have_all(&BTreeSet::from([before, after])).await;
    gateway.kill();
    disk.note();
}

/// What the kernel does with pages that it could not write is unknown: the process ends and
/// never syncs them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_gateway_and_nothing_acknowledged_is_missing() {
    let mut disk = Disk::new();
    let backends = Backends::start().await;
    let gateway = Gateway::start_on(&disk, &backends);
    let before = senders::one(&gateway, 0).await.unwrap();
    backends.have_all(&BTreeSet::from([before.clone()])).await;
    disk.set(Fault::Sync);
    let refused = senders::one(&gateway, 1).await;
    assert!(refused.is_err(), "{refused:?}");
    let ended = gateway.ended();
    assert_ne!(ended.code, Some(0), "{ended:?}");
    disk.set(Fault::None);
    disk.note();
    disk.cut(Loss::Some, &mut Chance::new());
    let gateway = Gateway::start_on(&disk, &backends);
    let after = senders::one(&gateway, 2).await.unwrap();
    backends.have_all(&BTreeSet::from([before, after])).await;
    gateway.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_one_directory_refuses_to_start() {
    let home = tempfile::tempdir().unwrap();
    let backends = Backends::start().await;
    let first = Gateway::start(home.path(), &backends);
    let second = Gateway::begin(home.path(), &backends).finish();
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.stderr.contains("lock"), "{}", second.stderr);
    senders::one(&first, 0).await.unwrap();
    first.stop();
}
