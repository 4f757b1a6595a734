//! Whether the peer is alive, and how far away it is.
//!
//! Any byte proves life. Silence for the keep-alive time makes a PING; nearly twice that time more
//! without a byte, and the connection is lost: known and told within three of them.

use std::time::Duration;

/// Round trips are remembered for between one and two of these.
const REMEMBERED: Duration = Duration::from_secs(5);
/// While data moves, the round trip is measured this often. The smallest counts, and what else the
/// two sides do adds to most of them: windows would grow to many times of what the line needs.
const MEASURE: Duration = Duration::from_millis(250);
/// So many are measured one after the other when a connection is new: the first goes through code
/// that has not run yet.
const FIRST: u64 = 4;

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Liveness {
    keep_alive: Duration,
    heard: Duration,
    /// When the peer was asked because of its silence; unset once it was heard.
    asked: Option<Duration>,
    /// A PING waits to be sent.
    due: bool,
    /// The number of the last PING.
    number: u64,
    /// When that was sent, until it is answered.
    sent: Option<Duration>,
    measured: Duration,
    smallest: [Option<Duration>; 2],
    slot: Duration,
    nearest: Option<Duration>,
}

/// What time has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// A PING is due.
    Ask,
    Dead,
}

impl Liveness {
    pub(crate) fn new(keep_alive: Duration, now: Duration) -> Self {
        Self {
            keep_alive,
            heard: now,
            asked: None,
            due: false,
            number: 0,
            sent: None,
            measured: now,
            smallest: [None; 2],
            slot: now,
            nearest: None,
        }
    }

    pub(crate) fn set_keep_alive(&mut self, keep_alive: Duration) {
        self.keep_alive = keep_alive;
    }

    /// Bytes came.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.heard = now;
        self.asked = None;
    }

    /// Data came, or leave to send more: the round trip matters, so it is measured now and then.
    pub(crate) fn flows(&mut self, now: Duration) {
        if self.sent.is_none() && now.saturating_sub(self.measured) >= MEASURE {
            self.measure(now);
        }
    }

    /// Asks for the round trip.
    pub(crate) fn measure(&mut self, now: Duration) {
        self.measured = now;
        self.due = true;
    }

    /// When to call [`Self::check`].
    pub(crate) fn deadline(&self) -> Duration {
        match self.asked {
            Some(asked) => asked.saturating_add(self.keep_alive * 19 / 10),
            None => self.heard.saturating_add(self.keep_alive),
        }
    }

    pub(crate) fn check(&mut self, now: Duration) -> Life {
        if now < self.deadline() {
            return Life::Alive;
        }
        if self.asked.is_some() {
            return Life::Dead;
        }
        self.asked = Some(now);
        self.measure(now);
        Life::Ask
    }

    pub(crate) const fn is_due(&self) -> bool {
        self.due
    }

    /// The payload of the PING that is due, if one is.
    pub(crate) fn ping(&mut self, now: Duration) -> Option<[u8; 8]> {
        if !std::mem::take(&mut self.due) {
            return None;
        }
        self.number += 1;
        self.sent = Some(now);
        Some(self.number.to_be_bytes())
    }

    /// A PONG came; false if it does not answer the last PING.
    pub(crate) fn pong(&mut self, now: Duration, payload: [u8; 8]) -> bool {
        if u64::from_be_bytes(payload) != self.number {
            return false;
        }
        let Some(sent) = self.sent.take() else { return false };
        self.roll(now);
        let took = now.saturating_sub(sent);
        let smaller = |known: Option<Duration>| Some(known.map_or(took, |least| least.min(took)));
        self.smallest[0] = smaller(self.smallest[0]);
        self.nearest = smaller(self.nearest);
        if self.number < FIRST {
            self.measure(now);
        }
        true
    }

    /// The smallest round trip of all.
    pub(crate) const fn nearest(&self) -> Option<Duration> {
        self.nearest
    }

    /// The smallest round trip of the last 5 to 10 s.
    pub(crate) fn round_trip(&mut self, now: Duration) -> Option<Duration> {
        self.roll(now);
        let [new, old] = self.smallest;
        match (new, old) {
            (Some(new), Some(old)) => Some(new.min(old)),
            (new, old) => new.or(old),
        }
    }

    fn roll(&mut self, now: Duration) {
        if now.saturating_sub(self.slot) >= REMEMBERED {
            self.slot = now;
            self.smallest = [None, self.smallest[0].or(self.smallest[1])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn silence_asks_and_then_kills() {
        let mut life = Liveness::new(at(5), at(0));
        assert_eq!(life.check(at(4)), Life::Alive);
        assert_eq!((life.deadline(), life.check(at(5))), (at(5), Life::Ask));
        assert!(life.ping(at(5)).is_some() && life.ping(at(5)).is_none());
        assert_eq!(life.check(at(14)), Life::Alive);
        let due = Duration::from_millis(14_500);
        assert_eq!((life.deadline(), life.check(due)), (due, Life::Dead));
    }

    #[test]
    fn the_first_round_trips_are_measured_one_after_the_other() {
        let mut life = Liveness::new(at(5), at(0));
        life.measure(at(0));
        let mut sent = 0;
        while let Some(payload) = life.ping(at(0)) {
            sent += 1;
            assert!(life.pong(at(1), payload));
        }
        assert_eq!(sent, FIRST);
        life.flows(at(1));
        assert_eq!(life.ping(at(1)), None);
        life.flows(at(2));
        assert_eq!(life.ping(at(2)), Some((FIRST + 1).to_be_bytes()));
    }

    #[test]
    fn any_byte_proves_life() {
        let mut life = Liveness::new(at(5), at(0));
        assert_eq!(life.check(at(5)), Life::Ask);
        life.heard(at(14));
        assert_eq!(life.check(at(15)), Life::Alive);
        assert_eq!(life.check(at(19)), Life::Ask);
    }

    #[test]
    fn the_smallest_round_trip_is_remembered_for_a_while() {
        let mut life = Liveness::new(at(5), at(0));
        let mut round_trip = |sent: u64, took: u64| {
            life.measure(at(sent));
            let payload = life.ping(at(sent)).unwrap();
            let back = at(sent) + Duration::from_millis(took);
            assert!(life.pong(back, payload));
            life.round_trip(back)
        };
        assert_eq!(round_trip(1, 40), Some(Duration::from_millis(40)));
        assert_eq!(round_trip(2, 90), Some(Duration::from_millis(40)));
        assert_eq!(round_trip(6, 90), Some(Duration::from_millis(40)));
        assert_eq!(round_trip(12, 70), Some(Duration::from_millis(70)));
        assert!(!life.pong(at(13), [0xff; 8]));
    }
}
