//! Connections that a listener closed since it had as many as it may: each is counted, and the log
//! has their number once a minute. Pure: time is passed in.

use std::time::Duration;

/// Between two lines of the log.
const EVERY: Duration = Duration::from_secs(60);

/// What was closed and not told yet.
#[derive(Debug, Default)]
pub(super) struct Full {
    told: Option<Duration>,
    closed: u64,
}

impl Full {
    /// One was closed at `now`; how many there are to tell, if it is time to.
    pub(super) fn closed(&mut self, now: Duration) -> Option<u64> {
        self.closed += 1;
        if self.told.is_some_and(|told| now.saturating_sub(told) < EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_told_at_once_and_then_once_a_minute() {
        let mut full = Full::default();
        for (second, told) in
            [(10, Some(1)), (10, None), (69, None), (70, Some(3)), (129, None), (500, Some(2))]
        {
            assert_eq!(full.closed(Duration::from_secs(second)), told, "{second}");
        }
    }
}
