//! A connection of HTTP/1.1 to a service, and one exchange over it at a time.
//!
//! Whoever waits for the answer moves the bytes of both directions: there is no task and no queue
//! behind it. Nothing is read before it is asked for, so a slow reader holds up its service and
//! nothing is kept for it here; while nothing comes there is no buffer either.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::poll;
use http::Method;

use super::dial::Io;
use super::flow::Incoming;
use super::framing::{Piece, Reading, To};
use super::metrics::Connected;
use super::outgoing::Outgoing;
use super::pool::{Lost, Said};
use super::request::Asked;
use strait_net::http1::Intake;

/// The connection.
pub(super) struct Single {
    io: Io,
    intake: Intake,
    reading: Reading,
    outgoing: Outgoing<Incoming>,
    counted: Connected,
}

impl Single {
    pub(super) fn new(io: Io, counted: Connected) -> Self {
        Self {
            io,
            intake: Intake::default(),
            reading: Reading::new(To::Any),
            outgoing: Outgoing::default(),
            counted,
        }
    }

    /// Begins an exchange; nothing is sent before something is asked of it.
    pub(super) fn begin(&mut self, asked: &Asked, body: Incoming, has_body: bool) {
        self.reading = Reading::new(match (&asked.upgrade, &asked.method) {
            (Some(_), _) => To::Upgrade,
            (None, &Method::HEAD) => To::Head,
            (None, _) => To::Any,
        });
        self.outgoing.begin(asked, body, has_body);
    }

    /// Sends of the request what there is.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) {
        self.outgoing.poll(&mut self.io, context);
    }

    /// What the answer says next; the request is sent meanwhile.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Said, Lost>> {
        self.poll_send(context);
        // What its client does not end is not answered.
        if self.outgoing.is_broken_off() && !self.reading.is_over() {
            return Poll::Ready(Err(Lost::Broken));
        }
        loop {
            match self.reading.next(&mut self.intake.bytes) {
                Ok(Some(piece)) => return Poll::Ready(Ok(self.said(piece))),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(Lost::Malformed)),
            }
            match ready!(self.intake.poll_read(&mut self.io, context)) {
                Ok(1..) => {}
                Ok(0) if !self.outgoing.is_reset() && self.reading.end().is_ok() => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Lost::Broken)),
            }
        }
    }

    fn said(&self, piece: Piece) -> Said {
        match piece {
            Piece::Informed(head) => Said::Informed(head.status, head.fields),
            Piece::Head(head) => Said::Head {
                version: head.version,
                status: head.status,
                fields: head.fields,
                empty: self.reading.is_over(),
            },
            Piece::Data(data) => Said::Data(data),
            Piece::Trailers(fields) => Said::Trailers(fields),
            Piece::End => Said::End,
        }
    }

    /// Whether another exchange may follow: this one is complete in both directions, and nothing
    /// came behind it.
    pub(super) fn is_reusable(&self) -> bool {
        self.reading.keeps() && self.outgoing.has_left() && self.intake.bytes.is_empty()
    }

    /// Rests, or is used again.
    pub(super) fn rest(&mut self, rests: bool) {
        self.counted.rest(rests);
        if rests {
            self.intake = Intake::default();
        }
    }

    /// Whether nothing came since the last answer, neither an end nor anything unasked.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let read = poll_fn(|context| self.intake.poll_read(&mut self.io, context));
        poll!(pin!(read)).is_pending()
    }

    /// The connection as it is, for another protocol, and what of that was read.
    pub(super) fn into_io(mut self) -> (Io, Bytes) {
        let early = self.intake.take();
        (self.io, early)
    }
}
