//! How text may be written in block YAML (libyaml's analysis of scalars).

use std::sync::LazyLock;

use regex::Regex;

use super::scalar::{Scalar, resolve};

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// The style for a text; a key on one line cannot be literal.
pub(super) fn style(text: &str, is_simple_key: bool) -> Style {
    let form = Form::of(text);
    let several_lines = text.contains('\n');
    if several_lines && form.block_allowed && !is_simple_key {
        return Style::Literal;
    }
    if several_lines || form.special || !means_text(text) {
        return Style::DoubleQuoted;
    }
    if form.plain_allowed { Style::Plain } else { Style::SingleQuoted }
}

/// Whether a plain scalar of this text is read as text.
fn means_text(text: &str) -> bool {
    // Times and angles in base 60, which other readers of YAML 1.1 take for numbers.
    static BASE_60: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
            .expect("a constant pattern compiles")
    });
    resolve(text) == Scalar::Text && !BASE_60.is_match(text)
}

/// Whether a character stands for itself between quotes and in blocks.
pub(super) const fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && !matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}')
}

struct Form {
    /// Characters that must be escaped.
    special: bool,
    plain_allowed: bool,
    block_allowed: bool,
}

impl Form {
    fn of(text: &str) -> Self {
        let special = !text.chars().all(is_printable);
        let space_before_break = text.contains(" \n");
        let ends_in_space = text.ends_with(' ');
        Self {
            special,
            plain_allowed: !special
                && !text.starts_with(' ')
                && !ends_in_space
                && !has_indicators(text),
            block_allowed: !special && !space_before_break && !ends_in_space,
        }
    }
}

/// Whether something in the text would be read as syntax.
fn has_indicators(text: &str) -> bool {
    let blank = |c: char| matches!(c, ' ' | '\t');
    let mut after_blank = true;
    let mut chars = text.chars().peekable();
    let mut first = true;
    while let Some(c) = chars.next() {
        let before_blank = chars.peek().is_none_or(|&c| blank(c));
        let is_indicator = match c {
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
            | '`' => first,
            '?' | '-' => first && before_blank,
            ':' => before_blank,
            '#' => after_blank,
            _ => false,
        };
        if is_indicator {
            return true;
        }
        first = false;
        after_blank = blank(c) || c == '\n';
    }
    text.starts_with("---") || text.starts_with("...")
}
