//! Where one answer of a service ends and the next begins, read strictly. Pure.
//!
//! It stands before hyper's parser, which repairs what makes two programs disagree about the end
//! of an answer. Heads are judged by [`wire`], bodies followed by what their heads say.

use strait_net::{take_body, take_chunk};

use crate::http::wire;

/// Longest head and its lines, bytes.
const HEAD_MAX: usize = 64 << 10;
/// Most informational heads before an answer; the tunnel carries no more.
const INFORMATIONAL_MAX: u8 = 8;
/// Longest trailers, bytes.
const TRAILERS_MAX: usize = 16 << 10;

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

/// Follows the answers on one connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    at: At,
    /// What came so far of a head, of a line before a chunk, or of trailers.
    held: Vec<u8>,
    /// Where its last line begins.
    line: usize,
    informational: u8,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Head,
    Body(u64),
    /// The line before a chunk.
    Size,
    /// A chunk and its line end.
    Chunk(u64),
    Trailers,
    /// Whatever comes until the connection ends.
    Rest,
}

/// Bytes that are not taken.
#[derive(Debug)]
struct Refused;

impl Framing {
    /// Takes the next bytes of the connection.
    ///
    /// # Errors
    /// How many of them, at their beginning, may be passed on; nothing behind may.
    pub(super) fn take(&mut self, bytes: &[u8], to: To) -> Result<(), usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let taken = match &mut self.at {
                At::Rest => Ok(rest.len()),
                At::Body(left) => Ok(take_body(left, rest)),
                At::Chunk(left) => take_chunk(left, rest).ok_or(Refused),
                At::Head | At::Size | At::Trailers => self.line(rest, to),
            };
            done += taken.map_err(|Refused| done)?;
            match self.at {
                At::Body(0) => self.next_answer(),
                At::Chunk(0) => self.at = At::Size,
                _ => {}
            }
        }
        Ok(())
    }

    fn next_answer(&mut self) {
        self.at = At::Head;
        self.informational = 0;
    }

    /// Takes up to the end of a line; all but its last byte may be passed on before it is judged.
    fn line(&mut self, bytes: &[u8], to: To) -> Result<usize, Refused> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.hold(bytes)?;
            return Ok(bytes.len());
        };
        self.hold(&bytes[..=end])?;
        let line = self.held[self.line..].strip_suffix(b"\r\n").ok_or(Refused)?;
        let last = line.is_empty();
        match self.at {
            At::Size => {
                wire::check_chunk_line(line).map_err(|_| Refused)?;
                let size = hex(line).ok_or(Refused)?;
                self.held.clear();
                self.at = if size == 0 { At::Trailers } else { At::Chunk(size + 2) };
            }
            At::Trailers if last => {
                self.check_trailers()?;
                self.next_answer();
                self.held.clear();
            }
            _ if last => self.head(to)?,
            _ => {}
        }
        self.line = self.held.len();
        Ok(end + 1)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let most = match self.at {
            At::Size => wire::CHUNK_EXTENSION_MAX + 20,
            At::Trailers => TRAILERS_MAX,
            _ => HEAD_MAX,
        };
        if self.held.len() + bytes.len() > most {
            return Err(Refused);
        }
        self.held.extend_from_slice(bytes);
        Ok(())
    }

    /// Judges a whole head.
    fn head(&mut self, to: To) -> Result<(), Refused> {
        let head = std::mem::take(&mut self.held);
        wire::check_answer(&head).map_err(|_| Refused)?;
        // It was checked: three digits behind the version and a blank.
        let status = &head[9..12];
        self.at = match status {
            b"101" if to == To::Upgrade => At::Rest,
            [b'1', ..] => {
                self.informational += 1;
                let bad = status == b"101" || self.informational > INFORMATIONAL_MAX;
                return if bad { Err(Refused) } else { Ok(()) };
            }
            b"204" | b"304" => At::Body(0),
            _ if to == To::Head => At::Body(0),
            _ => match body(&head) {
                Length::Known(length) => At::Body(length),
                Length::Chunked => At::Size,
                Length::Rest => At::Rest,
            },
        };
        Ok(())
    }

    /// Trailers are fields: judged as those of a head, of which they may not be framing.
    fn check_trailers(&self) -> Result<(), Refused> {
        let head = [b"HTTP/1.1 200 OK\r\n", &self.held[..]].concat();
        wire::check_answer(&head).map_err(|_| Refused)?;
        if matches!(body(&head), Length::Rest) { Ok(()) } else { Err(Refused) }
    }
}

enum Length {
    Known(u64),
    Chunked,
    Rest,
}

/// What a checked head says of its body.
fn body(head: &[u8]) -> Length {
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Length::Chunked;
        }
        if name.eq_ignore_ascii_case(b"content-length")
            && let Some(length) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())
        {
            return Length::Known(length);
        }
    }
    Length::Rest
}

/// The size before a chunk; so large that none is, not.
fn hex(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let size = u64::from_str_radix(std::str::from_utf8(&line[..digits]).ok()?, 16).ok()?;
    (size < u64::MAX / 2).then_some(size)
}

/// For fuzzing: bytes are taken or refused whatever pieces they come in.
#[cfg(fuzzing)]
pub fn fuzz_answers(bytes: &[u8]) {
    let read = |piece: usize, to| {
        let mut framing = Framing::default();
        bytes.chunks(piece).all(|piece| framing.take(piece, to).is_ok())
    };
    for to in [To::Any, To::Head, To::Upgrade] {
        let whole = read(bytes.len().max(1), to);
        for piece in [1, 2, 7] {
            assert_eq!(read(piece, to), whole, "in pieces of {piece} to {to:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes are taken in pieces of a size; none for all of them.
    fn refused(text: &[u8], to: To, piece: usize) -> Option<usize> {
        let mut framing = Framing::default();
        let mut taken = 0;
        for bytes in text.chunks(piece.max(1)) {
            match framing.take(bytes, to) {
                Ok(()) => taken += bytes.len(),
                Err(good) => return Some(taken + good),
            }
        }
        None
    }

    fn ok(text: &str, to: To) -> bool {
        refused(text.replace('|', "\r\n").as_bytes(), to, usize::MAX).is_none()
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
            let whole = refused(text.as_bytes(), To::Any, usize::MAX);
            prop_assert_eq!(refused(text.as_bytes(), To::Any, piece).is_some(), whole.is_some());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for to in [To::Any, To::Head, To::Upgrade] {
                let _ = refused(&bytes, to, 3);
                let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
                let _ = refused(&chunked, to, usize::MAX);
            }
        }
    }
}
