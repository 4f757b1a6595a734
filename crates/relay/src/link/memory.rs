//! What all connections of a process hold that was received and not consumed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strait_tunnel::{Brake, Budget};

use super::Shared;

/// Between two looks while less than half of it is used, and while it is more.
const LOOK: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(5)];

/// A budget for all connections of a process. [`watch`](Self::watch) keeps to it.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    state: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    budget: Budget,
    brake: Brake,
    held: u64,
    links: Vec<Weak<Shared>>,
}

impl Memory {
    /// A budget of `limit` bytes, at least 1 MiB.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        let budget = Budget::new(limit);
        let state = Watched { budget, brake: Brake::Free, held: 0, links: Vec::new() };
        Arc::new(Self { limit, state: Mutex::new(state) })
    }

    /// Bytes that were held at the last look.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.state.lock().held
    }

    /// Its bytes.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn add(&self, link: &Arc<Shared>) {
        let mut state = self.state.lock();
        state.links.retain(|link| link.strong_count() > 0);
        state.links.push(Arc::downgrade(link));
        let brake = state.brake;
        drop(state);
        if brake > Brake::Free {
            link.brake(brake, 0);
        }
    }

    /// Keeps to the budget: brakes connections, and resets the streams of those that hold most.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let used = self.look();
            let wait = LOOK[usize::from(used >= self.limit / 2)];
            tokio::time::sleep(wait).await;
        }
    }

    /// Looks once, and does what is due; the bytes that are held.
    fn look(&self) -> u64 {
        let mut state = self.state.lock();
        state.links.retain(|link| link.strong_count() > 0);
        let links: Vec<_> = state.links.iter().filter_map(Weak::upgrade).collect();
        let mut held: Vec<_> = links
            .iter()
            .map(|link| (link.state.lock().connection.usage().unconsumed, link))
            .collect();
        let used = held.iter().map(|(bytes, _)| bytes).sum();
        let verdict = state.budget.judge(used);
        let changed = std::mem::replace(&mut state.brake, verdict.brake) != verdict.brake;
        state.held = used;
        drop(state);
        if changed {
            for link in &links {
                link.brake(verdict.brake, 0);
            }
        }
        let mut shed = verdict.shed;
        held.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (bytes, link) in held {
            if shed == 0 || bytes == 0 {
                break;
            }
            // The largest brings its share, not everything that it has.
            let share = shed.min(bytes.div_ceil(2));
            shed = shed.saturating_sub(link.brake(verdict.brake, share));
        }
        used
    }
}
