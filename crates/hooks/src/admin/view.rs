//! Events as they are shown. Nothing of a body but what an event says of itself; no headers and
//! no query either, as senders put tokens there.

use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kept::{At, Candidate};
use crate::schedule::{Outcome, Reason};
use crate::sender::Facts;
use crate::state::Became;

/// An event with what became of it.
pub(super) fn event(candidate: &Candidate, facts: &Facts) -> Value {
    let summary = &candidate.summary;
    let mut shown = json!({
        "id": candidate.position.0,
        "source": &*summary.source,
        "delivery": &*summary.delivery,
        "received": time(summary.received),
        "bytes": summary.body_bytes,
        "sha256": hex(&summary.sha256),
        "path": &*summary.path,
        "backends": candidate.at.iter().map(at).collect::<Vec<_>>(),
    });
    let known =
        [("event", &facts.event), ("action", &facts.action), ("repository", &facts.repository)];
    for (name, fact) in known {
        if let Some(fact) = fact {
            shown[name] = (**fact).into();
        }
    }
    let content_type = summary.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        shown["contentType"] = content_type.into();
    }
    if candidate.purged {
        shown["purged"] = true.into();
    }
    shown
}

/// What became of it at a backend.
pub(super) fn at(at: &At) -> Value {
    let mut shown = Map::new();
    shown.insert("name".to_owned(), (*at.backend).into());
    shown.insert("state".to_owned(), at.word.as_str().into());
    let mut set = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    match &at.became {
        Some(Became::Waiting { attempts, last, until }) => {
            set("attempts", (*attempts).into());
            set("until", time(*until).into());
            if let Some(last) = last {
                set("why", outcome(last).into());
            }
        }
        Some(Became::Dead { attempts, reason, at }) => {
            set("attempts", (*attempts).into());
            set("since", time(*at).into());
            set("why", why(reason).into());
        }
        Some(Became::Delivered | Became::Unwanted | Became::Purged) | None => {}
    }
    Value::Object(shown)
}

/// How an attempt ended, in words.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Status(status) => format!("status {status}"),
        Outcome::TimedOut => "no answer in time".to_owned(),
        Outcome::Refused => "no connection".to_owned(),
        Outcome::Broken => "the connection broke".to_owned(),
        Outcome::Forbidden => "its address is not allowed".to_owned(),
        Outcome::NoToken => "its tokenFile cannot be used; the log says why".to_owned(),
        Outcome::TokenRefused => {
            "its hub does not take the token; put one of `strait service token` into tokenFile"
                .to_owned()
        }
    }
}

fn why(reason: &Reason) -> String {
    match reason {
        Reason::Rejected(status) => format!("rejected with status {status}"),
        Reason::Redirected(status) => format!("redirected with status {status}, not followed"),
        Reason::Unusable => "no request can be made of it".to_owned(),
        Reason::TooOld(last) => format!("too old; last: {}", outcome(last)),
    }
}

fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
