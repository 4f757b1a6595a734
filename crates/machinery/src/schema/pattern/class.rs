//! Character classes of Go's regular expressions.

use std::fmt::Write as _;

use regex::Regex;

use super::InvalidPattern;
use super::translate::{escaped, write_char};

/// Roughly how many states a Unicode property needs.
const PROPERTY_WEIGHT: u64 = 400;

/// General categories by Go's short and long names, in lower case without separators.
const CATEGORIES: &[&str] = &[
    "c",
    "cc",
    "cf",
    "cn",
    "co",
    "cs",
    "l",
    "lc",
    "ll",
    "lm",
    "lo",
    "lt",
    "lu",
    "m",
    "mc",
    "me",
    "mn",
    "n",
    "nd",
    "nl",
    "no",
    "p",
    "pc",
    "pd",
    "pe",
    "pf",
    "pi",
    "po",
    "ps",
    "s",
    "sc",
    "sk",
    "sm",
    "so",
    "z",
    "zl",
    "zp",
    "zs",
    "other",
    "control",
    "cntrl",
    "format",
    "unassigned",
    "privateuse",
    "surrogate",
    "letter",
    "casedletter",
    "lowercaseletter",
    "modifierletter",
    "otherletter",
    "titlecaseletter",
    "uppercaseletter",
    "mark",
    "combiningmark",
    "spacingmark",
    "enclosingmark",
    "nonspacingmark",
    "number",
    "decimalnumber",
    "digit",
    "letternumber",
    "othernumber",
    "punctuation",
    "punct",
    "connectorpunctuation",
    "dashpunctuation",
    "closepunctuation",
    "finalpunctuation",
    "initialpunctuation",
    "otherpunctuation",
    "openpunctuation",
    "symbol",
    "currencysymbol",
    "modifiersymbol",
    "mathsymbol",
    "othersymbol",
    "separator",
    "lineseparator",
    "paragraphseparator",
    "spaceseparator",
];

/// A set of code points, as items of a bracketed class of the `regex` crate.
#[derive(Default)]
pub(super) struct Class {
    negated: bool,
    items: Vec<Item>,
}

/// Part of a class.
pub(super) enum Item {
    /// Code points from the first to the last.
    Range(u32, u32),
    /// A set that is always written so: `[0-9]`, `\p{gc=lu}`.
    Named(String, u64),
}

impl Class {
    pub(super) fn of(item: Item) -> Self {
        Self { negated: false, items: vec![item] }
    }

    pub(super) fn weight(&self) -> u64 {
        let of_item = |item: &Item| match item {
            Item::Range(_, 0..0x80) => 1,
            Item::Range(..) => 8,
            Item::Named(_, weight) => *weight,
        };
        let negation = if self.negated { 8 } else { 0 };
        self.items.iter().map(of_item).sum::<u64>().max(1) + negation
    }

    /// The class for the `regex` crate.
    pub(super) fn write(&self, fold_case: bool) -> String {
        let mut out = String::from(if fold_case { "(?i:[" } else { "[" });
        if self.negated {
            out.push('^');
        }
        let start = out.len();
        for item in &self.items {
            match item {
                Item::Range(low, high) => write_range(*low, *high, &mut out),
                Item::Named(text, _) => out.push_str(text),
            }
        }
        if out.len() == start {
            // No item, or only surrogates, which text does not have: a set without members.
            out.push_str("a&&b");
        }
        out.push_str(if fold_case { "])" } else { "]" });
        out
    }
}

/// A range without the surrogates in it.
fn write_range(low: u32, high: u32, out: &mut String) {
    for (low, high) in [(low, high.min(0xd7ff)), (low.max(0xe000), high)] {
        if low > high {
            continue;
        }
        write_char(low, out);
        if high > low {
            out.push('-');
            write_char(high, out);
        }
    }
}

/// Reads a bracketed class: it and its length.
pub(super) fn class(rest: &str) -> Result<(Class, usize), InvalidPattern> {
    let mut class = Class { negated: rest.starts_with("[^"), items: Vec::new() };
    let mut at = if class.negated { 2 } else { 1 };
    let first = at;
    loop {
        let tail = &rest[at..];
        if tail.starts_with(']') && at > first {
            return Ok((class, at + 1));
        }
        let named = match posix_class(tail)? {
            Some(named) => Some(named),
            None => match unicode_class(tail)? {
                Some(named) => Some(named),
                None => perl_class(tail),
            },
        };
        if let Some((item, length)) = named {
            class.items.push(item);
            at += length;
            continue;
        }
        let (low, length) = one(tail, rest)?;
        at += length;
        let mut high = low;
        let dash = rest[at..].strip_prefix('-');
        if let Some(tail) = dash.filter(|tail| !tail.is_empty() && !tail.starts_with(']')) {
            let (code, length) = one(tail, rest)?;
            high = code;
            at += 1 + length;
        }
        if high < low {
            let range = &rest[rest.len() - tail.len()..at];
            return Err(InvalidPattern::new("invalid character class range", range));
        }
        class.items.push(Item::Range(low, high));
    }
}

