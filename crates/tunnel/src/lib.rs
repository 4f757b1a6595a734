//! The protocol between the two sides of a relay, `strait-tunnel/1`, without I/O.
//!
//! Many streams share one transport connection, in both directions: HTTP exchanges, raw bytes,
//! and one stream of messages about the connection itself. A [`Connection`] is one endpoint: a
//! state machine without socket, task, clock or random source, so that two of them can be tested
//! against each other in virtual time. The bytes are described in `docs/tunnel-protocol.md`.
//!
//! What it promises, and what the tests are named after:
//! - a stream that nobody reads delays no other and holds at most its credit;
//! - each stream ends exactly once, and what is not complete never looks complete;
//! - what was refused was not executed, and only that;
//! - no sequence of bytes makes it panic, or hold more than its limits allow.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may"))]

mod budget;
mod chunks;
mod code;
mod connection;
mod decode;
mod event;
mod head;
mod hello;
mod limits;
mod liveness;
mod names;
mod out;
mod preface;
mod queue;
mod rate;
mod schedule;
mod stall;
mod stream;
mod tlv;
mod window;
mod wire;

pub use budget::{Budget, Verdict};
pub use code::Code;
pub use connection::{Brake, Connection, Heavy, Usage};
pub use event::{
    Close, Drain, Draining, EndedBy, Event, Incoming, OpenError, OpenHead, RawHead, Read, SendError,
};
pub use head::{
    Field, Fields, HeadError, MAX_AUTHORITY, MAX_BLOCK, MAX_FIELDS, MAX_NAME, MAX_PATH, Method,
    Request, RequestParts, Response, Tlvs, Trailers,
};
pub use hello::{Peer, Role};
pub use limits::{Config, Limits, Side};
pub use out::Out;
pub use preface::Versions;
pub use stall::Stalled;
pub use stream::{Class, Directions, End, Kind, StreamId};
