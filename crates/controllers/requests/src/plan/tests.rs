//! Every state of a request as a table, and the invariants over random histories.

use proptest::prelude::*;

use super::*;
use crate::execution::{Failure, FailureClass, SpecHash};
use crate::observed::Phase;
use crate::testing::{at, record};

fn object(change: impl FnOnce(&mut Observed)) -> Observed {
    let mut object = Observed {
        created: Some(at(0)),
        generation: 1,
        deleting: false,
        cancel: false,
        claim: Claim::Free,
        deadline: None,
        spec_hash: SpecHash::of(&"spec".into()),
        phase: Phase::None,
    };
    change(&mut object);
    object
}

fn failure() -> Failure {
    Failure::new(FailureClass::Backend, "Busy", "busy")
}

const DONE: Outcome = Outcome::Cancelled;

fn step(past: Past<'_>, object: Presence<'_>, change: impl FnOnce(&mut Seen<'_>)) -> Step {
    let mut seen =
        Seen { object, past, alive: false, ending: false, told: false, now: at(10), local: at(10) };
    change(&mut seen);
    plan(&seen)
}

#[test]
fn a_request_that_nothing_is_known_of() {
    let decide =
        |change: &dyn Fn(&mut Observed)| step(Past::None, Presence::Here(&object(change)), |_| {});
    assert_eq!(decide(&|_| {}), Step::Decide);
    assert_eq!(decide(&|o| o.claim = Claim::Ours), Step::Decide);
    assert_eq!(decide(&|o| o.claim = Claim::Foreign), Step::Wait);
    assert_eq!(decide(&|o| o.cancel = true), Step::Finish(Outcome::Cancelled));
    let late = Outcome::TimedOut { limit: Limit::Deadline };
    let deadline = |seconds| std::time::Duration::from_secs(seconds);
    assert_eq!(decide(&|o| o.deadline = Some(deadline(10))), Step::Finish(late));
    assert_eq!(decide(&|o| o.deadline = Some(deadline(11))), Step::Decide);
    assert_eq!(decide(&|o| o.deleting = true), Step::Wait);
    assert_eq!(decide(&|o| (o.deleting, o.claim) = (true, Claim::Ours)), Step::Release);
    for phase in [Phase::Pending, Phase::Accepted] {
        assert_eq!(decide(&|o| o.phase = phase), Step::Decide, "{phase:?}");
    }
    for phase in [Phase::Claimed, Phase::Starting, Phase::Running, Phase::Indeterminate] {
        assert_eq!(decide(&|o| o.phase = phase), Step::Lost, "{phase:?}");
    }
    for phase in [Phase::Succeeded, Phase::Rejected] {
        assert_eq!(decide(&|o| o.phase = phase), Step::Wait, "{phase:?}");
        assert_eq!(decide(&|o| (o.phase, o.claim) = (phase, Claim::Ours)), Step::Release);
    }
    assert_eq!(step(Past::None, Presence::Gone, |_| {}), Step::Forget);
    assert_eq!(step(Past::None, Presence::Unseen, |_| {}), Step::Wait);
    let ran = step(Past::Forgotten, Presence::Here(&object(|_| {})), |_| {});
    assert_eq!(ran, Step::Lost);
}

#[test]
fn what_is_being_started_ends_when_its_request_does() {
    let alive = |object, ending| {
        step(Past::None, object, |seen| (seen.alive, seen.ending) = (true, ending))
    };
    let deleted = object(|o| o.deleting = true);
    let asked = object(|o| o.cancel = true);
    for (here, expected) in [
        (Presence::Here(&object(|_| {})), Step::Wait),
        (Presence::Gone, Step::Cancel(Cancel::Deleted)),
        (Presence::Here(&deleted), Step::Cancel(Cancel::Deleted)),
        (Presence::Here(&asked), Step::Cancel(Cancel::Requested)),
    ] {
        assert_eq!(alive(here, false), expected);
        assert_eq!(alive(here, true), Step::Wait);
    }
}

#[test]
fn what_runs_is_watched_over_and_what_was_left_is_looked_after() {
    let launched = record(1, State::Launched);
    let step = |record: &Record, object: Presence<'_>, told, alive| {
        step(Past::Record(record), object, |seen| (seen.told, seen.alive) = (told, alive))
    };
    let plain = object(|o| o.claim = Claim::Ours);
    for state in [State::StartPending, State::Launched] {
        let left = record(1, state);
        assert_eq!(step(&left, Presence::Unseen, false, false), Step::Recover);
        assert_eq!(step(&left, Presence::Gone, false, false), Step::Recover);
    }
    assert_eq!(step(&launched, Presence::Here(&plain), false, true), Step::Tell);
    assert_eq!(step(&launched, Presence::Here(&plain), true, true), Step::Wait);
    let deleted = object(|o| (o.deleting, o.claim) = (true, Claim::Ours));
    let here = Presence::Here(&deleted);
    assert_eq!(step(&launched, here, true, true), Step::Cancel(Cancel::Deleted));
    // Once the wish is in the journal, the object may go while the program ends.
    let mut ending = launched;
    ending.cancel = Some(Cancel::Deleted);
    assert_eq!(step(&ending, here, true, true), Step::Release);
    assert_eq!(step(&ending, Presence::Gone, false, true), Step::Wait);
}

