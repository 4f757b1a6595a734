//! One stream: two halves, whether it was accepted, what is to be told of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::chunks::Chunks;
use crate::code::Code;
use crate::event::{EndedBy, OpenHead};
use crate::head::{Response, Trailers};
use crate::schedule::Turn;
use crate::stall::{Stalls, Way};
use crate::window::Window;

/// A stream of one connection: odd if the dialler opened it, even if the acceptor did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) u32);

impl StreamId {
    /// The number on the wire. Means nothing on another connection.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One HTTP exchange.
    Http,
    /// Bytes both ways.
    Raw,
    /// Messages about the connection; at most one in each direction.
    Control,
}

/// How a stream is weighed against others: 4, 2, 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits for each message.
    Interactive,
    /// The usual.
    Normal,
    /// As much as is left.
    Bulk,
}

/// Which directions a reset ends, as seen by who resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directions {
    /// What this side sends: it will not be complete.
    Send,
    /// What this side receives: it wants no more.
    Receive,
    /// Both: the stream is over.
    Both,
}

impl Directions {
    pub(crate) const fn bits(self) -> u8 {
        match self {
            Self::Send => 1,
            Self::Receive => 2,
            Self::Both => 3,
        }
    }
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// [`Code::None`] if both directions ended in order.
    pub code: Code,
    /// Who ended it; [`EndedBy::Peer`] if both directions ended in order.
    pub by: EndedBy,
    /// The peer's direction did not end in order: what came of it is not all.
    pub truncated: bool,
    /// It is proven that the peer's application never saw the stream: it may be opened again
    /// elsewhere, whatever it asked for.
    pub unexecuted: bool,
    /// The peer's explanation, for people.
    pub text: Box<str>,
}

impl End {
    /// Of a stream that broke off, of which no more is known: it may have been executed.
    #[must_use]
    pub fn broken(code: Code, by: EndedBy) -> Self {
        Self { code, by, truncated: true, unexecuted: false, text: "".into() }
    }
}

/// Which side opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Local,
    Remote,
}

/// Where a direction of an exchange stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Heads of a response come next.
    Head,
    /// Bytes, then perhaps trailers.
    Body,
    /// Bytes; there can be no trailers.
    Bytes,
    /// Trailers were the end.
    Over,
}

/// A head as the order of heads sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Informational,
    Final,
    Upgraded,
    Trailers,
}

impl Stage {
    /// Where a direction begins.
    pub(crate) fn first(kind: Kind, is_response: bool) -> Self {
        match (kind, is_response) {
            (Kind::Http, true) => Self::Head,
            (Kind::Http, false) => Self::Body,
            (Kind::Raw | Kind::Control, _) => Self::Bytes,
        }
    }

    /// Where it stands after a head; `None` if the head cannot come here.
    pub(crate) fn after(self, step: Step, end: bool) -> Option<Self> {
        match (self, step, end) {
            (Self::Head, Step::Informational, false) => Some(Self::Head),
            (Self::Head, Step::Final, _) => Some(Self::Body),
            (Self::Head, Step::Upgraded, _) => Some(Self::Bytes),
            (Self::Body, Step::Trailers, true) => Some(Self::Over),
            _ => None,
        }
    }

    pub(crate) const fn takes_bytes(self) -> bool {
        matches!(self, Self::Body | Self::Bytes)
    }
}

impl Step {
    pub(crate) fn of(response: &Response) -> Self {
        match response.status() {
            101 => Self::Upgraded,
            _ if response.is_informational() => Self::Informational,
            _ => Self::Final,
        }
    }
}

/// The sending half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendState {
    Open,
    /// END goes with the last of the queue.
    Finishing,
    /// RESET follows the queue.
    Aborting,
    /// END or RESET was sent, or is the next that is.
    Done,
}

