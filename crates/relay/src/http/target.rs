//! What a request asks for: a path and a query of ours, and nothing else.
//!
//! A target in another form names another server, and whoever forwards it may connect there with
//! a service's credentials. So only the origin form crosses (RFC 9112 §3.2.1).

use http::{Method, Uri, Version};

use super::{BadHead, any_byte};

/// Longest target, bytes.
pub const LENGTH_MAX: usize = 16 << 10;
/// Longest method, bytes.
pub const METHOD_MAX: usize = 32;

/// A path, which begins with `/` and has no dot segment, and a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Reads a target as it stands in an HTTP/1.1 request line or an HTTP/2 `:path`.
    ///
    /// # Errors
    /// Another form than the origin form; a byte that no target may hold; a dot segment, which
    /// would leave the prefix of a service's URL; too long.
    pub fn parse(text: &'a str) -> Result<Self, BadHead> {
        if text.len() > LENGTH_MAX {
            return Err(BadHead::TargetLength);
        }
        if !text.starts_with('/') {
            let form = if text == "*" { "*" } else { "a URL or an authority" };
            return Err(BadHead::TargetForm(form));
        }
        let wrong = |byte| matches!(byte, 0..=b' ' | b'#' | 0x7f);
        if any_byte(text, wrong) {
            return Err(BadHead::TargetByte(match text.bytes().find(|byte| wrong(*byte)) {
                Some(b' ') => "a blank",
                Some(b'#') => "a fragment",
                _ => "a control character",
            }));
        }
        let (path, query) =
            text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        Self::of(path, query)
    }

    fn of(path: &'a str, query: Option<&'a str>) -> Result<Self, BadHead> {
        if has_dot_segment(path) { Err(BadHead::DotSegment) } else { Ok(Self { path, query }) }
    }

    /// Takes a target from a head that was parsed. HTTP/2 has scheme and authority in places of
    /// their own; in HTTP/1.1 they would be part of the target.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of_head(version: Version, uri: &'a Uri) -> Result<Self, BadHead> {
        let bare = uri.scheme().is_none() && uri.authority().is_none();
        if version < Version::HTTP_2 && !bare {
            return Err(BadHead::TargetForm("a URL or an authority"));
        }
        let text = uri.path_and_query().map_or("", |text| text.as_str());
        Self::parse(text)
    }

    /// The path, as it was sent.
    #[must_use]
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// What stands behind the first `?`, as it was sent.
    #[must_use]
    pub const fn query(&self) -> Option<&'a str> {
        self.query
    }

    /// The same without the first `length` bytes of its path; an empty rest is `/`.
    ///
    /// # Errors
    /// What is left does not begin with `/`.
    pub fn below(&self, length: usize) -> Result<Self, BadHead> {
        let path = match self.path.get(length..) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => return Err(BadHead::TargetForm("a part of a name")),
        };
        Ok(Self { path, query: self.query })
    }
}

/// Checks a method: one that can cross.
///
/// # Errors
/// CONNECT, which asks for another server; TRACE, which shows a service's credentials in its
/// answer; a long one.
pub fn check_method(method: &Method) -> Result<(), BadHead> {
    let refused = method == Method::CONNECT || method == Method::TRACE;
    if refused || method.as_str().len() > METHOD_MAX { Err(BadHead::Method) } else { Ok(()) }
}

/// Whether any server could take a segment for `.` or `..`: escapes are undone once, backslashes
/// separate, and what follows a semicolon does not count.
fn has_dot_segment(path: &str) -> bool {
    // Most have neither a dot nor an escape.
    if !any_byte(path, |byte| matches!(byte, b'.' | b'%')) {
        return false;
    }
    let decoded = lenient(path.as_bytes());
    decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        matches!(name, b"." | b"..")
    })
}

/// Escapes undone once; what is no escape stays.
fn lenient(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        match escaped(rest) {
            Some(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            None => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

/// The byte that an escape at the beginning of a text stands for.
pub(super) fn escaped(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn w4_only_the_origin_form_crosses() {
        for text in [
            "",
            "*",
            "@evil.example:443/x",
            "a.evil.example://h/p",
            "http://evil.example/",
            "evil.example:443",
            ":8080/x",
            "?x",
            ".evil.example/",
        ] {
            assert!(matches!(Target::parse(text), Err(BadHead::TargetForm(_))), "{text}");
        }
        for text in ["/", "//evil.example/x", "/@evil.example", "/a:b//c", "/%2f", "/a?b?c", "/?"] {
            assert!(Target::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn w4_the_parsed_head_says_the_same() {
        for (version, uri, ok) in [
            (Version::HTTP_11, "/a?b", true),
            (Version::HTTP_11, "http://evil.example/a", false),
            (Version::HTTP_11, "a.evil.example://h/p", false),
            (Version::HTTP_11, "evil.example:443", false),
            (Version::HTTP_10, "https://hub.example/", false),
            (Version::HTTP_2, "https://hub.example/a", true),
            (Version::HTTP_2, "evil.example:443", false),
            (Version::HTTP_2, "*", false),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(Target::of_head(version, &uri).is_ok(), ok, "{version:?} {uri}");
        }
    }

    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for text in [
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/%2e%2E/b",
            "/.%2e",
            "/a%2f..%2fb",
            "/a/..;x=1/b",
            "/a/..%3b/b",
            "/a\\..\\b",
            "/a%5c%2e%2e",
        ] {
            assert_eq!(Target::parse(text), Err(BadHead::DotSegment), "{text}");
        }
        for text in ["/...", "/a.b", "/.a/a.", "/a?x=../..", "/%252e%252e", "/%2", "/%zz"] {
            assert!(Target::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn bytes_and_length_are_bounded() {
        for text in ["/a b", "/a\tb", "/a\0", "/a\x7f", "/a\r\nHost: evil", "/a#b", "/?a b"] {
            assert!(matches!(Target::parse(text), Err(BadHead::TargetByte(_))), "{text:?}");
        }
        let text = |length: usize| format!("/{}", "a".repeat(length - 1));
        assert!(Target::parse(&text(LENGTH_MAX)).is_ok());
        assert_eq!(Target::parse(&text(LENGTH_MAX + 1)), Err(BadHead::TargetLength));
    }

    #[test]
    fn a_path_is_taken_apart_at_slashes_only() {
        let target = Target::parse("/ci/job?x=1").unwrap();
        assert_eq!(target.below(3).unwrap(), Target { path: "/job", query: Some("x=1") });
        assert_eq!(target.below(7).unwrap().path(), "/");
        assert!(target.below(2).is_err() && target.below(8).is_err());
    }

    #[test]
    fn methods_that_cross() {
        for (method, ok) in
            [("GET", true), ("PROPFIND", true), ("CONNECT", false), ("TRACE", false)]
        {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(check_method(&method).is_ok(), ok, "{method}");
        }
        assert!(check_method(&Method::from_bytes(&[b'A'; METHOD_MAX + 1]).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_passes_is_a_path(text in "[/.%2eEfF5cC;\\\\a@:?*é\0 -]{0,24}") {
            if let Ok(target) = Target::parse(&text) {
                prop_assert!(target.path().starts_with('/'));
                prop_assert!(target.path().split('/').all(|segment| segment != ".."));
            }
        }
    }
}
