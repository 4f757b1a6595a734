//! Every state as the block that is shown, and what writing it leaves alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_machinery::patch::MergePatch;
use strait_types::GroupVersionResource;

use super::*;
use crate::config::ResultRule;
use crate::execution::FailureClass;
use crate::testing::{at, class, record};

fn mapping() -> Mapping {
    let rule = |name: &str| ResultRule {
        name: name.into(),
        from: "/x".parse().unwrap(),
        bytes_max: 100,
        required: false,
    };
    let mut class = class();
    class.results = vec![rule("signature"), rule("index"), rule("note")];
    Mapping {
        resource: GroupVersionResource::new("s.dev", "v1alpha1", "signings"),
        class: Arc::new(class),
        params: "/spec".parse().unwrap(),
        cancel: None,
        deadline: None,
        block: "".parse().unwrap(),
        results: vec![("signature".into(), "/signature".parse().unwrap())],
    }
}

/// `Succeeded=Unknown Running`, in the order of the list.
fn conditions(status: &Value) -> Vec<String> {
    let text = |condition: &Value, field| condition.str_at(&[field]).unwrap().to_owned();
    let conditions = status.array_at(&["conditions"]).iter();
    conditions
        .map(|one| format!("{}={} {}", text(one, "type"), text(one, "status"), text(one, "reason")))
        .collect()
}

fn status(state: State) -> Value {
    let mut record = record(1, state);
    record.times.claimed = Some(at(1));
    record.times.started = Some(at(2));
    record.times.finished = Some(at(3));
    Block::of(&record).patch(&mapping(), "instance")
}

#[test]
fn phases_and_conditions_of_every_state() {
    let failure = || Failure::new(FailureClass::Backend, "Busy", "busy");
    let rejected = || Failure::new(FailureClass::Policy, "Rejected", "not allowed");
    let finished = |outcome| State::Finished { outcome };
    let results = BTreeMap::new();
    for (state, phase, expected) in [
        (State::StartPending, "Running", ["Unknown Running", "True Accepted", "False Running"]),
        (State::Launched, "Running", ["Unknown Running", "True Accepted", "False Running"]),
        (
            State::Indeterminate { failure: failure() },
            "Indeterminate",
            ["Unknown Indeterminate", "True Accepted", "False Indeterminate"],
        ),
        (
            State::Retry { attempt: 2, not_before: at(9), failure: failure() },
            "Accepted",
            ["Unknown Retrying", "True Accepted", "False Retrying"],
        ),
        (
            finished(Outcome::Succeeded { results }),
            "Succeeded",
            ["True Succeeded", "True Accepted", "True Succeeded"],
        ),
        (
            finished(Outcome::Failed { failure: failure() }),
            "Failed",
            ["False Failed", "True Accepted", "True Failed"],
        ),
        (
            finished(Outcome::Rejected { failure: rejected() }),
            "Rejected",
            ["False Rejected", "False Rejected", "True Rejected"],
        ),
        (
            finished(Outcome::TimedOut { limit: Limit::Queue }),
            "TimedOut",
            ["False QueueTimeout", "True Accepted", "True QueueTimeout"],
        ),
        (
            State::Reported { outcome: Outcome::Cancelled },
            "Cancelled",
            ["False Cancelled", "True Accepted", "True Cancelled"],
        ),
    ] {
        let terminal = matches!(state, State::Finished { .. } | State::Reported { .. });
        let status = status(state);
        assert_eq!(status.str_at(&["phase"]), Some(phase));
        let [succeeded, accepted, complete] = expected;
        let expected = [
            format!("Succeeded={succeeded}"),
            format!("Accepted={accepted}"),
            "Started=True Started".to_owned(),
            format!("Complete={complete}"),
        ];
        assert_eq!(conditions(&status), expected, "{phase}");
        let completed = status.str_at(&["completionTime"]).is_some();
        assert_eq!(completed, terminal, "{phase}");
    }
}

