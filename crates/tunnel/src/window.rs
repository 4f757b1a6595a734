//! Receive windows: how much the peer may send, and when it is granted more.
//!
//! Credit is absolute: the number of bytes since the start. It only grows, so repeating it or
//! losing the race with a newer one is harmless.

use std::time::Duration;

/// A stream that received nothing for so long starts again with the window that it began with.
const IDLE: Duration = Duration::from_secs(2);
/// From here on more is granted after a quarter of the window: then a window of 8 MiB fills a
/// line that has 6 MiB in flight, and not 4.
const WIDE: u32 = 1 << 20;
/// No round trip is taken for shorter: below it the time to process a batch counts more. The larger
/// this is, the more waits at a hub of a stream whose reader stops on a fast line, and the longer
/// others wait beside a download; the smaller, the slower that is (docs/measurements.md).
const ROUND_TRIP_MIN: Duration = Duration::from_micros(200);
/// From here on a peer is far away: a reader notices each time there and back. No machine and no local
/// network takes so long when it is not busy.
pub(crate) const FAR: Duration = Duration::from_millis(2);
/// Below this it is nearby.
const NEAR: Duration = Duration::from_millis(1);
/// What is smaller grows in larger steps. A connection's begins with as much.
const SMALL: u32 = 256 << 10;

/// One receive window. `taken` bytes are out of the way: consumed for a stream, placed for the
/// connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    granted: u64,
    received: u64,
    taken: u64,
    size: u32,
    /// When the last grant was made, and what was taken by then.
    granted_at: Duration,
    granted_taken: u64,
    received_at: Duration,
}

/// How far a window may grow now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    /// What it begins with and falls back to.
    pub(crate) floor: u32,
    /// What it never exceeds.
    pub(crate) ceiling: u32,
    /// What others have grown to on the same line: of one far away the next step goes so far at once.
    pub(crate) known: u32,
    /// Bytes that it may grow by now.
    pub(crate) room: u64,
    /// The smallest round trip seen lately.
    pub(crate) round_trip: Option<Duration>,
}

impl Window {
    pub(crate) fn new(size: u32, now: Duration) -> Self {
        let granted = u64::from(size);
        Self {
            granted,
            received: 0,
            taken: 0,
            size,
            granted_at: now,
            granted_taken: 0,
            received_at: now,
        }
    }

    /// Absolute credit that the peer has, or will have once it is told.
    pub(crate) const fn granted(&self) -> u64 {
        self.granted
    }

    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Bytes that arrived and are not out of the way.
    pub(crate) const fn unconsumed(&self) -> u64 {
        self.received - self.taken
    }

    /// What is not out of the way, by the milliseconds since the last grant.
    pub(crate) fn weight(&self, now: Duration) -> u64 {
        let age = u64::try_from(now.saturating_sub(self.granted_at).as_millis());
        self.unconsumed().saturating_mul(age.unwrap_or(u64::MAX))
    }

    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    /// Bytes that the peer may still send.
    pub(crate) const fn outstanding(&self) -> u64 {
        self.granted.saturating_sub(self.received)
    }

    /// Counts what arrived; false if it was more than granted.
    pub(crate) fn receive(&mut self, now: Duration, bytes: u64) -> bool {
        if bytes > self.outstanding() {
            return false;
        }
        if now.saturating_sub(self.received_at) > IDLE {
            self.received_at = Duration::MAX;
        }
        self.received += bytes;
        if self.received_at != Duration::MAX {
            self.received_at = now;
        }
        true
    }

    /// Makes it so large at least, at once. Answers how much larger.
    pub(crate) fn widen(&mut self, size: u32) -> u32 {
        let more = size.saturating_sub(self.size);
        self.size += more;
        self.granted += u64::from(more);
        more
    }

