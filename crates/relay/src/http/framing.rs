//! How long a body is, and whom a request is for, in heads that a parser took apart.
//!
//! Heads of HTTP/1.1 come here through [`strait_net::http1`], which takes none that can be read in
//! two ways. Over HTTP/2 such fields frame nothing, but they have to be true.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

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
pub fn of_request(version: Version, fields: &HeaderMap) -> Result<BodyLength, BadHead> {
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
    fields: &HeaderMap,
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

fn is_chunked(version: Version, fields: &HeaderMap) -> Result<bool, BadHead> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(_), None) if version != Version::HTTP_11 => {
            Err(BadHead::Framing("Transfer-Encoding outside HTTP/1.1"))
        }
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(BadHead::Framing("Transfer-Encoding other than chunked")),
    }
}

fn content_length(fields: &HeaderMap) -> Result<Option<u64>, BadHead> {
    let mut found = None;
    for value in fields.get_all(CONTENT_LENGTH) {
        let length = decimal(value.as_bytes()).ok_or(BadHead::Framing("Content-Length"))?;
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
pub fn authority(version: Version, uri: &Uri, fields: &HeaderMap) -> Result<HeaderValue, BadHead> {
    let mut hosts = fields.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err(BadHead::Authority("named twice"));
    }
    let pseudo = uri.authority().filter(|_| version >= Version::HTTP_2).map(Authority::as_str);
    let differ =
        |host: &HeaderValue, other: &str| !host.as_bytes().eq_ignore_ascii_case(other.as_bytes());
    let found = match (host, pseudo) {
        (None, None) => return Err(BadHead::Authority("missing")),
        (Some(host), Some(pseudo)) if differ(host, pseudo) => {
            return Err(BadHead::Authority("named twice"));
        }
        (Some(host), _) => host.clone(),
        (None, Some(pseudo)) => {
            HeaderValue::from_str(pseudo).map_err(|_| BadHead::Authority("malformed"))?
        }
    };
    let is_one = found.to_str().is_ok_and(|text| {
        text.parse::<Authority>().is_ok_and(|one| !one.host().is_empty()) && !text.contains('@')
    });
    if is_one { Ok(found) } else { Err(BadHead::Authority("malformed")) }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        fields
    }

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
            assert_eq!(found.ok().as_ref().map(HeaderValue::as_bytes), expected.map(str::as_bytes));
        }
    }
}
