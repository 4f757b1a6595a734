//! How long a body is, and whom a request is for, in heads that a parser took apart.
//!
//! Heads of HTTP/1.1 come here through [`strait_net::http1`], which takes none that can be read in
//! two ways. Over HTTP/2 such fields frame nothing, but they have to be true.

use http::uri::Authority;
use http::{Method, StatusCode, Uri, Version};
use strait_net::fields::names::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use strait_net::fields::{Fields, text};

use super::BadHead;

/// How long a body will be, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    Empty,
    /// Exactly so many bytes; any other number is a broken message.
    Known(u64),
    /// Until its end is marked.
    Unknown,
}

/// The length of a request's body. Comes before the fields of the connection are removed.
///
/// # Errors
/// It could be told in two ways.
pub fn of_request(version: Version, fields: &Fields) -> Result<BodyLength, BadHead> {
    let chunked = is_chunked(version, fields)?;
    match (chunked, content_length(fields)?) {
        (true, Some(_)) => Err(BadHead::Framing("both Content-Length and Transfer-Encoding")),
        (true, None) => Ok(BodyLength::Unknown),
        (false, Some(0)) => Ok(BodyLength::Empty),
        (false, Some(length)) => Ok(BodyLength::Known(length)),
        (false, None) if version >= Version::HTTP_2 => Ok(BodyLength::Unknown),
        (false, None) => Ok(BodyLength::Empty),
    }
}

/// The length of an answer's body.
///
/// # Errors
/// It could be told in two ways: the service does not speak HTTP.
pub fn of_answer(
    version: Version,
    asked: &Method,
    status: StatusCode,
    fields: &Fields,
) -> Result<BodyLength, BadHead> {
    let chunked = is_chunked(version, fields)?;
    let length = content_length(fields)?;
    if chunked && length.is_some() {
        return Err(BadHead::Framing("both Content-Length and Transfer-Encoding"));
    }
    let empty = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || asked == Method::HEAD;
    match length {
        _ if empty => Ok(BodyLength::Empty),
        Some(0) => Ok(BodyLength::Empty),
        Some(length) => Ok(BodyLength::Known(length)),
        None => Ok(BodyLength::Unknown),
    }
}

fn is_chunked(version: Version, fields: &Fields) -> Result<bool, BadHead> {
    let mut codings = fields.all(TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(_), None) if version != Version::HTTP_11 => {
            Err(BadHead::Framing("Transfer-Encoding outside HTTP/1.1"))
        }
        (Some(one), None) if one.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(BadHead::Framing("Transfer-Encoding other than chunked")),
    }
}

fn content_length(fields: &Fields) -> Result<Option<u64>, BadHead> {
    let mut found = None;
    for value in fields.all(CONTENT_LENGTH) {
        let length = decimal(value).ok_or(BadHead::Framing("Content-Length"))?;
        if found.is_some_and(|known| known != length) {
            return Err(BadHead::Framing("differing Content-Length"));
        }
        found = Some(length);
    }
    Ok(found)
}

/// Digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// The authority that a request is for: one, wherever it stands.
///
/// # Errors
/// None, two that differ, or one that is none.
pub fn authority(version: Version, uri: &Uri, fields: &Fields) -> Result<String, BadHead> {
    let mut hosts = fields.all(HOST);
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(BadHead::Authority("named twice"));
    }
    let pseudo = uri.authority().filter(|_| version >= Version::HTTP_2).map(Authority::as_str);
    let found = match (host, pseudo) {
        (None, None) => return Err(BadHead::Authority("missing")),
        (Some(host), Some(pseudo)) if !host.eq_ignore_ascii_case(pseudo.as_bytes()) => {
            return Err(BadHead::Authority("named twice"));
        }
        (Some(host), _) => text(host),
        (None, Some(pseudo)) => Some(pseudo),
    };
    let is_one = |text: &&str| {
        text.parse::<Authority>().is_ok_and(|one| !one.host().is_empty()) && !text.contains('@')
    };
    found.filter(is_one).map(str::to_owned).ok_or(BadHead::Authority("malformed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields_of as fields;

    const CL: &str = "content-length";
    const TE: &str = "transfer-encoding";

    #[test]
    fn the_length_of_a_request_is_told_in_one_way() {
        use BodyLength::{Empty, Known, Unknown};
        let bad = None;
        for (version, lines, expected) in [
            (Version::HTTP_11, &[][..], Some(Empty)),
            (Version::HTTP_11, &[(CL, "0")], Some(Empty)),
            (Version::HTTP_11, &[(CL, "12")], Some(Known(12))),
            (Version::HTTP_11, &[(CL, "12"), (CL, "12")], Some(Known(12))),
            (Version::HTTP_11, &[(TE, "Chunked")], Some(Unknown)),
            (Version::HTTP_2, &[], Some(Unknown)),
            (Version::HTTP_2, &[(CL, "3")], Some(Known(3))),
            (Version::HTTP_11, &[(CL, "12"), (CL, "13")], bad),
            (Version::HTTP_11, &[(CL, "12, 12")], bad),
            (Version::HTTP_11, &[(CL, "+12")], bad),
            (Version::HTTP_11, &[(CL, "0x1")], bad),
            (Version::HTTP_11, &[(CL, "")], bad),
            (Version::HTTP_11, &[(CL, "99999999999999999999")], bad),
            (Version::HTTP_11, &[(CL, "1"), (TE, "chunked")], bad),
            (Version::HTTP_11, &[(TE, "gzip, chunked")], bad),
            (Version::HTTP_11, &[(TE, "xchunked")], bad),
            (Version::HTTP_11, &[(TE, "chunked"), (TE, "chunked")], bad),
            (Version::HTTP_11, &[(TE, "identity")], bad),
            (Version::HTTP_10, &[(TE, "chunked")], bad),
            (Version::HTTP_2, &[(TE, "chunked")], bad),
        ] {
            assert_eq!(of_request(version, &fields(lines)).ok(), expected, "{version:?} {lines:?}");
        }
    }

    #[test]
    fn the_length_of_an_answer_follows_its_status_and_method() {
        use BodyLength::{Empty, Known, Unknown};
        for (method, status, lines, expected) in [
            (Method::GET, 200, &[][..], Some(Unknown)),
            (Method::GET, 200, &[(CL, "7")], Some(Known(7))),
            (Method::GET, 200, &[(TE, "chunked")], Some(Unknown)),
            (Method::HEAD, 200, &[(CL, "7")], Some(Empty)),
            (Method::GET, 304, &[(CL, "7")], Some(Empty)),
            (Method::GET, 204, &[], Some(Empty)),
            (Method::GET, 103, &[], Some(Empty)),
            (Method::GET, 200, &[(CL, "7"), (TE, "chunked")], None),
            (Method::HEAD, 200, &[(CL, "7"), (CL, "8")], None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let length = of_answer(Version::HTTP_11, &method, status, &fields(lines));
            assert_eq!(length.ok(), expected, "{method} {status} {lines:?}");
        }
    }

    #[test]
    fn a_request_is_for_one_host() {
        for (version, uri, hosts, expected) in [
            (Version::HTTP_11, "/", &["hub.example:8443"][..], Some("hub.example:8443")),
            (Version::HTTP_2, "https://hub.example/", &[], Some("hub.example")),
            (Version::HTTP_2, "https://hub.example/", &["HUB.example"], Some("HUB.example")),
            (Version::HTTP_2, "https://hub.example/", &["evil.example"], None),
            (Version::HTTP_11, "/", &[], None),
            (Version::HTTP_11, "/", &["a", "a"], None),
            (Version::HTTP_11, "/", &[""], None),
            (Version::HTTP_11, "/", &["a b"], None),
            (Version::HTTP_11, "/", &["a/b"], None),
            (Version::HTTP_11, "/", &["x@a"], None),
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let found = authority(version, &uri.parse().unwrap(), &fields(&hosts));
            assert_eq!(found.ok().as_deref(), expected);
        }
    }
}
