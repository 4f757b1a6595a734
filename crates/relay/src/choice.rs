//! Which instance of an agent serves a stream, and whether a request may be tried again.
//!
//! Instances of one Agent are equal where they announce a service with equal settings. The choice
//! goes by affinity, else to the less loaded of two that are picked at random: the best of all
//! would get every request of the moment. Nothing is stored for affinity: it follows from names.

mod eject;
mod retry;

use sha2::{Digest, Sha256};
use strait_runtime::Entropy;

pub use eject::{EJECT_AFTER, EJECT_FOR, Ejections, Outcome};
pub use retry::{Attempt, Decision, Ending, RETRIES_MAX, RETRY_WITHIN, decide};

/// An instance of an agent that announces a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The installation's identifier.
    pub instance: &'a str,
    /// The hash of the service's settings there.
    pub settings: &'a str,
    /// Grows with each configuration that the hub learns: the newest has the highest.
    pub announced: u64,
    /// Whether it takes new streams: connected, ready, not draining.
    pub ready: bool,
    /// Whether it is connected to this hub.
    pub here: bool,
    /// Whether it failed too often lately, says that it does not reach the service, or has no room
    /// for the service's streams now.
    pub avoided: bool,
    /// Streams that are open on it.
    pub open: u32,
    /// Its share; 0 counts as 1.
    pub weight: u32,
}

impl Candidate<'_> {
    /// Another connection of the same instance.
    pub(crate) fn join(&mut self, other: Self) {
        let own = self.ready.then_some(self.announced);
        let (new, old) = if own < other.ready.then_some(other.announced) {
            let old = std::mem::replace(self, other);
            (self, old)
        } else {
            (self, other)
        };
        // What takes no new streams says nothing of what does.
        if old.ready {
            new.avoided &= old.avoided;
            new.open = new.open.saturating_add(old.open);
        }
    }
}

/// A choice, and what was seen on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which of the candidates.
    pub index: usize,
    /// Whether instances announce the service differently: `Degraded`.
    pub disagree: bool,
}

