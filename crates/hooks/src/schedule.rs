//! What comes after an attempt: delivered, again later, or dead.
//!
//! Pure. An event is tried until it is delivered, is refused in a way that another try cannot
//! change, or is older than it may get; the number of attempts is not bounded otherwise.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How attempts follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// The wait after the first attempt.
    pub first: Duration,
    /// What each wait is multiplied by for the next; at least 1.
    pub factor: f64,
    /// No wait is longer, whatever a backend asks for.
    pub max: Duration,
    /// An event that was received this long ago gets its last attempt.
    pub max_age: Duration,
    /// The share by which a wait is made shorter or longer at random, from 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            factor: 5.0,
            max: Duration::from_secs(3_600),
            max_age: Duration::from_secs(72 * 3_600),
            jitter: 0.2,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend answered with this status.
    Status(u16),
    /// There was no answer within the attempt's deadline.
    TimedOut,
    /// There was no connection: refused, unreachable, no such name, TLS not agreed.
    Refused,
    /// The connection ended before an answer.
    Broken,
    /// The backend's name stands for an address that is not allowed. What a name stands for
    /// changes, so this is trouble like any other that keeps an event from its backend.
    Forbidden,
    /// The file with the token for the backend's hub could not be used.
    NoToken,
    /// The backend's hub did not take the token.
    TokenRefused,
}

/// Why an event is not tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The backend refused it with this status, of those that stay as they are (RFC 9110
    /// section 15.5).
    Rejected(u16),
    /// The backend pointed elsewhere with this status. Payloads do not follow.
    Redirected(u16),
    /// It was too old after an attempt that ended so.
    TooOld(Outcome),
    /// The log does not hold it whole any more, or no request can be made of it.
    Unusable,
}

/// When a backend asked to be tried again (RFC 9110 section 10.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// After so long.
    In(Duration),
    /// At that time.
    At(Timestamp),
}

impl RetryAfter {
    /// Reads the header's value: seconds, or a date in one of the three forms of RFC 9110
    /// section 5.6.7. Anything else is as if it were not there.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More than fits is as long as can be.
            return Some(Self::In(Duration::from_secs(value.parse().unwrap_or(u64::MAX))));
        }
        let forms =
            ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
        let mut dates = forms.iter().map(|form| jiff::civil::DateTime::strptime(form, value));
        let date = dates.find_map(Result::ok)?;
        let zoned = date.to_zoned(jiff::tz::TimeZone::UTC);
        // The last day of the last year is past the last timestamp.
        Some(Self::At(zoned.map_or(Timestamp::MAX, |zoned| zoned.timestamp())))
    }
}

/// An attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// How many there were, this one included.
    pub count: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What the answer asked for.
    pub retry_after: Option<RetryAfter>,
    /// When the event was received.
    pub received: Timestamp,
}

impl Attempt {
    /// How long the backend asked to be left alone, if it did: not longer than `max`, nor
    /// shorter than `first`, as it cannot ask to be hammered.
    #[must_use]
    pub fn asked(&self, retry: &Retry, now: Timestamp) -> Option<Duration> {
        let wait = match self.retry_after? {
            RetryAfter::In(wait) => wait,
            RetryAfter::At(at) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
        };
        Some(wait.max(retry.first).min(retry.max))
    }
}

/// What becomes of an event at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The backend has it.
    Delivered,
    /// It is tried again, not before this time.
    At(Timestamp),
    /// It is not tried again by itself.
    Dead(Reason),
}

/// Decides after an attempt. `random` is from 0 to 1.
///
/// The last attempt comes when the event is `max_age` old, even if the schedule had it later.
#[must_use]
pub fn next(attempt: &Attempt, retry: &Retry, now: Timestamp, random: f64) -> Next {
    match attempt.outcome {
        Outcome::Status(200..=299) => return Next::Delivered,
        Outcome::Status(status @ 300..=399) => return Next::Dead(Reason::Redirected(status)),
        Outcome::Status(408 | 425 | 429) => {}
        Outcome::Status(status @ 400..=499) => return Next::Dead(Reason::Rejected(status)),
        _ => {}
    }
    let last = later(attempt.received, retry.max_age);
    if now >= last {
        return Next::Dead(Reason::TooOld(attempt.outcome));
    }
    Next::At(later(now, wait(attempt, retry, now, random)).min(last))
}

