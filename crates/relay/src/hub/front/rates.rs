//! Requests in a time, of services that have such a limit.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Services whose requests are remembered; at the limit those that are free to go on are forgotten
/// first, then all.
const KEPT_MAX: usize = 10_000;

/// A service may be asked so often at once as in a second.
const BURST: Duration = Duration::from_secs(1);

/// When each of them is even with its limit again (the generic cell rate algorithm, ATM Forum TM 4.0).
#[derive(Debug)]
pub(super) struct Rates<K>(HashMap<K, Duration>);

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Counts a request at `now`.
    ///
    /// # Errors
    /// It is one too many; seconds to wait.
    pub(super) fn take(&mut self, key: K, per_second: u32, now: Duration) -> Result<(), u32> {
        if self.0.len() >= KEPT_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, even| *even > now);
            if self.0.len() >= KEPT_MAX {
                self.0.clear();
            }
        }
        let even = self.0.entry(key).or_insert(now);
        let next = (*even).max(now) + BURST / per_second.max(1);
        let over = next.saturating_sub(now + BURST);
        if over > Duration::ZERO {
            return Err(u32::try_from(over.as_secs()).unwrap_or(u32::MAX).saturating_add(1));
        }
        *even = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_second_and_then_as_fast_as_they_may_come() {
        let mut rates = Rates::default();
        let ms = Duration::from_millis;
        for (at, key, expected) in [
            (0, "a", Ok(())),
            (0, "a", Ok(())),
            (0, "a", Err(1)),
            (0, "b", Ok(())),
            (499, "a", Err(1)),
            (500, "a", Ok(())),
            (501, "a", Err(1)),
            (9_000, "a", Ok(())),
            (9_000, "a", Ok(())),
            (9_000, "a", Err(1)),
        ] {
            assert_eq!(rates.take(key, 2, ms(at)), expected, "{key} {at}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut rates = Rates::default();
        for key in 0..=KEPT_MAX {
            assert_eq!(rates.take(key, 1, Duration::ZERO), Ok(()));
        }
        assert!(rates.0.len() <= KEPT_MAX);
    }
}
