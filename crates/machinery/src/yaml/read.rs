//! Text to documents.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::places::{Inside, Places};
use super::scalar::{Scalar, resolve};
use super::{Document, MAX_ALIASED_BYTES, MAX_NESTING, MAX_NODES, Position, YamlError};
use crate::go_text;
use crate::json::{Value, parse as parse_json};

const CORE: &str = "tag:yaml.org,2002:";

/// Reads every document of a text. A text without any has none; a document without a value is
/// `null`.
///
/// # Errors
/// What is not YAML; keys that come twice, or are no scalars; numbers that JSON has not; an
/// unknown alias; and what exceeds the limits of this module.
pub fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
        // Another crate may switch that feature of the parser on.
        emit_comments: false,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let last_line = text.rsplit('\n').next().unwrap_or_default();
    let mut reader = Reader {
        unbroken_end: (!last_line.trim_matches([' ', '\t']).is_empty()).then_some(text.len()),
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        nodes: 0,
        copied: 0,
    };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::DocumentStart(..), _) => {
                reader.anchors.clear();
                let (event, span) = reader.next()?;
                let (value, places) = reader.node(&event, span)?;
                documents.push(Document { value, places });
            }
            _ => {}
        }
    }
}

struct Reader<'a> {
    /// Where the text ends, if it ends inside a line.
    unbroken_end: Option<usize>,
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, (Value, Places)>,
    nodes: usize,
    /// About how many bytes anchors and aliases have copied.
    copied: usize,
}

type Read = (Value, Places);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(wrong(error.marker(), error.info())),
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    /// Reads the node that begins with an event.
    fn node(&mut self, event: &Event<'a>, span: Span) -> Result<Read, YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(wrong(&span.start, format!("more than {MAX_NODES} values")));
        }
        let read = match event {
            Event::Scalar(text, style, _, tag) => {
                let text = self.without_added_break(text, *style, span);
                let value =
                    scalar(text, *style, tag.as_deref()).map_err(|why| wrong(&span.start, why))?;
                (value, Places { position: position(&span.start), inside: Inside::Nothing })
            }
            Event::SequenceStart(_, _, tag) => {
                collection_tag(tag.as_deref(), "seq").map_err(|why| wrong(&span.start, why))?;
                self.sequence(span)?
            }
            Event::MappingStart(_, _, tag) => {
                collection_tag(tag.as_deref(), "map").map_err(|why| wrong(&span.start, why))?;
                self.mapping(span)?
            }
            Event::Alias(anchor) => return self.alias(*anchor, span),
            _ => return Err(wrong(&span.start, "expected a value")),
        };
        if let Some(anchor) = event.anchor_id().filter(|&anchor| anchor != 0) {
            self.charge(&read.0, span)?;
            self.anchors.insert(anchor, read.clone());
        }
        Ok(read)
    }

    /// A block of text that ends with the file, in the middle of a line, has no break there.
    fn without_added_break<'t>(&self, text: &'t str, style: ScalarStyle, span: Span) -> &'t str {
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let end = span.byte_range().map(|range| range.end);
        if is_block && end.is_some() && end == self.unbroken_end {
            text.strip_suffix('\n').unwrap_or(text)
        } else {
            text
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Read, YamlError> {
        // An anchor is known once its node is complete.
        let Some((value, places)) = self.anchors.get(&anchor).cloned() else {
            return Err(wrong(&span.start, "an anchor's value contains itself"));
        };
        self.charge(&value, span)?;
        Ok((value, Places { position: position(&span.start), ..places }))
    }

    fn charge(&mut self, value: &Value, span: Span) -> Result<(), YamlError> {
        self.copied = self.copied.saturating_add(size(value));
        if self.copied > MAX_ALIASED_BYTES {
            return Err(wrong(&span.start, "document contains excessive aliasing"));
        }
        Ok(())
    }

    fn sequence(&mut self, span: Span) -> Result<Read, YamlError> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                break;
            }
            let (value, place) = self.node(&event, at)?;
            values.push(value);
            places.push(place);
        }
        let inside = Inside::Elements(places);
        Ok((Value::Array(values), Places { position: position(&span.start), inside }))
    }

    fn mapping(&mut self, span: Span) -> Result<Read, YamlError> {
        let mut members: Vec<(Box<str>, Read)> = Vec::new();
        let mut seen: HashSet<Box<str>> = HashSet::new();
        let mut merged: Vec<Read> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, _) if text == "<<");
            let key = if is_merge { None } else { Some(self.key(&event, at)?) };
            let (event, value_at) = self.next()?;
            let mut read = self.node(&event, value_at)?;
            let Some(key) = key else {
                merge(read, &mut merged).map_err(|why| wrong(&value_at.start, why))?;
                continue;
            };
            if !seen.insert(key.clone()) {
                let text = format!("key {} already set in map", go_text::quoted(&key));
                return Err(wrong(&at.start, text));
            }
            read.1.position = position(&at.start);
            members.push((key, read));
        }
        // What is merged stands behind what is written, the first merged before the others.
        for (map, places) in merged {
            let (Value::Object(map), Inside::Members(places)) = (map, places.inside) else {
                continue;
            };
            for ((key, value), (_, place)) in map.into_iter().zip(places) {
                if seen.insert(key.clone()) {
                    members.push((key, (value, place)));
                }
            }
        }
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let (mut values, mut places) = (Vec::new(), Vec::new());
        for (key, (value, place)) in members {
            values.push((key.clone(), value));
            places.push((key, place));
        }
        let inside = Inside::Members(places);
        let value = Value::Object(values.into_iter().collect());
        Ok((value, Places { position: position(&span.start), inside }))
    }

    /// Reads a key: a scalar, as text.
    fn key(&mut self, event: &Event<'a>, span: Span) -> Result<Box<str>, YamlError> {
        let (value, _) = self.node(event, span)?;
        match value {
            Value::String(text) => Ok(text),
            Value::Bool(flag) => Ok(flag.to_string().into()),
            Value::Number(number) if number.as_i64().is_some() => Ok(number.as_str().into()),
            // Go prints these keys in the precision of a float32.
            #[expect(clippy::cast_possible_truncation, reason = "a key is text in any case")]
            Value::Number(number) if number.as_u64().is_none() => {
                let shortest = format!("{}", number.as_f64() as f32);
                Ok(go_text::float(shortest.parse().unwrap_or(f64::NAN)).into())
            }
            _ => Err(wrong(&span.start, "unsupported map key")),
        }
    }
}