    /// Counts what is out of the way; never more than what arrived.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes).min(self.received);
    }

    /// The size that the window is to have, and one for where there is no room for that. More could
    /// come than it lets where it is used up within two round trips, and smaller than what two round
    /// trips bring at the rate since the last grant. Each step takes a round trip, so a small window
    /// of a peer far away has fewer and larger ones. Nearby they take no time, and a burst into the
    /// empty buffers behind a reader is faster than what follows: what is not small has smaller ones.
    fn next(&self, now: Duration, round_trip: Duration, known: u32) -> [u32; 2] {
        let took = now.saturating_sub(self.granted_at).as_nanos();
        let taken = u128::from(self.taken - self.granted_taken);
        let trips = 2 * round_trip.as_nanos();
        let is_less = |times: u128| times * u128::from(self.size) * took < taken * trips;
        if took >= trips || !is_less(1) {
            return [self.size; 2];
        }
        let twice = self.size.saturating_mul(2);
        if round_trip >= FAR {
            let further =
                if self.size < SMALL && is_less(2) { twice.saturating_mul(2) } else { twice };
            [further.max(known), twice]
        } else if round_trip < NEAR && self.size >= SMALL {
            [self.size.saturating_add(self.size / 4); 2]
        } else {
            [twice; 2]
        }
    }

    /// Decides whether to grant more: once half the window is used up, or a quarter of a wide
    /// one. Answers true if the peer
    /// must be told, and by how much the window changed.
    pub(crate) fn grant(&mut self, now: Duration, growth: Growth) -> Option<i64> {
        let part = if self.size >= WIDE { self.size / 4 } else { self.size / 2 };
        if self.taken.saturating_add(self.size.into()) < self.granted + u64::from(part) {
            return None;
        }
        let before = self.size;
        if self.received_at == Duration::MAX {
            self.size = growth.floor;
            self.received_at = now;
        } else if let Some(round_trip) = growth.round_trip {
            let next = self.next(now, round_trip.max(ROUND_TRIP_MIN), growth.known);
            let fits = |next: &u32| *next > self.size && u64::from(next - self.size) <= growth.room;
            let next = next.map(|next| next.min(growth.ceiling)).into_iter().find(fits);
            self.size = next.unwrap_or(self.size);
        }
        (self.granted_at, self.granted_taken) = (now, self.taken);
        let granted = self.taken.saturating_add(self.size.into());
        let grew = granted > self.granted;
        self.granted = self.granted.max(granted);
        grew.then(|| i64::from(self.size) - i64::from(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROWTH: Growth = Growth {
        floor: 1_000,
        ceiling: 8_000,
        known: 0,
        room: u64::MAX,
        round_trip: Some(Duration::from_millis(40)),
    };

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn more_than_granted_is_not_taken() {
        let mut window = Window::new(1_000, at(0));
        assert!(window.receive(at(0), 1_000));
        assert!(!window.receive(at(0), 1));
        assert_eq!((window.outstanding(), window.received()), (0, 1_000));
    }

    #[test]
    fn credit_is_granted_once_half_is_used_up() {
        let mut window = Window::new(1_000, at(0));
        window.receive(at(0), 1_000);
        window.take(499);
        assert_eq!(window.grant(at(90), GROWTH), None);
        window.take(1);
        assert_eq!(window.grant(at(90), GROWTH), Some(0));
        assert_eq!(window.granted(), 1_500);
        assert_eq!(window.grant(at(90), GROWTH), None);
        // Nobody can take what never came.
        window.take(u64::MAX);
        assert_eq!(window.grant(at(190), GROWTH), Some(0));
        assert_eq!(window.granted(), 2_000);
    }

    /// Half a window within a round trip, or a whole one within two, means that the window and
    /// not the line was the limit.
    #[test]
    fn windows_grow_to_what_the_line_can_carry() {
        let table = [
            (500, 19, 40, 4_000),
            (500, 20, 40, 2_000),
            (500, 39, 40, 2_000),
            (1_000, 39, 40, 4_000),
            (500, 1, 9, 4_000),
            (500, 8, 9, 2_000),
            (500, 9, 9, 1_000),
            (500, 41, 40, 1_000),
            (500, 90, 40, 1_000),
            (1_000, 41, 40, 2_000),
            (1_000, 79, 40, 2_000),
            (1_000, 80, 40, 1_000),
            // Near by steps take no time.
            (500, 0, 1, 2_000),
            (500, 1, 1, 1_000),
        ];
        for (bytes, took, round_trip, expected) in table {
            let mut window = Window::new(1_000, at(0));
            window.receive(at(0), bytes);
            window.take(bytes);
            let growth = Growth { round_trip: Some(at(round_trip)), ..GROWTH };
            assert!(window.grant(at(took), growth).is_some());
            assert_eq!(window.size(), expected, "{bytes} {took} {round_trip}");
        }
    }

    #[test]
    fn steps_depend_on_size_and_on_how_far_away_the_peer_is() {
        let [small, large] = [SMALL - 4, SMALL];
        for (size, micros, known, expected) in [
            (small, 999, 0, small * 2),
            (large, 999, 0, large / 4 * 5),
            (large, 1_000, 0, large * 2),
            (small, 1_999, 0, small * 2),
            (small, 2_000, 0, small * 4),
            (large, 2_000, 0, large * 2),
            (large, 1_999, large * 9, large * 2),
            (small, 2_000, large * 9, large * 9),
            (large, 2_000, large * 9, large * 9),
            (large, 2_000, large, large * 2),
        ] {
            let mut window = Window::new(size, at(0));
            window.receive(at(0), size.into());
            window.take(size.into());
            let round_trip = Some(Duration::from_micros(micros));
            let growth = Growth { ceiling: u32::MAX, known, round_trip, ..GROWTH };
            window.grant(Duration::from_micros(micros / 4), growth);
            assert_eq!(window.size(), expected, "{size} {micros}");
        }
    }

    #[test]
    fn what_is_made_wider_is_granted_at_once() {
        let mut window = Window::new(1_000, at(0));
        for (size, more, granted) in [(3_000, 2_000, 3_000), (2_000, 0, 3_000), (3_001, 1, 3_001)] {
            assert_eq!((window.widen(size), window.granted()), (more, granted));
        }
        assert!(window.receive(at(0), 3_001));
    }

    #[test]
    fn a_round_trip_is_taken_for_no_shorter_than_processing_takes() {
        for (micros, expected) in [(199, 2_000), (401, 1_000)] {
            let mut window = Window::new(1_000, at(0));
            window.receive(at(0), 1_000);
            window.take(1_000);
            let growth = Growth { round_trip: Some(Duration::from_micros(1)), ..GROWTH };
            window.grant(Duration::from_micros(micros), growth);
            assert_eq!(window.size(), expected, "{micros}");
        }
    }

    #[test]
    fn windows_grow_no_further_than_they_may() {
        let mut window = Window::new(1_000, at(0));
        for _ in 0..20 {
            let bytes = window.outstanding();
            window.receive(at(0), bytes);
            window.take(bytes);
            window.grant(at(0), GROWTH);
        }
        assert_eq!(window.size(), 8_000);
        let mut braked = Window::new(1_000, at(0));
        braked.receive(at(0), 1_000);
        braked.take(1_000);
        assert_eq!(braked.grant(at(0), Growth { room: 999, ..GROWTH }), Some(0));
        assert_eq!(braked.size(), 1_000);
    }

    #[test]
    fn an_idle_stream_starts_small_again_and_loses_nothing_that_it_had() {
        let mut window = Window::new(1_000, at(0));
        for _ in 0..4 {
            let bytes = window.outstanding();
            window.receive(at(0), bytes);
            window.take(bytes);
            window.grant(at(0), GROWTH);
        }
        assert_eq!(window.size(), 8_000);
        let granted = window.granted();
        window.receive(at(2_001), 7_500);
        window.take(7_500);
        assert_eq!(window.grant(at(2_001), GROWTH), Some(-7_000));
        assert_eq!(window.granted(), granted + 500);
    }
}