/// Reads one code point inside a class: it and its length.
fn one(tail: &str, whole: &str) -> Result<(u32, usize), InvalidPattern> {
    match tail.chars().next() {
        None => Err(InvalidPattern::new("missing closing ]", whole)),
        Some('\\') => escaped(tail),
        Some(c) => Ok((u32::from(c), c.len_utf8())),
    }
}

/// Reads `[:alpha:]` or `[:^alpha:]`.
fn posix_class(tail: &str) -> Result<Option<(Item, usize)>, InvalidPattern> {
    let Some(end) = tail.strip_prefix("[:").and_then(|tail| tail.find(":]")) else {
        return Ok(None);
    };
    let length = 2 + end + 2;
    let name = &tail[2..2 + end];
    let (negation, name) = match name.strip_prefix('^') {
        Some(name) => ("^", name),
        None => ("", name),
    };
    let known = [
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
        "space", "upper", "word", "xdigit",
    ];
    if !known.contains(&name) {
        return Err(InvalidPattern::new("invalid character class range", &tail[..length]));
    }
    let weight = if negation.is_empty() { 1 } else { 8 };
    Ok(Some((Item::Named(format!("[:{negation}{name}:]"), weight), length)))
}

/// Reads `\d`, `\w`, `\s` or the negation of one, all ASCII.
pub(super) fn perl_class(tail: &str) -> Option<(Item, usize)> {
    let text = match tail.get(..2)? {
        r"\d" => "[0-9]",
        r"\D" => "[^0-9]",
        r"\s" => r"[\t\n\x0c\r ]",
        r"\S" => r"[^\t\n\x0c\r ]",
        r"\w" => "[0-9A-Za-z_]",
        r"\W" => "[^0-9A-Za-z_]",
        _ => return None,
    };
    let weight = if text.starts_with("[^") { 8 } else { 1 };
    Some((Item::Named(text.into(), weight), 2))
}

/// Reads `\pL`, `\p{Greek}`, `\P{…}` or `\p{^…}`.
pub(super) fn unicode_class(tail: &str) -> Result<Option<(Item, usize)>, InvalidPattern> {
    let mut negated = tail.starts_with(r"\P");
    let Some(after) = tail.strip_prefix(r"\p").or_else(|| tail.strip_prefix(r"\P")) else {
        return Ok(None);
    };
    let bad = |at: &str| Err(InvalidPattern::new("invalid character class range", at));
    let (name, length) = match (after.chars().next(), tail.find('}')) {
        (None, _) | (Some('{'), None) => return bad(tail),
        (Some('{'), Some(end)) => (&tail[3..end], end + 1),
        (Some(c), _) => (&after[..c.len_utf8()], 2 + c.len_utf8()),
    };
    let bare = name.strip_prefix('^').unwrap_or(name);
    negated ^= bare.len() < name.len();
    let separator = |c: char| matches!(c, '_' | '-' | ' ');
    let canonical: String = bare.chars().filter(|&c| !separator(c)).collect();
    let canonical = canonical.to_ascii_lowercase();
    let is_category = CATEGORIES.contains(&&*canonical);
    if !canonical.bytes().all(|c| c.is_ascii_lowercase()) || canonical.len() < 2 && !is_category {
        return bad(&tail[..length]);
    }
    let sign = if negated { 'P' } else { 'p' };
    let opposite = if negated { 'p' } else { 'P' };
    let mut text = String::new();
    let written = match &*canonical {
        "any" if negated => write!(text, "[a&&b]"),
        "any" => write!(text, r"\x{{0}}-\x{{10ffff}}"),
        "assigned" => write!(text, r"\{opposite}{{gc=cn}}"),
        "ascii" => write!(text, "[[:{}ascii:]]", if negated { "^" } else { "" }),
        "cs" | "surrogate" if negated => write!(text, r"\x{{0}}-\x{{10ffff}}"),
        "cs" | "surrogate" => write!(text, "[a&&b]"),
        name if is_category => write!(text, r"\{sign}{{gc={name}}}"),
        name => write!(text, r"\{sign}{{sc={name}}}"),
    };
    debug_assert!(written.is_ok(), "a String takes all text");
    if !is_category && text.contains("sc=") && Regex::new(&text).is_err() {
        return bad(&tail[..length]);
    }
    Ok(Some((Item::Named(text, PROPERTY_WEIGHT), length)))
}
