//! Which answers may be silent for as long as nothing happens. Pure.

use http::{Method, StatusCode};
use strait_net::fields::names::{CONTENT_LENGTH, CONTENT_TYPE};
use strait_net::fields::{Fields, text};

/// What the answer to a request for server-sent events is.
const EVENTS: &str = "text/event-stream";

/// Whether a request is a watch of a Kubernetes API: `watch` has any value but these two
/// (k8s.io/apimachinery, `Convert_Slice_string_To_bool`).
pub(super) fn is_watch(method: &Method, query: Option<&str>) -> bool {
    let options = query.unwrap_or_default().split('&');
    let mut options = options.map(|option| option.split_once('=').unwrap_or((option, "")));
    let watch = options.find(|(name, _)| *name == "watch");
    method == Method::GET
        && watch.is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
}

/// Whether events follow this head of an answer, to a watch or not. A body of a length does not
/// wait for anything to happen.
pub(super) fn follow(is_watch: bool, status: StatusCode, fields: &Fields) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(text).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    status == StatusCode::OK
        && !fields.has(CONTENT_LENGTH)
        && (is_watch || kind.eq_ignore_ascii_case(EVENTS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::fields_of;

    #[test]
    fn a_watch_says_so_as_kubernetes_reads_it() {
        for (query, expected) in [
            ("watch=true", true),
            ("limit=500&watch=1&resourceVersion=3", true),
            ("watch", true),
            ("watch=0", false),
            ("watch=False", false),
            ("watch=0&watch=1", false),
            ("unwatch=true", false),
            ("", false),
        ] {
            assert_eq!(is_watch(&Method::GET, Some(query)), expected, "{query}");
            assert!(!is_watch(&Method::POST, Some(query)), "{query}");
        }
        assert!(!is_watch(&Method::GET, None));
    }

    #[test]
    fn events_follow_an_answer_that_may_go_on_for_ever() {
        let follows = |is_watch: bool, status: u16, fields: &[(&str, &str)]| {
            follow(is_watch, StatusCode::from_u16(status).unwrap(), &fields_of(fields))
        };
        let (kind, length) = ("content-type", ("content-length", "5"));
        for (is_watch, status, fields, expected) in [
            (false, 200, &[(kind, "text/event-stream")][..], true),
            (false, 200, &[(kind, "Text/Event-Stream ; charset=utf-8")], true),
            (true, 200, &[(kind, "application/json")], true),
            (true, 200, &[], true),
            (false, 200, &[(kind, "application/json")], false),
            (false, 200, &[(kind, "text/event-streams")], false),
            (false, 200, &[], false),
            (false, 503, &[(kind, "text/event-stream")], false),
            (true, 410, &[], false),
            (false, 200, &[(kind, "text/event-stream"), length], false),
            (true, 200, &[length], false),
        ] {
            assert_eq!(
                follows(is_watch, status, fields),
                expected,
                "{is_watch} {status} {fields:?}"
            );
        }
    }
}
