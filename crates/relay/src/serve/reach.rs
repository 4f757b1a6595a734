//! Whether a service can be connected to, as far as was seen: what an agent announces of it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::sync::watch;

/// Failures in a row after which a service counts as out of reach. Fewer may be a restart.
const OUT_AFTER: u32 = 3;

/// How connections to a service went lately.
pub(super) struct Reach {
    failures: AtomicU32,
    /// Counts changes, of all services.
    changed: watch::Sender<u64>,
}

impl Reach {
    /// Nothing is known against it.
    pub(super) fn new(changed: watch::Sender<u64>) -> Self {
        Self { failures: AtomicU32::new(0), changed }
    }

    pub(super) fn is_there(&self) -> bool {
        self.failures.load(Relaxed) < OUT_AFTER
    }

    /// There is a connection, or there is none.
    pub(super) fn saw(&self, connected: bool) {
        let next = |failures: u32| Some(if connected { 0 } else { failures.saturating_add(1) });
        let was = self.failures.fetch_update(Relaxed, Relaxed, next).unwrap_or_default();
        let changes = if connected { was >= OUT_AFTER } else { was.saturating_add(1) == OUT_AFTER };
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
        for (connected, there, changes) in [
            (false, true, 0),
            (false, true, 0),
            (true, true, 0),
            (false, true, 0),
            (false, true, 0),
            (false, false, 1),
            (false, false, 1),
            (true, true, 2),
            (true, true, 2),
        ] {
            reach.saw(connected);
            assert_eq!((reach.is_there(), *changed.borrow()), (there, changes));
        }
    }
}
