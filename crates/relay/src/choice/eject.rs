//! Instances that cannot reach a service while others can.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Failures in a row after which an instance is not chosen for a while.
pub const EJECT_AFTER: u32 = 5;
/// For how long.
pub const EJECT_FOR: Duration = Duration::from_secs(10);

/// How a stream on an instance ended, as far as that tells of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The service was reached.
    Reached,
    /// No connection to it, or no trust in it.
    NotReached,
    /// Nothing of either: refused, cancelled, lost.
    Untold,
}

/// Failures in a row by instance and service. An entry that was reached is dropped, so there
/// are at most as many as instances and services fail.
#[derive(Debug)]
pub struct Ejections<K> {
    failures: HashMap<K, (u32, Duration)>,
}

impl<K: Eq + Hash> Default for Ejections<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Eq + Hash> Ejections<K> {
    /// Notes how a stream ended at `now`. The key is made only where it is needed.
    pub fn ended(&mut self, key: impl FnOnce() -> K, outcome: Outcome, now: Duration) {
        match outcome {
            Outcome::Untold => {}
            Outcome::Reached => {
                if !self.failures.is_empty() {
                    self.failures.remove(&key());
                }
            }
            Outcome::NotReached => {
                let (count, since) = self.failures.entry(key()).or_insert((0, now));
                *count = count.saturating_add(1);
                // Of streams that began before, the ends do not make it longer.
                if *count <= EJECT_AFTER || now.saturating_sub(*since) >= EJECT_FOR {
                    *since = now;
                }
            }
        }
    }

    /// Whether an instance is not to be chosen at `now`. Once its time is over it gets a chance,
    /// and one more failure ends that. The key is made only where any failed.
    #[must_use]
    pub fn is_ejected(&self, key: impl FnOnce() -> K, now: Duration) -> bool {
        !self.failures.is_empty()
            && self.failures.get(&key()).is_some_and(|(count, since)| {
                *count >= EJECT_AFTER && now.saturating_sub(*since) < EJECT_FOR
            })
    }

    /// Forgets what is gone: instances that left, services that are offered no more.
    pub fn retain(&mut self, is_there: impl Fn(&K) -> bool) {
        self.failures.retain(|key, _| is_there(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn five_failures_in_a_row_eject_for_ten_seconds() {
        let mut ejections = Ejections::default();
        let mut fail = |at: u64, outcome| {
            ejections.ended(|| "a", outcome, s(at));
            ejections.is_ejected(|| "a", s(at))
        };
        for at in 0..4 {
            assert!(!fail(at, Outcome::NotReached));
            assert!(!fail(at, Outcome::Untold));
        }
        assert!(!fail(4, Outcome::Reached), "not in a row");
        for at in 5..9 {
            assert!(!fail(at, Outcome::NotReached));
        }
        assert!(fail(9, Outcome::NotReached));
        assert!(fail(15, Outcome::NotReached), "began before");
        assert!(!ejections.is_ejected(|| "a", s(19)) && !ejections.is_ejected(|| "b", s(10)));
        ejections.ended(|| "a", Outcome::NotReached, s(20));
        assert!(ejections.is_ejected(|| "a", s(29)) && !ejections.is_ejected(|| "a", s(30)));
        ejections.ended(|| "a", Outcome::Reached, s(31));
        ejections.ended(|| "a", Outcome::NotReached, s(31));
        assert!(!ejections.is_ejected(|| "a", s(31)));
        ejections.retain(|key| *key != "a");
        assert!(ejections.failures.is_empty());
    }
}
