//! Whether a backend may be tried.
//!
//! Pure. A backend in trouble is left alone for a while, then tried with one attempt alone. Time
//! is monotonic: a clock that is set does not hold a backend back.

use std::time::Duration;

use jiff::Timestamp;

use crate::schedule::{Attempt, Outcome, Retry};

/// How long a backend in trouble is left alone where it does not say so itself.
pub const OPEN: Duration = Duration::from_secs(5);

/// Attempts in a row that end without an answer before the backend counts as in trouble. One
/// alone may be the event's doing.
pub const TROUBLES_MAX: u32 = 3;

/// What is known of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// It is tried freely. Left for `Open` by trouble.
    Closed {
        /// Attempts in a row that ended without an answer; less than [`TROUBLES_MAX`].
        troubles: u32,
    },
    /// It is left alone. Left for `HalfOpen` by the first who asks when the time has come, for
    /// `Closed` by an attempt from before that ends well, unless the backend asked for the time.
    Open {
        /// Until when, by the monotonic clock.
        until: Duration,
        /// The backend asked to be left alone.
        asked: bool,
    },
    /// One attempt alone is under way. Left for `Closed` when one ends well, for `Open` when
    /// that one does not.
    HalfOpen,
}

/// Whether to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Go ahead, and tell how it ended.
    Granted(Pass),
    /// Not before this time, by the monotonic clock.
    Until(Duration),
    /// Not before the attempt that is under way has ended.
    Wait,
}

/// What an attempt was made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// One of many.
    Usual,
    /// The one that shows whether the backend is well again.
    Probe,
}

/// What an attempt told of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Well,
    /// It did not, or not in time.
    Silent,
    /// It asked to be left alone, for so long if it said so.
    Asked(Option<Duration>),
    /// Nothing: the attempt was given up.
    Unknown,
}

impl Verdict {
    /// What an attempt tells that ended at `now`, by the wall clock. Only 429 and 503 speak of
    /// the backend; any other answer is about the event.
    #[must_use]
    pub fn of(attempt: &Attempt, retry: &Retry, now: Timestamp) -> Self {
        match attempt.outcome {
            Outcome::Status(429 | 503) => Self::Asked(attempt.asked(retry, now)),
            Outcome::Status(_) => Self::Well,
            Outcome::TimedOut
            | Outcome::Refused
            | Outcome::Broken
            | Outcome::Forbidden
            | Outcome::NoToken
            | Outcome::TokenRefused => Self::Silent,
        }
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::Closed { troubles: 0 }
    }
}

impl Breaker {
    /// Asks to make an attempt at `now`.
    #[must_use]
    pub const fn admit(self, now: Duration) -> (Self, Admission) {
        match self {
            Self::Closed { .. } => (self, Admission::Granted(Pass::Usual)),
            Self::Open { until, .. } if now.as_nanos() < until.as_nanos() => {
                (self, Admission::Until(until))
            }
            Self::Open { .. } => (Self::HalfOpen, Admission::Granted(Pass::Probe)),
            Self::HalfOpen => (self, Admission::Wait),
        }
    }

    /// Takes in how an attempt ended at `now`.
    #[must_use]
    pub fn ended(self, pass: Pass, verdict: Verdict, now: Duration) -> Self {
        match (self, verdict) {
            (Self::Open { until, asked: true }, Verdict::Well) if until > now => self,
            (_, Verdict::Well) => Self::default(),
            (_, Verdict::Asked(wait)) => {
                self.left_alone(now.saturating_add(wait.unwrap_or(OPEN)), true)
            }
            (Self::Closed { troubles }, Verdict::Silent) if troubles + 1 < TROUBLES_MAX => {
                Self::Closed { troubles: troubles + 1 }
            }
            (Self::Closed { .. }, Verdict::Silent) => self.left_alone(now + OPEN, false),
            (Self::HalfOpen, Verdict::Silent) if pass == Pass::Probe => {
                self.left_alone(now + OPEN, false)
            }
            // The next who asks is the probe.
            (Self::HalfOpen, Verdict::Unknown) if pass == Pass::Probe => {
                Self::Open { until: now, asked: false }
            }
            (_, Verdict::Silent | Verdict::Unknown) => self,
        }
    }

    /// The backend is known to be there again, as when its agent came back: who asks next is
    /// let through.
    #[must_use]
    pub const fn woken(self, now: Duration) -> Self {
        match self {
            Self::Open { asked, .. } => Self::Open { until: now, asked },
            Self::Closed { .. } | Self::HalfOpen => self,
        }
    }

