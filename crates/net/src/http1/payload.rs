//! A message behind its head: what comes of it, and where it ends. Pure.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use super::Malformed;
use super::head::{CHUNK_EXTENSION_MAX, Length, read_chunk_size, read_trailers};
use super::lines::Lines;
use crate::span::{take_body, take_chunk};

/// Longest trailers, bytes.
const TRAILERS_MAX: usize = 16 << 10;
/// Longest size of a chunk with its line end, bytes.
const SIZE_MAX: usize = 18;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Some bytes of it.
    Data(Bytes),
    /// What is behind them, if there is any.
    Trailers(HeaderMap),
    /// It is over, and complete.
    End,
}

/// Follows one body.
#[derive(Debug)]
pub struct Payload {
    at: At,
    lines: Lines,
    /// Whether a chunk may say more than its size: what is said is nothing to us, and some have
    /// read it differently.
    extensions: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum At {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut;

impl Payload {
    /// That of an answer.
    #[must_use]
    pub fn of_answer(length: Length) -> Self {
        Self::new(length, true)
    }

    /// That of a request.
    pub(crate) fn of_request(length: Length) -> Self {
        Self::new(length, false)
    }

    fn new(length: Length, extensions: bool) -> Self {
        let at = match length {
            Length::Known(0) => At::Over,
            Length::Known(length) => At::Body(length),
            Length::Chunked => At::Size,
            Length::Close => At::Rest,
        };
        Self { at, lines: Lines::default(), extensions }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// How many bytes follow, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.at {
            At::Body(left) => Some(left),
            At::Over => Some(0),
            _ => None,
        }
    }

    /// The connection ended; what it said before was taken.
    ///
    /// # Errors
    /// More was to come.
    pub fn end(&mut self) -> Result<(), Cut> {
        if self.at != At::Rest {
            return Err(Cut);
        }
        self.at = At::Over;
        Ok(())
    }

    /// Takes what comes next from the beginning of `bytes`; none where that is not there yet.
    /// Data is passed on as it comes, a line before a chunk and trailers once they are whole.
    ///
    /// # Errors
    /// There is more than one way to read it. Nothing behind counts.
    pub fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        loop {
            let done = match &mut self.at {
                At::Over => return Ok(Some(Part::End)),
                _ if bytes.is_empty() => return Ok(None),
                At::Rest => return Ok(Some(Part::Data(take(bytes, bytes.len())))),
                At::Body(left) => {
                    let count = take_body(left, bytes);
                    if *left == 0 {
                        self.at = At::Over;
                    }
                    return Ok(Some(Part::Data(take(bytes, count))));
                }
                At::Chunk(left @ 3..) => {
                    let mut data = *left - 2;
                    let count = take_body(&mut data, bytes);
                    *left = data + 2;
                    return Ok(Some(Part::Data(take(bytes, count))));
                }
                At::Chunk(left) => {
                    let wrong = Malformed::Framing("a chunk's end");
                    let end = take_chunk(left, bytes).ok_or(wrong)?;
                    bytes.advance(end);
                    if *left == 0 {
                        self.at = At::Size;
                    }
                    true
                }
                At::Size => self.size(bytes)?,
                At::Trailers => {
                    match self.lines.block(bytes, TRAILERS_MAX, "16 KiB of trailers")? {
                        None => false,
                        Some(end) => {
                            let fields = read_trailers(take_mut(bytes, end))?;
                            // Not before: of one that is refused nobody may say that it is over.
                            self.at = At::Over;
                            if !fields.is_empty() {
                                return Ok(Some(Part::Trailers(fields.to_map())));
                            }
                            true
                        }
                    }
                }
            };
            if !done {
                return Ok(None);
            }
        }
    }

    /// Takes the line before a chunk; whether it was whole.
    fn size(&mut self, bytes: &mut BytesMut) -> Result<bool, Malformed> {
        let extension = if self.extensions { CHUNK_EXTENSION_MAX } else { 0 };
        let most = SIZE_MAX + extension;
        let Some(end) = self.lines.one(bytes, most, "the size of a chunk")? else {
            return Ok(false);
        };
        let line = &bytes[..end - 2];
        if !self.extensions && !line.iter().all(u8::is_ascii_hexdigit) {
            return Err(Malformed::Framing("the size of a chunk"));
        }
        let size = read_chunk_size(line)?;
        bytes.advance(end);
        self.at = if size == 0 { At::Trailers } else { At::Chunk(size + 2) };
        Ok(true)
    }
}

/// The first `count` of these bytes. All of them leave nothing behind that was allocated.
pub fn take(bytes: &mut BytesMut, count: usize) -> Bytes {
    take_mut(bytes, count).freeze()
}

/// The same, to be changed.
pub fn take_mut(bytes: &mut BytesMut, count: usize) -> BytesMut {
    if count == bytes.len() { std::mem::take(bytes) } else { bytes.split_to(count) }
}
