//! Values to text: block style, keys in go-yaml's order, lists not indented below their key,
//! lines folded at 80 characters where a blank allows it.

use std::cmp::Ordering;

use super::style::{Style, is_printable, style};
use crate::go_text;
use crate::json::{Map, Value};

/// Plain and quoted text is folded at the first blank beyond this.
const BEST_WIDTH: usize = 80;
/// Longer keys stand behind a `?`.
const MAX_SIMPLE_KEY: usize = 128;
const INDENT: usize = 2;

/// A value of which the indentation takes more bytes than this is written as JSON, which is YAML,
/// too. Far more than real objects need, it keeps a small, deep value from
/// becoming a large text.
const MAX_INDENTATION: usize = 32 << 20;

/// Writes a value, with a line break at the end.
#[must_use]
pub fn to_text(value: &Value) -> String {
    if indentation(value, 0) > MAX_INDENTATION {
        return format!("{value}\n");
    }
    let mut writer = Writer { out: String::new(), column: 0 };
    writer.node(value, 0, After::Nothing);
    writer.end_line();
    writer.out
}

/// About how many blanks stand before the lines of a value.
fn indentation(value: &Value, indent: usize) -> usize {
    let inside = |value| indent + indentation(value, indent + INDENT);
    match value {
        Value::Object(map) => map.iter().map(|(_, value)| inside(value)).sum(),
        Value::Array(elements) => elements.iter().map(inside).sum(),
        Value::String(text) => indent * text.matches('\n').count(),
        _ => 0,
    }
}

/// What stands before a node on its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// `key:`
    Key,
    /// `-`, `?` or `:`, behind which a collection may begin on the same line.
    Indicator,
}

struct Writer {
    out: String,
    column: usize,
}

impl Writer {
    /// Writes a value inside a collection at `indent`.
    fn node(&mut self, value: &Value, indent: usize, after: After) {
        let inner = if after == After::Nothing { indent } else { indent + INDENT };
        match value {
            Value::Object(map) if !map.is_empty() => self.mapping(map, inner, after),
            Value::Array(elements) if !elements.is_empty() => {
                let at = if after == After::Key { indent } else { inner };
                self.sequence(elements, at, after);
            }
            scalar => {
                if after != After::Nothing {
                    self.put(' ');
                }
                self.scalar(scalar, indent + INDENT);
            }
        }
    }

    fn mapping(&mut self, map: &Map, indent: usize, after: After) {
        let mut same_line = after != After::Key;
        for (key, value) in sorted(map) {
            self.start_line(indent, same_line);
            same_line = false;
            if key.len() <= MAX_SIMPLE_KEY && !key.contains('\n') {
                self.text(key, style(key, true), indent + INDENT, false);
                self.put(':');
                self.node(value, indent, After::Key);
            } else {
                self.put_all("? ");
                self.text(key, style(key, false), indent + INDENT, true);
                self.start_line(indent, false);
                self.put(':');
                self.node(value, indent, After::Indicator);
            }
        }
    }

    fn sequence(&mut self, elements: &[Value], indent: usize, after: After) {
        let mut same_line = after != After::Key;
        for element in elements {
            self.start_line(indent, same_line);
            same_line = false;
            self.put('-');
            self.node(element, indent, After::Indicator);
        }
    }

