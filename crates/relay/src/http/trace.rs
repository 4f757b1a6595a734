//! The trace that a request belongs to (W3C Trace Context, §3.2): its id is in the logs of both
//! ends. What is said of it passes on as it is.

use http::HeaderMap;

/// Bytes of a `traceparent` of the first version; later ones may have more behind it.
const LENGTH: usize = 55;

/// What a request says of its trace, if that is well formed; else nothing.
#[must_use]
pub(crate) fn traceparent(fields: &HeaderMap) -> &[u8] {
    let value = fields.get("traceparent").map_or(&b""[..], |value| value.as_bytes().trim_ascii());
    if trace_id(value).is_empty() { b"" } else { value }
}

/// The trace's id in hexadecimal; empty where it is not well formed.
#[must_use]
pub(crate) fn trace_id(traceparent: &[u8]) -> &str {
    let Some(known) = traceparent.get(..LENGTH) else { return "" };
    let hex = |part: &[u8]| part.iter().all(|own| matches!(own, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| hex(part) && part.iter().any(|own| *own != b'0');
    let more = match &traceparent[LENGTH..] {
        [] => true,
        [b'-', ..] => !known.starts_with(b"00"),
        _ => false,
    };
    let (version, trace, parent, flags) =
        (&known[..2], &known[3..35], &known[36..52], &known[53..]);
    let dashes = [known[2], known[35], known[52]] == *b"---";
    let is_one = more && dashes && hex(version) && version != b"ff" && hex(flags);
    match is_one && some(trace) && some(parent) {
        true => std::str::from_utf8(trace).unwrap_or_default(),
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_one_or_none() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &str| trace_id(text.as_bytes()).to_owned();
        for (text, expected) in [
            ("00-TRACE-00f067aa0ba902b7-01", TRACE),
            ("42-TRACE-00f067aa0ba902b7-01-more", TRACE),
            ("00-TRACE-00f067aa0ba902b7-01-more", ""),
            ("42-TRACE-00f067aa0ba902b7-01more", ""),
            ("ff-TRACE-00f067aa0ba902b7-01", ""),
            ("00-TRACE-0000000000000000-01", ""),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", ""),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", ""),
            ("00_TRACE-00f067aa0ba902b7-01", ""),
            ("00-TRACE-00f067aa0ba902b7", ""),
            ("", ""),
        ] {
            assert_eq!(of(&text.replace("TRACE", TRACE)), expected, "{text}");
        }
    }
}
