//! What stands, and what really changed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::{Event, Object, ObjectKey, SourceId};

/// What an event means to somebody who knows what stood before.
#[derive(Debug)]
pub enum Change {
    /// Nothing that was not known.
    None,
    /// An object is new or has changed.
    Applied(Arc<ObjectKey>, Box<Object>),
    /// Objects that stood are gone.
    Gone(Vec<Arc<ObjectKey>>),
    /// An object is new, and there is no room for it. It comes again with the next list.
    Full(Box<Object>),
}

/// Objects by key, each with its version, its source and a small value of the owner's. Whole
/// objects are not kept.
///
/// The same object may come from two sources for a moment, when a logical cluster moves between
/// servers: the later one counts, and what the earlier one says of it from then on does not.
#[derive(Debug)]
pub struct Index<T> {
    entries: HashMap<Arc<ObjectKey>, Known<T>>,
    rounds: HashMap<SourceId, u32>,
    max: usize,
}

#[derive(Debug)]
struct Known<T> {
    version: Box<str>,
    source: SourceId,
    /// In which list of its source it was last seen.
    round: u32,
    value: T,
}

impl<T: Default> Index<T> {
    /// Holds at most `max` objects.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { entries: HashMap::new(), rounds: HashMap::new(), max }
    }

    /// Takes an event.
    pub fn take(&mut self, event: Event) -> Change {
        match event {
            Event::Began(source) => {
                let round = self.rounds.entry(source).or_default();
                *round = round.wrapping_add(1);
                Change::None
            }
            Event::Applied(source, object) => self.applied(source, object),
            Event::Deleted(source, object) => self.deleted(source, &object.key),
            Event::Listed(source) => self.listed(source),
        }
    }

    fn applied(&mut self, source: SourceId, object: Box<Object>) -> Change {
        let round = self.rounds.get(&source).copied().unwrap_or_default();
        if let Some((key, _)) = self.entries.get_key_value(&object.key) {
            let key = key.clone();
            let known = self.entries.get_mut(&key).expect("it was found above");
            let same = known.version == object.version && known.source == source;
            (known.source, known.round) = (source, round);
            if same {
                return Change::None;
            }
            known.version.clone_from(&object.version);
            return Change::Applied(key, object);
        }
        if self.entries.len() >= self.max {
            return Change::Full(object);
        }
        let key = Arc::new(object.key.clone());
        let known = Known { version: object.version.clone(), source, round, value: T::default() };
        self.entries.insert(key.clone(), known);
        Change::Applied(key, object)
    }

    fn deleted(&mut self, source: SourceId, key: &ObjectKey) -> Change {
        match self.entries.get(key) {
            Some(known) if known.source == source => {
                let removed = self.entries.remove_entry(key);
                Change::Gone(removed.into_iter().map(|(key, _)| key).collect())
            }
            _ => Change::None,
        }
    }

    fn listed(&mut self, source: SourceId) -> Change {
        let round = self.rounds.get(&source).copied().unwrap_or_default();
        let missing = |known: &Known<T>| known.source == source && known.round != round;
        let gone: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, known)| missing(known))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.entries.remove(key);
        }
        if gone.is_empty() { Change::None } else { Change::Gone(gone) }
    }

    /// Takes a version that a write of our own brought back, so that its event is no change.
    pub fn wrote(&mut self, object: &Object) {
        if let Entry::Occupied(mut entry) = self.entries.entry(Arc::new(object.key.clone())) {
            entry.get_mut().version.clone_from(&object.version);
        }
    }

    /// The owner's value of an object, and the source that brought it.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<(&T, SourceId)> {
        self.entries.get(key).map(|known| (&known.value, known.source))
    }

    /// The owner's value, for change.
    pub fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut T> {
        self.entries.get_mut(key).map(|known| &mut known.value)
    }

    /// Every object, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<ObjectKey>, &T)> {
        self.entries.iter().map(|(key, known)| (key, &known.value))
    }

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use strait_machinery::object;
    use strait_types::Uid;

    use super::*;

    const A: SourceId = SourceId(1);
    const B: SourceId = SourceId(2);

    fn thing(uid: u8, version: &str) -> Box<Object> {
        let value = object! {
            "metadata": object!{
                "name": "same", "namespace": "ns", "resourceVersion": version,
                "uid": Uid::from_random([uid; 16]).to_string(),
                "annotations": object!{"kcp.io/cluster": "c"},
            },
        };
        Box::new(Object::new(&"hub".into(), value).unwrap())
    }

    /// What changed, in short: `+uid` and `-uid`.
    fn take(index: &mut Index<()>, event: Event) -> String {
        let uid = |key: &ObjectKey| key.uid.to_string()[..2].to_owned();
        match index.take(event) {
            Change::None => String::new(),
            Change::Applied(key, _) => format!("+{}", uid(&key)),
            Change::Full(_) => "full".to_owned(),
            Change::Gone(keys) => {
                let mut gone: Vec<_> = keys.iter().map(|key| format!("-{}", uid(key))).collect();
                gone.sort();
                gone.concat()
            }
        }
    }

    #[test]
    fn only_real_changes_come_out() {
        let mut index = Index::new(10);
        for (event, change) in [
            (Event::Began(A), ""),
            (Event::Applied(A, thing(1, "1")), "+01"),
            (Event::Applied(A, thing(2, "2")), "+02"),
            (Event::Listed(A), ""),
            (Event::Applied(A, thing(1, "1")), ""),
            (Event::Applied(A, thing(1, "3")), "+01"),
            // The name again, as another object: the first goes by its own event.
            (Event::Applied(A, thing(3, "4")), "+03"),
            (Event::Deleted(A, thing(1, "5")), "-01"),
            (Event::Deleted(A, thing(1, "5")), ""),
            // Listed again after a 410.
            (Event::Began(A), ""),
            (Event::Applied(A, thing(3, "4")), ""),
            (Event::Listed(A), "-02"),
        ] {
            let text = format!("{event:?}");
            assert_eq!(take(&mut index, event), change, "{text}");
        }
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn an_object_that_moves_between_servers_is_not_gone() {
        let mut index = Index::new(10);
        for (event, change) in [
            (Event::Began(A), ""),
            (Event::Applied(A, thing(1, "9")), "+01"),
            (Event::Listed(A), ""),
            (Event::Began(B), ""),
            (Event::Applied(B, thing(1, "1")), "+01"),
            (Event::Listed(B), ""),
            (Event::Deleted(A, thing(1, "9")), ""),
            (Event::Began(A), ""),
            (Event::Listed(A), ""),
            (Event::Deleted(B, thing(1, "2")), "-01"),
        ] {
            let text = format!("{event:?}");
            assert_eq!(take(&mut index, event), change, "{text}");
        }
    }

    #[test]
    fn what_we_wrote_is_no_news_and_room_is_bounded() {
        let mut index = Index::new(1);
        assert_eq!(take(&mut index, Event::Applied(A, thing(1, "1"))), "+01");
        index.wrote(&thing(1, "2"));
        assert_eq!(take(&mut index, Event::Applied(A, thing(1, "2"))), "");
        assert_eq!(take(&mut index, Event::Applied(A, thing(2, "3"))), "full");
        assert_eq!(take(&mut index, Event::Deleted(A, thing(2, "4"))), "");
    }
}
