//! What to do next about one request: a pure function of what is known.
//!
//! The journal decides; the public object only asks (for work, for its end) and shows. After a
//! crash the same table applies with nothing alive, so recovery is no special case.
//!
//! Invariants, tested over random histories:
//! - nothing starts without a claim at the hub and a `StartPending` in the journal, in that
//!   order;
//! - an attempt is started at most once, and a class that is at-most-once has one attempt;
//! - what is over stays as it is, and is told before it is let go;
//! - a claim is given back only when the end, or the wish to end, is in the journal.

use jiff::Timestamp;

use crate::execution::{Cancel, Limit, Outcome, Record, State};
use crate::observed::{Claim, Observed};

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The object.
    pub(crate) object: Presence<'a>,
    /// What the journal has of its newest attempt.
    pub(crate) past: Past<'a>,
    /// Whether something of this process works on it now.
    pub(crate) alive: bool,
    /// Whether that was told to end.
    pub(crate) ending: bool,
    /// Whether the hub shows what is known.
    pub(crate) told: bool,
    /// The hub's time: deadlines count from what the hub wrote.
    pub(crate) now: Timestamp,
    /// This machine's time.
    pub(crate) local: Timestamp,
}

/// Whether there is an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Presence<'a> {
    /// Not known yet: the hub has not told everything since this process began.
    Unseen,
    /// There is none.
    Gone,
    /// This one.
    Here(&'a Observed),
}

/// What the journal has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Past<'a> {
    /// Nothing.
    None,
    /// That there was an execution, but no longer how it ended.
    Forgotten,
    /// A record.
    Record(&'a Record),
}

/// What to do next. One step at a time: each changes what is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until something changes.
    Wait,
    /// Nothing, until that time.
    WaitUntil(Timestamp),
    /// Drop what is kept in memory.
    Forget,
    /// Ask the policy; then wait for a turn, and start.
    Decide,
    /// Journal this end of a request of which no attempt runs, then tell it.
    Finish(Outcome),
    /// Journal that nobody knows whether it ran.
    Lost,
    /// See what became of an execution that an earlier process started.
    Recover,
    /// End what runs.
    Cancel(Cancel),
    /// Show the hub what is known.
    Tell,
    /// Give the claim back.
    Release,
    /// Journal that the hub knows.
    Acknowledge,
}

/// Decides the next step.
pub(crate) fn plan(seen: &Seen<'_>) -> Step {
    match seen.past {
        Past::Record(record) => match &record.state {
            State::StartPending | State::Launched => running(seen, record),
            State::Retry { not_before, .. } => again(seen, *not_before),
            State::Indeterminate { .. } => unknown(seen),
            State::Finished { .. } => finished(seen),
            State::Reported { .. } => reported(seen),
        },
        Past::None | Past::Forgotten => fresh(seen),
    }
}

/// Nothing was journaled that could run or have run here.
fn fresh(seen: &Seen<'_>) -> Step {
    if seen.alive {
        return end_it(seen).unwrap_or(Step::Wait);
    }
    let object = match seen.object {
        Presence::Unseen => return Step::Wait,
        Presence::Gone => return Step::Forget,
        Presence::Here(object) => object,
    };
    if object.claim == Claim::Foreign {
        return Step::Wait;
    }
    if object.deleting || object.phase.is_terminal() {
        return release(object);
    }
    if object.phase.is_claimed() || matches!(seen.past, Past::Forgotten) {
        // It was claimed by somebody who left no record, or ran once: it may have had its effect.
        return Step::Lost;
    }
    ended_early(seen, object).map_or(Step::Decide, Step::Finish)
}

/// Why what runs should end.
fn wish(seen: &Seen<'_>) -> Option<Cancel> {
    match seen.object {
        Presence::Gone => Some(Cancel::Deleted),
        Presence::Here(object) if object.deleting => Some(Cancel::Deleted),
        Presence::Here(object) if object.cancel => Some(Cancel::Requested),
        Presence::Here(_) | Presence::Unseen => None,
    }
}

/// Tells what runs to end, once.
fn end_it(seen: &Seen<'_>) -> Option<Step> {
    wish(seen).filter(|_| !seen.ending).map(Step::Cancel)
}

/// An end that needs no work: the tenant asked for it, or it is too late.
fn ended_early(seen: &Seen<'_>, object: &Observed) -> Option<Outcome> {
    if object.deleting || object.cancel {
        return Some(Outcome::Cancelled);
    }
    let passed = object.deadline_at().is_some_and(|deadline| deadline <= seen.now);
    passed.then_some(Outcome::TimedOut { limit: Limit::Deadline })
}

const fn release(object: &Observed) -> Step {
    match object.claim {
        Claim::Ours => Step::Release,
        Claim::Free | Claim::Foreign => Step::Wait,
    }
}

fn running(seen: &Seen<'_>, record: &Record) -> Step {
    if !seen.alive {
        return Step::Recover;
    }
    if record.cancel.is_none()
        && let Some(step) = end_it(seen)
    {
        return step;
    }
    match seen.object {
        // The wish is in the journal, so the object need not wait for the end.
        Presence::Here(object)
            if object.deleting && record.cancel.is_some() && object.claim == Claim::Ours =>
        {
            Step::Release
        }
        _ => tell(seen),
    }
}

fn tell(seen: &Seen<'_>) -> Step {
    match seen.object {
        Presence::Here(_) if !seen.told => Step::Tell,
        _ => Step::Wait,
    }
}

/// An attempt failed, and there is another.
fn again(seen: &Seen<'_>, not_before: Timestamp) -> Step {
    if seen.alive {
        return end_it(seen).unwrap_or(Step::Wait);
    }
    let object = match seen.object {
        Presence::Unseen => return Step::Wait,
        Presence::Gone => return Step::Finish(Outcome::Cancelled),
        Presence::Here(object) => object,
    };
    if let Some(outcome) = ended_early(seen, object) {
        return Step::Finish(outcome);
    }
    match tell(seen) {
        _ if seen.local >= not_before => Step::Decide,
        Step::Wait => Step::WaitUntil(not_before),
        tell => tell,
    }
}

fn unknown(seen: &Seen<'_>) -> Step {
    match seen.object {
        Presence::Gone => Step::Finish(Outcome::Abandoned),
        // What is known is in the journal; the object need not wait for a person.
        Presence::Here(object) if object.deleting => release(object),
        _ => tell(seen),
    }
}

fn finished(seen: &Seen<'_>) -> Step {
    match seen.object {
        Presence::Unseen => Step::Wait,
        Presence::Here(_) if !seen.told => Step::Tell,
        Presence::Here(_) | Presence::Gone => Step::Acknowledge,
    }
}

fn reported(seen: &Seen<'_>) -> Step {
    match seen.object {
        Presence::Unseen => Step::Wait,
        Presence::Gone => Step::Forget,
        // Somebody changed the status: what the journal has counts.
        Presence::Here(_) if !seen.told => Step::Tell,
        Presence::Here(object) => release(object),
    }
}

#[cfg(test)]
mod tests;