/// What the backend asked for, or else a wait of the schedule.
fn wait(attempt: &Attempt, retry: &Retry, now: Timestamp, random: f64) -> Duration {
    if let Some(asked) = attempt.asked(retry, now) {
        return asked;
    }
    let exponent = i32::try_from(attempt.count.saturating_sub(1)).unwrap_or(i32::MAX);
    let max = retry.max.as_secs_f64();
    let whole = (retry.first.as_secs_f64() * retry.factor.powi(exponent)).min(max);
    let spread = (random - 0.5).mul_add(2.0 * retry.jitter, 1.0);
    Duration::try_from_secs_f64(whole * spread).map_or(retry.max, |wait| wait.min(retry.max))
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_767_225_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).unwrap()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn attempt(count: u32, outcome: Outcome) -> Attempt {
        Attempt { count, outcome, retry_after: None, received: at(0) }
    }

    #[test]
    fn what_an_answer_leads_to() {
        let again = Next::At(at(11));
        for (outcome, expected) in [
            (Outcome::Status(100), again),
            (Outcome::Status(200), Next::Delivered),
            (Outcome::Status(202), Next::Delivered),
            (Outcome::Status(299), Next::Delivered),
            (Outcome::Status(301), Next::Dead(Reason::Redirected(301))),
            (Outcome::Status(304), Next::Dead(Reason::Redirected(304))),
            (Outcome::Status(308), Next::Dead(Reason::Redirected(308))),
            (Outcome::Status(400), Next::Dead(Reason::Rejected(400))),
            (Outcome::Status(404), Next::Dead(Reason::Rejected(404))),
            (Outcome::Status(408), again),
            (Outcome::Status(410), Next::Dead(Reason::Rejected(410))),
            (Outcome::Status(425), again),
            (Outcome::Status(429), again),
            (Outcome::Status(499), Next::Dead(Reason::Rejected(499))),
            (Outcome::Status(500), again),
            (Outcome::Status(502), again),
            (Outcome::Status(503), again),
            (Outcome::Status(999), again),
            (Outcome::TimedOut, again),
            (Outcome::Refused, again),
            (Outcome::Broken, again),
            (Outcome::Forbidden, again),
            (Outcome::NoToken, again),
            (Outcome::TokenRefused, again),
        ] {
            let got = next(&attempt(1, outcome), &Retry::default(), at(10), 0.5);
            assert_eq!(got, expected, "{outcome:?}");
        }
    }

    #[test]
    fn waits_grow_to_the_longest() {
        for (count, random, wait) in [
            (1, 0.5, 1_000),
            (2, 0.5, 5_000),
            (3, 0.5, 25_000),
            (6, 0.5, 3_125_000),
            (7, 0.5, 3_600_000),
            (u32::MAX, 0.5, 3_600_000),
            (1, 0.0, 800),
            (1, 1.0, 1_200),
            (7, 0.0, 2_880_000),
            (7, 1.0, 3_600_000),
            (0, 0.5, 1_000),
        ] {
            let attempt = attempt(count, Outcome::Status(500));
            let got = super::wait(&attempt, &Retry::default(), at(0), random);
            assert_eq!(got.as_micros().div_ceil(1_000), wait, "{count} {random}");
        }
    }

    #[test]
    fn what_a_backend_asks_for_is_given_within_bounds() {
        for (header, wait) in [
            ("120", 120),
            (" 7\t", 7),
            ("0", 1),
            ("3600", 3_600),
            ("86400", 3_600),
            ("99999999999999999999999", 3_600),
            ("Thu, 01 Jan 2026 00:02:00 GMT", 120),
            ("Thursday, 01-Jan-26 00:02:00 GMT", 120),
            ("Thu Jan  1 00:02:00 2026", 120),
            ("Wed, 31 Dec 2025 23:59:00 GMT", 1),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
        ] {
            let retry_after = RetryAfter::parse(header);
            assert!(retry_after.is_some(), "{header}");
            let attempt = Attempt { retry_after, ..attempt(4, Outcome::Status(503)) };
            let got = super::wait(&attempt, &Retry::default(), at(0), 0.9);
            assert_eq!(got, seconds(wait), "{header}");
        }
        for header in ["", "-1", "1.5", "soon", "Thu, 32 Jan 2026 00:02:00 GMT", "1 0"] {
            assert_eq!(RetryAfter::parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_last_attempt_is_at_the_highest_age() {
        let retry = Retry { max_age: seconds(100), ..Retry::default() };
        let dead = Next::Dead(Reason::TooOld(Outcome::Refused));
        for (now, expected) in [
            (0, Next::At(at(25))),
            (74, Next::At(at(99))),
            (90, Next::At(at(100))),
            (99, Next::At(at(100))),
            (100, dead),
            (1_000, dead),
            // The clock was set back: the event is not older for it.
            (-1_000, Next::At(at(-975))),
        ] {
            assert_eq!(next(&attempt(3, Outcome::Refused), &retry, at(now), 0.5), expected);
        }
        let delivered = next(&attempt(3, Outcome::Status(204)), &retry, at(1_000), 0.5);
        assert_eq!(delivered, Next::Delivered, "late is not lost");
    }

    proptest! {
        #[test]
        fn waits_are_bounded_whatever_the_settings(
            count: u32,
            status in 500_u16..600,
            first in 0_u64..u64::MAX,
            max in 0_u64..1 << 40,
            factor in 1.0_f64..1e300,
            jitter in 0.0_f64..=1.0,
            random in 0.0_f64..=1.0,
            header in "[0-9]{0,30}|[ -~]{0,40}",
        ) {
            let retry = Retry {
                first: seconds(first), factor, jitter,
                max: seconds(max), max_age: Duration::MAX,
            };
            for retry_after in [None, RetryAfter::parse(&header)] {
                let attempt =
                    Attempt { retry_after, ..attempt(count, Outcome::Status(status)) };
                let wait = wait(&attempt, &retry, at(0), random);
                prop_assert!(wait <= retry.max, "{wait:?}");
                prop_assert!(matches!(next(&attempt, &retry, at(0), random), Next::At(_)));
            }
        }

        #[test]
        fn no_header_is_too_strange(header in "\\PC{0,60}") {
            let _ = RetryAfter::parse(&header);
        }
    }
}
