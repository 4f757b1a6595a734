//! The body of a request on its way to an agent, and what is kept of it to be sent again.
//!
//! Until the agent has accepted the stream, no more is sent than is kept: a stream that was not
//! executed can then be repeated whole.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use strait_net::Incoming;
use strait_net::fields::Fields;
use strait_tunnel::{Code, Directions, End, EndedBy, Response, Trailers};

use super::Message;
use crate::http::framing::BodyLength;
use crate::http::trailers::clean_request;
use crate::link::{Part, Receiver, Sender};

/// What is kept of a body, bytes; and a little more, where a piece ends behind it.
const RETAINED: usize = 64 << 10;

/// A body on its way: what the client gave, and the stream that it is sent on now.
pub(crate) struct Upload {
    client: Client,
    attempt: Option<Attempt>,
    /// The client waits for 100.
    waits: bool,
}

/// What came of the client. Of that nothing changes with the streams that it is sent on.
struct Client {
    body: Option<Incoming>,
    state: Came,
    /// What came first, while it may have to be sent again.
    kept: Vec<Bytes>,
    held: usize,
    /// Whether what comes is kept: no agent has accepted it yet.
    keeps: bool,
    trailers: Option<Trailers>,
    came: u64,
    limit: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    /// More may come.
    More,
    /// All.
    Whole,
    /// Not all, and no more will: it must never look whole.
    Broken,
    /// More than may.
    TooLarge,
}

/// One stream.
struct Attempt {
    sender: Sender,
    /// How many of the kept pieces were sent.
    next: usize,
    /// Not taken yet.
    pending: Bytes,
    /// Nothing more is sent: it was all, or nobody wants more.
    over: bool,
    sent: u64,
}

impl Upload {
    /// `limit`: most bytes.
    pub(crate) fn new(body: Incoming, message: &Message, limit: Option<u64>) -> Self {
        let empty = message.length == BodyLength::Empty;
        let client = Client {
            body: (!empty).then_some(body),
            state: if empty { Came::Whole } else { Came::More },
            kept: Vec::new(),
            held: 0,
            keeps: true,
            trailers: None,
            came: 0,
            limit,
        };
        Self { client, attempt: None, waits: message.expects }
    }

    /// Whether the request has no body.
    pub(crate) const fn is_empty(&self) -> bool {
        self.client.body.is_none()
    }

    /// Whether all that was sent could be sent again, and the rest after it.
    pub(crate) fn is_retained(&self) -> bool {
        self.client.keeps && matches!(self.client.state, Came::More | Came::Whole)
    }

    /// The limit, if more came.
    pub(crate) fn exceeded(&self) -> Option<u64> {
        self.client.limit.filter(|_| self.client.state == Came::TooLarge)
    }

    /// Bytes of the body that were sent on this stream.
    pub(crate) fn sent(&self) -> u64 {
        self.attempt.as_ref().map_or(0, |attempt| attempt.sent)
    }

    /// Begins on a stream, with what was kept.
    pub(crate) fn begin(&mut self, sender: Sender) {
        // Without a body the opening was the end, or another protocol goes on behind it.
        let over = self.is_empty();
        let pending = Bytes::new();
        self.attempt = Some(Attempt { sender, next: 0, pending, over, sent: 0 });
    }

    /// The stream, for one that becomes another protocol.
    pub(crate) fn take_sender(&mut self) -> Option<Sender> {
        self.attempt.take().map(|attempt| attempt.sender)
    }

    /// Sends until the head of the answer is there.
    ///
    /// # Errors
    /// The stream ended before.
    pub(crate) async fn until_head(&mut self, receiver: &mut Receiver) -> Result<Response, End> {
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
                    Part::End => {
                        return Poll::Ready(Err(End::broken(Code::Protocol, EndedBy::Peer)));
                    }
                    Part::Broken(end) => return Poll::Ready(Err(end)),
                }
            }
        })
        .await
    }

    /// Sends what can be sent; ready when there is no more to send.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { client, attempt: Some(attempt), waits } = self else { return Poll::Ready(()) };
        while !attempt.over {
            if client.keeps && attempt.sender.is_accepted() {
                client.keeps = false;
            }
            if let Some((code, text)) = client.state.gives_up() {
                attempt.sender.reset(Directions::Both, code, text);
                attempt.over = true;
            } else if !attempt.pending.is_empty() {
                let before = attempt.pending.len();
                let written = attempt.sender.poll_write(context, &mut attempt.pending);
                attempt.sent += (before - attempt.pending.len()) as u64;
                // Where nobody wants more, the answer says why.
                attempt.over = ready!(written).is_err();
            } else if let Some(piece) = client.kept.get(attempt.next) {
                attempt.pending = piece.clone();
                attempt.next += 1;
            } else if client.state == Came::Whole {
                let ended = match &client.trailers {
                    Some(trailers) => attempt.sender.send_trailers(trailers),
                    None => attempt.sender.finish(),
                };
                // Over already: the answer says why.
                let _ = ended;
                attempt.over = true;
            } else if *waits || client.keeps && client.held >= RETAINED {
                return Poll::Pending;
            } else {
                if !client.keeps {
                    (client.kept, client.held, attempt.next) = (Vec::new(), 0, 0);
                }
                attempt.pending = ready!(client.take(context));
                if client.keeps && !attempt.pending.is_empty() {
                    client.held += attempt.pending.len();
                    client.kept.push(attempt.pending.clone());
                    attempt.next = client.kept.len();
                }
            }
        }
        Poll::Ready(())
    }
}

impl Came {
    /// Why a stream is reset that was to carry it.
    const fn gives_up(self) -> Option<(Code, &'static str)> {
        match self {
            Self::More | Self::Whole => None,
            Self::Broken => Some((Code::Cancel, "the client broke off")),
            Self::TooLarge => Some((Code::TooLarge, "the body is larger than it may be")),
        }
    }
}

impl Client {
    /// Takes the next bytes; none where something else came.
    fn take(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let Some(body) = &mut self.body else {
            self.state = Came::Whole;
            return Poll::Ready(Bytes::new());
        };
        match ready!(Pin::new(body).poll_frame(context)) {
            None => self.state = Came::Whole,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => {
                    self.came += bytes.len() as u64;
                    if self.limit.is_some_and(|limit| self.came > limit) {
                        self.state = Came::TooLarge;
                    } else {
                        return Poll::Ready(bytes);
                    }
                }
                Err(frame) => {
                    if let Ok(fields) = frame.into_trailers() {
                        let mut fields = Fields::from(&fields);
                        clean_request(&mut fields);
                        // What cannot be carried is left out, as trailers may be.
                        self.trailers = Trailers::new(fields.iter()).ok();
                    }
                }
            },
            Some(Err(_)) => self.state = Came::Broken,
        }
        Poll::Ready(Bytes::new())
    }
}
