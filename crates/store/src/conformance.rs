//! What every engine must do, as one suite. An engine's tests call [`run`] with a way to open
//! an empty engine and to open the same one again.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use strait_types::{ClusterName, Revision};

use crate::engine::{Commit, Compare, Engine, EngineError, Expect, Extent, Outcome, Row, Write};
use crate::{Key, ObjectName, ResourceId};

/// Opens engines for the suite.
pub trait Subject {
    /// The engine under test.
    type Engine: Engine;

    /// An engine with nothing in it. Earlier ones are not used any more.
    fn empty(&mut self) -> Self::Engine;

    /// The engine that `empty` made last, after it was dropped; `None` where an engine forgets.
    fn again(&mut self) -> Option<Self::Engine>;
}

/// Runs the suite.
///
/// # Panics
/// If the engine does not conform.
pub fn run(subject: &mut impl Subject) {
    revisions_ascend_by_one_per_commit(&subject.empty());
    compares_see_the_batch_before_them(&subject.empty());
    refused_commits_write_nothing(&subject.empty());
    one_commit_is_one_revision(&subject.empty());
    tail_gives_whole_transactions_with_what_was_before(&subject.empty());
    load_gives_the_log_in_order(&subject.empty());
    compaction_keeps_the_newest_of_every_key(&subject.empty());
    compaction_in_steps_equals_compaction_at_once(&subject.empty(), 1);
    tail_below_the_floor_is_refused(&subject.empty());
    keys_go_when_their_lease_ends(&subject.empty());
    a_kept_lease_keeps_its_keys(&subject.empty());
    a_rewritten_key_leaves_its_old_lease(&subject.empty());
    meta_values_stay(&subject.empty());
    what_was_committed_is_there_again(subject);
}

fn key(resource: &str, name: &str) -> Key {
    let cluster = ClusterName::root();
    Key::new(ResourceId::new("g", resource, ""), cluster, ObjectName::namespaced("ns", name))
}

fn put(key: &Key, body: &'static str) -> Write {
    Write { key: key.clone(), body: Some(Bytes::from_static(body.as_bytes())), lease: None }
}

fn delete(key: &Key) -> Write {
    Write { key: key.clone(), body: None, lease: None }
}

fn expect(key: &Key, expect: Expect) -> Compare {
    Compare { key: key.clone(), expect }
}

fn one(write: Write) -> Commit {
    Commit { compares: Vec::new(), writes: vec![write] }
}

fn commit(engine: &impl Engine, batch: &[Commit]) -> Vec<Outcome> {
    engine.commit(batch).expect("commit")
}

fn rows(engine: &impl Engine, after: u64) -> Vec<Row> {
    engine.tail(Revision(after), usize::MAX).expect("tail")
}

fn loaded(engine: &impl Engine) -> (Vec<(u64, String, Option<Bytes>)>, Extent) {
    let mut all = Vec::new();
    let extent = engine.load(&mut |row| all.push((row.revision.0, row.key.encode(), row.body)));
    (all, extent.expect("load"))
}

fn revisions_ascend_by_one_per_commit(engine: &impl Engine) {
    let a = key("a", "x");
    let batch = [one(put(&a, "1")), one(put(&a, "2"))];
    let committed = |revision| Outcome::Committed(Revision(revision));
    assert_eq!(commit(engine, &batch), [committed(1), committed(2)]);
    assert_eq!(commit(engine, &[one(delete(&a))]), [committed(3)]);
    let extent = engine.extent().expect("extent");
    assert_eq!(extent, Extent { floor: Revision(0), head: Revision(3) });
}

fn compares_see_the_batch_before_them(engine: &impl Engine) {
    let a = key("a", "x");
    let create = Commit { compares: vec![expect(&a, Expect::Absent)], writes: vec![put(&a, "1")] };
    let update = |revision| Commit {
        compares: vec![expect(&a, Expect::Revision(Revision(revision)))],
        writes: vec![put(&a, "2")],
    };
    let outcomes = commit(engine, &[create.clone(), create, update(1), update(1)]);
    let committed = |revision| Outcome::Committed(Revision(revision));
    let refused = Outcome::Refused(0);
    assert_eq!(outcomes, [committed(1), refused, committed(2), refused]);
}

