//! Rules for names, labels and annotations, in the words of Kubernetes
//! (`apimachinery/pkg/util/validation/validation.go`, `api/validation/generic.go`).
//!
//! A rule returns what is wrong as texts; none means that the value is good. Callers put the
//! texts behind the field's path.

/// Most characters of a DNS label, of the name part of a qualified name and of a label's value.
pub const LABEL_MAX: usize = 63;
/// Most characters of a DNS subdomain.
pub const SUBDOMAIN_MAX: usize = 253;
/// Most characters of `generateName` that go into a generated name.
pub const GENERATED_BASE_MAX: usize = LABEL_MAX - SUFFIX_LEN;

const SUFFIX_LEN: usize = 5;
/// No vowels and nothing that looks like one, so that no word comes out by chance.
const SUFFIX_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

const SUBDOMAIN: Rule = Rule {
    says: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    examples: &["example.com"],
    pattern: r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
};
const LABEL: Rule = Rule {
    says: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    examples: &["my-name", "123-abc"],
    pattern: "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
};
const DNS1035_LABEL: Rule = Rule {
    says: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    examples: &["my-name", "abc-123"],
    pattern: "[a-z]([-a-z0-9]*[a-z0-9])?",
};
const QUALIFIED_NAME: Rule = Rule {
    says: "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    examples: &["MyName", "my.name", "123-abc"],
    pattern: "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
};
const LABEL_VALUE: Rule = Rule {
    says: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    examples: &["MyValue", "my_value", "12345"],
    pattern: "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
};

/// A rule that is said with examples and a regular expression.
struct Rule {
    says: &'static str,
    examples: &'static [&'static str],
    pattern: &'static str,
}

impl Rule {
    /// The text of a breach. The stray blanks are Kubernetes' own.
    fn text(&self) -> String {
        let examples: Vec<_> =
            self.examples.iter().map(|example| format!("'{example}', ")).collect();
        format!(
            "{} (e.g. {}regex used for validation is '{}')",
            self.says,
            examples.join(" or "),
            self.pattern
        )
    }
}

fn too_long(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// What `metadata.name` of a kind must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain (RFC 1123), the rule of most kinds.
    #[default]
    Subdomain,
    /// A DNS label (RFC 1123): namespaces.
    Label,
    /// A DNS label that starts with a letter (RFC 1035).
    Dns1035Label,
    /// Anything that can stand between two slashes of a URL: RBAC.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name.
    #[must_use]
    pub fn check(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => dns1123_subdomain(name),
            Self::Label => dns1123_label(name),
            Self::Dns1035Label => dns1035_label(name),
            Self::PathSegment => path_segment(name),
        }
    }

    /// What is wrong with a `generateName`: the start of a name, so it may end in a dash.
    #[must_use]
    pub fn check_prefix(self, prefix: &str) -> Vec<String> {
        if self == Self::PathSegment {
            return path_segment_parts(prefix);
        }
        // The dash and the character before it stand for one that is allowed at the end.
        let mut end = prefix.len();
        if prefix.len() > 1 && prefix.ends_with('-') {
            end = cut(prefix, prefix.len() - 2).len();
        }
        if end == prefix.len() {
            self.check(prefix)
        } else {
            self.check(&format!("{}a", &prefix[..end]))
        }
    }
}

/// What is wrong with a DNS subdomain (RFC 1123).
#[must_use]
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !has_subdomain_form(value) {
        wrong.push(SUBDOMAIN.text());
    }
    wrong
}

/// What is wrong with a DNS label (RFC 1123).
#[must_use]
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !has_label_form(value) {
        wrong.push(if has_subdomain_form(value) {
            "must not contain dots".into()
        } else {
            LABEL.text()
        });
    }
    wrong
}

/// What is wrong with a DNS label that starts with a letter (RFC 1035).
#[must_use]
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !has_label_form(value) || value.starts_with(|c: char| c.is_ascii_digit()) {
        wrong.push(DNS1035_LABEL.text());
    }
    wrong
}

/// What is wrong with a name that is one segment of a URL's path.
#[must_use]
pub fn path_segment(name: &str) -> Vec<String> {
    match name {
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => path_segment_parts(name),
    }
}

