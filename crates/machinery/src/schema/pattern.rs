//! Regular expressions in schemas: Go's syntax (RE2) with Go's meaning.
//!
//! Go's text is parsed here, by Go's rules and with Go's errors (`regexp/syntax`), and written
//! anew for the `regex` crate: `\d`, `\w`, `\s` and `\b` are ASCII, `[` inside a class is a
//! character, `&&` is two, `{{` needs no escape, `\Q…\E` quotes. Both engines are linear in the
//! text, so what is bounded is the size: [`MAX_BYTES`] as written, [`MAX_WEIGHT`] once counted
//! repetitions are written out.
//!
//! Only whether a pattern matches somewhere is ever asked: captures and greed are checked for
//! syntax and then forgotten.

mod class;
mod translate;

use regex::{Regex, RegexBuilder};

use crate::names::cut;

/// Longest pattern, as written.
pub const MAX_BYTES: usize = 4096;
/// Most matching states that a pattern may need, by a rough count that repeats what is repeated.
/// A name of 253 characters of one class needs 253.
pub const MAX_WEIGHT: u64 = 20_000;
/// Deepest nesting of groups.
pub const MAX_GROUPS: usize = 100;

/// What the compiled form of a pattern of [`MAX_WEIGHT`] may take.
const SIZE_LIMIT: usize = 16 << 20;
/// What may be kept to match faster, for each thread that matches at the same time.
const CACHE_LIMIT: usize = 1 << 18;
/// What [`MAX_GROUPS`] come to in the written form, where each group may be repeated and quoted.
const NEST_LIMIT: u32 = 1000;

/// A compiled regular expression and its source.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: Box<str>,
    regex: Regex,
    weight: u64,
}

/// A pattern that Go would refuse, in Go's words, or one that is too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {code}: `{at}`")]
pub struct InvalidPattern {
    code: &'static str,
    at: Box<str>,
}

