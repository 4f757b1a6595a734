//! Frames, as they go out.

use std::time::Duration;

use bytes::{Buf, Bytes};

use super::{Connection, Phase};
use crate::code::Code;
use crate::limits::{CONTROL, QUEUES};
use crate::out::Out;
use crate::schedule::Place;
use crate::stream::{Class, Directions, Kind, SendState, StreamId, take_first};
use crate::wire::{self, END, EXTENDED, FrameType, HEADER, MORE, OPEN_PREFIX, TEXT};

/// DATA is not cut shorter than this to fill a batch.
const DATA_MIN: usize = 4 << 10;
/// The longest control frame: GOAWAY.
const CONTROL_FRAME: usize = HEADER + 12 + TEXT;

/// What is sent for the connection, each at most once.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// Preface and HELLO.
    pub(super) greeting: Option<Bytes>,
    pub(super) pong: Option<[u8; 8]>,
    pub(super) credit: bool,
    pub(super) goaway: bool,
    pub(super) cut: Option<(Code, Box<str>)>,
}

impl Slots {
    /// The connection is over: nothing is sent but the end, and what must come before it.
    pub(super) fn drop_all_but_last(&mut self) {
        *self = Self { greeting: self.greeting.take(), cut: self.cut.take(), ..Self::default() };
    }
}

/// A head block on its way out: nothing of any stream may come between its parts.
#[derive(Debug)]
pub(super) struct Block {
    id: StreamId,
    kind: FrameType,
    prefix: Option<[u8; OPEN_PREFIX]>,
    rest: Bytes,
    /// Flags of its first frame alone.
    flags: u8,
    end: bool,
}

impl Block {
    pub(super) fn memory(&self) -> usize {
        self.rest.len()
    }
}

/// Whether a frame fitted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Sent,
    Full,
}

fn put(out: &mut Out, kind: FrameType, flags: u8, id: u32, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum();
    out.put_slice(&wire::header(kind, flags, length, id));
    for part in parts {
        out.put_slice(part);
    }
}

impl Connection {
    /// Fills `out` up to its limit with what is to be written next, and returns how many bytes
    /// that was. To be called when there may be something new: after events were handled, and
    /// whenever the transport took what was in `out`.
    pub fn poll_transmit(&mut self, now: Duration, out: &mut Out) -> usize {
        self.now = self.now.max(now);
        let before = out.remaining();
        let took = before < self.left;
        let wanted = self.wants_transmit();
        self.fill(out);
        self.left = out.remaining();
        debug_assert!(wanted || self.left == before, "what is sent was wanted");
        if took || self.left > before {
            self.blocked_since = self.has_control().then_some(self.now);
        }
        self.left - before
    }

    fn fill(&mut self, out: &mut Out) {
        if let Some(greeting) = &self.slots.greeting {
            if greeting.len() > out.room() {
                return;
            }
            out.put(greeting.clone());
            self.slots.greeting = None;
        }
        if matches!(self.phase, Phase::Ready) {
            while self.put_block(out) == Fit::Sent
                && self.put_control(out) == Fit::Sent
                && self.put_scheduled(out) == Fit::Sent
            {}
        }
        if matches!(self.phase, Phase::Closing(_)) && out.room() >= CONTROL_FRAME {
            if let Some((code, text)) = self.slots.cut.take() {
                let code = code.to_wire().to_be_bytes();
                put(out, FrameType::Cut, 0, 0, &[&code, text.as_bytes()]);
            }
            self.phase = Phase::Closed;
        }
    }

    /// Whether something is to be sent before everything else: after reading, whether there is
    /// a reason to send.
    #[must_use]
    pub fn has_control(&self) -> bool {
        self.slots.pong.is_some()
            || self.slots.credit
            || self.slots.goaway
            || self.life.is_due()
            || !self.refusals.is_empty()
            || !self.control.is_empty()
    }

