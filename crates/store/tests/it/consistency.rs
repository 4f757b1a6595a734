//! What the store promises about order, visibility and history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use strait_store::engine::{
    Commit, Engine, EngineError, Extent, LeaseId, MemoryEngine, Outcome, Row, SqliteEngine,
};
use strait_store::{
    CommitError, Health, ObjectName, Options, ResourceId, Scope, Store, WatchError,
};
use strait_types::Revision;

use crate::support::{
    cluster, create, data, delete, forgetful, key, open, patient, put, things, update, write,
};

fn memory(options: Options) -> Store {
    open(Arc::new(MemoryEngine::new()), options)
}

async fn commit(store: &Store, txn: strait_store::Txn) -> Revision {
    store.commit(&cluster("c"), txn).await.unwrap().revision
}

#[tokio::test]
async fn a_write_is_readable_when_it_is_acknowledged() {
    let store = memory(patient());
    let a = key("c", "a");
    let committed = store.commit(&cluster("c"), create(&a, "1")).await.unwrap();
    assert_eq!(committed.revision, Revision(1));
    assert_eq!(committed.objects[0].revision, Revision(1));
    let snapshot = store.snapshot(&things());
    assert_eq!(snapshot.revision(), Revision(1));
    let stored = snapshot.get(&a.cluster, &a.name).unwrap().to_value();
    assert_eq!(data(&stored), "1");
    assert_eq!(stored.str_at(&["metadata", "resourceVersion"]), Some("1"));
}

#[tokio::test]
async fn a_stale_update_is_refused_with_the_compare_that_failed() {
    let store = memory(patient());
    let a = key("c", "a");
    let first = commit(&store, create(&a, "1")).await;
    commit(&store, update(&a, first, "2")).await;
    for stale in [update(&a, first, "3"), create(&a, "3")] {
        let refused = store.commit(&cluster("c"), stale).await.unwrap_err();
        assert_eq!(refused, CommitError::Refused(0));
    }
    assert_eq!(store.revision(), Revision(2));
}

#[tokio::test]
async fn an_empty_resource_has_the_revision_of_the_store() {
    let store = memory(patient());
    commit(&store, create(&key("c", "a"), "1")).await;
    let other = ResourceId::new("test.io", "others", "");
    assert_eq!(store.snapshot(&other).revision(), Revision(1));
}

#[tokio::test]
async fn snapshots_do_not_change() {
    let store = memory(patient());
    let a = key("c", "a");
    commit(&store, create(&a, "1")).await;
    let before = store.snapshot(&things());
    commit(&store, delete(&a)).await;
    assert!(before.get(&a.cluster, &a.name).is_some());
    assert!(store.snapshot(&things()).get(&a.cluster, &a.name).is_none());
}

#[tokio::test]
async fn lists_are_ordered_by_cluster_namespace_and_name() {
    let store = memory(patient());
    for (cluster, name) in [("b", "x"), ("a", "z"), ("a-b", "x"), ("a", "y")] {
        commit(&store, create(&key(cluster, name), "1")).await;
    }
    let snapshot = store.snapshot(&things());
    let list = |scope: &Scope| -> Vec<String> {
        snapshot.iter(scope).map(|(c, name, _)| format!("{c}/{}", name.as_str())).collect()
    };
    assert_eq!(list(&Scope::All), ["a-b/ns/x", "a/ns/y", "a/ns/z", "b/ns/x"]);
    assert_eq!(list(&Scope::Cluster(cluster("a"))), ["a/ns/y", "a/ns/z"]);
    assert_eq!(list(&Scope::Namespace(cluster("a"), "ns".into())), ["a/ns/y", "a/ns/z"]);
    assert_eq!(list(&Scope::Namespace(cluster("a"), "n".into())), [""; 0]);
    assert_eq!(list(&Scope::Object(cluster("a"), ObjectName::namespaced("ns", "z"))), ["a/ns/z"]);
    let (after_cluster, after) = (cluster("a"), ObjectName::namespaced("ns", "y"));
    let rest: Vec<_> = snapshot
        .iter_after(&Scope::All, Some((&after_cluster, &after)))
        .map(|(c, name, _)| format!("{c}/{}", name.as_str()))
        .collect();
    assert_eq!(rest, ["a/ns/z", "b/ns/x"]);
}

