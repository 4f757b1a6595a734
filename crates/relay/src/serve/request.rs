//! What an http stream asks for, decided: the request that its service gets, or a refusal.
//!
//! Pure. Nothing that the hub says is believed but what must be: what only a hub could have
//! removed is removed here again, and the URL is the configuration's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderValue, Method, Uri, Version};
use jiff::Timestamp;
use strait_net::fields::names::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE};
use strait_net::fields::{Fields, text};
use strait_tunnel::{RequestParts, Tlvs};

use super::identity::Identity;
use super::live::Side;
use crate::http::fields::{Added, REQUEST_ID};
use crate::http::fields::{remove_connection, remove_identity, remove_overrides};
use crate::http::framing::BodyLength;
use crate::http::rules::Refused;
use crate::http::target::{Target, check_method};
use crate::http::upgrade::{self, Protocol};
use crate::http::{BadHead, fields};
use crate::message::Failure;
use crate::services::{HttpTarget, Policy, Service, is_safe};

/// What decides beside the request itself.
#[derive(Clone, Copy)]
pub(super) struct Offer<'a> {
    pub(super) side: &'a Side,
    pub(super) service: &'a Service,
    pub(super) http: &'a HttpTarget,
    pub(super) policy: &'a Policy,
    pub(super) now: Timestamp,
}

impl Offer<'_> {
    /// The public path of the service, given what the other side says of it. Beside an agent,
    /// whoever asks has the service at the root of a listener.
    pub(super) fn prefix<'p>(&self, told: &'p str) -> Option<&'p str> {
        match self.side {
            Side::Agent(_) => Some(told).filter(|prefix| !prefix.is_empty()),
            Side::Hub => Some(""),
        }
    }
}

/// A request that goes in. Its credential is not in it yet.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// The URL, made of the configuration's parts and the path.
    pub(super) uri: Uri,
    pub(super) fields: Fields,
    pub(super) upgrade: Option<Protocol>,
    /// Whether the client waits for 100.
    pub(super) expects: bool,
    /// Of the body, where it was told.
    pub(super) length: Option<u64>,
    /// Whether the path was the public prefix itself.
    pub(super) bare: bool,
    /// Whether it said itself who asks, which was removed.
    pub(super) claimed: bool,
}

impl Asked {
    /// Whether it may be sent again where it could have been executed.
    pub(super) fn is_repeatable(&self, has_body: bool) -> bool {
        is_safe(&self.method) && !has_body && self.upgrade.is_none()
    }

    /// The request as HTTP/2 says it: `Host` becomes `:authority`. None if that cannot be one.
    pub(super) fn into_http2<B>(mut self, body: B) -> Option<http::Request<B>> {
        let mut parts = self.uri.into_parts();
        parts.authority = Some(text(self.fields.get(HOST)?)?.parse().ok()?);
        self.fields.remove(HOST);
        let mut request = http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.fields.to_map();
        Some(request)
    }
}

/// Decides about a request of these parts.
///
/// # Errors
/// What the client is told.
pub(super) fn decide(
    parts: &RequestParts<'_>,
    mut fields: Fields,
    identity: &Identity,
    offer: &Offer<'_>,
) -> Result<Asked, Failure> {
    let method = Method::from_bytes(parts.method.as_str().as_bytes());
    let method = method.map_err(|_| BadHead::Method)?;
    check_method(&method)?;
    let connection = remove_connection(&mut fields);
    let claimed = remove_identity(&mut fields);
    let target = Target::parse(parts.path)?;
    let refuse = |rule, detail| Failure::AgentRule {
        method: method.as_str().to_owned(),
        path: target.path().to_owned(),
        rule,
        detail,
    };
    if let Some(rule) = identity.refused_by(offer.service, offer.policy, offer.now) {
        return Err(refuse(rule, None));
    }
    offer.http.rules.check(&method, &target).map_err(|refused| match refused {
        Refused::Ambiguous(what) => Failure::AmbiguousPath(what),
        Refused::Method => refuse("allow.methods", None),
        Refused::Path => refuse("allow.paths", None),
        Refused::Denied(pattern) => refuse("allow.denyPaths", Some(pattern.as_str().to_owned())),
    })?;
    if offer.http.rules.are_any() {
        remove_overrides(&mut fields);
    }
    let upgrade = asked_upgrade(&method, &parts.tlvs, offer)?;
    let length = parts.tlvs.body_length;
    check_length(length, offer)?;
    settle(&mut fields, &parts.tlvs, parts.authority, identity, offer);
    if connection.trailers {
        fields.set(TE, b"trailers");
    }
    if parts.tlvs.expects {
        fields.set(EXPECT, b"100-continue");
    }
    if let Some(length) = length.filter(|length| *length > 0 || method_has_body(&method)) {
        fields.set(CONTENT_LENGTH, length.to_string().as_bytes());
    }
    Ok(Asked {
        uri: offer.http.url.uri(&target)?,
        bare: target.path() == "/",
        claimed,
        expects: parts.tlvs.expects && upgrade.is_none(),
        method,
        fields,
        upgrade,
        length,
    })
}