/// What waits to be sent, in this order: the opening, heads, bytes, trailers.
#[derive(Debug)]
pub(crate) struct SendHalf {
    pub(crate) state: SendState,
    pub(crate) stage: Stage,
    pub(crate) opening: Option<Bytes>,
    /// Each with whether it begins with extensions.
    pub(crate) heads: Vec<(Bytes, bool)>,
    pub(crate) data: Chunks,
    pub(crate) trailers: Option<Box<Bytes>>,
    /// Bytes taken from the application since the start.
    pub(crate) written: u64,
    /// Bytes that the peer takes since the start.
    pub(crate) credit: u64,
    /// A write was cut short: the application wants to know when it can go on.
    pub(crate) waits: bool,
    /// The stream stands in the queue of those that wait for room in the connection's queue.
    pub(crate) starved: bool,
    /// Why the peer wants no more.
    pub(crate) stopped: Code,
    /// What follows the queue while [`SendState::Aborting`].
    pub(crate) abort: Option<Box<(Code, Box<str>)>>,
}

impl SendHalf {
    pub(crate) fn new(stage: Stage, credit: u32) -> Self {
        Self {
            state: SendState::Open,
            stage,
            opening: None,
            heads: Vec::new(),
            data: Chunks::default(),
            trailers: None,
            written: 0,
            credit: credit.into(),
            waits: false,
            starved: false,
            stopped: Code::None,
            abort: None,
        }
    }

    /// Something could be sent, credit aside.
    pub(crate) fn has_frame(&self) -> bool {
        self.has_head()
            || !self.data.is_empty()
            || self.trailers.is_some()
            || self.state == SendState::Finishing
    }

    /// The next frame needs no credit, since it is a head.
    pub(crate) fn has_head(&self) -> bool {
        self.opening.is_some() || !self.heads.is_empty()
    }

    /// Nothing is left behind the frame that is being made.
    pub(crate) fn is_last(&self) -> bool {
        self.state == SendState::Finishing
            && !self.has_head()
            && self.data.is_empty()
            && self.trailers.is_none()
    }

    /// Everything left that was to leave before the RESET.
    pub(crate) fn is_aborted(&self) -> bool {
        self.state == SendState::Aborting && !self.has_frame()
    }

    /// Drops what waits; returns how many bytes of data that was.
    pub(crate) fn clear(&mut self) -> usize {
        self.opening = None;
        self.heads = Vec::new();
        self.trailers = None;
        self.waits = false;
        self.data.clear()
    }
}

/// The receiving half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvState {
    Open,
    /// The peer was asked to stop: what comes is dropped.
    Stopped,
    /// END arrived.
    Ended,
    /// It will not be complete.
    Broken(Code),
}

/// What arrived and was not read, in this order: heads, bytes, trailers.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    pub(crate) state: RecvState,
    pub(crate) stage: Stage,
    pub(crate) informational: u8,
    pub(crate) heads: Vec<Response>,
    pub(crate) data: Chunks,
    pub(crate) trailers: Option<Box<Trailers>>,
    pub(crate) window: Window,
    /// Length of the body, if it was announced.
    pub(crate) expected: Option<u64>,
}

impl RecvHalf {
    pub(crate) fn new(stage: Stage, window: Window) -> Self {
        Self {
            state: RecvState::Open,
            stage,
            informational: 0,
            heads: Vec::new(),
            data: Chunks::default(),
            trailers: None,
            window,
            expected: None,
        }
    }

    /// Nothing waits to be read.
    pub(crate) fn is_drained(&self) -> bool {
        self.heads.is_empty() && self.data.is_empty() && self.trailers.is_none()
    }

    /// Nothing more will arrive.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.state, RecvState::Ended | RecvState::Broken(_))
    }

    /// Bytes of heads that wait.
    pub(crate) fn head_bytes(&self) -> usize {
        let heads: usize = self.heads.iter().map(|head| head.block().len()).sum();
        heads + self.trailers.as_ref().map_or(0, |trailers| trailers.block().len())
    }

    /// Drops what waits.
    pub(crate) fn clear(&mut self) {
        self.heads = Vec::new();
        self.trailers = None;
        self.data.clear();
    }
}

/// Takes the head that came first; nothing is kept for more.
pub(crate) fn take_first<T>(heads: &mut Vec<T>) -> Option<T> {
    match heads.len() {
        0 | 1 => std::mem::take(heads).pop(),
        _ => Some(heads.remove(0)),
    }
}

/// A RESET that waits to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Reset {
    pub(crate) directions: u8,
    pub(crate) code: Code,
    pub(crate) text: Box<str>,
}

/// Control frames that wait to be sent: one of each.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) accept: bool,
    pub(crate) credit: bool,
    pub(crate) reset: Option<Box<Reset>>,
    /// The stream stands in the queue of those with control frames.
    pub(crate) queued: bool,
}

