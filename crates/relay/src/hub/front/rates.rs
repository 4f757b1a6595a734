//! What is bounded in a time: requests of services that have such a limit, and what a credential
//! begins and gives up.

use std::hash::Hash;
use std::time::Duration;

use crate::map::Map;

/// Keys that are remembered; at the limit those that are free to go on are forgotten first, then all.
const KEPT_MAX: usize = 10_000;

const SECOND: Duration = Duration::from_secs(1);

/// When each of them is even with its limit again (the generic cell rate algorithm, ATM Forum TM 4.0).
#[derive(Debug)]
pub(super) struct Rates<K>(Map<K, Duration>);

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Counts a request at `now`; as many may come at once as in a second.
    ///
    /// # Errors
    /// It is one too many; seconds to wait.
    pub(super) fn take(&mut self, key: K, per_second: u32, now: Duration) -> Result<(), u32> {
        let even = self.even(key, now);
        let next = (*even).max(now) + SECOND / per_second.max(1);
        within(next, now, SECOND)?;
        *even = next;
        Ok(())
    }

    /// Counts at `now` what has happened, whether it was to or not.
    pub(super) fn add(&mut self, key: K, per_second: u32, now: Duration) {
        let even = self.even(key, now);
        *even = (*even).max(now) + SECOND / per_second.max(1);
    }

    /// Takes back one of those that happened, if there are any.
    pub(super) fn forgive(&mut self, key: &K, per_second: u32, now: Duration) {
        if let Some(even) = self.0.get_mut(key) {
            *even = even.saturating_sub(SECOND / per_second.max(1));
            if *even <= now {
                self.0.remove(key);
            }
        }
    }

    /// Whether no more than that has happened, and at once no more than in `burst`.
    ///
    /// # Errors
    /// It has; seconds to wait.
    pub(super) fn check(&self, key: &K, burst: Duration, now: Duration) -> Result<(), u32> {
        self.0.get(key).map_or(Ok(()), |even| within(*even, now, burst))
    }

    fn even(&mut self, key: K, now: Duration) -> &mut Duration {
        if self.0.len() >= KEPT_MAX && !self.0.contains_key(&key) {
            self.0.retain(|_, even| *even > now);
            if self.0.len() >= KEPT_MAX {
                self.0.clear();
            }
        }
        self.0.entry(key).or_insert(now)
    }
}

/// Seconds to wait where `even` is later than `burst` from now.
fn within(even: Duration, now: Duration, burst: Duration) -> Result<(), u32> {
    match even.saturating_sub(now + burst) {
        Duration::ZERO => Ok(()),
        over => Err(u32::try_from(over.as_secs()).unwrap_or(u32::MAX).saturating_add(1)),
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
    fn what_has_happened_is_counted_and_then_waited_for() {
        let mut rates = Rates::default();
        let ms = Duration::from_millis;
        for (at, adds, expected) in [
            (0, 0, Ok(())),
            (0, 10, Ok(())),
            (0, 1, Err(1)),
            (99, 0, Err(1)),
            (100, 0, Ok(())),
            // All at once: as long as they would have taken.
            (100, 35, Err(4)),
            (2_600, 0, Err(2)),
            (3_700, 0, Ok(())),
        ] {
            (0..adds).for_each(|_| rates.add("a", 10, ms(at)));
            assert_eq!(rates.check(&"a", SECOND, ms(at)), expected, "{at} {adds}");
            assert_eq!(rates.check(&"b", SECOND, ms(at)), Ok(()));
        }
    }

    #[test]
    fn what_is_taken_back_is_not_waited_for() {
        let mut rates = Rates::default();
        let ms = Duration::from_millis;
        for (adds, back, expected) in
            [(12, 0, Err(1)), (0, 1, Err(1)), (0, 1, Ok(())), (0, 100, Ok(())), (11, 0, Err(1))]
        {
            (0..adds).for_each(|_| rates.add("a", 10, ms(0)));
            (0..back).for_each(|_| rates.forgive(&"a", 10, ms(0)));
            assert_eq!(rates.check(&"a", SECOND, ms(0)), expected, "{adds} {back}");
        }
        (0..10).for_each(|_| rates.add("a", 10, ms(0)));
        assert_eq!(rates.check(&"a", SECOND, ms(0)), Err(2));
        assert_eq!(rates.check(&"a", 2 * SECOND, ms(0)), Err(1));
        assert_eq!(rates.check(&"a", 2 * SECOND + ms(100), ms(0)), Ok(()));
        rates.add("b", 10, ms(0));
        rates.forgive(&"b", 10, ms(0));
        assert!(!rates.0.contains_key("b"), "who is even is forgotten");
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