#[test]
fn a_failed_attempt_waits_and_goes_on() {
    let retry = |second| State::Retry { attempt: 2, not_before: at(second), failure: failure() };
    let (soon, now) = (record(1, retry(11)), record(1, retry(10)));
    let plain = object(|o| o.claim = Claim::Ours);
    let here = Presence::Here(&plain);
    let step =
        |record: &Record, object, told| step(Past::Record(record), object, |seen| seen.told = told);
    assert_eq!(step(&soon, here, false), Step::Tell);
    assert_eq!(step(&soon, here, true), Step::WaitUntil(at(11)));
    assert_eq!(step(&now, here, false), Step::Decide);
    assert_eq!(step(&soon, Presence::Unseen, false), Step::Wait);
    assert_eq!(step(&soon, Presence::Gone, true), Step::Finish(Outcome::Cancelled));
    let cancelled = object(|o| o.cancel = true);
    assert_eq!(step(&soon, Presence::Here(&cancelled), true), Step::Finish(Outcome::Cancelled));
}

#[test]
fn an_end_is_told_then_acknowledged_then_let_go() {
    let plain = object(|o| o.claim = Claim::Ours);
    let let_go = object(|_| {});
    let step = |state, object, told| {
        step(Past::Record(&record(1, state)), object, |seen| seen.told = told)
    };
    let finished = || State::Finished { outcome: DONE };
    let reported = || State::Reported { outcome: DONE };
    let here = Presence::Here(&plain);
    assert_eq!(step(finished(), Presence::Unseen, false), Step::Wait);
    assert_eq!(step(finished(), here, false), Step::Tell);
    assert_eq!(step(finished(), here, true), Step::Acknowledge);
    assert_eq!(step(finished(), Presence::Gone, false), Step::Acknowledge);
    assert_eq!(step(reported(), here, true), Step::Release);
    assert_eq!(step(reported(), here, false), Step::Tell);
    assert_eq!(step(reported(), Presence::Here(&let_go), true), Step::Wait);
    assert_eq!(step(reported(), Presence::Gone, true), Step::Forget);
}

#[test]
fn an_unknown_outcome_waits_for_a_person_or_the_end_of_its_request() {
    let unknown = || State::Indeterminate { failure: failure() };
    let step =
        |object, told| step(Past::Record(&record(1, unknown())), object, |seen| seen.told = told);
    let plain = object(|o| o.claim = Claim::Ours);
    let deleted = object(|o| (o.deleting, o.claim) = (true, Claim::Ours));
    assert_eq!(step(Presence::Here(&plain), false), Step::Tell);
    assert_eq!(step(Presence::Here(&plain), true), Step::Wait);
    assert_eq!(step(Presence::Here(&deleted), true), Step::Release);
    assert_eq!(step(Presence::Gone, true), Step::Finish(Outcome::Abandoned));
}

