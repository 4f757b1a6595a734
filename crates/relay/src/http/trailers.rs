//! Fields behind a body.
//!
//! What was decided about a head must hold for its trailers: a service may merge them into it.

use strait_net::fields::Fields;
use strait_net::fields::names::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, HOST, LOCATION, MAX_FORWARDS, RANGE, SET_COOKIE, TRAILER, WWW_AUTHENTICATE,
};

use super::fields::{remove_claims, remove_connection, remove_identity, remove_overrides};

/// Says of a request what it is, or how it goes on.
const OF_REQUEST: [&str; 13] = [
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
pub fn clean_request(fields: &mut Fields) {
    remove_connection(fields);
    remove_identity(fields);
    remove_overrides(fields);
    fields.retain(|field| !field.is_any(&OF_REQUEST));
}

/// The same for an answer's.
pub fn clean_answer(fields: &mut Fields) {
    remove_connection(fields);
    remove_claims(fields);
    let own = [SET_COOKIE, LOCATION, WWW_AUTHENTICATE, CONTENT_LENGTH, TRAILER];
    fields.retain(|field| !field.is_any(&own));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{fields_of as fields, names};

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
