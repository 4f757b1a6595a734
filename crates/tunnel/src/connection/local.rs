//! What the application does with streams. A stream that is gone takes nothing and brings
//! nothing: that is no error, for its end may just not have been told yet.

use std::time::Duration;

use bytes::Bytes;

use super::{Brake, Connection, Phase};
use crate::code::Code;
use crate::event::{EndedBy, OpenError, OpenHead, Read, SendError};
use crate::head::{Response, Trailers};
use crate::limits::{FIRST, FIRST_PARTS, GROWN, QUEUE, QUEUES};
use crate::schedule::Turn;
use crate::stall::{Stalled, Way};
use crate::stream::{
    Class, Control, Directions, Kind, Notices, Origin, RecvHalf, RecvState, Reset, SendHalf,
    SendState, Stage, Step, Stream, StreamId, take_first,
};
use crate::window::{Growth, Window};
use crate::wire;

/// Bytes that a stream may always queue while the last part of the connection's queue has room:
/// so bulk delays nobody who has little to say.
const SHORT: usize = 4 << 10;
/// That last part.
const QUEUES_SHORT: usize = QUEUES / 4;
/// Streams with at least this credit may queue four times as much.
const WIDE: u64 = 1 << 20;

impl Connection {
    /// Opens a stream; its first bytes can be written at once. `end`: there will be none.
    ///
    /// # Errors
    /// Why it cannot be opened on this connection now; see [`OpenError`].
    pub fn open(
        &mut self,
        now: Duration,
        head: &OpenHead,
        class: Class,
        end: bool,
    ) -> Result<StreamId, OpenError> {
        self.now = self.now.max(now);
        let credit = self.may_open()?;
        let id = self.streams.next_id().ok_or(OpenError::Exhausted)?;
        let kind = head.kind();
        let mut window = Window::new(self.config.limits.stream_credit, self.now);
        self.grown += u64::from(window.widen(self.first_window()));
        let mut send = SendHalf::new(Stage::first(kind, false), credit);
        send.opening = Some(head.block());
        if end {
            send.state = SendState::Finishing;
        }
        let upgrade = match head {
            OpenHead::Http(request) => request.is_upgrade(),
            OpenHead::Raw(_) | OpenHead::Control => false,
        };
        let stream = Stream {
            kind,
            class,
            origin: Origin::Local,
            accepted: false,
            committed: false,
            upgrade,
            released: false,
            opened_at: self.now,
            head_at: None,
            opened_with: None,
            send,
            recv: RecvHalf::new(Stage::first(kind, true), window),
            control: Control::default(),
            notices: Notices::default(),
            turn: Turn::default(),
            end: None,
            stalls: None,
        };
        self.streams.insert(id, stream);
        self.opening.push(id);
        self.enqueue(id);
        Ok(id)
    }

    /// Whether a stream may be opened; the credit that it starts with.
    fn may_open(&self) -> Result<u32, OpenError> {
        let peer = match (&self.phase, &self.peer) {
            (Phase::Closing(_) | Phase::Closed, _) => return Err(OpenError::Ended),
            (Phase::Ready, Some(peer)) => peer,
            _ => return Err(OpenError::NotReady),
        };
        if self.peer_drains || self.drain.is_some() {
            Err(OpenError::Draining)
        } else if self.streams.open_local >= peer.streams {
            Err(OpenError::TooMany)
        } else {
            Ok(peer.stream_credit)
        }
    }

    /// What a stream's window begins with: more than the least while memory is not short and the windows
    /// have not grown much.
    fn first_window(&self) -> u32 {
        let limits = &self.config.limits;
        let least = limits.stream_credit;
        let first = FIRST.min(limits.stream_credit_max).max(least);
        let part = GROWN / FIRST_PARTS[usize::from(self.is_far())];
        let fits = self.grown + u64::from(first - least) <= part;
        if fits && self.brake == Brake::Free { first } else { least }
    }

    /// Takes a stream that the peer opened. To be called before anything of it goes to the
    /// service: from then on the peer must assume that it was executed. After a head it is late,
    /// and does nothing.
    pub fn accept(&mut self, id: StreamId) {
        if self.commit(id) {
            self.queue_control(id);
        }
    }

