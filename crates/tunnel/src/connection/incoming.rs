//! Frames of streams, as they come.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::receive::{calm, protocol};
use super::{Brake, Connection};
use crate::code::Code;
use crate::event::{EndedBy, OpenHead, RawHead};
use crate::head::{Head, Request};
use crate::limits::{HEADS, INFORMATIONAL, REFUSALS};
use crate::schedule::Turn;
use crate::stall::Way;
use crate::stream::{
    Class, Control, Directions, Kind, Notices, Origin, RecvHalf, RecvState, SendHalf, SendState,
    Stage, Step, Stream, StreamId,
};
use crate::window::Window;
use crate::wire::{
    self, BLOCK, END, EXTENDED, FrameType, Header, MORE, OPEN_PREFIX, Reader, Violation,
};

/// A stream that the peer resets sooner was hardly meant.
const QUICK: Duration = Duration::from_millis(100);

/// A head block that comes in parts.
#[derive(Debug)]
pub(super) struct Assembly {
    id: StreamId,
    kind: FrameType,
    prefix: [u8; OPEN_PREFIX],
    /// The first frame says that it begins with extensions.
    extended: bool,
    bytes: BytesMut,
    parts: u32,
    /// Nobody will read it.
    dropped: bool,
}

impl Assembly {
    pub(super) fn goes_on_with(&self, header: Header) -> bool {
        header.kind == self.kind && header.stream == self.id.0
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A block whose parts have all come.
struct Whole {
    prefix: [u8; OPEN_PREFIX],
    extended: bool,
    block: Bytes,
}

/// The fixed part of an OPEN.
struct Opening {
    kind: Option<Kind>,
    class: Option<Class>,
    credit: u32,
}

impl Opening {
    fn parse(prefix: [u8; OPEN_PREFIX]) -> Self {
        let [kind, class, _, _, credit @ ..] = prefix;
        let kind = match kind {
            1 => Some(Kind::Http),
            2 => Some(Kind::Raw),
            3 => Some(Kind::Control),
            _ => None,
        };
        let class = match class {
            0 => Some(Class::Interactive),
            1 => Some(Class::Normal),
            2 => Some(Class::Bulk),
            _ => None,
        };
        Self { kind, class, credit: u32::from_be_bytes(credit) }
    }
}

impl Connection {
    pub(super) fn receive_open(
        &mut self,
        header: Header,
        payload: &Bytes,
        region: usize,
    ) -> Result<(), Violation> {
        let id = StreamId(header.stream);
        let mut part = payload.clone();
        let mut prefix = [0; OPEN_PREFIX];
        let mut dropped = false;
        if self.assembly.is_none() {
            if self.streams.is_local(id) || id.0 <= self.streams.highest {
                return Err(protocol("a stream id out of order"));
            }
            let Some(first) = payload.first_chunk::<OPEN_PREFIX>() else {
                return Err(Violation::new(Code::FrameSize, "OPEN"));
            };
            prefix = *first;
            part = payload.slice(OPEN_PREFIX..);
            self.streams.highest = id.0;
            if let Some(code) = self.refusal() {
                dropped = true;
                self.refuse(id, code)?;
            }
        }
        match self.collect(header, prefix, &part, dropped, region)? {
            Some(Whole { prefix, block, .. }) => {
                self.opened(id, &Opening::parse(prefix), block, header)
            }
            None => Ok(()),
        }
    }

    /// Why no stream can be taken now.
    fn refusal(&mut self) -> Option<Code> {
        let limits = &self.config.limits;
        let full = self.streams.open_remote >= limits.streams
            || self.heads >= HEADS
            || !self.abuse.unaccepted.has(self.now)
            || !self.abuse.quick.has(self.now);
        if self.drain.is_some() {
            Some(Code::Draining)
        } else if self.brake >= Brake::NoOpens {
            Some(Code::Overloaded)
        } else {
            full.then_some(Code::Refused)
        }
    }

    /// Answers an OPEN without making a stream of it.
    fn refuse(&mut self, id: StreamId, code: Code) -> Result<(), Violation> {
        if self.refusals.len() == REFUSALS {
            return Err(calm("too many refused streams"));
        }
        self.late.allow(self.now, self.config.limits.stream_credit.into());
        self.refusals.push_back((id, code));
        self.control_waits();
        Ok(())
    }

    /// Puts the parts of a block together; the block once it is whole and somebody wants it.
    fn collect(
        &mut self,
        header: Header,
        prefix: [u8; OPEN_PREFIX],
        part: &Bytes,
        dropped: bool,
        region: usize,
    ) -> Result<Option<Whole>, Violation> {
        let (more, extended) = (header.has(MORE), header.has(EXTENDED));
        if self.assembly.is_none() && !more {
            let whole = || Whole { prefix, extended, block: compact(part, region) };
            return Ok((!dropped).then(whole));
        }
        let parts_max = wire_parts(self.config.limits.frame);
        let mut assembly = self.assembly.take().unwrap_or_else(|| Assembly {
            id: StreamId(header.stream),
            kind: header.kind,
            prefix,
            extended,
            bytes: BytesMut::new(),
            parts: 0,
            dropped,
        });
        assembly.parts += 1;
        if assembly.parts > parts_max {
            return Err(calm("a head block in too many parts"));
        }
        if assembly.bytes.len() + part.len() > BLOCK {
            return Err(Violation::new(Code::FrameSize, "a head block is too long"));
        }
        if !assembly.dropped {
            assembly.bytes.extend_from_slice(part);
        }
        if more {
            self.assembly = Some(assembly);
            return Ok(None);
        }
        let Assembly { prefix, extended, .. } = assembly;
        let whole = || Whole { prefix, extended, block: assembly.bytes.freeze() };
        Ok((!assembly.dropped).then(whole))
    }

    fn opened(
        &mut self,
        id: StreamId,
        opening: &Opening,
        block: Bytes,
        header: Header,
    ) -> Result<(), Violation> {
        let head = match opening.kind {
            Some(Kind::Http) => Request::parse(block).ok().map(OpenHead::Http),
            Some(Kind::Raw) => RawHead::parse(block).ok().map(OpenHead::Raw),
            Some(Kind::Control) if self.streams.control.is_none() => Some(OpenHead::Control),
            _ => None,
        };
        let (Some(head), Some(class)) = (head, opening.class) else {
            return self.refuse(id, Code::Protocol);
        };
        let window = Window::new(self.config.limits.stream_credit, self.now);
        let kind = head.kind();
        let mut stream = Stream {
            kind,
            class,
            origin: Origin::Remote,
            accepted: false,
            committed: false,
            upgrade: false,
            released: false,
            opened_at: self.now,
            head_at: None,
            opened_with: None,
            send: SendHalf::new(Stage::first(kind, true), opening.credit),
            recv: RecvHalf::new(Stage::first(kind, false), window),
            control: Control::default(),
            notices: Notices { incoming: true, ..Notices::default() },
            turn: Turn::default(),
            end: None,
            stalls: None,
        };
        if let OpenHead::Http(request) = &head {
            stream.upgrade = request.is_upgrade();
            stream.recv.expected = request.body_length();
        }
        if header.has(END) && stream.recv.expected.is_some_and(|bytes| bytes > 0) {
            return self.refuse(id, Code::Protocol);
        }
        self.heads += head.len();
        stream.opened_with = Some(Box::new(head));
        self.streams.insert(id, stream);
        self.queue_notices(id);
        if header.has(END) {
            self.receive_end(id);
        }
        Ok(())
    }

    pub(super) fn receive_head(
        &mut self,
        header: Header,
        payload: &Bytes,
        region: usize,
    ) -> Result<(), Violation> {
        let id = StreamId(header.stream);
        if !self.streams.was_opened(id) {
            return Err(protocol("HEAD for a stream that was never opened"));
        }
        let dropped = self.streams.get(id).is_none_or(|stream| stream.end.is_some());
        let collected = self.collect(header, [0; OPEN_PREFIX], payload, dropped, region)?;
        let Some(Whole { block, extended, .. }) = collected else { return Ok(()) };
        // A flag that means nothing between these two is ignored.
        let extended = extended && self.extends_heads();
        match self.take_head(id, (block, extended), header.has(END)) {
            Ok(()) if header.has(END) => self.receive_end(id),
            Ok(()) => {}
            Err((code, text)) => self.reset(id, Directions::Both, code, text),
        }
        Ok(())
    }

    /// Keeps a head; else why its stream must be reset.
    fn take_head(
        &mut self,
        id: StreamId,
        (block, extended): (Bytes, bool),
        end: bool,
    ) -> Result<(), (Code, &'static str)> {
        let Some(stream) = self.streams.find(id) else { return Ok(()) };
        if stream.end.is_some() {
            return Ok(());
        }
        let broken = |text| Err((Code::Protocol, text));
        if stream.recv.is_over() {
            return broken("HEAD after the end");
        }
        let Ok(head) = Head::parse(block, extended) else { return broken("a malformed head") };
        let length = match &head {
            Head::Response(response) => response.block().len(),
            Head::Trailers(trailers) => trailers.block().len(),
        };
        let step = match &head {
            Head::Response(response) => Step::of(response),
            Head::Trailers(_) => Step::Trailers,
        };
        let next = stream.recv.stage.after(step, end);
        let uninvited = step == Step::Upgraded && !stream.upgrade;
        let (Some(next), false) = (next, uninvited) else { return broken("a head out of order") };
        stream.recv.informational += u8::from(step == Step::Informational);
        if stream.recv.informational > INFORMATIONAL {
            return broken("too many informational heads");
        }
        stream.recv.stage = next;
        if matches!(step, Step::Final | Step::Upgraded) {
            stream.head_at = Some(self.now);
        }
        if step == Step::Upgraded {
            stream.send.stage = Stage::Bytes;
        }
        if stream.recv.state == RecvState::Open {
            if self.heads + length > HEADS {
                return Err((Code::Overloaded, "too many heads wait to be read"));
            }
            self.heads += length;
            match head {
                Head::Response(response) => stream.recv.heads.push(response),
                Head::Trailers(trailers) => stream.recv.trailers = Some(Box::new(trailers)),
            }
            stream.notices.readable = true;
        }
        if stream.origin == Origin::Local && !std::mem::replace(&mut stream.accepted, true) {
            self.waits_no_more();
        }
        self.queue_notices(id);
        Ok(())
    }

    /// A stream that was opened here waits no more for its acceptance.
    pub(super) fn waits_no_more(&mut self) {
        let streams = &self.streams;
        self.opening.forget(|id| streams.get(id).is_some_and(|stream| !stream.accepted));
    }

    pub(super) fn receive_accept(&mut self, id: StreamId, payload: &[u8]) -> Result<(), Violation> {
        if !self.streams.is_local(id) || !self.streams.was_opened(id) {
            return Err(protocol("ACCEPT for a stream that was not opened here"));
        }
        let credit = Reader(payload).u32().unwrap_or(0);
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return Ok(());
        };
        if stream.accepted || stream.send.opening.is_some() {
            self.reset(id, Directions::Both, Code::Protocol, "ACCEPT out of order");
            return Ok(());
        }
        stream.accepted = true;
        stream.committed = true;
        stream.notices.accepted = true;
        self.waits_no_more();
        self.raise_credit(id, credit.into());
        self.queue_notices(id);
        Ok(())
    }

    pub(super) fn receive_credit(&mut self, id: StreamId, payload: &[u8]) -> Result<(), Violation> {
        if !self.streams.was_opened(id) {
            return Err(protocol("CREDIT for a stream that was never opened"));
        }
        let credit = Reader(payload).u64().unwrap_or(0);
        let before = self.streams.get(id).map_or(0, |stream| stream.send.credit);
        self.count_credit(credit.saturating_sub(before))?;
        self.raise_credit(id, credit);
        self.flows();
        Ok(())
    }

    /// Much moves, one way or the other: how far away the peer is matters.
    pub(super) fn flows(&mut self) {
        self.life.flows(self.now);
        if self.life.is_due() {
            self.control_waits();
        }
    }

    fn raise_credit(&mut self, id: StreamId, credit: u64) {
        if let Some(stream) = self.streams.find(id) {
            stream.send.credit = stream.send.credit.max(credit);
            if stream.send.credit > stream.send.written {
                stream.flow(Way::Sending, self.now);
            }
            self.wake_writer(id);
        }
    }

    pub(super) fn receive_reset(&mut self, id: StreamId, payload: &[u8]) -> Result<(), Violation> {
        let mut rest = Reader(payload);
        let (directions, _, code) = (rest.u8(), rest.u8(), rest.u16());
        let (Some(directions @ 1..=3), Some(code)) = (directions, code) else {
            return Err(protocol("RESET of no direction"));
        };
        if !self.streams.was_opened(id) {
            return Err(protocol("RESET for a stream that was never opened"));
        }
        let (code, text) = (Code::from_wire(code), wire::text(rest.0));
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return Ok(());
        };
        match directions {
            1 => {
                if !stream.recv.is_over() {
                    stream.recv.state = RecvState::Broken(code);
                    stream.flow(Way::Receiving, self.now);
                    stream.notices.readable = true;
                    self.queue_notices(id);
                    self.settle(id);
                }
            }
            2 => self.stopped(id, code),
            _ => {
                let remote = stream.origin == Origin::Remote;
                let quick = remote && self.now.saturating_sub(stream.opened_at) < QUICK;
                let proven = !remote && !stream.accepted && code.refuses();
                if quick {
                    self.abuse.quick.take(self.now);
                }
                self.close(id, (code, EndedBy::Peer), &text, proven);
            }
        }
        Ok(())
    }