    fn left_alone(self, until: Duration, asked: bool) -> Self {
        match self {
            Self::Open { until: before, asked: already } => {
                Self::Open { until: before.max(until), asked: asked || already }
            }
            Self::Closed { .. } | Self::HalfOpen => Self::Open { until, asked },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schedule::RetryAfter;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn closed(troubles: u32) -> Breaker {
        Breaker::Closed { troubles }
    }

    const fn open(until: u64) -> Breaker {
        Breaker::Open { until: s(until), asked: false }
    }

    const fn asked(until: u64) -> Breaker {
        Breaker::Open { until: s(until), asked: true }
    }

    #[test]
    fn what_an_attempt_tells_of_the_backend() {
        let (now, ask) = (Timestamp::UNIX_EPOCH, |seconds| Some(RetryAfter::In(s(seconds))));
        for (outcome, retry_after, verdict) in [
            (Outcome::Status(200), None, Verdict::Well),
            (Outcome::Status(404), ask(9), Verdict::Well),
            (Outcome::Status(500), ask(9), Verdict::Well),
            (Outcome::Status(429), ask(9), Verdict::Asked(Some(s(9)))),
            (Outcome::Status(503), ask(0), Verdict::Asked(Some(s(1)))),
            (Outcome::Status(503), ask(9_999), Verdict::Asked(Some(s(3_600)))),
            (Outcome::Status(503), None, Verdict::Asked(None)),
            (Outcome::TimedOut, None, Verdict::Silent),
            (Outcome::Refused, None, Verdict::Silent),
            (Outcome::Broken, None, Verdict::Silent),
            (Outcome::Forbidden, None, Verdict::Silent),
            (Outcome::NoToken, None, Verdict::Silent),
            (Outcome::TokenRefused, None, Verdict::Silent),
        ] {
            let attempt = Attempt { count: 1, outcome, retry_after, received: now };
            assert_eq!(Verdict::of(&attempt, &Retry::default(), now), verdict, "{outcome:?}");
        }
    }

    #[test]
    fn who_may_try() {
        for (before, now, after, admission) in [
            (closed(0), 0, closed(0), Admission::Granted(Pass::Usual)),
            (closed(2), 0, closed(2), Admission::Granted(Pass::Usual)),
            (open(9), 8, open(9), Admission::Until(s(9))),
            (open(9), 9, Breaker::HalfOpen, Admission::Granted(Pass::Probe)),
            (asked(9), 10, Breaker::HalfOpen, Admission::Granted(Pass::Probe)),
            (Breaker::HalfOpen, 99, Breaker::HalfOpen, Admission::Wait),
        ] {
            assert_eq!(before.admit(s(now)), (after, admission), "{before:?} {now}");
        }
    }

    #[test]
    fn what_an_attempt_leads_to() {
        use Pass::{Probe, Usual};
        use Verdict::{Asked, Silent, Unknown, Well};
        for (before, pass, verdict, after) in [
            (closed(2), Usual, Well, closed(0)),
            (closed(0), Usual, Silent, closed(1)),
            (closed(1), Usual, Silent, closed(2)),
            (closed(2), Usual, Silent, open(15)),
            (closed(2), Usual, Unknown, closed(2)),
            (closed(0), Usual, Asked(None), asked(15)),
            (closed(0), Usual, Asked(Some(s(60))), asked(70)),
            (Breaker::HalfOpen, Probe, Well, closed(0)),
            (Breaker::HalfOpen, Probe, Silent, open(15)),
            (Breaker::HalfOpen, Probe, Asked(Some(s(1))), asked(11)),
            (Breaker::HalfOpen, Probe, Unknown, open(10)),
            // Those that were under way before.
            (Breaker::HalfOpen, Usual, Silent, Breaker::HalfOpen),
            (Breaker::HalfOpen, Usual, Unknown, Breaker::HalfOpen),
            (Breaker::HalfOpen, Usual, Well, closed(0)),
            (open(12), Usual, Silent, open(12)),
            (open(12), Usual, Well, closed(0)),
            (asked(12), Usual, Well, asked(12)),
            (asked(9), Usual, Well, closed(0)),
            (asked(99), Usual, Asked(None), asked(99)),
            (open(12), Usual, Asked(Some(s(60))), asked(70)),
        ] {
            let got = before.ended(pass, verdict, s(10));
            assert_eq!(got, after, "{before:?} {pass:?} {verdict:?}");
        }
    }

    #[test]
    fn a_backend_that_is_back_is_tried_at_once() {
        for before in [open(99), asked(99)] {
            let (_, admission) = before.woken(s(10)).admit(s(10));
            assert_eq!(admission, Admission::Granted(Pass::Probe));
        }
        for before in [closed(1), Breaker::HalfOpen] {
            assert_eq!(before.woken(s(10)), before);
        }
    }

    proptest! {
        #[test]
        fn a_backend_is_never_left_alone_for_ever(
            steps in proptest::collection::vec((0_u8..6, 0_u64..8), 1..200),
        ) {
            let mut breaker = Breaker::default();
            let (mut now, mut under_way) = (Duration::ZERO, Vec::new());
            for (step, wait) in steps {
                now += s(wait);
                let verdict = match step {
                    0 | 1 => {
                        let (after, admission) = breaker.admit(now);
                        breaker = after;
                        if let Admission::Granted(pass) = admission {
                            under_way.push(pass);
                        }
                        continue;
                    }
                    2 => Verdict::Well,
                    3 => Verdict::Silent,
                    4 => Verdict::Asked(Some(s(wait))),
                    _ => Verdict::Unknown,
                };
                if let Some(pass) = under_way.pop() {
                    breaker = breaker.ended(pass, verdict, now);
                }
                let probed = under_way.contains(&Pass::Probe);
                prop_assert!(breaker != Breaker::HalfOpen || probed);
            }
            for pass in under_way {
                breaker = breaker.ended(pass, Verdict::Unknown, now);
            }
            let (_, admission) = breaker.admit(now + s(60));
            prop_assert!(matches!(admission, Admission::Granted(_)), "{:?}", breaker);
        }
    }
}