    /// The same, but the peer is told with what the stream says next, or within 10 ms: that saves a
    /// frame of its own where the answer is near. True if [`Self::deadline`] is another now.
    pub fn accept_with_next(&mut self, now: Duration, id: StreamId) -> bool {
        self.now = self.now.max(now);
        if !self.commit(id) {
            return false;
        }
        self.unhurried.push(id);
        let is_first = self.unhurried_since.is_none();
        self.unhurried_since.get_or_insert(self.now);
        is_first
    }

    /// Has an ACCEPT leave that waits for company.
    pub fn push(&mut self, id: StreamId) {
        self.queue_control(id);
    }

    fn commit(&mut self, id: StreamId) -> bool {
        let first = self.first_window();
        let Some(stream) = self.streams.find(id) else { return false };
        if stream.origin != Origin::Remote || stream.accepted || stream.end.is_some() {
            return false;
        }
        if stream.recv.state == RecvState::Open {
            self.grown += u64::from(stream.recv.window.widen(first));
        }
        let granted = stream.recv.window.granted();
        debug_assert!(granted <= u64::from(u32::MAX), "nothing was granted before");
        stream.committed = true;
        stream.control.accept = true;
        stream.accepted = true;
        true
    }

    /// Sends a response's head on a stream that the peer opened. `end`: nothing follows.
    ///
    /// # Errors
    /// The stream is over, or the head cannot come now.
    pub fn send_head(&mut self, id: StreamId, head: &Response, end: bool) -> Result<(), SendError> {
        let (step, extended) = (Step::of(head), self.extends_heads());
        let (stream, stage) = self.step(id, step, end)?;
        stream.send.stage = stage;
        stream.send.heads.push(head.block_for(extended));
        if end {
            stream.send.state = SendState::Finishing;
        }
        if step == Step::Upgraded {
            stream.recv.stage = Stage::Bytes;
        }
        stream.accepted = true;
        self.enqueue(id);
        Ok(())
    }

    /// Sends trailers: the end of this direction.
    ///
    /// # Errors
    /// The stream is over, or is none with trailers.
    pub fn send_trailers(&mut self, id: StreamId, trailers: &Trailers) -> Result<(), SendError> {
        let (stream, stage) = self.step(id, Step::Trailers, true)?;
        stream.send.stage = stage;
        stream.send.trailers = Some(Box::new(trailers.block().clone()));
        stream.send.state = SendState::Finishing;
        self.enqueue(id);
        Ok(())
    }

    fn step(
        &mut self,
        id: StreamId,
        step: Step,
        end: bool,
    ) -> Result<(&mut Stream, Stage), SendError> {
        let now = self.now;
        let stream = self.streams.find(id).filter(|stream| stream.end.is_none());
        let stream = stream.ok_or(SendError::Over)?;
        if stream.send.state != SendState::Open {
            return Err(SendError::Over);
        }
        let uninvited = step == Step::Upgraded && !stream.upgrade;
        let stage = stream.send.stage.after(step, end).filter(|_| !uninvited);
        let stage = stage.ok_or(SendError::OutOfOrder)?;
        if matches!(step, Step::Final | Step::Upgraded) {
            stream.head_at = Some(now);
        }
        Ok((stream, stage))
    }

    /// Bytes that [`Self::write`] would take now.
    #[must_use]
    pub fn writable(&self, id: StreamId) -> usize {
        let Some(stream) = self.streams.get(id) else { return 0 };
        let shared = (QUEUES - QUEUES_SHORT).saturating_sub(self.queued);
        let short = SHORT.saturating_sub(stream.send.data.len());
        let short = short.min(QUEUES.saturating_sub(self.queued));
        own_room(stream).min(shared.max(short))
    }

    /// Takes bytes off the front of `bytes`, as many as credit and queues allow, and returns how
    /// many. If some are left, [`crate::Event::Writable`] tells when to go on.
    pub fn write(&mut self, id: StreamId, bytes: &mut Bytes) -> usize {
        let taken = self.writable(id).min(bytes.len());
        let Some(stream) = self.streams.find(id) else { return 0 };
        if taken > 0 {
            stream.send.written += taken as u64;
            stream.send.data.push_own(bytes.split_to(taken));
            self.queued += taken;
            self.enqueue(id);
        }
        if !bytes.is_empty()
            && let Some(stream) = self.streams.find(id)
            && stream.send.state == SendState::Open
            && stream.send.stage.takes_bytes()
        {
            stream.send.waits = true;
            if stream.send.written >= stream.send.credit {
                stream.stall(Way::Sending, self.now);
            }
            self.wake_writer(id);
        }
        taken
    }

