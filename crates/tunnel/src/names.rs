//! The frozen table of field names: one byte on the wire instead of the name.
//!
//! Index 1 is the first. The list never changes within a major version.

/// Names by index, less one.
const NAMES: [&str; 78] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-request-headers",
    "access-control-request-method",
    "age",
    "allow",
    "audit-id",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-security-policy",
    "content-type",
    "cookie",
    "date",
    "dnt",
    "etag",
    "expires",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-event-id",
    "last-modified",
    "link",
    "location",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
    "x-kubernetes-pf-flowschema-uid",
    "x-kubernetes-pf-prioritylevel-uid",
    "x-request-id",
    "x-requested-with",
    "x-stream-protocol-version",
    "x-opsmx-agent-name",
    "x-spinnaker-user",
];

/// Places in the table, in the order of the names there.
const SORTED: [u8; NAMES.len()] = sorted();

const fn sorted() -> [u8; NAMES.len()] {
    let mut places = [0; NAMES.len()];
    let mut place = 0;
    while (place as usize) < NAMES.len() {
        let mut at = place as usize;
        while at > 0 && less(NAMES[place as usize], NAMES[places[at - 1] as usize]) {
            places[at] = places[at - 1];
            at -= 1;
        }
        places[at] = place;
        place += 1;
    }
    places
}

const fn less(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at < b.len() && (at == a.len() || a[at] < b[at])
}

/// The name at an index.
pub(crate) fn name(index: u8) -> Option<&'static str> {
    NAMES.get(usize::from(index).checked_sub(1)?).copied()
}

/// The index of a name.
pub(crate) fn index(name: &str) -> Option<u8> {
    let at = SORTED.binary_search_by(|place| NAMES[usize::from(*place)].cmp(name)).ok()?;
    Some(SORTED[at] + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a over the names, each with a line feed.
    fn fingerprint() -> u64 {
        NAMES
            .iter()
            .flat_map(|name| name.bytes().chain([b'\n']))
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    }

    #[test]
    fn the_table_is_frozen() {
        assert_eq!(fingerprint(), 8_905_201_439_055_149_499);
    }

    #[test]
    fn names_and_indices_are_one_to_one() {
        for (at, one) in (1..).zip(NAMES) {
            assert_eq!((name(at), index(one)), (Some(one), Some(at)), "{one}");
        }
        assert_eq!((name(0), name(200), index("x-unknown")), (None, None, None));
    }
}
