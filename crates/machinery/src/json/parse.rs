//! Bytes to trees.

use super::{MAX_DEPTH, MAX_DUPLICATES, Map, Number, Path, Segment, Value};

/// The bytes are not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct SyntaxError {
    what: &'static str,
    at: usize,
}

impl SyntaxError {
    /// Offset of the first byte that could not be taken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }
}

/// A tree, and what was wrong with it that did not stop the reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The tree; of equal keys the last.
    pub value: Value,
    /// Paths of keys that came again, in source order, at most [`MAX_DUPLICATES`].
    pub duplicates: Vec<String>,
}

/// Reads one JSON document; of equal keys the last wins.
///
/// # Errors
/// Anything outside RFC 8259, nesting over [`MAX_DEPTH`], an integer outside i64/u64, a number
/// outside the range of a double, bytes after the value, invalid UTF-8.
pub fn parse(bytes: &[u8]) -> Result<Value, SyntaxError> {
    parse_strict(bytes).map(|parsed| parsed.value)
}

/// Reads one JSON document and names keys that came again.
///
/// # Errors
/// As [`parse`].
pub fn parse_strict(bytes: &[u8]) -> Result<Parsed, SyntaxError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        return Err(SyntaxError { what: "invalid UTF-8", at: error.valid_up_to() });
    }
    let mut parser = Parser::new(bytes);
    let value = parser.document()?;
    Ok(Parsed { value, duplicates: parser.duplicates })
}

