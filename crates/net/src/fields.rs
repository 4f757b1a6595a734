//! The fields of a message, as lines of one buffer.
//!
//! A line says where its name and its value are. There are seldom more than twenty, so whatever is
//! looked for is looked for along them. What is added goes into a second buffer; what is removed
//! leaves its bytes behind, since no head lives long.
//!
//! Every name is a token in lower case and every value one of RFC 9110 §5.5: what is added is
//! looked at, here or where it came from. Names are looked for as they are, in lower case. Where a
//! library wants an [`http::HeaderMap`], one is made.

pub mod names;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
pub use strait_types::Field;
use strait_types::{is_field_name, is_field_value};

/// Room for the lines of most heads, with ours.
const LINES: usize = 16;
/// Room for what most get added, bytes.
const ADDED: usize = 192;

/// Why something is no field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoField {
    /// It is no token in lower case (RFC 9110 §5.6.2).
    #[error("the name of a field is no token in lower case")]
    Name,
    /// It has a control character (RFC 9110 §5.5).
    #[error("the value of a field has a control character")]
    Value,
    /// All fields of a head have less than 4 GiB.
    #[error("the fields are too large")]
    Size,
}

/// The fields of a message in their order, repetitions included.
#[derive(Clone, Default)]
pub struct Fields {
    /// What most of them are parts of.
    text: Bytes,
    /// The others: places in it begin where those of the text end.
    added: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a field is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    name: Place,
    value: Place,
    sensitive: bool,
}

/// Bytes from `at` on.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u32,
    length: u32,
}

/// A value as text, if it is ASCII.
#[must_use]
pub fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.is_ascii())
}

impl Line {
    /// A field at these places of a text that was checked.
    pub(crate) fn at(name: Range<usize>, value: Range<usize>) -> Result<Self, NoField> {
        Ok(Self { name: Place::of(name)?, value: Place::of(value)?, sensitive: false })
    }
}

impl Place {
    fn of(range: Range<usize>) -> Result<Self, NoField> {
        let number = |at: usize| u32::try_from(at).map_err(|_| NoField::Size);
        Ok(Self { at: number(range.start)?, length: number(range.len())? })
    }
}

