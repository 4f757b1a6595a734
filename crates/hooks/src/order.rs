//! What waits for a backend, and what goes next.
//!
//! Pure. Positions wait, not bodies. Without keys, events go in the order of their positions
//! where nothing fails, and one that fails holds nothing up. With keys, those of one key go one
//! after another, and a key whose first event fails holds up no other key.
//!
//! # Memory
//! Positions that follow one another and have one key (or none) wait in [`WAITING_BYTES_MAX`]
//! bytes together; at worst each takes as many. Keys are kept as hashes.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::event::Position;

/// Bytes that one waiting position takes at worst, what is allocated ahead included: a run of
/// 24 bytes in a queue that is at least half full; an entry of 24 bytes in a heap that is at
/// least half full; or, behind another of its key, 16 bytes in a tree whose nodes are at least
/// 5/11 full. A key that is held up takes 18 more for itself.
pub const WAITING_BYTES_MAX: usize = 72;

/// What orders events: a hash, so that it is small whatever it was made from. Two keys of one
/// hash would only be ordered together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The key that stands for `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        Self(hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// What is kept in place of an optional key: 0 is none, and no key.
    fn slot(key: Option<Self>) -> u64 {
        key.map_or(0, |key| key.0.max(1))
    }
}

/// What waits for one backend.
///
/// A position is in it once: waiting, held up behind its key, put off, or in flight. One that is
/// added again is never in flight twice.
#[derive(Clone, Debug)]
pub struct Queue {
    limit: usize,
    ready: VecDeque<Run>,
    /// Behind another of the same key; the key comes first.
    behind: BTreeSet<(u64, u64)>,
    /// Put off: in milliseconds since 1970 until when, position, key.
    later: BinaryHeap<Reverse<(i64, u64, u64)>>,
    /// Keys with a position in flight or put off.
    busy: HashSet<u64>,
    /// Position and key.
    flying: HashMap<u64, u64>,
    /// In flight, and added again meanwhile.
    again: HashSet<u64>,
    /// How many are ready.
    count: usize,
    /// What was put off goes next, if it is due.
    turn: bool,
}

/// Positions that follow one another, of one key.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    last: u64,
    key: u64,
}

