//! Sets of positions, small where they follow one another.

use std::collections::BTreeMap;

/// Positions as runs that neither touch nor overlap: the first of each, and its last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(BTreeMap<u64, u64>);

impl Runs {
    /// Adds `first` to `last`, both included; nothing if there are none.
    pub(crate) fn insert(&mut self, mut first: u64, mut last: u64) {
        if first > last {
            return;
        }
        // Those that touch or overlap become one with it.
        while let Some((from, to)) = self.0.range(..=last.saturating_add(1)).next_back() {
            let (from, to) = (*from, *to);
            if to.saturating_add(1) < first {
                break;
            }
            self.0.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.0.insert(first, last);
    }

    /// Takes `first` to `last` out, both included.
    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        while let Some((from, to)) = self.0.range(..=last).next_back() {
            let (from, to) = (*from, *to);
            if to < first {
                break;
            }
            self.0.remove(&from);
            if to > last {
                self.0.insert(last + 1, to);
            }
            if from < first {
                self.0.insert(from, first - 1);
            }
        }
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        self.0.range(..=position).next_back().is_some_and(|(_, last)| *last >= position)
    }

    /// The runs, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The runs of what is missing from `first` to `last`, both included, in order.
    pub(crate) fn gaps(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = self.0.range(..first).next_back().map(|(_, to)| to.saturating_add(1));
        let mut at = before.map_or(first, |after| after.max(first));
        let inside = self.iter_from(first);
        inside.chain([(u64::MAX, u64::MAX)]).filter_map(move |(from, to)| {
            let gap = (at, from.saturating_sub(1).min(last));
            at = at.max(to.saturating_add(1));
            (gap.0 <= gap.1).then_some(gap)
        })
    }

    fn iter_from(&self, first: u64) -> impl Iterator<Item = (u64, u64)> {
        self.0.range(first..).map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain set.
        #[test]
        fn a_set_in_few_pieces(
            steps in proptest::collection::vec((any::<bool>(), 1_u64..40, 0_u64..12), 0..60),
            window in (1_u64..45, 0_u64..45),
        ) {
            let (mut runs, mut plain) = (Runs::default(), BTreeSet::new());
            for (insert, first, length) in steps {
                // Length 0 is nothing.
                let last = first + length - 1;
                if insert {
                    runs.insert(first, last);
                    plain.extend(first..=last);
                } else {
                    runs.remove(first, last);
                    plain.retain(|position| !(first..=last).contains(position));
                }
            }
            for position in 0..60 {
                prop_assert_eq!(runs.contains(position), plain.contains(&position));
            }
            let pieces: Vec<_> = runs.iter().collect();
            prop_assert!(pieces.windows(2).all(|two| two[0].1 + 1 < two[1].0), "{:?}", pieces);
            prop_assert_eq!(pieces.len(), runs.len());
            let gaps = runs.gaps(window.0, window.1).flat_map(|(first, last)| first..=last);
            let missing = (window.0..=window.1).filter(|position| !plain.contains(position));
            prop_assert!(gaps.eq(missing));
        }
    }
}
