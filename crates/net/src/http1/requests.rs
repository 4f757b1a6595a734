//! The head of the next request in the bytes of a connection. Pure.

use bytes::{Buf as _, BytesMut};

use super::Malformed;
use super::head::{RequestHead, read_request};
use super::lines::Lines;
use super::payload::take_mut;

/// Longest head, bytes.
pub(crate) const HEAD_BYTES_MAX: u32 = 64 << 10;

/// Follows the head that comes next.
#[derive(Debug, Default)]
pub(super) struct Heads(Lines);

impl Heads {
    /// Takes it from the beginning of `bytes`, with empty lines before it, which some clients send
    /// behind a body; none where it is not whole yet.
    ///
    /// # Errors
    /// There is more than one way to read it, or it is too large. Nothing behind counts.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<RequestHead>, Malformed> {
        while bytes.starts_with(b"\r\n") {
            bytes.advance(2);
        }
        if **bytes == *b"\r" {
            return Ok(None);
        }
        let Some(end) = self.0.block(bytes, HEAD_BYTES_MAX as usize, "64 KiB in its head")? else {
            return Ok(None);
        };
        read_request(take_mut(bytes, end)).map(Some)
    }
}

/// Reads requests that follow each other, of bytes that come in such pieces: how many, and whether
/// the bytes end between two. None where something is refused.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn read(bytes: &[u8], piece: usize) -> Option<(usize, bool)> {
    use super::payload::{Part, Payload};

    let (mut came, mut heads, mut count) = (BytesMut::new(), Heads::default(), 0);
    let mut body: Option<Payload> = None;
    for piece in bytes.chunks(piece.max(1)) {
        came.extend_from_slice(piece);
        loop {
            if let Some(reading) = &mut body {
                let next = reading.next(&mut came);
                assert!(next.is_ok() || !reading.is_over(), "refused, and over");
                match next.ok()? {
                    None => break,
                    Some(Part::End) => {
                        body = None;
                        count += 1;
                    }
                    Some(_) => {}
                }
            } else {
                let Some(head) = heads.next(&mut came).ok()? else { break };
                body = Some(Payload::of_request(head.length));
            }
        }
    }
    Some((count, came.is_empty() && body.is_none()))
}
