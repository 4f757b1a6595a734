//! How long to wait before trying again.

use std::sync::Arc;
use std::time::Duration;

use crate::{Entropy, random_share};

/// Endless waits that double up to a limit, each drawn between half and whole, so that many who
/// failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
    entropy: Arc<dyn Entropy>,
}

impl Backoff {
    /// Starts at `first` and never exceeds `limit`.
    #[must_use]
    pub fn new(first: Duration, limit: Duration, entropy: Arc<dyn Entropy>) -> Self {
        Self { first, limit, next: first.min(limit), entropy }
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.limit);
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let whole = self.next;
        self.next = whole.saturating_mul(2).min(self.limit);
        Some(whole.mul_f64(random_share(&*self.entropy).mul_add(0.5, 0.5)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[derive(Debug)]
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const FIRST: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_millis(450);

    #[test]
    fn doubles_to_the_limit_between_half_and_whole() {
        for (byte, expected) in [(0, [50, 100, 200, 225, 225]), (255, [100, 200, 400, 450, 450])] {
            let waits = Backoff::new(FIRST, LIMIT, Arc::new(Always(byte))).take(5);
            let waits: Vec<_> = waits.map(|wait| wait.as_millis()).collect();
            assert_eq!(waits, expected);
        }
    }

    #[test]
    fn starts_over_when_reset() {
        let mut backoff = Backoff::new(FIRST, LIMIT, Arc::new(Always(255)));
        assert!(backoff.nth(3).is_some_and(|wait| wait == LIMIT));
        backoff.reset();
        assert_eq!(backoff.next(), Some(FIRST));
    }

    #[test]
    fn stays_within_bounds_for_ever() {
        let backoff = Backoff::new(FIRST, LIMIT, Arc::new(SeededEntropy::new(3)));
        for wait in backoff.take(10_000) {
            assert!((FIRST / 2..=LIMIT).contains(&wait), "{wait:?}");
        }
        let huge = Backoff::new(Duration::MAX, Duration::MAX / 4, Arc::new(Always(0)));
        assert_eq!(huge.take(3).count(), 3);
    }
}
