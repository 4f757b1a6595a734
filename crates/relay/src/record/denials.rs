//! Denials, so recorded that nobody fills a disk by being refused.
//!
//! The first ones of each kind are written one by one; of the others their number, once a minute.
//! What is a new kind beyond so many is counted with the other new ones.

use std::collections::HashMap;
use std::sync::Arc;

use super::Recorded;

/// Denials of a kind that are written one by one in a minute.
const FIRST: u64 = 3;

/// Kinds in a minute: of a logical cluster, so that none hides what happens in another, and of
/// all.
const KINDS_MAX: [usize; 2] = [32, 512];

/// Who by which credential, where, for what, and why not.
type Kind = (Arc<str>, Arc<str>, String, Why);

/// A reason, and the rule behind it.
type Why = (&'static str, &'static str);

/// The denials of a minute.
#[derive(Debug, Default)]
pub(super) struct Denials {
    kinds: HashMap<Kind, (Recorded, u64)>,
    by_cluster: HashMap<Arc<str>, usize>,
    /// Those of no kind of their own.
    others: u64,
}

/// What is written when a minute is over.
#[derive(Debug, Default)]
pub(super) struct Counted {
    /// What was denied more often than was written, why, and how often.
    pub(super) kinds: Vec<(Recorded, Why, u64)>,
    /// How many others there were.
    pub(super) others: u64,
}

impl Denials {
    /// Notes a denial; whether it is to be written now.
    pub(super) fn note(&mut self, recorded: &Recorded, why: Why) -> bool {
        let kind = (
            recorded.subjects.credential.clone(),
            recorded.subjects.cluster.clone(),
            recorded.of_agent(),
            why,
        );
        if let Some((_, count)) = self.kinds.get_mut(&kind) {
            *count += 1;
            return *count <= FIRST;
        }
        let [of_cluster, all] = KINDS_MAX;
        let known = self.by_cluster.entry(recorded.subjects.cluster.clone()).or_default();
        if self.kinds.len() >= all || *known >= of_cluster {
            self.others += 1;
            return false;
        }
        *known += 1;
        self.kinds.insert(kind, (recorded.clone(), 1));
        true
    }

    /// Begins a new minute.
    pub(super) fn count(&mut self) -> Counted {
        let Self { kinds, others, .. } = std::mem::take(self);
        let kinds = kinds.into_iter().filter(|(_, (_, count))| *count > FIRST);
        let kinds = kinds.map(|((.., why), (recorded, count))| (recorded, why, count - FIRST));
        Counted { kinds: kinds.collect(), others }
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::super::tests::recorded;
    use super::*;

    #[test]
    fn the_first_are_written_and_the_others_counted() {
        let (mut denials, forbidden) = (Denials::default(), ("Forbidden", ""));
        let (read, other) = (recorded(Method::GET, "t1"), recorded(Method::GET, "t2"));
        let written = (0..100).filter(|_| denials.note(&read, forbidden)).count();
        assert_eq!(written, 3);
        assert!(
            denials.note(&read, ("AgentRule", "allow.paths")) && denials.note(&other, forbidden)
        );
        let counted = denials.count();
        let [(_, why, count)] = &counted.kinds[..] else { panic!("{counted:?}") };
        assert_eq!((*why, *count, counted.others), (forbidden, 97, 0));
        assert!(denials.note(&read, forbidden), "the next minute begins anew");
    }

    #[test]
    fn a_flood_of_kinds_is_bounded_and_hides_nothing_elsewhere() {
        let mut denials = Denials::default();
        let flood = |denials: &mut Denials, cluster: &str| {
            let all = (0..1_000).filter(|number| {
                let credential = format!("t{number}");
                let mut recorded = recorded(Method::GET, &credential);
                Arc::get_mut(&mut recorded.subjects).unwrap().cluster = cluster.into();
                denials.note(&recorded, ("Forbidden", ""))
            });
            all.count()
        };
        assert_eq!(flood(&mut denials, "c1"), 32);
        assert_eq!(flood(&mut denials, "c2"), 32);
        let all: usize = (3..100).map(|at| flood(&mut denials, &format!("c{at}"))).sum();
        assert_eq!(all, 512 - 64);
        assert_eq!(denials.count().others, 99_000 - 512);
    }
}
