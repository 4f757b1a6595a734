//! Label selectors: how they are written.
//!
//! `key`, `!key`, `key = v`, `key == v`, `key != v`, `key in (v, w)`, `key notin (v)`,
//! `key > n`, `key < n`, joined by commas. Values may be empty; `in` and `notin` are names
//! where a name is expected.

use super::InvalidSelector;
use super::label::{Operator, Requirement, invalid_key};
use crate::json::Path;

const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Name(&'a str),
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    const fn text(self) -> &'a str {
        match self {
            Self::Name(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

/// Parses the requirements in source order.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, InvalidSelector> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::End => return Ok(requirements),
            Token::Name(_) | Token::Symbol("!") => {}
            other => return Err(found(other, "!, identifier, or 'end of string'")),
        }
        let requirement = parser.requirement().map_err(|InvalidSelector(text)| {
            InvalidSelector(format!("unable to parse requirement: {text}"))
        })?;
        requirements.push(requirement);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {}
            other => return Err(found(other, "',' or 'end of string'")),
        }
        let next = parser.peek();
        if !matches!(next, Token::Name(_) | Token::Symbol("!")) {
            return Err(found(next, "identifier after ','"));
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> InvalidSelector {
    InvalidSelector(format!("found '{}', expected: {expected}", token.text()))
}

/// Cuts the text into names and the longest symbols.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_space = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n');
    let is_symbol = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '=' | '!' if rest[1..].starts_with('=') => 2,
            first if is_symbol(first) => 1,
            _ => rest.find(|c| is_space(c) || is_symbol(c)).unwrap_or(rest.len()),
        };
        let (token, tail) = rest.split_at(length);
        tokens.push(if is_symbol(first) { Token::Symbol(token) } else { Token::Name(token) });
        rest = tail.trim_start_matches(is_space);
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.at).copied().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, InvalidSelector> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.at += 1;
        }
        let Token::Name(key) = self.peek() else {
            return Err(found(self.peek(), "identifier"));
        };
        self.at += 1;
        if let Some(error) = invalid_key(key, Path::root()) {
            return Err(InvalidSelector(error.to_string()));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let operator = match self.next() {
            Token::Name("in") => Operator::In,
            Token::Name("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(found(other, BINARY_OPERATORS)),
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    /// `(a, b)`; an empty place is the empty value.
    fn values(&mut self) -> Result<Vec<Box<str>>, InvalidSelector> {
        let open = self.next();
        if open != Token::Symbol("(") {
            let text = format!("found '{}' expected: '('", open.text());
            return Err(InvalidSelector(text));
        }
        let first = self.peek();
        if !matches!(first, Token::Name(_) | Token::Symbol("," | ")")) {
            return Err(found(first, "',', ')' or identifier"));
        }
        let mut values = Vec::new();
        loop {
            values.push(match self.peek() {
                Token::Name(value) => {
                    self.at += 1;
                    value.into()
                }
                Token::Symbol("," | ")") => Box::default(),
                other => return Err(found(other, "',', or identifier")),
            });
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(found(other, "',' or ')'")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<Box<str>, InvalidSelector> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(Box::default()),
            Token::Name(value) => {
                self.at += 1;
                Ok(value.into())
            }
            other => Err(found(other, "identifier")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::selector::LabelSelector;

    fn labels(pairs: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
        pairs.iter().map(|&(key, value)| (key.into(), value.into())).collect()
    }

    // Recorded from labels.Parse of apimachinery v0.34: how the selector prints, and whether it
    // matches a=b,x=5.
    #[test]
    fn selectors_mean_what_they_mean_to_kubernetes() {
        for (text, printed, matches) in [
            ("", "", true),
            ("a", "a", true),
            ("!a", "!a", false),
            ("a=b", "a=b", true),
            ("a==b", "a==b", true),
            ("a!=b", "a!=b", false),
            ("a in (b,c)", "a in (b,c)", true),
            ("a notin (b)", "a notin (b)", false),
            ("none notin (b)", "none notin (b)", true),
            ("none!=b", "none!=b", true),
            ("a>1", "a>1", false),
            ("x>4", "x>4", true),
            ("x<5", "x<5", false),
            ("a, b , !c", "a,b,!c", false),
            (" a = b ", "a=b", true),
            ("a in ()", "a in ()", false),
            ("a in (,)", "a in ()", false),
            ("a in (b,,c)", "a in (,b,c)", true),
            ("a in (b,)", "a in (,b)", true),
            ("a=", "a=", false),
            ("a!=", "a!=", true),
            ("a==,b", "a==,b", false),
            ("in in (in,notin)", "in in (in,notin)", false),
            ("x notin (a,b) , y", "x notin (a,b),y", false),
            ("a in(b)", "a in (b)", true),
            ("a in (c,b,a)", "a in (a,b,c)", true),
            ("x,a", "a,x", true),
        ] {
            let selector = LabelSelector::parse(text).unwrap();
            assert_eq!(selector.to_string(), printed, "{text}");
            assert_eq!(selector.matches(&labels(&[("a", "b"), ("x", "5")])), matches, "{text}");
        }
    }

    /// Texts and what is said of them.
    const MISTAKES: &[(&str, &str)] = &[
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (b c)", "unable to parse requirement: found 'c', expected: ',' or ')'"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a=b,", "found '', expected: identifier after ','"),
        ("a=b,,c", "found ',', expected: identifier after ','"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a()", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a>=1", "unable to parse requirement: found '=', expected: identifier"),
        (
            "a>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "a/b/c",
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        ),
        (
            "a=-",
            "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ];

    #[test]
    fn mistakes_are_told_in_the_words_of_kubernetes() {
        for (text, error) in MISTAKES {
            assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), *error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = LabelSelector::parse(&text);
        }

        #[test]
        fn what_parses_prints_as_the_same_selector(text in "[a-c!=(),<>0-9 \t]{0,16}|([a-c]( in | notin |=|!=|>)[(]?[a-c0-9,]{0,5}[)]?,?){0,3}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                let printed = selector.to_string();
                prop_assert_eq!(LabelSelector::parse(&printed).unwrap(), selector);
            }
        }
    }
}
