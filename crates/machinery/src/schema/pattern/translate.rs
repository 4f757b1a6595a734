//! Go's regular expressions, parsed and written for the `regex` crate.

use std::fmt::Write as _;

use super::class::{Class, class, perl_class, unicode_class};
use super::{InvalidPattern, MAX_GROUPS, MAX_WEIGHT};

/// Most repetitions, alone and multiplied through nesting (`regexp/syntax` repeatIsValid).
const MAX_REPEAT: u32 = 1000;

/// The pattern for the `regex` crate, and how large it is.
pub(super) struct Translation {
    pub text: String,
    pub weight: u64,
}

/// What a repetition operator applies to: a character, class, assertion or group.
#[derive(Default)]
struct Piece {
    text: String,
    weight: u64,
    /// Product of the counted repetitions on the worst way down.
    repeated: u32,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
}

/// An open group.
#[derive(Default)]
struct Group {
    /// Complete alternatives, joined.
    before: Option<Piece>,
    /// The pieces of the alternative that is being read.
    pieces: Vec<Piece>,
    /// To be restored at its end.
    outer: Flags,
}

/// What was read last, which decides whether a repetition may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// A repetition, which began at this byte.
    Repeat(usize),
    Other,
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
    flags: Flags,
    groups: Vec<Group>,
}