#[tokio::test]
async fn exact_revisions_are_readable_until_the_budget_is_spent() {
    let a = key("c", "a");
    let store = memory(patient());
    for number in 0..10 {
        commit(&store, write(&a, &number.to_string())).await;
    }
    for revision in 1..=10 {
        let snapshot = store.snapshot_at(&things(), Revision(revision)).unwrap();
        let stored = snapshot.get(&a.cluster, &a.name).unwrap().to_value();
        assert_eq!(data(&stored), (revision - 1).to_string());
    }
    let store = memory(forgetful());
    for number in 0..10 {
        commit(&store, write(&a, &number.to_string())).await;
    }
    assert!(store.snapshot_at(&things(), Revision(9)).is_err());
    assert!(store.snapshot_at(&things(), Revision(10)).is_ok());
}

#[tokio::test]
async fn what_is_made_of_events_for_those_who_watch_spends_the_budget_too() {
    let a = key("c", "a");
    let store = memory(Options { history_bytes: 100_000, ..patient() });
    let mut watch = store.watch(&things(), Scope::All, Revision::ZERO).unwrap();
    for number in 0..10 {
        commit(&store, write(&a, &number.to_string())).await;
    }
    let is_kept = |revision| store.snapshot_at(&things(), Revision(revision)).is_ok();
    assert!(is_kept(1));
    let mut events = Vec::new();
    while events.len() < 10 {
        events.extend(watch.next().await.unwrap());
    }
    for event in events {
        event.encoded("json", || vec![0; 20_000].into());
    }
    commit(&store, write(&a, "last")).await;
    // Of 200,000 bytes half is too much: the newest stay.
    assert!(!is_kept(5) && is_kept(8));
}

#[tokio::test]
async fn one_transaction_is_one_revision_in_every_resource() {
    let store = memory(patient());
    let a = key("c", "a");
    let mut b = a.clone();
    b.resource = ResourceId::new("test.io", "others", "");
    let mut txn = write(&a, "1");
    txn.puts.push(put(&b, "1"));
    let committed = store.commit(&cluster("c"), txn).await.unwrap();
    assert!(committed.objects.iter().all(|object| object.revision == committed.revision));
    assert_eq!(store.revision(), committed.revision);
}

async fn next(watch: &mut strait_store::Watch, count: usize) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let events = tokio::time::timeout(Duration::from_secs(10), watch.next());
        for event in events.await.expect("events come").unwrap() {
            let kind = match (&event.object, &event.previous) {
                (Some(_), None) => "added",
                (Some(_), Some(_)) => "modified",
                (None, _) => "deleted",
            };
            let shown = event.object.as_ref().or(event.previous.as_ref()).unwrap();
            let shown = strait_machinery::json::parse(&shown.body.at(event.revision)).unwrap();
            let revision = shown.str_at(&["metadata", "resourceVersion"]).unwrap().to_owned();
            assert_eq!(revision, event.revision.to_string());
            seen.push(format!("{kind} {} {} @{revision}", event.name.name(), data(&shown)));
        }
    }
    seen
}

async fn watch_sees_every_change(store: Store) {
    let (a, b) = (key("c", "a"), key("d", "b"));
    let start = store.revision();
    commit(&store, create(&a, "1")).await;
    commit(&store, write(&a, "2")).await;
    commit(&store, create(&b, "1")).await;
    commit(&store, delete(&a)).await;
    let expected = ["added a 1 @1", "modified a 2 @2", "added b 1 @3", "deleted a 2 @4"];
    let mut all = store.watch(&things(), Scope::All, start).unwrap();
    assert_eq!(next(&mut all, 4).await, expected);
    let mut later = store.watch(&things(), Scope::All, Revision(2)).unwrap();
    assert_eq!(next(&mut later, 2).await, expected[2..]);
    let mut one = store.watch(&things(), Scope::Cluster(cluster("d")), start).unwrap();
    assert_eq!(next(&mut one, 1).await, expected[2..3]);
    commit(&store, write(&b, "2")).await;
    assert_eq!(next(&mut one, 1).await, ["modified b 2 @5"]);
}

#[tokio::test]
async fn a_watch_sees_every_change_from_memory() {
    watch_sees_every_change(memory(patient())).await;
}

#[tokio::test]
async fn a_watch_sees_every_change_from_the_log() {
    watch_sees_every_change(memory(forgetful())).await;
}

#[tokio::test]
async fn a_quiet_watch_keeps_up_without_events() {
    let store = memory(forgetful());
    let mut quiet =
        store.watch(&things(), Scope::Cluster(cluster("quiet")), Revision::ZERO).unwrap();
    for number in 0..2000 {
        commit(&store, write(&key("loud", "a"), &number.to_string())).await;
    }
    assert!(quiet.ready().await.unwrap().is_empty());
    assert_eq!(quiet.revision(), Revision(2000));
}

