//! The heads that make a WebSocket of a connection (RFC 6455 §4).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use strait_runtime::{Entropy, random_16};

/// What a server's answer is computed with (RFC 6455 §1.3).
const SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

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
pub fn offers(fields: &HeaderMap, subprotocol: Subprotocol) -> bool {
    let values = fields.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|own| own.trim() == subprotocol.as_str())
}

/// The fields of the 101 that answers a request with these. That it asks for a WebSocket, and
/// [`offers`] this subprotocol, is for the caller to see.
///
/// # Errors
/// No WebSocket can be made.
pub fn judge(fields: &HeaderMap, subprotocol: Subprotocol) -> Result<Answer, BadRequest> {
    if fields.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        return Err(BadRequest::Version);
    }
    let mut keys = fields.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(BadRequest::Key) };
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => {
            Ok(Answer { accept: accept(key.as_bytes()), subprotocol })
        }
        _ => Err(BadRequest::Key),
    }
}

/// What a 101 says.
#[derive(Clone, Debug)]
pub struct Answer {
    accept: HeaderValue,
    subprotocol: Subprotocol,
}

impl Answer {
    /// Adds its fields.
    pub fn put(self, fields: &mut HeaderMap) {
        upgrade(fields);
        fields.insert(SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        self.put_extended(fields);
    }

    /// Adds the fields of the 200 that says the same over HTTP/2 (RFC 8441 §5).
    pub fn put_extended(self, fields: &mut HeaderMap) {
        let subprotocol = HeaderValue::from_static(self.subprotocol.as_str());
        fields.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
}

/// A client's half of a handshake.
#[derive(Debug)]
pub struct Key {
    key: HeaderValue,
    subprotocol: Subprotocol,
}

impl Key {
    /// A new one.
    #[must_use]
    pub fn new(subprotocol: Subprotocol, entropy: &dyn Entropy) -> Self {
        Self { key: new_key(entropy).0, subprotocol }
    }

    /// Adds the fields of the request.
    pub fn put(&self, fields: &mut HeaderMap) {
        upgrade(fields);
        fields.insert(SEC_WEBSOCKET_VERSION, VERSION);
        fields.insert(SEC_WEBSOCKET_KEY, self.key.clone());
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
        if fields.get(SEC_WEBSOCKET_ACCEPT) != Some(&accept(self.key.as_bytes())) {
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
pub(crate) fn new_key(entropy: &dyn Entropy) -> (HeaderValue, HeaderValue) {
    let key = STANDARD.encode(random_16(entropy));
    let key = HeaderValue::from_str(&key).expect("base64 is printable");
    let accept = accept(key.as_bytes());
    (key, accept)
}

fn upgrade(fields: &mut HeaderMap) {
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

fn accept(key: &[u8]) -> HeaderValue {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, SUFFIX.as_bytes()].concat());
    HeaderValue::from_str(&STANDARD.encode(hash)).expect("base64 is printable")
}

#[cfg(test)]
mod tests {
    use strait_runtime::SystemEntropy;

    use super::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| ((*name).try_into().unwrap(), value.parse().unwrap()))
            .collect()
    }

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
        assert!(offers(&asked, Subprotocol::Raw));
        let mut told = HeaderMap::new();
        judge(&asked, Subprotocol::Raw).unwrap().put(&mut told);
        let switching = StatusCode::SWITCHING_PROTOCOLS;
        assert_eq!(key.check(switching, &told), Ok(()));
        assert_eq!(key.check(StatusCode::OK, &told), Err(BadAnswer::Status(StatusCode::OK)));
        let other = Key::new(Subprotocol::Raw, &SystemEntropy);
        assert_eq!(other.check(switching, &told), Err(BadAnswer::Accept));
        told.remove(SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(key.check(switching, &told), Err(BadAnswer::Subprotocol));
    }
}