/// Takes the value of `<<`: a mapping or a sequence of mappings.
fn merge(read: Read, merged: &mut Vec<Read>) -> Result<(), &'static str> {
    const WRONG: &str = "map merge requires map or sequence of maps as the value";
    match read {
        (Value::Object(_), _) => merged.push(read),
        (Value::Array(values), Places { inside: Inside::Elements(places), .. }) => {
            for (value, place) in values.into_iter().zip(places) {
                if value.as_object().is_none() {
                    return Err(WRONG);
                }
                merged.push((value, place));
            }
        }
        _ => return Err(WRONG),
    }
    Ok(())
}

fn position(mark: &Marker) -> Position {
    Position { line: mark.line(), column: mark.col() + 1 }
}

fn wrong(mark: &Marker, what: impl Into<String>) -> YamlError {
    YamlError { what: what.into(), position: position(mark) }
}

fn collection_tag(tag: Option<&Tag>, expected: &str) -> Result<(), String> {
    match tag.and_then(core_tag) {
        Some(name) if name != expected => Err(format!("cannot decode !!{expected} as a !!{name}")),
        _ => Ok(()),
    }
}

/// The name of a tag of YAML's own, e.g. `int`.
fn core_tag(tag: &Tag) -> Option<&str> {
    (tag.handle() == CORE).then(|| tag.suffix())
}

/// What a scalar says, given its tag.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain {
            number(resolve(text), text)
        } else {
            Ok(text.into())
        };
    };
    let Some(name) = core_tag(tag) else {
        // Somebody's own type is text to us.
        return Ok(text.into());
    };
    let meaning = resolve(text);
    let found = match (name, meaning) {
        ("str", _) | ("timestamp", Scalar::Timestamp) => return Ok(text.into()),
        ("binary", _) => return binary(text),
        ("float", Scalar::Integer(_) | Scalar::Unsigned(_) | Scalar::Float(_))
        | ("int", Scalar::Integer(_) | Scalar::Unsigned(_))
        | ("bool", Scalar::Bool(_))
        | ("null", Scalar::Null) => return number(meaning, text),
        (_, Scalar::Null) => "null",
        (_, Scalar::Bool(_)) => "bool",
        (_, Scalar::Integer(_) | Scalar::Unsigned(_)) => "int",
        (_, Scalar::Float(_)) => "float",
        (_, Scalar::Timestamp) => "timestamp",
        (_, Scalar::Text) => "str",
    };
    Err(format!("cannot decode !!{found} `{text}` as a !!{name}"))
}

fn binary(text: &str) -> Result<Value, String> {
    let bare: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match STANDARD.decode(bare) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned().into()),
        Err(_) => Err("!!binary value contains invalid base64 data".into()),
    }
}

fn number(meaning: Scalar, text: &str) -> Result<Value, String> {
    Ok(match meaning {
        Scalar::Null => Value::Null,
        Scalar::Bool(flag) => flag.into(),
        Scalar::Integer(number) => number.into(),
        Scalar::Unsigned(number) => number.into(),
        Scalar::Float(number) if number.is_finite() => {
            let plain = parse_json(go_text::json_float(number).as_bytes());
            // A whole number too large for an integer needs its exponent.
            plain
                .or_else(|_| parse_json(format!("{number:e}").as_bytes()))
                .map_err(|why| why.to_string())?
        }
        Scalar::Float(_) => return Err(format!("unsupported value: {text}")),
        Scalar::Timestamp | Scalar::Text => text.into(),
    })
}

/// About how many bytes a copy of a value takes.
fn size(value: &Value) -> usize {
    let inside: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(elements) => elements.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    inside + 16
}
