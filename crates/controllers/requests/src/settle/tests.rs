//! Where every end leads, as tables of time and class.

use std::time::Duration;

use strait_machinery::json::parse;

use super::*;
use crate::execution::Cancel;
use crate::testing::{at, class, record};

const NOW: i64 = 100;

fn moment() -> Moment {
    Moment { now: at(NOW), deadline_passed: false, jitter: 1.0 }
}

fn failure(retryable: bool) -> Failure {
    let failure = Failure::new(FailureClass::Backend, "Busy", "busy");
    if retryable { failure.retryable() } else { failure }
}

/// In short: where an attempt of a class leads.
fn leads(at_least_once: bool, attempt: u32, cancel: bool, ended: Ended) -> String {
    let mut class = class();
    if at_least_once {
        (class.at_least_once, class.attempts_max) = (true, 3);
    }
    let mut record = record(1, State::Launched);
    record.attempt = attempt;
    record.cancel = cancel.then_some(Cancel::Requested);
    match settle(&class, &record, ended, &moment()) {
        State::Retry { attempt, not_before, .. } => {
            format!("attempt {attempt} after {}", not_before.as_second() - at(NOW).as_second())
        }
        State::Indeterminate { .. } => "indeterminate".to_owned(),
        State::Finished { outcome } => match outcome {
            Outcome::Succeeded { .. } => "succeeded".to_owned(),
            Outcome::Failed { failure } => format!("failed {}", failure.code),
            Outcome::Cancelled => "cancelled".to_owned(),
            Outcome::TimedOut { limit } => format!("{limit:?}"),
            other => format!("{other:?}"),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn every_end_leads_somewhere() {
    let done = || Ended::Done(Value::Null);
    let unknown = || Ended::Unknown("gone");
    for (at_least_once, attempt, cancel, ended, expected) in [
        (false, 1, false, done(), "succeeded"),
        (false, 1, true, done(), "succeeded"),
        (false, 1, false, Ended::Failed(failure(true)), "failed Busy"),
        (false, 1, false, Ended::Failed(failure(false)), "failed Busy"),
        (true, 1, false, Ended::Failed(failure(false)), "failed Busy"),
        (true, 1, false, Ended::Failed(failure(true)), "attempt 2 after 4"),
        (true, 2, false, Ended::Failed(failure(true)), "attempt 3 after 8"),
        (true, 3, false, Ended::Failed(failure(true)), "failed Busy"),
        (true, 1, true, Ended::Failed(failure(true)), "cancelled"),
        (false, 1, false, unknown(), "indeterminate"),
        (false, 1, true, unknown(), "indeterminate"),
        (true, 1, false, unknown(), "attempt 2 after 4"),
        (true, 3, false, unknown(), "indeterminate"),
        (true, 1, true, unknown(), "cancelled"),
        // It waited 100 s so far; the limit between tries is 60 s.
        (false, 1, false, Ended::NotBegun(failure(true)), "attempt 1 after 60"),
        (true, 2, false, Ended::NotBegun(failure(true)), "attempt 2 after 60"),
        (false, 1, false, Ended::NotBegun(failure(false)), "failed Busy"),
        (false, 1, true, Ended::NotBegun(failure(true)), "cancelled"),
        (false, 1, true, Ended::Cancelled, "cancelled"),
        (true, 1, false, Ended::OutOfTime, "Execution"),
    ] {
        let text = format!("{at_least_once} {attempt} {cancel} {ended:?}");
        assert_eq!(leads(at_least_once, attempt, cancel, ended), expected, "{text}");
    }
}

#[test]
fn what_cannot_begin_is_given_up_when_it_waited_long_enough() {
    let mut record = record(1, State::StartPending);
    let mut not_begun = |waited: i64| {
        record.times.accepted = Some(at(NOW - waited));
        settle(&class(), &record, Ended::NotBegun(failure(true)), &moment())
    };
    let first = State::Retry { attempt: 1, not_before: at(NOW + 4), failure: failure(true) };
    assert_eq!(not_begun(0), first);
    assert!(matches!(not_begun(599), State::Retry { .. }));
    let given_up = State::Finished { outcome: Outcome::TimedOut { limit: Limit::Queue } };
    assert_eq!(not_begun(600), given_up);
    // A clock that went back gives nobody up.
    assert!(matches!(not_begun(-9_000), State::Retry { .. }));
}

#[test]
fn a_passed_deadline_is_named() {
    let moment = Moment { deadline_passed: true, ..moment() };
    let record = record(1, State::Launched);
    assert_eq!(
        settle(&class(), &record, Ended::OutOfTime, &moment),
        State::Finished { outcome: Outcome::TimedOut { limit: Limit::Deadline } }
    );
}

#[test]
fn waits_double_up_to_the_limit() {
    let class = class();
    let seconds: Vec<_> = (1..=6).map(|attempt| wait(&class, attempt, 1.0).as_secs()).collect();
    assert_eq!(seconds, [4, 8, 16, 32, 60, 60]);
    assert_eq!(wait(&class, u32::MAX, 0.5), Duration::from_secs(30));
}

#[test]
fn only_named_results_leave_and_only_so_large() {
    let rule = |name: &str, from: &str, bytes_max, required| ResultRule {
        name: name.into(),
        from: from.parse().unwrap(),
        bytes_max,
        required,
    };
    let value = parse(br#"{"a":{"b":"text"},"list":[1,2],"null":null,"secret":"x"}"#).unwrap();
    let taken = |rules: &[ResultRule]| results(rules, &value).map_err(|failure| failure.code);
    let all = taken(&[
        rule("signature", "/a/b", 6, true),
        rule("second", "/list/1", 9, false),
        rule("absent", "/x", 9, false),
        rule("nothing", "/null", 9, false),
    ]);
    let all: Vec<_> = all.unwrap().into_iter().collect();
    let text = |name: &str, value: &str| (name.into(), value.into());
    assert_eq!(all, [text("second", "2"), text("signature", "\"text\"")]);
    assert_eq!(taken(&[rule("s", "/a/b", 5, false)]), Err("ResultTooLarge".into()));
    assert_eq!(taken(&[rule("s", "/x", 5, true)]), Err("ResultMissing".into()));
    assert_eq!(taken(&[rule("s", "/null", 5, true)]), Err("ResultMissing".into()));
}

#[test]
fn a_crash_leaves_what_can_be_told() {
    for (executor, state, expected) in [
        ("process", State::StartPending, Recovery::Again),
        ("process", State::Launched, Recovery::Adopt),
        ("http", State::StartPending, Recovery::Unknown),
        ("http", State::Launched, Recovery::Unknown),
        ("other", State::StartPending, Recovery::Unknown),
    ] {
        let mut record = record(1, state);
        record.executor = executor.into();
        assert_eq!(recovery(&record), expected, "{record:?}");
    }
}
