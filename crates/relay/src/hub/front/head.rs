//! A client's head: what of it crosses, and what is decided by.

use std::net::SocketAddr;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use strait_tunnel::{Field, HeadError, OpenHead, RawHead, RequestParts, Tlvs};

use super::who::Caller;
use crate::access::Verb;
use crate::credential::is_ours;
use crate::http::BadHead;
use crate::http::credentials::is_basic;
use crate::http::credentials::{BadCredentials, Presented, present, restore};
use crate::http::fields::{check_size, remove_connection, remove_identity, take_expect};
use crate::http::framing::{self, BodyLength};
use crate::http::site::of_another_site;
use crate::http::target::{Target, check_method};
use crate::http::upgrade::{Protocol, asked};
use crate::http::way::Way;
use crate::link::control::Announced;
use crate::message::Failure;
use crate::services::is_safe;
use crate::websocket::{Answer, Subprotocol, judge, offers};

/// A head that is well formed, taken apart.
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) peer: SocketAddr,
    /// The workspace as the path names it.
    pub(super) workspace: Option<String>,
    /// The public path of the service.
    pub(super) prefix: String,
    /// Path and query for the service.
    pub(super) target: String,
    bare: bool,
    pub(super) authority: HeaderValue,
    pub(super) length: BodyLength,
    pub(super) upgrade: Option<Protocol>,
    /// What answers a request for the bytes of a raw service.
    pub(super) raw: Option<Answer>,
    /// The client waits for 100 before it sends its body.
    pub(super) expects: bool,
    /// The client understands trailers.
    pub(super) trailers: bool,
    pub(super) presented: Presented,
    /// The credential is one that browsers add by themselves.
    pub(super) is_basic: bool,
    /// A page of another site made it, and it could change something.
    pub(super) is_foreign: bool,
    pub(super) fields: HeaderMap,
}

impl Head {
    /// Takes a request apart. `proved`: the connection has a certificate.
    pub(super) fn take(
        mut request: Request<Incoming>,
        peer: SocketAddr,
        proved: bool,
    ) -> Result<(Self, Incoming, Option<OnUpgrade>), Failure> {
        check_method(request.method())?;
        check_size(request.headers())?;
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let mut fields = parts.headers;
        let length = match framing::of_request(parts.version, &fields)? {
            // HTTP/2 need not say that there is none.
            BodyLength::Unknown if body.is_end_stream() => BodyLength::Empty,
            length => length,
        };
        let authority = framing::authority(parts.version, &parts.uri, &fields)?;
        let whole = Target::of_head(parts.version, &parts.uri)?;
        let way = Way::of(whole.path()).ok().flatten().ok_or(Failure::NotFound)?;
        let whole_length = whole.path().len();
        let inner = whole.below(way.prefix.len())?;
        let target = match inner.query() {
            Some(query) => format!("{}?{query}", inner.path()),
            None => inner.path().to_owned(),
        };
        let (workspace, prefix) =
            (way.workspace.map(|path| path.to_string()), way.prefix.to_owned());
        let connection = remove_connection(&mut fields);
        let is_basic = is_basic(&fields);
        let presented = present(&mut fields, proved, is_ours).map_err(|bad| match bad {
            BadCredentials::Two => Failure::CredentialsDiffer,
            BadCredentials::Malformed => Failure::CredentialInvalid,
        })?;
        let expects = take_expect(&mut fields)?;
        let upgrade = asked(parts.version, &parts.method, &connection, length)?;
        let raw = raw(upgrade.as_ref(), &fields, &target)?;
        let changes = upgrade.is_some() || !is_safe(&parts.method);
        let is_foreign = changes && of_another_site(&fields, &authority);
        remove_identity(&mut fields);
        fields.remove(HOST);
        if length == BodyLength::Empty {
            fields.remove(CONTENT_LENGTH);
        }
        let head = Self {
            method: parts.method,
            peer,
            workspace,
            bare: whole_length == prefix.len(),
            prefix,
            target,
            authority,
            length,
            expects: expects && length != BodyLength::Empty,
            trailers: connection.trailers,
            presented,
            is_basic,
            is_foreign,
            fields,
            upgrade,
            raw,
        };
        let on_upgrade = head.upgrade.is_some().then_some(on_upgrade);
        Ok((head, body, on_upgrade))
    }

    /// The RBAC verb that it needs.
    pub(super) fn verb(&self) -> Verb {
        Verb::of(&self.method, self.upgrade.is_some())
    }

    /// Whether it asked for the service's public path itself, without a slash behind it.
    pub(super) const fn is_bare(&self) -> bool {
        self.bare
    }

    /// The path, without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The head as it crosses.
    pub(super) fn open(
        &self,
        service: &Announced,
        caller: &Caller,
        id: &str,
    ) -> Result<OpenHead, Failure> {
        let tlvs = Tlvs {
            service_type: &service.r#type,
            service: &service.name,
            identity: &caller.identity,
            client: Some(self.peer),
            request_id: id,
            ..Tlvs::default()
        };
        if self.raw.is_some() {
            return RawHead::new(&tlvs).map(OpenHead::Raw).map_err(refused);
        }
        let mut own = HeaderMap::new();
        restore(&mut own, &self.presented, service.client_authorization);
        if self.trailers {
            own.insert(http::header::TE, HeaderValue::from_static("trailers"));
        }
        let fields = self.fields.iter().chain(&own).map(|(name, value)| Field {
            name: name.as_str(),
            value: value.as_bytes().trim_ascii(),
            sensitive: value.is_sensitive(),
        });
        let parts = RequestParts {
            method: strait_tunnel::Method::new(self.method.as_str()).map_err(refused)?,
            authority: self.authority.to_str().unwrap_or_default(),
            path: &self.target,
            tlvs: Tlvs {
                upgrade: self.upgrade.as_ref().map_or("", |own| own.value().to_str().unwrap_or("")),
                body_length: match self.length {
                    BodyLength::Empty => None,
                    BodyLength::Known(length) => Some(length),
                    BodyLength::Unknown => None,
                },
                prefix: &self.prefix,
                expects: self.expects,
                ..tlvs
            },
        };
        strait_tunnel::Request::new(&parts, fields).map(OpenHead::Http).map_err(refused)
    }
}

/// The answer to a request for a raw service's bytes, if it is one.
fn raw(
    upgrade: Option<&Protocol>,
    fields: &HeaderMap,
    target: &str,
) -> Result<Option<Answer>, BadHead> {
    if !upgrade.is_some_and(Protocol::is_websocket) || !offers(fields, Subprotocol::Raw) {
        return Ok(None);
    }
    if target != "/" {
        return Err(BadHead::RawTarget);
    }
    judge(fields, Subprotocol::Raw).map(Some).map_err(BadHead::WebSocket)
}

/// What the protocol does not carry.
fn refused(error: HeadError) -> Failure {
    Failure::BadHead(match error {
        HeadError::Method => BadHead::Method,
        HeadError::TooLarge => BadHead::HeadSize("64 KiB with what the hub adds"),
        HeadError::TooManyFields => BadHead::HeadSize("256 fields"),
        _ => BadHead::TargetByte("a byte that none may hold"),
    })
}