impl InvalidPattern {
    fn new(code: &'static str, at: &str) -> Self {
        Self { code, at: at.into() }
    }
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Go would refuse it, or it exceeds a limit of this module.
    pub fn new(source: &str) -> Result<Self, InvalidPattern> {
        let too_large = || InvalidPattern::new("expression too large", shortened(source));
        if source.len() > MAX_BYTES {
            return Err(too_large());
        }
        let translation = translate::translate(source)?;
        if translation.weight > MAX_WEIGHT {
            return Err(too_large());
        }
        let regex = RegexBuilder::new(&translation.text)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(CACHE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .map_err(|_| too_large())?;
        Ok(Self { source: source.into(), regex, weight: translation.weight })
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it matches somewhere in the text.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Roughly how many steps it takes at most to match a text of that many bytes.
    #[must_use]
    pub fn steps(&self, bytes: usize) -> u64 {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.weight.saturating_mul(bytes).saturating_add(1)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The start of a pattern too long to be said whole.
fn shortened(source: &str) -> &str {
    cut(source, 256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Expectations recorded from Go's regexp.
    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let table: &[(&str, &[&str], &[&str])] = &[
            ("b", &["abc"], &["ac"]),
            (r"^\d+$", &["12"], &["१२", "1a", "1\n"]),
            (r"\bk\b", &["a k b", "ék"], &["ak"]),
            (r"a\Bb", &["ab"], &["a b"]),
            (r"^\w$", &["a", "_"], &["é"]),
            (r"^\s$", &[" ", "\t"], &["\u{b}", "\u{a0}"]),
            (r"[a-z[\]]", &["[", "]", "q"], &["Q"]),
            ("[]a]", &["]", "a"], &["b"]),
            ("^[^]a]$", &["b"], &["]", "a"]),
            ("[a&&b]", &["&", "a"], &["c"]),
            ("[+--a]", &["-", ",", "a"], &["c"]),
            ("{{.*}}", &["{{x}}", "{{}}"], &["{x}"]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            (r"\Qa.b\E+$", &["a.bb"], &["axb"]),
            (r"\Q*", &["*"], &["a"]),
            ("(?i)k", &["K", "\u{212a}"], &["x"]),
            ("(?i:[^k])", &["x"], &["K", "\u{212a}"]),
            ("(?i)a(?-i)b", &["Ab"], &["AB"]),
            ("^a$", &["a"], &["a\n", "a\nb"]),
            ("(?m)^a$", &["a\nb"], &["ab"]),
            ("^.$", &["é"], &["\n"]),
            ("(?s)^.$", &["\n"], &["ab"]),
            (r"^\x{1F600}\101\x41$", &["😀AA"], &["AAA"]),
            (r"^\pL\p{Greek}\P{Lu}\p{^Lu}$", &["aαbb"], &["1αbb", "aαBb"]),
            ("^[[:alpha:][:^ascii:]]+$", &["aé"], &["a1"]),
            (r"[\x{D800}-\x{DFFF}]", &[], &["a", "\u{d7ff}", "\u{e000}"]),
            ("^(a|b|)$", &["", "a"], &["c"]),
            ("^(?:ab){2}$", &["abab"], &["ab"]),
            ("^(?P<n>a)(?<m>b)$", &["ab"], &["a"]),
        ];
        for (source, matching, other) in table {
            let pattern = Pattern::new(source).unwrap();
            assert_eq!(pattern.as_str(), *source);
            for text in *matching {
                assert!(pattern.is_match(text), "{source} {text:?}");
            }
            for text in *other {
                assert!(!pattern.is_match(text), "{source} {text:?}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_go() {
        for (source, code, at) in [
            ("(a", "missing closing )", "(a"),
            ("a)", "unexpected )", "a)"),
            ("[a", "missing closing ]", "[a"),
            ("[z-a]", "invalid character class range", "z-a"),
            ("[[:foo:]]", "invalid character class range", "[:foo:]"),
            (r"\p{Foo}x", "invalid character class range", r"\p{Foo}"),
            (r"\p", "invalid character class range", r"\p"),
            ("*a", "missing argument to repetition operator", "*"),
            ("a|+?", "missing argument to repetition operator", "+?"),
            ("a**", "invalid nested repetition operator", "**"),
            ("a{2}{3}", "invalid nested repetition operator", "{2}{3}"),
            ("a{1001}", "invalid repeat count", "{1001}"),
            ("a{2,1}", "invalid repeat count", "{2,1}"),
            ("(a{32}){32}", "invalid repeat count", "{32}"),
            (r"a\", "trailing backslash at end of expression", ""),
            (r"\1", "invalid escape sequence", r"\1"),
            (r"\Z", "invalid escape sequence", r"\Z"),
            (r"\xé4", "invalid escape sequence", r"\xé4"),
            (r"\x{110000}", "invalid escape sequence", r"\x{110000"),
            (r"[a-\d]", "invalid escape sequence", r"\d"),
            ("(?=a)", "invalid or unsupported Perl syntax", "(?="),
            ("(?!a)", "invalid or unsupported Perl syntax", "(?!"),
            ("(?x)", "invalid or unsupported Perl syntax", "(?x"),
            ("(?i-)", "invalid or unsupported Perl syntax", "(?i-)"),
            ("(?<=a)", "invalid named capture", "(?<=a)"),
            ("(?P<a-b>c)", "invalid named capture", "(?P<a-b>"),
        ] {
            let told = Pattern::new(source).unwrap_err().to_string();
            assert_eq!(told, format!("error parsing regexp: {code}: `{at}`"));
        }
    }

    #[test]
    fn size_is_bounded() {
        let too_large = |source: &str| {
            let told = Pattern::new(source).unwrap_err().to_string();
            assert!(told.contains("too large") || told.contains("too deeply"), "{told}");
            assert!(told.len() < 5000, "{}", told.len());
        };
        assert!(Pattern::new("^[a-z]{1,253}([.][a-z]{1,63}){0,9}$").is_ok());
        assert!(Pattern::new(&"a".repeat(MAX_BYTES)).is_ok());
        too_large(&"a".repeat(MAX_BYTES + 1));
        too_large(r"\pL{1000}");
        too_large(&"([^a]{1000})".repeat(300));
        assert!(
            Pattern::new(&format!("{}{}", "(".repeat(MAX_GROUPS), ")".repeat(MAX_GROUPS))).is_ok()
        );
        too_large(&format!("{}{}", "(".repeat(MAX_GROUPS + 1), ")".repeat(MAX_GROUPS + 1)));
        let deep = format!("{}{}", "(?i:[a]*".repeat(MAX_GROUPS), ")+".repeat(MAX_GROUPS));
        assert!(Pattern::new(&deep).unwrap().is_match(""));
    }

    proptest! {
        #[test]
        fn no_text_panics(source in r"(\PC|[\[\](){}|*+?^$\\.\-&:<>a-d0-9pPQEx]){0,24}", text in "\\PC{0,8}") {
            if let Ok(pattern) = Pattern::new(&source) {
                let _ = pattern.is_match(&text);
            }
        }
    }
}