impl Fields {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self::within(Bytes::new())
    }

    /// None yet; what is added and a part of these bytes is not copied.
    #[must_use]
    pub const fn within(text: Bytes) -> Self {
        Self::of(text, Vec::new())
    }

    /// These lines of a text: names and values were checked.
    pub(crate) const fn of(text: Bytes, lines: Vec<Line>) -> Self {
        Self { text, added: Vec::new(), lines }
    }

    /// How many there are, repetitions included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All, in their order.
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + Clone {
        self.lines.iter().map(|line| self.field(*line))
    }

    /// The values of a name, in their order.
    #[inline]
    pub fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let lines = self.lines.iter().filter(move |line| self.is(line, name.as_bytes()));
        lines.map(|line| self.slice(line.value))
    }

    /// The first value of a name.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let line = self.lines.iter().find(|line| self.is(line, name.as_bytes()))?;
        Some(self.slice(line.value))
    }

    /// The value of a name that is there once.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.lines.iter().filter(|line| self.is(line, name.as_bytes()));
        let first = lines.next()?;
        lines.next().is_none().then(|| self.slice(first.value))
    }

    /// Whether a name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Keeps those that are to stay; whether any went.
    pub fn retain(&mut self, mut stays: impl FnMut(Field<'_>) -> bool) -> bool {
        let mut lines = std::mem::take(&mut self.lines);
        let before = lines.len();
        lines.retain(|line| stays(self.field(*line)));
        let went = lines.len() < before;
        self.lines = lines;
        went
    }

    /// Removes a name; whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.has(name) && self.retain(|field| !field.is(name))
    }

    /// Adds a field behind the others.
    ///
    /// # Errors
    /// It is none.
    pub fn push(&mut self, field: Field<'_>) -> Result<(), NoField> {
        if !is_field_name(field.name) {
            return Err(NoField::Name);
        }
        if !is_field_value(field.value) {
            return Err(NoField::Value);
        }
        self.carry(field)
    }

    /// The same of one that was checked where it came from.
    ///
    /// # Errors
    /// The fields are too large.
    pub fn carry(&mut self, field: Field<'_>) -> Result<(), NoField> {
        debug_assert!(is_field_name(field.name) && is_field_value(field.value), "{field:?}");
        if self.lines.is_empty() {
            self.lines.reserve(LINES);
        }
        let name = self.place(field.name)?;
        let value = self.place(field.value)?;
        self.lines.push(Line { name, value, sensitive: field.sensitive });
        Ok(())
    }

    /// Sets a field, in place of all of its name: where the value can be none, there is none then.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.set_field(Field::new(name, value));
    }

    /// The same of one whose value is never logged.
    pub fn set_secret(&mut self, name: &str, value: &[u8]) {
        self.set_field(Field::secret(name, value));
    }

    fn set_field(&mut self, field: Field<'_>) {
        if self.lines.iter().any(|line| self.is(line, field.name)) {
            self.retain(|own| own.name != field.name);
        }
        let _ = self.push(field);
    }

    /// Puts another value in place of each of a name's, which is left as it is where that can be none.
    pub fn replace(&mut self, name: &str, mut by: impl FnMut(&[u8]) -> Vec<u8>) {
        for at in 0..self.lines.len() {
            let line = self.lines[at];
            if self.is(&line, name.as_bytes()) {
                let value = by(self.slice(line.value));
                if is_field_value(&value)
                    && let Ok(value) = self.place(&value)
                {
                    self.lines[at].value = value;
                }
            }
        }
    }

    /// Where bytes are: in the text, or else added.
    fn place(&mut self, bytes: &[u8]) -> Result<Place, NoField> {
        let (from, text) = (bytes.as_ptr() as usize, self.text.as_ptr() as usize);
        if let Some(at) = from.checked_sub(text)
            && at + bytes.len() <= self.text.len()
        {
            return Place::of(at..at + bytes.len());
        }
        if self.added.is_empty() {
            self.added.reserve(ADDED);
        }
        let at = self.text.len() + self.added.len();
        self.added.extend_from_slice(bytes);
        Place::of(at..at + bytes.len())
    }

    #[inline]
    fn is(&self, line: &Line, name: &[u8]) -> bool {
        debug_assert!(!name.iter().any(u8::is_ascii_uppercase), "{}", name.escape_ascii());
        line.name.length as usize == name.len() && self.slice(line.name) == name
    }

    #[inline]
    fn field(&self, line: Line) -> Field<'_> {
        let (name, value) = (self.slice(line.name), self.slice(line.value));
        Field { name, value, sensitive: line.sensitive }
    }

    #[inline]
    fn slice(&self, Place { at, length }: Place) -> &[u8] {
        let (at, length) = (at as usize, length as usize);
        match at.checked_sub(self.text.len()) {
            None => &self.text[at..at + length],
            Some(at) => &self.added[at..at + length],
        }
    }

    /// The bytes at a place, shared where they are a part of the text.
    fn shared(&self, place: Place) -> Bytes {
        match (place.at as usize) < self.text.len() {
            true => self.text.slice_ref(self.slice(place)),
            false => Bytes::copy_from_slice(self.slice(place)),
        }
    }

    /// The same as a map, whose values share the text.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for line in &self.lines {
            let name = HeaderName::from_bytes(self.slice(line.name));
            let value = HeaderValue::from_maybe_shared(self.shared(line.value));
            if let (Ok(name), Ok(mut value)) = (name, value) {
                value.set_sensitive(line.sensitive);
                map.append(name, value);
            }
        }
        map
    }
}

