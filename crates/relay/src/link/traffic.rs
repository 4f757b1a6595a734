//! How much a connection carries, so that small streams do not wait behind a large body where
//! there is another connection. Pure: time is passed in.

use std::time::Duration;

/// After so long what has moved counts half.
const HALF_LIFE: Duration = Duration::from_millis(250);

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
}