fn refused_commits_write_nothing(engine: &impl Engine) {
    let (a, b) = (key("a", "x"), key("b", "x"));
    let refused = Commit {
        compares: vec![expect(&a, Expect::Absent), expect(&b, Expect::Revision(Revision(9)))],
        writes: vec![put(&a, "1"), put(&b, "1")],
    };
    assert_eq!(commit(engine, &[refused]), [Outcome::Refused(1)]);
    assert!(rows(engine, 0).is_empty());
    assert_eq!(engine.extent().expect("extent").head, Revision(0));
}

fn one_commit_is_one_revision(engine: &impl Engine) {
    let (a, b) = (key("a", "x"), key("b", "x"));
    let both = Commit { compares: Vec::new(), writes: vec![put(&a, "1"), put(&b, "1")] };
    assert_eq!(commit(engine, &[both]), [Outcome::Committed(Revision(1))]);
    let revisions: Vec<_> = rows(engine, 0).iter().map(|row| row.revision.0).collect();
    assert_eq!(revisions, [1, 1]);
}

fn tail_gives_whole_transactions_with_what_was_before(engine: &impl Engine) {
    let (a, b) = (key("a", "x"), key("b", "x"));
    let both = Commit { compares: Vec::new(), writes: vec![put(&a, "1"), put(&b, "1")] };
    commit(engine, &[both, one(put(&a, "2")), one(delete(&a)), one(put(&a, "3"))]);

    let first = engine.tail(Revision(0), 1).expect("tail");
    assert_eq!(first.len(), 2, "a transaction is not cut");
    let rest = rows(engine, 1);
    let shown: Vec<_> =
        rest.iter().map(|row| (row.revision.0, row.body.clone(), row.previous.clone())).collect();
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let before = |revision, body: &'static str| {
        Some((Revision(revision), Bytes::from_static(body.as_bytes())))
    };
    let expected =
        [(2, text("2"), before(1, "1")), (3, None, before(2, "2")), (4, text("3"), None)];
    assert_eq!(shown, expected);
    assert!(rows(engine, 4).is_empty());
}

fn load_gives_the_log_in_order(engine: &impl Engine) {
    let (a, b) = (key("a", "x"), key("b", "x"));
    commit(engine, &[one(put(&b, "1")), one(put(&a, "1")), one(delete(&b))]);
    let (all, extent) = loaded(engine);
    let revisions: Vec<_> = all.iter().map(|(revision, ..)| *revision).collect();
    assert_eq!(revisions, [1, 2, 3]);
    assert_eq!(all[2].2, None);
    assert_eq!(extent, Extent { floor: Revision(0), head: Revision(3) });
}

/// Writes a history in which every case of compaction occurs.
fn write_history(engine: &impl Engine) {
    let (a, b, c) = (key("a", "x"), key("b", "x"), key("c", "x"));
    commit(
        engine,
        &[
            one(put(&a, "1")),                                                         // 1
            Commit { compares: Vec::new(), writes: vec![put(&a, "2"), put(&b, "1")] }, // 2
            one(put(&c, "1")),                                                         // 3
            one(delete(&b)),                                                           // 4
            one(put(&a, "3")),                                                         // 5
            one(put(&b, "2")),                                                         // 6
            one(delete(&c)),                                                           // 7
        ],
    );
}

fn compact_to(engine: &impl Engine, floor: u64, step: u32) {
    let mut steps = 0;
    while engine.compact(Revision(floor), step).expect("compact") {
        steps += 1;
        assert!(steps < 100, "compaction ends");
    }
}

fn compaction_keeps_the_newest_of_every_key(engine: &impl Engine) {
    write_history(engine);
    compact_to(engine, 5, 100);
    let (all, extent) = loaded(engine);
    let kept: Vec<_> = all.iter().map(|(revision, key, _)| (*revision, &**key)).collect();
    let (a, b, c) = ("g/a//root/ns/x", "g/b//root/ns/x", "g/c//root/ns/x");
    assert_eq!(kept, [(3, c), (5, a), (6, b), (7, c)]);
    assert_eq!(extent, Extent { floor: Revision(5), head: Revision(7) });
    let last = rows(engine, 6).pop().expect("the deletion of c");
    assert_eq!(last.previous, Some((Revision(3), Bytes::from_static(b"1"))));
    compact_to(engine, 100, 100);
    let (all, extent) = loaded(engine);
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(extent.floor, Revision(7), "the floor stops at the head");
}

