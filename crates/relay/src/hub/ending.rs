//! The end of a hub: for how long goes on what it carries.

use std::time::Duration;

use crate::record::Kind;

/// Behind the last moment of a stream: for its last bytes to leave.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// What an operator, an agent and a client that waits are told.
pub(super) const TEXT: &str = "the hub is ending";

/// How long streams have once a hub is to end.
///
/// What has not begun to be answered when `grace` is over is cut: whoever waits for it has nothing
/// yet, and can ask again. What goes on then is *long*: an upgraded or a raw stream, or an answer
/// that has begun (a download, events, a watch), half of which is worth nothing. These end by
/// themselves or one after the other between half of the time that is left and `hard`, evenly, so
/// that those who come back do not come all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// For requests to be answered.
    pub grace: Duration,
    /// For all; not less.
    pub hard: Duration,
}

impl Default for Ending {
    /// 10 s and 15 s: while one hub ends, no other takes its place.
    fn default() -> Self {
        Self { grace: Duration::from_secs(10), hard: Duration::from_secs(15) }
    }
}

impl Ending {
    /// How long a stream goes on, at most. Consecutive `number`s are spread as evenly as can be.
    pub(super) fn of(self, is_long: bool, number: u64) -> Duration {
        let left = self.hard.saturating_sub(self.grace);
        if !is_long {
            return self.grace;
        }
        self.grace + left / 2 + (left / 2).mul_f64(share(number))
    }

    /// How long a connection has that carries them: they end before it does.
    pub(super) fn of_connections(self) -> Duration {
        self.hard.max(self.grace) + FAREWELL
    }
}

/// Whether a stream of this kind, whose answer has this status (0: none yet), goes on for long.
pub(super) fn is_long(kind: Kind, status: u16) -> bool {
    kind != Kind::Http || status != 0
}

/// From 0 to 1: the fractional parts of multiples of the golden ratio, of which any number in a row
/// leave gaps of like size (the three-distance theorem).
fn share(number: u64) -> f64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let part = number.wrapping_mul(GOLDEN) >> 32;
    f64::from(u32::try_from(part).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_waits_has_the_grace_and_what_goes_on_has_more() {
        for (grace, hard, is_long, expected) in [
            (30, 600, false, 30..=30),
            (30, 600, true, 315..=600),
            (30, 30, true, 30..=30),
            (30, 10, true, 30..=30),
            (0, 0, false, 0..=0),
            (0, 0, true, 0..=0),
            (0, 100, true, 50..=100),
        ] {
            let ending = Ending { grace: grace * SECOND, hard: hard * SECOND };
            for number in 0..1_000 {
                let has = ending.of(is_long, number);
                let (from, to) = (*expected.start() * SECOND, *expected.end() * SECOND);
                assert!((from..=to).contains(&has), "{ending:?} {is_long} {number}: {has:?}");
                assert!(has < ending.of_connections());
            }
        }
    }

    #[test]
    fn those_that_come_back_come_evenly() {
        let ending = Ending { grace: 30 * SECOND, hard: 600 * SECOND };
        for first in [0, 1 << 20, u64::MAX - 5_000] {
            let mut seconds = [0; 600];
            for number in first..first + 5_000 {
                seconds[usize::try_from(ending.of(true, number).as_secs()).unwrap()] += 1;
            }
            // 5,000 in 285 s.
            let most = seconds.iter().max().unwrap();
            assert!((15..=20).contains(most), "{most} in a second, from {first}");
        }
    }
}
