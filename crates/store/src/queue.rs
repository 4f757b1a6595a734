//! What waits to be committed, in fair order between logical clusters.
//!
//! Deficit round robin (Shreedhar and Varghese, 1995): each cluster in turn may take
//! [`QUANTUM_BYTES`] more out of its queue, so a tenant that writes much or large waits behind
//! itself and not before others.

use std::collections::{HashMap, VecDeque};

use strait_types::ClusterName;

/// Transactions that may wait per logical cluster; one more is refused.
pub const WAITING_PER_CLUSTER: usize = 64;

/// Most transactions of a batch.
pub const BATCH_COMMITS: usize = 256;

/// Most bytes of a batch, unless its first transaction alone is larger.
pub const BATCH_BYTES: usize = 4 << 20;

/// What a logical cluster may add to a batch before the next one's turn.
const QUANTUM_BYTES: usize = 4 << 10;

/// A queue per logical cluster.
pub(crate) struct FairQueue<T> {
    clusters: HashMap<ClusterName, Waiting<T>>,
    turns: VecDeque<ClusterName>,
    len: usize,
}

struct Waiting<T> {
    items: VecDeque<(usize, T)>,
    deficit: usize,
}

impl<T> FairQueue<T> {
    pub(crate) fn new() -> Self {
        Self { clusters: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    /// Number of waiting items.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Adds an item of `cost` bytes; gives it back where the cluster has too many waiting.
    pub(crate) fn push(&mut self, cluster: ClusterName, cost: usize, item: T) -> Result<(), T> {
        let waiting = self.clusters.entry(cluster.clone()).or_insert_with(|| {
            self.turns.push_back(cluster);
            Waiting { items: VecDeque::new(), deficit: 0 }
        });
        if waiting.items.len() >= WAITING_PER_CLUSTER {
            return Err(item);
        }
        waiting.items.push_back((cost, item));
        self.len += 1;
        Ok(())
    }

    /// Takes the next batch.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(cluster) = self.turns.pop_front() {
            let waiting = self.clusters.get_mut(&cluster).expect("a turn belongs to a queue");
            waiting.deficit += QUANTUM_BYTES;
            while let Some((cost, _)) = waiting.items.front() {
                let full = batch.len() >= BATCH_COMMITS || bytes + cost > BATCH_BYTES;
                if full && !batch.is_empty() {
                    // The turn that was cut short comes first in the next batch.
                    self.turns.push_front(cluster);
                    self.len -= batch.len();
                    return batch;
                }
                if *cost > waiting.deficit {
                    break;
                }
                let (cost, item) = waiting.items.pop_front().expect("it was looked at above");
                waiting.deficit -= cost;
                bytes += cost;
                batch.push(item);
            }
            if waiting.items.is_empty() {
                self.clusters.remove(&cluster);
            } else {
                self.turns.push_back(cluster);
            }
        }
        self.len -= batch.len();
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> ClusterName {
        ClusterName::new(name).unwrap()
    }

    #[test]
    fn clusters_take_turns() {
        let mut queue = FairQueue::new();
        for item in 0..60 {
            queue.push(cluster("a"), 4096, ("a", item)).unwrap();
        }
        queue.push(cluster("b"), 4096, ("b", 0)).unwrap();
        let batch = queue.take();
        assert_eq!(batch.len(), 61);
        assert_eq!(batch.iter().position(|item| item.0 == "b"), Some(1));
        assert_eq!(queue.len(), 0);
        assert!(queue.take().is_empty());
    }

    #[test]
    fn a_large_item_waits_for_its_credit_and_goes_through() {
        let mut queue = FairQueue::new();
        queue.push(cluster("a"), 1 << 20, "large").unwrap();
        queue.push(cluster("b"), 10, "small").unwrap();
        assert_eq!(queue.take(), ["small", "large"]);
        queue.push(cluster("a"), 2 * BATCH_BYTES, "huge").unwrap();
        queue.push(cluster("b"), 10, "small").unwrap();
        assert_eq!(queue.take(), ["small"]);
        assert_eq!(queue.take(), ["huge"]);
    }

    #[test]
    fn a_batch_is_bounded_and_the_rest_keeps_its_order() {
        let mut queue = FairQueue::new();
        for cluster_number in 0..10 {
            for item in 0..WAITING_PER_CLUSTER {
                queue.push(cluster(&format!("c{cluster_number}")), 1000, item).unwrap();
            }
        }
        assert_eq!(queue.take().len(), BATCH_COMMITS);
        assert_eq!(queue.len(), 10 * WAITING_PER_CLUSTER - BATCH_COMMITS);
        let mut total = BATCH_COMMITS;
        while queue.len() > 0 {
            total += queue.take().len();
        }
        assert_eq!(total, 10 * WAITING_PER_CLUSTER);
    }

    #[test]
    fn one_more_than_may_wait_is_refused() {
        let mut queue = FairQueue::new();
        for item in 0..WAITING_PER_CLUSTER {
            queue.push(cluster("a"), 1, item).unwrap();
        }
        assert_eq!(queue.push(cluster("a"), 1, 99), Err(99));
        queue.push(cluster("b"), 1, 0).unwrap();
        assert_eq!(queue.len(), WAITING_PER_CLUSTER + 1);
    }
}