fn compaction_in_steps_equals_compaction_at_once(engine: &impl Engine, step: u32) {
    write_history(engine);
    compact_to(engine, 5, step);
    let (all, extent) = loaded(engine);
    assert_eq!(all.iter().map(|(revision, ..)| *revision).collect::<Vec<_>>(), [3, 5, 6, 7]);
    assert_eq!(extent.floor, Revision(5));
}

fn tail_below_the_floor_is_refused(engine: &impl Engine) {
    write_history(engine);
    compact_to(engine, 4, 100);
    let error = engine.tail(Revision(3), 10).expect_err("it is gone");
    assert!(matches!(error, EngineError::Compacted { floor: Revision(4) }), "{error:?}");
    assert_eq!(rows(engine, 4).len(), 3);
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).expect("a time in 1970")
}

fn keys_go_when_their_lease_ends(engine: &impl Engine) {
    let (a, b) = (key("a", "x"), key("a", "y"));
    let lease = engine.grant(Duration::from_secs(10), at(0)).expect("grant");
    let attached = Write { lease: Some(lease), ..put(&a, "1") };
    commit(engine, &[one(attached), one(put(&b, "1"))]);
    assert!(engine.expire(at(9), 100).expect("expire").is_empty());
    let gone = engine.expire(at(10), 100).expect("expire");
    assert_eq!(gone.len(), 1);
    assert_eq!((gone[0].revision, &gone[0].key, &gone[0].body), (Revision(3), &a, &None));
    assert_eq!(engine.extent().expect("extent").head, Revision(3));
    assert!(engine.expire(at(99), 100).expect("expire").is_empty());
    assert!(!engine.keep_alive(lease, Duration::from_secs(10), at(99)).expect("keep_alive"));
}

fn a_kept_lease_keeps_its_keys(engine: &impl Engine) {
    let a = key("a", "x");
    let lease = engine.grant(Duration::from_secs(10), at(0)).expect("grant");
    commit(engine, &[one(Write { lease: Some(lease), ..put(&a, "1") })]);
    assert!(engine.keep_alive(lease, Duration::from_secs(10), at(5)).expect("keep_alive"));
    assert!(engine.expire(at(14), 100).expect("expire").is_empty());
    assert_eq!(engine.expire(at(15), 100).expect("expire").len(), 1);
}

fn a_rewritten_key_leaves_its_old_lease(engine: &impl Engine) {
    let a = key("a", "x");
    let lease = engine.grant(Duration::from_secs(10), at(0)).expect("grant");
    commit(engine, &[one(Write { lease: Some(lease), ..put(&a, "1") }), one(put(&a, "2"))]);
    assert!(engine.expire(at(99), 100).expect("expire").is_empty());
}

fn meta_values_stay(engine: &impl Engine) {
    assert_eq!(engine.meta("floor").expect("meta"), None, "callers' names are apart");
    engine.set_meta("a", b"1").expect("set_meta");
    engine.set_meta("a", b"2").expect("set_meta");
    assert_eq!(engine.meta("a").expect("meta").as_deref(), Some(&b"2"[..]));
}

fn what_was_committed_is_there_again(subject: &mut impl Subject) {
    let engine = subject.empty();
    write_history(&engine);
    engine.set_meta("a", b"1").expect("set_meta");
    let before = loaded(&engine);
    drop(engine);
    let Some(engine) = subject.again() else {
        return;
    };
    assert_eq!(loaded(&engine), before);
    assert_eq!(engine.meta("a").expect("meta").as_deref(), Some(&b"1"[..]));
    let next = commit(&engine, &[one(put(&key("a", "x"), "4"))]);
    assert_eq!(next, [Outcome::Committed(Revision(8))]);
}