fn path_segment_parts(name: &str) -> Vec<String> {
    ['/', '%']
        .into_iter()
        .filter(|&c| name.contains(c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// What is wrong with a label's key, an annotation's key in lower case, or a finalizer:
/// `[prefix/]name`.
#[must_use]
pub fn qualified_name(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match value.split_once('/') {
        None => value,
        Some((_, name)) if name.contains('/') => {
            wrong.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED_NAME.text()
            ));
            return wrong;
        }
        Some(("", name)) => {
            wrong.push("prefix part must be non-empty".into());
            name
        }
        Some((prefix, name)) => {
            let of_prefix = dns1123_subdomain(prefix).into_iter();
            wrong.extend(of_prefix.map(|text| format!("prefix part {text}")));
            name
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !has_qualified_form(name) {
        wrong.push(format!("name part {}", QUALIFIED_NAME.text()));
    }
    wrong
}

/// What is wrong with a label's value.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if value.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !value.is_empty() && !has_qualified_form(value) {
        wrong.push(LABEL_VALUE.text());
    }
    wrong
}

/// A name made from a `generateName` and five random numbers. At most [`LABEL_MAX`] bytes, and
/// valid where the base is.
#[must_use]
pub fn generated(base: &str, random: [u32; SUFFIX_LEN]) -> String {
    let suffix = random.map(|number| {
        let count = u32::try_from(SUFFIX_ALPHABET.len()).expect("27 fits");
        char::from(SUFFIX_ALPHABET[(number % count) as usize])
    });
    cut(base, GENERATED_BASE_MAX).chars().chain(suffix).collect()
}

/// The start of a text, at most `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// Whatever its length, which is checked apart.
fn has_label_form(value: &str) -> bool {
    let bytes = value.as_bytes();
    let alphanumeric = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|c| alphanumeric(c) || *c == b'-')
}

fn has_subdomain_form(value: &str) -> bool {
    value.split('.').all(has_label_form)
}

/// Alphanumeric at both ends, `-_.` inside.
fn has_qualified_form(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SUBDOMAIN_TEXT: &str = r"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    const QUALIFIED_TEXT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

    #[test]
    fn names_are_refused_in_the_words_of_kubernetes() {
        use NameRule::{Dns1035Label, Label, PathSegment, Subdomain};
        let long = "a".repeat(254);
        let table: &[(NameRule, &str, &[&str])] = &[
            (Subdomain, "a.b-c", &[]),
            (Subdomain, "A", &[SUBDOMAIN_TEXT]),
            (Subdomain, "", &[SUBDOMAIN_TEXT]),
            (Subdomain, "a..b", &[SUBDOMAIN_TEXT]),
            (Subdomain, &long, &["must be no more than 253 characters"]),
            (Label, "a-b", &[]),
            (Label, "a.b", &["must not contain dots"]),
            (Label, "-a", &[LABEL_TEXT]),
            (Label, &long, &["must be no more than 63 characters"]),
            (Dns1035Label, "a1", &[]),
            (PathSegment, "system:x", &[]),
            (PathSegment, "..", &["may not be '..'"]),
            (PathSegment, "a/%", &["may not contain '/'", "may not contain '%'"]),
        ];
        for (rule, name, texts) in table {
            assert_eq!(rule.check(name), *texts, "{rule:?} {name:?}");
        }
        assert!(Dns1035Label.check("1a")[0].starts_with("a DNS-1035 label must"));
    }

    #[test]
    fn a_prefix_may_end_in_a_dash() {
        for (prefix, good) in
            [("a-", true), ("a", true), ("-", false), ("A-", true), ("a.-", true), ("é-", true)]
        {
            assert_eq!(NameRule::Subdomain.check_prefix(prefix).is_empty(), good, "{prefix}");
        }
        assert!(NameRule::PathSegment.check_prefix("..").is_empty());
    }

    #[test]
    fn qualified_names_and_label_values() {
        let table: &[(&str, Vec<String>)] = &[
            ("app", vec![]),
            ("example.com/MyName", vec![]),
            ("/x", vec!["prefix part must be non-empty".into()]),
            ("A/x", vec![format!("prefix part {SUBDOMAIN_TEXT}")]),
            (
                "x/",
                vec!["name part must be non-empty".into(), format!("name part {QUALIFIED_TEXT}")],
            ),
            (
                "a/b/c",
                vec![format!(
                    "a qualified name {QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                )],
            ),
        ];
        for (name, texts) in table {
            assert_eq!(&qualified_name(name), texts, "{name}");
        }
        assert_eq!(
            qualified_name(&"a".repeat(64)),
            ["name part must be no more than 63 characters"]
        );
        for (value, good) in [("", true), ("a_b", true), ("-a", false), ("a b", false)] {
            assert_eq!(label_value(value).is_empty(), good, "{value:?}");
        }
        assert_eq!(label_value(&"a".repeat(64)), ["must be no more than 63 characters"]);
    }

    #[test]
    fn a_generated_name_is_the_base_cut_and_five_characters() {
        assert_eq!(generated("web-", [0, 1, 26, 27, 28]), "web-bc9bc");
        let name = generated(&"a".repeat(100), [0; 5]);
        assert_eq!((name.len(), name.ends_with("abbbbb")), (63, true));
        assert_eq!(generated(&"é".repeat(40), [0; 5]).len(), 63);
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "\\PC{0,80}", random in any::<[u32; 5]>()) {
            for rule in [NameRule::Subdomain, NameRule::Label, NameRule::Dns1035Label, NameRule::PathSegment] {
                let _ = (rule.check(&name), rule.check_prefix(&name));
            }
            let _ = (qualified_name(&name), label_value(&name), generated(&name, random));
        }
    }
}
