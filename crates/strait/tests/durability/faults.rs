//! Disks that are full or broken.

use http::Method;

use super::chance::Chance;
use super::client::Access;
use super::disk::{Disk, Fault};
use super::hub::Hub;
use super::load::{Ledger, object};
use super::model::Loss;
use super::site::{Site, audit_is_intact};

const OBJECTS: &str = "/clusters/root/api/v1/namespaces/default/configmaps";

/// Looks at the readiness before it is taken for final; one takes milliseconds.
const LOOKS: usize = 20_000;

async fn create(access: &Access, name: &str) -> (u16, String) {
    let mut connection = access.connect().await.unwrap();
    connection.call(Method::POST, OBJECTS, Some(&object(name, "x"))).await.unwrap()
}

async fn readiness_becomes(access: &Access, status: u16) -> String {
    for _ in 0..LOOKS {
        let (now, text) = access.get("/readyz").await.unwrap();
        if now == status {
            return text;
        }
    }
    panic!("the readiness never became {status}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_reads_go_on() {
    let mut disk = Disk::new();
    let hub = Hub::start_on(&disk);
    let access = hub.access(disk.root());
    assert_eq!(create(&access, "before").await.0, 201);
    disk.set(Fault::Full);
    let (status, text) = create(&access, "during").await;
    assert_eq!(status, 500, "{text}");
    assert!(text.contains("no space left, nothing was written"), "{text}");
    assert!(!text.contains(disk.root().to_str().unwrap()), "{text}");
    assert!(readiness_becomes(&access, 500).await.contains("[-]store failed"));
    assert_eq!(access.get("/livez").await.unwrap().0, 200);
    assert_eq!(access.get(&format!("{OBJECTS}/before")).await.unwrap().0, 200);
    assert_eq!(access.get(&format!("{OBJECTS}/during")).await.unwrap().0, 404);
    disk.set(Fault::None);
    readiness_becomes(&access, 200).await;
    assert_eq!(create(&access, "during").await.0, 201);
    hub.kill();
    disk.note();
    disk.cut(Loss::All, &mut Chance::new());
    let hub = Hub::start_on(&disk);
    let access = hub.access(disk.root());
    for name in ["before", "during"] {
        assert_eq!(access.get(&format!("{OBJECTS}/{name}")).await.unwrap().0, 200, "{name}");
    }
}

/// What the kernel does with pages that it could not write is unknown: a second sync may
/// succeed and yet have lost them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_hub_and_is_never_tried_again() {
    let mut chance = Chance::new();
    for (fault, file) in [(Fault::Sync, "store.db-wal"), (Fault::Checkpoint, "store.db")] {
        let mut disk = Disk::new();
        let hub = Hub::start_on(&disk);
        let access = hub.access(disk.root());
        let mut ledger = Ledger::default();
        let before = disk.syncs_of(file);
        disk.set(fault);
        let mut ended = None;
        ledger.work(&access, 0, || ended = Some(hub.ended())).await;
        let ended = ended.unwrap();
        assert_eq!(ended.code, None, "it aborts: {ended:?}");
        assert!(ended.stderr.contains("the store takes no writes"), "{}", ended.stderr);
        assert_eq!(disk.syncs_of(file) - before, 1, "{file}");
        disk.set(Fault::None);
        disk.note();
        disk.cut(Loss::Some, &mut chance);
        let hub = Hub::start_on(&disk);
        ledger
            .check(&hub.access(disk.root()))
            .await
            .unwrap_or_else(|lost| panic!("{file}: {lost}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_on_a_full_disk_begins_nothing_until_there_is_room() {
    let mut site = Site::new();
    let disk = site.disk();
    let mut agent = site.start_agent(&disk);
    site.ask(1).await;
    site.settled().await;
    disk.set(Fault::Full);
    site.ask(3).await;
    agent.wait_for_log(|line| line.contains("disk is full"));
    assert_eq!(site.done().len(), 1);
    disk.set(Fault::None);
    let phases = site.settled().await;
    assert!(phases.values().all(|phase| phase == "Succeeded"), "{phases:?}");
    assert!(site.done().len() == 4 && site.done().values().all(|times| *times == 1));
    assert_eq!(agent.terminate().code, Some(0));
    audit_is_intact(disk.root());
    site.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_agent_and_the_next_one_repeats_nothing() {
    let mut site = Site::new();
    let disk = site.disk();
    let agent = site.start_agent(&disk);
    site.ask(1).await;
    site.settled().await;
    disk.set(Fault::Sync);
    site.ask(3).await;
    let ended = agent.finish();
    assert_eq!(ended.code, None, "it aborts: {ended:?}");
    disk.set(Fault::None);
    let agent = site.start_agent(&disk);
    site.settled().await;
    assert!(site.done().values().all(|times| *times == 1));
    assert_eq!(agent.terminate().code, Some(0));
    site.stop();
}
