//! A peer made of bytes: an own encoder and decoder of frames, so that the crate's are not
//! compared with themselves.

use std::time::Duration;

use bytes::{Buf, Bytes};
use strait_tunnel::{Close, Config, Connection, Event, Out, Side};

use crate::net::{agent, hub};

pub(crate) const OPEN: u8 = 2;
pub(crate) const ACCEPT: u8 = 3;
pub(crate) const HEAD: u8 = 4;
pub(crate) const DATA: u8 = 5;
pub(crate) const CREDIT: u8 = 6;
pub(crate) const RESET: u8 = 7;
pub(crate) const PING: u8 = 8;
pub(crate) const PONG: u8 = 9;
pub(crate) const GOAWAY: u8 = 10;
pub(crate) const CUT: u8 = 11;
pub(crate) const END: u8 = 1;
pub(crate) const MORE: u8 = 2;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind, flags][..], &length, &id.to_be_bytes(), payload].concat()
}

pub(crate) fn parse(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while bytes.has_remaining() {
        let (kind, flags, length, id) =
            (bytes.get_u8(), bytes.get_u8(), bytes.get_u16(), bytes.get_u32());
        let payload = bytes.copy_to_bytes(length.into()).to_vec();
        all.push(Frame { kind, flags, id, payload });
    }
    all
}

/// Preface and HELLO: role, limits, and what is asked to stand behind them.
pub(crate) fn greeting(role: u8, more: &[u8]) -> Vec<u8> {
    let mut hello = vec![0, 1, 0, 1, role, 0, 3, 0, 20];
    hello.extend(16_376_u32.to_be_bytes());
    hello.extend(32_768_u32.to_be_bytes());
    hello.extend(262_144_u64.to_be_bytes());
    hello.extend(2_048_u32.to_be_bytes());
    hello.extend_from_slice(more);
    [&b"\x89STRAIT\n\0\x01\0\x01\0\0\0\0"[..], &frame(1, 0, 0, &hello)].concat()
}

/// OPEN of a raw stream that grants so much.
pub(crate) fn open_raw(id: u32, credit: u32) -> Vec<u8> {
    frame(OPEN, 0, id, &[&[2, 1, 0, 0][..], &credit.to_be_bytes()].concat())
}

pub(crate) fn credit(id: u32, total: u64) -> Vec<u8> {
    frame(CREDIT, 0, id, &total.to_be_bytes())
}

/// One real endpoint, and the other side by hand.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    pub(crate) now: Duration,
    out: Out,
}

impl Raw {
    /// Nothing was sent yet.
    pub(crate) fn fresh(side: Side) -> Self {
        let config = if side == Side::Dialler { agent() } else { hub() };
        Self::with(side, config)
    }

    pub(crate) fn with(side: Side, config: Config) -> Self {
        let now = Duration::from_secs(77);
        Self { connection: Connection::new(side, config, now), now, out: Out::new(0) }
    }

    /// The handshake is over.
    pub(crate) fn ready(side: Side) -> Self {
        let mut raw = Self::fresh(side);
        raw.send(&greeting(if side == Side::Dialler { 2 } else { 1 }, b""));
        assert!(matches!(raw.connection.poll_event(), Some(Event::Ready(_))));
        let bytes = raw.bytes();
        assert_eq!(bytes[..8], *b"\x89STRAIT\n");
        parse(&bytes[16..]);
        raw
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.connection.receive(self.now, Bytes::copy_from_slice(bytes));
    }

    /// What the endpoint has to say.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.connection.poll_transmit(self.now, &mut self.out) > 0 {
            all.extend_from_slice(&self.out.copy_to_bytes(self.out.remaining()));
        }
        all
    }

    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        parse(&self.bytes())
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event()).collect()
    }

    /// How the connection ended, if it did; other events are dropped.
    pub(crate) fn end(&mut self) -> Option<Close> {
        self.events().into_iter().find_map(|event| match event {
            Event::Ended(close) => Some(*close),
            _ => None,
        })
    }

    /// Time passes, and timers with it.
    pub(crate) fn pass(&mut self, time: Duration) {
        let stop = self.now + time;
        while let Some(due) = self.connection.deadline().filter(|due| *due <= stop) {
            self.now = self.now.max(due);
            self.connection.expire(self.now);
            if self.connection.deadline().is_some_and(|next| next <= due) {
                break;
            }
        }
        self.now = stop;
    }
}

impl Raw {
    /// One batch of what the endpoint has to say.
    pub(crate) fn some_frames(&mut self) -> Vec<Frame> {
        self.connection.poll_transmit(self.now, &mut self.out);
        parse(&self.out.copy_to_bytes(self.out.remaining()))
    }
}
