//! Field selectors.
//!
//! `field=value`, `field==value`, `field!=value`, joined by commas; `\` stands before `,`, `=`
//! and `\` in a value. Which fields a kind has is for the caller to say.

use std::fmt;

use super::InvalidSelector;

/// One condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field, e.g. `metadata.name`.
    pub field: Box<str>,
    /// What it must be, or must not be.
    pub value: Box<str>,
    /// Whether the field must be something else.
    pub negated: bool,
}

/// Conditions that must all hold; none: everything matches. Sorted as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Box<[FieldTerm]>,
}

impl FieldSelector {
    /// Parses the text form, as it comes in `?fieldSelector=`.
    ///
    /// # Errors
    /// A term without an operator, or a value with a wrong escape.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::with_capacity(parts.len());
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let Some(at) = part.find(['=', '!']).and_then(|from| operator_at(part, from)) else {
                let what = format!("invalid selector: '{text}'; can't understand '{part}'");
                return Err(InvalidSelector(what));
            };
            let (field, rest) = part.split_at(at);
            let negated = rest.starts_with('!');
            let length = if rest[1..].starts_with('=') { 2 } else { 1 };
            let value = unescape(&rest[length..])?;
            if !(field.is_empty() && value.is_empty()) {
                terms.push(FieldTerm { field: field.into(), value, negated });
            }
        }
        Ok(Self { terms: terms.into() })
    }

    /// Whether every object matches.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The conditions.
    #[must_use]
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// The one value that a field may have, if the selector demands one.
    #[must_use]
    pub fn exact(&self, field: &str) -> Option<&str> {
        let mut terms = self.terms.iter();
        let term = terms.find(|term| !term.negated && *term.field == *field)?;
        Some(&term.value)
    }

    /// Whether an object matches, whose fields `value_of` gives; an absent field is empty.
    pub fn matches<'a>(&self, mut value_of: impl FnMut(&str) -> &'a str) -> bool {
        self.terms.iter().all(|term| (value_of(&term.field) == &*term.value) != term.negated)
    }
}

/// Commas that no `\` stands before.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Where the first `=` or `!=` stands, from `from` on.
fn operator_at(part: &str, from: usize) -> Option<usize> {
    let equals = part[from..].find('=')? + from;
    Some(if part[..equals].ends_with('!') { equals - 1 } else { equals })
}

fn unescape(value: &str) -> Result<Box<str>, InvalidSelector> {
    let wrong = |sequence: String| {
        let text = format!("invalid field selector: invalid escape sequence: \\{sequence}");
        InvalidSelector(text)
    };
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(wrong(c.to_string())),
                None => return Err(wrong(String::new())),
            },
            // Go prints the rune as a number.
            ',' | '=' => {
                let text = "invalid field selector: unescaped character in value";
                return Err(InvalidSelector(format!("{text}: {}", u32::from(c))));
            }
            c => out.push(c),
        }
    }
    Ok(out.into())
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let operator = if term.negated { "!=" } else { "=" };
            write!(f, "{comma}{}{operator}", term.field)?;
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Recorded from fields.ParseSelector of apimachinery v0.34: how the selector prints, and
    // whether it matches a=b.
    #[test]
    fn selectors_mean_what_they_mean_to_kubernetes() {
        for (text, printed, matches) in [
            ("", "", true),
            ("a=b", "a=b", true),
            ("a==b", "a=b", true),
            ("a!=b", "a!=b", false),
            ("a=b,c!=d", "a=b,c!=d", true),
            ("a=b,,", "a=b", true),
            (r"a=b\,c", r"a=b\,c", false),
            (r"a=b\=c", r"a=b\=c", false),
            (r"a=b\\", r"a=b\\", false),
            ("=b", "=b", false),
            ("a=", "a=", false),
            ("c=", "c=", true),
            ("!=", "", true),
            ("b=1,a=2", "a=2,b=1", false),
            ("a= b", "a= b", false),
            ("a!b=c", "a!b=c", false),
        ] {
            let selector = FieldSelector::parse(text).unwrap();
            assert_eq!(selector.to_string(), printed, "{text}");
            let value_of = |field: &str| if field == "a" { "b" } else { "" };
            assert_eq!(selector.matches(value_of), matches, "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_kubernetes() {
        for (text, error) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("b=c,a>b", "invalid selector: 'b=c,a>b'; can't understand 'a>b'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            (r"a=b\", r"invalid field selector: invalid escape sequence: \"),
            (r"a=b\x", r"invalid field selector: invalid escape sequence: \x"),
        ] {
            assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn a_demanded_value_is_known() {
        let selector = FieldSelector::parse("metadata.name=x,metadata.namespace!=y").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("x"));
        assert_eq!(selector.exact("metadata.namespace"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = FieldSelector::parse(&text);
        }

        #[test]
        fn what_parses_prints_as_the_same_selector(text in r"[a-c!=,\\]{0,16}") {
            // Sorted as written, which printing may change.
            let sorted = |selector: FieldSelector| {
                let mut terms = selector.terms.into_vec();
                terms.sort_by_key(|term| (term.field.clone(), term.value.clone(), term.negated));
                terms
            };
            if let Ok(selector) = FieldSelector::parse(&text) {
                let printed = FieldSelector::parse(&selector.to_string()).unwrap();
                prop_assert_eq!(sorted(printed), sorted(selector));
            }
        }
    }
}
