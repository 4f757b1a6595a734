//! One backend: what waits for it, and whether it may be tried.
//!
//! Shared by those who add events and by the task that delivers them; nothing here waits.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::budget::Share;
use super::outlet::Outlet;
use crate::breaker::{Admission, Breaker, Pass, Verdict};
use crate::event::Position;
use crate::order::{Key, Queue, take_range};
use crate::schedule::Outcome;
use crate::state::runs::Runs;
use crate::state::{Backend, Change};

/// Unwanted events that are recorded together with others, or each second, up to this many.
const UNWANTED_MAX: usize = 256;

/// What is known of an event for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is of no source of the backend, or does not pass its filter.
    Unwanted,
    /// The backend gets it, after those of its key.
    Wanted(Option<Key>),
    /// It has to be read first.
    Unknown,
}

/// When a lane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// Not now.
    Open,
    /// When what is in flight has ended; what waits stays in the state.
    Drain,
    /// When what is in flight has ended; what waits is forgotten.
    Remove,
    /// At once.
    Abandon,
}

/// An attempt to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) position: Position,
    pub(super) pass: Pass,
    /// Whether the backend wants it is not known.
    pub(super) unchecked: bool,
    /// How often the backend had been woken.
    pub(super) wakes: u32,
}

/// What follows from an attempt: nothing more, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) position: Position,
    /// When to try again, by the monotonic clock.
    pub(super) until: Option<Duration>,
    /// How often the backend had been woken when the attempt began.
    pub(super) wakes: u32,
}

/// What a lane waits for when it cannot begin anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pause(pub(super) Option<Duration>);

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) outlet: Outlet,
    pub(super) id: Backend,
    pub(super) share: Share,
    /// Something is to do.
    pub(super) changed: Notify,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Its times are those of the monotonic clock: a wall clock that jumps holds nothing up.
    queue: Queue,
    /// Waiting to be read for their keys, in order; others go behind them.
    backlog: VecDeque<(u64, u64)>,
    /// In the queue, and not known to be wanted.
    unchecked: Runs,
    unwanted: VecDeque<(u64, u64)>,
    breaker: Breaker,
    last: Option<Outcome>,
    /// How often the backend was known to be there again. What an attempt says that began before
    /// is said of the time before.
    wakes: u32,
    ending: Ending,
}

/// How a backend is doing, from memory alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) waiting: usize,
    pub(super) in_flight: usize,
    pub(super) breaker: Breaker,
    pub(super) last: Option<Outcome>,
}

