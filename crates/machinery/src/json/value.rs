//! The tree.

use std::cmp::Ordering;

use super::Map;

/// Any JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in the text that it came in.
    Number(Number),
    /// A string.
    String(Box<str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Map),
}

/// A number's text, checked to be JSON. Equal when written alike or when both are integers of
/// one value; so `1.0` and `1` differ, as their bytes do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number(Box<str>);

impl Number {
    /// Only for text that was read as a JSON number.
    pub(super) fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value, if it is written as an integer (no point, no exponent) and fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The value, if it is written as an integer and fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The nearest double.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// Whether the value has no fraction, however it is written (`1`, `1.0`, `1e3`).
    #[must_use]
    pub fn is_integral(&self) -> bool {
        self.as_i64().is_some() || self.as_u64().is_some() || {
            let value = self.as_f64();
            value.is_finite() && value.fract() == 0.0
        }
    }

    /// Compares by value.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self.as_i64(), other.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}

impl Value {
    /// An empty object.
    #[must_use]
    pub const fn object() -> Self {
        Self::Object(Map::new())
    }

    /// The word that Kubernetes' validation uses for the type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Whether this is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub const fn as_object_mut(&mut self) -> Option<&mut Map> {
        match self {
            Self::Object(map) => Some(map),
            _ => None,
        }
    }

    /// The member of that name, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.get(key)
    }

    /// Follows member names from here.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The string at a path of member names.
    #[must_use]
    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// The elements at a path of member names; none if there is no array there.
    #[must_use]
    pub fn array_at(&self, path: &[&str]) -> &[Self] {
        self.at(path).and_then(Self::as_array).unwrap_or_default()
    }

    /// Sets the value at a path of member names, making objects on the way (and replacing what
    /// is not one).
    ///
    /// # Panics
    /// If `path` is empty.
    pub fn set(&mut self, path: &[&str], value: impl Into<Self>) {
        let (last, parents) = path.split_last().expect("a path has at least one name");
        let mut map = self.make_object();
        for key in parents {
            map = map.object_mut(key);
        }
        map.insert(*last, value);
    }

    /// Removes what is at a path of member names.
    pub fn remove(&mut self, path: &[&str]) -> Option<Self> {
        let (last, parents) = path.split_last()?;
        let mut value = self;
        for key in parents {
            value = value.as_object_mut()?.get_mut(key)?;
        }
        value.as_object_mut()?.remove(last)
    }

    /// This value as an object, replacing whatever else it was.
    pub fn make_object(&mut self) -> &mut Map {
        if !matches!(self, Self::Object(_)) {
            *self = Self::object();
        }
        match self {
            Self::Object(map) => map,
            _ => unreachable!("it was made an object above"),
        }
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::String(text.as_str().into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Box<str>> for Value {
    fn from(text: Box<str>) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Object(map)
    }
}

impl From<Vec<Self>> for Value {
    fn from(elements: Vec<Self>) -> Self {
        Self::Array(elements)
    }
}

macro_rules! from_integer {
    ($($type:ty),*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::Number(Number(value.to_string().into()))
            }
        }
    )*};
}
from_integer!(i32, i64, u16, u32, u64, usize);

impl From<f64> for Value {
    /// Writes the shortest text that reads back as the same double; `null` for NaN and infinities,
    /// which JSON has not.
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Number(Number(format!("{value}").into())) } else { Self::Null }
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::Array(elements.into_iter().map(Into::into).collect())
    }
}

/// Builds a [`Value`] from a literal: `object!{"name": "x", "labels": object!{}}`.
#[macro_export]
macro_rules! object {
    ($($key:literal : $value:expr),* $(,)?) => {{
        #[allow(unused_mut, reason = "an empty literal changes nothing")]
        let mut map = $crate::json::Map::new();
        $(map.insert($key, $value);)*
        $crate::json::Value::Object(map)
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value>() <= 32, "{}", size_of::<Value>());
    }

    #[test]
    fn paths_read_set_and_remove() {
        let mut value = object! {"a": object!{"b": 1}};
        assert_eq!(value.at(&["a", "b"]), Some(&1.into()));
        assert_eq!(value.at(&["a", "x", "y"]), None);
        value.set(&["a", "c", "d"], "deep");
        assert_eq!(value.str_at(&["a", "c", "d"]), Some("deep"));
        assert_eq!(value.remove(&["a", "b"]), Some(1.into()));
        assert_eq!(value.remove(&["a", "b", "c"]), None);
    }

    #[test]
    fn numbers_know_whether_they_are_integral() {
        for (text, integral) in [
            ("1", true),
            ("1.0", true),
            ("1e3", true),
            ("1.5", false),
            ("18446744073709551615", true),
        ] {
            assert_eq!(Number::from_text(text).is_integral(), integral, "{text}");
        }
        assert_eq!(Number::from_text("9223372036854775807").as_i64(), Some(i64::MAX));
        assert_eq!(Number::from_text("1.0").as_i64(), None);
        assert_eq!(Number::from_text("2").compare(&Number::from_text("10")), Ordering::Less);
    }
}
