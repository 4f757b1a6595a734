//! From what an executor brings back, or a crash leaves, to what the journal says next: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;

use crate::config::{Class, ResultRule};
use crate::execution::{Failure, FailureClass, Limit, Outcome, Record, State};

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ended {
    /// It did what it should, and brought this back.
    Done(Value),
    /// It did not, and that is certain.
    Failed(Failure),
    /// It was never begun, and that is certain. A later try repeats nothing.
    NotBegun(Failure),
    /// Whether it had its effect is unknown.
    Unknown(&'static str),
    /// It was stopped in time, by a wish that is in the record.
    Cancelled,
    /// It ran longer than it may and was stopped.
    OutOfTime,
}

/// When an attempt ended, and what its request allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// This machine's time.
    pub(crate) now: Timestamp,
    /// Whether the request's own deadline has passed.
    pub(crate) deadline_passed: bool,
    /// Between half and whole of the wait before the next attempt.
    pub(crate) jitter: f64,
}

/// The record's next state.
pub(crate) fn settle(class: &Class, record: &Record, ended: Ended, moment: &Moment) -> State {
    let finished = |outcome| State::Finished { outcome };
    match ended {
        Ended::Done(value) => finished(match results(&class.results, &value) {
            Ok(results) => Outcome::Succeeded { results },
            Err(failure) => Outcome::Failed { failure },
        }),
        Ended::Failed(failure) if failure.retryable && class.at_least_once => {
            next_attempt(class, record, failure, moment)
                .unwrap_or_else(|failure| finished(Outcome::Failed { failure }))
        }
        Ended::Failed(failure) => finished(Outcome::Failed { failure }),
        Ended::NotBegun(failure) => not_begun(class, record, failure, moment),
        Ended::Unknown(why) => {
            let failure = Failure::new(FailureClass::Indeterminate, "OutcomeUnknown", why);
            if !class.at_least_once {
                return State::Indeterminate { failure };
            }
            next_attempt(class, record, failure, moment)
                .unwrap_or_else(|failure| State::Indeterminate { failure })
        }
        Ended::Cancelled => finished(Outcome::Cancelled),
        Ended::OutOfTime => finished(Outcome::TimedOut {
            limit: if moment.deadline_passed { Limit::Deadline } else { Limit::Execution },
        }),
    }
}

/// The wait for the next attempt; the failure where there is none.
fn next_attempt(
    class: &Class,
    record: &Record,
    failure: Failure,
    moment: &Moment,
) -> Result<State, Failure> {
    if record.cancel.is_some() {
        return Ok(State::Finished { outcome: Outcome::Cancelled });
    }
    if record.attempt >= class.attempts_max {
        return Err(failure);
    }
    let not_before = later(moment, wait(class, record.attempt, moment.jitter));
    Ok(State::Retry { attempt: record.attempt + 1, not_before, failure })
}

/// The same attempt again, as long as a request may wait.
fn not_begun(class: &Class, record: &Record, failure: Failure, moment: &Moment) -> State {
    if record.cancel.is_some() {
        return State::Finished { outcome: Outcome::Cancelled };
    }
    if !failure.retryable {
        return State::Finished { outcome: Outcome::Failed { failure } };
    }
    let accepted = record.times.accepted.unwrap_or(moment.now);
    let waited = moment.now.duration_since(accepted);
    if waited.unsigned_abs() >= class.queue_timeout && waited.is_positive() {
        return State::Finished { outcome: Outcome::TimedOut { limit: Limit::Queue } };
    }
    // As long as it has waited so far: few tries, however long it lasts.
    let doubled = waited.unsigned_abs().clamp(class.backoff_first, class.backoff_max);
    let not_before = later(moment, doubled.mul_f64(moment.jitter));
    State::Retry { attempt: record.attempt, not_before, failure }
}

/// Doubles with each attempt, up to the class's limit.
fn wait(class: &Class, attempt: u32, jitter: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(30);
    let whole = class.backoff_first.saturating_mul(1 << doublings).min(class.backoff_max);
    whole.mul_f64(jitter)
}

fn later(moment: &Moment, wait: Duration) -> Timestamp {
    moment.now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Takes out what the class names; results as JSON texts.
fn results(rules: &[ResultRule], value: &Value) -> Result<BTreeMap<Box<str>, Box<str>>, Failure> {
    let mut results = BTreeMap::new();
    let failed = |code, rule: &ResultRule, what: &str| {
        let message = format!("the result {} {what}", rule.name);
        Failure::new(FailureClass::Backend, code, message)
    };
    for rule in rules {
        match rule.from.find(value) {
            None | Some(Value::Null) if rule.required => {
                return Err(failed("ResultMissing", rule, "is missing"));
            }
            None | Some(Value::Null) => {}
            Some(found) => {
                let text = found.to_string();
                if text.len() > rule.bytes_max {
                    return Err(failed("ResultTooLarge", rule, "is too large"));
                }
                results.insert(rule.name.clone(), text.into());
            }
        }
    }
    Ok(results)
}

/// What to do about an execution that an earlier process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// It was never begun: the same attempt once more.
    Again,
    /// It may run still, or have left word of its end.
    Adopt,
    /// Nothing tells.
    Unknown,
}

/// What a record says of an execution of which nothing of this process knows.
pub(crate) fn recovery(record: &Record) -> Recovery {
    match (&*record.executor, &record.state) {
        // The gate opens only after Launched is durable.
        ("process", State::StartPending) => Recovery::Again,
        ("process", State::Launched) => Recovery::Adopt,
        _ => Recovery::Unknown,
    }
}

#[cfg(test)]
mod tests;
