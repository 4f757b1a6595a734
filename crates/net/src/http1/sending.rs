//! A message on its way out, framed by what its head tells of its length.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderName, HeaderValue};
use tokio::io::AsyncWrite;

use super::head::Length;

/// Pieces that wait, and are written at once.
pub const PIECES_MAX: usize = 16;
/// A smaller part of a body is copied to its framing.
const COPIED_MAX: usize = 1 << 10;
/// What a transport may have taken without having sent it, at most: what rustls does, bytes.
const UNSENT_MAX: usize = 64 << 10;

const LINE_END: &[u8] = b"\r\n";
const NOTHING: Length = Length::Known(0);

/// One message, as far as it has not left.
#[derive(Debug)]
pub struct Sending {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// What is still to be taken of it; no bytes where that was all.
    rest: Length,
    /// Bytes that were written since the last flush, as far as the transport can hold them.
    unflushed: usize,
}

/// It has not the length that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLength;

impl Default for Sending {
    fn default() -> Self {
        Self { queue: VecDeque::new(), queued: 0, rest: NOTHING, unflushed: 0 }
    }
}

impl Sending {
    /// Begins a message with its head, which tells this length.
    pub fn begin(&mut self, head: Bytes, length: Length) {
        self.rest = length;
        self.push(head);
    }

    /// Adds bytes that are framed, such as a head.
    pub fn push(&mut self, piece: Bytes) {
        self.queued += piece.len();
        self.queue.push_back(piece);
    }

    /// Whether all of it was taken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rest == NOTHING
    }

    /// Whether all that was taken has left.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.queue.is_empty() && self.unflushed == 0
    }

    /// Whether more is to be taken only when some has left: `most` bytes are held, or
    /// [`PIECES_MAX`] pieces wait.
    #[must_use]
    pub fn is_full(&self, most: usize) -> bool {
        self.held() >= most || self.queue.len() >= PIECES_MAX
    }

    /// How many bytes wait to be written.
    pub(crate) const fn waits(&self) -> usize {
        self.queued
    }

    /// The same, and what the transport took and may not have sent.
    pub(crate) const fn held(&self) -> usize {
        self.queued + self.unflushed
    }

    /// Takes nothing more of it: it broke off.
    pub(crate) const fn stop(&mut self) {
        self.rest = NOTHING;
    }

    /// Gives up what has not left.
    pub fn clear(&mut self) {
        self.queue.clear();
        (self.queued, self.unflushed) = (0, 0);
    }

    /// Takes some bytes of its body.
    ///
    /// # Errors
    /// There are more than were told; none of them is taken.
    pub fn data(&mut self, data: Bytes) -> Result<(), WrongLength> {
        match self.rest {
            // A chunk of nothing would end it.
            _ if data.is_empty() => {}
            Length::Close => self.push(data),
            Length::Known(left) => {
                let left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                self.rest = Length::Known(left);
                self.push(data);
            }
            Length::Chunked if data.len() < COPIED_MAX => {
                let size = format!("{:x}\r\n", data.len());
                self.push([size.as_bytes(), &data, LINE_END].concat().into());
            }
            Length::Chunked => {
                self.push(format!("{:x}\r\n", data.len()).into());
                self.push(data);
                self.push(Bytes::from_static(LINE_END));
            }
        }
        Ok(())
    }

    /// Ends it, with trailers where it can have some.
    ///
    /// # Errors
    /// There are fewer bytes than were told: it is not ended.
    pub fn end<'f>(
        &mut self,
        trailers: impl Iterator<Item = (&'f HeaderName, &'f HeaderValue)>,
    ) -> Result<(), WrongLength> {
        match self.rest {
            Length::Known(1..) => return Err(WrongLength),
            NOTHING | Length::Close => {}
            Length::Chunked => {
                let mut last = b"0\r\n".to_vec();
                trailers.for_each(|(name, value)| put(&mut last, name.as_ref(), value.as_bytes()));
                last.extend_from_slice(LINE_END);
                self.push(last.into());
            }
        }
        self.rest = NOTHING;
        Ok(())
    }

    /// Writes what waits; whether there was something, and all of it has left.
    ///
    /// # Errors
    /// The connection takes no more.
    pub fn poll_write(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        let waited = self.held() > 0;
        while let Some(first) = self.queue.front() {
            let count = if self.queue.len() == 1 {
                ready!(Pin::new(&mut *io).poll_write(context, first))?
            } else {
                let mut slices = [IoSlice::new(&[]); PIECES_MAX];
                slices.iter_mut().zip(&self.queue).for_each(|(slice, piece)| {
                    *slice = IoSlice::new(piece);
                });
                let count = self.queue.len().min(PIECES_MAX);
                ready!(Pin::new(&mut *io).poll_write_vectored(context, &slices[..count]))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = (self.unflushed + count).min(UNSENT_MAX);
            self.left(count);
        }
        if waited {
            // What is quiet from here on holds nothing.
            self.queue = VecDeque::new();
            ready!(Pin::new(io).poll_flush(context))?;
            self.unflushed = 0;
        }
        Poll::Ready(Ok(waited))
    }

    /// So many bytes of the queue have left it.
    fn left(&mut self, mut count: usize) {
        self.queued -= count;
        while let Some(first) = self.queue.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.queue.pop_front();
        }
    }
}

/// Adds a field's line.
pub fn put(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, LINE_END] {
        to.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, BufWriter, duplex};

    use super::*;

    #[tokio::test]
    async fn what_a_transport_took_and_did_not_send_is_held() {
        const PIPE: usize = 4 << 10;
        const PIECE: usize = 20 << 10;
        const TOLD: usize = 5;
        let (near, mut far) = duplex(PIPE);
        // As a TLS session does, it takes more than it can send.
        let mut io = BufWriter::with_capacity(UNSENT_MAX, near);
        let mut sending = Sending::default();
        let mut context = Context::from_waker(Waker::noop());
        sending.begin(Bytes::from_static(&[b'x'; PIECE]), Length::Known((TOLD * PIECE) as u64));
        for pieces in 1..=TOLD {
            assert!(sending.poll_write(&mut io, &mut context).is_pending());
            assert_eq!(sending.held(), pieces * PIECE);
            assert!(sending.is_full(pieces * PIECE));
            sending.data(Bytes::from_static(&[b'x'; PIECE])).unwrap();
        }
        let mut came = 0;
        while sending.held() > 0 {
            came += far.read(&mut [0; PIPE]).await.unwrap();
            let _ = sending.poll_write(&mut io, &mut context);
        }
        came += far.read(&mut [0; PIPE]).await.unwrap();
        assert_eq!((came, sending.is_full(1)), ((TOLD + 1) * PIECE, false));
        assert!(matches!(sending.poll_write(&mut io, &mut context), Poll::Ready(Ok(false))));
    }
}
