//! One answer of a service, read strictly from the bytes of its connection. Pure.
//!
//! Heads and trailers are judged by [`wire`], bodies followed by what their heads say. What comes
//! of a body is passed on as it comes; a head, a line before a chunk, or trailers once they are
//! whole.

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use strait_net::{take_body, take_chunk};

use crate::http::BadHead;
use crate::http::wire::{self, AnswerHead, AnswerLength};

/// Longest head and its lines, bytes.
const HEAD_MAX: usize = 64 << 10;
/// Most informational heads before an answer; the tunnel carries no more.
const INFORMATIONAL_MAX: u8 = 8;
/// Longest trailers, bytes.
const TRAILERS_MAX: usize = 16 << 10;
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
    /// Bytes of the line, or the lines, that come now in which no end is.
    searched: usize,
    /// Where the last of them begins.
    line: usize,
    informational: u8,
    keeps: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
    Head,
    Body(u64),
    /// The line before a chunk.
    Size,
    /// A chunk and its line end.
    Chunk(u64),
    Trailers,
    /// Whatever comes until the connection ends.
    Rest,
    /// Nothing.
    Over,
}

/// It broke off.
#[derive(Debug)]
pub(super) struct Cut;

impl Reading {
    pub(super) const fn new(to: To) -> Self {
        Self { to, at: At::Head, searched: 0, line: 0, informational: 0, keeps: false }
    }

    /// Whether it is over, and the connection may be used again.
    pub(super) fn keeps(&self) -> bool {
        self.keeps && self.at == At::Over
    }

    /// Whether nothing follows its head.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Takes what comes next from the beginning of `bytes`; none where that is not there yet.
    ///
    /// # Errors
    /// There is more than one way to read it. Nothing behind counts.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Piece>, BadHead> {
        loop {
            let done = match &mut self.at {
                At::Over => return Ok(Some(Piece::End)),
                _ if bytes.is_empty() => return Ok(None),
                At::Head => return self.head(bytes),
                At::Rest => return Ok(Some(Piece::Data(take(bytes, bytes.len())))),
                At::Body(left) => {
                    let count = take_body(left, bytes);
                    if *left == 0 {
                        self.at = At::Over;
                    }
                    return Ok(Some(Piece::Data(take(bytes, count))));
                }
                At::Chunk(left @ 3..) => {
                    let mut data = *left - 2;
                    let count = take_body(&mut data, bytes);
                    *left = data + 2;
                    return Ok(Some(Piece::Data(take(bytes, count))));
                }
                At::Chunk(left) => {
                    let end = take_chunk(left, bytes).ok_or(BadHead::Framing("a chunk's end"))?;
                    bytes.advance(end);
                    if *left == 0 {
                        self.at = At::Size;
                    }
                    true
                }
                At::Size => self.size(bytes)?,
                At::Trailers => match self.lines(bytes, TRAILERS_MAX)? {
                    None => false,
                    Some(end) => {
                        self.at = At::Over;
                        let fields = wire::read_trailers(&take(bytes, end))?;
                        if !fields.is_empty() {
                            return Ok(Some(Piece::Trailers(fields)));
                        }
                        true
                    }
                },
            };
            if !done {
                return Ok(None);
            }
        }
    }

    /// The connection ended; what it said before was taken.
    pub(super) fn end(&mut self) -> Result<(), Cut> {
        if self.at != At::Rest {
            return Err(Cut);
        }
        self.at = At::Over;
        Ok(())
    }

    fn head(&mut self, bytes: &mut BytesMut) -> Result<Option<Piece>, BadHead> {
        let least = bytes.len().min(BEGINNING.len());
        if bytes[..least] != BEGINNING[..least] {
            return Err(BadHead::Framing("the version"));
        }
        let Some(end) = self.lines(bytes, HEAD_MAX)? else { return Ok(None) };
        let head = wire::read_answer(&take(bytes, end))?;
        let to = self.to;
        self.at = match head.status {
            StatusCode::SWITCHING_PROTOCOLS if to == To::Upgrade => At::Rest,
            status if status.is_informational() => {
                self.informational += 1;
                let switches = status == StatusCode::SWITCHING_PROTOCOLS;
                if switches || self.informational > INFORMATIONAL_MAX {
                    return Err(BadHead::Framing("heads before the answer's"));
                }
                return Ok(Some(Piece::Informed(head)));
            }
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => At::Over,
            _ if to == To::Head => At::Over,
            _ => match head.length {
                AnswerLength::Known(0) => At::Over,
                AnswerLength::Known(length) => At::Body(length),
                AnswerLength::Chunked => At::Size,
                AnswerLength::Close => At::Rest,
            },
        };
        self.keeps = head.keeps && to != To::Upgrade && self.at != At::Rest;
        Ok(Some(Piece::Head(head)))
    }

    /// Takes the line before a chunk; whether it was whole.
    fn size(&mut self, bytes: &mut BytesMut) -> Result<bool, BadHead> {
        let Some(end) = self.newline(bytes, wire::CHUNK_EXTENSION_MAX + 20)? else {
            return Ok(false);
        };
        let size = wire::read_chunk_size(&bytes[..end - 2])?;
        bytes.advance(end);
        (self.searched, self.line) = (0, 0);
        self.at = if size == 0 { At::Trailers } else { At::Chunk(size + 2) };
        Ok(true)
    }

    /// Where lines that an empty one ends are whole, behind that.
    fn lines(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, BadHead> {
        while let Some(end) = self.newline(bytes, most)? {
            let is_last = end - self.line == 2;
            self.line = end;
            if is_last {
                (self.searched, self.line) = (0, 0);
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// The end of the next line, if it is there.
    fn newline(&mut self, bytes: &[u8], most: usize) -> Result<Option<usize>, BadHead> {
        let wrong = BadHead::Framing("line ends");
        let found = bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let end = found.map(|at| self.searched + at + 1);
        self.searched = end.unwrap_or(bytes.len());
        if self.searched > most {
            return Err(BadHead::HeadSize("64 KiB"));
        }
        match end {
            Some(end) if !bytes[self.line..end].ends_with(b"\r\n") => Err(wrong),
            end => Ok(end),
        }
    }
}

/// The first `count` of these bytes. All of them leave nothing behind that was allocated.
fn take(bytes: &mut BytesMut, count: usize) -> Bytes {
    let taken = if count == bytes.len() { std::mem::take(bytes) } else { bytes.split_to(count) };
    taken.freeze()
}

/// For fuzzing: bytes are taken or refused whatever pieces they come in.
#[cfg(fuzzing)]
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
#[cfg(any(test, fuzzing))]
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
