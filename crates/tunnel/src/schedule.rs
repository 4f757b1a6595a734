//! Whose turn it is to send.
//!
//! Openings go first and in order, for their ids must grow on the wire. Heads and streams with
//! little to say (express) come next, but take at most a quarter of the line while others wait.
//! The others share the rest by round robin with quanta, weighed by class; what is left of a
//! quantum is lost, so that a round is never longer than four frames a stream. A stream without credit of
//! the connection waits aside.

use std::time::Duration;

use crate::queue::IdQueue;
use crate::stream::{Class, SendHalf, StreamId};
use crate::wire;

/// A queue of at most so many bytes is express.
const EXPRESS_QUEUE: usize = 4 << 10;
/// Unless the stream sent more than this in the last 100 ms.
const EXPRESS_RECENT: u64 = 64 << 10;
/// Express bytes that may go before their share is looked at.
const EXPRESS_FREE: u64 = 16 << 10;
/// A stream that sent more than this in 2 s counts as bulk.
const HEAVY: u64 = 1 << 20;
/// Bytes that weight 1 may send in a round: one full frame.
const QUANTUM: u32 = wire::FRAME + 8;

/// Where a stream waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Nowhere,
    Opens,
    Express,
    Ring,
    /// For credit of the connection.
    Blocked,
}

/// What the schedule knows of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) place: Place,
    /// Bytes that it may still send in this round.
    deficit: u32,
    /// It got its quantum for this round.
    begun: bool,
    recent: Recent100,
    heavy: Recent2000,
}

type Recent100 = crate::rate::Recent<100>;
type Recent2000 = crate::rate::Recent<2_000>;

impl Turn {
    /// Counts what a stream sent.
    pub(crate) fn sent(&mut self, now: Duration, bytes: usize) {
        self.recent.add(now, bytes);
        self.heavy.add(now, bytes);
        self.deficit = self.deficit.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Whether a stream may go before others.
    pub(crate) fn is_express(&mut self, now: Duration, half: &SendHalf) -> bool {
        half.has_head()
            || half.data.len() <= EXPRESS_QUEUE && self.recent.bytes(now) <= EXPRESS_RECENT
    }

    /// Gives a stream its quantum if its round begins.
    pub(crate) fn begin(&mut self, now: Duration, class: Class) {
        if !self.begun {
            self.begun = true;
            let heavy = self.heavy.bytes(now) > HEAVY;
            let weight = match class {
                Class::Interactive if !heavy => 4,
                Class::Normal if !heavy => 2,
                _ => 1,
            };
            self.deficit = QUANTUM * weight;
        }
    }

    /// Whether a stream may go on in its round with so many bytes.
    pub(crate) const fn goes_on(&self, bytes: usize) -> bool {
        self.begun && self.deficit as usize >= bytes
    }

    fn leave_round(&mut self) {
        self.begun = false;
    }

    fn leave(&mut self) {
        self.place = Place::Nowhere;
        self.begun = false;
        self.deficit = 0;
    }
}

/// The queues of one connection.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    opens: IdQueue,
    express: IdQueue,
    ring: IdQueue,
    blocked: IdQueue,
    express_recent: Recent100,
    recent: Recent100,
}

impl Schedule {
    fn queue(&mut self, place: Place) -> Option<&mut IdQueue> {
        match place {
            Place::Nowhere => None,
            Place::Opens => Some(&mut self.opens),
            Place::Express => Some(&mut self.express),
            Place::Ring => Some(&mut self.ring),
            Place::Blocked => Some(&mut self.blocked),
        }
    }

    /// Puts a stream where it belongs; it must wait nowhere.
    pub(crate) fn place(&mut self, now: Duration, id: StreamId, half: &SendHalf, turn: &mut Turn) {
        debug_assert_eq!(turn.place, Place::Nowhere);
        let place = if half.opening.is_some() {
            Place::Opens
        } else if !half.has_frame() {
            return turn.leave();
        } else if turn.is_express(now, half) {
            Place::Express
        } else {
            Place::Ring
        };
        self.enter(id, turn, place);
    }

    fn enter(&mut self, id: StreamId, turn: &mut Turn, place: Place) {
        turn.place = place;
        if let Some(queue) = self.queue(place) {
            queue.push(id);
        }
    }

    /// Takes a stream out of where it waits. `is_at` tells who waits where.
    pub(crate) fn remove(&mut self, turn: &mut Turn, is_at: impl Fn(StreamId, Place) -> bool) {
        let place = turn.place;
        turn.leave();
        if let Some(queue) = self.queue(place) {
            queue.forget(|id| is_at(id, place));
        }
    }

    /// Whose turn it is, and from where; it stays in its queue. `credit`: whether data may go.
    pub(crate) fn next(
        &mut self,
        now: Duration,
        credit: bool,
        is_at: impl Fn(StreamId, Place) -> bool,
    ) -> Option<(StreamId, Place)> {
        let ring = self.ring.front(|id| is_at(id, Place::Ring)).filter(|_| credit);
        let share = self.express_recent.bytes(now) * 4
            <= self.recent.bytes(now).saturating_add(4 * EXPRESS_FREE);
        if ring.is_none() || share {
            for place in [Place::Opens, Place::Express] {
                let queue = self.queue(place)?;
                if let Some(id) = queue.front(|id| is_at(id, place)) {
                    return Some((id, place));
                }
            }
        }
        ring.map(|id| (id, Place::Ring))
    }

    /// Whether `next` may name one; false only where it does not. `credit`: whether data may go.
    pub(crate) fn is_waiting(&self, credit: bool) -> bool {
        !self.opens.is_empty() || !self.express.is_empty() || credit && !self.ring.is_empty()
    }

    /// Takes the first of a queue out, which `next` named.
    pub(crate) fn take(&mut self, turn: &mut Turn) {
        if let Some(queue) = self.queue(turn.place) {
            queue.pop(|_| true);
        }
        turn.place = Place::Nowhere;
    }

    /// Sets a stream aside until the connection has credit; it must wait nowhere.
    pub(crate) fn block(&mut self, id: StreamId, turn: &mut Turn) {
        self.enter(id, turn, Place::Blocked);
    }

    /// Puts a stream where it belongs after it had its turn; it must wait nowhere.
    pub(crate) fn end_of_round(
        &mut self,
        now: Duration,
        id: StreamId,
        half: &SendHalf,
        turn: &mut Turn,
    ) {
        turn.leave_round();
        self.place(now, id, half, turn);
    }

    /// The next that waited for credit.
    pub(crate) fn unblock(&mut self, is_at: impl Fn(StreamId, Place) -> bool) -> Option<StreamId> {
        self.blocked.pop(|id| is_at(id, Place::Blocked))
    }

    /// Counts what went out.
    pub(crate) fn sent(&mut self, now: Duration, place: Place, bytes: usize) {
        self.recent.add(now, bytes);
        if place != Place::Ring {
            self.express_recent.add(now, bytes);
        }
    }

    /// Bytes of memory that the queues take.
    pub(crate) fn memory(&self) -> usize {
        [&self.opens, &self.express, &self.ring, &self.blocked].map(IdQueue::memory).iter().sum()
    }
}
