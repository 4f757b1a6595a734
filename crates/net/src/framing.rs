//! Where one HTTP/1.1 request ends and the next begins, read strictly.
//!
//! Pure: bytes in, a verdict out. It stands before hyper's parser, which forgives some of what
//! makes two programs disagree about the end of a request: it takes `Transfer-Encoding` for
//! `Content-Length` where both are there, several equal lengths for one, any coding before
//! `chunked`, chunk extensions, and lines that end without CR. All that is refused here, with
//! what hyper refuses as well (folded lines, blanks before a colon, codings in HTTP/1.0).
//! RFC 9112 allows each refusal (2.2, 5.1, 5.2, 6.1, 6.3, 7.1.1).

use crate::span::{take_body, take_chunk};

use crate::accept::HEAD_BYTES_MAX;

/// Hexadecimal digits of a chunk's size: more than any body is long, less than overflows.
const SIZE_DIGITS_MAX: usize = 15;
/// Digits of a length, for the same reason.
const LENGTH_DIGITS_MAX: usize = 18;

/// Follows the requests of one connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    at: At,
    /// The present request asks for another protocol (RFC 9110, 7.8).
    upgrade: bool,
    /// What came of the present line, where it came in several pieces.
    line: Vec<u8>,
    /// An empty line came before the request.
    blank: bool,
}

/// What comes next.
#[derive(Debug, Default)]
enum At {
    /// The first line of a request.
    #[default]
    Request,
    /// A field of its head, or its end.
    Field(Head),
    /// So many bytes of a body.
    Body(u64),
    /// The line before a chunk.
    Size,
    /// So many bytes of a chunk and its CR and LF.
    Chunk(u64),
    /// A field behind the last chunk, or the end.
    Trailer,
}

/// What the fields so far say of the body.
#[derive(Debug, Default)]
struct Head {
    old: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// A line that is not taken.
struct Refused;

impl Framing {
    /// Whether a request is under way.
    pub(crate) const fn is_within(&self) -> bool {
        !matches!(self.at, At::Request) || !self.line.is_empty()
    }

    /// Whether nothing of a next request has come, not even an empty line before it: that begins
    /// the time for its head.
    pub(crate) const fn is_at_rest(&self) -> bool {
        !self.is_within() && !self.blank
    }

    /// Whether a request that came whole asks for another protocol. What is behind it may be no
    /// HTTP, which its answer tells; nothing more is taken before [`resume`](Self::resume).
    pub(crate) const fn asks(&self) -> bool {
        self.upgrade && matches!(self.at, At::Request)
    }

    /// Goes on with HTTP, since such a request was answered so.
    pub(crate) const fn resume(&mut self) {
        self.upgrade = false;
    }

    /// Takes the next bytes of the connection, and returns how many: all, but where a request
    /// [asks](Self::asks) for another protocol.
    ///
    /// # Errors
    /// How many of them, at their beginning, may be passed on: what follows is refused, and with
    /// it everything that may come.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty() && !self.asks()) {
            let taken = match &mut self.at {
                At::Body(left) => Ok(take_body(left, rest)),
                At::Chunk(left) => take_chunk(left, rest).ok_or(Refused),
                _ => self.line(rest),
            };
            done += taken.map_err(|Refused| done)?;
            match self.at {
                At::Body(0) => self.at = At::Request,
                At::Chunk(0) => self.at = At::Size,
                _ => {}
            }
        }
        Ok(done)
    }

    /// Takes up to a line.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let piece = &bytes[..end.unwrap_or(bytes.len())];
        if end.is_some() && self.line.is_empty() {
            self.step(piece)?;
            return Ok(piece.len());
        }
        // hyper answers 431 before a head gets so long.
        if self.line.len() + piece.len() > 2 * HEAD_BYTES_MAX as usize {
            return Err(Refused);
        }
        self.line.extend_from_slice(piece);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.step(&line)?;
        }
        Ok(piece.len())
    }

    /// Takes a whole line.
    fn step(&mut self, line: &[u8]) -> Result<(), Refused> {
        let line = line.strip_suffix(b"\r\n").ok_or(Refused)?;
        if line.contains(&b'\r') {
            return Err(Refused);
        }
        let field = !line.is_empty();
        self.blank = !field && matches!(self.at, At::Request);
        match &mut self.at {
            // Some clients send an empty line behind a body.
            At::Request if !field => {}
            // It would make a tunnel of the connection, which nothing here is for.
            At::Request if line.starts_with(b"CONNECT ") => return Err(Refused),
            // hyper drops a fragment, others take it for a part of the path (RFC 9112, 3.2).
            At::Request if line.contains(&b'#') => return Err(Refused),
            At::Request => {
                let old = line.ends_with(b"HTTP/1.0");
                self.at = At::Field(Head { old, ..Head::default() });
            }
            At::Field(head) if field => head.field(line)?,
            At::Field(head) => {
                self.upgrade = head.upgrade;
                self.at = head.body()?;
            }
            At::Size => {
                let size = number(line, 16, SIZE_DIGITS_MAX).ok_or(Refused)?;
                self.at = if size == 0 { At::Trailer } else { At::Chunk(size + 2) };
            }
            At::Trailer if field => drop(name_and_value(line)?),
            At::Trailer => self.at = At::Request,
            At::Body(_) | At::Chunk(_) => {}
        }
        Ok(())
    }
}

/// For fuzzing: bytes are taken or refused whatever pieces they come in.
#[cfg(fuzzing)]
pub fn fuzz_framing(bytes: &[u8]) {
    let read = |pieces: usize| {
        let mut framing = Framing::default();
        let mut taken = 0;
        for piece in bytes.chunks(pieces) {
            let mut rest = piece;
            while !rest.is_empty() {
                match framing.take(rest) {
                    Ok(count) => {
                        taken += count;
                        rest = &rest[count..];
                        assert!(rest.is_empty() || framing.asks());
                        framing.resume();
                    }
                    Err(good) => {
                        assert!(good <= rest.len());
                        return (taken, None);
                    }
                }
            }
        }
        (taken, Some(framing.is_within()))
    };
    let whole = read(bytes.len().max(1)).1;
    for pieces in [1, 2, 7] {
        assert_eq!(read(pieces).1, whole, "in pieces of {pieces}");
    }
}

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), Refused> {
        let (name, value) = name_and_value(line)?;
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = number(value, 10, LENGTH_DIGITS_MAX).ok_or(Refused)?;
            if self.length.replace(length).is_some() {
                return Err(Refused);
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.old || self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refused);
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade = true;
        }
        Ok(())
    }

    fn body(&self) -> Result<At, Refused> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Refused),
            (true, None) => Ok(At::Size),
            (false, length) => Ok(At::Body(length.unwrap_or(0))),
        }
    }
}

/// A field's name and its value without the blanks around it. A line that begins with a blank
/// would continue the one before.
fn name_and_value(line: &[u8]) -> Result<(&[u8], &[u8]), Refused> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Refused)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    if name.is_empty() || name.iter().any(blank) {
        return Err(Refused);
    }
    let first = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let last = value.iter().rposition(|byte| !blank(byte)).map_or(first, |at| at + 1);
    Ok((name, &value[first..last]))
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32, digits_max: usize) -> Option<u64> {
    if text.is_empty() || text.len() > digits_max {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(radix).map(u64::from);
    text.iter().try_fold(0, |sum, byte| Some(sum * u64::from(radix) + digit(*byte)?))
}

#[cfg(test)]
mod tests;