/// Chooses among candidates, without those in `tried`. With `affinity` the same text gets the
/// same instance as long as that one is there.
#[must_use]
pub fn choose(
    candidates: &[Candidate<'_>],
    affinity: Option<&str>,
    tried: &[impl AsRef<str>],
    entropy: &dyn Entropy,
) -> Option<Choice> {
    let all = || candidates.iter().enumerate();
    let newest = all().filter(|(_, one)| one.ready).max_by_key(|(_, one)| one.announced)?.1;
    let disagree = all().any(|(_, one)| one.ready && one.settings != newest.settings);
    let mut fit: Vec<usize> = all()
        .filter(|(_, one)| one.ready && one.settings == newest.settings)
        .filter(|(_, one)| !tried.iter().any(|own| own.as_ref() == one.instance))
        .map(|(index, _)| index)
        .collect();
    // Who failed or is full, and who is a hub away, come in where nobody else is left.
    prefer(&mut fit, |index| !candidates[index].avoided);
    prefer(&mut fit, |index| candidates[index].here);
    let index = match affinity {
        Some(key) => fit.iter().copied().max_by_key(|&at| {
            let one = &candidates[at];
            rendezvous(key, one.instance)
        })?,
        None => less_loaded(candidates, &fit, entropy)?,
    };
    Some(Choice { index, disagree })
}

/// Keeps those that are preferred, if there are any.
fn prefer(fit: &mut Vec<usize>, is_preferred: impl Fn(usize) -> bool) {
    if fit.iter().any(|index| is_preferred(*index)) {
        fit.retain(|index| is_preferred(*index));
    }
}

/// The highest of these wins: where an instance goes, only what it served goes elsewhere.
fn rendezvous(key: &str, instance: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(key.as_bytes());
    hash.update(instance.as_bytes());
    hash.finalize().into()
}

fn less_loaded(
    candidates: &[Candidate<'_>],
    fit: &[usize],
    entropy: &dyn Entropy,
) -> Option<usize> {
    let (first, second) = two_of(fit.len(), entropy)?;
    let (one, other) = (fit[first], fit[second]);
    let is_less = |a: &Candidate<'_>, b: &Candidate<'_>| {
        // a.open / a.weight < b.open / b.weight
        let scaled = |own: &Candidate<'_>, by: &Candidate<'_>| {
            u64::from(own.open) * u64::from(by.weight.max(1))
        };
        scaled(a, b) <= scaled(b, a)
    };
    Some(if is_less(&candidates[one], &candidates[other]) { one } else { other })
}

/// Two different numbers below `count`, at random; the same where there is one alone.
fn two_of(count: usize, entropy: &dyn Entropy) -> Option<(usize, usize)> {
    if count < 2 {
        return (count == 1).then_some((0, 0));
    }
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    let [a, b, c, d, e, f, g, h] = bytes;
    let draw = |bytes: [u8; 4], below: usize| {
        let below = u64::try_from(below).unwrap_or(u64::MAX);
        let drawn = (u64::from(u32::from_be_bytes(bytes)) * below) >> 32;
        usize::try_from(drawn).unwrap_or(0)
    };
    let first = draw([a, b, c, d], count);
    let second = draw([e, f, g, h], count - 1);
    Some((first, if second >= first { second + 1 } else { second }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use strait_runtime::SeededEntropy;

    use super::*;

    const NONE: &[&str] = &[];

    fn candidate(instance: &str) -> Candidate<'_> {
        Candidate {
            instance,
            settings: "s1",
            announced: 1,
            ready: true,
            here: true,
            avoided: false,
            open: 0,
            weight: 1,
        }
    }

    #[test]
    fn an_instance_is_one_however_many_connections_it_has() {
        let one = |open, avoided| Candidate { open, avoided, ..candidate("a") };
        let newer = Candidate { settings: "s2", announced: 2, ..one(4, false) };
        let ends = Candidate { ready: false, ..newer.clone() };
        for (connections, expected) in [
            (vec![one(1, true)], one(1, true)),
            (vec![one(1, true), one(2, false), one(3, true)], one(6, false)),
            (vec![one(1, true), one(2, true)], one(3, true)),
            (vec![one(1, false), newer.clone()], Candidate { open: 5, ..newer.clone() }),
            (vec![newer.clone(), one(1, false)], Candidate { open: 5, ..newer.clone() }),
            // What takes no new streams does not count.
            (vec![one(1, true), ends.clone()], one(1, true)),
            (vec![ends.clone(), one(1, true)], one(1, true)),
            (vec![ends.clone(), ends.clone()], ends.clone()),
        ] {
            let mut all = connections.iter().cloned();
            let mut joined = all.next().unwrap();
            all.for_each(|other| joined.join(other));
            assert_eq!(joined, expected, "{connections:?}");
        }
    }

    fn chosen(candidates: &[Candidate<'_>], tried: &[&str], seed: u64) -> Option<usize> {
        choose(candidates, None, tried, &SeededEntropy::new(seed)).map(|choice| choice.index)
    }

    /// Which are chosen over many seeds.
    fn over_seeds(candidates: &[Candidate<'_>], tried: &[&str]) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for index in (0..1000).filter_map(|seed| chosen(candidates, tried, seed)) {
            *counts.entry(index).or_default() += 1;
        }
        counts
    }

    #[test]
    fn who_can_serve() {
        let (a, b) = (candidate("a"), candidate("b"));
        let not_ready = Candidate { ready: false, ..b.clone() };
        let ejected = Candidate { avoided: true, ..b.clone() };
        let there = Candidate { here: false, ..b.clone() };
        for (candidates, tried, expected) in [
            (vec![], &[][..], &[][..]),
            (vec![a.clone()], &[], &[0]),
            (vec![a.clone(), b.clone()], &[], &[0, 1]),
            (vec![a.clone(), b.clone()], &["a"], &[1]),
            (vec![a.clone(), b.clone()], &["a", "b"], &[]),
            (vec![a.clone(), not_ready.clone()], &[], &[0]),
            (vec![not_ready], &[], &[]),
            (vec![a.clone(), ejected.clone()], &[], &[0]),
            (vec![a.clone(), ejected.clone()], &["a"], &[1]),
            (vec![ejected], &[], &[0]),
            (vec![a.clone(), there.clone()], &[], &[0]),
            (vec![a.clone(), there.clone()], &["a"], &[1]),
            (vec![Candidate { avoided: true, ..a.clone() }, there], &[], &[1]),
        ] {
            let all: Vec<_> = over_seeds(&candidates, tried).into_keys().collect();
            assert_eq!(all, expected, "{candidates:?} without {tried:?}");
        }
    }

    #[test]
    fn the_less_loaded_of_two_is_chosen_by_its_weight() {
        let names = ["a", "b", "c"];
        let loaded = |loads: [(u32, u32); 3]| -> Vec<Candidate<'static>> {
            let of = |(name, (open, weight))| Candidate { open, weight, ..candidate(name) };
            names.into_iter().zip(loads).map(of).collect()
        };
        // The most loaded of three is never the lesser of two.
        let counts = over_seeds(&loaded([(5, 1), (9, 1), (5, 1)]), &[]);
        assert!(!counts.contains_key(&1) && counts.len() == 2, "{counts:?}");
        let counts = over_seeds(&loaded([(10, 4), (9, 3), (8, 2)]), &[]);
        assert!(!counts.contains_key(&2), "{counts:?}");
        let counts = over_seeds(&loaded([(0, 0), (0, 0), (0, 0)]), &[]);
        assert!(counts.values().all(|count| (250..=420).contains(count)), "{counts:?}");
    }

    #[test]
    fn instances_that_disagree_leave_it_to_the_newest_configuration() {
        let old = candidate("a");
        let new = Candidate { settings: "s2", announced: 2, ..candidate("b") };
        let choice = choose(&[old.clone(), new.clone()], None, NONE, &SeededEntropy::new(1));
        assert_eq!(choice, Some(Choice { index: 1, disagree: true }));
        assert_eq!(chosen(&[old.clone(), new.clone()], &["b"], 1), None);
        let draining = Candidate { ready: false, ..new };
        let choice = choose(&[old, draining], None, NONE, &SeededEntropy::new(1));
        assert_eq!(choice, Some(Choice { index: 0, disagree: false }));
    }

    #[test]
    fn affinity_holds_and_moves_only_what_has_to_move() {
        let names: Vec<String> = (0..8).map(|n| format!("instance-{n}")).collect();
        let all: Vec<Candidate<'_>> = names.iter().map(|name| candidate(name)).collect();
        let at = |candidates: &[Candidate<'_>], key: &str| {
            let choice = choose(candidates, Some(key), NONE, &SeededEntropy::new(7)).unwrap();
            candidates[choice.index].instance.to_owned()
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for key in (0..800).map(|n| format!("client-{n}")) {
            let home = at(&all, &key);
            *counts.entry(home.clone()).or_default() += 1;
            let mut fewer = all.clone();
            fewer[3].ready = false;
            let now = at(&fewer, &key);
            assert_eq!(now == home, home != names[3], "{key}");
            fewer.reverse();
            assert_eq!(at(&fewer, &key), now, "the order does not matter");
        }
        assert!(counts.values().all(|count| (60..=145).contains(count)), "{counts:?}");
    }
}
