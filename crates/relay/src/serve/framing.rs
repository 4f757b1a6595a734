//! One answer of a service, read strictly from the bytes of its connection. Pure.
//!
//! What comes of a body is passed on as it comes; a head, a line before a chunk, or trailers once
//! they are whole.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use strait_net::http1::{
    AnswerHead, Cut, Length, Lines, Malformed, Part, Payload, read_answer, take_mut,
};

/// Longest head and its lines, bytes.
const HEAD_MAX: usize = 64 << 10;
/// Most informational heads before an answer; the tunnel carries no more.
const INFORMATIONAL_MAX: u8 = 8;
/// How every head begins.
const BEGINNING: &[u8] = b"HTTP/1.";

/// What an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// A request whose answer has a body.
    Any,
    /// HEAD.
    Head,
    /// A request for another protocol.
    Upgrade,
}

/// What an answer says next.
#[derive(Debug)]
pub(super) enum Piece {
    /// A head that announces another one.
    Informed(AnswerHead),
    Head(AnswerHead),
    Data(Bytes),
    Trailers(HeaderMap),
    /// It is over, and complete.
    End,
}

/// Follows one answer.
#[derive(Debug)]
pub(super) struct Reading {
    to: To,
    at: At,
    informational: u8,
    keeps: bool,
}

#[derive(Debug)]
enum At {
    Head(Lines),
    Body(Payload),
}

impl Reading {
    pub(super) fn new(to: To) -> Self {
        Self { to, at: At::Head(Lines::default()), informational: 0, keeps: false }
    }

    /// Whether it is over, and the connection may be used again.
    pub(super) fn keeps(&self) -> bool {
        self.keeps && self.is_over()
    }

    /// Whether nothing follows its head.
    pub(super) fn is_over(&self) -> bool {
        matches!(&self.at, At::Body(body) if body.is_over())
    }

    /// Takes what comes next from the beginning of `bytes`; none where that is not there yet.
    ///
    /// # Errors
    /// There is more than one way to read it. Nothing behind counts.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
        match &mut self.at {
            At::Head(_) if bytes.is_empty() => Ok(None),
            At::Head(lines) => {
                let least = bytes.len().min(BEGINNING.len());
                if bytes[..least] != BEGINNING[..least] {
                    return Err(Malformed::Framing("the version"));
                }
                let Some(end) = lines.block(bytes, HEAD_MAX, "64 KiB in its head")? else {
                    return Ok(None);
                };
                let head = read_answer(take_mut(bytes, end))?;
                self.head(head).map(Some)
            }
            At::Body(body) => Ok(body.next(bytes)?.map(|part| match part {
                Part::Data(data) => Piece::Data(data),
                Part::Trailers(fields) => Piece::Trailers(fields),
                Part::End => Piece::End,
            })),
        }
    }

    /// The connection ended; what it said before was taken.
    pub(super) fn end(&mut self) -> Result<(), Cut> {
        match &mut self.at {
            At::Head(_) => Err(Cut),
            At::Body(body) => body.end(),
        }
    }

    fn head(&mut self, head: AnswerHead) -> Result<Piece, Malformed> {
        let to = self.to;
        let length = match head.status {
            StatusCode::SWITCHING_PROTOCOLS if to == To::Upgrade => Length::Close,
            status if status.is_informational() => {
                self.informational += 1;
                let switches = status == StatusCode::SWITCHING_PROTOCOLS;
                if switches || self.informational > INFORMATIONAL_MAX {
                    return Err(Malformed::Framing("heads before the answer's"));
                }
                return Ok(Piece::Informed(head));
            }
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Length::Known(0),
            _ if to == To::Head => Length::Known(0),
            _ => head.length,
        };
        self.keeps = head.keeps && to != To::Upgrade && length != Length::Close;
        self.at = At::Body(Payload::of_answer(length));
        Ok(Piece::Head(head))
    }
}

/// For fuzzing: bytes are taken or refused whatever pieces they come in.
#[cfg(feature = "fuzzing")]
pub fn fuzz_answers(bytes: &[u8]) {
    for to in [To::Any, To::Head, To::Upgrade] {
        let whole = read(bytes, to, bytes.len());
        for piece in [1, 2, 7] {
            assert_eq!(read(bytes, to, piece), whole, "in pieces of {piece} to {to:?}");
        }
    }
}