/// Translates a whole pattern.
pub(super) fn translate(source: &str) -> Result<Translation, InvalidPattern> {
    let mut parser =
        Parser { source, at: 0, flags: Flags::default(), groups: vec![Group::default()] };
    let mut last = Last::Other;
    while let Some(c) = parser.rest().chars().next() {
        last = parser.one(c, last)?;
    }
    let group = parser.groups.pop().unwrap_or_default();
    if !parser.groups.is_empty() {
        return Err(InvalidPattern::new("missing closing )", source));
    }
    let Piece { text, weight, .. } = group.close();
    Ok(Translation { text, weight })
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the outermost group is closed last")
    }

    fn push(&mut self, text: impl Into<String>, weight: u64) {
        let text = text.into();
        self.group().pieces.push(Piece { text, weight, repeated: 1 });
    }

    /// Reads what begins with `c`.
    fn one(&mut self, c: char, last: Last) -> Result<Last, InvalidPattern> {
        match c {
            '(' if self.rest().starts_with("(?") => self.perl_group()?,
            '(' => {
                self.open(self.flags)?;
                self.at += 1;
            }
            '|' => {
                self.group().alternative();
                self.at += 1;
            }
            ')' => {
                self.close()?;
                self.at += 1;
            }
            '^' => self.simple(if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
            '$' => self.simple(if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
            '.' => self.simple(if self.flags.dot_newline { "(?s:.)" } else { r"[^\n]" }),
            '[' => {
                let (class, length) = class(self.rest())?;
                self.push_class(&class);
                self.at += length;
            }
            '*' => return self.repeat(0, None, 1, last),
            '+' => return self.repeat(1, None, 1, last),
            '?' => return self.repeat(0, Some(1), 1, last),
            '{' => match counts(self.rest()) {
                Some((min, max, length)) => return self.repeat(min, max, length, last),
                None => {
                    self.literal('{');
                    self.at += 1;
                }
            },
            '\\' => self.escape()?,
            c => {
                self.literal(c);
                self.at += c.len_utf8();
            }
        }
        Ok(Last::Other)
    }

    /// One character of syntax that becomes one piece.
    fn simple(&mut self, text: &str) {
        self.push(text, 4);
        self.at += 1;
    }

    fn literal(&mut self, c: char) {
        let mut text = String::new();
        if self.flags.fold_case && (!c.is_ascii() || c.is_ascii_alphabetic()) {
            text.push_str("(?i:");
            write_char(u32::from(c), &mut text);
            text.push(')');
        } else {
            write_char(u32::from(c), &mut text);
        }
        let weight = if c.is_ascii() { 1 } else { 4 };
        self.push(text, weight);
    }

    fn push_class(&mut self, class: &Class) {
        let text = class.write(self.flags.fold_case);
        self.push(text, class.weight());
    }

    fn open(&mut self, inner: Flags) -> Result<(), InvalidPattern> {
        if self.groups.len() > MAX_GROUPS {
            return Err(InvalidPattern::new("expression nests too deeply", self.source));
        }
        self.groups.push(Group { outer: self.flags, ..Group::default() });
        self.flags = inner;
        Ok(())
    }

    fn close(&mut self) -> Result<(), InvalidPattern> {
        if self.groups.len() == 1 {
            return Err(InvalidPattern::new("unexpected )", self.source));
        }
        let group = self.groups.pop().unwrap_or_default();
        self.flags = group.outer;
        let mut piece = group.close();
        piece.text = format!("(?:{})", piece.text);
        self.group().pieces.push(piece);
        Ok(())
    }

    /// `(?P<name>`, `(?<name>`, `(?flags)`, `(?flags:`.
    fn perl_group(&mut self) -> Result<(), InvalidPattern> {
        let rest = self.rest();
        let named = rest.strip_prefix("(?P<").or_else(|| rest.strip_prefix("(?<"));
        if let Some(tail) = named.filter(|tail| !tail.is_empty()) {
            let bad = |at: &str| Err(InvalidPattern::new("invalid named capture", at));
            let Some(end) = tail.find('>') else {
                return bad(rest);
            };
            let length = rest.len() - tail.len() + end + 1;
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if end == 0 || !tail[..end].chars().all(word) {
                return bad(&rest[..length]);
            }
            self.at += length;
            return self.open(self.flags);
        }
        let mut flags = self.flags;
        let mut on = true;
        let mut saw_flag = false;
        for (at, c) in rest.char_indices().skip(2) {
            match c {
                'i' => flags.fold_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_newline = on,
                'U' => {}
                '-' if on => {
                    on = false;
                    saw_flag = false;
                    continue;
                }
                ':' | ')' if on || saw_flag => {
                    self.at += at + 1;
                    if c == ':' {
                        return self.open(flags);
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => {
                    let code = "invalid or unsupported Perl syntax";
                    return Err(InvalidPattern::new(code, &rest[..at + c.len_utf8()]));
                }
            }
            saw_flag = true;
        }
        Err(InvalidPattern::new("invalid or unsupported Perl syntax", rest))
    }

    /// A repetition operator of `length` bytes stands here.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        length: usize,
        last: Last,
    ) -> Result<Last, InvalidPattern> {
        let start = self.at;
        let counted = self.rest().starts_with('{');
        self.at += length;
        let operator = &self.source[start..self.at];
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
            return Err(InvalidPattern::new("invalid repeat count", operator));
        }
        if self.rest().starts_with('?') {
            self.at += 1;
        }
        let (source, end) = (self.source, self.at);
        if let Last::Repeat(first) = last {
            let code = "invalid nested repetition operator";
            return Err(InvalidPattern::new(code, &source[first..end]));
        }
        let operator = &source[start..end];
        let Some(piece) = self.group().pieces.last_mut() else {
            let code = "missing argument to repetition operator";
            return Err(InvalidPattern::new(code, operator));
        };
        let times = max.unwrap_or(min);
        if counted && times > 0 {
            piece.repeated = piece.repeated.saturating_mul(times);
        } else if max == Some(0) {
            piece.repeated = 1;
        }
        if counted && (min >= 2 || times >= 2) && piece.repeated > MAX_REPEAT {
            return Err(InvalidPattern::new("invalid repeat count", operator));
        }
        let copies = u64::from(times.max(1));
        piece.weight = piece.weight.saturating_add(1).saturating_mul(copies);
        if piece.weight > MAX_WEIGHT {
            return Err(InvalidPattern::new("expression too large", operator));
        }
        let max = max.map_or_else(String::new, |max| max.to_string());
        piece.text = format!("(?:{}){{{min},{max}}}", piece.text);
        Ok(Last::Repeat(start))
    }

    fn escape(&mut self) -> Result<(), InvalidPattern> {
        let rest = self.rest();
        let after = rest[1..].chars().next();
        let assertion = match after {
            Some('A') => Some(r"\A"),
            Some('z') => Some(r"\z"),
            Some('b') => Some(r"(?-u:\b)"),
            Some('B') => Some(r"(?-u:\B)"),
            _ => None,
        };
        if let Some(text) = assertion {
            self.push(text, 1);
            self.at += 2;
            return Ok(());
        }
        if after == Some('Q') {
            let quoted = rest[2..].split_once(r"\E").map_or(&rest[2..], |(quoted, _)| quoted);
            quoted.chars().for_each(|c| self.literal(c));
            self.at = (self.at + 2 + quoted.len() + 2).min(self.source.len());
            return Ok(());
        }
        let found = match unicode_class(rest)? {
            Some(found) => Some(found),
            None => perl_class(rest),
        };
        if let Some((item, length)) = found {
            self.push_class(&Class::of(item));
            self.at += length;
            return Ok(());
        }
        let (code, length) = escaped(rest)?;
        match char::from_u32(code) {
            Some(c) => self.literal(c),
            None => self.push_class(&Class::default()),
        }
        self.at += length;
        Ok(())
    }
}

impl Group {
    fn alternative(&mut self) {
        let piece = concatenated(std::mem::take(&mut self.pieces));
        self.before = Some(match self.before.take() {
            None => piece,
            Some(before) => Piece {
                text: format!("{}|{}", before.text, piece.text),
                weight: before.weight.saturating_add(piece.weight).saturating_add(1),
                repeated: before.repeated.max(piece.repeated),
            },
        });
    }

    fn close(mut self) -> Piece {
        self.alternative();
        self.before.unwrap_or_default()
    }
}

fn concatenated(pieces: Vec<Piece>) -> Piece {
    let mut whole = Piece { repeated: 1, ..Piece::default() };
    for piece in pieces {
        whole.text.push_str(&piece.text);
        whole.weight = whole.weight.saturating_add(piece.weight);
        whole.repeated = whole.repeated.max(piece.repeated);
    }
    whole
}

/// Reads `{n}`, `{n,}` or `{n,m}`: the counts, and the length. Anything else is text.
fn counts(rest: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = rest.find('}')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let canonical = text.len() == 1 || !text.starts_with('0');
        // What does not fit is too many in any case.
        (digits && canonical).then(|| text.parse().unwrap_or(u32::MAX))
    };
    let inside = &rest[1..end];
    let (min, max) = match inside.split_once(',') {
        None => {
            let count = number(inside)?;
            (count, Some(count))
        }
        Some((min, "")) => (number(min)?, None),
        Some((min, max)) => (number(min)?, Some(number(max)?)),
    };
    Some((min, max, end + 1))
}