impl Control {
    pub(crate) const fn is_empty(&self) -> bool {
        !self.accept && !self.credit && self.reset.is_none()
    }
}

/// What the application is to be told, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Notices {
    pub(crate) incoming: bool,
    pub(crate) accepted: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) stopped: bool,
    pub(crate) closed: bool,
    /// The stream stands in the queue of those with notices.
    pub(crate) queued: bool,
    /// `closed` was raised once.
    pub(crate) closed_once: bool,
}

impl Notices {
    pub(crate) const fn any(self) -> bool {
        self.incoming
            || self.accepted
            || self.readable
            || self.writable
            || self.stopped
            || self.closed
    }
}

/// A stream that exists.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) kind: Kind,
    pub(crate) class: Class,
    pub(crate) origin: Origin,
    /// ACCEPT or a HEAD was queued, or came.
    pub(crate) accepted: bool,
    /// ACCEPT was queued: what executed may have had effects.
    pub(crate) committed: bool,
    /// The request asked for another protocol.
    pub(crate) upgrade: bool,
    /// The application is done with it.
    pub(crate) released: bool,
    pub(crate) opened_at: Duration,
    /// When the final head passed.
    pub(crate) head_at: Option<Duration>,
    /// What the peer opened it with, until the application is told.
    pub(crate) opened_with: Option<Box<OpenHead>>,
    pub(crate) send: SendHalf,
    pub(crate) recv: RecvHalf,
    pub(crate) control: Control,
    pub(crate) notices: Notices,
    pub(crate) turn: Turn,
    /// Set once it is closed.
    pub(crate) end: Option<Box<End>>,
    /// None before a direction stood still.
    pub(crate) stalls: Option<Box<Stalls>>,
}

impl Stream {
    /// Both directions carry bytes for as long as they like.
    pub(crate) fn is_long(&self, now: Duration, age: Duration) -> bool {
        self.kind != Kind::Http
            || self.send.stage == Stage::Bytes
            || self.recv.stage == Stage::Bytes
            || self.head_at.is_some_and(|at| now.saturating_sub(at) > age)
    }

    /// A direction has no credit left.
    pub(crate) fn stall(&mut self, way: Way, now: Duration) {
        self.stalls.get_or_insert_default().begin(way, now);
    }

    /// A direction goes on, or is over.
    pub(crate) fn flow(&mut self, way: Way, now: Duration) {
        if let Some(stalls) = &mut self.stalls {
            stalls.end(way, now);
        }
    }

    /// Bytes of memory that it takes.
    pub(crate) fn memory(&self) -> usize {
        let heads = self.send.heads.iter().map(|(block, _)| block);
        let blocks = heads.chain(&self.send.opening).chain(self.send.trailers.as_deref());
        let sending: usize = blocks.map(Bytes::len).sum();
        size_of::<Self>()
            + self.stalls.as_ref().map_or(0, |_| size_of::<Stalls>())
            + sending
            + self.opened_with.as_ref().map_or(0, |head| head.len())
            + self.send.heads.capacity() * size_of::<(Bytes, bool)>()
            + self.send.data.memory()
            + self.recv.heads.capacity() * size_of::<Response>()
            + self.recv.head_bytes()
            + self.recv.data.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every stage, every head, with and without END.
    #[test]
    fn heads_come_in_one_order() {
        use {Stage as S, Step as T};
        for stage in [S::Head, S::Body, S::Bytes, S::Over] {
            for step in [T::Informational, T::Final, T::Upgraded, T::Trailers] {
                for end in [false, true] {
                    let expected = match (stage, step, end) {
                        (S::Head, T::Informational, false) => Some(S::Head),
                        (S::Head, T::Final, _) => Some(S::Body),
                        (S::Head, T::Upgraded, _) => Some(S::Bytes),
                        (S::Body, T::Trailers, true) => Some(S::Over),
                        _ => None,
                    };
                    assert_eq!(stage.after(step, end), expected, "{stage:?} {step:?} {end}");
                }
            }
        }
    }

    /// Row 27.
    #[test]
    fn a_quiet_stream_is_small() {
        assert!(size_of::<Stream>() <= 448, "{}", size_of::<Stream>());
    }
}