/// Reads answers that follow each other, of bytes that come in pieces: what they say, and whether
/// all of it was taken.
#[cfg(any(test, feature = "fuzzing"))]
fn read(bytes: &[u8], to: To, piece: usize) -> (Vec<String>, bool) {
    let (mut said, mut came) = (Vec::new(), BytesMut::new());
    let mut reading = Reading::new(to);
    let mut is_data = false;
    for part in bytes.chunks(piece.max(1)) {
        came.extend_from_slice(part);
        loop {
            match reading.next(&mut came) {
                Err(_) => return (said, false),
                Ok(None) => break,
                Ok(Some(Piece::End)) if came.is_empty() => break,
                Ok(Some(Piece::End)) => {
                    is_data = false;
                    said.push("end".to_owned());
                    reading = Reading::new(to);
                }
                Ok(Some(Piece::Data(data))) => {
                    let text = data.escape_ascii().to_string();
                    match said.last_mut() {
                        Some(last) if is_data => last.push_str(&text),
                        _ => said.push(text),
                    }
                    is_data = true;
                }
                Ok(Some(other)) => {
                    is_data = false;
                    said.push(format!("{other:?}"));
                }
            }
        }
    }
    (said, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(text: &str, to: To) -> bool {
        read(text.replace('|', "\r\n").as_bytes(), to, usize::MAX).1
    }

    #[test]
    fn answers_follow_each_other() {
        for text in [
            "HTTP/1.1 200 OK|Content-Length: 2||hiHTTP/1.1 204 No||HTTP/1.1 304 x|Content-Length: 9||",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|3;a=b|abc|0||HTTP/1.1 204 x||",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|0|grpc-status: 0||HTTP/1.1 204 x||",
            "HTTP/1.1 100 Continue||HTTP/1.1 103 Hints|Link: a||HTTP/1.1 200 OK|Content-Length: 0||",
            "HTTP/1.1 200 OK||anything\n\n\u{1}",
            "HTTP/1.0 200 OK||anything",
        ] {
            assert!(ok(text, To::Any), "{text}");
        }
        assert!(ok("HTTP/1.1 200 OK|Content-Length: 7||HTTP/1.1 200 OK||", To::Head));
        assert!(ok("HTTP/1.1 101 S|Upgrade: x||\u{0}\n|", To::Upgrade));
    }

    #[test]
    fn an_answer_is_read_as_it_comes() {
        for (text, to, expected, end, keeps) in [
            ("HTTP/1.1 200 OK|Content-Length: 4||hi", To::Any, &["200", "hi"][..], false, false),
            ("HTTP/1.1 200 OK|Content-Length: 2||hi", To::Any, &["200", "hi"], false, true),
            ("HTTP/1.1 200 OK|Content-Length: 2||", To::Head, &["200"], false, true),
            (
                "HTTP/1.1 200 OK|Connection: close|Content-Length: 0||",
                To::Any,
                &["200"],
                false,
                false,
            ),
            ("HTTP/1.1 204 No||", To::Any, &["204"], false, true),
            ("HTTP/1.1 204 No||", To::Upgrade, &["204"], false, false),
            ("HTTP/1.1 200 OK||hi", To::Any, &["200", "hi"], true, false),
            ("HTTP/1.1 101 S||hi", To::Upgrade, &["101", "hi"], true, false),
            (
                "HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|he",
                To::Any,
                &["200", "he"],
                false,
                false,
            ),
            (
                "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|he|0|",
                To::Any,
                &["200", "he"],
                false,
                false,
            ),
            (
                "HTTP/1.1 103 H||HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;x|he|1|y|0|a: b|c: d||",
                To::Any,
                &["103?", "200", "hey", "2 trailers"],
                false,
                true,
            ),
            ("HTTP/1.1 2", To::Any, &[], false, false),
        ] {
            let bytes = text.replace('|', "\r\n").into_bytes();
            for piece in [1, 3, bytes.len()] {
                let (mut reading, mut came) = (Reading::new(to), BytesMut::new());
                let mut said: Vec<String> = Vec::new();
                for part in bytes.chunks(piece) {
                    came.extend_from_slice(part);
                    loop {
                        match reading.next(&mut came).unwrap() {
                            None | Some(Piece::End) => break,
                            Some(Piece::Informed(head)) => {
                                said.push(format!("{}?", head.status.as_str()))
                            }
                            Some(Piece::Head(head)) => said.push(head.status.as_str().to_owned()),
                            Some(Piece::Trailers(all)) => {
                                said.push(format!("{} trailers", all.len()))
                            }
                            Some(Piece::Data(data)) => {
                                let text = std::str::from_utf8(&data).unwrap();
                                match said.last_mut().filter(|last| !last.starts_with(['1', '2'])) {
                                    Some(last) => last.push_str(text),
                                    None => said.push(text.to_owned()),
                                }
                            }
                        }
                    }
                }
                assert_eq!(said, expected, "{text} by {piece}");
                assert_eq!(reading.keeps(), keeps, "{text}");
                assert!(came.is_empty() || !reading.is_over());
                assert_eq!(reading.end().is_ok(), end, "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_http_is_seen_before_its_head_ends() {
        for text in ["S", "HTTP/2", "HTTP/1.1 200 OK\n", "\r\n", " HTTP/1.1 200 OK"] {
            assert!(!ok(text, To::Any), "{text:?}");
        }
    }

    #[test]
    fn answers_that_could_end_in_two_places_are_refused() {
        for text in [
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.1 200 OK|X: 1\n||",
            "HTTP/1.1 200 OK|Content-Length: 1|Content-Length: 2||",
            "HTTP/1.1 200 OK|Content-Length: 1|Transfer-Encoding: chunked||",
            "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||",
            "HTTP/1.1 200 OK|Content-Length: +1||",
            "HTTP/1.1 200 OK|X : 1||",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0x2|hi|",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2\nhi|",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hiX",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||ffffffffffffffff|",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0|Content-Length: 3||",
            "HTTP/1.1 200 OK|Transfer-Encoding: chunked||0|X\n||",
            "HTTP/1.1 101 Switching||",
            "HTTP/1.1 200 OK|Content-Length: 2||hithere||",
        ] {
            assert!(!ok(text, To::Any), "{text}");
        }
        let many = "HTTP/1.1 103 Hints||".repeat(9);
        assert!(ok(&many[..many.len() / 9 * 8], To::Any) && !ok(&many, To::Any));
        let long = format!("HTTP/1.1 200 OK|X: {}||", "x".repeat(HEAD_MAX));
        assert!(!ok(&long, To::Any));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            text in "(HTTP/1.1 200 OK\r\n|Content-Length: 3\r\n|Transfer-Encoding: chunked\r\n|\r\n|\n|3\r\n|abc|0\r\n|X: y\r\n){0,12}",
            piece in 1_usize..9,
        ) {
            let whole = read(text.as_bytes(), To::Any, usize::MAX);
            prop_assert_eq!(read(text.as_bytes(), To::Any, piece), whole);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for to in [To::Any, To::Head, To::Upgrade] {
                let _ = read(&bytes, to, 3);
                let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
                let _ = read(&chunked, to, usize::MAX);
            }
        }
    }
}
