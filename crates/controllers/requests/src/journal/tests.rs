//! What a journal knows after a restart, what it forgets, and who may change what.

use std::collections::BTreeMap;

use strait_store::engine::SqliteEngine;

use super::*;
use crate::execution::{Failure, FailureClass, Outcome};
use crate::testing::{at, clock, hub, memory_store, open_store, record};

fn open(store: Store) -> (Journal, Vec<Entry>) {
    Journal::open(store, hub(), clock(), &Metrics::new()).unwrap()
}

fn reported(number: u8, second: i64) -> Record {
    let mut record = record(number, State::Reported { outcome: Outcome::Cancelled });
    record.times.finished = Some(at(second));
    record
}

#[tokio::test]
async fn an_execution_is_created_once_and_changed_by_who_has_its_newest_record() {
    let (journal, _) = open(memory_store());
    let entry = journal.create(record(1, State::StartPending)).await.unwrap();
    let again = journal.create(record(1, State::StartPending)).await;
    assert!(matches!(again, Err(JournalError::Changed)));

    let launched = journal.update(&entry, record(1, State::Launched)).await.unwrap();
    let stale = journal.update(&entry, record(1, State::Launched)).await;
    assert!(matches!(stale, Err(JournalError::Changed)));
    assert!(matches!(journal.withdraw(&entry).await, Err(JournalError::Changed)));
    journal.withdraw(&launched).await.unwrap();
    journal.create(record(1, State::StartPending)).await.unwrap();
}

#[tokio::test]
async fn every_state_reads_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.db");
    let sqlite = || open_store(Arc::new(SqliteEngine::open(&path).unwrap()));
    let failure = || Failure::new(FailureClass::Backend, "HTTP503", "busy \"now\"").retryable();
    let results = BTreeMap::from([("signature".into(), "\"text\"".into())]);
    let states = [
        State::StartPending,
        State::Launched,
        State::Retry { attempt: 2, not_before: at(9), failure: failure() },
        State::Indeterminate { failure: failure() },
        State::Finished { outcome: Outcome::Succeeded { results } },
        State::Reported { outcome: Outcome::Rejected { failure: failure() } },
    ];
    let mut written = Vec::new();
    {
        let store = sqlite();
        let (journal, entries) = open(store.clone());
        assert_eq!(entries, []);
        for (number, state) in (1..).zip(states) {
            let mut record = record(number, state);
            record.cancel = Some(crate::execution::Cancel::Deleted);
            record.times.started = Some(at(1));
            written.push(journal.create(record).await.unwrap());
        }
        store.close();
    }
    let (_, mut entries) = open(sqlite());
    let order = |entry: &Entry| entry.revision;
    entries.sort_by_key(order);
    assert_eq!(entries, written);
}

#[tokio::test]
async fn what_is_old_is_forgotten_but_for_a_tombstone() {
    let store = memory_store();
    let (journal, _) = open(store.clone());
    let week = i64::try_from(REPORTED_AGE.as_secs()).unwrap();
    let mut entries = vec![
        journal.create(reported(1, -week - 2)).await.unwrap(),
        journal.create(reported(2, -week + 2)).await.unwrap(),
        journal.create(record(3, State::Launched)).await.unwrap(),
    ];
    // A retried request is remembered by its first attempt.
    let mut second = reported(4, -week - 1);
    second.attempt = 2;
    entries.push(journal.create(second).await.unwrap());

    let gone = surplus(entries.iter(), at(0));
    assert_eq!(gone, [entries[0].clone(), entries[3].clone()]);
    journal.forget(&gone).await.unwrap();

    let (again, left) = open(store);
    assert_eq!(left.len(), 2);
    for (number, forgotten) in [(1, true), (2, false), (3, false), (4, true)] {
        let first = again.attempt_of(&record(number, State::Launched), 1).unwrap();
        assert_eq!(again.is_forgotten(&first), forgotten, "{number}");
        assert_eq!(journal.is_forgotten(&first), forgotten, "{number}");
    }
    assert!(again.has_room());
}

#[test]
fn only_reported_records_are_surplus_oldest_first() {
    let entry = |record: Record, revision| Entry {
        id: ExecutionId::of_journal(&format!("id{revision}")),
        record,
        revision: Revision(revision),
    };
    let many: Vec<_> = (0..REPORTED_MAX as u64 + 3)
        .map(|number| entry(reported(1, -(number as i64)), number))
        .collect();
    let going = surplus(many.iter(), at(0));
    assert_eq!(going.len(), 3);
    assert_eq!(going[0].revision, Revision(REPORTED_MAX as u64 + 2));
    let mut large = reported(1, 0);
    let results = BTreeMap::from([("r".into(), "x".repeat(REPORTED_BYTES_MAX / 2).into())]);
    large.state = State::Reported { outcome: Outcome::Succeeded { results } };
    let mut older = large.clone();
    older.times.finished = Some(at(-1));
    let going = surplus([entry(large, 1), entry(older, 2)].iter(), at(0));
    assert_eq!(going.iter().map(|entry| entry.revision).collect::<Vec<_>>(), [Revision(2)]);
    let running = [entry(record(1, State::Launched), 1)];
    assert!(surplus(running.iter(), at(1_000_000_000)).is_empty());
}

#[tokio::test]
async fn chunks_fill_up_and_another_begins() {
    let store = memory_store();
    let mut tombstones = Tombstones::read(&store).unwrap();
    let ids: Vec<_> = (0..6000).map(|n| ExecutionId::of_journal(&format!("id{n}"))).collect();
    for part in ids.chunks(3000) {
        let stones: Vec<_> = part.iter().map(ExecutionId::tombstone).collect();
        let chunk = tombstones.chunk_with(&stones);
        store.commit(&ClusterName::root(), chunk.txn().unwrap()).await.unwrap();
        tombstones.commit(chunk);
    }
    let again = Tombstones::read(&store).unwrap();
    assert_eq!(again.len(), ids.len());
    assert!(ids.iter().all(|id| again.contains(id)));
    assert!(!again.contains(&ExecutionId::of_journal("other")));
}