#[tokio::test]
async fn a_watch_from_before_the_log_is_refused() {
    let engine = Arc::new(MemoryEngine::new());
    let store = open(engine.clone(), patient());
    for number in 0..5 {
        commit(&store, write(&key("c", "a"), &number.to_string())).await;
    }
    store.close();
    engine.compact(Revision(4), 100).unwrap();
    let store = open(engine, patient());
    let refused = store.watch(&things(), Scope::All, Revision(3));
    let Err(WatchError::TooOld { after: Revision(3), floor: Revision(4) }) = refused else {
        panic!("revision 3 is gone");
    };
    let mut watch = store.watch(&things(), Scope::All, Revision(4)).unwrap();
    assert_eq!(next(&mut watch, 1).await, ["modified a 4 @5"]);
    assert!(store.snapshot_at(&things(), Revision(3)).is_err());
    assert!(store.snapshot_at(&things(), Revision(4)).is_ok());
}

#[tokio::test]
async fn a_restart_keeps_objects_history_and_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (a, b) = (key("c", "a"), key("c", "b"));
    let store = open(Arc::new(SqliteEngine::open(&path).unwrap()), patient());
    commit(&store, create(&a, "1")).await;
    commit(&store, create(&b, "1")).await;
    commit(&store, write(&a, "2")).await;
    commit(&store, delete(&b)).await;
    drop(store);
    let store = open(Arc::new(SqliteEngine::open(&path).unwrap()), patient());
    assert_eq!(store.revision(), Revision(4));
    assert_eq!(store.snapshot(&things()).iter(&Scope::All).count(), 1);
    assert_eq!(store.snapshot_at(&things(), Revision(3)).unwrap().iter(&Scope::All).count(), 2);
    let mut watch = store.watch(&things(), Scope::All, Revision(1)).unwrap();
    let expected = ["added b 1 @2", "modified a 2 @3", "deleted b 1 @4"];
    assert_eq!(next(&mut watch, 3).await, expected);
    assert_eq!(commit(&store, write(&a, "3")).await, Revision(5));
}

#[tokio::test]
async fn leases_delete_what_hangs_on_them() {
    let store = memory(patient());
    let lease = store.grant(Duration::ZERO).await.unwrap();
    let mut txn = create(&key("c", "a"), "1");
    txn.puts[0].lease = Some(lease);
    let created = commit(&store, txn).await;
    let mut watch = store.watch(&things(), Scope::All, created).unwrap();
    assert_eq!(next(&mut watch, 1).await, ["deleted a 1 @2"]);
    assert!(!store.keep_alive(lease, Duration::from_secs(1)).await.unwrap());
}

