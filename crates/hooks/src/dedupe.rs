//! Whether an event was received before.
//!
//! Pure. An event is known by its source, the sender's name for the delivery, and the SHA-256 of
//! its body; names alone are not signed. At most [`ENTRIES_MAX`] are remembered, of which the
//! oldest go first, so the worst that a flood does is that a duplicate is delivered. What is
//! remembered is not on disk: at start it is built again from the log's summaries.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::event::Position;

/// Events that are remembered: three a second for a day, in at most 48 MiB, and half as much again
/// for the moment in which they are too many for the table that they are in.
pub const ENTRIES_MAX: usize = 1 << 18;

/// Whether an event was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not.
    New,
    /// It was, and is in the log there.
    Duplicate(Position),
    /// It was not, but another of its name with another body.
    SameIdOtherBody,
}

/// What an event is known by: half a SHA-256 each of where it comes from and of its body, which
/// is what nobody can find another of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    name: Half,
    body: Half,
}

/// Of a SHA-256.
type Half = [u8; 16];

impl Identity {
    /// Of a delivery of a source, with the hash of its body.
    #[must_use]
    pub fn new(source: &str, delivery: &str, sha256: &[u8; 32]) -> Self {
        let mut hash = Sha256::new();
        hash.update((source.len() as u64).to_le_bytes());
        hash.update(source);
        hash.update(delivery);
        let name: [u8; 32] = hash.finalize().into();
        Self { name: half(&name), body: half(sha256) }
    }
}

fn half(hash: &[u8; 32]) -> Half {
    std::array::from_fn(|at| hash[at])
}

/// The events of the last while.
#[derive(Clone, Debug)]
pub struct Dedupe {
    window: Duration,
    limit: usize,
    /// By name, each with the body that it had first.
    known: HashMap<Half, (Half, Known)>,
    /// Those that had another body: there are none unless something is wrong.
    others: BTreeMap<Identity, Known>,
    /// All of them, in the order in which they came.
    order: VecDeque<(Identity, Position)>,
}

/// Where an event is, and when it was received, in seconds since 1970.
type Known = (Position, i64);

