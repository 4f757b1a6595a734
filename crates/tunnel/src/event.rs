//! What an endpoint tells its application, and what it is told to open.

use std::time::Duration;

use bytes::Bytes;

use crate::code::Code;
use crate::head::{Request, Response, Tlvs, Trailers};
use crate::hello::Peer;
use crate::stream::{Class, End, Kind, StreamId};

/// What happened. Events of one stream come in the order of these variants.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The peer's HELLO was accepted: streams can be opened.
    Ready(Box<Peer>),
    /// The peer opened a stream. Answer with `accept`, `send_head` or `reset`, and call
    /// `release` when the work for it has ended.
    Incoming(StreamId, Incoming),
    /// The peer's application took a stream that was opened here.
    Accepted(StreamId),
    /// `read` has something new.
    Readable(StreamId),
    /// A write that was cut short can go on.
    Writable(StreamId),
    /// The peer wants no more of what this side sends on a stream; END was sent for it.
    Stopped(StreamId, Code),
    /// A stream is over and forgotten. The last event of it, and exactly one.
    Closed(StreamId, Box<End>),
    /// The peer takes no new streams.
    Draining(Box<Draining>),
    /// The connection is over. The last event.
    Ended(Box<Close>),
}

/// A stream that the peer opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// How it is to be weighed.
    pub class: Class,
    /// What it carries.
    pub head: OpenHead,
}

/// What stands in an OPEN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenHead {
    /// An exchange, with its request.
    Http(Request),
    /// Raw bytes, with what is said of them.
    Raw(RawHead),
    /// The control stream.
    Control,
}

impl OpenHead {
    pub(crate) fn block(&self) -> Bytes {
        match self {
            Self::Http(request) => request.block().clone(),
            Self::Raw(head) => head.block().clone(),
            Self::Control => Bytes::new(),
        }
    }

    /// Bytes of its block.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Http(request) => request.block().len(),
            Self::Raw(head) => head.block().len(),
            Self::Control => 0,
        }
    }

    /// What is said of the stream beside what it carries; of the control stream nothing is.
    #[must_use]
    pub fn tlvs(&self) -> Option<Tlvs<'_>> {
        match self {
            Self::Http(request) => Some(request.parts().tlvs),
            Self::Raw(head) => Some(head.tlvs()),
            Self::Control => None,
        }
    }

    /// Type and name of the service that it is for, each empty where nobody said it; nothing of the
    /// control stream.
    #[must_use]
    pub fn service(&self) -> Option<(&str, &str)> {
        match self {
            Self::Http(request) => Some(request.service()),
            Self::Raw(head) => Some(Tlvs::service_of(&head.0)),
            Self::Control => None,
        }
    }

    /// The stream's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Http(_) => Kind::Http,
            Self::Raw(_) => Kind::Raw,
            Self::Control => Kind::Control,
        }
    }
}

/// What is said of a raw stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawHead(Bytes);

impl RawHead {
    /// Makes one.
    ///
    /// # Errors
    /// A part is too long or has control characters.
    pub fn new(tlvs: &Tlvs<'_>) -> Result<Self, crate::head::HeadError> {
        Self::parse(tlvs.block()?)
    }

    pub(crate) fn parse(block: Bytes) -> Result<Self, crate::head::HeadError> {
        Tlvs::parse(&block)?;
        Ok(Self(block))
    }

    pub(crate) fn block(&self) -> &Bytes {
        &self.0
    }

    /// What is said.
    ///
    /// # Panics
    /// Never: the block was checked.
    #[must_use]
    pub fn tlvs(&self) -> Tlvs<'_> {
        Tlvs::parse(&self.0).expect("the block was checked")
    }
}

/// What a stream brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A head: any number of informational ones, then the final one.
    Head(Response),
    /// Bytes. Call `consumed` once they are out of the way.
    Data(Bytes),
    /// What came after the bytes.
    Trailers(Trailers),
    /// It was all, and it was complete.
    End,
    /// There will be no more, and it was not complete.
    Broken(Code, EndedBy),
    /// Nothing now.
    Pending,
}

/// How a connection is to be drained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Why.
    pub code: Code,
    /// How long exchanges have.
    pub grace: Duration,
    /// How long raw and upgraded streams, and answers older than 10 s, have.
    pub hard: Duration,
    /// For people, at most 256 bytes.
    pub text: String,
}

/// The peer takes no new streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draining {
    /// Why.
    pub code: Code,
    /// How long exchanges have.
    pub grace: Duration,
    /// For people.
    pub text: Box<str>,
}

/// Who ended a connection, or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// This side: it was told to, or the peer broke the protocol or its limits.
    Us,
    /// The peer said so.
    Peer,
    /// Nobody: the transport ended, or the peer fell silent.
    Loss,
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub code: Code,
    /// Who ended it.
    pub by: EndedBy,
    /// For people.
    pub text: Box<str>,
}

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The handshake has not ended.
    #[error("the connection is not ready")]
    NotReady,
    /// One side takes no new streams.
    #[error("the connection is being drained")]
    Draining,
    /// The connection is over.
    #[error("the connection has ended")]
    Ended,
    /// As many streams are open as the peer takes.
    #[error("the peer takes no more streams now")]
    TooMany,
    /// Ids are used up; a new connection is needed.
    #[error("the connection has no stream ids left")]
    Exhausted,
}

/// Why a head was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The stream, or this direction of it, is over.
    #[error("the stream takes nothing more")]
    Over,
    /// This head cannot come at this point of the exchange.
    #[error("the head is out of order")]
    OutOfOrder,
}
