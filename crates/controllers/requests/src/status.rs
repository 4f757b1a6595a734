//! What the tenant sees: the public status, derived from the journal and never read to decide
//! what runs.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use strait_machinery::json::{Value, parse};
use strait_machinery::object;

use crate::config::Mapping;
use crate::execution::{Failure, Limit, Outcome, Record, SpecHash, State, Times};
use crate::observed::Phase;

/// Characters of a failure's message.
const MESSAGE_CHARS_MAX: usize = 1024;

/// Why a request waits without ever having been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For a turn.
    Turn,
    /// Too many wait already.
    Quota,
    /// The journal has no room for another execution.
    JournalFull,
}

/// Everything that a status says.
#[derive(Clone, Debug, PartialEq, Hash)]
pub(crate) struct Block {
    pub(crate) phase: Phase,
    /// Reason of the conditions; CamelCase.
    reason: Box<str>,
    message: Box<str>,
    generation: i64,
    attempt: u32,
    spec_hash: SpecHash,
    times: Times,
    /// Since when it waits, where it was not accepted.
    since: Option<Timestamp>,
    failure: Option<Failure>,
    /// JSON texts by name.
    results: Vec<(Box<str>, Box<str>)>,
}

impl Block {
    /// The status of a request that waits.
    pub(crate) fn waiting(
        waiting: Waiting,
        generation: i64,
        spec_hash: SpecHash,
        since: Timestamp,
    ) -> Self {
        let (phase, reason, message) = match waiting {
            Waiting::Turn => (Phase::Accepted, "Queued", "waits for a turn"),
            Waiting::Quota => (Phase::Pending, "QuotaExceeded", "too many requests wait already"),
            Waiting::JournalFull => {
                (Phase::Pending, "JournalFull", "the agent can remember no more executions")
            }
        };
        let since = Some(since);
        let accepted = since.filter(|_| phase == Phase::Accepted);
        let times = Times { accepted, ..Times::default() };
        Self {
            phase,
            reason: reason.into(),
            message: message.into(),
            generation,
            attempt: 0,
            spec_hash,
            times,
            since,
            failure: None,
            results: Vec::new(),
        }
    }

    /// The status of an execution.
    pub(crate) fn of(record: &Record) -> Self {
        let (phase, reason, message, failure) = told(record);
        let results = match &record.state {
            State::Finished { outcome: Outcome::Succeeded { results } }
            | State::Reported { outcome: Outcome::Succeeded { results } } => {
                results.iter().map(|(name, text)| (name.clone(), text.clone())).collect()
            }
            _ => Vec::new(),
        };
        Self {
            phase,
            reason: reason.into(),
            message: message.into(),
            generation: record.generation,
            attempt: record.attempt,
            spec_hash: record.spec_hash,
            times: record.times.clone(),
            since: None,
            failure: failure.cloned(),
            results,
        }
    }

    /// Whether it shows what the work brought back.
    pub(crate) const fn has_results(&self) -> bool {
        !self.results.is_empty()
    }

    /// What tells it from every other status, for as long as this process lives.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// A merge patch for an object's status: every member that is ours is set or removed.
    /// `agent` is the instance that says so.
    pub(crate) fn patch(&self, mapping: &Mapping, agent: &str) -> Value {
        let mut status = Value::object();
        mapping.block.set(&mut status, self.block(agent));
        let mut rest = Value::object();
        for rule in &mapping.class.results {
            let text = self.results.iter().find(|(name, _)| *name == rule.name);
            let value = text.and_then(|(_, text)| parse(text.as_bytes()).ok());
            let place = mapping.results.iter().find(|(name, _)| *name == rule.name);
            match place {
                Some((_, place)) => place.set(&mut status, value.unwrap_or_default()),
                None => {
                    drop(rest.make_object().insert(&*rule.name, value.map_or(Value::Null, text_of)))
                }
            }
        }
        let mut names = mapping.block.names().iter().map(String::as_str).collect::<Vec<_>>();
        names.push("results");
        status.set(&names, rest);
        status
    }

    fn block(&self, agent: &str) -> Value {
        let time = |time: Option<Timestamp>| time.map_or(Value::Null, written);
        let terminal = self.phase.is_terminal();
        let Times { accepted, claimed, started, finished } = self.times;
        let mut block = object! {
            "phase": self.phase.as_str(),
            "observedGeneration": self.generation,
            "specHash": self.spec_hash.to_string(),
            "executor": object!{"id": agent},
            "times": object!{
                "accepted": time(accepted),
                "claimed": time(claimed),
                "started": time(started),
                "finished": time(finished),
            },
            "startTime": time(started),
            "completionTime": time(finished.filter(|_| terminal)),
            "conditions": self.conditions(),
            "failure": self.failure.as_ref().map_or(Value::Null, failure_block),
        };
        if self.attempt > 0 {
            block.set(&["attempt"], self.attempt);
        }
        block
    }

