//! Requests that ask for another protocol on their connection, and the answers to them.
//!
//! A connection is given away only behind a 101 that was asked for and names the protocol asked
//! for. After any other answer it is an ordinary one, and what a client sent early is dropped:
//! read as a request it would be one that nobody decided about (CVE-2018-1002105).

use http::{HeaderValue, Method, StatusCode, Version};

use super::BadHead;
use super::fields::Connection;
use super::framing::BodyLength;

/// Longest name of a protocol, bytes.
const LENGTH_MAX: usize = 64;

/// A protocol, as `Upgrade` names it, compared without case.
#[derive(Clone, Debug)]
pub struct Protocol(HeaderValue);

impl Protocol {
    /// The name as it was sent.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// Whether it is WebSocket (RFC 6455).
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(b"websocket")
    }

    /// WebSocket.
    #[must_use]
    pub const fn websocket() -> Self {
        Self(HeaderValue::from_static("websocket"))
    }

    fn of(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok().filter(|text| text.len() <= LENGTH_MAX)?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
        let one = !text.is_empty() && text.chars().all(token);
        // HTTP on the connection again would pass every rule but those of the first request.
        let name = text.split('/').next().unwrap_or_default();
        let http = ["h2c", "http", "h2", "tls"].iter().any(|own| name.eq_ignore_ascii_case(own));
        (one && !http).then(|| Self(value.clone()))
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().eq_ignore_ascii_case(other.0.as_bytes())
    }
}

impl Eq for Protocol {}

/// What a request asks its connection to become; none for ordinary requests, and for offers that
/// a server may ignore: several protocols, or HTTP itself.
///
/// # Errors
/// It has a body, which would stand between the head and the protocol.
pub fn asked(
    version: Version,
    method: &Method,
    connection: &Connection,
    length: BodyLength,
) -> Result<Option<Protocol>, BadHead> {
    let Some(protocol) = connection.upgrade.as_ref().and_then(Protocol::of) else {
        return Ok(None);
    };
    // What answers HEAD has no body, whatever its head says of one.
    if version != Version::HTTP_11 || method == Method::HEAD {
        return Ok(None);
    }
    if protocol.is_websocket() && method != Method::GET {
        return Ok(None);
    }
    if length == BodyLength::Empty {
        Ok(Some(protocol))
    } else {
        Err(BadHead::Framing("a body before another protocol"))
    }
}

/// Makes of a request over HTTP/2 whose stream is to be a WebSocket (RFC 8441) the one of HTTP/1.1
/// that it stands for, but for its fields: whether it was one.
pub fn take_extended(method: &mut Method, asked: Option<&hyper::ext::Protocol>) -> bool {
    let is_one = *method == Method::CONNECT
        && asked.is_some_and(|own| own.as_str().eq_ignore_ascii_case("websocket"));
    if is_one {
        *method = Method::GET;
    }
    is_one
}

/// What an answer makes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It speaks the other protocol from here on, and is never pooled.
    Switched,
    /// An ordinary answer, after which the client's connection is closed if an upgrade was asked.
    Ordinary,
    /// Not an answer to this request: 101 without being asked, or to another protocol.
    Broken,
}

/// Judges an answer.
#[must_use]
pub fn answered(asked: Option<&Protocol>, status: StatusCode, connection: &Connection) -> Answered {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Answered::Ordinary;
    }
    let given = connection.upgrade.as_ref().and_then(Protocol::of);
    match (asked, given) {
        (Some(asked), Some(given)) if *asked == given => Answered::Switched,
        _ => Answered::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(upgrade: &str) -> Connection {
        let upgrade = (!upgrade.is_empty()).then(|| HeaderValue::from_str(upgrade).unwrap());
        Connection { trailers: false, upgrade }
    }

    #[test]
    fn what_asks_for_another_protocol() {
        let (v1, v2) = (Version::HTTP_11, Version::HTTP_2);
        let empty = BodyLength::Empty;
        for (version, method, upgrade, length, expected) in [
            (v1, Method::GET, "websocket", empty, Ok(true)),
            (v1, Method::POST, "SPDY/3.1", empty, Ok(true)),
            (v1, Method::HEAD, "SPDY/3.1", empty, Ok(false)),
            (v1, Method::GET, "", empty, Ok(false)),
            (v1, Method::POST, "WebSocket", empty, Ok(false)),
            (v1, Method::GET, "h2c", empty, Ok(false)),
            (v1, Method::GET, "HTTP/2.0", empty, Ok(false)),
            (v1, Method::GET, "TLS/1.0", empty, Ok(false)),
            (v1, Method::GET, "websocket, h2c", empty, Ok(false)),
            (v2, Method::GET, "websocket", empty, Ok(false)),
            (Version::HTTP_10, Method::GET, "websocket", empty, Ok(false)),
            (v1, Method::GET, "websocket", BodyLength::Known(3), Err(())),
            (v1, Method::GET, "websocket", BodyLength::Unknown, Err(())),
        ] {
            let asked = asked(version, &method, &connection(upgrade), length);
            let asked = asked.map(|protocol| protocol.is_some()).map_err(|_| ());
            assert_eq!(asked, expected, "{version:?} {method} {upgrade} {length:?}");
        }
    }

    #[test]
    fn a_stream_of_http2_becomes_a_websocket_and_nothing_else() {
        for (method, protocol, expected) in [
            ("CONNECT", Some("websocket"), true),
            ("CONNECT", Some("WebSocket"), true),
            ("CONNECT", Some("connect-udp"), false),
            ("CONNECT", None, false),
            ("GET", Some("websocket"), false),
        ] {
            let mut taken: Method = method.parse().unwrap();
            let asked = protocol.map(hyper::ext::Protocol::from_static);
            assert_eq!(
                take_extended(&mut taken, asked.as_ref()),
                expected,
                "{method} {protocol:?}"
            );
            assert_eq!(taken == "GET", expected || method == "GET");
        }
    }

    #[test]
    fn a_connection_switches_only_to_what_was_asked_for() {
        let websocket = Protocol::of(&HeaderValue::from_static("websocket")).unwrap();
        for (asked, status, upgrade, expected) in [
            (Some(&websocket), 101, "WebSocket", Answered::Switched),
            (Some(&websocket), 101, "SPDY/3.1", Answered::Broken),
            (Some(&websocket), 101, "", Answered::Broken),
            (None, 101, "websocket", Answered::Broken),
            (None, 101, "", Answered::Broken),
            (Some(&websocket), 403, "", Answered::Ordinary),
            (Some(&websocket), 302, "websocket", Answered::Ordinary),
            (Some(&websocket), 200, "", Answered::Ordinary),
            (None, 426, "websocket", Answered::Ordinary),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(
                answered(asked, status, &connection(upgrade)),
                expected,
                "{status} {upgrade}"
            );
        }
    }
}
