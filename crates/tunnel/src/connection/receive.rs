//! Frames of the connection, and who hears of the others.

use std::time::Duration;

use bytes::Bytes;

use super::{Brake, Connection, Phase};
use crate::code::Code;
use crate::decode::Piece;
use crate::event::{Draining, EndedBy};
use crate::limits::CONNECTION_FAR;
use crate::rate::Bucket;
use crate::stream::StreamId;
use crate::wire::{self, FrameType, Header, Reader, Violation};

/// What no honest peer needs more of.
#[derive(Debug)]
pub(super) struct Abuse {
    /// PING, PONG and GOAWAY: 10 a second over 10 s.
    pub(super) pings: Bucket,
    /// DATA without a byte and without END.
    pub(super) empty: Bucket,
    /// CREDIT that grants less than 1 KiB.
    pub(super) crumbs: Bucket,
    /// Streams that the peer ends before they are accepted. Beyond it, and beyond as many as end
    /// in order, they are refused.
    pub(super) unaccepted: Bucket,
    /// The same of those that the peer resets within 100 ms.
    pub(super) quick: Bucket,
}

impl Default for Abuse {
    fn default() -> Self {
        Self {
            pings: Bucket::new(10, 100),
            empty: Bucket::new(10, 100),
            crumbs: Bucket::new(200, 2_000),
            unaccepted: Bucket::new(2_000, 4_000),
            quick: Bucket::new(500, 2_000),
        }
    }
}

/// A peer that overdoes it.
pub(super) const fn calm(text: &'static str) -> Violation {
    Violation::new(Code::EnhanceCalm, text)
}

pub(super) const fn protocol(text: &'static str) -> Violation {
    Violation::new(Code::Protocol, text)
}

impl Connection {
    /// Takes bytes from the transport. What is kept of them are slices: pass whole buffers, for
    /// what is not passed on is not counted.
    pub fn receive(&mut self, now: Duration, mut bytes: Bytes) {
        self.now = self.now.max(now);
        let region = bytes.len();
        if region == 0 || matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            return;
        }
        self.life.heard(self.now);
        if !self.receive_preface(&mut bytes) {
            return;
        }
        loop {
            let piece = match self.decoder.next(&mut bytes) {
                Ok(None) => return,
                Ok(Some(piece)) => self.receive_piece(piece, region),
                Err(violation) => Err(violation),
            };
            if let Err(violation) = piece {
                self.end(violation.code, EndedBy::Us, violation.text);
            }
            if matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
                return;
            }
        }
    }

    fn receive_piece(&mut self, piece: Piece, region: usize) -> Result<(), Violation> {
        if matches!(self.phase, Phase::Hello) {
            return match piece {
                Piece::Frame(header, payload) => self.receive_hello(header, &payload),
                Piece::DataBegins(_) | Piece::Data(_) => Err(protocol("a frame before HELLO")),
            };
        }
        match piece {
            Piece::Data(bytes) => {
                self.receive_data(bytes, region);
                Ok(())
            }
            Piece::DataBegins(header) => {
                self.between_blocks(header)?;
                self.receive_data_header(header)
            }
            Piece::Frame(header, payload) => {
                self.between_blocks(header)?;
                self.receive_frame(header, &payload, region)
            }
        }
    }

    /// While a block goes on, nothing of any stream may come but its next part.
    fn between_blocks(&self, header: Header) -> Result<(), Violation> {
        match &self.assembly {
            Some(assembly) if header.stream != 0 && !assembly.goes_on_with(header) => {
                Err(protocol("a frame inside of a head block"))
            }
            _ => Ok(()),
        }
    }

    fn receive_frame(
        &mut self,
        header: Header,
        payload: &Bytes,
        region: usize,
    ) -> Result<(), Violation> {
        let id = StreamId(header.stream);
        match header.kind {
            FrameType::Hello => Err(protocol("HELLO again")),
            FrameType::Open => self.receive_open(header, payload, region),
            FrameType::Head => self.receive_head(header, payload, region),
            FrameType::Accept => self.receive_accept(id, payload),
            FrameType::Credit if id.0 == 0 => self.receive_connection_credit(payload),
            FrameType::Credit => self.receive_credit(id, payload),
            FrameType::Reset => self.receive_reset(id, payload),
            FrameType::Ping => self.receive_ping(payload),
            FrameType::Pong => self.receive_pong(payload),
            FrameType::GoAway => self.receive_goaway(payload),
            FrameType::Cut => {
                self.receive_cut(payload);
                Ok(())
            }
            // The decoder makes no frames of these.
            FrameType::Data | FrameType::Ignored => Ok(()),
        }
    }

    fn count_ping(&mut self) -> Result<(), Violation> {
        if self.abuse.pings.take(self.now) { Ok(()) } else { Err(calm("too many PINGs")) }
    }

    fn receive_ping(&mut self, payload: &[u8]) -> Result<(), Violation> {
        self.count_ping()?;
        self.slots.pong = payload.try_into().ok();
        self.control_waits();
        Ok(())
    }

    fn receive_pong(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let known = payload.try_into().is_ok_and(|payload| self.life.pong(self.now, payload));
        if !known {
            return self.count_ping();
        }
        if self.is_far() && self.brake == Brake::Free {
            let first = CONNECTION_FAR.min(self.config.limits.connection_credit_max);
            if self.window.widen(first) > 0 {
                self.slots.credit = true;
                self.control_waits();
            }
        }
        Ok(())
    }

    fn receive_connection_credit(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let credit = Reader(payload).u64().unwrap_or(0);
        self.count_credit(credit.saturating_sub(self.may_send))?;
        self.may_send = self.may_send.max(credit);
        self.unblock();
        self.flows();
        Ok(())
    }

    /// CREDIT that grants next to nothing is cheap to send and not to take.
    pub(super) fn count_credit(&mut self, granted: u64) -> Result<(), Violation> {
        if granted >= 1 << 10 || self.abuse.crumbs.take(self.now) {
            Ok(())
        } else {
            Err(calm("too many small grants of credit"))
        }
    }

    fn receive_goaway(&mut self, payload: &[u8]) -> Result<(), Violation> {
        self.count_ping()?;
        let mut rest = Reader(payload);
        let (last, code, _) = (rest.u32(), rest.u16(), rest.u16());
        let (Some(last), Some(code), Some(grace_ms)) = (last, code, rest.u32()) else {
            return Err(Violation::new(Code::FrameSize, "GOAWAY"));
        };
        if last >= self.streams.next_local() {
            return Err(protocol("GOAWAY names a stream that was never opened"));
        }
        let (code, text) = (Code::from_wire(code), wire::text(rest.0));
        self.peer_drains = true;
        let grace = Duration::from_millis(grace_ms.into());
        self.draining = Some(Box::new(Draining { code, grace, text }));
        let is_refused = |id: StreamId| id.0 > last && self.streams.is_local(id);
        let refused: Vec<_> = self.streams.ids().into_iter().filter(|id| is_refused(*id)).collect();
        for id in refused {
            let proven = self.streams.get(id).is_some_and(|stream| !stream.accepted);
            let code = if proven { Code::Draining } else { Code::Aborted };
            self.close(id, (code, EndedBy::Peer), "", proven);
        }
        Ok(())
    }

    pub(super) fn receive_cut(&mut self, payload: &[u8]) {
        let mut rest = Reader(payload);
        let code = Code::from_wire(rest.u16().unwrap_or(0));
        let text = wire::text(rest.0);
        self.end(code, EndedBy::Peer, &text);
    }
}
