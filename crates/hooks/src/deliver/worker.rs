//! The task of one backend: begins attempts, and records how they ended.
//!
//! An attempt's place is used again only when its end is in the state, so a kill repeats no more
//! than was in flight. Records that have to wait for the disk, and bodies that are not at hand,
//! are left to threads that may stand still.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use strait_runtime::Entropy;

use super::Shared;
use super::attempt::Tried;
use super::fetch::{Fetched, fetch};
use super::lane::{Decision, Effect, Ending, Lane, Pause, Start};
use crate::breaker::{Breaker, Pass, Verdict};
use crate::event::Position;
use crate::schedule::{Attempt, Next, Outcome, Reason, next};
use crate::state::{Became, Change, StateError};

/// The longest sleep; times of a clock that is not tokio's are looked at again.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Until what our own disk could not do is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Ends that are recorded together, and how long one waits for others: where nobody wants its
/// place, a write for each would only cost as much as the attempt.
const TOGETHER: usize = 16;
const TOGETHER_WAIT: Duration = Duration::from_millis(1);

/// Events that are read for their keys at a time.
const READ_AHEAD: u64 = 64;

/// How an attempt ended.
#[derive(Debug)]
struct Done {
    position: Position,
    pass: Pass,
    wakes: u32,
    end: End,
}

#[derive(Debug)]
enum End {
    Tried {
        tried: Tried,
        received: Timestamp,
    },
    /// The backend does not get it after all.
    Unwanted,
    /// There is nothing to do: it was taken out while it waited, or is no longer in the log.
    Gone,
    /// It cannot be delivered.
    Unusable,
    /// The disk did not give it.
    Unread,
}

type Recorded = (Vec<Effect>, Result<(), StateError>);

