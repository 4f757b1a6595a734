//! What was received.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

/// An event's place in the log: dense, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A webhook as its sender sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Name of the source that took it.
    pub source: Arc<str>,
    /// The sender's name for this delivery, or one of ours where it gave none.
    pub delivery: Box<str>,
    /// When its last byte arrived.
    pub received: Timestamp,
    /// What followed the source's path, still encoded; begins with `/` or is empty.
    pub path: Box<str>,
    /// The query, still encoded, without `?`.
    pub query: Box<str>,
    /// The headers, in their order.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// SHA-256 of the body.
    pub sha256: [u8; 32],
}
