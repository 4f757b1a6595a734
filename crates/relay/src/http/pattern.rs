//! Patterns of paths, as services list them.
//!
//! `*` stands for any characters, `/` among them and none as well; every other character stands
//! for itself. A pattern is for the whole path: `/api/*` is everything below `/api/`, and not
//! `/api`.

use std::fmt;

/// Longest pattern, bytes.
pub const LENGTH_MAX: usize = 1024;

/// A text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must begin with / or *, and be what a decoded path can be, of at most {LENGTH_MAX} bytes")]
pub struct InvalidPattern;

/// One pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It could match no path.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let begins = text.starts_with('/') || text.starts_with('*');
        let never = text.contains(['?', '#', '%', ';', '\\'])
            || text.contains("//")
            || text.chars().any(char::is_control)
            || text.split('/').any(|segment| segment == "." || segment == "..");
        if !begins || never || text.len() > LENGTH_MAX {
            return Err(InvalidPattern);
        }
        Ok(Self(text.into()))
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is for a path. Takes time in proportion to both lengths at most.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        matches(&self.0, path)
    }
}

/// Whether a text is as a pattern with `*` says. Each star takes as little as it can: what
/// follows the last one must end the text, so nothing is tried twice but there.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_take_anything() {
        for (pattern, path, expected) in [
            ("/version", "/version", true),
            ("/version", "/version/", false),
            ("/api/*", "/api/v1/pods", true),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("/api/*", "/apis/x", false),
            ("*", "/", true),
            ("*/script", "/a/b/script", true),
            ("*/script", "/a/b/scripts", false),
            ("/api/*/secrets*", "/api/v1/namespaces/kube-system/secrets/x", true),
            ("/a*b*c", "/aXbYc", true),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/ab", false),
            ("/a*a", "/a", false),
            ("/a**b", "/ab", true),
            ("/a*é", "/aéé", true),
            ("/Api", "/api", false),
        ] {
            assert_eq!(
                Pattern::parse(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn patterns_that_match_no_path_are_mistakes() {
        for text in ["", "job", "/a//b", "/a/../b", "/a%2f", "/a?b", "/a;b", "/a\\b", "/a\n"] {
            assert_eq!(Pattern::parse(text), Err(InvalidPattern), "{text}");
        }
        assert!(Pattern::parse(&format!("/{}", "a".repeat(LENGTH_MAX))).is_err());
    }

    /// What the words mean, tried every way.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| slow(rest, &text[at..])),
            Some((one, rest)) => text.first() == Some(one) && slow(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_words_say(pattern in "[/*ab]{0,8}", text in "[/ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