/// Paths of all keys in the order of the text, those that come again too. For messages that
/// follow that order; what is not JSON has none.
#[must_use]
pub fn paths_of_keys(text: &str) -> Vec<String> {
    let mut parser = Parser { keys: Some(Vec::new()), ..Parser::new(text.as_bytes()) };
    match parser.document() {
        Ok(_) => parser.keys.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// A container that is still open.
enum Open {
    Array(Vec<Value>),
    Object { members: Vec<(Box<str>, Value)>, key: Box<str> },
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Open>,
    duplicates: Vec<String>,
    /// Paths of the keys read so far, where they are wanted.
    keys: Option<Vec<String>>,
}

impl<'a> Parser<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, stack: Vec::new(), duplicates: Vec::new(), keys: None }
    }

    fn document(&mut self) -> Result<Value, SyntaxError> {
        let mut value = self.value()?;
        loop {
            value = match value {
                None => self.value()?,
                Some(complete) => match self.place(complete)? {
                    Placed::Whole(value) => {
                        self.skip_space();
                        return if self.at == self.bytes.len() {
                            Ok(value)
                        } else {
                            Err(self.error("unexpected text after the value"))
                        };
                    }
                    Placed::Closed(value) => Some(value),
                    Placed::More => None,
                },
            };
        }
    }

    /// Reads a scalar or an empty container, or opens a container (`None`).
    fn value(&mut self) -> Result<Option<Value>, SyntaxError> {
        self.skip_space();
        let value = match self.peek() {
            Some(b'{') => return self.open_object(),
            Some(b'[') => return self.open_array(),
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return Err(self.error("expected a value")),
            None => return Err(self.error("unexpected end of input")),
        };
        Ok(Some(value))
    }

    fn open_object(&mut self) -> Result<Option<Value>, SyntaxError> {
        self.enter()?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Some(Value::Object(Map::new())));
        }
        let key = self.key()?;
        self.stack.push(Open::Object { members: Vec::new(), key });
        self.note_key();
        Ok(None)
    }

    fn open_array(&mut self) -> Result<Option<Value>, SyntaxError> {
        self.enter()?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Some(Value::Array(Vec::new())));
        }
        self.stack.push(Open::Array(Vec::new()));
        Ok(None)
    }

    fn enter(&mut self) -> Result<(), SyntaxError> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.error("nesting is too deep"));
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// Puts a complete value where it belongs and reads the separator behind it.
    fn place(&mut self, value: Value) -> Result<Placed, SyntaxError> {
        let close = match self.stack.last_mut() {
            None => return Ok(Placed::Whole(value)),
            Some(Open::Array(elements)) => {
                elements.push(value);
                b']'
            }
            Some(Open::Object { members, key }) => {
                members.push((std::mem::take(key), value));
                b'}'
            }
        };
        self.skip_space();
        match self.peek() {
            Some(b',') => self.at += 1,
            Some(byte) if byte == close => {
                self.at += 1;
                return Ok(Placed::Closed(self.close()));
            }
            Some(_) if close == b'}' => return Err(self.error("expected , or }")),
            Some(_) => return Err(self.error("expected , or ]")),
            None => return Err(self.error("unexpected end of input")),
        }
        if close == b'}' {
            self.skip_space();
            let next = self.key()?;
            if let Some(Open::Object { key, .. }) = self.stack.last_mut() {
                *key = next;
            }
            self.note_key();
        }
        Ok(Placed::More)
    }

    fn close(&mut self) -> Value {
        match self.stack.pop() {
            Some(Open::Array(mut elements)) => {
                elements.shrink_to_fit();
                Value::Array(elements)
            }
            Some(Open::Object { members, .. }) => {
                let mut again = Vec::new();
                let map = Map::from_members(members, |key| again.push(key.to_owned()));
                for key in again {
                    if self.duplicates.len() < MAX_DUPLICATES {
                        self.duplicates.push(self.path_to(&key));
                    }
                }
                Value::Object(map)
            }
            None => unreachable!("only an open container is closed"),
        }
    }

    fn note_key(&mut self) {
        if self.keys.is_some() {
            let path = self.path().to_string();
            self.keys.get_or_insert_default().push(path);
        }
    }

    /// The path of `key` in the object that was just closed.
    fn path_to(&self, key: &str) -> String {
        self.path().field(key).to_string()
    }

    /// Where the parser is.
    fn path(&self) -> Path {
        let mut path = Path::root();
        for open in &self.stack {
            path.push(match open {
                Open::Array(elements) => Segment::Index(elements.len()),
                Open::Object { key, .. } => Segment::Field(key.clone()),
            });
        }
        path
    }

    fn key(&mut self) -> Result<Box<str>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key"));
        }
        let key = self.string()?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected :"));
        }
        self.at += 1;
        Ok(key)
    }

    fn string(&mut self) -> Result<Box<str>, SyntaxError> {
        self.at += 1;
        let start = self.at;
        let mut text: Option<String> = None;
        let mut copied = start;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let tail = self.text(copied, self.at);
                    let whole = match text {
                        None => tail.into(),
                        Some(mut text) => {
                            text.push_str(tail);
                            text.into_boxed_str()
                        }
                    };
                    self.at += 1;
                    return Ok(whole);
                }
                Some(b'\\') => {
                    let mut unescaped = text.take().unwrap_or_default();
                    unescaped.push_str(self.text(copied, self.at));
                    unescaped.push(self.escape()?);
                    copied = self.at;
                    text = Some(unescaped);
                }
                Some(0..=0x1f) => return Err(self.error("control character in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.error("unexpected end of input")),
            }
        }
    }

    /// Text between offsets that stand at ASCII characters, so at character boundaries.
    fn text(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(&self.bytes[from..to]).expect("the input was checked to be UTF-8")
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        self.at += 1;
        let Some(byte) = self.peek() else {
            return Err(self.error("unexpected end of input"));
        };
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => {
                self.at -= 1;
                return Err(self.error("unknown escape"));
            }
        })
    }

    /// `\uXXXX`, pairs of surrogates joined; a lone one becomes U+FFFD as in Go.
    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let after_first = self.at;
        if self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = after_first;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, SyntaxError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.error("expected four hexadecimal digits"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Number, SyntaxError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.error("expected a digit")),
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let number = Number::from_text(self.text(start, self.at));
        let fits = if integer {
            number.as_i64().is_some() || number.as_u64().is_some()
        } else {
            number.as_f64().is_finite()
        };
        if fits {
            Ok(number)
        } else {
            Err(SyntaxError { what: "number is out of range", at: start })
        }
    }

    fn some_digits(&mut self) -> Result<(), SyntaxError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.error("expected a digit"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, SyntaxError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    const fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { what, at: self.at }
    }
}

enum Placed {
    /// The document is complete.
    Whole(Value),
    /// The value completed its container.
    Closed(Value),
    /// Another value must follow.
    More,
}

#[cfg(test)]
mod tests;