impl Dedupe {
    /// Nothing yet. What comes again within `window` is a duplicate.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self::with_limit(window, ENTRIES_MAX)
    }

    fn with_limit(window: Duration, limit: usize) -> Self {
        let (known, others, order) = (HashMap::new(), BTreeMap::new(), VecDeque::new());
        Self { window, limit, known, others, order }
    }

    /// What comes again within `window` is a duplicate from now on.
    pub const fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// Whether an event that arrives at `now` was received within the window before. One that
    /// was received later than `now`, as the clock was set back, counts as within.
    #[must_use]
    pub fn seen(&self, event: &Identity, now: Timestamp) -> Seen {
        let fresh = |known: &Known| !self.is_past(known.1, now);
        if let Some(known) = self.find(event).filter(fresh) {
            return Seen::Duplicate(known.0);
        }
        let first = Identity { body: [0; 16], ..*event };
        let last = Identity { body: [u8::MAX; 16], ..*event };
        let other = self.known.get(&event.name).is_some_and(|(_, known)| fresh(known))
            || self.others.range(first..=last).any(|(_, known)| fresh(known));
        if other { Seen::SameIdOtherBody } else { Seen::New }
    }

    /// Remembers an event that is in the log, and forgets those that are past the window or too
    /// many. At start, for each of the log's in its order.
    pub fn insert(&mut self, event: Identity, position: Position, received: Timestamp) {
        while let Some((oldest, at)) = self.order.front().copied() {
            let known = self.find(&oldest).filter(|(newest, _)| *newest == at);
            let past = known.is_none_or(|(_, then)| self.is_past(then, received));
            if !past && self.order.len() < self.limit {
                break;
            }
            if known.is_some() {
                self.forget(&oldest);
            }
            self.order.pop_front();
        }
        let known = (position, received.as_second());
        // The first of its name may be forgotten by now.
        let is_other = self.others.contains_key(&event);
        match self.known.entry(event.name) {
            Entry::Vacant(first) if !is_other => drop(first.insert((event.body, known))),
            Entry::Occupied(mut first) if first.get().0 == event.body => first.get_mut().1 = known,
            _ => drop(self.others.insert(event, known)),
        }
        self.order.push_back((event, position));
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len() + self.others.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, event: &Identity) -> Option<Known> {
        match self.known.get(&event.name) {
            Some((body, known)) if *body == event.body => Some(*known),
            _ => self.others.get(event).copied(),
        }
    }

    /// One that is known.
    fn forget(&mut self, event: &Identity) {
        if self.others.remove(event).is_none() {
            self.known.remove(&event.name);
        }
    }

    fn is_past(&self, received: i64, now: Timestamp) -> bool {
        let window = i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX);
        now.as_second().saturating_sub(received) > window
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn event(delivery: &str, body: u8) -> Identity {
        Identity::new("github", delivery, &[body; 32])
    }

    fn day() -> Dedupe {
        Dedupe::new(Duration::from_secs(24 * 3_600))
    }

    #[test]
    fn an_event_is_known_by_source_name_and_body() {
        let mut dedupe = day();
        assert_eq!(dedupe.seen(&event("a", 1), at(0)), Seen::New);
        dedupe.insert(event("a", 1), Position(1), at(0));
        for (other, seen) in [
            (event("a", 1), Seen::Duplicate(Position(1))),
            (event("a", 2), Seen::SameIdOtherBody),
            (event("b", 1), Seen::New),
            (Identity::new("gitlab", "a", &[1; 32]), Seen::New),
            (Identity::new("githuba", "", &[1; 32]), Seen::New),
            (Identity::new("", "githuba", &[1; 32]), Seen::New),
        ] {
            assert_eq!(dedupe.seen(&other, at(HOUR)), seen, "{other:?}");
        }
        dedupe.insert(event("a", 2), Position(2), at(HOUR));
        assert_eq!(dedupe.seen(&event("a", 1), at(HOUR)), Seen::Duplicate(Position(1)));
        assert_eq!(dedupe.seen(&event("a", 2), at(HOUR)), Seen::Duplicate(Position(2)));
    }

    #[test]
    fn bodies_of_one_name_are_forgotten_each_for_itself() {
        let mut dedupe = day();
        dedupe.insert(event("a", 1), Position(1), at(0));
        dedupe.insert(event("a", 2), Position(2), at(HOUR));
        dedupe.insert(event("a", 3), Position(3), at(2 * HOUR));
        // The first goes, and the second comes again.
        dedupe.insert(event("a", 2), Position(4), at(24 * HOUR + 1));
        assert_eq!(dedupe.seen(&event("a", 1), at(24 * HOUR + 1)), Seen::SameIdOtherBody);
        assert_eq!(dedupe.seen(&event("a", 2), at(25 * HOUR)), Seen::Duplicate(Position(4)));
        assert_eq!(dedupe.len(), 2);
        dedupe.insert(event("a", 1), Position(5), at(48 * HOUR));
        assert_eq!(dedupe.seen(&event("a", 1), at(48 * HOUR)), Seen::Duplicate(Position(5)));
        assert_eq!(dedupe.seen(&event("a", 3), at(48 * HOUR)), Seen::SameIdOtherBody);
        assert_eq!((dedupe.len(), dedupe.order.len()), (2, 2));
        dedupe.insert(event("b", 1), Position(6), at(99 * HOUR));
        assert_eq!((dedupe.len(), dedupe.order.len()), (1, 1));
    }

    #[test]
    fn what_is_past_the_window_is_new_and_is_forgotten() {
        let mut dedupe = day();
        dedupe.insert(event("a", 1), Position(1), at(0));
        dedupe.insert(event("b", 1), Position(2), at(HOUR));
        let end = 24 * HOUR;
        assert_eq!(dedupe.seen(&event("a", 1), at(end)), Seen::Duplicate(Position(1)));
        assert_eq!(dedupe.seen(&event("a", 1), at(end + 1)), Seen::New);
        assert_eq!(dedupe.seen(&event("a", 2), at(end + 1)), Seen::New);
        dedupe.insert(event("a", 1), Position(3), at(end + 1));
        assert_eq!(dedupe.len(), 2);
        assert_eq!(dedupe.seen(&event("a", 1), at(end + 2)), Seen::Duplicate(Position(3)));
        dedupe.insert(event("c", 1), Position(4), at(99 * HOUR));
        assert_eq!((dedupe.len(), dedupe.order.len()), (1, 1));
    }

    #[test]
    fn one_that_comes_again_is_kept_though_its_first_is_forgotten() {
        let mut dedupe = day();
        dedupe.insert(event("far", 1), Position(1), at(90 * HOUR));
        dedupe.insert(event("a", 1), Position(2), at(0));
        // The one of a clock that was ahead keeps those behind it.
        dedupe.insert(event("a", 1), Position(3), at(30 * HOUR));
        dedupe.insert(event("b", 1), Position(4), at(120 * HOUR));
        assert_eq!((dedupe.len(), dedupe.order.len()), (1, 1));
        let mut dedupe = day();
        dedupe.insert(event("a", 1), Position(2), at(0));
        dedupe.insert(event("b", 1), Position(3), at(-90 * HOUR));
        dedupe.insert(event("a", 1), Position(4), at(24 * HOUR));
        dedupe.insert(event("c", 1), Position(5), at(24 * HOUR + 1));
        assert_eq!(dedupe.seen(&event("a", 1), at(25 * HOUR)), Seen::Duplicate(Position(4)));
    }

    #[test]
    fn a_clock_that_goes_back_neither_forgets_nor_grows() {
        let mut dedupe = Dedupe::with_limit(Duration::from_secs(60), 100);
        for position in 0..100 {
            dedupe.insert(event(&position.to_string(), 1), Position(position), at(HOUR));
        }
        for now in [0, HOUR - 1, HOUR, HOUR + 60] {
            let seen = dedupe.seen(&event("0", 1), at(now));
            assert_eq!(seen, Seen::Duplicate(Position(0)), "{now}");
        }
        for position in 100..1_000 {
            dedupe.insert(event(&position.to_string(), 1), Position(position), at(0));
            assert_eq!((dedupe.len(), dedupe.order.len()), (100, 100));
        }
        assert_eq!(dedupe.seen(&event("999", 1), at(0)), Seen::Duplicate(Position(999)));
        assert_eq!(dedupe.seen(&event("899", 1), at(0)), Seen::New, "the oldest go first");
    }

    #[test]
    fn entries_are_small() {
        // A table has a byte for each place, is at most 7/8 full, and has a power of two of places.
        let places = (ENTRIES_MAX * 8 / 7).next_power_of_two();
        let known = places * (size_of::<(Half, (Half, Known))>() + 1);
        let order = ENTRIES_MAX * size_of::<(Identity, Position)>() * 2;
        assert!(known + order <= 48 << 20, "{known} {order}");
        assert!(known + known / 2 + order <= 72 << 20);
    }

    proptest! {
        /// Whatever the clock does: bounded, and what was inserted last is known.
        #[test]
        fn bounded_and_what_came_last_is_known(
            steps in proptest::collection::vec((0_u8..20, 0_u8..3, -200_i64..200), 1..200),
        ) {
            let mut dedupe = Dedupe::with_limit(Duration::from_secs(60), 16);
            for (position, (name, body, time)) in (1..).map(Position).zip(steps) {
                let event = event(&name.to_string(), body);
                dedupe.insert(event, position, at(time));
                prop_assert_eq!(dedupe.seen(&event, at(time)), Seen::Duplicate(position));
                prop_assert!(dedupe.order.len() <= 16 && dedupe.len() <= dedupe.order.len());
            }
        }
    }
}