pub(super) struct Worker {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    attempts: FuturesUnordered<BoxFuture<'static, Done>>,
    changes: Vec<Change>,
    effects: Vec<Effect>,
    recording: Option<BoxFuture<'static, Recorded>>,
    reading: Option<BoxFuture<'static, (Position, Vec<Decision>)>>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>) -> Self {
        Self {
            shared,
            lane,
            attempts: FuturesUnordered::new(),
            changes: Vec::new(),
            effects: Vec::new(),
            recording: None,
            reading: None,
        }
    }

    /// Delivers until the lane ends, or nothing can be recorded any more.
    pub(super) async fn run(mut self) {
        loop {
            let pause = self.begin();
            let ending = self.lane.ending();
            if ending == Ending::Abandon {
                self.attempts.clear();
                // What was held for others to end waits for nothing any more.
                if !self.record() {
                    return;
                }
            }
            if ending != Ending::Open && self.is_idle() {
                break;
            }
            if !self.step(pause).await {
                return;
            }
        }
        if self.lane.ending() == Ending::Remove {
            self.shared.remove(&self.lane).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.attempts.is_empty() && self.effects.is_empty() && self.recording.is_none()
    }

    /// Begins what may begin.
    fn begin(&mut self) -> Pause {
        if self.reading.is_none()
            && let Some(run) = self.lane.to_read(READ_AHEAD)
        {
            self.reading = Some(read(self.shared.clone(), self.lane.clone(), run).boxed());
        }
        loop {
            match self.lane.next(self.shared.clock().monotonic()) {
                Ok(start) => {
                    let attempt = attempt(self.shared.clone(), self.lane.clone(), start);
                    self.attempts.push(attempt.boxed());
                }
                Err(pause) => return pause,
            }
        }
    }

    /// Waits for something, and for what else is there already. False if nothing can be recorded.
    async fn step(&mut self, pause: Pause) -> bool {
        let held = self.may_hold().then_some(TOGETHER_WAIT);
        let sleep = held.or(pause.0).map(|wait| tokio::time::sleep(wait.min(SLEEP_MAX)));
        let lane = self.lane.clone();
        tokio::select! {
            biased;
            Some(done) = self.attempts.next(), if !self.attempts.is_empty() => {
                self.conclude(&done);
                while let Some(Some(done)) = self.attempts.next().now_or_never() {
                    self.conclude(&done);
                }
            }
            Some((effects, result)) = finish(&mut self.recording), if self.recording.is_some() => {
                if !self.recorded(&effects, result) {
                    return false;
                }
            }
            Some((first, decisions)) = finish(&mut self.reading), if self.reading.is_some() => {
                self.lane.was_read(first, &decisions);
            }
            // Others are about to offer, too: what they do is begun together.
            () = lane.changed.notified() => tokio::task::yield_now().await,
            Some(()) = maybe(sleep) => return self.record(),
        }
        self.may_hold() || self.record()
    }

    /// Whether what has ended may be recorded a little later, with others that are about to end.
    fn may_hold(&self) -> bool {
        let some = 1..TOGETHER;
        some.contains(&self.effects.len())
            && self.recording.is_none()
            && !self.attempts.is_empty()
            && !self.lane.is_ordered()
            && self.lane.look().waiting == 0
    }

    /// Decides what follows.
    fn conclude(&mut self, done: &Done) {
        let (lane, now) = (self.lane.clone(), self.shared.clock().monotonic());
        let (verdict, outcome) = match &done.end {
            End::Tried { tried, received } => {
                let attempt = attempt_of(tried, *received, 0);
                let retry = &lane.outlet.backend.retry;
                let wall = self.shared.clock().now();
                (Verdict::of(&attempt, retry, wall), Some(tried.outcome))
            }
            _ => (Verdict::Unknown, None),
        };
        let (before, after) = lane.ended((done.pass, done.wakes), verdict, outcome, now);
        tell(&lane, before, after);
        let (became, until) = self.follow(done, now);
        // What is no longer in the log is not written of.
        let there = done.position >= self.shared.keep().log.floor();
        if let Some(became) = became.filter(|_| there) {
            self.changes.push(Change::Became { backend: lane.id, position: done.position, became });
        }
        self.effects.push(Effect { position: done.position, until, wakes: done.wakes });
    }

    fn follow(&self, done: &Done, now: Duration) -> (Option<Became>, Option<Duration>) {
        let at = self.shared.clock().now();
        match &done.end {
            End::Gone => (None, None),
            End::Unread => (None, Some(now + DISK_PAUSE)),
            End::Unwanted => (Some(Became::Unwanted), None),
            End::Tried { tried: Tried { outcome: Outcome::Status(200..=299), .. }, .. } => {
                (Some(Became::Delivered), None)
            }
            End::Unusable => {
                let dead = |attempts| self.dead(done.position, attempts, Reason::Unusable, at);
                (self.attempts_of(done.position).map(dead), None)
            }
            End::Tried { tried, received } => {
                let Some(before) = self.attempts_of(done.position) else { return (None, None) };
                let attempts = before.saturating_add(1);
                let attempt = attempt_of(tried, *received, attempts);
                let retry = &self.lane.outlet.backend.retry;
                match next(&attempt, retry, at, random(&*self.shared.options.context.entropy)) {
                    Next::Delivered => (Some(Became::Delivered), None),
                    Next::Dead(reason) => {
                        (Some(self.dead(done.position, attempts, reason, at)), None)
                    }
                    Next::At(until) => {
                        let wait = Duration::try_from(until.duration_since(at)).unwrap_or_default();
                        let last = Some(tried.outcome);
                        (Some(Became::Waiting { attempts, last, until }), Some(now + wait))
                    }
                }
            }
        }
    }

    fn dead(&self, position: Position, attempts: u32, reason: Reason, at: Timestamp) -> Became {
        tracing::info!(
            backend = self.lane.name(),
            position = position.0,
            attempts,
            ?reason,
            "a webhook is a dead letter"
        );
        self.lane.outlet.metrics.dead.inc();
        Became::Dead { attempts, reason, at }
    }

    /// How often an event was tried before; none if it was taken out meanwhile.
    fn attempts_of(&self, position: Position) -> Option<u32> {
        let became = self.shared.keep().state.read(|table| table.became(self.lane.id, position));
        match became {
            Some(Became::Waiting { attempts, .. } | Became::Dead { attempts, .. }) => {
                Some(attempts)
            }
            Some(Became::Purged) => None,
            Some(Became::Delivered | Became::Unwanted) | None => Some(0),
        }
    }

    /// Records what has ended, unless something is being recorded. False if that is over.
    fn record(&mut self) -> bool {
        if self.recording.is_some() {
            return true;
        }
        self.changes.extend(self.lane.unwanted());
        if self.effects.is_empty() && self.changes.is_empty() {
            return true;
        }
        // What is removed is not written of any more.
        if self.lane.ending() == Ending::Remove {
            self.changes.clear();
        }
        let state = &self.shared.keep().state;
        let none = self.changes.is_empty();
        let written = if none { Some(Ok(())) } else { state.try_record(&self.changes) };
        // Both keep their room.
        let effects = &mut self.effects;
        match written {
            Some(Err(StateError::Full(_))) | None => {
                let (changes, effects) =
                    (std::mem::take(&mut self.changes), std::mem::take(effects));
                let shared = self.shared.clone();
                let recording = async move { (effects, shared.record(changes).await) };
                self.recording = Some(recording.boxed());
                true
            }
            Some(result) => {
                self.changes.clear();
                let mut effects = std::mem::take(effects);
                let goes_on = self.recorded(&effects, result);
                effects.clear();
                self.effects = effects;
                goes_on
            }
        }
    }

    fn recorded(&self, effects: &[Effect], result: Result<(), StateError>) -> bool {
        match result {
            Ok(()) => {
                let over = effects.iter().filter(|effect| effect.until.is_none());
                self.shared.recent.settled(over.map(|effect| effect.position));
                self.lane.settle(effects);
                true
            }
            Err(error) => {
                let err = strait_types::Report(&error).to_string();
                tracing::error!(backend = self.lane.name(), err, "nothing more is delivered");
                false
            }
        }
    }
}

