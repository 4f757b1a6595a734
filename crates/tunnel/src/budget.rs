//! The process' memory for bytes that were received and not consumed, over all connections.
//!
//! At 75 % no window grows, at 90 % no stream is taken, at 100 % nothing is granted and the
//! heaviest streams are to be reset until 85 % are reached.

use crate::connection::Brake;

/// A budget, and whether it is being brought down.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    limit: u64,
    shedding: bool,
}

/// What is to be done at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// For every connection.
    pub brake: Brake,
    /// Bytes that are to be freed by resetting streams.
    pub shed: u64,
}

impl Budget {
    /// A budget of `limit` bytes, at least 1 MiB.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { limit: limit.max(1 << 20), shedding: false }
    }

    /// What `used` bytes mean: the sum over all connections of what is not consumed.
    pub fn judge(&mut self, used: u64) -> Verdict {
        let part = |percent: u64| self.limit / 100 * percent;
        self.shedding = used >= self.limit || self.shedding && used > part(85);
        let brake = match used {
            _ if self.shedding => Brake::Full,
            used if used >= part(90) => Brake::NoOpens,
            used if used >= part(75) => Brake::NoGrowth,
            _ => Brake::Free,
        };
        let shed = if self.shedding { used.saturating_sub(part(85)) } else { 0 };
        Verdict { brake, shed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_brakes_in_steps_and_lets_go_late() {
        let mut budget = Budget::new(100 << 20);
        let steps = [
            (0, Brake::Free, 0),
            (74, Brake::Free, 0),
            (75, Brake::NoGrowth, 0),
            (90, Brake::NoOpens, 0),
            (99, Brake::NoOpens, 0),
            (100, Brake::Full, 15),
            (120, Brake::Full, 35),
            (86, Brake::Full, 1),
            (85, Brake::NoGrowth, 0),
            (99, Brake::NoOpens, 0),
            (74, Brake::Free, 0),
        ];
        for (used, brake, shed) in steps {
            let expected = Verdict { brake, shed: shed << 20 };
            assert_eq!(budget.judge(used << 20), expected, "{used}");
        }
    }
}