/// Reads an escape that stands for one code point: the code and the length.
pub(super) fn escaped(rest: &str) -> Result<(u32, usize), InvalidPattern> {
    let mut chars = rest.char_indices().skip(1);
    let Some((_, c)) = chars.next() else {
        return Err(InvalidPattern::new("trailing backslash at end of expression", ""));
    };
    let after = 1 + c.len_utf8();
    let bytes = rest.as_bytes();
    let octal = |at: usize| bytes.get(at).filter(|c| (b'0'..=b'7').contains(c));
    let code = match c {
        'x' => return hexadecimal(rest),
        'a' => 0x07,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        '0'..='7' if c == '0' || octal(after).is_some() => {
            let length = (1..4).take_while(|&at| octal(at).is_some()).count();
            let code = u32::from_str_radix(&rest[1..=length], 8).unwrap_or(0);
            return Ok((code, 1 + length));
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
        _ => {
            return Err(InvalidPattern::new("invalid escape sequence", &rest[..after]));
        }
    };
    Ok((code, after))
}

/// `\xFF` or `\x{10FFFF}`.
fn hexadecimal(rest: &str) -> Result<(u32, usize), InvalidPattern> {
    let bad = |end: usize| Err(InvalidPattern::new("invalid escape sequence", &rest[..end]));
    let mut code = 0u32;
    let mut digits = 0;
    let braced = rest[2..].starts_with('{');
    let start = if braced { 3 } else { 2 };
    for (at, c) in rest.char_indices().skip_while(|&(at, _)| at < start) {
        if braced && c == '}' && digits > 0 {
            return Ok((code, at + 1));
        }
        let Some(digit) = c.to_digit(16) else {
            // Go looks at the second digit before it judges the first.
            let both = rest.char_indices().nth(4).map_or(rest.len(), |(end, _)| end);
            return bad(if braced { at + c.len_utf8() } else { both });
        };
        code = code * 16 + digit;
        digits += 1;
        if code > u32::from(char::MAX) {
            return bad(at + 1);
        }
        if !braced && digits == 2 {
            return Ok((code, at + 1));
        }
    }
    bad(rest.len())
}

/// Writes one code point so that it can mean nothing else.
pub(super) fn write_char(code: u32, out: &mut String) {
    match char::from_u32(code) {
        Some(c) if c.is_ascii_alphanumeric() => out.push(c),
        _ => {
            let written = write!(out, "\\x{{{code:x}}}");
            debug_assert!(written.is_ok(), "a String takes all text");
        }
    }
}
