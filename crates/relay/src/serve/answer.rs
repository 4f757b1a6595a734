//! What a service answers, as it goes to the hub. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, Version};
use strait_net::fields::Fields;
use strait_net::fields::names::HOST;
use strait_tunnel::{HeadError, Response, Trailers};

use super::events;
use super::request::Asked;
use crate::http::answer::Public;
use crate::http::fields::{HINT, remove_claims, remove_connection};
use crate::http::trailers::clean_answer;
use crate::http::upgrade::{Answered, answered};
use crate::http::{BadHead, framing};
use crate::message::{Failure, hint};
use crate::services::HttpTarget;

/// What of a request its answer is read by.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    asked: &'a Asked,
    /// The public path of the service; none where it has a host of its own.
    prefix: Option<&'a str>,
    /// Whether it is a watch of a Kubernetes API.
    pub(super) watches: bool,
}

impl<'a> Question<'a> {
    /// That of a request.
    pub(super) fn of(asked: &'a Asked, prefix: Option<&'a str>) -> Self {
        Self { asked, prefix, watches: events::is_watch(&asked.method, asked.uri.query()) }
    }
}

/// The head of an answer that the service took so long for, and whether the connection speaks another protocol from here on.
///
/// # Errors
/// It is not an answer to this question, or cannot be carried.
pub(super) fn head(
    question: &Question<'_>,
    http: &HttpTarget,
    service: &str,
    version: Version,
    (status, took): (StatusCode, Duration),
    mut fields: Fields,
) -> Result<(Response, bool), Failure> {
    let Question { asked, prefix, .. } = *question;
    let broken = |_: BadHead| Failure::UpstreamProtocol;
    framing::of_answer(version, &asked.method, status, &fields).map_err(broken)?;
    let connection = remove_connection(&mut fields);
    let switched = match answered(asked.upgrade.as_ref(), status, &connection) {
        Answered::Switched => true,
        Answered::Ordinary => false,
        Answered::Broken => return Err(Failure::UpstreamProtocol),
    };
    remove_claims(&mut fields);
    if let Some(prefix) = prefix {
        let public = Public {
            service: &http.url,
            // What the service was told that it is called.
            host: asked.fields.get(HOST).unwrap_or_default(),
            prefix,
            bare: asked.bare,
            domain: http.rewrites_domain,
        };
        public.rewrite(&mut fields);
    }
    if let Some(hint) = hint(status, service) {
        fields.set(HINT, hint.as_bytes());
    }
    let head = Response::timed(status.as_u16(), fields.iter(), took);
    Ok((head.map_err(|_| Failure::UpstreamProtocol)?, switched))
}

/// An informational head; none for what cannot be carried.
pub(super) fn informational(status: StatusCode, mut fields: Fields) -> Option<Response> {
    remove_connection(&mut fields);
    remove_claims(&mut fields);
    response(status, &fields).ok()
}

/// Asks for a body that waits.
pub(super) fn proceed() -> Response {
    Response::new(100, []).expect("100 is a status of HTTP")
}

/// The trailers that may cross; none if nothing is left of them.
pub(super) fn trailers(fields: &HeaderMap) -> Option<Trailers> {
    let mut fields = Fields::from(fields);
    clean_answer(&mut fields);
    if fields.is_empty() { None } else { Trailers::new(fields.iter()).ok() }
}

/// A head for the tunnel.
pub(super) fn response(status: StatusCode, fields: &Fields) -> Result<Response, HeadError> {
    Response::new(status.as_u16(), fields.iter())
}

/// The same of a refusal, with what the rule behind it says: for the hub, which knows who may read
/// that.
pub(super) fn refused(
    status: StatusCode,
    fields: &Fields,
    rule: &str,
) -> Result<Response, HeadError> {
    Response::refused(status.as_u16(), fields.iter(), rule)
}
