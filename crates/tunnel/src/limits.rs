//! What an endpoint is told when it is made: who it is, and its limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::hello::Role;
use crate::preface::Versions;
use crate::wire;

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;

/// HELLO must be there by then.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Time that a CUT has to leave.
pub(crate) const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// A peer that takes nothing for so long while control frames wait is cut.
pub(crate) const BLOCKED_FOR: Duration = Duration::from_secs(30);
/// Refusals of streams without state that may wait: a few times what one read may bring of a peer that
/// opens streams while it is not known to it that none are taken.
pub(crate) const REFUSALS: usize = 4_096;
/// Bytes of heads that the application has not taken, per connection.
pub(crate) const HEADS: usize = MIB as usize;
/// Informational heads of one stream.
pub(crate) const INFORMATIONAL: u8 = 8;
/// Bytes queued for sending, per stream; four times that where its credit is 1 MiB or more.
pub(crate) const QUEUE: usize = 64 << 10;
/// Bytes queued for sending, per connection.
pub(crate) const QUEUES: usize = MIB as usize;
/// Sum of the windows above what streams start with, per connection.
pub(crate) const GROWN: u64 = 32 * MIB as u64;
/// What a stream's window begins with while the sum above is not used by more than one part of these:
/// nearby, and where the peer is far away, for there each step of its growth takes a round trip that a
/// reader waits for.
pub(crate) const FIRST: u32 = 256 << 10;
pub(crate) const FIRST_PARTS: [u64; 2] = [16, 2];
/// What a connection's window is at least where the peer is far away.
pub(crate) const CONNECTION_FAR: u32 = 1 << 20;
/// An ACCEPT that waits for company leaves alone by then.
pub(crate) const PROMPT: Duration = Duration::from_millis(10);
/// Bytes of control frames between two data frames.
pub(crate) const CONTROL: usize = 16 << 10;

/// Streams that the peer may have open where the limit is not set otherwise.
const STREAMS: u32 = 2_048;

/// Limits of one connection. What is out of range is brought into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame's payload that are accepted, 4,096–65,528.
    pub frame: u32,
    /// Bytes that a stream may receive before it is granted more, 16–256 KiB.
    pub stream_credit: u32,
    /// The same for the connection, 64 KiB–1 MiB.
    pub connection_credit: u32,
    /// What a stream's window grows to, 64 KiB–8 MiB.
    pub stream_credit_max: u32,
    /// What the connection's window grows to, 1–64 MiB.
    pub connection_credit_max: u32,
    /// Streams that the peer may have open, 16–65,536. More are refused.
    pub streams: u32,
    /// Time from OPEN to ACCEPT, 1–120 s. Then the stream is reset.
    pub accept_within: Duration,
    /// Silence after which the peer is asked, 1–60 s; the larger of both sides' counts. After
    /// 2.9 times that the connection is lost.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: wire::FRAME,
            stream_credit: 32 * KIB,
            connection_credit: 256 * KIB,
            stream_credit_max: 8 * MIB,
            connection_credit_max: 16 * MIB,
            streams: STREAMS,
            accept_within: Duration::from_secs(15),
            keep_alive: Duration::from_secs(5),
        }
    }
}

pub(crate) const FRAME_RANGE: RangeInclusive<u32> = 4_096..=65_528;
pub(crate) const STREAM_CREDIT_RANGE: RangeInclusive<u32> = 16 * KIB..=256 * KIB;
pub(crate) const CONNECTION_CREDIT_RANGE: RangeInclusive<u32> = 64 * KIB..=MIB;
pub(crate) const STREAMS_RANGE: RangeInclusive<u32> = 16..=65_536;
const KEEP_ALIVE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);

/// Brings a wish into its range.
fn within<T: Ord + Copy>(value: T, range: &RangeInclusive<T>) -> T {
    value.clamp(*range.start(), *range.end())
}

/// The larger of two wishes for the time between signs of life, in range.
pub(crate) fn keep_alive(ours: Duration, theirs: Duration) -> Duration {
    within(ours.max(theirs), &KEEP_ALIVE)
}

impl Limits {
    pub(crate) fn in_range(self) -> Self {
        Self {
            frame: within(self.frame, &FRAME_RANGE),
            stream_credit: within(self.stream_credit, &STREAM_CREDIT_RANGE),
            connection_credit: within(self.connection_credit, &CONNECTION_CREDIT_RANGE),
            stream_credit_max: within(self.stream_credit_max, &(64 * KIB..=8 * MIB)),
            connection_credit_max: within(self.connection_credit_max, &(MIB..=64 * MIB)),
            streams: within(self.streams, &STREAMS_RANGE),
            accept_within: within(
                self.accept_within,
                &(Duration::from_secs(1)..=Duration::from_secs(120)),
            ),
            keep_alive: within(self.keep_alive, &KEEP_ALIVE),
        }
    }
}

/// Which end of the transport this is: the dialler's streams are odd, the acceptor's even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Made the connection.
    Dialler,
    /// Took it.
    Acceptor,
}

/// What an endpoint says of itself, what it expects of its peer, and its limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// What this endpoint is.
    pub role: Role,
    /// What the peer's certificate says that it is; HELLO must agree.
    pub peer: Role,
    /// Random, one per process.
    pub instance: [u8; 16],
    /// Name and version of the program, at most 64 bytes; shown, never parsed.
    pub software: String,
    /// Name of the machine, at most 64 bytes; shown, never parsed.
    pub label: String,
    /// Bits of what both must have for either to use it.
    pub capabilities: u64,
    /// Over what time a peer should spread its reconnection when this endpoint goes away.
    pub drain_spread: Option<Duration>,
    /// What is spoken.
    pub versions: Versions,
    /// Limits.
    pub limits: Limits,
}

impl Config {
    /// One with default limits, no label, and every capability of this crate.
    #[must_use]
    pub fn new(role: Role, peer: Role, instance: [u8; 16]) -> Self {
        Self {
            role,
            peer,
            instance,
            software: concat!("strait/", env!("CARGO_PKG_VERSION")).into(),
            label: String::new(),
            capabilities: crate::hello::CAPABILITIES,
            drain_spread: None,
            versions: Versions::SPOKEN,
            limits: Limits::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        assert_eq!(Limits::default().in_range(), Limits::default());
    }

    #[test]
    fn wishes_are_brought_into_range() {
        let wild = Limits { frame: 1, stream_credit: u32::MAX, streams: 0, ..Limits::default() };
        let tame = wild.in_range();
        assert_eq!((tame.frame, tame.stream_credit, tame.streams), (4_096, 256 << 10, 16));
        let second = Duration::from_secs(1);
        assert_eq!(keep_alive(second, 5 * second), 5 * second);
        assert_eq!(keep_alive(second / 2, second / 4), second);
        assert_eq!(keep_alive(second, 100 * second), 60 * second);
    }
}