/// Refuses a body that is too large by what is told of it.
fn check_length(length: Option<u64>, offer: &Offer<'_>) -> Result<(), Failure> {
    match (length, offer.service.limits.max_body) {
        (Some(length), Some(limit)) if length > limit => {
            Err(Failure::TooLarge { length: Some(length), limit })
        }
        _ => Ok(()),
    }
}

/// Whether services expect a length with the method even of an empty body (RFC 9110 §8.6).
fn method_has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// The protocol to go on with, where one was asked for that this service may switch to.
fn asked_upgrade(
    method: &Method,
    tlvs: &Tlvs<'_>,
    offer: &Offer<'_>,
) -> Result<Option<Protocol>, Failure> {
    if tlvs.upgrade.is_empty() {
        return Ok(None);
    }
    if !offer.http.upgrade {
        return Err(Failure::UpgradeNotAllowed);
    }
    let value = HeaderValue::from_str(tlvs.upgrade).map_err(|_| Failure::UpgradeNotAllowed)?;
    let connection = fields::Connection { upgrade: Some(value), ..fields::Connection::default() };
    let length = tlvs.body_length.filter(|length| *length > 0);
    let length = length.map_or(BodyLength::Empty, BodyLength::Known);
    let protocol = upgrade::asked(Version::HTTP_11, method, &connection, length)?;
    protocol.map(Some).ok_or(Failure::UpgradeNotAllowed)
}

/// Everything that is ours to say, behind every removal.
fn settle(
    fields: &mut Fields,
    tlvs: &Tlvs<'_>,
    authority: &str,
    identity: &Identity,
    offer: &Offer<'_>,
) {
    let own = fields.only(AUTHORIZATION).filter(|_| offer.http.passes_authorization);
    let own = own.map(<[u8]>::to_vec);
    let ends = [CONTENT_LENGTH, EXPECT, HOST, AUTHORIZATION];
    fields.retain(|field| !field.is_any(&ends));
    if let Some(own) = own {
        fields.set_secret(AUTHORIZATION, &own);
    }
    join_cookies(fields);
    let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (agent, caller) = match offer.side {
        Side::Agent(name) => (Some(&**name), None),
        Side::Hub => (identity.user.rsplit(':').next(), Some((&*identity.user, &*identity.groups))),
    };
    let added = Added {
        client: tlvs.client.as_ref().map_or(nobody, SocketAddr::ip),
        before: Some(tlvs.forwarded),
        authority,
        secure: !tlvs.plain,
        request_id: tlvs.request_id,
        agent: agent.filter(|_| offer.service.kind.learns_agent()),
        caller,
    };
    added.add(fields);
    if tlvs.request_id.is_empty() {
        fields.remove(REQUEST_ID);
    }
    let service = offer.http.url.host();
    let client = if authority.is_empty() { service } else { authority };
    offer.http.host.apply(fields, service, client);
}

/// HTTP/2 may split what is one field in HTTP/1.1 (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut Fields) {
    if fields.all(COOKIE).nth(1).is_some() {
        let all: Vec<&[u8]> = fields.all(COOKIE).collect();
        fields.set_secret(COOKIE, &all.join(&b"; "[..]));
    }
}
