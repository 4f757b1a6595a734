//! When a connection is tried again.

use std::time::Duration;

/// The first wait at most.
const FIRST: Duration = Duration::from_millis(200);

/// Every wait at most.
const LIMIT: Duration = Duration::from_secs(30);

/// A connection that lived so long did not fail.
const WELL: Duration = Duration::from_secs(60);

/// One that lived no longer failed, however it ended.
const BRIEF: Duration = Duration::from_secs(1);

/// Between attempts where the hub, or who answers for it, has to be changed first.
const REFUSED: Duration = Duration::from_secs(60);

/// Why a connection is to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It was lost or could not be made.
    Failed,
    /// The hub goes away and wants its agents to come back over this time.
    Drained(Duration),
    /// The hub takes this agent no more, or is not the hub.
    Refused,
}

impl Cause {
    /// Its name in metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Drained(_) => "drained",
            Self::Refused => "refused",
        }
    }
}

/// The waits between the attempts of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Schedule {
    /// Failures in a row.
    failures: u32,
}

impl Schedule {
    /// How long to wait, after a connection that lived for `lived`, if it was made at all.
    /// `share`, from 0 to 1, is drawn.
    pub(super) fn wait(&mut self, cause: Cause, lived: Duration, share: f64) -> Duration {
        if lived >= WELL {
            self.failures = 0;
        }
        match cause {
            Cause::Failed => self.backoff(share),
            // One that drains what it has just taken does not do well.
            Cause::Drained(spread) if lived < BRIEF => {
                self.backoff(share).max(spread.min(LIMIT).mul_f64(share))
            }
            Cause::Drained(spread) => {
                self.failures = 0;
                spread.min(LIMIT).mul_f64(share)
            }
            Cause::Refused => REFUSED,
        }
    }

    fn backoff(&mut self, share: f64) -> Duration {
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LIMIT);
        self.failures = self.failures.saturating_add(1);
        most.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_follow_from_what_happened() {
        let (none, short, well) = (Duration::ZERO, Duration::from_secs(59), WELL);
        let spread = Cause::Drained(Duration::from_secs(10));
        let at_once = Cause::Drained(none);
        let forever = Cause::Drained(Duration::from_secs(1 << 30));
        // What happened, how long it had lived, the share: the wait in milliseconds.
        let table: &[&[(Cause, Duration, f64, u128)]] = &[
            &[
                (Cause::Failed, none, 1.0, 200),
                (Cause::Failed, none, 1.0, 400),
                (Cause::Failed, none, 0.5, 400),
                (Cause::Failed, none, 0.0, 0),
                (Cause::Failed, none, 1.0, 3_200),
                (Cause::Failed, none, 1.0, 6_400),
                (Cause::Failed, none, 1.0, 12_800),
                (Cause::Failed, none, 1.0, 25_600),
                (Cause::Failed, none, 1.0, 30_000),
                (Cause::Failed, none, 1.0, 30_000),
                (Cause::Failed, short, 1.0, 30_000),
                (Cause::Failed, well, 1.0, 200),
                (Cause::Failed, none, 1.0, 400),
            ],
            &[
                (Cause::Failed, none, 1.0, 200),
                (spread, short, 1.0, 10_000),
                (spread, short, 0.25, 2_500),
                (forever, short, 1.0, 30_000),
                (Cause::Failed, none, 1.0, 200),
            ],
            &[
                (at_once, none, 1.0, 200),
                (at_once, none, 1.0, 400),
                (spread, none, 1.0, 10_000),
                (at_once, none, 1.0, 1_600),
                (at_once, BRIEF, 1.0, 0),
                (at_once, none, 1.0, 200),
            ],
            &[
                (Cause::Refused, none, 0.0, 60_000),
                (Cause::Refused, well, 1.0, 60_000),
                (Cause::Failed, none, 1.0, 200),
            ],
        ];
        for steps in table {
            let mut schedule = Schedule::default();
            for (step, (cause, lived, share, expected)) in steps.iter().enumerate() {
                let wait = schedule.wait(*cause, *lived, *share);
                assert_eq!(wait.as_millis(), *expected, "step {step} {cause:?}");
            }
        }
        let mut schedule = Schedule { failures: u32::MAX };
        assert_eq!(schedule.wait(Cause::Failed, none, 1.0), LIMIT);
    }
}
