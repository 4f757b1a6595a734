//! The head of an answer: what the server adds to what its handler says.

use std::io::Write as _;

use bytes::Bytes;
use http::{Method, StatusCode, Version};

use super::date;
use super::head::Length;
use super::sending::put;
use crate::fields::names::{CONNECTION, CONTENT_LENGTH, DATE, TE, TRANSFER_ENCODING};
use crate::fields::{Field, Fields, text};

/// Enough for the first line and the fields that are added.
const OWN_BYTES: usize = 160;
/// Enough for most other fields, each.
const FIELD_BYTES: usize = 48;
/// As many as most answers have, where nobody says how many there are.
const FIELDS: usize = 8;

/// What of a request decides about its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) version: Version,
    /// With HEAD.
    pub(super) head: bool,
    /// It understands trailers (RFC 9110 §10.1.4).
    pub(super) trailers: bool,
    /// Another request may follow it.
    pub(super) keeps: bool,
}

impl Asked {
    /// By nobody who could be understood.
    pub(super) const NOTHING: Self =
        Self { version: Version::HTTP_11, head: false, trailers: false, keeps: false };

    pub(super) fn new(method: &Method, version: Version, fields: &Fields, keeps: bool) -> Self {
        let trailers = fields.all(TE).any(|value| {
            value.split(|byte| *byte == b',').any(|coding| {
                let name = coding.split(|byte| *byte == b';').next().unwrap_or_default();
                name.trim_ascii().eq_ignore_ascii_case(b"trailers")
            })
        });
        Self { version, head: *method == Method::HEAD, trailers, keeps }
    }
}

/// How an answer is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Framed {
    pub(super) head: Bytes,
    /// Of what follows the head.
    pub(super) length: Length,
    /// Whether another may follow.
    pub(super) keeps: bool,
}

/// The head of an answer with these fields, whose body has so many bytes, if that is known.
/// `closes`: nothing is to follow it.
pub(super) fn frame<'f>(
    asked: Asked,
    (status, fields): (StatusCode, impl Iterator<Item = Field<'f>>),
    body: Option<u64>,
    closes: bool,
) -> Framed {
    use StatusCode as S;
    let mut head = begin(asked.version, status, fields.size_hint().1.unwrap_or(FIELDS));
    let told = say(&mut head, fields);
    let length = told.length.flatten();
    let known = length.or(body);
    let (length, says) = match status {
        S::SWITCHING_PROTOCOLS | S::NO_CONTENT => (Length::Known(0), None),
        S::NOT_MODIFIED => (Length::Known(0), length),
        // What a body would have that is not sent is known only where there is one.
        _ if asked.head => (Length::Known(0), length.or_else(|| body.filter(|length| *length > 0))),
        _ => match known {
            Some(length) => (Length::Known(length), known),
            None if asked.version == Version::HTTP_11 => (Length::Chunked, None),
            None => (Length::Close, None),
        },
    };
    let keeps = asked.keeps && !closes && !told.closes && length != Length::Close;
    let connection = match asked.version {
        _ if status == S::SWITCHING_PROTOCOLS => told.connection,
        _ if !keeps => Some(&b"close"[..]),
        // Which protocols there are, another field says (RFC 9110 §15.5.22).
        _ if status == S::UPGRADE_REQUIRED => Some(&b"upgrade"[..]),
        Version::HTTP_10 => Some(&b"keep-alive"[..]),
        _ => None,
    };
    if let Some(length) = says {
        // A vector takes whatever is written.
        let _ = write!(head, "{CONTENT_LENGTH}: {length}\r\n");
    }
    if length == Length::Chunked {
        put(&mut head, TRANSFER_ENCODING.as_bytes(), b"chunked");
    }
    if let Some(connection) = connection {
        put(&mut head, CONNECTION.as_bytes(), connection);
    }
    if !told.date
        && let Some(date) = date::now()
    {
        put(&mut head, DATE.as_bytes(), date.as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    Framed { head: head.into(), length, keeps }
}

/// The first line of an answer, with room for so many fields.
fn begin(version: Version, status: StatusCode, fields: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(OWN_BYTES + fields * FIELD_BYTES);
    let version = if version == Version::HTTP_10 { "HTTP/1.0 " } else { "HTTP/1.1 " };
    let reason = status.canonical_reason().unwrap_or_default();
    for part in [version, status.as_str(), " ", reason, "\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    head
}

/// What the fields of an answer tell about how it is framed.
#[derive(Default)]
struct Told<'f> {
    /// What the first of its name says, if that is a length.
    length: Option<Option<u64>>,
    /// The first of its name.
    connection: Option<&'f [u8]>,
    closes: bool,
    date: bool,
}

/// Adds the fields of an answer but those that frame it, of which it is told.
fn say<'f>(head: &mut Vec<u8>, fields: impl Iterator<Item = Field<'f>>) -> Told<'f> {
    let mut told = Told::default();
    for field in fields {
        if field.is(CONTENT_LENGTH) {
            told.length.get_or_insert_with(|| text(field.value)?.parse().ok());
        } else if field.is(CONNECTION) {
            told.connection = told.connection.or(Some(field.value));
            told.closes |= says_close(field.value);
        } else if !field.is(TRANSFER_ENCODING) {
            told.date |= field.is(DATE);
            put(head, field.name, field.value);
        }
    }
    told
}

