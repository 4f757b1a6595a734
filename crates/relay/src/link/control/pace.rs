//! How fast messages come and go.

use std::time::Duration;

use strait_runtime::Clock;

/// Time that one message takes: 20 a second.
const EACH: Duration = Duration::from_millis(50);

/// What may come at once after a pause: a second's worth.
const BURST: Duration = Duration::from_secs(1);

/// When the next message has its turn.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all that went would have gone one by one.
    spent: Duration,
}

impl Pace {
    /// How long the next message has to wait.
    fn due(&self, now: Duration) -> Duration {
        (self.spent + EACH).saturating_sub(now + BURST)
    }

    fn take(&mut self, now: Duration) {
        self.spent = self.spent.max(now) + EACH;
    }

    /// Waits until a message has its turn.
    pub(super) async fn wait(&self, clock: &dyn Clock) {
        let due = self.due(clock.monotonic());
        if !due.is_zero() {
            tokio::time::sleep(due).await;
        }
    }

    /// Counts a message.
    pub(super) fn took(&mut self, clock: &dyn Clock) {
        self.take(clock.monotonic());
    }

    /// Waits for a turn and takes it.
    pub(super) async fn turn(&mut self, clock: &dyn Clock) {
        self.wait(clock).await;
        self.took(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_twenty_messages_through() {
        let mut pace = Pace::default();
        let start = Duration::from_secs(100);
        for _ in 0..20 {
            assert_eq!(pace.due(start), Duration::ZERO);
            pace.take(start);
        }
        assert_eq!(pace.due(start), EACH);
        assert_eq!(pace.due(start + EACH), Duration::ZERO);
        pace.take(start + EACH);
        assert_eq!(pace.due(start + EACH), EACH);
        // A long pause saves up no more than a second.
        let later = start + 100 * BURST;
        let at_once = std::iter::repeat_with(|| {
            let free = pace.due(later).is_zero();
            pace.take(later);
            free
        });
        assert_eq!(at_once.take_while(|free| *free).count(), 20);
    }
}
