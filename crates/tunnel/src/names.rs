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

/// The longest of them, bytes.
const LENGTH_MAX: usize = {
    let (mut longest, mut place) = (0, 0);
    while place < NAMES.len() {
        if NAMES[place].len() > longest {
            longest = NAMES[place].len();
        }
        place += 1;
    }
    longest
};

/// Places in the table, shorter names first; and for each length where its names begin there.
const BY_LENGTH: ([u8; NAMES.len()], [u8; LENGTH_MAX + 2]) = by_length();

const fn by_length() -> ([u8; NAMES.len()], [u8; LENGTH_MAX + 2]) {
    let (mut places, mut starts) = ([0; NAMES.len()], [0; LENGTH_MAX + 2]);
    let (mut length, mut at) = (0, 0);
    while length <= LENGTH_MAX {
        starts[length] = at;
        let mut place = 0;
        while (place as usize) < NAMES.len() {
            if NAMES[place as usize].len() == length {
                places[at as usize] = place;
                at += 1;
            }
            place += 1;
        }
        length += 1;
    }
    starts[length] = at;
    (places, starts)
}

/// The name at an index.
pub(crate) fn name(index: u8) -> Option<&'static str> {
    NAMES.get(usize::from(index).checked_sub(1)?).copied()
}

/// The index of a name.
pub(crate) fn index(name: &[u8]) -> Option<u8> {
    let (places, starts) = &BY_LENGTH;
    let bounds = starts.get(name.len()..name.len() + 2)?;
    let alike = &places[usize::from(bounds[0])..usize::from(bounds[1])];
    let first = name.first()?;
    let is_it = |place: &&u8| {
        let own = NAMES[usize::from(**place)].as_bytes();
        own.first() == Some(first) && own == name
    };
    alike.iter().find(is_it).map(|place| place + 1)
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
            assert_eq!((name(at), index(one.as_bytes())), (Some(one), Some(at)), "{one}");
        }
        assert_eq!((name(0), name(200), index(b"x-unknown")), (None, None, None));
    }
}