    /// Whether [`Self::poll_transmit`] may have something to write. Never false where it has: one
    /// that drains ends with it, once nothing else is left.
    #[must_use]
    pub fn wants_transmit(&self) -> bool {
        self.slots.greeting.is_some()
            || self.block.is_some()
            || self.has_control()
            || self.drain.is_some()
            || self.schedule.is_waiting(self.may_send > self.sent)
            || matches!(self.phase, Phase::Closing(_))
    }

    /// Control frames: at most 16 KiB of them between two others.
    fn put_control(&mut self, out: &mut Out) -> Fit {
        let stop = out.remaining().saturating_add(CONTROL);
        if out.room() < 5 * CONTROL_FRAME {
            return Fit::Full;
        }
        self.put_slots(out);
        while out.remaining() < stop {
            if out.room() < 3 * CONTROL_FRAME {
                return Fit::Full;
            }
            if let Some((id, code)) = self.refusals.pop_front() {
                put_reset(out, id, 3, code, "");
                continue;
            }
            let streams = &self.streams;
            let Some(id) = self.control.pop(|id| streams.contains(id)) else { break };
            if let Some(stream) = self.streams.find(id) {
                stream.control.queued = false;
            }
            self.put_stream_control(out, id);
            self.forget_if_done(id);
        }
        Fit::Sent
    }

    fn put_slots(&mut self, out: &mut Out) {
        if let Some(payload) = self.slots.pong.take() {
            put(out, FrameType::Pong, 0, 0, &[&payload]);
        }
        if let Some(payload) = self.life.ping(self.now) {
            put(out, FrameType::Ping, 0, 0, &[&payload]);
        }
        if std::mem::take(&mut self.slots.credit) {
            put(out, FrameType::Credit, 0, 0, &[&self.window.granted().to_be_bytes()]);
        }
        if std::mem::take(&mut self.slots.goaway)
            && let Some(drain) = &self.drain
        {
            let code = drain.asked.code.to_wire().to_be_bytes();
            let grace = u32::try_from(drain.asked.grace.as_millis()).unwrap_or(u32::MAX);
            let text = wire::fitting(&drain.asked.text).as_bytes();
            let last = drain.last.to_be_bytes();
            put(out, FrameType::GoAway, 0, 0, &[&last, &code, &[0; 2], &grace.to_be_bytes(), text]);
        }
    }

    fn put_stream_control(&mut self, out: &mut Out, id: StreamId) {
        let Some(stream) = self.streams.find(id) else { return };
        let granted = stream.recv.window.granted();
        if std::mem::take(&mut stream.control.accept) {
            let total = u32::try_from(granted).unwrap_or(u32::MAX);
            put(out, FrameType::Accept, 0, id.0, &[&total.to_be_bytes()]);
        }
        if std::mem::take(&mut stream.control.credit) {
            put(out, FrameType::Credit, 0, id.0, &[&granted.to_be_bytes()]);
        }
        if let Some(reset) = stream.control.reset.take() {
            put_reset(out, id, reset.directions, reset.code, &reset.text);
        }
    }

    /// One frame of the stream whose turn it is. `Full` also when there is none.
    fn put_scheduled(&mut self, out: &mut Out) -> Fit {
        loop {
            let streams = &self.streams;
            let credit = self.may_send > self.sent;
            let next = self.schedule.next(self.now, credit, |id, place| streams.is_at(id, place));
            let Some((id, place)) = next else {
                self.end_if_drained();
                return Fit::Full;
            };
            let Some(stream) = self.streams.find(id) else { return Fit::Full };
            if place == Place::Ring {
                stream.turn.begin(self.now, stream.class);
            } else if place == Place::Express {
                let data = !stream.send.has_head() && !stream.send.data.is_empty();
                if data && !credit {
                    self.schedule.take(&mut stream.turn);
                    self.schedule.block(id, &mut stream.turn);
                    continue;
                }
                if !stream.turn.is_express(self.now, &stream.send) {
                    self.schedule.take(&mut stream.turn);
                    self.schedule.place(self.now, id, &stream.send, &mut stream.turn);
                    continue;
                }
            }
            return self.put_turn(out, id, place);
        }
    }

