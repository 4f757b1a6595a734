//! An object's members, sorted by key.

use super::Value;

/// Members of a JSON object: unique keys in ascending byte order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    entries: Vec<(Box<str>, Value)>,
}

impl Map {
    /// An empty object.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Takes members in source order; the last of equal keys wins. Calls `duplicate` with each
    /// key that came again.
    pub(super) fn from_members(
        mut entries: Vec<(Box<str>, Value)>,
        mut duplicate: impl FnMut(&str),
    ) -> Self {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            // Equal keys stand in source order: keep the last of each run.
            entries.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                if same {
                    duplicate(&kept.0);
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        entries.shrink_to_fit();
        Self { entries }
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(k, _)| (**k).cmp(key))
    }

    /// The member's value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).ok().map(|at| &self.entries[at].1)
    }

    /// The member's value, for change in place.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        match self.position(key) {
            Ok(at) => Some(&mut self.entries[at].1),
            Err(_) => None,
        }
    }

    /// Whether there is such a member.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_ok()
    }

    /// Sets a member; returns what it was.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.position(&key) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].1, value)),
            Err(at) => {
                self.entries.insert(at, (key, value));
                None
            }
        }
    }

    /// The member's value, after making it `default()` if there was none.
    pub fn entry(&mut self, key: &str, default: impl FnOnce() -> Value) -> &mut Value {
        let at = match self.position(key) {
            Ok(at) => at,
            Err(at) => {
                self.entries.insert(at, (key.into(), default()));
                at
            }
        };
        &mut self.entries[at].1
    }

    /// The member as an object, replacing whatever else stood there.
    pub fn object_mut(&mut self, key: &str) -> &mut Self {
        let value = self.entry(key, || Value::Object(Self::new()));
        if !matches!(value, Value::Object(_)) {
            *value = Value::Object(Self::new());
        }
        match value {
            Value::Object(map) => map,
            _ => unreachable!("it was made an object above"),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.position(key).ok().map(|at| self.entries.remove(at).1)
    }

    /// Keeps the members that `keep` says to.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Value) -> bool) {
        self.entries.retain_mut(|(key, value)| keep(key, value));
    }

    /// Number of members.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Members in ascending key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + DoubleEndedIterator {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// Members in ascending key order, values open to change.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut Value)> {
        self.entries.iter_mut().map(|(key, value)| (&**key, value))
    }

    /// Keys in ascending order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }
}

impl IntoIterator for Map {
    type Item = (Box<str>, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<K: Into<Box<str>>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        let entries = members.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self::from_members(entries, |_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_wins_and_the_others_are_reported() {
        let members = vec![
            ("b".into(), 1.into()),
            ("a".into(), 2.into()),
            ("b".into(), 3.into()),
            ("b".into(), 4.into()),
        ];
        let mut duplicates = Vec::new();
        let map = Map::from_members(members, |key| duplicates.push(key.to_owned()));
        assert_eq!(map.get("b"), Some(&Value::from(4)));
        assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(duplicates, ["b", "b"]);
    }

    #[test]
    fn members_stay_sorted() {
        let mut map = Map::new();
        for key in ["m", "z", "a"] {
            assert_eq!(map.insert(key, key), None);
        }
        assert_eq!(map.insert("m", "again"), Some("m".into()));
        assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "m", "z"]);
        assert_eq!(map.remove("a"), Some("a".into()));
        map.object_mut("m").insert("x", true);
        assert_eq!(map.get("m").unwrap().at(&["x"]), Some(&Value::Bool(true)));
    }
}
