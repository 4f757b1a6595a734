//! JSON pointers (RFC 6901).

use std::fmt;
use std::str::FromStr;

use strait_machinery::json::Value;

/// A place in a JSON document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer(Vec<String>);

/// A text is not a pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a JSON pointer")]
pub(crate) struct InvalidPointer(String);

impl Pointer {
    /// `/status`.
    pub(crate) fn of_status() -> Self {
        Self(vec!["status".to_owned()])
    }

    /// The names from the top; empty for the whole document.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// What stands there.
    pub(crate) fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, name| match value {
            Value::Object(members) => members.get(name),
            Value::Array(elements) => elements.get(index(name)?),
            _ => None,
        })
    }

    /// Puts a value there, making objects on the way (and replacing what is no object).
    pub(crate) fn set(&self, document: &mut Value, value: Value) {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        if names.is_empty() {
            *document = value;
        } else {
            document.set(&names, value);
        }
    }

    /// Takes away the member that stands there.
    pub(crate) fn remove(&self, document: &mut Value) {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        document.remove(&names);
    }

    /// The rest of this pointer behind `start`; none if it does not begin so.
    pub(crate) fn below(&self, start: &Self) -> Option<Self> {
        self.0.strip_prefix(start.0.as_slice()).map(|rest| Self(rest.to_vec()))
    }
}

/// An array index: decimal, without leading zeros.
fn index(name: &str) -> Option<usize> {
    let canonical = name == "0" || !name.starts_with(['0', '+']);
    canonical.then(|| name.parse().ok()).flatten()
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/').ok_or_else(|| InvalidPointer(text.to_owned()))?;
        rest.split('/')
            .map(unescape)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(|| InvalidPointer(text.to_owned()))
    }
}

fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('~');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let mut rest = part.chars();
        plain.push(match rest.next()? {
            '0' => '~',
            '1' => '/',
            _ => return None,
        });
        plain.push_str(rest.as_str());
    }
    Some(plain)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.0 {
            write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strait_machinery::json::parse;

    use super::*;

    fn pointer(text: &str) -> Pointer {
        text.parse().unwrap()
    }

    #[test]
    fn finds_what_the_rfc_says() {
        let document =
            parse(br#"{"foo":["bar","baz"],"":0,"a/b":1,"m~n":8,"~1":9,"o":{"00":7}}"#).unwrap();
        for (text, found) in [
            ("/foo/0", Some("\"bar\"")),
            ("/foo", Some("[\"bar\",\"baz\"]")),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/m~0n", Some("8")),
            ("/~01", Some("9")),
            ("/o/00", Some("7")),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/+1", None),
            ("/foo/0/x", None),
        ] {
            let value = pointer(text).find(&document).map(ToString::to_string);
            assert_eq!(value.as_deref(), found, "{text}");
        }
        assert_eq!(pointer("").find(&document), Some(&document));
        for text in ["a", "/~", "/~2", "/a~"] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_and_removes_members() {
        let mut document = Value::Null;
        pointer("/a/b").set(&mut document, 1.into());
        pointer("/a/c").set(&mut document, 2.into());
        pointer("/a/b").remove(&mut document);
        assert_eq!(document.to_string(), r#"{"a":{"c":2}}"#);
        pointer("").set(&mut document, true.into());
        assert_eq!(document.to_string(), "true");
        assert_eq!(pointer("/a/b/c").below(&pointer("/a")), Some(pointer("/b/c")));
        assert_eq!(pointer("/ab").below(&pointer("/a")), None);
    }

    proptest! {
        #[test]
        fn text_reads_back(names in proptest::collection::vec(".*", 0..4)) {
            let pointer = Pointer(names);
            prop_assert_eq!(pointer.to_string().parse(), Ok(pointer));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = text.parse::<Pointer>();
        }
    }
}
