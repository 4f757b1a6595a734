//! What time it is at the server.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use parking_lot::Mutex;
use strait_runtime::Clock;

/// `Date` has whole seconds, and an answer takes its time.
const RESOLUTION: Duration = Duration::from_secs(2);

/// The server's wall clock, estimated from the `Date` of its answers and carried on by this
/// machine's monotonic clock. Deadlines that count from a time that the server wrote are
/// compared with this, so that neither a wrong local clock nor one that jumps moves them.
///
/// Good to about a second, which is what `Date` tells: a time that is up to that much behind
/// the estimate does not move it, so that it does not go back with every answer. Until the first
/// answer it is the local wall clock.
#[derive(Clone, Debug)]
pub struct HubTime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    date: Timestamp,
    at: Duration,
}

impl Seen {
    fn carried_to(self, monotonic: Duration) -> Option<Timestamp> {
        self.date.checked_add(monotonic.saturating_sub(self.at)).ok()
    }
}

impl HubTime {
    /// Knows nothing of the server yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, seen: Mutex::new(None) }))
    }

    /// Takes a `Date` header (RFC 9110 §5.6.7) of an answer that just came; what cannot be read
    /// is passed over.
    pub fn learn(&self, date: &[u8]) {
        let parsed = std::str::from_utf8(date).ok();
        let parsed = parsed.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
        let Some(date) = parsed else { return };
        let at = self.0.clock.monotonic();
        let mut seen = self.0.seen.lock();
        let behind = seen.and_then(|seen| seen.carried_to(at)).map(|now| now.duration_since(date));
        let known = behind
            .is_some_and(|behind| !behind.is_negative() && behind.unsigned_abs() < RESOLUTION);
        if !known {
            *seen = Some(Seen { date, at });
        }
    }

    /// The estimate.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let seen = *self.0.seen.lock();
        let estimated = seen.and_then(|seen| seen.carried_to(self.0.clock.monotonic()));
        estimated.unwrap_or_else(|| self.0.clock.now())
    }
}

#[cfg(test)]
mod tests {
    use strait_runtime::ManualClock;

    use super::*;

    #[test]
    fn the_servers_clock_goes_on_whatever_ours_does() {
        let ours = Timestamp::from_second(5_000).unwrap();
        let clock = Arc::new(ManualClock::new(ours));
        let time = HubTime::new(clock.clone());
        assert_eq!(time.now(), ours);

        time.learn(b"Sun, 06 Nov 1994 08:49:37 GMT");
        clock.advance(Duration::from_secs(10));
        clock.set_wall(Timestamp::UNIX_EPOCH);
        assert_eq!(time.now().to_string(), "1994-11-06T08:49:47Z");

        time.learn(b"yesterday");
        time.learn(b"\xff");
        time.learn(b"Sun, 06 Nov 1994 08:49:46 GMT");
        assert_eq!(time.now().to_string(), "1994-11-06T08:49:47Z");
        time.learn(b"Sun, 06 Nov 1994 08:49:45 GMT");
        assert_eq!(time.now().to_string(), "1994-11-06T08:49:45Z");
        time.learn(b"Sun, 06 Nov 1994 08:49:46 GMT");
        assert_eq!(time.now().to_string(), "1994-11-06T08:49:46Z");
    }
}
