//! A connection whose requests are framed strictly, and that is not closed in a sender's face.
//!
//! What [`Framing`] refuses is replaced by a byte that no head and no chunk may hold: hyper
//! answers 400 to it, or ends the body with an error, and closes; it never sees what follows.
//!
//! A connection that ends within a request is closed slowly: our half first, then what still
//! comes is thrown away for a while. Closing at once would answer it with a reset, and the
//! sender, who is still writing, might never see why (RFC 9112, 9.6).
//!
//! What a client sends behind a request for another protocol is kept here until that request is
//! answered. Only the answer tells what it is: bytes of that protocol, which are passed on as
//! they are from then on, or the next request.

mod turn;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::Connection;
use crate::framing::Framing;
use crate::metrics::{ConnectionFailure, ServerMetrics};
use crate::rest::Activity;
pub(crate) use turn::Turn;

/// What is thrown away of what comes behind the last answer, in bytes: more than buffers on the way
/// hold, so that a sender who reads at all reads the answer before the reset.
pub(crate) const LINGER_BYTES: usize = 64 << 20;
/// For how long.
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(5);

/// Allowed nowhere in a head or before a chunk.
const NEVER: u8 = 0;

pub(crate) struct Strict<T> {
    io: T,
    connection: Arc<Connection>,
    metrics: ServerMetrics,
    framing: Framing,
    reads: Reads,
    turn: Arc<Turn>,
    activity: Arc<Activity>,
    /// What came behind a request for another protocol.
    held: Bytes,
    /// What was followed already, and is to be read again.
    again: Bytes,
    /// How long a client may take nothing of its answers.
    answer_time: Option<Duration>,
    /// Since when it has.
    stuck: Option<Pin<Box<Sleep>>>,
    linger: Option<Linger>,
}

/// What is read.
enum Reads {
    Http,
    /// Nothing, before a wish for another protocol is answered.
    Waits,
    /// Another protocol.
    Other,
    /// Nothing more: something was refused.
    Refused,
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
        answer_time: Option<Duration>,
        turn: Arc<Turn>,
        activity: Arc<Activity>,
    ) -> Self {
        Self {
            io,
            connection,
            metrics,
            framing: Framing::default(),
            reads: Reads::Http,
            turn,
            activity,
            held: Bytes::new(),
            again: Bytes::new(),
            answer_time,
            stuck: None,
            linger: None,
        }
    }

    /// Follows what came, and leaves of it in the buffer what may be passed on.
    fn follow(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let came = &buffer.filled()[before..];
        match self.framing.take(came) {
            Ok(count) => {
                if count < came.len() {
                    self.held = [&came[count..], &self.held].concat().into();
                }
                buffer.set_filled(before + count);
                if self.framing.asks() {
                    self.reads = Reads::Waits;
                }
            }
            Err(good) => {
                self.reads = Reads::Refused;
                self.metrics.failed(ConnectionFailure::Framing);
                // There is room: what was refused is at least one byte.
                buffer.set_filled(before + good);
                buffer.put_slice(&[NEVER]);
            }
        }
    }

    /// Ends the connection of a client that takes nothing of its answers for too long.
    fn progress<R>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.activity.writes(written.is_pending());
        let Some(time) = self.answer_time.filter(|_| written.is_pending()) else {
            self.stuck = None;
            return written;
        };
        let sleep = || Box::pin(tokio::time::sleep(time));
        let over = self.stuck.get_or_insert_with(sleep).as_mut().poll(context);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Has bytes read again that were read before.
    pub(crate) fn read_again(&mut self, bytes: Bytes) {
        self.again = bytes;
    }

    /// Whether the other side may be in the middle of something.
    fn lingers(&self) -> bool {
        let within = match self.reads {
            Reads::Http => self.framing.is_within(),
            Reads::Waits | Reads::Refused => true,
            Reads::Other => false,
        };
        within && !self.connection.is_cut()
    }
}

impl<T: AsyncRead + Unpin> Strict<T> {
    /// Reads more; what was held comes first.
    fn poll_more(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            return Pin::new(&mut self.io).poll_read(context, buffer);
        }
        let count = self.held.len().min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.held.advance(count);
        Poll::Ready(Ok(()))
    }

    /// Waits for the answer to a wish for another protocol, or for the client to go away. No
    /// more than one buffer is held meanwhile.
    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<bool>>> {
        if let Poll::Ready(became) = self.turn.poll(context) {
            return Poll::Ready(Ok(Some(became)));
        }
        if !self.held.is_empty() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        if buffer.filled().len() == before {
            return Poll::Ready(Ok(None));
        }
        self.held = Bytes::copy_from_slice(&buffer.filled()[before..]);
        buffer.set_filled(before);
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Strict<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.again.is_empty() {
            let count = this.again.len().min(buffer.remaining());
            buffer.put_slice(&this.again.split_to(count));
            return Poll::Ready(Ok(()));
        }
        if matches!(this.reads, Reads::Waits) {
            match ready!(this.poll_turn(context, buffer))? {
                None => return Poll::Ready(Ok(())),
                Some(true) => this.reads = Reads::Other,
                Some(false) => {
                    this.framing.resume();
                    this.reads = Reads::Http;
                }
            }
        }
        match this.reads {
            Reads::Refused => Poll::Ready(Ok(())),
            Reads::Other => this.poll_more(context, buffer),
            Reads::Http | Reads::Waits => {
                let before = buffer.filled().len();
                let more = this.poll_more(context, buffer);
                this.activity.reads(more.is_ready() || !this.framing.is_at_rest());
                ready!(more)?;
                this.follow(buffer, before);
                Poll::Ready(Ok(()))
            }
        }
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
