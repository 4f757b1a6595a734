//! What all connections of a process hold that was received and not consumed.

mod parts;

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use strait_tunnel::Brake;

use super::Shared;
use parts::{Owner, Parts};

/// Between two looks while less than half of it is used, and while it is more.
const LOOK: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(5)];

/// Of a budget that owners share, the part that one may hold: 1 ÷ 4.
const PART: u64 = 4;

/// A budget for all connections of a process. [`watch`](Self::watch) keeps to it.
#[derive(Debug)]
pub struct Memory {
    limit: u64,
    part: u64,
    state: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    parts: Parts,
    held: u64,
    /// Of the owner that holds most.
    most: u64,
    next: Owner,
    owners: HashMap<String, Owner>,
    brakes: HashMap<Owner, Brake>,
    links: Vec<(Owner, Weak<Shared>)>,
}

impl Memory {
    /// A budget of `limit` bytes, at least 1 MiB.
    #[must_use]
    pub fn new(limit: u64) -> Arc<Self> {
        Self::of(limit, limit)
    }

    /// The same, of which no owner holds more than a quarter.
    #[must_use]
    pub fn shared(limit: u64) -> Arc<Self> {
        Self::of(limit, limit / PART)
    }

    fn of(limit: u64, part: u64) -> Arc<Self> {
        let state = Watched {
            parts: Parts::new(limit, part),
            held: 0,
            most: 0,
            next: 0,
            owners: HashMap::new(),
            brakes: HashMap::new(),
            links: Vec::new(),
        };
        Arc::new(Self { limit, part, state: Mutex::new(state) })
    }

    /// Bytes that were held at the last look.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.state.lock().held
    }

    /// The same of the owner that holds most, and what one may hold.
    #[must_use]
    pub fn most(&self) -> [u64; 2] {
        [self.state.lock().most, self.part]
    }

    /// Its bytes.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn add(&self, link: &Arc<Shared>, owner: &str) {
        let mut state = self.state.lock();
        let number = state.number(owner);
        state.links.push((number, Arc::downgrade(link)));
        let brake = state.brakes.get(&number).copied().unwrap_or(Brake::Free);
        if brake > Brake::Free {
            // Under the lock, in the order of a look: one that frees the owner finds this one braked.
            link.brake(brake, 0);
        }
    }

    /// Keeps to the budget: brakes connections, and resets the streams of those that hold most.
    pub async fn watch(self: Arc<Self>) {
        loop {
            let busy = self.look();
            tokio::time::sleep(LOOK[usize::from(busy)]).await;
        }
    }

    /// Looks once, and does what is due; whether to look again soon.
    fn look(&self) -> bool {
        let mut state = self.state.lock();
        let links = state.open();
        let mut held: Vec<_> = links
            .iter()
            .map(|(owner, link)| (link.state.lock().connection.usage().unconsumed, *owner, link))
            .collect();
        let mut of = HashMap::new();
        for (bytes, owner, _) in &held {
            *of.entry(*owner).or_insert(0) += bytes;
        }
        state.held = of.values().sum();
        state.most = of.values().copied().max().unwrap_or(0);
        let busy = state.held >= self.limit / 2 || state.most >= self.part / 2;
        let verdicts = state.parts.judge(&of);
        let brakes = verdicts.iter().map(|(owner, verdict)| (*owner, verdict.brake)).collect();
        let before = std::mem::replace(&mut state.brakes, brakes);
        drop(state);
        held.sort_unstable_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        for (owner, verdict) in verdicts {
            let changed = before.get(&owner).copied().unwrap_or(Brake::Free) != verdict.brake;
            if !changed && verdict.shed == 0 {
                continue;
            }
            let mut shed = verdict.shed;
            for (bytes, _, link) in held.iter().filter(|(_, of, _)| *of == owner) {
                // The largest brings its share, not everything that it has.
                let share = shed.min(bytes.div_ceil(2));
                if changed || share > 0 {
                    shed = shed.saturating_sub(link.brake(verdict.brake, share));
                }
            }
        }
        busy
    }
}

impl Watched {
    /// An owner's number. It has one for as long as it has a connection.
    fn number(&mut self, owner: &str) -> Owner {
        if let Some(number) = self.owners.get(owner) {
            return *number;
        }
        self.next = self.next.wrapping_add(1);
        self.owners.insert(owner.to_owned(), self.next);
        self.next
    }

    /// The connections that there are, with the numbers of their owners. The others are forgotten,
    /// and so is who has none any more.
    fn open(&mut self) -> Vec<(Owner, Arc<Shared>)> {
        let before = self.links.len();
        self.links.retain(|(_, link)| link.strong_count() > 0);
        if self.links.len() < before {
            let there: std::collections::HashSet<_> =
                self.links.iter().map(|(owner, _)| *owner).collect();
            self.owners.retain(|_, owner| there.contains(owner));
        }
        let links = self.links.iter();
        links.filter_map(|(owner, link)| Some((*owner, link.upgrade()?))).collect()
    }
}
