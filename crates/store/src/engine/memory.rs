//! An engine without a disk, for tests and for hubs that may forget.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use strait_types::Revision;

use super::{
    Commit, Engine, EngineError, Expect, Extent, LeaseId, Outcome, Row, Write,
    assert_one_key_per_resource,
};
use crate::Key;

/// Keeps the log in memory. What it acknowledges is as durable as the process.
#[derive(Debug, Default)]
pub struct MemoryEngine(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    head: Revision,
    floor: Revision,
    /// Every row still in the log, by revision and position in its transaction.
    log: BTreeMap<(Revision, usize), Logged>,
    current: BTreeMap<Key, Current>,
    leases: BTreeMap<LeaseId, Timestamp>,
    last_lease: i64,
    meta: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Logged {
    key: Key,
    body: Option<Bytes>,
    previous: Option<(Revision, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    at: (Revision, usize),
    lease: Option<LeaseId>,
}

impl MemoryEngine {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl State {
    fn holds(&self, key: &Key, expect: Expect) -> bool {
        match (self.current.get(key), expect) {
            (None, Expect::Absent) => true,
            (Some(current), Expect::Revision(revision)) => current.at.0 == revision,
            _ => false,
        }
    }

    fn commit(&mut self, commit: &Commit) -> Outcome {
        assert_one_key_per_resource(commit);
        let refused = commit.compares.iter().position(|c| !self.holds(&c.key, c.expect));
        if let Some(compare) = refused {
            return Outcome::Refused(compare);
        }
        let revision = self.head.next();
        self.head = revision;
        for (at, write) in commit.writes.iter().enumerate() {
            self.write((revision, at), write);
        }
        Outcome::Committed(revision)
    }

    fn write(&mut self, at: (Revision, usize), write: &Write) {
        let previous = match &write.body {
            Some(_) => self.current.insert(write.key.clone(), Current { at, lease: write.lease }),
            None => self.current.remove(&write.key),
        };
        let logged = Logged {
            key: write.key.clone(),
            body: write.body.clone(),
            previous: previous.map(|current| current.at),
        };
        self.log.insert(at, logged);
    }

    fn row(&self, at: (Revision, usize), logged: &Logged) -> Row {
        let previous = logged.previous.and_then(|at| {
            let body = self.log.get(&at)?.body.clone()?;
            Some((at.0, body))
        });
        Row { revision: at.0, key: logged.key.clone(), body: logged.body.clone(), previous }
    }
}

impl Engine for MemoryEngine {
    fn extent(&self) -> Result<Extent, EngineError> {
        let state = self.0.lock();
        Ok(Extent { floor: state.floor, head: state.head })
    }

    fn load(&self, each: &mut dyn FnMut(Row)) -> Result<Extent, EngineError> {
        let state = self.0.lock();
        for (at, logged) in &state.log {
            let row = state.row(*at, logged);
            each(Row { previous: None, ..row });
        }
        Ok(Extent { floor: state.floor, head: state.head })
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>, EngineError> {
        let mut state = self.0.lock();
        Ok(batch.iter().map(|commit| state.commit(commit)).collect())
    }

    fn tail(&self, after: Revision, max: usize) -> Result<Vec<Row>, EngineError> {
        let state = self.0.lock();
        if after < state.floor {
            return Err(EngineError::Compacted { floor: state.floor });
        }
        let mut rows: Vec<Row> = Vec::new();
        for (at, logged) in state.log.range((after.next(), 0)..) {
            let new_transaction = rows.last().is_none_or(|row| row.revision != at.0);
            if rows.len() >= max && new_transaction {
                break;
            }
            rows.push(state.row(*at, logged));
        }
        Ok(rows)
    }

    fn compact(&self, floor: Revision, max: u32) -> Result<bool, EngineError> {
        let mut state = self.0.lock();
        let floor = floor.min(state.head);
        if floor <= state.floor {
            return Ok(false);
        }
        let in_range = (state.floor.next(), 0)..(floor.next(), 0);
        // Transactions cross as a whole, so the last one may exceed `max`.
        let last =
            state.log.range(in_range.clone()).nth(max as usize).map_or(floor, |(at, _)| at.0);
        let crossing: Vec<_> = state
            .log
            .range(in_range.start..(last.next(), 0))
            .map(|(at, logged)| (*at, logged.previous, logged.body.is_none()))
            .collect();
        for (at, previous, deletion) in crossing {
            if let Some(previous) = previous {
                state.log.remove(&previous);
            }
            if deletion {
                state.log.remove(&at);
            }
        }
        state.floor = last;
        Ok(last < floor)
    }

    fn grant(&self, ttl: Duration, now: Timestamp) -> Result<LeaseId, EngineError> {
        let mut state = self.0.lock();
        state.last_lease += 1;
        let lease = LeaseId(state.last_lease);
        state.leases.insert(lease, now.saturating_add(ttl).unwrap_or(Timestamp::MAX));
        Ok(lease)
    }

    fn keep_alive(
        &self,
        lease: LeaseId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let mut state = self.0.lock();
        let Some(end) = state.leases.get_mut(&lease) else {
            return Ok(false);
        };
        *end = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
        Ok(true)
    }

    fn expire(&self, now: Timestamp, max: u32) -> Result<Vec<Row>, EngineError> {
        let mut state = self.0.lock();
        let ended: Vec<_> =
            state.leases.iter().filter(|(_, end)| **end <= now).map(|(lease, _)| *lease).collect();
        let of_ended = |lease: &Option<LeaseId>| lease.is_some_and(|lease| ended.contains(&lease));
        let keys: Vec<_> = state
            .current
            .iter()
            .filter(|(_, current)| of_ended(&current.lease))
            .map(|(key, _)| key.clone())
            .take(max as usize)
            .collect();
        let mut rows = Vec::with_capacity(keys.len());
        for key in &keys {
            let delete = Write { key: key.clone(), body: None, lease: None };
            let commit = Commit { compares: Vec::new(), writes: vec![delete] };
            if let Outcome::Committed(revision) = state.commit(&commit) {
                let at = (revision, 0);
                rows.push(state.row(at, &state.log[&at]));
            }
        }
        if rows.len() < max as usize {
            state.leases.retain(|lease, _| !ended.contains(lease));
        }
        Ok(rows)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.lock().meta.get(name).cloned())
    }

    fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), EngineError> {
        self.0.lock().meta.insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}