    fn put_turn(&mut self, out: &mut Out, id: StreamId, place: Place) -> Fit {
        let before = out.remaining();
        let Some(stream) = self.streams.find(id) else { return Fit::Full };
        if stream.control.accept {
            // Nothing of a stream overtakes its ACCEPT.
            if out.room() < 3 * CONTROL_FRAME {
                return Fit::Full;
            }
            self.put_stream_control(out, id);
        }
        let Some(stream) = self.streams.find(id) else { return Fit::Full };
        let fit = if stream.send.has_head() {
            self.begin_block(out, id)
        } else if !stream.send.data.is_empty() {
            self.put_data(out, id)
        } else if stream.send.trailers.is_some() {
            self.begin_block(out, id)
        } else if stream.send.state == SendState::Finishing {
            put_end(out, id)
        } else {
            Fit::Sent
        };
        if fit == Fit::Sent {
            self.count_turn(id, place, out.remaining() - before);
        }
        fit
    }

    /// A frame was sent: who is next.
    fn count_turn(&mut self, id: StreamId, place: Place, bytes: usize) {
        self.schedule.sent(self.now, place, bytes);
        if let Some(stream) = self.streams.find(id) {
            stream.turn.sent(self.now, bytes);
            let next = stream.send.data.len().min(wire::FRAME as usize);
            let stays = place == Place::Ring && next > 0 && stream.turn.goes_on(next + HEADER);
            if !stays && stream.turn.place != Place::Nowhere {
                self.schedule.take(&mut stream.turn);
                self.schedule.end_of_round(self.now, id, &stream.send, &mut stream.turn);
            }
        }
        self.finish_sending(id);
    }

    /// END was sent: the half is done, and perhaps the stream.
    fn finish_sending(&mut self, id: StreamId) {
        self.queue_control(id);
        if let Some(stream) = self.streams.find(id)
            && stream.send.is_aborted()
            && self.block.is_none()
            && let Some(abort) = stream.send.abort.take()
        {
            return self.reset(id, Directions::Send, abort.0, &abort.1);
        }
        if let Some(stream) = self.streams.find(id)
            && stream.send.is_last()
            && self.block.is_none()
        {
            stream.send.state = SendState::Done;
            self.unschedule(id);
            self.settle(id);
        }
    }

