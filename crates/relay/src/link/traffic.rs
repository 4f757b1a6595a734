//! How much a connection carries, so that small streams do not wait behind a large body where
//! there is another connection. Pure: time is passed in.

use std::cmp::Reverse;
use std::time::Duration;

/// After so long what has moved counts half.
const HALF_LIFE: Duration = Duration::from_millis(250);

/// How much of a steady flow counts, on average.
const COUNTED: Duration = Duration::from_millis(375);

/// Bytes that an open stream counts for where connections are compared, since it may yet move much: over
/// a long line that takes some round trips to show. More than a small one moved that is over.
const OPEN: u64 = 64 << 10;

/// So many count. Those that are quiet for hours outweigh no flow of a few MB/s.
const OPEN_COUNTED: usize = 16;

/// What a stream would share a connection with. Those that carry nothing are equal but for their
/// warmth: TCP is slow on a line that has rested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burden {
    /// Bytes, with what streams may yet move.
    carried: u64,
    /// What moved lately.
    warmth: Reverse<u64>,
}

impl Burden {
    /// Where so many bytes moved `lately`, and so many streams are `open` or about to be.
    pub(super) fn new(lately: u64, open: usize) -> Self {
        let open = open.min(OPEN_COUNTED) as u64;
        let carried = if open == 0 { 0 } else { lately + OPEN * open };
        Self { carried, warmth: Reverse(lately) }
    }
}

/// Bytes that moved lately, in both directions.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    bytes: u64,
    at: Duration,
}

impl Traffic {
    /// So many bytes moved at `now`.
    pub(super) fn add(&mut self, now: Duration, bytes: usize) {
        let (left, halves) = self.left(now);
        self.bytes = left.saturating_add(bytes as u64);
        // Where nothing is left it does not matter when that was halved.
        self.at = if left == 0 { now.max(self.at) } else { self.at + HALF_LIFE * halves };
    }

    /// What counts at `now`.
    pub(super) fn lately(&self, now: Duration) -> u64 {
        self.left(now).0
    }

    /// How long so many bytes take at the speed of now; for ever where nothing moves.
    pub(super) fn time_for(&self, now: Duration, bytes: usize) -> Duration {
        let counted = u128::from(self.lately(now));
        let nanos = (COUNTED.as_nanos() * bytes as u128).checked_div(counted);
        let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
        nanos.map_or(Duration::MAX, Duration::from_nanos)
    }

    /// How many bytes move in this time at the speed of now.
    pub(super) fn within(&self, now: Duration, time: Duration) -> u64 {
        let bytes = u128::from(self.lately(now)) * time.as_nanos() / COUNTED.as_nanos();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// What is left at `now`, and how often it was halved since.
    fn left(&self, now: Duration) -> (u64, u32) {
        let passed = now.saturating_sub(self.at).as_millis() / HALF_LIFE.as_millis();
        let halves = u32::try_from(passed).unwrap_or(u32::MAX);
        (self.bytes.checked_shr(halves).unwrap_or(0), halves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_is_taken_that_carries_least() {
        // Bytes that moved lately and open streams of two connections; which gets the next one.
        for (one, other, expected) in [
            ((0, 1), (1, 1), 0),
            // A download that has just begun, and exchanges that have just ended.
            ((1_000, 1), (2_000_000, 0), 1),
            ((1_000, 2), (20_000, 1), 1),
            // Both rest.
            ((20_000, 0), (10_000, 0), 0),
            ((10_000, 0), (20_000, 0), 1),
            ((0, 0), (0, 0), 0),
            // One has a stream that is quiet.
            ((0, 1), (0, 0), 1),
            ((0, 16), (0, 15), 1),
            ((0, 2_000), (0, 17), 0),
            // Many that are quiet, beside a download.
            ((0, 2_000), (2_000_000, 2), 0),
        ] {
            let burdens = [Burden::new(one.0, one.1), Burden::new(other.0, other.1)];
            assert_eq!(usize::from(burdens[1] < burdens[0]), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_moved_counts_half_after_a_while() {
        let ms = Duration::from_millis;
        let mut traffic = Traffic::default();
        traffic.add(ms(1_000_000), 1_000);
        for (at, expected) in
            [(0, 1_000), (249, 1_000), (250, 500), (500, 250), (2_500, 0), (1 << 40, 0)]
        {
            assert_eq!(traffic.lately(ms(1_000_000 + at)), expected, "{at}");
        }
        // Neither often nor seldom adding changes how fast that is.
        for _ in 0..10 {
            traffic.add(ms(1_000_240), 100);
        }
        assert_eq!(traffic.lately(ms(1_000_250)), 1_000);
        traffic.add(ms(1_000_300), 500);
        assert_eq!(traffic.lately(ms(1_000_500)), 750);
        // A clock that stands still or was not looked at for long is no matter.
        traffic.add(ms(1_000_300), 1);
        assert_eq!(traffic.lately(ms(0)), 1_501);
        traffic.add(Duration::MAX / 2, 7);
        assert_eq!(traffic.lately(Duration::MAX / 2), 7);
    }

    #[test]
    fn what_waits_takes_as_long_as_it_did_lately() {
        let ms = Duration::from_millis;
        let mut traffic = Traffic::default();
        assert_eq!(traffic.time_for(ms(0), 1), Duration::MAX);
        // 100 bytes a millisecond.
        for at in 0..5_000 {
            traffic.add(ms(at), 100);
        }
        for at in [5_000, 5_100, 5_200] {
            let took = traffic.time_for(ms(at), 10_000).as_millis();
            assert!((70..=160).contains(&took), "{took} ms");
        }
        for (at, time) in [(5_000, 10), (5_100, 100), (5_200, 0)] {
            let bytes = traffic.within(ms(at), ms(time));
            assert!((62 * time..=134 * time).contains(&bytes), "{bytes} in {time} ms");
        }
        assert_eq!(traffic.within(ms(5_000), Duration::MAX), u64::MAX);
        assert_eq!(traffic.time_for(ms(5_000), 0), Duration::ZERO);
        assert_eq!(traffic.time_for(ms(1 << 30), 1), Duration::MAX, "nothing moves any more");
    }
}
