//! Fields behind a body.
//!
//! What was decided about a head must hold for its trailers: a service may merge them into it.

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, LOCATION, MAX_FORWARDS, RANGE, SET_COOKIE, TRAILER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName};

use super::fields::{remove_claims, remove_connection, remove_identity, remove_overrides};

/// Says of a request what it is, or how it goes on.
static OF_REQUEST: [HeaderName; 13] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    MAX_FORWARDS,
    RANGE,
    SET_COOKIE,
    TRAILER,
];

/// Removes from a request's trailers what they could smuggle past the decisions about its head,
/// for a service that merges them into it (RFC 9110 §6.5.1).
pub fn clean_request(fields: &mut HeaderMap) {
    remove_connection(fields);
    remove_identity(fields);
    remove_overrides(fields);
    for name in &OF_REQUEST {
        fields.remove(name);
    }
}

/// The same for an answer's.
pub fn clean_answer(fields: &mut HeaderMap) {
    remove_connection(fields);
    remove_claims(fields);
    for name in [SET_COOKIE, LOCATION, WWW_AUTHENTICATE, CONTENT_LENGTH, TRAILER] {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(lines: &[(&str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &'static str)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn names(fields: &HeaderMap) -> Vec<&str> {
        fields.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn a40_trailers_smuggle_nothing_past_the_head() {
        let mut trailers = fields(&[
            ("Grpc-Status", "0"),
            ("X-Checksum", "1"),
            ("Connection", "X-Checksum"),
            ("X_Forwarded_For", "10.0.0.1"),
            ("Impersonate-User", "root"),
            ("Authorization", "Bearer x"),
            ("Cookie", "a=b"),
            ("Content-Type", "text/plain"),
            ("Cache-Control", "no-store"),
            ("Host", "evil.example"),
            ("Content-Length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("X-HTTP-Method-Override", "DELETE"),
        ]);
        clean_request(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status"]);
        let mut trailers = fields(&[
            ("Grpc-Status", "0"),
            ("Set-Cookie", "a=b; Path=/"),
            ("Location", "https://ci/"),
            ("X-Strait-Error", "x"),
            ("WWW-Authenticate", "Basic"),
            ("Content-Length", "3"),
        ]);
        clean_answer(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status"]);
    }
}
