//! Objects parsed once per revision, for what is read on every request.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use strait_machinery::object::Object;
use strait_store::Key;
use strait_types::Revision;

/// Entries kept; at the limit the cache starts over.
const ENTRIES_MAX: usize = 20_000;

/// What `parse` makes of objects, kept while the object does not change.
#[derive(Debug)]
pub struct Parsed<T> {
    parse: fn(&Object) -> T,
    entries: RwLock<HashMap<Key, (Revision, Arc<T>)>>,
}

impl<T> Parsed<T> {
    /// Nothing is parsed yet.
    pub fn new(parse: fn(&Object) -> T) -> Self {
        Self { parse, entries: RwLock::default() }
    }

    /// What the object parses to.
    pub fn of(&self, key: &Key, object: &Object) -> Arc<T> {
        if let Some((revision, parsed)) = self.entries.read().get(key)
            && *revision == object.revision
        {
            return parsed.clone();
        }
        let parsed = Arc::new((self.parse)(object));
        let mut entries = self.entries.write();
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key.clone(), (object.revision, parsed.clone()));
        parsed
    }
}
