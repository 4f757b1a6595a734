//! Who waits for a turn of a class, in fair order between logical clusters.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use strait_reconcile::ObjectKey;
use strait_types::ClusterName;

/// A queue per logical cluster, each of which has one turn after the other.
#[derive(Debug, Default)]
pub(super) struct Turns {
    clusters: HashMap<ClusterName, VecDeque<Arc<ObjectKey>>>,
    order: VecDeque<ClusterName>,
    len: usize,
}

impl Turns {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, key: Arc<ObjectKey>) {
        let queue = self.clusters.entry(key.cluster.clone()).or_insert_with(|| {
            self.order.push_back(key.cluster.clone());
            VecDeque::new()
        });
        queue.push_back(key);
        self.len += 1;
    }

    /// Who is next.
    pub(super) fn pop(&mut self) -> Option<Arc<ObjectKey>> {
        let cluster = self.order.pop_front()?;
        let queue = self.clusters.get_mut(&cluster)?;
        let key = queue.pop_front();
        if queue.is_empty() {
            self.clusters.remove(&cluster);
        } else {
            self.order.push_back(cluster);
        }
        self.len -= usize::from(key.is_some());
        key
    }
}

#[cfg(test)]
mod tests {
    use strait_types::Uid;

    use super::*;

    fn key(cluster: &str, number: u8) -> Arc<ObjectKey> {
        Arc::new(ObjectKey {
            endpoint: "hub".into(),
            cluster: ClusterName::new(cluster).unwrap(),
            namespace: None,
            name: "same".into(),
            uid: Uid::from_random([number; 16]),
        })
    }

    #[test]
    fn a_cluster_that_asks_much_waits_behind_itself() {
        let mut turns = Turns::default();
        let waiting =
            [key("a", 1), key("a", 2), key("a", 3), key("b", 4), key("c", 5), key("c", 6)];
        waiting.iter().for_each(|key| turns.push(key.clone()));
        assert_eq!(turns.len(), 6);
        let order: Vec<_> = std::iter::from_fn(|| turns.pop()).collect();
        let expected = [0, 3, 4, 1, 5, 2].map(|at: usize| waiting[at].clone());
        assert_eq!(order, expected);
        assert_eq!(turns.len(), 0);
        turns.push(key("a", 7));
        assert_eq!(turns.pop(), Some(key("a", 7)));
    }
}
