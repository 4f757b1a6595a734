//! What was made lately of something that comes again and again.
//!
//! Two generations bound the memory: what was not used through a whole one is forgotten, and
//! nothing that is in use ever is.

use std::borrow::Borrow;
use std::hash::Hash;
use std::mem;

use parking_lot::Mutex;

use crate::map::Map;

/// Values by what they were made of.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    /// Most entries of a generation.
    limit: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: Map<K, V>,
    old: Map<K, V>,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    /// Keeps twice `limit` at most.
    pub(crate) fn new(limit: usize) -> Self {
        let generations = Generations { young: Map::default(), old: Map::default() };
        Self { limit, generations: Mutex::new(generations) }
    }

    /// What was kept for it.
    pub(crate) fn find<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.generations.lock();
        if let Some(found) = generations.young.get(key) {
            return Some(found.clone());
        }
        let (key, found) = generations.old.remove_entry(key)?;
        generations.keep(key, found.clone(), self.limit);
        Some(found)
    }

    /// Keeps this, in place of what was kept for it.
    pub(crate) fn keep(&self, key: K, value: V) {
        self.generations.lock().keep(key, value, self.limit);
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut generations = self.generations.lock();
        generations.young.clear();
        generations.old.clear();
    }
}

impl<K: Eq + Hash, V> Generations<K, V> {
    fn keep(&mut self, key: K, value: V, limit: usize) {
        if self.young.len() >= limit {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays_and_memory_is_bounded() {
        let recent = Recent::<String, usize>::new(2);
        for (key, known) in [
            ("a", false),
            ("a", true),
            ("bb", false),
            ("ccc", false),
            // Used, it came over from the generation before.
            ("a", true),
            ("dddd", false),
            ("a", true),
            ("bb", false),
        ] {
            let found = recent.find(key);
            assert_eq!(found, known.then_some(key.len()), "{key}");
            if found.is_none() {
                recent.keep(key.to_owned(), key.len());
            }
        }
        recent.clear();
        assert_eq!(recent.find("a"), None);
        for n in 0..100 {
            recent.keep(n.to_string(), n);
        }
        let generations = recent.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 4);
    }

    #[test]
    fn what_is_kept_last_is_found() {
        let recent = Recent::<u8, u8>::new(1);
        recent.keep(1, 1);
        recent.keep(1, 2);
        assert_eq!(recent.find(&1), Some(2));
        recent.keep(2, 3);
        assert_eq!((recent.find(&1), recent.find(&2)), (Some(2), Some(3)));
    }
}