/// The fields of a map. What is no field is left out: `http` takes names from HTTP/2 that have a
/// quotation mark.
pub(crate) fn fields_of(map: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    let fields = map.iter().map(|(name, value)| {
        let (name, sensitive) = (name.as_str().as_bytes(), value.is_sensitive());
        Field { name, value: value.as_bytes(), sensitive }
    });
    fields.filter(|field| is_field_name(field.name) && is_field_value(field.value))
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        for field in fields_of(map) {
            let _ = fields.carry(field);
        }
        fields
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_added_is_a_field_or_refused() {
        let mut fields = Fields::new();
        for (name, value, expected) in [
            ("accept", "*/*", Ok(())),
            ("x-a", "", Ok(())),
            ("x-a", "tab\tand \u{e9}", Ok(())),
            ("Accept", "x", Err(NoField::Name)),
            ("", "x", Err(NoField::Name)),
            ("a b", "x", Err(NoField::Name)),
            ("a:", "x", Err(NoField::Name)),
            ("a\u{e9}", "x", Err(NoField::Name)),
            ("a", "x\r\ny: z", Err(NoField::Value)),
            ("a", "x\0", Err(NoField::Value)),
            ("a", "x\u{7f}", Err(NoField::Value)),
        ] {
            let before = fields.clone();
            assert_eq!(
                fields.push(Field::new(name, value.as_bytes())),
                expected,
                "{name}: {value}"
            );
            assert_eq!(fields == before, expected.is_err());
            if expected != Err(NoField::Name) {
                fields.set(name, value.as_bytes());
                assert_eq!(fields.has(name), expected.is_ok(), "{name}: {value}");
            }
        }
        assert_eq!(format!("{fields:?}"), r"[accept: */*, x-a: tab\tand \xc3\xa9]");
    }

    #[test]
    fn sensitive_values_are_not_printed() {
        let mut fields = Fields::new();
        let field = Field::secret("cookie", b"canary");
        fields.push(field).unwrap();
        assert!(!format!("{fields:?} {field:?}").contains("canary"));
        assert!(fields.to_map()["cookie"].is_sensitive());
        assert!(Fields::from(&fields.to_map()).iter().all(|field| field.sensitive));
    }

    #[test]
    fn a_map_may_have_what_is_no_field() {
        let mut map = HeaderMap::new();
        for name in [&b"a\"b"[..], b"age"] {
            map.insert(HeaderName::from_lowercase(name).unwrap(), HeaderValue::from_static("1"));
        }
        let fields = Fields::from(&map);
        assert!(fields.iter().eq([Field::new("age", b"1")]));
    }

    /// What is done to fields.
    #[derive(Clone, Debug)]
    enum Act {
        Push(String, String),
        /// As a part of the text.
        Own(usize, usize),
        Set(String, String),
        Remove(String),
        Retain(u8),
        /// Every value of a name by a longer one.
        Replace(String),
    }

    const TEXT: &str = "accepthostcookiex-ax-bvalue";
    const OWN: [(&str, &str); 4] =
        [("accept", "value"), ("host", ""), ("x-a", "cookie"), ("x-b", "host")];

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let name = "accept|host|cookie|x-a|x-b";
        let value = "[a-z]{0,6}";
        let act = prop_oneof![
            (name, value).prop_map(|(name, value)| Act::Push(name, value)),
            (0..OWN.len(), 0..OWN.len()).prop_map(|(name, value)| Act::Own(name, value)),
            (name, value).prop_map(|(name, value)| Act::Set(name, value)),
            name.prop_map(Act::Remove),
            any::<u8>().prop_map(Act::Retain),
            name.prop_map(Act::Replace),
        ];
        prop::collection::vec(act, 0..24)
    }

    fn string(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    proptest! {
        /// They are a list of pairs.
        #[test]
        fn they_do_as_a_list_does(acts in acts()) {
            let text = Bytes::from_static(TEXT.as_bytes());
            let mut fields = Fields::within(text.clone());
            let mut list: Vec<(String, String)> = Vec::new();
            for act in acts {
                match act {
                    Act::Push(name, value) => {
                        fields.push(Field::new(&name, value.as_bytes())).unwrap();
                        list.push((name, value));
                    }
                    Act::Own(name, value) => {
                        let at = |part: &str| {
                            let at = TEXT.find(part).unwrap();
                            std::str::from_utf8(&text[at..at + part.len()]).unwrap()
                        };
                        let (name, value) = (at(OWN[name].0), at(OWN[value].1));
                        fields.push(Field::new(name, value.as_bytes())).unwrap();
                        list.push((name.to_owned(), value.to_owned()));
                    }
                    Act::Set(name, value) => {
                        fields.set(&name, value.as_bytes());
                        list.retain(|(own, _)| *own != name);
                        list.push((name, value));
                    }
                    Act::Remove(name) => {
                        let was = list.iter().any(|(own, _)| *own == name);
                        prop_assert_eq!(fields.remove(&name), was);
                        list.retain(|(own, _)| *own != name);
                    }
                    Act::Replace(name) => {
                        fields.replace(&name, |value| [value, b"+"].concat());
                        let own = list.iter_mut().filter(|(own, _)| *own == name);
                        own.for_each(|(_, value)| value.push('+'));
                    }
                    Act::Retain(seed) => {
                        let stays =
                            |value: &[u8]| !(value.len() + usize::from(seed)).is_multiple_of(3);
                        let before = list.len();
                        list.retain(|(_, value)| stays(value.as_bytes()));
                        prop_assert_eq!(fields.retain(|own| stays(own.value)), list.len() < before);
                    }
                }
                let all = fields.iter().map(|own| (string(own.name), string(own.value)));
                prop_assert_eq!(all.collect::<Vec<_>>(), list.clone());
                prop_assert_eq!((fields.len(), fields.is_empty()), (list.len(), list.is_empty()));
                for name in ["accept", "host", "cookie", "x-a", "x-b", "x-c"] {
                    let own: Vec<_> = list.iter().filter(|(own, _)| own == name).collect();
                    let first = own.first().map(|(_, value)| value.as_bytes());
                    prop_assert_eq!(fields.get(name), first);
                    prop_assert_eq!(fields.only(name), first.filter(|_| own.len() == 1));
                    prop_assert_eq!(fields.has(name), first.is_some());
                    let all: Vec<_> = own.iter().map(|(_, value)| value.as_bytes()).collect();
                    prop_assert_eq!(fields.all(name).collect::<Vec<_>>(), all);
                }
            }
            // A map has fields of one name beside each other.
            let map = fields.to_map();
            let again = Fields::from(&map);
            prop_assert_eq!(again.to_map(), map);
            prop_assert_eq!(again.len(), list.len());
        }
    }
}
