//! A client's request: what of its head crosses.

use http::Method;
use http_body::Body as _;
use strait_net::fields::Fields;
use strait_net::fields::names::{CONTENT_LENGTH, HOST, SEC_WEBSOCKET_KEY, TE};
use strait_net::traced::traceparent;
use strait_net::{Incoming, OnUpgrade, RequestParts};
use strait_runtime::Entropy;
use strait_tunnel::{HeadError, OpenHead, Tlvs};

use crate::http::BadHead;
use crate::http::fields::{
    Connection, check_size, remove_connection, remove_identity, take_expect,
};
use crate::http::framing::{self, BodyLength};
use crate::http::site::of_another_site;
use crate::http::target::{Target, check_method};
use crate::http::upgrade::{Protocol, asked, take_extended};
use crate::message::Failure;
use crate::services::is_safe;
use crate::websocket::new_key;

/// A head that is well formed, without what ends at this hop.
pub(crate) struct Message {
    pub(crate) method: Method,
    /// Path and query for the service.
    pub(crate) target: String,
    pub(crate) authority: String,
    pub(crate) length: BodyLength,
    pub(crate) upgrade: Option<Protocol>,
    /// Over HTTP/2 (RFC 8441), what a service that switches has to answer the key that was made
    /// for it: the client sees neither.
    pub(crate) accept: Option<String>,
    /// The client waits for 100 before it sends its body.
    pub(crate) expects: bool,
    /// The client understands trailers.
    trailers: bool,
    pub(crate) fields: Fields,
}

/// A request whose framing was understood. What only this hop needs is still in its fields.
pub(crate) struct Came {
    version: http::Version,
    method: Method,
    uri: http::Uri,
    authority: String,
    length: BodyLength,
    connection: Connection,
    pub(crate) fields: Fields,
    pub(crate) body: Incoming,
    on_upgrade: OnUpgrade,
    /// It asked for a WebSocket over HTTP/2.
    extended: bool,
}

impl Came {
    /// Looks how a request is framed, and takes out what belongs to its connection.
    pub(crate) fn take(request: RequestParts) -> Result<Self, Failure> {
        let RequestParts { mut method, uri, version, mut fields, body, on_upgrade, protocol } =
            request;
        let extended = take_extended(&mut method, protocol.as_ref());
        check_method(&method)?;
        check_size(&fields)?;
        let length = match framing::of_request(version, &fields)? {
            // HTTP/2 need not say that there is none.
            BodyLength::Unknown if body.is_end_stream() => BodyLength::Empty,
            length => length,
        };
        let authority = framing::authority(version, &uri, &fields)?;
        let connection = remove_connection(&mut fields);
        Ok(Self {
            version,
            method,
            uri,
            authority,
            length,
            connection,
            fields,
            body,
            on_upgrade,
            extended,
        })
    }

    /// Whom it is for.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// What was asked for.
    pub(crate) fn target(&self) -> Result<Target<'_>, BadHead> {
        Target::of_head(self.version, &self.uri)
    }

    /// The message as it crosses, for this of the service's.
    pub(crate) fn into_message(
        mut self,
        target: String,
        entropy: &dyn Entropy,
    ) -> Result<(Message, Incoming, Option<OnUpgrade>), Failure> {
        let fields = &mut self.fields;
        let expects = take_expect(fields)? && self.length != BodyLength::Empty;
        let upgrade = match self.extended {
            true => Some(Protocol::websocket()),
            false => asked(self.version, &self.method, &self.connection, self.length)?,
        };
        let accept = self.extended.then(|| {
            let (key, accept) = new_key(entropy);
            fields.set(SEC_WEBSOCKET_KEY, key.as_bytes());
            accept
        });
        remove_identity(fields);
        fields.remove(HOST);
        if self.length == BodyLength::Empty {
            fields.remove(CONTENT_LENGTH);
        }
        let on_upgrade = upgrade.is_some().then_some(self.on_upgrade);
        let message = Message {
            method: self.method,
            target,
            authority: self.authority,
            length: self.length,
            upgrade,
            accept,
            expects,
            trailers: self.connection.trailers,
            fields: self.fields,
        };
        Ok((message, self.body, on_upgrade))
    }
}

impl Message {
    /// Whether a page of another site made it, and it could change something.
    pub(crate) fn is_foreign(&self) -> bool {
        let changes = self.upgrade.is_some() || !is_safe(&self.method);
        changes && of_another_site(&self.fields, &self.authority)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The head as it crosses, with these fields of ours. `tlvs` say what the message does not.
    pub(crate) fn open(&self, tlvs: Tlvs<'_>, mut own: Fields) -> Result<OpenHead, Failure> {
        if self.trailers {
            own.set(TE, b"trailers");
        }
        let parts = strait_tunnel::RequestParts {
            method: strait_tunnel::Method::new(self.method.as_str()).map_err(refused)?,
            authority: &self.authority,
            path: &self.target,
            tlvs: Tlvs {
                trace: traceparent(&self.fields),
                upgrade: self.upgrade.as_ref().map_or("", |own| own.value().to_str().unwrap_or("")),
                body_length: match self.length {
                    BodyLength::Empty => None,
                    BodyLength::Known(length) => Some(length),
                    BodyLength::Unknown => None,
                },
                expects: self.expects,
                ..tlvs
            },
        };
        let fields = self.fields.iter().chain(own.iter());
        strait_tunnel::Request::new(&parts, fields).map(OpenHead::Http).map_err(refused)
    }
}

/// What the protocol does not carry.
pub(crate) fn refused(error: HeadError) -> Failure {
    Failure::BadHead(match error {
        HeadError::Method => BadHead::Method,
        HeadError::TooLarge => BadHead::HeadSize("64 KiB with what the hub adds"),
        HeadError::TooManyFields => BadHead::HeadSize("256 fields"),
        _ => BadHead::TargetByte("a byte that none may hold"),
    })
}
