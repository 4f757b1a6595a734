//! Ends: of streams, of the connection, of patience.

use std::time::Duration;

use super::{Connection, OwnDrain, Phase};
use crate::code::Code;
use crate::event::{Close, Drain, EndedBy};
use crate::limits::{BLOCKED_FOR, FLUSH_WITHIN, HELLO_WITHIN, PROMPT};
use crate::liveness::Life;
use crate::stall::Way;
use crate::stream::{Control, Directions, End, Kind, Origin, RecvState, SendState, StreamId};
use crate::wire;

/// An answer that is older than this is long: it may stay until the hard end of a drain.
const LONG: Duration = Duration::from_secs(10);

impl Connection {
    /// Closes a stream that both sides have ended.
    pub(super) fn settle(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.end.is_none() && stream.send.state == SendState::Done && stream.recv.is_over() {
            let code = match stream.recv.state {
                RecvState::Broken(code) => code,
                _ => Code::None,
            };
            self.close(id, (code, EndedBy::Peer), "", false);
        } else {
            self.raise_closed(id);
        }
    }

    /// Closes a stream. What came before the peer's own end of its direction can still be read.
    pub(super) fn close(
        &mut self,
        id: StreamId,
        (code, by): (Code, EndedBy),
        text: &str,
        unexecuted: bool,
    ) {
        let Some(stream) = self.streams.find(id).filter(|stream| stream.end.is_none()) else {
            return;
        };
        let origin = stream.origin;
        let waited = !std::mem::replace(&mut stream.accepted, true);
        self.queued -= stream.send.clear();
        stream.send.state = SendState::Done;
        stream.flow(Way::Sending, self.now);
        stream.flow(Way::Receiving, self.now);
        stream.control.credit = false;
        let truncated = stream.recv.state != RecvState::Ended;
        if !stream.recv.is_over() {
            self.heads -= stream.recv.head_bytes();
            stream.recv.clear();
            stream.recv.state = RecvState::Broken(code);
        }
        if stream.kind != Kind::Control {
            self.streams.live = self.streams.live.saturating_sub(1);
        } else if origin == Origin::Remote {
            self.streams.control = None;
        }
        if let Some(stream) = self.streams.find(id) {
            let text = text.into();
            stream.end = Some(Box::new(End { code, by, truncated, unexecuted, text }));
            if stream.notices.incoming {
                // Nobody was told of it: nobody works for it.
                stream.notices.incoming = false;
                stream.notices.readable = false;
                stream.notices.closed_once = true;
                stream.released = true;
                let head = stream.opened_with.take();
                self.heads -= head.map_or(0, |head| head.len());
            }
        }
        self.unschedule(id);
        if origin == Origin::Local {
            self.streams.open_local = self.streams.open_local.saturating_sub(1);
        }
        match (waited, origin, by) {
            (true, Origin::Local, _) => self.waits_no_more(),
            // What this side refuses is its own doing: streams to a service that has too much to do
            // are no reason to refuse those to the others.
            (true, Origin::Remote, EndedBy::Peer) => {
                self.abuse.unaccepted.take(self.now);
            }
            (false, Origin::Remote, _) if code == Code::None => {
                self.abuse.unaccepted.give();
                self.abuse.quick.give();
            }
            _ => {}
        }
        self.raise_closed(id);
        self.forget_if_done(id);
    }

    /// Tells that a stream is closed, once there is nothing left to read.
    pub(super) fn raise_closed(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.find(id)
            && stream.end.is_some()
            && !stream.notices.closed_once
            && (stream.recv.is_drained() || stream.released)
        {
            stream.notices.closed_once = true;
            stream.notices.closed = true;
            self.queue_notices(id);
        }
    }

    /// Forgets a stream that is closed, told, released, and has nothing left to send.
    pub(super) fn forget_if_done(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        let notices = &stream.notices;
        let done = stream.end.is_some()
            && notices.closed_once
            && !notices.any()
            && stream.control.is_empty()
            && (stream.origin == Origin::Local || stream.released);
        if !done {
            return;
        }
        let Some(stream) = self.streams.remove(id) else { return };
        self.heads -= stream.recv.head_bytes();
        self.unconsumed -= stream.recv.window.unconsumed();
        // Not before: what it brought may have waited here for its reader.
        let floor = self.config.limits.stream_credit;
        let grown = u64::from(stream.recv.window.size().saturating_sub(floor));
        self.grown = self.grown.saturating_sub(grown);
        let streams = &self.streams;
        if stream.notices.queued {
            self.notices.forget(|id| streams.contains(id));
        }
        if stream.control.queued {
            self.control.forget(|id| streams.contains(id));
        }
    }

    /// Ends the connection and everything on it.
    pub(super) fn end(&mut self, code: Code, by: EndedBy, text: &str) {
        let silent = matches!(self.phase, Phase::Preface(_)) && self.slots.greeting.is_none();
        if matches!(self.phase, Phase::Closing(_) | Phase::Closed) {
            return;
        }
        let says_cut = !matches!(self.phase, Phase::Preface(_));
        self.phase = match by {
            EndedBy::Us if !silent => Phase::Closing(self.now.saturating_add(FLUSH_WITHIN)),
            _ => Phase::Closed,
        };
        for id in self.streams.ids() {
            let Some(stream) = self.streams.find(id) else { continue };
            stream.control = Control { queued: stream.control.queued, ..Control::default() };
            let unexecuted = stream.send.opening.is_some();
            let end = match code {
                Code::Revoked => code,
                Code::None if stream.kind == Kind::Control => code,
                _ => Code::Lost,
            };
            self.close(id, (end, by), "", unexecuted);
            self.forget_if_done(id);
        }
        if by == EndedBy::Us && says_cut {
            self.slots.cut = Some((code, wire::fitting(text).into()));
        }
        self.slots.drop_all_but_last();
        self.refusals.clear();
        (self.block, self.assembly, self.data, self.drain) = (None, None, None, None);
        self.blocked_since = None;
        self.ended = Some(Box::new(Close { code, by, text: text.into() }));
    }

