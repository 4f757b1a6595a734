//! What of a service may be asked for: methods and paths.
//!
//! Paths are compared as the service will understand them, decoded. Where that could mean two
//! things, a rule could be passed by the one and the service act by the other; so such a request
//! is refused, but only where there are rules of paths. A denial wins over an allowance.

use std::fmt;

use http::Method;

use super::pattern::Pattern;
use super::target::{Target, escaped};

/// Why a request is against the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The method is not listed.
    #[error("allow.methods")]
    Method,
    /// No listed pattern is for the path.
    #[error("allow.paths")]
    Path,
    /// A pattern denies the path.
    #[error("allow.denyPaths")]
    Denied(Pattern),
    /// The path could mean two things; what in it does.
    #[error("path contains {0}")]
    Ambiguous(&'static str),
}

/// The rules of one service; without any, everything is allowed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Empty: every method.
    pub methods: Vec<Method>,
    /// Empty: every path.
    pub paths: Vec<Pattern>,
    /// These paths are never asked for.
    pub deny_paths: Vec<Pattern>,
}

impl Rules {
    /// Whether there is any rule: then the fields that ask for another method or path are
    /// removed ([`remove_overrides`](super::fields::remove_overrides)).
    #[must_use]
    pub fn are_any(&self) -> bool {
        !self.methods.is_empty() || self.look_at_paths()
    }

    fn look_at_paths(&self) -> bool {
        !self.paths.is_empty() || !self.deny_paths.is_empty()
    }

    /// Decides about a request. The path is what follows the service's prefix.
    ///
    /// # Errors
    /// The first rule that is against it.
    pub fn check(&self, method: &Method, target: &Target<'_>) -> Result<(), Refused> {
        if !self.methods.is_empty() && !self.methods.contains(method) {
            return Err(Refused::Method);
        }
        if !self.look_at_paths() {
            return Ok(());
        }
        let path = decoded(target.path())?;
        if let Some(denied) = self.deny_paths.iter().find(|pattern| pattern.matches(&path)) {
            return Err(Refused::Denied(denied.clone()));
        }
        let listed = self.paths.is_empty() || self.paths.iter().any(|own| own.matches(&path));
        if listed { Ok(()) } else { Err(Refused::Path) }
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        write!(f, "{methods:?} {:?} not {:?}", self.paths, self.deny_paths)
    }
}

/// A path with its escapes undone, if that is the only thing it can mean.
fn decoded(path: &str) -> Result<String, Refused> {
    if path.contains("//") {
        return Err(Refused::Ambiguous("//"));
    }
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match first {
            b';' => return Err(Refused::Ambiguous(";")),
            b'\\' => return Err(Refused::Ambiguous("a backslash")),
            b'%' => (escape(rest)?, &rest[3..]),
            _ => (*first, behind),
        };
        out.push(byte);
        rest = behind;
    }
    String::from_utf8(out).map_err(|_| Refused::Ambiguous("bytes that are no UTF-8"))
}

fn escape(text: &[u8]) -> Result<u8, Refused> {
    match escaped(text) {
        None => Err(Refused::Ambiguous("a bad escape")),
        Some(b'/') => Err(Refused::Ambiguous("%2f")),
        Some(b'\\') => Err(Refused::Ambiguous("%5c")),
        Some(0) => Err(Refused::Ambiguous("%00")),
        Some(b';') => Err(Refused::Ambiguous("%3b")),
        // Who undoes escapes twice sees another path.
        Some(b'%') => Err(Refused::Ambiguous("%25")),
        Some(0..=0x1f | 0x7f) => Err(Refused::Ambiguous("an escaped control character")),
        Some(byte) => Ok(byte),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn check(rules: &Rules, method: &str, target: &str) -> Result<(), Refused> {
        rules.check(&method.parse().unwrap(), &Target::parse(target).unwrap())
    }

    fn rules() -> Rules {
        Rules {
            methods: vec![Method::GET, Method::POST],
            paths: patterns(&["/job/*", "/api/json"]),
            deny_paths: patterns(&["/job/secret*"]),
        }
    }

    #[test]
    fn methods_and_paths_are_listed_and_denials_win() {
        for (method, target, expected) in [
            ("GET", "/job/x", Ok(())),
            ("POST", "/job/x?delay=0", Ok(())),
            ("GET", "/api/json", Ok(())),
            ("GET", "/%6aob/x", Ok(())),
            ("DELETE", "/job/x", Err(Refused::Method)),
            ("get", "/job/x", Err(Refused::Method)),
            ("HEAD", "/job/x", Err(Refused::Method)),
            ("GET", "/script", Err(Refused::Path)),
            ("GET", "/job", Err(Refused::Path)),
            ("GET", "/job/secret/1", Err(Refused::Denied(patterns(&["/job/secret*"]).remove(0)))),
            ("GET", "/job/%73ecret", Err(Refused::Denied(patterns(&["/job/secret*"]).remove(0)))),
        ] {
            assert_eq!(check(&rules(), method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn ambiguous_paths_are_refused_where_there_are_rules_of_paths() {
        let methods = Rules { methods: vec![Method::GET], ..Rules::default() };
        let denied = Rules { deny_paths: patterns(&["/script"]), ..Rules::default() };
        for (target, what) in [
            ("/job/a%2fb", "%2f"),
            ("/job/a%2Fb", "%2f"),
            ("/job/a%5cb", "%5c"),
            ("/job/a\\b", "a backslash"),
            ("/job/a%00", "%00"),
            ("/job/a;b", ";"),
            ("/job/a%3Bb", "%3b"),
            ("/job//a", "//"),
            ("/job/a%252f", "%25"),
            ("/job/a%zz", "a bad escape"),
            ("/job/a%2", "a bad escape"),
            ("/job/a%0d%0a", "an escaped control character"),
            ("/job/a%ff", "bytes that are no UTF-8"),
        ] {
            for rules in [rules(), denied.clone()] {
                assert_eq!(check(&rules, "GET", target), Err(Refused::Ambiguous(what)), "{target}");
            }
            assert_eq!(check(&methods, "GET", target), Ok(()), "{target}");
            assert_eq!(check(&Rules::default(), "GET", target), Ok(()), "{target}");
        }
        assert_eq!(check(&rules(), "GET", "/job/a?b=%2f;//"), Ok(()));
    }

    proptest! {
        /// What passes is one text, which decoding again does not change.
        #[test]
        fn what_passes_means_one_thing(text in "/[a/%2f5cCe.;\\\\]{0,16}") {
            let Ok(target) = Target::parse(&text) else { return Ok(()) };
            if let Ok(path) = decoded(target.path()) {
                prop_assert_eq!(decoded(&path), Ok(path.clone()));
                prop_assert!(!path.contains("//") && path.starts_with('/'));
            }
        }
    }
}
