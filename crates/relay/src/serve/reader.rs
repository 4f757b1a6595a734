//! A connection to a service whose answers are framed strictly.
//!
//! What [`Framing`] refuses is replaced by a byte that no head and no chunk may hold: hyper's
//! parser fails on it, and sees nothing of what follows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Io;
use super::framing::{Framing, To};

/// Allowed nowhere in a head or before a chunk.
const NEVER: u8 = 0;

/// What the reader is told of the request, and what it tells of the answer.
#[derive(Debug, Default)]
pub(super) struct Wire {
    to: AtomicU8,
    refused: AtomicBool,
}

impl Wire {
    /// Says what the next answer is to.
    pub(super) fn ask(&self, to: To) {
        self.to.store(to as u8, Ordering::Relaxed);
    }

    /// Whether an answer was refused.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn to(&self) -> To {
        match self.to.load(Ordering::Relaxed) {
            0 => To::Any,
            1 => To::Head,
            _ => To::Upgrade,
        }
    }
}

/// The connection.
pub(super) struct Strict {
    io: Io,
    framing: Framing,
    wire: Arc<Wire>,
}

impl Strict {
    pub(super) fn new(io: Io, wire: Arc<Wire>) -> Self {
        Self { io, framing: Framing::default(), wire }
    }

    /// The connection as it is, for another protocol.
    pub(super) fn into_inner(self) -> Io {
        self.io
    }
}

impl AsyncRead for Strict {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.wire.has_refused() {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(context, buffer))?;
        let to = this.wire.to();
        if let Err(good) = this.framing.take(&buffer.filled()[before..], to) {
            this.wire.refused.store(true, Ordering::Relaxed);
            // There is room: what was refused is at least one byte.
            buffer.set_filled(before + good);
            buffer.put_slice(&[NEVER]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Strict {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