    /// Ends this side's direction in order, behind what was written.
    ///
    /// # Errors
    /// The direction is over, or is a response without a head.
    pub fn finish(&mut self, id: StreamId) -> Result<(), SendError> {
        let stream = self.streams.find(id).filter(|stream| stream.end.is_none());
        let stream = stream.filter(|stream| stream.send.state == SendState::Open);
        let stream = stream.ok_or(SendError::Over)?;
        if stream.send.stage == Stage::Head {
            return Err(SendError::OutOfOrder);
        }
        stream.send.state = SendState::Finishing;
        self.enqueue(id);
        Ok(())
    }

    /// What a stream brought next.
    pub fn read(&mut self, id: StreamId) -> Read {
        let Some(stream) = self.streams.find(id) else { return Read::Pending };
        let half = &mut stream.recv;
        let read = if let Some(head) = take_first(&mut half.heads) {
            self.heads -= head.block().len();
            Read::Head(head)
        } else if let Some(bytes) = half.data.pop(usize::MAX) {
            Read::Data(bytes)
        } else if let Some(trailers) = half.trailers.take() {
            self.heads -= trailers.block().len();
            Read::Trailers(*trailers)
        } else {
            let by = stream.end.as_ref().map_or(EndedBy::Peer, |end| end.by);
            return match half.state {
                RecvState::Ended => Read::End,
                RecvState::Broken(code) => Read::Broken(code, by),
                RecvState::Open | RecvState::Stopped => Read::Pending,
            };
        };
        if half.is_drained() {
            self.settle(id);
        }
        read
    }

    /// Bytes that a stream brought are out of the way: the peer may send as many more.
    pub fn consumed(&mut self, now: Duration, id: StreamId, bytes: usize) {
        self.now = self.now.max(now);
        let room = GROWN.saturating_sub(self.grown);
        let round_trip = self.life.round_trip(self.now).filter(|_| self.brake == Brake::Free);
        let growth = Growth {
            floor: self.first_window(),
            ceiling: self.config.limits.stream_credit_max,
            known: if self.is_far() { self.reached } else { 0 },
            room,
            round_trip,
        };
        let Some(stream) = self.streams.find(id) else { return };
        let before = stream.recv.window.unconsumed();
        stream.recv.window.take(bytes as u64);
        self.unconsumed -= before - stream.recv.window.unconsumed();
        if stream.recv.state != RecvState::Open || stream.end.is_some() {
            return;
        }
        if let Some(change) = stream.recv.window.grant(self.now, growth) {
            self.grown = self.grown.saturating_add_signed(change);
            self.reached = self.reached.max(stream.recv.window.size());
            stream.flow(Way::Receiving, self.now);
            stream.control.credit = true;
            self.queue_control(id);
        }
    }