#[test]
fn a_program_is_starting_until_its_gate_opens() {
    let block = Block::of(&record(1, State::StartPending));
    let status = block.patch(&mapping(), "instance");
    assert_eq!(status.str_at(&["phase"]), Some("Starting"));
    assert_eq!(conditions(&status)[2], "Started=False Starting");
    let mut ending = record(1, State::Launched);
    ending.cancel = Some(crate::execution::Cancel::Deleted);
    let status = Block::of(&ending).patch(&mapping(), "instance");
    assert_eq!(status.str_at(&["phase"]), Some("Cancelling"));
}

#[test]
fn who_waits_is_told_for_what() {
    let hash = SpecHash::of(&Value::Null);
    for (waiting, phase, expected) in [
        (Waiting::Turn, "Accepted", ["Unknown Queued", "True Accepted"]),
        (Waiting::Quota, "Pending", ["Unknown QuotaExceeded", "Unknown QuotaExceeded"]),
        (Waiting::JournalFull, "Pending", ["Unknown JournalFull", "Unknown JournalFull"]),
    ] {
        let block = Block::waiting(waiting, 3, hash, at(5));
        let status = block.patch(&mapping(), "instance");
        assert_eq!(status.str_at(&["phase"]), Some(phase));
        let conditions = conditions(&status);
        let [succeeded, accepted] = expected;
        assert_eq!(conditions[0], format!("Succeeded={succeeded}"));
        assert_eq!(conditions[1], format!("Accepted={accepted}"));
        assert!(conditions[2].starts_with("Started=False"));
        assert!(conditions[3].starts_with("Complete=False"));
        let transition = status.array_at(&["conditions"])[0].str_at(&["lastTransitionTime"]);
        assert_eq!(transition, Some("2027-01-15T08:00:05Z"));
    }
}

#[test]
fn a_condition_that_stays_keeps_its_time() {
    let time = |state| {
        let status = status(state);
        status.array_at(&["conditions"])[0].str_at(&["lastTransitionTime"]).unwrap().to_owned()
    };
    assert_eq!(time(State::StartPending), time(State::Launched));
    assert_ne!(time(State::Launched), time(State::Finished { outcome: Outcome::Cancelled }));
}

#[test]
fn results_stand_where_the_mapping_says_and_old_ones_go() {
    let results = [("signature", "\"text\""), ("index", "7")];
    let results = results.map(|(name, text)| (name.into(), text.into()));
    let outcome = Outcome::Succeeded { results: BTreeMap::from(results) };
    let mut object =
        parse(br#"{"phase":"Running","failure":{},"results":{"note":"old"},"other":1}"#).unwrap();
    let patch = status(State::Finished { outcome }).to_bytes();
    MergePatch::decode(&patch).unwrap().patch.apply(&mut object);
    assert_eq!(object.str_at(&["signature"]), Some("text"));
    assert_eq!(object.get("results").unwrap().to_string(), r#"{"index":"7"}"#);
    assert!(object.get("failure").is_none());
    assert_eq!(object.get("other"), Some(&1.into()));
    assert_eq!(object.str_at(&["executor", "id"]), Some("instance"));
    let times = [("accepted", "00"), ("claimed", "01"), ("started", "02"), ("finished", "03")];
    for (name, second) in times {
        let expected = format!("2027-01-15T08:00:{second}Z");
        assert_eq!(object.str_at(&["times", name]), Some(&*expected));
    }
}

#[test]
fn a_block_below_the_status_keeps_everything_of_its_own_there() {
    let mut mapping = mapping();
    mapping.block = "/request".parse().unwrap();
    let outcome = Outcome::Failed {
        failure: Failure::new(FailureClass::Backend, "Odd", "a\nb\u{7}").retryable(),
    };
    let block = Block::of(&record(1, State::Finished { outcome }));
    let status = block.patch(&mapping, "instance");
    assert!(status.get("phase").is_none());
    assert_eq!(status.str_at(&["request", "phase"]), Some("Failed"));
    assert_eq!(status.str_at(&["request", "failure", "message"]), Some("ab"));
    assert_eq!(status.get("signature"), Some(&Value::Null));
}