    /// Writes what has no members; `indent` is that of further lines.
    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::String(text) => self.text(text, style(text, false), indent, true),
            Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => {
                self.put_all(&go_text::float(number.as_f64()));
            }
            Value::Array(_) => self.put_all("[]"),
            Value::Object(_) => self.put_all("{}"),
            other => self.put_all(&other.to_string()),
        }
    }

    fn text(&mut self, text: &str, style: Style, indent: usize, may_fold: bool) {
        match style {
            Style::Plain => self.folded(text, indent, may_fold, false),
            Style::SingleQuoted => {
                self.put('\'');
                self.folded(text, indent, may_fold, true);
                self.put('\'');
            }
            Style::DoubleQuoted => self.double_quoted(text, indent, may_fold),
            Style::Literal => self.literal(text, indent),
        }
    }

    /// Plain or, but for the quotes, single-quoted text.
    fn folded(&mut self, text: &str, indent: usize, may_fold: bool, quoted: bool) {
        let mut chars = text.char_indices().peekable();
        let mut after_space = false;
        while let Some((at, c)) = chars.next() {
            let next_is_space = chars.peek().is_some_and(|&(_, c)| c == ' ');
            let inside = !quoted || at > 0 && at + 1 < text.len();
            if c == ' '
                && may_fold
                && !after_space
                && self.column > BEST_WIDTH
                && inside
                && !next_is_space
            {
                self.start_line(indent, false);
            } else {
                if quoted && c == '\'' {
                    self.put('\'');
                }
                self.put(c);
            }
            after_space = c == ' ';
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, may_fold: bool) {
        self.put('"');
        let mut chars = text.char_indices().peekable();
        let mut after_space = false;
        while let Some((at, c)) = chars.next() {
            let inside = at > 0 && at + 1 < text.len();
            if c == ' ' && may_fold && !after_space && self.column > BEST_WIDTH && inside {
                self.start_line(indent, false);
                if chars.peek().is_some_and(|&(_, c)| c == ' ') {
                    self.put('\\');
                }
            } else if c == '\n' || matches!(c, '"' | '\\') || !is_printable(c) {
                self.put_all(&escape(c));
            } else {
                self.put(c);
            }
            after_space = c == ' ';
        }
        self.put('"');
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.put('|');
        if text.starts_with([' ', '\n']) {
            self.put_all(&INDENT.to_string());
        }
        if !text.ends_with('\n') {
            self.put('-');
        } else if text == "\n" || text.ends_with("\n\n") {
            self.put('+');
        }
        for line in text.split_inclusive('\n') {
            self.break_line();
            if line != "\n" {
                self.pad(indent);
                self.put_all(line.trim_end_matches('\n'));
            }
        }
        if text.ends_with('\n') {
            self.break_line();
        }
    }

    /// Goes to the start of a line, or stays on this one, and out to `indent`.
    fn start_line(&mut self, indent: usize, same_line: bool) {
        if !same_line {
            self.end_line();
        }
        self.pad(indent);
    }

    fn end_line(&mut self) {
        if self.column > 0 {
            self.break_line();
        }
    }

    fn break_line(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn pad(&mut self, indent: usize) {
        while self.column < indent {
            self.put(' ');
        }
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_all(&mut self, text: &str) {
        text.chars().for_each(|c| self.put(c));
    }
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

/// Members in go-yaml's order. It is not a total order, so the standard sort cannot be used.
fn sorted(map: &Map) -> Vec<(&str, &Value)> {
    let mut members: Vec<_> = map.iter().collect();
    let mut width = 1;
    while width < members.len() {
        let mut merged = Vec::with_capacity(members.len());
        for pair in members.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                let side = if natural(b.0, a.0) == Ordering::Less { &mut right } else { &mut left };
                merged.push(side[0]);
                *side = &side[1..];
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        members = merged;
        width *= 2;
    }
    members
}

/// Letters after everything else, runs of digits by value (go-yaml v2 sorter.go).
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[at], b[at]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    // A zero inside a number is a digit like any other; at its start it is nothing.
    let digits_before = a[..at].iter().rev().take_while(|c| c.is_ascii_digit());
    let inside = (x == '0' || y == '0') && digits_before.clone().any(|&c| c != '0');
    let run = |text: &[char]| {
        let digits: String = text[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let value = format!("{}{digits}", u8::from(inside)).parse::<u64>().unwrap_or(u64::MAX);
        (value, digits.len())
    };
    run(&a).cmp(&run(&b)).then(x.cmp(&y))
}