    /// Ends one or both directions of a stream out of order. The peer is told code and text.
    pub fn reset(&mut self, id: StreamId, directions: Directions, code: Code, text: &str) {
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return;
        };
        if stream.send.opening.is_some() && directions != Directions::Receive {
            // The peer never heard of it, and never will.
            return self.close(id, (code, EndedBy::Us), text, true);
        }
        let code = if stream.committed && stream.origin == Origin::Remote && code.only_refuses() {
            Code::Aborted
        } else {
            code
        };
        match directions {
            Directions::Both => {
                if !stream.recv.is_over() {
                    self.late.allow(self.now, stream.recv.window.outstanding());
                }
            }
            Directions::Send if stream.send.state == SendState::Done => return,
            Directions::Receive if stream.recv.state != RecvState::Open => return,
            Directions::Send => {
                stream.flow(Way::Sending, self.now);
                self.queued -= stream.send.clear();
                stream.send.state = SendState::Done;
            }
            Directions::Receive => {
                stream.flow(Way::Receiving, self.now);
                stream.recv.state = RecvState::Stopped;
                self.heads -= stream.recv.head_bytes();
                stream.recv.clear();
                self.unconsumed -= stream.recv.window.unconsumed();
                stream.recv.window.take(u64::MAX);
                stream.control.credit = false;
            }
        }
        let before = stream.control.reset.as_ref().map_or(0, |reset| reset.directions);
        let directions_now = before | directions.bits();
        let text: Box<str> = wire::fitting(text).into();
        stream.control.reset = Some(Box::new(Reset { directions: directions_now, code, text }));
        self.queue_control(id);
        match directions {
            Directions::Both => self.close(id, (code, EndedBy::Us), "", false),
            Directions::Send => {
                self.unschedule(id);
                self.settle(id);
            }
            Directions::Receive => {}
        }
    }

    /// Ends this side's direction out of order, behind what was written: the peer gets all of that,
    /// and is told then that it is not complete.
    pub fn abort(&mut self, id: StreamId, code: Code, text: &str) {
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return;
        };
        if stream.send.state != SendState::Open || !stream.send.has_frame() {
            return self.reset(id, Directions::Send, code, text);
        }
        stream.send.state = SendState::Aborting;
        stream.send.waits = false;
        stream.flow(Way::Sending, self.now);
        stream.send.abort = Some(Box::new((code, wire::fitting(text).into())));
    }

    /// How long the directions of a stream stood still for want of credit since this was last
    /// asked. Nothing for one that is forgotten: ask while it is open, and when its end is told.
    pub fn take_stalled(&mut self, now: Duration, id: StreamId) -> Stalled {
        self.now = self.now.max(now);
        let stalls = self.streams.find(id).and_then(|stream| stream.stalls.as_mut());
        stalls.map_or_else(Stalled::default, |stalls| stalls.take(self.now))
    }

    /// The work for a stream that the peer opened has ended: its place is free for another, once
    /// it is closed. What is still to be read of it is dropped then.
    pub fn release(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.find(id) {
            stream.released = true;
            self.raise_closed(id);
            self.forget_if_done(id);
        }
    }

    /// Whether a stream is of this kind and still open.
    #[must_use]
    pub fn is_open(&self, id: StreamId, kind: Kind) -> bool {
        self.streams.get(id).is_some_and(|stream| stream.kind == kind && stream.end.is_none())
    }

    /// Tells a writer that it can go on, if it waits and can. Else it waits on: for credit, for
    /// its own queue, or for that of the connection.
    pub(super) fn wake_writer(&mut self, id: StreamId) {
        let writable = self.writable(id) > 0;
        let Some(stream) = self.streams.find(id).filter(|stream| stream.send.waits) else { return };
        if writable {
            stream.send.waits = false;
            stream.notices.writable = true;
            self.queue_notices(id);
        } else if own_room(stream) > 0 && !stream.send.starved {
            stream.send.starved = true;
            self.starved.push(id);
        }
    }

    /// Lets a stream take its turn, if it has something to send and does not wait already.
    pub(super) fn enqueue(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.find(id)
            && stream.turn.place == crate::schedule::Place::Nowhere
            && stream.send.state != SendState::Done
        {
            self.schedule.place(self.now, id, &stream.send, &mut stream.turn);
        }
    }

    /// Takes a stream's turn away.
    pub(super) fn unschedule(&mut self, id: StreamId) {
        let Some(stream) = self.streams.find(id) else { return };
        let mut turn = stream.turn;
        stream.turn.place = crate::schedule::Place::Nowhere;
        let streams = &self.streams;
        self.schedule.remove(&mut turn, |id, place| streams.is_at(id, place));
        if let Some(stream) = self.streams.find(id) {
            stream.turn = turn;
        }
    }
}

/// Bytes that a stream's credit and its own queue have room for.
fn own_room(stream: &Stream) -> usize {
    let half = &stream.send;
    if half.state != SendState::Open || !half.stage.takes_bytes() || stream.end.is_some() {
        return 0;
    }
    let credit = half.credit.saturating_sub(half.written);
    let queue = if credit >= WIDE { 4 * QUEUE } else { QUEUE };
    usize::try_from(credit).unwrap_or(usize::MAX).min(queue.saturating_sub(half.data.len()))
}