impl Queue {
    /// Nothing, of which at most `limit` will be in flight at a time.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ready: VecDeque::new(),
            behind: BTreeSet::new(),
            later: BinaryHeap::new(),
            busy: HashSet::new(),
            flying: HashMap::new(),
            again: HashSet::new(),
            count: 0,
            turn: false,
        }
    }

    /// Adds a position behind all others. For the order of keys to be that of positions, these
    /// come in their order.
    pub fn push(&mut self, position: Position, key: Option<Key>) {
        self.push_run(position, position, key);
    }

    /// Adds positions that follow one another, both ends included, and have one key or none.
    pub fn push_run(&mut self, first: Position, last: Position, key: Option<Key>) {
        let run = Run { first: first.0, last: last.0, key: Key::slot(key) };
        if run.first > run.last {
            return;
        }
        self.count += run.length();
        match self.ready.back_mut() {
            Some(back) if back.key == run.key && back.last.checked_add(1) == Some(run.first) => {
                back.last = run.last;
            }
            _ => self.ready.push_back(run),
        }
    }

    /// Takes what goes next at `now`, which is in flight then. None if nothing may go: too much
    /// is in flight, or all that waits is put off or held up.
    ///
    /// What was put off and is due takes turns with what was not tried yet. What is in flight
    /// already goes again when that is settled.
    pub fn next(&mut self, now: Timestamp) -> Option<Position> {
        if self.flying.len() >= self.limit {
            return None;
        }
        self.turn = !self.turn;
        loop {
            let (position, key) = if self.turn {
                self.next_due(now).or_else(|| self.next_ready())?
            } else {
                self.next_ready().or_else(|| self.next_due(now))?
            };
            if let Entry::Vacant(place) = self.flying.entry(position) {
                place.insert(key);
                return Some(Position(position));
            }
            self.again.insert(position);
        }
    }

    /// When the first of what was put off is due; it may be past.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let Reverse((at, ..)) = self.later.peek()?;
        Some(Timestamp::from_millisecond(*at).unwrap_or(Timestamp::MAX))
    }

    /// Takes out what was in flight and is settled, unless it goes again. Whether it was in
    /// flight.
    pub fn settle(&mut self, position: Position) -> bool {
        let Some(key) = self.flying.remove(&position.0) else {
            return false;
        };
        self.release(key);
        if self.again.remove(&position.0) {
            self.push_front(position.0, key);
        }
        self.shrink();
        true
    }

    /// Puts off what was in flight. Whether it was.
    pub fn put_off(&mut self, position: Position, until: Timestamp) -> bool {
        let Some(key) = self.flying.remove(&position.0) else {
            return false;
        };
        self.again.remove(&position.0);
        self.later.push(Reverse((round_up(until), position.0, key)));
        true
    }

    /// Adds a position that is put off already, as one is that was tried before a restart.
    /// Another of its key that waits goes after it; it must not have one in flight or put off,
    /// or be behind another of its key.
    pub fn push_put_off(&mut self, position: Position, key: Option<Key>, until: Timestamp) {
        let key = Key::slot(key);
        if key != 0 && !self.busy.insert(key) {
            self.behind.insert((key, position.0));
            return;
        }
        self.later.push(Reverse((round_up(until), position.0, key)));
    }

    /// Makes all that was put off due at once: the backend is there again.
    pub fn wake(&mut self) {
        let woken = std::mem::take(&mut self.later).into_vec();
        self.make_ready(woken);
    }

    /// Takes out of `wanted` what waits already; what of it was put off is due at once.
    pub fn hasten(&mut self, wanted: &mut BTreeSet<u64>) {
        self.ready.iter().for_each(|run| take_range(wanted, run.first, run.last));
        for (_, position) in &self.behind {
            wanted.remove(position);
        }
        let mut woken = Vec::new();
        self.later.retain(|entry| {
            let stays = !wanted.remove(&entry.0.1);
            if !stays {
                woken.push(*entry);
            }
            stays
        });
        self.make_ready(woken);
    }

    fn make_ready(&mut self, mut woken: Vec<Reverse<(i64, u64, u64)>>) {
        woken.sort_unstable_by_key(|Reverse((_, position, _))| Reverse(*position));
        for Reverse((_, position, key)) in woken {
            self.busy.remove(&key);
            self.push_front(position, key);
        }
    }

    /// What waits and was not put off, in order, with its keys' positions behind each other; for
    /// a queue of which nothing was taken yet.
    pub(crate) fn into_ready(self) -> impl Iterator<Item = (Position, Option<Key>)> {
        let key = |slot: u64| (slot != 0).then_some(Key(slot));
        let positions = |run: Run| (run.first..=run.last).map(move |at| (Position(at), run.key));
        self.ready.into_iter().flat_map(positions).map(move |(at, slot)| (at, key(slot)))
    }

    /// How many wait or are in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count + self.behind.len() + self.later.len() + self.flying.len()
    }

    /// Whether nothing waits or is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    fn next_due(&mut self, now: Timestamp) -> Option<(u64, u64)> {
        let Reverse((at, ..)) = self.later.peek()?;
        if *at > now.as_millisecond() {
            return None;
        }
        // Its key stays busy.
        self.later.pop().map(|Reverse((_, position, key))| (position, key))
    }

    /// The first whose key is free; those before it go behind their keys for good, so that each
    /// is looked at once.
    fn next_ready(&mut self) -> Option<(u64, u64)> {
        loop {
            let run = self.ready.front_mut()?;
            let (position, key) = (run.first, run.key);
            if run.first == run.last {
                self.ready.pop_front();
            } else {
                run.first += 1;
            }
            self.count -= 1;
            if key == 0 || self.busy.insert(key) {
                return Some((position, key));
            }
            self.behind.insert((key, position));
        }
    }

    /// The key's next goes in front of all: it has waited for longest.
    fn release(&mut self, key: u64) {
        if key == 0 {
            return;
        }
        self.busy.remove(&key);
        let next = self.behind.range((key, 0)..=(key, u64::MAX)).next().copied();
        if let Some((key, position)) = next {
            self.behind.remove(&(key, position));
            self.push_front(position, key);
        }
    }

    fn push_front(&mut self, position: u64, key: u64) {
        self.count += 1;
        match self.ready.front_mut() {
            Some(front) if front.key == key && position.checked_add(1) == Some(front.first) => {
                front.first = position;
            }
            _ => self.ready.push_front(Run { first: position, last: position, key }),
        }
    }

    /// Gives back memory after a backlog.
    fn shrink(&mut self) {
        const LEAST: usize = 1_024;
        let wide = |length, capacity| capacity > LEAST && length < capacity / 4;
        if wide(self.ready.len(), self.ready.capacity()) {
            self.ready.shrink_to(self.ready.capacity() / 2);
        }
        if wide(self.later.len(), self.later.capacity()) {
            self.later.shrink_to(self.later.capacity() / 2);
        }
        if wide(self.busy.len(), self.busy.capacity()) {
            self.busy.shrink_to(self.busy.capacity() / 2);
        }
    }
}

impl Run {
    fn length(self) -> usize {
        usize::try_from(self.last - self.first + 1).unwrap_or(usize::MAX)
    }
}

/// Takes `first` to `last` out of a set, both included.
pub(crate) fn take_range(set: &mut BTreeSet<u64>, first: u64, last: u64) {
    while let Some(position) = set.range(first..=last).next().copied() {
        set.remove(&position);
    }
}

/// Not before `at`.
fn round_up(at: Timestamp) -> i64 {
    let millis = at.as_millisecond();
    let whole = at.subsec_nanosecond() % 1_000_000 == 0;
    if whole { millis } else { millis.saturating_add(1) }
}

#[cfg(test)]
mod tests;
