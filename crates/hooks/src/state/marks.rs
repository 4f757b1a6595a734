//! Sets of positions, small where members and others alternate, as with what a filter lets by.

use std::collections::BTreeMap;

/// Positions in words: a bit for each, the lowest for the first.
const BITS: u64 = u32::BITS as u64;

/// Positions, in words that have members: about 24 bytes for each 32 positions of which one is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(BTreeMap<u64, u32>);

impl Marks {
    /// Adds `first` to `last`, both included; nothing if there are none.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        for word in first / BITS..=last / BITS {
            *self.0.entry(word).or_default() |= mask(word, first, last);
        }
    }

    /// Takes `first` to `last` out, both included; nothing if there are none.
    pub(super) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let within = self.0.range_mut(first / BITS..=last / BITS);
        let emptied = within.filter_map(|(word, bits)| {
            *bits &= !mask(*word, first, last);
            (*bits == 0).then_some(*word)
        });
        for word in emptied.collect::<Vec<_>>() {
            self.0.remove(&word);
        }
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        let bits = self.0.get(&(position / BITS)).copied().unwrap_or_default();
        bits & mask(position / BITS, position, position) != 0
    }

    /// The words with a member, in order.
    pub(super) fn words(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().map(|(word, bits)| (*word, *bits))
    }

    /// Adds what a word has.
    pub(super) fn insert_word(&mut self, word: u64, bits: u32) {
        if bits != 0 {
            *self.0.entry(word).or_default() |= bits;
        }
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What of a word is from `first` to `last`, which it has a part of.
fn mask(word: u64, first: u64, last: u64) -> u32 {
    let begin = word * BITS;
    let from = first.saturating_sub(begin);
    let to = last.saturating_sub(begin).min(BITS - 1);
    (u32::MAX << from) & (u32::MAX >> (BITS - 1 - to))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a plain set.
        #[test]
        fn a_set_in_words(
            steps in proptest::collection::vec((any::<bool>(), 1_u64..200, 0_u64..90), 0..60),
        ) {
            let (mut marks, mut plain) = (Marks::default(), BTreeSet::new());
            for (insert, first, length) in steps {
                // Length 0 is nothing.
                let last = first + length - 1;
                if insert {
                    marks.insert(first, last);
                    plain.extend(first..=last);
                } else {
                    marks.remove(first, last);
                    plain.retain(|position| !(first..=last).contains(position));
                }
            }
            for position in 0..300 {
                prop_assert_eq!(marks.contains(position), plain.contains(&position));
            }
            prop_assert!(marks.words().all(|(_, bits)| bits != 0), "{:?}", marks);
            prop_assert_eq!(marks.words().count(), marks.len());
            let mut again = Marks::default();
            marks.words().for_each(|(word, bits)| again.insert_word(word, bits));
            prop_assert_eq!(again, marks);
        }
    }

    #[test]
    fn the_last_positions_are_like_others() {
        let mut marks = Marks::default();
        marks.insert(u64::MAX - 1, u64::MAX);
        assert!(marks.contains(u64::MAX) && !marks.contains(u64::MAX - 2));
        marks.remove(0, u64::MAX);
        assert_eq!(marks, Marks::default());
    }
}
