//! The part of Kubernetes' JSONPath that printer columns and selectable fields use
//! (`client-go/util/jsonpath`): `.spec.x`, `.a\.b`, `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[*]`,
//! `.*`, `[?(@.type=="Ready")]`, `[?(@.ready)]`.
//!
//! A path begins with a dot. Recursive descent, unions and everything of templates are not
//! part of it. A path that leads nowhere finds nothing; a step that makes no sense for what is
//! there (an index into an object, or beyond the end) makes the whole path find nothing.

mod eval;
mod parse;

use strait_types::{Classified, ErrorKind};

use crate::json::Value;

/// Most steps of a path, those inside of filters included.
pub const MAX_STEPS: usize = 64;

/// Text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPath {
    /// It does not begin with a dot.
    #[error("must be a simple json path starting with .")]
    NoDot,
    /// `[` without `]`.
    #[error("unterminated array")]
    Unterminated,
    /// `[?(` without `)]`.
    #[error("unterminated filter")]
    UnterminatedFilter,
    /// What stands in brackets is neither an index nor a key.
    #[error("invalid array index {0}")]
    Index(String),
    /// A filter whose operator or right side is not known.
    #[error("unrecognized filter {0}")]
    Filter(String),
    /// Something that no step begins with.
    #[error("unrecognized character in action: {0:?}")]
    Character(char),
    /// More than [`MAX_STEPS`].
    #[error("more than {MAX_STEPS} steps")]
    TooLong,
}

impl Classified for InvalidPath {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Box<str>),
    /// All members or elements.
    Wildcard,
    Slice(Slice),
    /// Elements for which a condition holds.
    Filter(Filter),
}

/// Elements from `start` to before `end`, negative numbers counted from the end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    /// Whether `end` was not written: one element is meant.
    single: bool,
    step: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Filter {
    left: Vec<Step>,
    /// None: the left side must exist.
    test: Option<(Comparison, Operand)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    Literal(Value),
    Path(Vec<Step>),
}