    /// `Succeeded` stands first: clients read that one by its position. A transition's time is
    /// that of the change, however often the status is written.
    fn conditions(&self) -> Value {
        let Times { accepted, started, finished, .. } = self.times;
        let ended = finished.filter(|_| self.phase.is_terminal());
        let first = accepted.or(self.since);
        let own = (&*self.reason, &*self.message);
        let succeeded = match self.phase {
            Phase::Succeeded => "True",
            phase if phase.is_terminal() => "False",
            _ => "Unknown",
        };
        let (accepted_is, accepted_why, accepted_at) = match self.phase {
            Phase::Rejected => ("False", own, ended),
            Phase::Pending => ("Unknown", own, first),
            _ => ("True", ("Accepted", ""), first),
        };
        let (started_is, started_why, started_at) = match started {
            Some(started) => ("True", ("Started", ""), Some(started)),
            None => ("False", own, first.or(ended)),
        };
        let complete = if ended.is_some() { "True" } else { "False" };
        [
            self.condition("Succeeded", succeeded, own, ended.or(first)),
            self.condition("Accepted", accepted_is, accepted_why, accepted_at),
            self.condition("Started", started_is, started_why, started_at),
            self.condition("Complete", complete, own, ended.or(first)),
        ]
        .into_iter()
        .collect()
    }

    fn condition(
        &self,
        kind: &str,
        status: &str,
        (reason, message): (&str, &str),
        since: Option<Timestamp>,
    ) -> Value {
        object! {
            "type": kind,
            "status": status,
            "observedGeneration": self.generation,
            "lastTransitionTime": since.map_or(Value::Null, written),
            "reason": reason,
            "message": message,
        }
    }
}

/// Phase, reason, message and failure of a record.
fn told(record: &Record) -> (Phase, &str, &str, Option<&Failure>) {
    match &record.state {
        State::StartPending | State::Launched if record.cancel.is_some() => {
            (Phase::Cancelling, "Cancelling", "", None)
        }
        // A program begins when its gate opens, which Launched precedes; a call at once.
        State::StartPending if record.times.started.is_none() => {
            (Phase::Starting, "Starting", "", None)
        }
        State::StartPending | State::Launched => (Phase::Running, "Running", "", None),
        State::Retry { failure, .. } => {
            (Phase::Accepted, "Retrying", &failure.message, Some(failure))
        }
        State::Indeterminate { failure } => {
            (Phase::Indeterminate, "Indeterminate", &failure.message, Some(failure))
        }
        State::Finished { outcome } | State::Reported { outcome } => match outcome {
            Outcome::Succeeded { .. } => (Phase::Succeeded, "Succeeded", "", None),
            Outcome::Failed { failure } => {
                (Phase::Failed, "Failed", &failure.message, Some(failure))
            }
            Outcome::Rejected { failure } => {
                (Phase::Rejected, "Rejected", &failure.message, Some(failure))
            }
            Outcome::Cancelled => (Phase::Cancelled, "Cancelled", "", None),
            Outcome::TimedOut { limit } => {
                let (reason, message) = limit_text(*limit);
                (Phase::TimedOut, reason, message, None)
            }
            Outcome::Abandoned => {
                (Phase::Indeterminate, "Indeterminate", "the outcome is unknown", None)
            }
        },
    }
}

const fn limit_text(limit: Limit) -> (&'static str, &'static str) {
    match limit {
        Limit::Queue => ("QueueTimeout", "no turn came in time"),
        Limit::Execution => ("ExecutionTimeout", "it ran longer than it may"),
        Limit::Deadline => ("DeadlineExceeded", "the request's deadline has passed"),
    }
}

fn failure_block(failure: &Failure) -> Value {
    object! {
        "class": failure.class.as_str(),
        "code": &*failure.code,
        "message": visible(&failure.message),
        "retryable": failure.retryable,
    }
}

/// A text as it may be shown: bounded, without control characters.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

/// Times in a status have seconds (Kubernetes' `Time`).
fn written(time: Timestamp) -> Value {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// A result in the map of texts: a text as it is, anything else as JSON.
fn text_of(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text),
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests;
