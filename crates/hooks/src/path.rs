//! What follows a source's path.

/// Whether a path could lead a backend out of its own: it has a segment that means this one or
/// the one above, as some server reads it (RFC 3986 section 3.3; percent-encoded, behind an
/// encoded slash, with a backslash for one, or with parameters).
#[must_use]
pub fn climbs(path: &str) -> bool {
    if !path.contains(['.', '%']) {
        return false;
    }
    let plain = path.to_ascii_lowercase().replace("%2e", ".");
    let plain = plain.replace("%2f", "/").replace("%5c", "/").replace("%3b", ";");
    let mut segments = plain.split(['/', '\\']);
    segments.any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// For fuzzing: a path that does not climb stays below wherever it is appended, as a browser
/// resolves it.
#[cfg(feature = "fuzzing")]
pub fn fuzz_path(path: &str) {
    if climbs(path) {
        return;
    }
    let mut depth = 0_i64;
    for segment in path.split('/').skip(1) {
        match &*segment.to_ascii_lowercase().replace("%2e", ".") {
            ".." => depth -= 1,
            "." => {}
            _ => depth += 1,
        }
        assert!(depth >= 0, "{path:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_found_however_they_are_written() {
        for path in [
            "/..",
            "/a/../b",
            "/.",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a%5C..",
            "/a\\..\\b",
            "/..;x=1/b",
            "/%2e%2e%3bx/b",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in ["", "/", "/a/b", "/a/.../b", "/a..b", "/acme%2Fsite", "/v1.2;x=..", "/%252e"] {
            assert!(!climbs(path), "{path}");
        }
    }
}
