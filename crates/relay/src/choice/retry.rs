//! Whether a request that failed may be tried again.
//!
//! Only where it is proven that nothing was executed, or where executing it twice changes
//! nothing. That a connection broke proves nothing: what was lost with it may have been the
//! acceptance. What was sent must still be there to be sent again.

use std::time::Duration;

use http::Method;
use strait_tunnel::{Code, End};

use crate::services::is_safe;

/// Most further tries of one request.
pub const RETRIES_MAX: u32 = 3;
/// How long after its beginning a request may be tried again.
pub const RETRY_WITHIN: Duration = Duration::from_secs(2);

/// How a try ended before the head of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Refused, draining, or no such service, with no acceptance before it on that stream: the
    /// order of a connection's frames proves that nothing was executed.
    Unexecuted,
    /// The same behind an acceptance: that breaks the protocol and proves nothing.
    RefusedLate,
    /// The connection died.
    Lost,
    /// Anything else: the agent told what happened.
    Told,
}

impl Ending {
    /// How a stream ended.
    #[must_use]
    pub fn of(end: &End) -> Self {
        match end.code {
            _ if end.unexecuted => Self::Unexecuted,
            Code::Lost => Self::Lost,
            code if code.refuses() => Self::RefusedLate,
            _ => Self::Told,
        }
    }
}

/// A request that failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Its method.
    pub method: &'a Method,
    /// How the try ended.
    pub ending: Ending,
    /// Whether the head of an answer came.
    pub has_head: bool,
    /// Whether all that was sent of the body is still here.
    pub retained: bool,
    /// Whether it became another protocol, or was to.
    pub upgrade: bool,
    /// Whether the service lets safe requests be repeated.
    pub retries_safe: bool,
    /// Tries before this one.
    pub earlier: u32,
    /// Time since the request came.
    pub since: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again, on another instance if there is one.
    Again,
    /// Tell the client.
    Tell,
}

/// Decides.
#[must_use]
pub fn decide(attempt: &Attempt<'_>) -> Decision {
    let may_repeat = match attempt.ending {
        Ending::Unexecuted => true,
        Ending::Lost => attempt.retries_safe && is_safe(attempt.method) && !attempt.upgrade,
        Ending::RefusedLate | Ending::Told => false,
    };
    let in_time = attempt.earlier < RETRIES_MAX && attempt.since < RETRY_WITHIN;
    if may_repeat && in_time && attempt.retained && !attempt.has_head {
        Decision::Again
    } else {
        Decision::Tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn attempt(method: &Method, ending: Ending) -> Attempt<'_> {
        Attempt {
            method,
            ending,
            has_head: false,
            retained: true,
            upgrade: false,
            retries_safe: true,
            earlier: 0,
            since: Duration::ZERO,
        }
    }

    #[test]
    fn no_unsafe_request_is_sent_twice_unless_nothing_was_executed() {
        use Ending::{Lost, RefusedLate, Told, Unexecuted};
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"] {
            let method: Method = method.parse().unwrap();
            let is_safe = ["GET", "HEAD", "OPTIONS"].contains(&method.as_str());
            for (ending, again) in
                [(Unexecuted, true), (Lost, is_safe), (RefusedLate, false), (Told, false)]
            {
                let decision = decide(&attempt(&method, ending));
                assert_eq!(decision == Decision::Again, again, "{method} {ending:?}");
            }
        }
    }

    #[test]
    fn retries_have_bounds() {
        let base = |ending| attempt(&Method::GET, ending);
        let lost = || base(Ending::Lost);
        let refused = || base(Ending::Unexecuted);
        for (attempt, again) in [
            (Attempt { retries_safe: false, ..lost() }, false),
            (Attempt { retries_safe: false, ..refused() }, true),
            (Attempt { upgrade: true, ..lost() }, false),
            (Attempt { upgrade: true, ..refused() }, true),
            (Attempt { has_head: true, ..lost() }, false),
            (Attempt { has_head: true, ..refused() }, false),
            (Attempt { retained: false, ..refused() }, false),
            (Attempt { earlier: RETRIES_MAX - 1, ..refused() }, true),
            (Attempt { earlier: RETRIES_MAX, ..refused() }, false),
            (Attempt { since: RETRY_WITHIN - Duration::from_millis(1), ..lost() }, true),
            (Attempt { since: RETRY_WITHIN, ..refused() }, false),
        ] {
            assert_eq!(decide(&attempt) == Decision::Again, again, "{attempt:?}");
        }
    }
}
