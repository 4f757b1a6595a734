//! What comes of a request behind its head.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::flow::{Sender, Unfinished, Wish, flow};
use super::head::{Length, RequestHead};
use super::payload::{Part, Payload, take};
use super::serve::Line;
use crate::incoming::Incoming;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is read ahead at least of what a client sends behind its request, bytes: it shows as far as
/// that when the client goes away.
const AHEAD_MAX: usize = 4 << 10;

/// Bytes of a body that nobody read, for which a connection is kept nevertheless.
const UNREAD_MAX: u64 = 64 << 10;

/// The client went away.
pub(super) struct Gone;

/// The body of the present request.
pub(super) struct Upload {
    payload: Payload,
    /// Who reads it, until all of it was given or nobody will.
    reader: Option<Sender>,
    /// The client waits for 100 before it sends it.
    expects: bool,
    /// Why nothing more of it is read.
    broken: Option<Unfinished>,
}

impl Upload {
    /// Begins with what came with the head.
    pub(super) fn begin<T>(head: &RequestHead, line: &mut Line<T>) -> (Self, Incoming) {
        let payload = Payload::of_request(head.length);
        let own = Self { payload, reader: None, expects: head.expects, broken: None };
        match head.length {
            Length::Known(length) if length <= line.intake.bytes.len() as u64 => {
                let length = usize::try_from(length).unwrap_or_default();
                let whole = match length {
                    0 => Bytes::new(),
                    _ => take(&mut line.intake.bytes, length),
                };
                let payload = Payload::of_request(Length::Known(0));
                (Self { payload, expects: false, ..own }, Incoming::whole(whole))
            }
            _ => {
                let (sender, receiver) = flow(own.payload.left());
                (Self { reader: Some(sender), ..own }, Incoming::of_http1(receiver))
            }
        }
    }

    /// Whether all of it came.
    pub(super) fn is_over(&self) -> bool {
        self.payload.is_over()
    }

    /// Whether all of it came, and was given to whoever reads it.
    pub(super) fn is_settled(&self) -> bool {
        self.is_over() && self.reader.is_none()
    }

    /// Why it will not all come.
    pub(super) const fn broken(&self) -> Option<Unfinished> {
        self.broken
    }

    /// The request is answered: whether its connection has to end, since nobody reads what is left
    /// of it, or nobody knows whether it comes: whoever waited for 100 may never send it.
    pub(super) fn answered(&mut self) -> bool {
        let unread = self.reader.as_ref().is_none_or(Sender::is_gone);
        std::mem::take(&mut self.expects) || (unread && self.is_long())
    }

    /// Whether more is left of it than is worth throwing away, or nobody knows how much.
    pub(super) fn is_long(&self) -> bool {
        self.payload.left().is_none_or(|left| left > UNREAD_MAX)
    }

    /// Whether somebody may still read it.
    pub(super) fn is_read(&mut self, context: &Context<'_>) -> bool {
        if self.reader.as_ref().is_some_and(|reader| reader.wish(context) == Wish::Gone) {
            self.reader = None;
        }
        self.reader.is_some()
    }

    /// Gives its reader what that asks for; ready when it has.
    pub(super) fn poll<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        line: &mut Line<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        match self.reader.as_ref().map(|reader| reader.wish(context)) {
            Some(Wish::Part) => self.poll_part(line, context).map(Ok),
            Some(Wish::Nothing) => self.watch(line, context),
            Some(Wish::Gone) | None => {
                self.reader = None;
                self.watch(line, context)
            }
        }
    }

    fn poll_part<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        line: &mut Line<T>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            match self.payload.next(&mut line.intake.bytes) {
                Ok(Some(part)) => {
                    let last = !matches!(part, Part::Data(_)) || self.payload.left() == Some(0);
                    self.give(Ok(part), last);
                    return Poll::Ready(());
                }
                Ok(None) => {}
                Err(malformed) => {
                    self.give(Err(malformed.into()), true);
                    return Poll::Ready(());
                }
            }
            match line.intake.poll_read(&mut line.io, context) {
                Poll::Ready(Ok(1..)) => self.expects = false,
                Poll::Ready(Ok(0) | Err(_)) => {
                    self.give(Err(Unfinished::Cut), true);
                    return Poll::Ready(());
                }
                Poll::Pending => {
                    if std::mem::take(&mut self.expects) {
                        line.sending.push(Bytes::from_static(CONTINUE));
                    }
                    // That it takes nothing shows where it is read from as well.
                    let _ = line.poll_write(context);
                    return Poll::Pending;
                }
            }
        }
    }

    fn give(&mut self, part: Result<Part, Unfinished>, last: bool) {
        self.broken = part.as_ref().err().copied();
        if let Some(reader) = &self.reader {
            reader.give(part);
        }
        if last {
            self.reader = None;
        }
    }

    /// Sees whether the client is still there, as far as that can be seen: no more than a little is
    /// read ahead.
    fn watch<T: AsyncRead + Unpin>(
        &self,
        line: &mut Line<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        while self.broken.is_none() && line.intake.bytes.len() < AHEAD_MAX {
            match ready!(line.intake.poll_read(&mut line.io, context)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Pending
    }

    /// Throws away what is left of it, which nobody reads; ready when that was all.
    pub(super) fn poll_discard<T: AsyncRead + Unpin>(
        &mut self,
        line: &mut Line<T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Gone>> {
        while !self.is_over() {
            match self.payload.next(&mut line.intake.bytes) {
                Ok(Some(_)) => {}
                Ok(None) => match ready!(line.intake.poll_read(&mut line.io, context)) {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
                },
                Err(malformed) => {
                    self.broken = Some(malformed.into());
                    return Poll::Ready(Err(Gone));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
