//! Whether a service can be connected to, as far as was seen: what an agent announces of it.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use tokio::sync::watch;

use crate::link::control::Unreached;

/// Failures in a row after which a service counts as out of reach. Fewer may be a restart.
const OUT_AFTER: u32 = 3;

/// How connections to a service went lately.
pub(super) struct Reach {
    failures: AtomicU32,
    /// What the last of them was.
    why: AtomicU8,
    /// Counts changes, of all services.
    changed: watch::Sender<u64>,
}

impl Reach {
    /// Nothing is known against it.
    pub(super) fn new(changed: watch::Sender<u64>) -> Self {
        Self { failures: AtomicU32::new(0), why: AtomicU8::new(0), changed }
    }

    /// Why the service is out of reach; none where it is not.
    pub(super) fn out(&self) -> Option<Unreached> {
        let why = || Unreached::ALL.get(usize::from(self.why.load(Relaxed))).copied();
        (self.failures.load(Relaxed) >= OUT_AFTER).then(why).flatten()
    }

    /// There is a connection, or there is none and why.
    pub(super) fn saw(&self, failed: Option<Unreached>) {
        let next = |failures: u32| Some(failed.map_or(0, |_| failures.saturating_add(1)));
        let other = failed.is_some_and(|why| self.why.swap(why as u8, Relaxed) != why as u8);
        let was = self.failures.fetch_update(Relaxed, Relaxed, next).unwrap_or_default();
        let changes = match failed {
            None => was >= OUT_AFTER,
            Some(_) => was.saturating_add(1) == OUT_AFTER || (was >= OUT_AFTER && other),
        };
        if changes {
            self.changed.send_modify(|count| *count += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_out_of_reach_after_some_failures_and_back_with_one_connection() {
        let changed = watch::Sender::new(0);
        let reach = Reach::new(changed.clone());
        let (refused, late) = (Some(Unreached::ConnectionRefused), Some(Unreached::TimedOut));
        for (failed, out, changes) in [
            (refused, None, 0),
            (late, None, 0),
            (None, None, 0),
            (refused, None, 0),
            (refused, None, 0),
            (late, late, 1),
            (late, late, 1),
            (refused, refused, 2),
            (None, None, 3),
            (None, None, 3),
        ] {
            reach.saw(failed);
            assert_eq!((reach.out(), *changed.borrow()), (out, changes));
        }
    }
}
