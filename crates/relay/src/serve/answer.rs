//! What a service answers, as it goes to the hub. Pure.

use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use strait_tunnel::{Field, HeadError, Response, Trailers};

use super::events;
use crate::http::answer::Public;
use crate::http::fields::{HINT, remove_claims, remove_connection};
use crate::http::trailers::clean_answer;
use crate::http::upgrade::{Answered, Protocol, answered};
use crate::http::{BadHead, framing};
use crate::message::{Failure, hint};
use crate::services::HttpTarget;

/// What of a request its answer is read by.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) upgrade: Option<Protocol>,
    /// What the service was told that it is called.
    pub(super) host: HeaderValue,
    /// The public path of the service; none where it has a host of its own.
    pub(super) prefix: Option<String>,
    pub(super) bare: bool,
    /// Whether it is a watch of a Kubernetes API.
    pub(super) watches: bool,
}

impl Question {
    /// Keeps what is needed of a request before it is sent.
    pub(super) fn of(asked: &super::request::Asked, prefix: Option<&str>) -> Self {
        let host = asked.fields.get(HOST).cloned();
        Self {
            method: asked.method.clone(),
            upgrade: asked.upgrade.clone(),
            host: host.unwrap_or(HeaderValue::from_static("")),
            prefix: prefix.map(str::to_owned),
            bare: asked.bare,
            watches: events::is_watch(&asked.method, asked.uri.query()),
        }
    }
}

/// The head of an answer that the service took so long for, and whether the connection speaks another protocol from here on.
///
/// # Errors
/// It is not an answer to this question, or cannot be carried.
pub(super) fn head(
    question: &Question,
    http: &HttpTarget,
    service: &str,
    version: Version,
    (status, took): (StatusCode, Duration),
    mut fields: HeaderMap,
) -> Result<(Response, bool), Failure> {
    let broken = |_: BadHead| Failure::UpstreamProtocol;
    framing::of_answer(version, &question.method, status, &fields).map_err(broken)?;
    let connection = remove_connection(&mut fields);
    let switched = match answered(question.upgrade.as_ref(), status, &connection) {
        Answered::Switched => true,
        Answered::Ordinary => false,
        Answered::Broken => return Err(Failure::UpstreamProtocol),
    };
    remove_claims(&mut fields);
    if let Some(prefix) = &question.prefix {
        let public = Public {
            service: &http.url,
            host: &question.host,
            prefix,
            bare: question.bare,
            domain: http.rewrites_domain,
        };
        public.rewrite(&mut fields);
    }
    if let Some(hint) = hint(status, service) {
        fields.insert(HINT, hint);
    }
    let head = Response::timed(status.as_u16(), to_fields(&fields), took);
    Ok((head.map_err(|_| Failure::UpstreamProtocol)?, switched))
}

/// An informational head; none for what cannot be carried.
pub(super) fn informational(status: StatusCode, mut fields: HeaderMap) -> Option<Response> {
    remove_connection(&mut fields);
    remove_claims(&mut fields);
    response(status, &fields).ok()
}

/// Asks for a body that waits.
pub(super) fn proceed() -> Response {
    Response::new(100, []).expect("100 is a status of HTTP")
}

/// The trailers that may cross; none if nothing is left of them.
pub(super) fn trailers(mut fields: HeaderMap) -> Option<Trailers> {
    clean_answer(&mut fields);
    if fields.is_empty() { None } else { Trailers::new(to_fields(&fields)).ok() }
}

/// A head for the tunnel.
pub(super) fn response(status: StatusCode, fields: &HeaderMap) -> Result<Response, HeadError> {
    Response::new(status.as_u16(), to_fields(fields))
}

/// The same of a refusal, with what the rule behind it says: for the hub, which knows who may read
/// that.
pub(super) fn refused(
    status: StatusCode,
    fields: &HeaderMap,
    rule: &str,
) -> Result<Response, HeadError> {
    Response::refused(status.as_u16(), to_fields(fields), rule)
}

fn to_fields(fields: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    fields.iter().map(|(name, value)| Field {
        name: name.as_str(),
        value: value.as_bytes(),
        sensitive: value.is_sensitive(),
    })
}
