//! Text to steps.

use super::{Comparison, Filter, InvalidPath, MAX_STEPS, Operand, Slice, Step};
use crate::json::{Value, parse};

const BLANKS: [char; 2] = [' ', '\t'];

/// Parses the steps of a whole path.
pub(super) fn steps(text: &str) -> Result<Vec<Step>, InvalidPath> {
    let mut rest = text;
    let mut steps = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (step, behind) = match first {
            '.' if rest.starts_with("..") => return Err(InvalidPath::Character('.')),
            '.' => field(&rest[1..]),
            '[' if rest.starts_with("[?(") => filter(&rest[3..])?,
            '[' => brackets(&rest[1..])?,
            other => return Err(InvalidPath::Character(other)),
        };
        if steps.len() == MAX_STEPS {
            return Err(InvalidPath::TooLong);
        }
        steps.push(step);
        rest = behind.trim_start_matches(BLANKS);
    }
    Ok(steps)
}

/// A name up to the next step; a backslash takes the character behind it as it is.
fn field(text: &str) -> (Step, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    let step = if name == "*" { Step::Wildcard } else { Step::Field(name.into()) };
    (step, &text[end..])
}

/// An index, a slice, `*` or a key, up to the bracket.
fn brackets(text: &str) -> Result<(Step, &str), InvalidPath> {
    let (inside, rest) = text.split_once(']').ok_or(InvalidPath::Unterminated)?;
    let quoted = |quote: char| inside.strip_prefix(quote)?.strip_suffix(quote);
    if let Some(key) = quoted('\'').or_else(|| quoted('"')) {
        return Ok((Step::Field(unescaped(key).into()), rest));
    }
    if inside == "*" {
        return Ok((Step::Wildcard, rest));
    }
    let slice = slice(inside).ok_or_else(|| InvalidPath::Index(inside.into()))?;
    Ok((Step::Slice(slice), rest))
}

fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' {
            out.extend(chars.next());
        } else {
            out.push(c);
        }
    }
    out
}

fn slice(text: &str) -> Option<Slice> {
    let mut parts = text.split(':').map(|part| match part {
        "" => Some(None),
        number => number.parse().ok().map(Some),
    });
    let start = parts.next()??;
    let end = parts.next();
    let step = parts.next().unwrap_or(Some(None))?;
    if parts.next().is_some() || text.is_empty() {
        return None;
    }
    Some(Slice { start, single: end.is_none(), end: end.unwrap_or(Some(None))?, step })
}

/// `left`, or `left operator right`, up to `)]`.
fn filter(text: &str) -> Result<(Step, &str), InvalidPath> {
    let end = end_of_filter(text).ok_or(InvalidPath::UnterminatedFilter)?;
    let inside = &text[..end];
    let rest = text[end..].strip_prefix(")]").ok_or(InvalidPath::UnterminatedFilter)?;
    let bad = || InvalidPath::Filter(inside.into());
    let is_operator = |c| matches!(c, '!' | '<' | '>' | '=');
    let filter = match inside.find(is_operator) {
        None => Filter { left: operand_path(inside)?, test: None },
        Some(at) => {
            let (left, right) = inside.split_at(at);
            let value = right.trim_start_matches(is_operator);
            let comparison = match &right[..right.len() - value.len()] {
                "==" => Comparison::Equal,
                "!=" => Comparison::NotEqual,
                "<" => Comparison::Less,
                "<=" => Comparison::LessOrEqual,
                ">" => Comparison::Greater,
                ">=" => Comparison::GreaterOrEqual,
                _ => return Err(bad()),
            };
            let right = operand(value.trim_matches(BLANKS), bad)?;
            Filter { left: operand_path(left)?, test: Some((comparison, right)) }
        }
    };
    Ok((Step::Filter(filter), rest))
}

/// Offset of the parenthesis that ends a filter; one in quotes does not.
fn end_of_filter(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            None if c == ')' => return Some(at),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open && !escaped => quote = None,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// A path that begins at the element.
fn operand_path(text: &str) -> Result<Vec<Step>, InvalidPath> {
    steps(text.trim_matches(BLANKS).trim_start_matches('@'))
}

fn operand(text: &str, bad: impl Fn() -> InvalidPath) -> Result<Operand, InvalidPath> {
    let single_quoted = || text.strip_prefix('\'')?.strip_suffix('\'');
    if text.starts_with('@') {
        return operand_path(text).map(Operand::Path);
    }
    if let Some(inside) = single_quoted() {
        return Ok(Operand::Literal(unescaped(inside).into()));
    }
    match parse(text.as_bytes()) {
        Ok(literal @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
            Ok(Operand::Literal(literal))
        }
        _ => Err(bad()),
    }
}
