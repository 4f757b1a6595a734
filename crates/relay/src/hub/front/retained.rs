//! The body of a request on its way to an agent, and what is kept of it to be sent again.
//!
//! Until the agent has accepted the stream, no more is sent than is kept: a stream that was not
//! executed can then be repeated whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use strait_tunnel::{Code, Directions, End, Field, Response, Trailers};

use super::head::Head;
use crate::http::framing::BodyLength;
use crate::http::trailers::clean_request;
use crate::link::{Part, Receiver, Sender};

/// What is kept of a body, bytes; and a little more, where a piece ends behind it.
const RETAINED: usize = 64 << 10;

/// A body on its way.
pub(super) struct Upload {
    body: Option<Incoming>,
    sender: Option<Sender>,
    /// Not taken yet.
    pending: Bytes,
    /// What was sent, while it may have to be sent again.
    kept: Vec<Bytes>,
    /// How much of what is kept was sent on this stream.
    resent: usize,
    trailers: Option<Trailers>,
    state: State,
    /// The client waits for 100.
    waits: bool,
    /// No more is kept: the agent has accepted the stream.
    committed: bool,
    /// Bytes that were sent on this stream.
    sent: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// More may come from the client.
    Open,
    /// All came.
    Whole,
    /// All was sent, or nobody wants more.
    Done,
}

impl Upload {
    pub(super) fn new(body: Incoming, head: &Head) -> Self {
        let empty = head.length == BodyLength::Empty;
        Self {
            body: (!empty).then_some(body),
            sender: None,
            pending: Bytes::new(),
            kept: Vec::new(),
            resent: 0,
            trailers: None,
            // What becomes another protocol has no body, but goes on.
            state: if empty { State::Done } else { State::Open },
            waits: head.expects,
            committed: false,
            sent: 0,
        }
    }

    /// Whether the request ends with its head.
    pub(super) const fn is_empty(&self) -> bool {
        self.body.is_none() && matches!(self.state, State::Done) && self.kept.is_empty()
    }

    /// Whether all that was sent could be sent again.
    pub(super) const fn is_retained(&self) -> bool {
        !self.committed
    }

    /// Bytes of the body that were sent.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Takes the stream to send on.
    pub(super) fn begin(&mut self, sender: Sender) {
        self.sender = Some(sender);
    }

    /// Begins anew.
    pub(super) fn rewind(&mut self) {
        self.sender = None;
        self.pending = Bytes::new();
        self.resent = 0;
        self.sent = 0;
        if self.state == State::Done && (self.body.is_some() || !self.kept.is_empty()) {
            self.state = State::Whole;
        }
    }

    /// The stream, for one that becomes another protocol.
    pub(super) fn take_sender(&mut self) -> Option<Sender> {
        self.sender.take()
    }

    /// Sends until the head of the answer is there.
    ///
    /// # Errors
    /// The stream ended before.
    pub(super) async fn until_head(&mut self, receiver: &mut Receiver) -> Result<Response, End> {
        poll_fn(|context| {
            // Its end is no end of the exchange: the answer tells.
            let _ = self.poll(context);
            loop {
                match ready!(receiver.poll_next(context)) {
                    Part::Head(head) if head.status() == 101 || !head.is_informational() => {
                        return Poll::Ready(Ok(head));
                    }
                    Part::Head(head) if head.status() == 100 => {
                        self.waits = false;
                        let _ = self.poll(context);
                    }
                    // HTTP/1.1 clients rarely know others, and none needs them.
                    Part::Head(_) | Part::Data(_) | Part::Trailers(_) => {}
                    Part::End => return Poll::Ready(Err(broken())),
                    Part::Broken(end) => return Poll::Ready(Err(end)),
                }
            }
        })
        .await
    }

    /// Waits until the agent has connected to a raw service.
    ///
    /// # Errors
    /// The stream ended before.
    pub(super) async fn until_connected(&self, receiver: &mut Receiver) -> Result<(), End> {
        receiver.accepted().await;
        if self.sender.as_ref().is_some_and(Sender::is_accepted) {
            return Ok(());
        }
        match receiver.next().await {
            Part::Broken(end) => Err(end),
            _ => Err(broken()),
        }
    }

    /// Sends what can be sent; ready when there is no more to send.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(sender) = &mut self.sender else { return Poll::Ready(()) };
            if self.state == State::Done {
                return Poll::Ready(());
            }
            if !self.committed && sender.is_accepted() {
                self.committed = true;
                // What was kept and is not sent has to be sent all the same.
                if self.resent == self.kept.len() {
                    self.kept = Vec::new();
                    self.resent = 0;
                }
            }
            if !self.pending.is_empty() {
                let before = self.pending.len();
                let written = sender.poll_write(context, &mut self.pending);
                self.sent += (before - self.pending.len()) as u64;
                if ready!(written).is_err() {
                    // The answer says why.
                    self.state = State::Done;
                    return Poll::Ready(());
                }
            } else if let Some(piece) = self.kept.get(self.resent) {
                self.pending = piece.clone();
                self.resent += 1;
            } else if self.state == State::Whole {
                let ended = match &self.trailers {
                    Some(trailers) => sender.send_trailers(trailers),
                    None => sender.finish(),
                };
                // Over already: the answer says why.
                let _ = ended;
                self.state = State::Done;
            } else if self.waits || !self.committed && self.held() >= RETAINED {
                return Poll::Pending;
            } else {
                ready!(self.take(context));
            }
        }
    }

    fn held(&self) -> usize {
        self.kept.iter().map(Bytes::len).sum()
    }

    /// Takes the next of the client's body.
    fn take(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            self.state = State::Whole;
            return Poll::Ready(());
        };
        match ready!(Pin::new(body).poll_frame(context)) {
            None => self.state = State::Whole,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => {
                    if !self.committed {
                        self.kept.push(bytes.clone());
                        self.resent = self.kept.len();
                    }
                    self.pending = bytes;
                }
                Err(frame) => {
                    if let Ok(mut fields) = frame.into_trailers() {
                        clean_request(&mut fields);
                        let fields = fields.iter().map(|(name, value)| {
                            Field::new(name.as_str(), value.as_bytes().trim_ascii())
                        });
                        // What cannot be carried is left out, as trailers may be.
                        self.trailers = Trailers::new(fields).ok();
                    }
                }
            },
            Some(Err(_)) => {
                // The client broke off: the request is not whole, and must not look so.
                if let Some(sender) = &self.sender {
                    sender.reset(Directions::Both, Code::Cancel, "the client broke off");
                }
                self.state = State::Done;
            }
        }
        Poll::Ready(())
    }
}

fn broken() -> End {
    End { code: Code::Protocol, truncated: true, unexecuted: false, text: "".into() }
}
