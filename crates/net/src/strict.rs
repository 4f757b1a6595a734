//! A connection whose requests are framed strictly, and that is not closed in a sender's face.
//!
//! What [`Framing`] refuses is replaced by a byte that no head and no chunk may hold: hyper
//! answers 400 to it, or ends the body with an error, and closes; it never sees what follows.
//!
//! A connection that ends within a request is closed slowly: our half first, then what still
//! comes is thrown away for a while. Closing at once would answer it with a reset, and the
//! sender, who is still writing, might never see why (RFC 9112, 9.6).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::Connection;
use crate::framing::Framing;
use crate::metrics::{ConnectionFailure, ServerMetrics};

/// What is thrown away of what comes behind the last answer, in bytes.
const LINGER_BYTES: usize = 1 << 20;
/// For how long.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Allowed nowhere in a head or before a chunk.
const NEVER: u8 = 0;

pub(crate) struct Strict<T> {
    io: T,
    connection: Arc<Connection>,
    metrics: ServerMetrics,
    framing: Framing,
    refused: bool,
    /// How long a client may take nothing of its answers.
    write_time: Duration,
    /// Since when it has.
    stuck: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

struct Linger {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl<T> Strict<T> {
    pub(crate) fn new(
        io: T,
        connection: Arc<Connection>,
        metrics: ServerMetrics,
        write_time: Duration,
    ) -> Self {
        let framing = Framing::default();
        Self {
            io,
            connection,
            metrics,
            framing,
            refused: false,
            write_time,
            stuck: None,
            linger: None,
        }
    }

    /// Ends the connection of a client that takes nothing of its answers for too long: they are
    /// short, and its place is another's.
    fn progress<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let time = self.write_time;
        let sleep = || Box::pin(tokio::time::sleep(time));
        let over = self.stuck.get_or_insert_with(sleep).as_mut().poll(context);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether the other side may be in the middle of something.
    fn lingers(&self) -> bool {
        (self.refused || self.framing.is_within()) && !self.connection.is_cut()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Strict<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.refused {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        if let Err(good) = self.framing.take(&buffer.filled()[before..]) {
            self.refused = true;
            self.metrics.failed(ConnectionFailure::Framing);
            // There is room: what was refused is at least one byte.
            buffer.set_filled(before + good);
            buffer.put_slice(&[NEVER]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Strict<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.progress(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.progress(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.progress(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if !this.lingers() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            end: Box::pin(tokio::time::sleep(LINGER_TIME)),
            left: LINGER_BYTES,
        });
        let mut thrown = [0; 8 << 10];
        while linger.left > 0 && linger.end.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut thrown);
            let read = ready!(Pin::new(&mut this.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            linger.left = linger.left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}
