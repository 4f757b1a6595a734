//! Time, passed in.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

/// Wall time for people and certificates, monotonic time for intervals.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Wall time, UTC. May jump.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment, suspended machine included (`CLOCK_BOOTTIME`). Never goes
    /// back while the machine runs.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanos)
    }
}

/// A clock that moves when told to.
#[derive(Debug)]
pub struct ManualClock(Mutex<(Timestamp, Duration)>);

impl ManualClock {
    /// Starts at `now` and at monotonic zero.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Moves both readings on.
    ///
    /// # Panics
    /// If the wall time would leave jiff's range (year 9999).
    pub fn advance(&self, by: Duration) {
        let mut time = self.0.lock();
        time.0 = time.0.checked_add(by).expect("tests stay in this millennium");
        time.1 += by;
    }

    /// Sets the wall time alone, as an operator or NTP may.
    pub fn set_wall(&self, now: Timestamp) {
        self.0.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_does_not_go_back() {
        let before = SystemClock.monotonic();
        assert!(before > Duration::ZERO);
        assert!(SystemClock.monotonic() >= before);
        // After 2020: the wall clock is not stuck at the epoch.
        assert!(SystemClock.now().as_second() > 1_577_836_800);
    }

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let start = Timestamp::from_second(1_000).unwrap();
        let clock = ManualClock::new(start);
        assert_eq!((clock.now(), clock.monotonic()), (start, Duration::ZERO));

        clock.advance(Duration::from_millis(1_500));
        assert_eq!(clock.now().as_millisecond(), 1_001_500);
        assert_eq!(clock.monotonic(), Duration::from_millis(1_500));
    }

    #[test]
    fn setting_the_wall_leaves_intervals_alone() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
        clock.advance(Duration::from_secs(9));
        clock.set_wall(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), Duration::from_secs(9));
    }
}
