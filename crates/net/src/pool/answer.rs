//! Where an answer ends, and whether another may follow it. Pure.
//!
//! The status counts as soon as the head is there. A body only has to be known by its end, so
//! that the connection can be used again: where that is not plain, the answer is taken as ended
//! and its connection as used up.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use httparse::{EMPTY_HEADER, Header, ParserConfig, Status, parse_chunk_size};

use crate::span::{take_body, take_chunk};

/// Fields of a head, and lines behind the last chunk.
const FIELDS_MAX: usize = 100;
/// Heads that announce another one (RFC 9110, 15.2).
const INFORMATIONAL_MAX: u8 = 8;
/// Bytes of a line before a chunk or behind the last.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Digits of a length: none that is longer is ever read to its end.
const LENGTH_DIGITS_MAX: usize = 18;

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Those that were asked for.
    pub(super) headers: HeaderMap,
    /// Whether the connection may be used again when the body has ended.
    pub(super) keeps: bool,
    pub(super) rest: Rest,
}

/// What follows a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// So many bytes.
    Body(u64),
    /// The line before a chunk.
    Size,
    /// So many bytes of a chunk and its CR and LF.
    Chunk(u64),
    /// Fields behind the last chunk, at most so many.
    Trailer(usize),
    /// What comes until the connection is closed.
    All,
}

/// Bytes that are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came is no answer of HTTP/1.1")]
pub(super) struct Malformed;

/// Reads a head at the beginning of `bytes`, and how long it is with the informational ones
/// before it; none if it is not whole. `bodyless` if the request was such that its answer has no
/// body; of the fields only those `kept` are given back, as most answers have none of them.
pub(super) fn head(
    bytes: &[u8],
    bodyless: bool,
    kept: &[HeaderName],
) -> Result<Option<(Head, usize)>, Malformed> {
    let mut at = 0;
    for _ in 0..=INFORMATIONAL_MAX {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = ParserConfig::default().parse_response(&mut response, &bytes[at..]);
        let Status::Complete(count) = parsed.map_err(|_| Malformed)? else {
            return Ok(None);
        };
        at += count;
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Malformed)?;
        if !status.is_informational() {
            let headers = headers(response.headers, kept)?;
            let bodyless = bodyless || matches!(status.as_u16(), 204 | 304);
            let fields = &*response.headers;
            let (rest, plain) = if bodyless { (Rest::Body(0), true) } else { rest(fields) };
            let keeps = plain && response.version == Some(1) && !closes(fields);
            return Ok(Some((Head { status, headers, keeps, rest }, at)));
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Malformed);
        }
    }
    Err(Malformed)
}

