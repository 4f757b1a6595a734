//! What happens again and again, so recorded that nobody fills a disk by it.
//!
//! The first ones of each kind are written one by one; of the others their number, once a minute.
//! What is a new kind beyond so many is counted with the other new ones.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// What is written, and how much is remembered of a minute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How often something of a kind is written in a minute.
    pub(super) first: u64,
    /// Kinds in a minute: of a logical cluster, so that none hides what happens in another, and of
    /// all.
    pub(super) kinds: [usize; 2],
}

/// What happened in a minute. `V`: what is written of a kind.
#[derive(Debug)]
pub(super) struct Few<K, V> {
    limits: Limits,
    kinds: HashMap<K, (V, u64)>,
    by_cluster: HashMap<Arc<str>, usize>,
    /// What is of no kind of its own.
    others: u64,
}

/// What is written when a minute is over.
#[derive(Debug)]
pub(super) struct Counted<K, V> {
    /// What happened more often than was written, and how often.
    pub(super) kinds: Vec<(K, V, u64)>,
    /// How many others there were.
    pub(super) others: u64,
}

impl<K: Eq + Hash, V> Few<K, V> {
    /// Nothing happened yet.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, kinds: HashMap::new(), by_cluster: HashMap::new(), others: 0 }
    }

    /// Notes that something happens in a cluster; whether it is to be written now.
    pub(super) fn note(&mut self, kind: K, cluster: &Arc<str>, value: impl FnOnce() -> V) -> bool {
        if let Some((_, count)) = self.kinds.get_mut(&kind) {
            *count += 1;
            return *count <= self.limits.first;
        }
        let [of_cluster, all] = self.limits.kinds;
        // Who is refused may say which cluster it is.
        if self.kinds.len() >= all {
            self.others += 1;
            return false;
        }
        let known = self.by_cluster.entry(cluster.clone()).or_default();
        if *known >= of_cluster {
            self.others += 1;
            return false;
        }
        *known += 1;
        self.kinds.insert(kind, (value(), 1));
        true
    }

    /// Begins a new minute.
    pub(super) fn count(&mut self) -> Counted<K, V> {
        let Self { kinds, others, .. } = std::mem::replace(self, Self::new(self.limits));
        let first = self.limits.first;
        let kinds = kinds.into_iter().filter(|(_, (_, count))| *count > first);
        let kinds = kinds.map(|(kind, (value, count))| (kind, value, count - first));
        Counted { kinds: kinds.collect(), others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Kind = (u32, &'static str);

    fn few() -> Few<Kind, ()> {
        Few::new(Limits { first: 3, kinds: [32, 512] })
    }

    #[test]
    fn the_first_are_written_and_the_others_counted() {
        let (mut few, cluster) = (few(), Arc::from("c1"));
        let mut note = |kind| few.note(kind, &cluster, || ());
        let often = (1, "Forbidden");
        assert_eq!((0..100).filter(|_| note(often)).count(), 3);
        assert!(note((1, "AgentRule")) && note((2, "Forbidden")));
        let counted = few.count();
        assert_eq!((&counted.kinds[..], counted.others), (&[(often, (), 97)][..], 0));
        assert!(few.note(often, &cluster, || ()), "the next minute begins anew");
    }

    #[test]
    fn a_flood_of_kinds_is_bounded_and_hides_nothing_elsewhere() {
        let mut few = few();
        let flood = |few: &mut Few<Kind, ()>, of: u32, times: u32| {
            let cluster: Arc<str> = format!("c{of}").into();
            (0..times).filter(|at| few.note((of * 1_000 + at, ""), &cluster, || ())).count()
        };
        assert_eq!((flood(&mut few, 1, 1_000), flood(&mut few, 2, 1_000)), (32, 32));
        let all: usize = (3..100).map(|of| flood(&mut few, of, 1_000)).sum();
        assert_eq!(all, 512 - 64);
        let more: usize = (100..2_100).map(|of| flood(&mut few, of, 1)).sum();
        let kept = few.by_cluster.len();
        assert_eq!((more, kept), (0, 16), "nothing is kept of clusters without kinds");
        assert_eq!(few.count().others, 99_000 + 2_000 - 512);
    }
}