impl JsonPath {
    /// Parses a path.
    ///
    /// # Errors
    /// The text is no path of this part of the language.
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        if !text.starts_with('.') {
            return Err(InvalidPath::NoDot);
        }
        Ok(Self { steps: parse::steps(text)? })
    }

    /// What the path leads to, in order; nothing where it leads nowhere.
    #[must_use]
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        eval::walk(&self.steps, vec![value]).unwrap_or_default()
    }

    /// The first of what the path leads to.
    #[must_use]
    pub fn first<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        self.find(value).first().copied()
    }

    /// The members that the path names one after the other, if that is all it does: what a
    /// selectable field must be.
    #[must_use]
    pub fn fields(&self) -> Option<Vec<&str>> {
        let fields = self.steps.iter().map(|step| match step {
            Step::Field(name) => Some(&**name),
            _ => None,
        });
        fields.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use proptest::prelude::*;

    const OBJECT: &str = r#"{
        "metadata": {"annotations": {"x.io/y": "escaped", "plain": "p"}},
        "spec": {"s": "text", "i": 7, "f": 2.75, "a": ["x", "y", "z"], "o": {"a": 1, "b": 2}, "nul": null,
            "l": [{"k": "a", "n": 1}, {"k": "b", "n": 2, "m": 2}, {"k": "c"}]},
        "status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "True"}]}
    }"#;

    fn find(path: &str) -> String {
        let object = parse(OBJECT.as_bytes()).unwrap();
        let found = JsonPath::parse(path).unwrap().find(&object).into_iter().cloned();
        found.collect::<Value>().to_string()
    }

    #[test]
    fn paths_lead_where_upstreams_lead() {
        for (path, found) in [
            (".", "[]"),
            (".spec.s", r#"["text"]"#),
            (".spec.s ", r#"["text"]"#),
            (".spec.", "[]"),
            (".spec.nul", "[null]"),
            (".spec.nul.x", "[]"),
            (".spec.x.y.z", "[]"),
            (".spec.s.x", "[]"),
            (".spec.a", r#"[["x","y","z"]]"#),
            (".spec.a[0]", r#"["x"]"#),
            (".spec.a[-1]", r#"["z"]"#),
            (".spec.a[7]", "[]"),
            (".spec.a[-7]", "[]"),
            (".spec.a[*]", r#"["x","y","z"]"#),
            (".spec.a[0:2]", r#"["x","y"]"#),
            (".spec.a[1:]", r#"["y","z"]"#),
            (".spec.a[:-1]", r#"["x","y"]"#),
            (".spec.a[::2]", r#"["x","z"]"#),
            (".spec.a[2:1]", "[]"),
            (".spec.a[0:9]", "[]"),
            (".spec.a[0:2:0]", "[]"),
            (".spec.o[0]", "[]"),
            (".spec.o.*", "[1,2]"),
            (".spec.l[*].k", r#"["a","b","c"]"#),
            (".spec.l[0].k", r#"["a"]"#),
            (r".metadata.annotations.x\.io/y", r#"["escaped"]"#),
            (r".metadata.annotations['x\.io/y']", r#"["escaped"]"#),
            (".metadata.annotations['plain']", r#"["p"]"#),
            (r#".metadata.annotations["plain"]"#, r#"["p"]"#),
            (r#".status.conditions[?(@.type=="Ready")].status"#, r#"["True"]"#),
            (".status.conditions[?(@.type=='Ready')].status", r#"["True"]"#),
            (r#".status.conditions[?(@.type == "Ready")].status"#, r#"["True"]"#),
            (r#".status.conditions[?(@.type=="None")].status"#, "[]"),
            (".spec.l[?(@.n>1)].k", r#"["b"]"#),
            (".spec.l[?(@.n>=1)].k", r#"["a","b"]"#),
            (".spec.l[?(@.n<2)].k", r#"["a"]"#),
            (".spec.l[?(@.n<=2)].k", r#"["a","b"]"#),
            (r#".spec.l[?(@.k!="a")].k"#, r#"["b","c"]"#),
            (r#".spec.l[?(@.k>"a")].k"#, r#"["b","c"]"#),
            (".spec.l[?(@.n==@.m)].k", r#"["b"]"#),
            (".spec.l[?(@.n)].k", r#"["a","b"]"#),
            (".spec.s[?(@.n)].k", "[]"),
        ] {
            assert_eq!(find(path), found, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (path, error) in [
            ("", InvalidPath::NoDot),
            ("spec", InvalidPath::NoDot),
            ("$.spec", InvalidPath::NoDot),
            (".a[", InvalidPath::Unterminated),
            (".a[0", InvalidPath::Unterminated),
            (".a[x]", InvalidPath::Index("x".into())),
            (".a[0,1]", InvalidPath::Index("0,1".into())),
            (".a[1:2:3:4]", InvalidPath::Index("1:2:3:4".into())),
            (".a[?(@.b==1)", InvalidPath::UnterminatedFilter),
            (".a[?(@.b==1]", InvalidPath::UnterminatedFilter),
            (".a[?(@.b==)]", InvalidPath::Filter("@.b==".into())),
            (".a[?(@.b=~1)]", InvalidPath::Filter("@.b=~1".into())),
            ("..k", InvalidPath::Character('.')),
            (".a}", InvalidPath::Character('}')),
            (&".a".repeat(MAX_STEPS + 1), InvalidPath::TooLong),
        ] {
            assert_eq!(JsonPath::parse(path), Err(error), "{path}");
        }
    }

    #[test]
    fn selectable_fields_only_name_members() {
        let fields = |text: &str| {
            let path = JsonPath::parse(text).unwrap();
            path.fields().map(|fields| fields.join("/"))
        };
        assert_eq!(fields(".spec.x").as_deref(), Some("spec/x"));
        assert_eq!(fields(r".spec.a\.b").as_deref(), Some("spec/a.b"));
        assert_eq!(fields(".spec.a[0]"), None);
        assert_eq!(fields(".spec.*"), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(any in "\\PC*", close in r#"\.[a-c.\\\[\]*?(@=<>!'":0-9) -]{0,24}"#) {
            let object = parse(OBJECT.as_bytes()).unwrap();
            for text in [any, close] {
                if let Ok(path) = JsonPath::parse(&text) {
                    let _ = path.find(&object);
                }
            }
        }
    }
}