    /// The peer wants no more of what this side sends on a stream.
    fn stopped(&mut self, id: StreamId, code: Code) {
        let Some(stream) = self.streams.find(id) else { return };
        if stream.send.state == SendState::Done {
            return;
        }
        stream.flow(Way::Sending, self.now);
        stream.send.stopped = code;
        stream.notices.stopped = true;
        self.queue_notices(id);
        let Some(stream) = self.streams.find(id) else { return };
        if stream.send.stage == Stage::Head || stream.send.state == SendState::Aborting {
            // A response without a head has no end in order, nor has what is broken off.
            return self.reset(id, Directions::Send, Code::Cancel, "");
        }
        self.queued -= stream.send.data.clear();
        stream.send.trailers = None;
        stream.send.waits = false;
        stream.send.state = SendState::Finishing;
        self.unschedule(id);
        self.enqueue(id);
    }
}

/// A head as bytes that keep no more alive than a few times their length.
fn compact(bytes: &Bytes, region: usize) -> Bytes {
    if bytes.len() * 4 < region { Bytes::copy_from_slice(bytes) } else { bytes.clone() }
}

/// Parts that a block has at most, given the largest frame.
fn wire_parts(frame: u32) -> u32 {
    u32::try_from(BLOCK).unwrap_or(u32::MAX).div_ceil(frame) + 1
}
