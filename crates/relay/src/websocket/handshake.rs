//! The heads that make a WebSocket of a connection (RFC 6455 §4).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode};
use strait_net::fields::names::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use strait_net::fields::{Fields, text};
use strait_runtime::{Entropy, random_16};

/// What a server's answer is computed with (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version that there is.
const VERSION: &str = "13";

/// What is spoken inside a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// The bytes of a raw service.
    Raw,
    /// An agent's TLS with its hub.
    Tunnel,
}

impl Subprotocol {
    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "strait-raw.v1",
            Self::Tunnel => "strait-tunnel.v1",
        }
    }
}

/// A request asks for no WebSocket that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Another version.
    #[error("the only version of WebSocket served is 13")]
    Version,
    /// No key, or one that is none.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

/// A server's answer makes no WebSocket of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// An ordinary answer.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// 101, but not to this request.
    #[error("the server's answer is not to this request")]
    Accept,
    /// Another subprotocol, or none.
    #[error("the server speaks another protocol inside the WebSocket")]
    Subprotocol,
}

/// Whether a request offers a subprotocol.
#[must_use]
pub fn offers(fields: &Fields, subprotocol: Subprotocol) -> bool {
    let texts = fields.all(SEC_WEBSOCKET_PROTOCOL).filter_map(text);
    texts.flat_map(|text| text.split(',')).any(|own| own.trim() == subprotocol.as_str())
}

/// The fields of the 101 that answers a request with these. That it asks for a WebSocket, and
/// [`offers`] this subprotocol, is for the caller to see.
///
/// # Errors
/// No WebSocket can be made.
pub fn judge(fields: &Fields, subprotocol: Subprotocol) -> Result<Answer, BadRequest> {
    if fields.get(SEC_WEBSOCKET_VERSION) != Some(VERSION.as_bytes()) {
        return Err(BadRequest::Version);
    }
    let key = fields.only(SEC_WEBSOCKET_KEY).ok_or(BadRequest::Key)?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(Answer { accept: accept(key), subprotocol }),
        _ => Err(BadRequest::Key),
    }
}

/// What a 101 says.
#[derive(Clone, Debug)]
pub struct Answer {
    accept: String,
    subprotocol: Subprotocol,
}

impl Answer {
    /// Adds its fields.
    pub fn put(self, fields: &mut Fields) {
        fields.set(CONNECTION, b"upgrade");
        fields.set(UPGRADE, b"websocket");
        fields.set(SEC_WEBSOCKET_ACCEPT, self.accept.as_bytes());
        self.put_extended(fields);
    }

    /// Adds the fields of the 200 that says the same over HTTP/2 (RFC 8441 §5).
    pub fn put_extended(self, fields: &mut Fields) {
        fields.set(SEC_WEBSOCKET_PROTOCOL, self.subprotocol.as_str().as_bytes());
    }
}

/// A client's half of a handshake.
#[derive(Debug)]
pub struct Key {
    key: String,
    subprotocol: Subprotocol,
}

impl Key {
    /// A new one.
    #[must_use]
    pub fn new(subprotocol: Subprotocol, entropy: &dyn Entropy) -> Self {
        Self { key: new_key(entropy).0, subprotocol }
    }

    /// Adds the fields of the request.
    ///
    /// # Panics
    /// Never: a key is base64.
    pub fn put(&self, fields: &mut HeaderMap) {
        let key = HeaderValue::from_str(&self.key).expect("base64 is printable");
        fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
        fields.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        fields.insert(SEC_WEBSOCKET_KEY, key);
        let subprotocol = HeaderValue::from_static(self.subprotocol.as_str());
        fields.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }

    /// Judges the answer.
    ///
    /// # Errors
    /// The connection is no WebSocket, or not with the other side that was meant.
    pub fn check(&self, status: StatusCode, fields: &HeaderMap) -> Result<(), BadAnswer> {
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(BadAnswer::Status(status));
        }
        let accepted = fields.get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if accepted != Some(accept(self.key.as_bytes()).as_bytes()) {
            return Err(BadAnswer::Accept);
        }
        let spoken = fields.get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
        if spoken != Some(self.subprotocol.as_str().as_bytes()) {
            return Err(BadAnswer::Subprotocol);
        }
        Ok(())
    }
}

/// A new key, and what a server has to answer it.
pub(crate) fn new_key(entropy: &dyn Entropy) -> (String, String) {
    let key = STANDARD.encode(random_16(entropy));
    let accept = accept(key.as_bytes());
    (key, accept)
}

fn accept(key: &[u8]) -> String {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, SUFFIX.as_bytes()].concat());
    STANDARD.encode(hash)
}

#[cfg(test)]
mod tests {
    use strait_runtime::SystemEntropy;

    use super::*;
    use crate::http::testing::fields_of as fields;

    #[test]
    fn the_key_of_rfc_6455_is_accepted_as_it_says() {
        let accepted = accept(b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn requests_are_judged() {
        const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        const THIRTEEN: (&str, &str) = ("sec-websocket-version", "13");
        type Case = (&'static [(&'static str, &'static str)], Option<BadRequest>);
        let table: [Case; 6] = [
            (&[KEY, THIRTEEN], None),
            (&[KEY], Some(BadRequest::Version)),
            (&[KEY, ("sec-websocket-version", "8")], Some(BadRequest::Version)),
            (&[THIRTEEN], Some(BadRequest::Key)),
            (&[THIRTEEN, ("sec-websocket-key", "c2hvcnQ=")], Some(BadRequest::Key)),
            (&[THIRTEEN, ("sec-websocket-key", "***")], Some(BadRequest::Key)),
        ];
        for (lines, expected) in table {
            let judged = judge(&fields(lines), Subprotocol::Raw).err();
            assert_eq!(judged, expected, "{lines:?}");
        }
        for (value, offered) in [
            ("strait-raw.v1", true),
            ("chat, strait-raw.v1", true),
            ("strait-raw.v10", false),
            ("strait-tunnel.v1", false),
        ] {
            let fields = fields(&[("sec-websocket-protocol", value)]);
            assert_eq!(offers(&fields, Subprotocol::Raw), offered, "{value}");
        }
    }

    #[test]
    fn both_sides_agree_or_do_not() {
        let key = Key::new(Subprotocol::Raw, &SystemEntropy);
        let mut asked = HeaderMap::new();
        key.put(&mut asked);
        let asked = Fields::from(&asked);
        assert!(offers(&asked, Subprotocol::Raw));
        let mut told = Fields::new();
        judge(&asked, Subprotocol::Raw).unwrap().put(&mut told);
        let mut told = told.to_map();
        let switching = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(key.check(switching, &told), Ok(()));
        assert_eq!(key.check(StatusCode::OK, &told), Err(BadAnswer::Status(StatusCode::OK)));
        let other = Key::new(Subprotocol::Raw, &SystemEntropy);
        assert_eq!(other.check(switching, &told), Err(BadAnswer::Accept));
        told.remove(SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(key.check(switching, &told), Err(BadAnswer::Subprotocol));
    }
}
