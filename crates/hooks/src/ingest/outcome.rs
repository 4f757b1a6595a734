//! How a webhook is answered.
//!
//! Trouble of ours is 503 with `Retry-After`, never a 4xx, for which some senders disable a hook.
//! A refused signature is an empty 401, whatever was wrong with it. sprayproxy's sources get its
//! statuses and texts.

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use strait_net::Body;

use super::body::NotRead;
use crate::config::Answers;
use crate::log::AppendError;
use crate::signature::Refused;

/// When a sender may try again, in seconds.
pub(super) const RETRY_SECONDS: u64 = 10;

/// What became of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is kept, or every backend has it, under this id.
    Accepted(Box<str>),
    /// It was kept before.
    Duplicate(Box<str>),
    /// A backend that was asked at once does not have it.
    Failed,
    /// It was not taken.
    Rejected(Rejection),
}

/// Why a webhook was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    Method,
    Expectation,
    Address,
    NoBackend,
    ContentType,
    Signature(Refused),
    Body(NotRead),
    /// The body did not arrive in time.
    Slow,
    Log(AppendError),
    /// The log did not answer in time. The webhook may be kept all the same.
    Stuck,
}

impl Rejection {
    /// A word for a metric's label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Expectation => "expectation",
            Self::Address => "address",
            Self::NoBackend => "no_backend",
            Self::ContentType => "content_type",
            Self::Signature(Refused::Missing) => "signature_missing",
            Self::Signature(Refused::Repeated) => "signature_repeated",
            Self::Signature(Refused::Malformed) => "signature_malformed",
            Self::Signature(Refused::Stale) => "signature_stale",
            Self::Signature(Refused::Mismatch) => "signature_mismatch",
            Self::Signature(Refused::NoSecret) => "no_secret",
            Self::Body(NotRead::TooLarge) | Self::Log(AppendError::TooLarge) => "too_large",
            Self::Body(NotRead::Spent) => "memory",
            Self::Body(NotRead::Broken) => "broken",
            Self::Slow => "slow",
            Self::Log(AppendError::Full) => "disk_full",
            Self::Log(AppendError::Busy) => "log_busy",
            Self::Log(AppendError::Closed) => "log_closed",
            Self::Stuck => "log_stuck",
        }
    }

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Address => StatusCode::FORBIDDEN,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Body(NotRead::TooLarge) | Self::Log(AppendError::TooLarge) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Body(NotRead::Broken) => StatusCode::BAD_REQUEST,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::NoBackend | Self::Body(NotRead::Spent) | Self::Log(_) | Self::Stuck => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// sprayproxy's status and text where it has one.
    fn sprayproxy(self) -> (StatusCode, &'static str) {
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => NOT_FOUND,
            StatusCode::UNAUTHORIZED | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                (StatusCode::BAD_REQUEST, "bad request")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                (StatusCode::PAYLOAD_TOO_LARGE, "request body too large")
            }
            status => (status, ""),
        }
    }
}

const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "404 page not found");

impl Outcome {
    /// Why it was not taken, in a word; empty where it was.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Accepted(_) | Self::Duplicate(_) => "",
            Self::Failed => "backend",
            Self::Rejected(why) => why.as_str(),
        }
    }

    /// The answer.
    pub(super) fn response(&self, answers: Answers) -> Response<Body> {
        let mut response = match (self, answers) {
            (Self::Accepted(_) | Self::Duplicate(_), Answers::Sprayproxy) => {
                text(StatusCode::OK, "proxied")
            }
            (Self::Failed, Answers::Sprayproxy) => text(StatusCode::BAD_GATEWAY, "failed to proxy"),
            (Self::Rejected(why), Answers::Sprayproxy) => {
                let (status, body) = why.sprayproxy();
                text(status, body)
            }
            (Self::Accepted(id), Answers::Strait) => taken(StatusCode::ACCEPTED, id, false),
            (Self::Duplicate(id), Answers::Strait) => taken(StatusCode::OK, id, true),
            (Self::Failed, Answers::Strait) => {
                let body = json!({"error": "a backend did not take the webhook"});
                with_type(StatusCode::BAD_GATEWAY, body.to_string(), "application/json")
            }
            (Self::Rejected(why), Answers::Strait) => text(why.status(), ""),
        };
        let headers = response.headers_mut();
        if let Self::Rejected(why) = self {
            if why.status() == StatusCode::SERVICE_UNAVAILABLE {
                headers.insert(RETRY_AFTER, RETRY_SECONDS.into());
            }
            if *why == Rejection::Method && answers == Answers::Strait {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            if matches!(why, Rejection::Slow | Rejection::Body(NotRead::TooLarge | NotRead::Broken))
            {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

/// What a sender whose webhook is kept is told.
#[derive(Serialize)]
struct Taken<'a> {
    duplicate: bool,
    id: &'a str,
}

fn taken(status: StatusCode, id: &str, duplicate: bool) -> Response<Body> {
    let body = serde_json::to_string(&Taken { duplicate, id }).unwrap_or_default();
    with_type(status, body, "application/json")
}

pub(super) fn not_found() -> Response<Body> {
    let (status, body) = NOT_FOUND;
    text(status, body)
}

/// An answer in words; without any, it has no body.
pub(super) fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    with_type(status, body.into(), "text/plain; charset=utf-8")
}

fn with_type(status: StatusCode, body: String, kind: &'static str) -> Response<Body> {
    let typed = !body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if typed {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
