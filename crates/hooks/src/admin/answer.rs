//! Answers: JSON, `Status` where it failed, never to be stored or rendered.

use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;
use strait_machinery::status::Status;
use strait_net::Body;
use strait_types::GroupResource;

use super::authorize::{Asked, Refusal};

/// The group of what is served.
const GROUP: &str = "hooks.strait.dev";

pub(super) type Answer = Result<Response<Body>, Status>;

pub(super) fn json(value: &Value) -> Response<Body> {
    let mut text = value.to_string();
    text.push('\n');
    body(StatusCode::OK, "application/json", text)
}

pub(super) fn body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, content_type);
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

/// A text as sprayproxy answers.
pub(super) fn text(status: StatusCode, text: String) -> Response<Body> {
    body(status, "text/plain; charset=utf-8", text)
}

/// The answer that a failure is.
pub(super) fn failed(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut bytes = status.to_value().to_bytes();
    bytes.push(b'\n');
    let mut response = body(code, "application/json", bytes);
    if code == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

pub(super) fn refused(refusal: &Refusal, asked: &Asked) -> Status {
    match refusal {
        Refusal::Unauthenticated => Status::unauthorized(),
        Refusal::Forbidden(user) => {
            let Asked { verb, path, .. } = asked;
            let why = format!("User {user:?} cannot {verb} path {path:?}");
            Status::forbidden(&GroupResource::new("", ""), "", &why)
        }
        Refusal::Unavailable => {
            Status::unavailable("it cannot be asked now who you are and what you may; try again")
                .retry_after(1)
        }
    }
}

pub(super) fn no_such_event(id: &str) -> Status {
    Status::not_found(&GroupResource::new(GROUP, "events"), id)
}

/// Something of ours, which the log tells more about.
pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(err = %strait_types::Report(error), "an operator's request failed");
    Status::internal("see the server's log")
}