#[tokio::test]
async fn one_cluster_cannot_fill_the_queue_of_another() {
    let engine = Arc::new(Disk::new());
    let store = open(engine.clone(), patient());
    engine.stall.store(true, Ordering::SeqCst);
    let mut waiting = Vec::new();
    // One batch is at the stalled disk, the queue of `c` fills behind it.
    loop {
        let (store, name) = (store.clone(), format!("x{}", waiting.len()));
        let mut call =
            Box::pin(
                async move { store.commit(&cluster("c"), create(&key("c", &name), "1")).await },
            );
        match futures_util::poll!(&mut call) {
            std::task::Poll::Ready(result) => {
                assert_eq!(result.unwrap_err(), CommitError::Busy);
                break;
            }
            std::task::Poll::Pending => waiting.push(call),
        }
        assert!(waiting.len() < 1000, "the queue is bounded");
    }
    assert!(waiting.len() >= strait_store::WAITING_PER_CLUSTER);
    let other = cluster("d");
    let mut call = Box::pin(store.commit(&other, create(&key("d", "a"), "1")));
    assert!(futures_util::poll!(&mut call).is_pending());
    engine.stall.store(false, Ordering::SeqCst);
    call.await.unwrap();
    for call in waiting {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_fails_writes_only_and_heals() {
    let engine = Arc::new(Disk::new());
    let store = open(engine.clone(), patient());
    let a = key("c", "a");
    commit(&store, create(&a, "1")).await;
    engine.full.store(true, Ordering::SeqCst);
    let refused = store.commit(&cluster("c"), write(&a, "2")).await.unwrap_err();
    assert_eq!(refused, CommitError::Full);
    assert_eq!(store.health(), Health::Full);
    let stored = store.snapshot(&things()).get(&a.cluster, &a.name).unwrap().to_value();
    assert_eq!(data(&stored), "1");
    engine.full.store(false, Ordering::SeqCst);
    let healed = async {
        while store.health() != Health::Good {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), healed).await.expect("it finds out by itself");
    assert_eq!(commit(&store, write(&a, "2")).await, Revision(2));
}

#[tokio::test]
async fn a_failed_sync_ends_the_process() {
    let ended = Arc::new(AtomicBool::new(false));
    let of_hook = ended.clone();
    let fatal = Arc::new(move |_: &EngineError| of_hook.store(true, Ordering::SeqCst));
    let engine = Arc::new(Disk::new());
    let store = open(engine.clone(), Options { fatal, ..patient() });
    engine.broken.store(true, Ordering::SeqCst);
    let refused = store.commit(&cluster("c"), create(&key("c", "a"), "1")).await.unwrap_err();
    assert_eq!(refused, CommitError::Failed);
    assert!(ended.load(Ordering::SeqCst));
}

/// Every snapshot and every watch of a random history agrees with a model of it.
#[tokio::test]
async fn snapshots_and_watches_agree_with_a_model() {
    let seed = std::process::id();
    println!("seed {seed}");
    for options in [patient(), forgetful(), Options { history_bytes: 20_000, ..patient() }] {
        let store = memory(options);
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        let mut states = vec![model.clone()];
        let mut random = u64::from(seed);
        for step in 0..400 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let name = format!("n{}", (random >> 33) % 12);
            let key = key(if random & 1 == 0 { "c" } else { "d" }, &name);
            if (random >> 40) % 3 == 0 {
                if model.remove(&key.encode()).is_none() {
                    continue;
                }
                commit(&store, delete(&key)).await;
            } else {
                model.insert(key.encode(), step.to_string());
                commit(&store, write(&key, &step.to_string())).await;
            }
            states.push(model.clone());
        }
        let head = states.len() - 1;
        assert_eq!(store.revision().0 as usize, head);
        for (revision, state) in states.iter().enumerate() {
            if let Ok(snapshot) = store.snapshot_at(&things(), Revision(revision as u64)) {
                let held: BTreeMap<_, _> = snapshot
                    .iter(&Scope::All)
                    .map(|(c, n, object)| {
                        let key = format!("test.io/things//{c}/{}", n.as_str());
                        (key, data(&object.to_value()).to_owned())
                    })
                    .collect();
                assert_eq!(&held, state, "at revision {revision}");
            }
        }
        for start in [0, head / 3, head - 1] {
            let mut state = states[start].clone();
            let mut watch = store.watch(&things(), Scope::All, Revision(start as u64)).unwrap();
            while watch.revision().0 < head as u64 {
                for event in watch.ready().await.unwrap() {
                    let key = format!("test.io/things//{}/{}", event.cluster, event.name.as_str());
                    match &event.object {
                        Some(object) => state.insert(key, data(&object.to_value()).to_owned()),
                        None => state.remove(&key),
                    };
                    assert_eq!(&state, &states[event.revision.0 as usize]);
                }
            }
        }
    }
}

/// A memory engine behind a disk that can be made to misbehave.
struct Disk {
    log: MemoryEngine,
    stall: AtomicBool,
    full: AtomicBool,
    broken: AtomicBool,
}

impl Disk {
    fn new() -> Self {
        Self {
            log: MemoryEngine::new(),
            stall: AtomicBool::new(false),
            full: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    fn write(&self) -> Result<(), EngineError> {
        while self.stall.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(EngineError::Full);
        }
        if self.broken.load(Ordering::SeqCst) {
            return Err(EngineError::Sync("input/output error".into()));
        }
        Ok(())
    }
}

impl Engine for Disk {
    fn extent(&self) -> Result<Extent, EngineError> {
        self.log.extent()
    }

    fn load(&self, each: &mut dyn FnMut(Row)) -> Result<Extent, EngineError> {
        self.log.load(each)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>, EngineError> {
        self.write()?;
        self.log.commit(batch)
    }

    fn tail(&self, after: Revision, max: usize) -> Result<Vec<Row>, EngineError> {
        self.log.tail(after, max)
    }

    fn compact(&self, floor: Revision, max: u32) -> Result<bool, EngineError> {
        self.write()?;
        self.log.compact(floor, max)
    }

    fn grant(&self, ttl: Duration, now: jiff::Timestamp) -> Result<LeaseId, EngineError> {
        self.write()?;
        self.log.grant(ttl, now)
    }

    fn keep_alive(
        &self,
        lease: LeaseId,
        ttl: Duration,
        now: jiff::Timestamp,
    ) -> Result<bool, EngineError> {
        self.write()?;
        self.log.keep_alive(lease, ttl, now)
    }

    fn expire(&self, now: jiff::Timestamp, max: u32) -> Result<Vec<Row>, EngineError> {
        self.write()?;
        self.log.expire(now, max)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.log.meta(name)
    }

    fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), EngineError> {
        self.write()?;
        self.log.set_meta(name, value)
    }
}
