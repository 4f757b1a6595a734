//! Who is to hold less: the process' memory, and each owner's part of it.
//!
//! An owner (a workspace, at a hub) that nears its part is braked alone. Where all together near
//! the limit, those are that hold as much as the mean or more, and the largest gives back first:
//! who holds little goes on, whatever the others do.

use std::collections::HashMap;

use strait_tunnel::{Brake, Budget, Verdict};

/// Owners, by a number of each.
pub(super) type Owner = u32;

/// The budgets of all and of each.
#[derive(Debug)]
pub(super) struct Parts {
    part: u64,
    whole: Budget,
    of: HashMap<Owner, Budget>,
}

impl Parts {
    /// A budget of `limit` bytes, of which each owner may hold `part`.
    pub(super) fn new(limit: u64, part: u64) -> Self {
        Self { part, whole: Budget::new(limit), of: HashMap::new() }
    }

    /// What is to be done about owners that hold so much; who holds most comes first. Owners that
    /// are not among them are forgotten.
    pub(super) fn judge(&mut self, held: &HashMap<Owner, u64>) -> Vec<(Owner, Verdict)> {
        self.of.retain(|owner, _| held.contains_key(owner));
        let used: u64 = held.values().sum();
        let whole = self.whole.judge(used);
        let holders = held.values().filter(|bytes| **bytes > 0).count();
        let holders = u64::try_from(holders).unwrap_or(u64::MAX);
        let mut owners: Vec<_> = held.iter().map(|(owner, bytes)| (*owner, *bytes)).collect();
        owners.sort_unstable_by_key(|(owner, bytes)| (std::cmp::Reverse(*bytes), *owner));
        let mut shed = whole.shed;
        let verdicts = owners.into_iter().map(|(owner, bytes)| {
            let own = self.of.entry(owner).or_insert_with(|| Budget::new(self.part)).judge(bytes);
            let is_large = bytes > 0 && bytes.saturating_mul(holders) >= used;
            // The largest brings its share, not everything that it has.
            let gives = shed.min(bytes.div_ceil(2));
            shed -= gives;
            let brake = own.brake.max(if is_large { whole.brake } else { Brake::Free });
            (owner, Verdict { brake, shed: own.shed.max(gives) })
        });
        verdicts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Brake::{Free, Full, NoGrowth, NoOpens};

    fn verdicts(parts: &mut Parts, held: &[u64]) -> Vec<(Brake, u64)> {
        let held: HashMap<_, _> = (0..).zip(held.iter().map(|bytes| bytes << 20)).collect();
        let mut verdicts = parts.judge(&held);
        verdicts.sort_unstable_by_key(|(owner, _)| *owner);
        verdicts.into_iter().map(|(_, verdict)| (verdict.brake, verdict.shed >> 20)).collect()
    }

    #[test]
    fn who_holds_most_is_braked_and_who_holds_little_is_not() {
        for (held, expected) in [
            (&[0, 0][..], &[(Free, 0), (Free, 0)][..]),
            (&[74, 1], &[(Free, 0), (Free, 0)]),
            // An owner near its part, of 100 of 400.
            (&[75, 1], &[(NoGrowth, 0), (Free, 0)]),
            (&[90, 1], &[(NoOpens, 0), (Free, 0)]),
            (&[110, 1], &[(Full, 25), (Free, 0)]),
            // All together: 300, 360 and 400 of 400.
            (
                &[70, 70, 70, 70, 10, 10],
                &[(NoGrowth, 0), (NoGrowth, 0), (NoGrowth, 0), (NoGrowth, 0), (Free, 0), (Free, 0)],
            ),
            (
                &[74, 74, 74, 74, 64, 1],
                &[(NoOpens, 0), (NoOpens, 0), (NoOpens, 0), (NoOpens, 0), (NoOpens, 0), (Free, 0)],
            ),
            (
                &[74, 74, 74, 74, 74, 31],
                &[(Full, 37), (Full, 24), (Full, 0), (Full, 0), (Full, 0), (Free, 0)],
            ),
        ] {
            assert_eq!(verdicts(&mut Parts::new(400 << 20, 100 << 20), held), expected, "{held:?}");
        }
    }

    #[test]
    fn one_owner_has_all_where_there_are_no_parts() {
        let mut parts = Parts::new(100 << 20, 100 << 20);
        for (held, expected) in
            [(74, (Free, 0)), (75, (NoGrowth, 0)), (100, (Full, 15)), (86, (Full, 1))]
        {
            assert_eq!(verdicts(&mut parts, &[held]), [expected], "{held}");
        }
    }

    #[test]
    fn an_owner_that_is_gone_begins_anew() {
        let mut parts = Parts::new(400 << 20, 100 << 20);
        assert_eq!(verdicts(&mut parts, &[100]), [(Full, 15)]);
        assert_eq!(verdicts(&mut parts, &[90]), [(Full, 5)], "it is brought down");
        assert!(verdicts(&mut parts, &[]).is_empty());
        assert_eq!(verdicts(&mut parts, &[89]), [(NoGrowth, 0)]);
    }
}