fn headers(fields: &[Header<'_>], kept: &[HeaderName]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    for name in kept {
        for value in values(fields, name) {
            let value = HeaderValue::from_bytes(value).map_err(|_| Malformed)?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}

fn values<'f>(fields: &'f [Header<'_>], name: &HeaderName) -> impl Iterator<Item = &'f [u8]> {
    let named = |field: &&Header<'_>| field.name.eq_ignore_ascii_case(name.as_str());
    fields.iter().filter(named).map(|field| field.value)
}

/// What follows, and whether that is plain (RFC 9112, 6.3).
fn rest(fields: &[Header<'_>]) -> (Rest, bool) {
    let mut codings = values(fields, &header::TRANSFER_ENCODING);
    let mut lengths = values(fields, &header::CONTENT_LENGTH);
    let chunked = |value: &[u8]| value.eq_ignore_ascii_case(b"chunked");
    match (codings.next(), lengths.next()) {
        (Some(coding), None) if chunked(coding) && codings.next().is_none() => (Rest::Size, true),
        (None, Some(length)) if lengths.next().is_none() => match number(length) {
            Some(length) => (Rest::Body(length), true),
            None => (Rest::All, false),
        },
        _ => (Rest::All, false),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = digits.len() <= LENGTH_DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

fn closes(fields: &[Header<'_>]) -> bool {
    let values = values(fields, &header::CONNECTION);
    let mut names = values.flat_map(|value| value.split(|byte| *byte == b','));
    names.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"close"))
}

impl Rest {
    /// Whether nothing follows any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self, Self::Body(0))
    }

    /// Takes what belongs to the answer from the beginning of `bytes`; how much that is. A line
    /// that is not whole is left.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut done = 0;
        while let Some(left) = bytes.get(done..).filter(|left| !left.is_empty()) {
            let taken = match self {
                Self::Body(0) => break,
                Self::Body(count) => take_body(count, left),
                Self::Chunk(count) => take_chunk(count, left).ok_or(Malformed)?,
                Self::All => left.len(),
                Self::Size | Self::Trailer(_) => match self.line(left)? {
                    0 => break,
                    taken => taken,
                },
            };
            done += taken;
            if matches!(self, Self::Chunk(0)) {
                *self = Self::Size;
            }
        }
        Ok(done)
    }

    /// Takes a line; 0 if it is not whole.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() < LINE_BYTES_MAX { Ok(0) } else { Err(Malformed) };
        };
        let line = &bytes[..=end];
        *self = match self {
            Self::Trailer(_) if line == b"\r\n" => Self::Body(0),
            Self::Trailer(left) => Self::Trailer(left.checked_sub(1).ok_or(Malformed)?),
            _ => match parse_chunk_size(line) {
                Ok(Status::Complete((_, 0))) => Self::Trailer(FIELDS_MAX),
                Ok(Status::Complete((_, size))) => {
                    Self::Chunk(size.checked_add(2).ok_or(Malformed)?)
                }
                Ok(Status::Partial) | Err(_) => return Err(Malformed),
            },
        };
        Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The status, whether the connection is kept, and how much is behind the answer then; of
    /// what comes in pieces.
    fn read(bytes: &[u8], piece: usize) -> Result<Option<(u16, bool, usize)>, Malformed> {
        let (mut came, mut head_read) = (0, None);
        while came < bytes.len() && head_read.is_none() {
            came = (came + piece).min(bytes.len());
            head_read = head(&bytes[..came], false, &[])?;
        }
        let Some((mut head, mut at)) = head_read else { return Ok(None) };
        loop {
            match head.rest.take(&bytes[at..came]) {
                Ok(count) => at += count,
                Err(Malformed) => return Ok(Some((head.status.as_u16(), false, 0))),
            }
            if head.rest.is_over() || came == bytes.len() {
                let kept = head.keeps && head.rest.is_over();
                let behind = if kept { bytes.len() - at } else { 0 };
                return Ok(Some((head.status.as_u16(), kept, behind)));
            }
            came = (came + piece).min(bytes.len());
        }
    }

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK|Content-Length: 2||hi", Some((200, true, 0))),
            ("HTTP/1.1 202 |content-length: 0||HTTP", Some((202, true, 4))),
            ("HTTP/1.1 204 No||", Some((204, true, 0))),
            ("HTTP/1.1 304 x|Content-Length: 9||", Some((304, true, 0))),
            (
                "HTTP/1.1 100 Go||HTTP/1.1 103 Hints|Link: x||HTTP/1.1 200 OK|Content-Length: 0||",
                Some((200, true, 0)),
            ),
            (
                "HTTP/1.1 200 OK|Transfer-Encoding: Chunked||2;a=b|hi|0|Trailer: x||",
                Some((200, true, 0)),
            ),
            ("HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi!|", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Transfer-Encoding: chunked||x|", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||", Some((200, false, 0))),
            (
                "HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 2||0||",
                Some((200, false, 0)),
            ),
            ("HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 2||hi", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Content-Length: +2||hi", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Content-Length: 9||short", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Content-Length: 2|Connection: x, Close||hi", Some((200, false, 0))),
            ("HTTP/1.0 200 OK|Content-Length: 2|Connection: keep-alive||hi", Some((200, false, 0))),
            ("HTTP/1.1 200 OK||to the end", Some((200, false, 0))),
            ("HTTP/1.1 200 OK|Content-Le", None),
            ("", None),
        ] {
            let bytes = text.replace('|', "\r\n").into_bytes();
            for piece in [1, 2, 7, bytes.len().max(1)] {
                assert_eq!(read(&bytes, piece).unwrap(), expected, "{text} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "HTTP/1.1 101 Now|Upgrade: x||",
            "HTTP/2 200 OK||",
            "SSH-2.0-x|",
            "HTTP/1.1 099 x||",
            "HTTP/1.1 200 OK|a b: c||",
            &"HTTP/1.1 100 Go||".repeat(20),
            &format!("HTTP/1.1 200 OK|{}|", "a: b|".repeat(FIELDS_MAX + 1)),
        ] {
            let bytes = text.replace('|', "\r\n").into_bytes();
            assert_eq!(read(&bytes, bytes.len()), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        let (head, count) = head(bytes, true, &[]).unwrap().unwrap();
        assert_eq!((head.rest, head.keeps, count), (Rest::Body(0), true, bytes.len()));
    }

    #[test]
    fn fields_that_were_asked_for_are_given_back() {
        let bytes = b"HTTP/1.1 503 x\r\nA: 1\r\nretry-after: 7\r\nRetry-After: 8\r\nB: 2\r\n\r\n";
        let kept = [header::RETRY_AFTER, header::WARNING];
        let headers = head(bytes, false, &kept).unwrap().unwrap().0.headers;
        assert_eq!(headers.len(), 2);
        assert!(headers.get_all(header::RETRY_AFTER).iter().eq(["7", "8"]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            start in prop::sample::select(vec![
                "", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ]),
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            piece in 1_usize..20,
        ) {
            let _ = read(&[start.as_bytes(), &bytes].concat(), piece);
        }
    }
}