/// One attempt, from reading the event to the backend's answer.
async fn attempt(shared: Arc<Shared>, lane: Arc<Lane>, start: Start) -> Done {
    let Start { position, pass, unchecked, wakes } = start;
    let done = |end| Done { position, pass, wakes, end };
    // Taken out while it waited, or asked for anew and delivered by the attempt of before.
    if !shared.keep().state.read(|table| table.is_unsettled(lane.id, position)) {
        return done(End::Gone);
    }
    let (event, _taken) = match fetch(&shared, &lane.share, position).await {
        Fetched::Event(event, taken) => (event, taken),
        Fetched::Gone => return done(End::Gone),
        Fetched::Damaged => return done(End::Unusable),
        Fetched::Unread => return done(End::Unread),
    };
    if unchecked {
        let decided = shared.decide(&event, Arc::new(vec![lane.clone()]));
        let decisions = Box::pin(decided).await;
        if matches!(decisions[..], [(_, Decision::Unwanted)]) {
            return done(End::Unwanted);
        }
    }
    done(match lane.outlet.send(&event).await {
        Ok(tried) => End::Tried { tried, received: event.received },
        Err(_) => End::Unusable,
    })
}

/// Reads events for what decides about them.
async fn read(
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    (first, last): (Position, Position),
) -> (Position, Vec<Decision>) {
    let decided = tokio::task::spawn_blocking(move || {
        let log = &shared.keep().log;
        let decide = |at| match log.read(Position(at)) {
            Ok(Some(event)) => shared.intake.decide_for(&event, &lane),
            // Its attempt will find what is wrong.
            Ok(None) | Err(_) => Decision::Unknown,
        };
        (first.0..=last.0).map(decide).collect()
    });
    // A panic was told; such events go without a key.
    let unknown = |_| vec![Decision::Unknown];
    (first, decided.await.unwrap_or_else(unknown))
}

fn attempt_of(tried: &Tried, received: Timestamp, count: u32) -> Attempt {
    Attempt { count, outcome: tried.outcome, retry_after: tried.retry_after, received }
}

fn tell(lane: &Lane, before: Breaker, after: Breaker) {
    match (before, after) {
        (Breaker::Closed { .. }, Breaker::Open { .. }) => {
            tracing::info!(backend = lane.name(), "in trouble, and left alone for a while");
        }
        (before, Breaker::Closed { .. }) if !matches!(before, Breaker::Closed { .. }) => {
            tracing::info!(backend = lane.name(), "well again");
        }
        _ => {}
    }
}

/// From 0 to 1.
fn random(entropy: &dyn Entropy) -> f64 {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

/// Waits for what is under way, and takes it out; none if nothing is.
async fn finish<T>(slot: &mut Option<BoxFuture<'static, T>>) -> Option<T> {
    let result = slot.as_mut()?.await;
    *slot = None;
    Some(result)
}

async fn maybe<F: Future>(future: Option<F>) -> Option<F::Output> {
    Some(future?.await)
}