/// Whether a `Connection` field says that nothing follows.
fn says_close(value: &[u8]) -> bool {
    let mut options = value.split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::fields::fields_of;

    const GET: Asked =
        Asked { version: Version::HTTP_11, head: false, trailers: false, keeps: true };

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in [("date", "now")].iter().chain(lines) {
            fields.push(Field::new(name, value.as_bytes())).unwrap();
        }
        fields
    }

    #[test]
    fn an_answer_tells_its_length_and_what_follows() {
        let head = Asked { head: true, ..GET };
        let last = Asked { keeps: false, ..GET };
        let old = Asked { version: Version::HTTP_10, ..GET };
        let length = |length| [("content-length", length)];
        use Length::{Chunked, Close, Known};
        for (asked, status, said, body, expected, then, keeps) in [
            (GET, 200, &[][..], Some(2), "content-length: 2|", Known(2), true),
            (GET, 200, &[], Some(0), "content-length: 0|", Known(0), true),
            (GET, 200, &length("3"), None, "content-length: 3|", Known(3), true),
            (GET, 200, &length("x"), Some(2), "content-length: 2|", Known(2), true),
            (GET, 200, &[], None, "transfer-encoding: chunked|", Chunked, true),
            (
                GET,
                200,
                &[("transfer-encoding", "x")],
                Some(1),
                "content-length: 1|",
                Known(1),
                true,
            ),
            (GET, 204, &length("3"), Some(0), "", Known(0), true),
            (GET, 304, &length("3"), Some(0), "content-length: 3|", Known(0), true),
            (GET, 304, &[], Some(0), "", Known(0), true),
            (head, 200, &length("3"), Some(0), "content-length: 3|", Known(0), true),
            (head, 200, &[], Some(4), "content-length: 4|", Known(0), true),
            (head, 200, &[], Some(0), "", Known(0), true),
            (head, 200, &[], None, "", Known(0), true),
            (
                GET,
                200,
                &[("content-length", "3"), ("content-length", "5")],
                None,
                "content-length: 3|",
                Known(3),
                true,
            ),
            (
                GET,
                200,
                &[("content-length", "x"), ("content-length", "3")],
                Some(2),
                "content-length: 2|",
                Known(2),
                true,
            ),
            (last, 200, &[], Some(0), "content-length: 0|connection: close|", Known(0), false),
            (
                GET,
                200,
                &[("connection", "x, Close")],
                Some(0),
                "content-length: 0|connection: close|",
                Known(0),
                false,
            ),
            (
                GET,
                200,
                &[("connection", "x"), ("connection", "close")],
                Some(0),
                "content-length: 0|connection: close|",
                Known(0),
                false,
            ),
            (
                GET,
                101,
                &[("connection", "upgrade"), ("connection", "x")],
                Some(0),
                "connection: upgrade|",
                Known(0),
                true,
            ),
            (GET, 426, &[], Some(0), "content-length: 0|connection: upgrade|", Known(0), true),
            (old, 204, &[], Some(0), "connection: keep-alive|", Known(0), true),
            (old, 200, &[], None, "connection: close|", Close, false),
            (old, 200, &[], Some(1), "content-length: 1|connection: keep-alive|", Known(1), true),
            (
                GET,
                101,
                &[("connection", "upgrade")],
                Some(0),
                "connection: upgrade|",
                Known(0),
                true,
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let framed = frame(asked, (status, fields(said).iter()), body, false);
            let text = String::from_utf8(framed.head.to_vec()).unwrap().replace("\r\n", "|");
            let version = if asked.version == Version::HTTP_10 { "0" } else { "1" };
            let reason = status.canonical_reason().unwrap();
            let first = format!("HTTP/1.{version} {} {reason}|date: now|", status.as_u16());
            assert_eq!(text, format!("{first}{expected}|"));
            assert_eq!((framed.length, framed.keeps), (then, keeps), "{text}");
            let map = fields(said).to_map();
            assert_eq!(frame(asked, (status, fields_of(&map)), body, false), framed);
        }
    }

    #[test]
    fn what_is_not_told_is_added_and_what_is_no_field_left_out() {
        let text = |framed: Framed| String::from_utf8(framed.head.to_vec()).unwrap();
        let last = frame(GET, (StatusCode::OK, Fields::new().iter()), Some(0), true);
        assert!(!last.keeps);
        let last = text(last);
        assert!(last.contains("connection: close\r\n"), "{last}");
        assert_eq!(last.matches("date: ").count(), 1, "{last}");
        let mut map = HeaderMap::new();
        for (name, value) in [("set-cookie", "a"), ("a\"b", "x"), ("set-cookie", "b")] {
            let name = HeaderName::from_lowercase(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_static(value));
        }
        let head = text(frame(GET, (StatusCode::OK, fields_of(&map)), Some(0), false));
        assert!(
            head.contains("\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n"),
            "{head}"
        );
    }

    #[test]
    fn trailers_are_for_who_asks_for_them() {
        for (value, expected) in [
            ("trailers", true),
            ("gzip;q=0.5, Trailers;q=1", true),
            ("xtrailers", false),
            ("", false),
        ] {
            let fields = fields(&[("te", value)]);
            let asked = Asked::new(&Method::GET, Version::HTTP_11, &fields, true);
            assert_eq!(asked.trailers, expected, "{value}");
        }
    }
}
