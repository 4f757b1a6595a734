//! The `Date` of answers (RFC 9110 §6.6.1).

use std::cell::RefCell;

use http::HeaderValue;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use strait_runtime::{Clock as _, SystemClock};

thread_local! {
    /// The last one that was said, and of which second.
    static LAST: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The present moment; none where no such field could say it.
pub(super) fn now() -> Option<HeaderValue> {
    let now = SystemClock.now();
    LAST.with_borrow_mut(|last| match last {
        Some((second, said)) if *second == now.as_second() => Some(said.clone()),
        _ => {
            let said = say(now)?;
            *last = Some((now.as_second(), said.clone()));
            Some(said)
        }
    })
}

fn say(moment: Timestamp) -> Option<HeaderValue> {
    let said = DateTimePrinter::new().timestamp_to_rfc9110_string(&moment).ok()?;
    HeaderValue::try_from(said).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_said_as_http_says_it() {
        let moment: Timestamp = "1994-11-06T08:49:37.9Z".parse().unwrap();
        assert_eq!(say(moment).unwrap(), "Sun, 06 Nov 1994 08:49:37 GMT");
        let (first, second) = (now().unwrap(), now().unwrap());
        assert_eq!((first.len(), second.len()), (29, 29));
    }
}
