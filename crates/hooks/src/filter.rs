//! What a backend gets.

use std::str::FromStr;

use serde_json::Value;

use crate::pointer::Pointer;
use crate::sender::Facts;

/// What must hold of a webhook; an empty list always holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// The event is one of these.
    pub events: Vec<Box<str>>,
    /// The action is one of these.
    pub actions: Vec<Box<str>>,
    /// The repository fits one of these.
    pub repositories: Vec<Glob>,
    /// The body has exactly these values at these places.
    pub equals: Vec<(Pointer, Value)>,
}

impl Filter {
    /// Whether a webhook passes. `found` is what stands at the pointers of `equals`, in their
    /// order ([`crate::pointer::find`]). What is unknown of a webhook fits nothing.
    #[must_use]
    pub fn passes(&self, facts: &Facts, found: &[Option<Value>]) -> bool {
        let listed = |list: &[Box<str>], fact: &Option<Box<str>>| {
            list.is_empty() || fact.as_ref().is_some_and(|fact| list.contains(fact))
        };
        let repository = || {
            let known = facts.repository.as_deref();
            known.is_some_and(|name| self.repositories.iter().any(|glob| glob.matches(name)))
        };
        let mut values = self.equals.iter().enumerate();
        listed(&self.events, &facts.event)
            && listed(&self.actions, &facts.action)
            && (self.repositories.is_empty() || repository())
            && values.all(|(at, (_, value))| found.get(at) == Some(&Some(value.clone())))
    }
}

/// A pattern for the full names of repositories: `*` is any text without `/`, `**` any text, `?`
/// one character but `/`. ASCII letters match in either case, as forges keep no two repositories
/// that differ in it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    One(char),
    AnyOne,
    AnyText,
    AnyPath,
}

/// A text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a pattern of repositories: letters, digits, '.', '_', '-', '~', '/', '*' and '?'")]
pub struct InvalidGlob;

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        let known = |c: char| c.is_ascii_alphanumeric() || "._-~/*?".contains(c);
        if text.is_empty() || !text.chars().all(known) {
            return Err(InvalidGlob);
        }
        let mut parts = Vec::new();
        for c in text.chars() {
            match (c, parts.last()) {
                ('*', Some(Part::AnyText | Part::AnyPath)) => {
                    parts.pop();
                    parts.push(Part::AnyPath);
                }
                ('*', _) => parts.push(Part::AnyText),
                ('?', _) => parts.push(Part::AnyOne),
                (c, _) => parts.push(Part::One(c.to_ascii_lowercase())),
            }
        }
        Ok(Self(parts))
    }
}

impl Glob {
    /// Whether the whole name matches, in time of pattern by name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        // Whether the parts up to each have matched what was read.
        let mut reached = vec![false; self.0.len() + 1];
        reached[0] = true;
        self.skip_texts(&mut reached);
        for c in name.chars() {
            let c = c.to_ascii_lowercase();
            let mut next = vec![false; reached.len()];
            for (at, part) in self.0.iter().enumerate().filter(|(at, _)| reached[*at]) {
                match part {
                    Part::One(wanted) => next[at + 1] |= *wanted == c,
                    Part::AnyOne => next[at + 1] |= c != '/',
                    Part::AnyText => next[at] |= c != '/',
                    Part::AnyPath => next[at] = true,
                }
            }
            self.skip_texts(&mut next);
            reached = next;
        }
        reached.last() == Some(&true)
    }

    /// A text may be empty.
    fn skip_texts(&self, reached: &mut [bool]) {
        for (at, part) in self.0.iter().enumerate() {
            if matches!(part, Part::AnyText | Part::AnyPath) && reached[at] {
                reached[at + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn globs() {
        for (pattern, name, matches) in [
            ("acme/site", "acme/site", true),
            ("acme/site", "acme/site2", false),
            ("acme/site", "xacme/site", false),
            ("ACME/Site", "acme/sITE", true),
            ("acme/*", "acme/", true),
            ("acme/*", "acme/sub/site", false),
            ("acme/**", "acme/sub/site", true),
            ("acme/***", "acme/sub/site", true),
            ("**/site", "acme/sub/site", true),
            ("**", "", true),
            ("*", "acme/site", false),
            ("*/*", "acme/site", true),
            ("a*e/s*t*", "acme/site", true),
            ("acme/s?te", "acme/site", true),
            ("acme?site", "acme/site", false),
            ("acme/??", "acme/äö", true),
            ("acme.*", "acmex", false),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().matches(name), matches, "{pattern} {name}");
        }
        for text in ["", "acme/[ab]", "acme site", "ü", "{a,b}", "!acme"] {
            assert_eq!(text.parse::<Glob>(), Err(InvalidGlob), "{text}");
        }
    }

    #[test]
    fn everything_that_is_given_must_hold() {
        let some = |text: &str| Some(text.into());
        let facts = Facts {
            delivery: None,
            event: some("push"),
            action: None,
            repository: some("acme/site"),
        };
        let list = |text: &str| vec![text.into()];
        let glob = |text: &str| vec![text.parse().unwrap()];
        let main = || vec![("/ref".parse().unwrap(), json!("refs/heads/main"))];
        let all = Filter::default;
        for (filter, found, passes) in [
            (all(), None, true),
            (Filter { events: list("push"), ..all() }, None, true),
            (Filter { events: list("pull_request"), ..all() }, None, false),
            (Filter { actions: list("opened"), ..all() }, None, false),
            (Filter { repositories: glob("acme/*"), ..all() }, None, true),
            (Filter { repositories: glob("other/*"), ..all() }, None, false),
            (Filter { equals: main(), ..all() }, Some(json!("refs/heads/main")), true),
            (Filter { equals: main(), ..all() }, Some(json!("refs/heads/x")), false),
            (Filter { equals: main(), ..all() }, None, false),
            (Filter { events: list("push"), equals: main(), ..all() }, None, false),
        ] {
            assert_eq!(filter.passes(&facts, &[found]), passes, "{filter:?}");
        }
        let nothing = Facts::default();
        let filter = Filter { repositories: glob("*"), ..all() };
        assert!(!filter.passes(&nothing, &[]));
        assert!(all().passes(&nothing, &[]));
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_its_plain_definition_does(
            pattern in "[a/*?]{1,8}", name in "[ab/]{0,8}",
        ) {
            fn plain(pattern: &[u8], name: &[u8]) -> bool {
                match pattern {
                    [] => name.is_empty(),
                    [b'*', b'*', rest @ ..] => {
                        (0..=name.len()).any(|at| plain(rest, &name[at..]))
                    }
                    [b'*', rest @ ..] => {
                        let end = name.iter().position(|c| *c == b'/').unwrap_or(name.len());
                        (0..=end).any(|at| plain(rest, &name[at..]))
                    }
                    [b'?', rest @ ..] => {
                        matches!(name, [c, tail @ ..] if *c != b'/' && plain(rest, tail))
                    }
                    [wanted, rest @ ..] => {
                        matches!(name, [c, tail @ ..] if c == wanted && plain(rest, tail))
                    }
                }
            }
            let matches = pattern.parse::<Glob>().unwrap().matches(&name);
            prop_assert_eq!(matches, plain(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