/// What happens to one request of a class that is at-most-once.
#[derive(Clone, Copy, Debug)]
enum Happening {
    /// The controller takes its next step, or what runs goes on by one.
    Go,
    /// The process dies; nothing in memory survives.
    Crash,
    /// What runs ends.
    End,
    /// The tenant asks for the end.
    CancelAsked,
    /// The tenant deletes.
    Delete,
    /// The hub loses the status, as from a backup.
    HubForgets,
}

/// How far a start is: what `flow` does, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Live {
    None,
    Claiming,
    Recording,
    Launching,
    Running,
}

struct World {
    object: Option<Observed>,
    record: Option<Record>,
    live: Live,
    ending: bool,
    told: Option<Phase>,
    launches: u32,
    ends: Vec<Outcome>,
}

impl World {
    fn new() -> Self {
        Self {
            object: Some(object(|_| {})),
            record: None,
            live: Live::None,
            ending: false,
            told: None,
            launches: 0,
            ends: Vec::new(),
        }
    }

    fn phase(&self) -> Phase {
        match self.record.as_ref().map(|record| &record.state) {
            None => Phase::None,
            Some(State::StartPending) => Phase::Starting,
            Some(State::Launched) => Phase::Running,
            Some(State::Retry { .. }) => Phase::Accepted,
            Some(State::Indeterminate { .. }) => Phase::Indeterminate,
            Some(State::Finished { .. } | State::Reported { .. }) => Phase::Cancelled,
        }
    }

