//! An event as a request to one backend, and its answer as an outcome.
//!
//! Pure. The body goes as it came, with the headers that a webhook is known and proved by; what
//! belongs to one connection, or was meant for us alone, does not.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use strait_net::{Answer, CallError, Outgoing};
use strait_runtime::fs::FsError;

use super::carrier::CarryError;
use crate::config::Backend;
use crate::event::Event;
use crate::path::climbs;
use crate::schedule::{Outcome, RetryAfter};

/// Beginnings of the names of headers that every backend gets.
const PASSED_PREFIXES: [&str; 7] =
    ["x-github-", "x-hub-", "x-gitlab-", "x-gitea-", "x-forgejo-", "x-request-", "webhook-"];
/// Whole names.
const PASSED: [&str; 7] = [
    "content-type",
    "user-agent",
    "traceparent",
    "tracestate",
    "idempotency-key",
    "x-event-key",
    "x-hook-uuid",
];

/// Names the span that a request belongs to.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Fields of an answer that say what follows.
pub(super) const READ: [HeaderName; 2] = [header::RETRY_AFTER, WAY_ERROR];

/// Says, with its reason, that an answer is of Strait's and not of the service's.
const WAY_ERROR: HeaderName = HeaderName::from_static("x-strait-error");

/// No request to the backend can be made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unusable;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) outcome: Outcome,
    pub(super) retry_after: Option<RetryAfter>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// Of a call by URL.
    #[error(transparent)]
    Called(#[from] CallError),
    /// Of a call through the hub around us.
    #[error(transparent)]
    Carried(#[from] CarryError),
    /// The token for another hub cannot be used.
    #[error("cannot use the token for the hub")]
    Token(#[source] FsError),
    /// The time was over.
    #[error("the agent did not answer in time")]
    TooLate,
}

/// The request, with a path as its URI and without `Host`. `span` names the attempt's own, if it
/// has one.
pub(super) fn request(
    event: &Event,
    backend: &Backend,
    base: &PathAndQuery,
    span: Option<&HeaderValue>,
) -> Result<Request<Bytes>, Unusable> {
    let mut request = Request::new(event.body.clone());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path(event, base)?.into();
    let headers = request.headers_mut();
    for (name, value) in fields(event, backend, span) {
        headers.append(name, value.clone());
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(event.body.len()));
    Ok(request)
}

/// The same request as it is sent to a URL.
pub(super) fn outgoing(
    event: &Event,
    backend: &Backend,
    base: &PathAndQuery,
    span: Option<&HeaderValue>,
) -> Result<Outgoing, Unusable> {
    let path = path(event, base)?;
    Ok(Outgoing::new(&Method::POST, &path, fields(event, backend, span), event.body.clone()))
}

/// The backend's own path, which is `base`, and the rest of the sender's; and so with queries.
fn path(event: &Event, base: &PathAndQuery) -> Result<PathAndQuery, Unusable> {
    if event.path.is_empty() && event.query.is_empty() && base.query() != Some("") {
        return Ok(base.clone());
    }
    if climbs(&event.path) {
        return Err(Unusable);
    }
    let own = base.path();
    let own = if event.path.is_empty() { own } else { own.strip_suffix('/').unwrap_or(own) };
    let mut whole = format!("{own}{}", event.path);
    let queries = [base.query().unwrap_or_default(), &event.query];
    let mut sign = '?';
    for query in queries.into_iter().filter(|query| !query.is_empty()) {
        whole.push(sign);
        whole.push_str(query);
        sign = '&';
    }
    PathAndQuery::try_from(whole).map_err(|_| Unusable)
}

/// Those of the event that are passed on, and those that are added in their place.
fn fields<'a>(
    event: &'a Event,
    backend: &'a Backend,
    span: Option<&'a HeaderValue>,
) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
    let of_connection = named_in_connection(&event.headers);
    let adds = move |name: &HeaderName| backend.headers.add.iter().any(|(added, _)| added == name);
    let passed = event.headers.iter().filter(move |(name, _)| {
        let usual = PASSED.contains(&name.as_str())
            || PASSED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        let passes = usual || backend.headers.pass_also.contains(name);
        let replaced = adds(name) || (span.is_some() && **name == TRACEPARENT);
        passes && !replaced && !of_connection.contains(name)
    });
    let span = span.filter(|_| !adds(&TRACEPARENT)).map(|span| (&TRACEPARENT, span));
    passed.chain(span).chain(backend.headers.add.iter().map(|(name, value)| (name, value)))
}

/// What the sender said of its own connection (RFC 9110 section 7.6.1).
fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).filter_map(|name| name.trim().parse().ok()).collect()
}

/// What an answer, or that there was none, says.
///
/// # Errors
/// The event is none that can be carried.
pub(super) fn tried(result: Result<Answer, Unanswered>) -> Result<Tried, Unusable> {
    let outcome = match result {
        Ok(answer) if is_of_the_way(&answer) => match answer.status {
            StatusCode::UNAUTHORIZED => Outcome::TokenRefused,
            _ => Outcome::Refused,
        },
        Ok(answer) => {
            let value = answer.headers.get(header::RETRY_AFTER);
            let retry_after = value.and_then(|value| RetryAfter::parse(value.to_str().ok()?));
            return Ok(Tried { outcome: Outcome::Status(answer.status.as_u16()), retry_after });
        }
        Err(Unanswered::Called(error)) => of_call(&error),
        Err(Unanswered::Carried(CarryError::Malformed(_))) => return Err(Unusable),
        Err(Unanswered::Carried(CarryError::Nobody)) => Outcome::Refused,
        Err(Unanswered::Token(_)) => Outcome::NoToken,
        Err(Unanswered::Carried(CarryError::Broken(_))) => Outcome::Broken,
        Err(Unanswered::TooLate) => Outcome::TimedOut,
    };
    Ok(Tried { outcome, retry_after: None })
}

/// Whether who answers is not the backend but a hub or an agent that let nothing through to it:
/// for a token, a right or a rule that somebody can mend, or a service that is not there yet.
/// Services behind an agent cannot set the field.
pub(super) fn is_of_the_way(answer: &Answer) -> bool {
    let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
    refusals.contains(&answer.status) && answer.headers.contains_key(WAY_ERROR)
}

const fn of_call(error: &CallError) -> Outcome {
    match error {
        CallError::Denied(_) | CallError::Url { .. } => Outcome::Forbidden,
        CallError::Resolve { .. } | CallError::Connect { .. } => Outcome::Refused,
        CallError::ConnectTimedOut { .. } | CallError::AnswerTimedOut { .. } => Outcome::TimedOut,
        CallError::NoAnswer { .. } => Outcome::Broken,
        CallError::TooLarge { status, .. } => Outcome::Status(status.as_u16()),
    }
}

#[cfg(test)]
mod tests;
