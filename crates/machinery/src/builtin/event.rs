//! One event, two forms: `v1` and `events.k8s.io/v1` name its members differently. Stored is
//! the former.

use super::model::Kind;
use super::{DecodeError, kind};
use crate::json::{Map, Value};

/// Members by their names in the core form and in the other.
const RENAMED: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

impl Kind {
    /// The kind in whose form objects of this kind are stored: itself, but for events.
    #[must_use]
    pub fn stored_as(&self) -> &Self {
        let core = if self.is_new_event() { kind("", "v1", "Event") } else { None };
        core.unwrap_or(self)
    }

    /// A decoded object in the form in which it is stored.
    ///
    /// # Errors
    /// It is not an event of this kind after all.
    pub fn to_stored(&self, object: Value) -> Result<Value, DecodeError> {
        if !self.is_new_event() {
            return Ok(object);
        }
        renamed(object, self.stored_as(), |name| {
            RENAMED.iter().find(|(_, new)| *new == name).map(|(core, _)| *core)
        })
    }

    /// A stored object in the form of this kind.
    ///
    /// # Errors
    /// It is not an event.
    pub fn from_stored(&self, object: Value) -> Result<Value, DecodeError> {
        if !self.is_new_event() {
            return Ok(object);
        }
        renamed(object, self, |name| {
            RENAMED.iter().find(|(core, _)| *core == name).map(|(_, new)| *new)
        })
    }

    pub(super) fn is_new_event(&self) -> bool {
        self.group == "events.k8s.io"
    }
}

/// Renames members and brings the object into the canonical form of `kind`: the two differ in
/// what they write when it is empty.
fn renamed(
    object: Value,
    kind: &Kind,
    name: impl Fn(&str) -> Option<&'static str>,
) -> Result<Value, DecodeError> {
    let Value::Object(map) = object else {
        return Ok(object);
    };
    let members = map.into_iter().map(|(key, value)| match name(&key) {
        Some(name) => (name.into(), value),
        None => (key, value),
    });
    Ok(kind.decode(members.collect::<Map>().into())?.object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    /// Recorded from kube-apiserver 1.34: one object read through both APIs.
    const CORE: &str = r#"{"action":"a","apiVersion":"v1","eventTime":"2020-01-01T00:00:00.000000Z","firstTimestamp":null,"involvedObject":{"kind":"K","name":"n","namespace":"builtin"},"kind":"Event","lastTimestamp":null,"message":"n","metadata":{"name":"u","namespace":"builtin"},"reason":"r","reportingComponent":"a","reportingInstance":"i","source":{},"type":"Normal"}"#;
    const NEW: &str = r#"{"action":"a","apiVersion":"events.k8s.io/v1","deprecatedFirstTimestamp":null,"deprecatedLastTimestamp":null,"deprecatedSource":{},"eventTime":"2020-01-01T00:00:00.000000Z","kind":"Event","metadata":{"name":"u","namespace":"builtin"},"note":"n","reason":"r","regarding":{"kind":"K","name":"n","namespace":"builtin"},"reportingController":"a","reportingInstance":"i","type":"Normal"}"#;

    #[test]
    fn an_event_has_two_forms() {
        let new = kind("events.k8s.io", "v1", "Event").unwrap();
        assert_eq!(new.stored_as().group, "");
        assert_eq!(new.to_stored(parse(NEW.as_bytes()).unwrap()).unwrap().to_string(), CORE);
        assert_eq!(new.from_stored(parse(CORE.as_bytes()).unwrap()).unwrap().to_string(), NEW);
    }

    #[test]
    fn what_is_empty_is_written_as_each_form_writes_it() {
        let new = kind("events.k8s.io", "v1", "Event").unwrap();
        let core = kind("", "v1", "Event").unwrap();
        let empty = core.decode(Value::object()).unwrap().object;
        let other = new.decode(Value::object()).unwrap().object;
        assert_eq!(new.from_stored(empty.clone()).unwrap(), other);
        assert_eq!(new.to_stored(other).unwrap(), empty);
        assert_eq!(core.to_stored(empty.clone()).unwrap(), empty);
    }
}