    fn put_data(&mut self, out: &mut Out, id: StreamId) -> Fit {
        let frame = self.peer.as_ref().map_or(wire::FRAME, |peer| peer.frame.min(wire::FRAME));
        let credit = usize::try_from(self.may_send.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let Some(stream) = self.streams.find(id) else { return Fit::Full };
        let wanted = stream.send.data.len().min(frame as usize).min(credit);
        let length = wanted.min(out.room().saturating_sub(HEADER));
        if length < wanted.min(DATA_MIN) || length == 0 {
            return Fit::Full;
        }
        let last = length == stream.send.data.len()
            && stream.send.state == SendState::Finishing
            && stream.send.trailers.is_none();
        let flags = if last { END } else { 0 };
        out.put_slice(&wire::header(FrameType::Data, flags, length, id.0));
        let mut left = length;
        while left > 0
            && let Some(bytes) = stream.send.data.pop(left)
        {
            left -= bytes.len();
            out.put(bytes);
        }
        let low = stream.send.waits && stream.send.data.len() <= crate::limits::QUEUE / 2;
        self.sent += length as u64;
        self.queued -= length;
        if low {
            self.wake_writer(id);
        }
        self.wake_starved();
        Fit::Sent
    }

    fn wake_starved(&mut self) {
        if self.queued > QUEUES / 2 || self.starved.is_empty() {
            return;
        }
        loop {
            let streams = &self.streams;
            let Some(id) = self.starved.pop(|id| streams.contains(id)) else { return };
            if let Some(stream) = self.streams.find(id) {
                stream.send.starved = false;
            }
            self.wake_writer(id);
        }
    }

    /// Begins the next block of a stream: its opening, a head, or its trailers.
    fn begin_block(&mut self, out: &mut Out, id: StreamId) -> Fit {
        let Some(stream) = self.streams.find(id) else { return Fit::Full };
        let half = &mut stream.send;
        let heads = half.heads.iter().map(|(block, _)| block);
        let next = half.opening.iter().chain(heads).chain(half.trailers.as_deref()).next();
        let first = next.map_or(0, Bytes::len) + OPEN_PREFIX;
        if out.room() < HEADER + first.min(wire::FRAME as usize) {
            return Fit::Full;
        }
        let (kind, prefix, (rest, extended)) = if let Some(block) = half.opening.take() {
            let granted = u32::try_from(stream.recv.window.granted()).unwrap_or(u32::MAX);
            (FrameType::Open, Some(open_prefix(stream.kind, stream.class, granted)), (block, false))
        } else if let Some(block) = take_first(&mut half.heads) {
            (FrameType::Head, None, block)
        } else if let Some(block) = half.trailers.take() {
            (FrameType::Head, None, (*block, false))
        } else {
            return Fit::Sent;
        };
        let end = stream.send.is_last();
        let flags = if extended { EXTENDED } else { 0 };
        self.block = Some(Block { id, kind, prefix, rest, flags, end });
        self.put_block(out);
        Fit::Sent
    }

    /// Goes on with the block that is on its way.
    fn put_block(&mut self, out: &mut Out) -> Fit {
        let frame = self.peer.as_ref().map_or(wire::FRAME, |peer| peer.frame.min(wire::FRAME));
        while let Some(block) = &mut self.block {
            let prefix = block.prefix.as_ref().map_or(&[][..], |prefix| prefix);
            let length = (frame as usize - prefix.len()).min(block.rest.len());
            if out.room() < HEADER + prefix.len() + length {
                return Fit::Full;
            }
            let more = length < block.rest.len();
            let flags = block.flags
                | if more { MORE } else { 0 }
                | if block.end && !more { END } else { 0 };
            let header = wire::header(block.kind, flags, prefix.len() + length, block.id.0);
            out.put_slice(&header);
            out.put_slice(prefix);
            out.put(block.rest.split_to(length));
            (block.prefix, block.flags) = (None, 0);
            if !more {
                let id = block.id;
                self.block = None;
                self.finish_sending(id);
            }
        }
        Fit::Sent
    }

    /// Credit of the connection came: those that waited for it go on.
    pub(super) fn unblock(&mut self) {
        if self.may_send <= self.sent {
            return;
        }
        loop {
            let streams = &self.streams;
            let Some(id) = self.schedule.unblock(|id, place| streams.is_at(id, place)) else {
                return;
            };
            if let Some(stream) = self.streams.find(id) {
                stream.turn.place = Place::Nowhere;
                self.schedule.place(self.now, id, &stream.send, &mut stream.turn);
            }
        }
    }
}

fn put_reset(out: &mut Out, id: StreamId, directions: u8, code: Code, text: &str) {
    let code = code.to_wire().to_be_bytes();
    put(out, FrameType::Reset, 0, id.0, &[&[directions, 0], &code, text.as_bytes()]);
}

fn open_prefix(kind: Kind, class: Class, granted: u32) -> [u8; OPEN_PREFIX] {
    let kind = match kind {
        Kind::Http => 1,
        Kind::Raw => 2,
        Kind::Control => 3,
    };
    let class = match class {
        Class::Interactive => 0,
        Class::Normal => 1,
        Class::Bulk => 2,
    };
    let [a, b, c, d] = granted.to_be_bytes();
    [kind, class, 0, 0, a, b, c, d]
}

fn put_end(out: &mut Out, id: StreamId) -> Fit {
    if out.room() < HEADER {
        return Fit::Full;
    }
    put(out, FrameType::Data, END, id.0, &[]);
    Fit::Sent
}