impl Lane {
    pub(super) fn new(outlet: Outlet, share: Share) -> Self {
        let inner = Inner {
            queue: Queue::new(outlet.backend.in_flight),
            backlog: VecDeque::new(),
            unchecked: Runs::default(),
            unwanted: VecDeque::new(),
            breaker: Breaker::default(),
            last: None,
            wakes: 0,
            ending: Ending::Open,
        };
        Self {
            id: Backend::of(&outlet.backend.name),
            outlet,
            share,
            changed: Notify::new(),
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.outlet.backend.name
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.outlet.backend.order.is_some()
    }

    pub(super) fn takes(&self, source: &str) -> bool {
        self.outlet.backend.sources.iter().any(|name| **name == *source)
    }

    /// Adds an event behind all others.
    pub(super) fn push(&self, position: Position, decision: Decision) {
        let mut inner = self.inner.lock();
        match decision {
            Decision::Unwanted => {
                extend(&mut inner.unwanted, position.0, position.0);
                if inner.unwanted.len() < UNWANTED_MAX {
                    return;
                }
            }
            // Behind those that are still to be read.
            Decision::Wanted(_) if !inner.backlog.is_empty() => {
                extend(&mut inner.backlog, position.0, position.0);
            }
            Decision::Wanted(key) => inner.queue.push(position, key),
            Decision::Unknown => self.push_unknown(&mut inner, position.0, position.0),
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Adds events of which nothing is known.
    pub(super) fn push_runs(&self, runs: impl IntoIterator<Item = (Position, Position)>) {
        let mut inner = self.inner.lock();
        for (first, last) in runs {
            self.push_unknown(&mut inner, first.0, last.0);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Adds events of which nothing is known, those that do not wait already; what of them was
    /// put off is due at once.
    pub(super) fn push_anew(&self, positions: &[Position]) {
        let mut wanted = positions.iter().map(|position| position.0).collect();
        let mut inner = self.inner.lock();
        for (first, last) in &inner.backlog {
            take_range(&mut wanted, *first, *last);
        }
        inner.queue.hasten(&mut wanted);
        for position in wanted {
            self.push_unknown(&mut inner, position, position);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Adds events of which nothing is known before those that were added already: what waited
    /// before the lane was there.
    pub(super) fn push_older(&self, runs: Vec<(Position, Position)>) {
        let mut inner = self.inner.lock();
        // What was asked for anew since the lane is there waits in the state as well.
        let is_older = |at: u64| {
            let after = runs.partition_point(|(first, _)| first.0 <= at);
            after.checked_sub(1).is_some_and(|before| at <= runs[before].1.0)
        };
        let limit = self.outlet.backend.in_flight;
        let newer = std::mem::replace(&mut inner.queue, Queue::new(limit));
        let mut backlog = std::mem::take(&mut inner.backlog);
        backlog.retain(|(first, _)| !is_older(*first));
        for (first, last) in &runs {
            self.push_unknown(&mut inner, first.0, last.0);
        }
        inner.backlog.extend(backlog);
        for (position, key) in newer.into_ready().filter(|(position, _)| !is_older(position.0)) {
            if inner.backlog.is_empty() {
                inner.queue.push(position, key);
            } else {
                extend(&mut inner.backlog, position.0, position.0);
            }
        }
        drop(inner);
        self.changed.notify_one();
    }

    fn push_unknown(&self, inner: &mut Inner, first: u64, last: u64) {
        if self.is_ordered() {
            extend(&mut inner.backlog, first, last);
        } else {
            inner.unchecked.insert(first, last);
            inner.queue.push_run(Position(first), Position(last), None);
        }
    }

    /// The next events that are to be read for their keys, at most so many.
    pub(super) fn to_read(&self, most: u64) -> Option<(Position, Position)> {
        let inner = self.inner.lock();
        let (first, last) = *inner.backlog.front()?;
        Some((Position(first), Position(last.min(first.saturating_add(most - 1)))))
    }

    /// Takes in what was read: as many decisions as there are events from `first` on.
    pub(super) fn was_read(&self, first: Position, decisions: &[Decision]) {
        let mut inner = self.inner.lock();
        for (position, decision) in (first.0..).zip(decisions) {
            match decision {
                Decision::Unwanted => extend(&mut inner.unwanted, position, position),
                Decision::Wanted(key) => inner.queue.push(Position(position), *key),
                Decision::Unknown => inner.queue.push(Position(position), None),
            }
        }
        let next = first.0 + decisions.len() as u64;
        if let Some(front) = inner.backlog.front_mut() {
            front.0 = next;
            if front.0 > front.1 {
                inner.backlog.pop_front();
            }
        }
    }

    /// What goes next, or when to ask again if nothing may.
    pub(super) fn next(&self, now: Duration) -> Result<Start, Pause> {
        let mut inner = self.inner.lock();
        if inner.ending != Ending::Open {
            return Err(Pause(None));
        }
        let (breaker, admission) = inner.breaker.admit(now);
        let pass = match admission {
            Admission::Granted(pass) => pass,
            Admission::Until(_) if inner.queue.len() == inner.queue.in_flight() => {
                return Err(Pause(None));
            }
            Admission::Until(until) => return Err(Pause(Some(until.saturating_sub(now)))),
            Admission::Wait => return Err(Pause(None)),
        };
        let at = instant(now);
        let free = inner.queue.in_flight() < self.outlet.backend.in_flight;
        let mut next = inner.queue.next(at);
        if next.is_none() && free && pass == Pass::Probe {
            // Its time has come, and nothing is due: what was put off shows how it is.
            inner.queue.wake();
            next = inner.queue.next(at);
        }
        let Some(position) = next else {
            let due = inner.queue.due().filter(|_| free);
            let wait = due.map(|due| due.duration_since(at));
            return Err(Pause(wait.map(|wait| Duration::try_from(wait).unwrap_or_default())));
        };
        inner.breaker = breaker;
        let unchecked = inner.unchecked.contains(position.0);
        Ok(Start { position, pass, unchecked, wakes: inner.wakes })
    }

    /// Takes in how an attempt ended, before it is recorded. What the breaker was and is.
    pub(super) fn ended(
        &self,
        (pass, wakes): (Pass, u32),
        verdict: Verdict,
        outcome: Option<Outcome>,
        now: Duration,
    ) -> (Breaker, Breaker) {
        let mut inner = self.inner.lock();
        let before = inner.breaker;
        inner.breaker = before.ended(pass, verdict, now);
        if wakes != inner.wakes {
            inner.breaker = inner.breaker.woken(now);
        }
        inner.last = outcome.or(inner.last);
        self.outlet.metrics.breaker(inner.breaker);
        (before, inner.breaker)
    }

    /// Takes out what is over, and puts off what is not; an attempt that was recorded.
    pub(super) fn settle(&self, ended: &[Effect]) {
        let mut inner = self.inner.lock();
        for Effect { position, until, wakes } in ended.iter().copied() {
            match until {
                None => {
                    inner.queue.settle(position);
                    inner.unchecked.remove(position.0, position.0);
                }
                Some(until) => {
                    let until = if wakes == inner.wakes { until } else { Duration::ZERO };
                    inner.queue.put_off(position, instant(until));
                }
            }
        }
        let waiting = i64::try_from(inner.waiting()).unwrap_or(i64::MAX);
        self.outlet.metrics.waiting.set(waiting);
    }

    /// The unwanted events that were not recorded.
    pub(super) fn unwanted(&self) -> Vec<Change> {
        let runs = std::mem::take(&mut self.inner.lock().unwanted);
        let change = |(first, last)| Change::Unwanted {
            backend: self.id,
            first: Position(first),
            last: Position(last),
        };
        runs.into_iter().map(change).collect()
    }

    /// The backend is known to be there again.
    pub(super) fn wake(&self, now: Duration) {
        let mut inner = self.inner.lock();
        inner.breaker = inner.breaker.woken(now);
        inner.queue.wake();
        inner.wakes = inner.wakes.wrapping_add(1);
        drop(inner);
        self.changed.notify_one();
    }

    /// Once a second: what may wait that long is done.
    pub(super) fn tick(&self) {
        self.outlet.sweep();
        if !self.inner.lock().unwanted.is_empty() {
            self.changed.notify_one();
        }
    }

    pub(super) fn end(&self, ending: Ending) {
        let mut inner = self.inner.lock();
        inner.ending = inner.ending.max(ending);
        drop(inner);
        self.changed.notify_one();
    }

    pub(super) fn ending(&self) -> Ending {
        self.inner.lock().ending
    }

    pub(super) fn look(&self) -> Look {
        let inner = self.inner.lock();
        let in_flight = inner.queue.in_flight();
        Look {
            waiting: inner.waiting() - in_flight,
            in_flight,
            breaker: inner.breaker,
            last: inner.last,
        }
    }
}

impl Inner {
    fn waiting(&self) -> usize {
        let backlog = self.backlog.iter().map(|(first, last)| last - first + 1).sum::<u64>();
        self.queue.len() + usize::try_from(backlog).unwrap_or(usize::MAX)
    }
}

/// The queue's times: the monotonic clock's, as if it had begun in 1970.
fn instant(monotonic: Duration) -> Timestamp {
    let since = SignedDuration::try_from(monotonic).unwrap_or(SignedDuration::MAX);
    Timestamp::UNIX_EPOCH.checked_add(since).unwrap_or(Timestamp::MAX)
}

fn extend(runs: &mut VecDeque<(u64, u64)>, first: u64, last: u64) {
    match runs.back_mut() {
        Some(back) if back.1.checked_add(1) == Some(first) => back.1 = last,
        _ => runs.push_back((first, last)),
    }
}