    fn seen(&self) -> Seen<'_> {
        Seen {
            object: self.object.as_ref().map_or(Presence::Gone, Presence::Here),
            past: self.record.as_ref().map_or(Past::None, Past::Record),
            alive: self.live != Live::None,
            ending: self.ending,
            told: self.told == Some(self.phase())
                && self.object.as_ref().is_none_or(|object| object.phase == self.phase()),
            now: at(10),
            local: at(10),
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Go => self.go(),
            Happening::Crash => {
                (self.live, self.ending, self.told) = (Live::None, false, None);
            }
            Happening::End if self.live == Live::Running => {
                self.finish(Outcome::Succeeded { results: std::collections::BTreeMap::default() });
                self.live = Live::None;
            }
            Happening::End => {}
            Happening::CancelAsked => {
                if let Some(object) = &mut self.object {
                    object.cancel = true;
                }
            }
            Happening::Delete => {
                if let Some(object) = &mut self.object {
                    object.deleting = true;
                }
                self.settle_object();
            }
            Happening::HubForgets => {
                if let Some(object) = &mut self.object {
                    object.phase = Phase::None;
                }
            }
        }
    }

    fn settle_object(&mut self) {
        let gone = |object: &Observed| object.deleting && object.claim == Claim::Free;
        if self.object.as_ref().is_some_and(gone) {
            self.object = None;
        }
    }

    fn go(&mut self) {
        match plan(&self.seen()) {
            Step::Wait | Step::WaitUntil(_) => self.go_on(),
            step => self.take(&step),
        }
    }

    /// The start goes on by one, in the order of `flow`.
    fn go_on(&mut self) {
        self.live = match self.live {
            Live::Claiming if self.ending || self.object.is_none() => Live::None,
            Live::Claiming => {
                self.object.as_mut().unwrap().claim = Claim::Ours;
                Live::Recording
            }
            Live::Recording if self.ending => Live::None,
            Live::Recording => {
                // Compare-and-set: no attempt is recorded twice.
                let again = self.record.as_ref().map(|record| &record.state);
                assert!(matches!(again, None | Some(State::Retry { .. })));
                self.record = Some(record(1, State::StartPending));
                Live::Launching
            }
            Live::Launching if self.ending => {
                self.finish(Outcome::Cancelled);
                Live::None
            }
            Live::Launching => {
                assert_eq!(self.record.as_ref().unwrap().state, State::StartPending);
                self.record.as_mut().unwrap().state = State::Launched;
                self.launches += 1;
                Live::Running
            }
            live => live,
        };
        if self.live == Live::None {
            self.ending = false;
        }
    }

    fn finish(&mut self, outcome: Outcome) {
        assert!(self.record.as_ref().is_none_or(|record| {
            !matches!(record.state, State::Finished { .. } | State::Reported { .. })
        }));
        let mut ended = self.record.take().unwrap_or_else(|| record(1, State::Launched));
        ended.state = State::Finished { outcome: outcome.clone() };
        self.ends.push(outcome);
        self.record = Some(ended);
        self.ending = false;
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Decide => {
                assert_eq!(self.live, Live::None);
                self.live = Live::Claiming;
            }
            Step::Finish(outcome) => self.finish(outcome.clone()),
            Step::Lost => {
                self.record = Some(record(1, State::Indeterminate { failure: failure() }));
            }
            Step::Recover => {
                let record = self.record.as_mut().unwrap();
                record.state = match record.state {
                    State::StartPending => {
                        State::Retry { attempt: 1, not_before: at(0), failure: failure() }
                    }
                    _ => State::Indeterminate { failure: failure() },
                };
            }
            Step::Cancel(cancel) => {
                self.ending = true;
                if self.live == Live::Running {
                    self.record.as_mut().unwrap().cancel = Some(*cancel);
                }
            }
            Step::Tell => {
                self.told = Some(self.phase());
                let phase = self.phase();
                self.object.as_mut().unwrap().phase = phase;
            }
            Step::Release => {
                let ended = self.record.as_ref().is_none_or(|record| {
                    record.cancel.is_some()
                        || matches!(record.state, State::Reported { .. })
                        || matches!(record.state, State::Indeterminate { .. })
                });
                assert!(ended, "the claim went before the end was journaled");
                self.object.as_mut().unwrap().claim = Claim::Free;
                self.settle_object();
            }
            Step::Acknowledge => {
                let record = self.record.as_mut().unwrap();
                let State::Finished { outcome } = record.state.clone() else {
                    panic!("{record:?}");
                };
                let told = self.object.is_none() || self.told.is_some();
                assert!(told, "acknowledged before it was told");
                record.state = State::Reported { outcome };
            }
            Step::Forget => {}
            Step::Wait | Step::WaitUntil(_) => unreachable!("these are no steps"),
        }
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => Just(Happening::Go),
        1 => Just(Happening::Crash),
        2 => Just(Happening::End),
        1 => Just(Happening::CancelAsked),
        1 => Just(Happening::Delete),
        1 => Just(Happening::HubForgets),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_history_starts_once_ends_once_and_lets_go(
        history in proptest::collection::vec(happening(), 0..60),
    ) {
        let mut world = World::new();
        for happening in history {
            world.happens(happening);
            prop_assert!(world.launches <= 1);
            prop_assert!(world.ends.len() <= 1);
        }
        // Left alone, it comes to rest: ended and told, waiting for a person, or gone.
        for _ in 0..60 {
            world.happens(Happening::Go);
            world.happens(Happening::End);
        }
        prop_assert_eq!(world.live, Live::None);
        let state = world.record.as_ref().map(|record| &record.state);
        match (&world.object, state) {
            (None, None | Some(State::Reported { .. })) => {}
            (Some(object), Some(State::Reported { .. })) => {
                prop_assert_eq!(object.claim, Claim::Free);
                prop_assert!(object.phase.is_terminal());
            }
            (Some(object), Some(State::Indeterminate { .. })) => {
                prop_assert_eq!(object.phase, Phase::Indeterminate);
            }
            rest => prop_assert!(false, "comes to no rest: {rest:?}"),
        }
    }
}