    /// Ends the connection without a word: the peer would not understand it.
    pub(super) fn finish_silently(&mut self, code: Code, text: &str) {
        self.slots.greeting = None;
        self.end(code, EndedBy::Us, text);
        self.phase = Phase::Closed;
    }

    /// Ends the connection at once, and tells the peer.
    pub fn cut(&mut self, now: Duration, code: Code, text: &str) {
        self.now = self.now.max(now);
        self.end(code, EndedBy::Us, text);
    }

    /// The transport ended, whoever ended it.
    pub fn transport_ended(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.end(Code::Lost, EndedBy::Loss, "the transport ended");
        self.phase = Phase::Closed;
    }

    /// Takes no new streams, lets those that are open run out, and then ends the connection. Told
    /// again, it can only be sooner.
    pub fn drain(&mut self, now: Duration, asked: Drain) {
        self.now = self.now.max(now);
        if !matches!(self.phase, Phase::Ready) {
            return self.end(asked.code, EndedBy::Us, &asked.text);
        }
        let grace_ends = self.now.saturating_add(asked.grace);
        let hard_ends = self.now.saturating_add(asked.hard).max(grace_ends);
        let drain = match self.drain.take() {
            Some(before) => OwnDrain {
                grace_ends: grace_ends.min(before.grace_ends),
                hard_ends: hard_ends.min(before.hard_ends),
                asked,
                ..before
            },
            None => OwnDrain {
                last: self.streams.highest,
                grace_over: false,
                grace_ends,
                hard_ends,
                asked,
            },
        };
        self.drain = Some(drain);
        self.slots.goaway = true;
        self.control_waits();
    }

    /// Does what time has made due.
    pub fn expire(&mut self, now: Duration) {
        self.now = self.now.max(now);
        match self.phase {
            Phase::Closed => {}
            Phase::Closing(until) => {
                if until <= self.now {
                    self.phase = Phase::Closed;
                }
            }
            Phase::Preface(_) if self.hello_is_due() => {
                self.finish_silently(Code::Timeout, "no preface in time");
            }
            Phase::Hello if self.hello_is_due() => {
                self.end(Code::Timeout, EndedBy::Us, "no HELLO in time");
            }
            Phase::Preface(_) | Phase::Hello => {}
            Phase::Ready => self.expire_ready(),
        }
    }

    fn hello_is_due(&self) -> bool {
        self.now.saturating_sub(self.started) >= HELLO_WITHIN
    }

    fn expire_ready(&mut self) {
        let blocked =
            self.blocked_since.is_some_and(|at| self.now.saturating_sub(at) >= BLOCKED_FOR);
        if blocked {
            return self.end(Code::EnhanceCalm, EndedBy::Us, "the peer takes nothing");
        }
        match self.life.check(self.now) {
            Life::Alive => {}
            Life::Ask => self.control_waits(),
            Life::Dead => return self.end(Code::Lost, EndedBy::Loss, "the peer fell silent"),
        }
        if self.unhurried_since.is_some_and(|at| self.now.saturating_sub(at) >= PROMPT) {
            self.unhurried_since = None;
            self.push_unhurried();
        }
        while self.accept_deadline().is_some_and(|due| due <= self.now) {
            let streams = &self.streams;
            let Some(id) =
                self.opening.front(|id| streams.get(id).is_some_and(|one| !one.accepted))
            else {
                break;
            };
            self.reset(id, Directions::Both, Code::Timeout, "not accepted in time");
        }
        self.expire_drain();
    }

    /// Has every ACCEPT leave that waits for company.
    fn push_unhurried(&mut self) {
        loop {
            let streams = &self.streams;
            let waits = |id| streams.get(id).is_some_and(|one| one.control.accept);
            let Some(id) = self.unhurried.pop(waits) else { return };
            self.queue_control(id);
        }
    }

    /// When the oldest opening will have waited too long.
    pub(super) fn accept_deadline(&mut self) -> Option<Duration> {
        let streams = &self.streams;
        let oldest = self.opening.front(|id| streams.get(id).is_some_and(|one| !one.accepted))?;
        let opened = self.streams.get(oldest)?.opened_at;
        Some(opened.saturating_add(self.config.limits.accept_within))
    }

    fn expire_drain(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let hard = drain.hard_ends <= self.now;
        if !hard && (drain.grace_over || drain.grace_ends > self.now) {
            return;
        }
        drain.grace_over = true;
        if hard {
            // Once is enough: what is left is to be sent.
            drain.hard_ends = Duration::MAX;
        }
        let now = self.now;
        let streams = self.streams.iter().filter(|(_, stream)| stream.end.is_none());
        let due = streams.filter(|(_, stream)| {
            stream.kind != Kind::Control && (hard || !stream.is_long(now, LONG))
        });
        let due: Vec<_> = due.map(|(id, _)| id).collect();
        for id in due {
            let committed = self.streams.get(id).is_some_and(|stream| stream.committed);
            let code = if committed { Code::Aborted } else { Code::Draining };
            self.reset(id, Directions::Both, code, "the drain is over");
        }
    }

    /// Ends a drained connection, once everything was sent that is to be.
    pub(super) fn end_if_drained(&mut self) {
        let ready = matches!(self.phase, Phase::Ready);
        if ready && self.drain.is_some() && self.streams.live == 0 && !self.has_control() {
            self.end(Code::None, EndedBy::Us, "drained");
        }
    }
}
