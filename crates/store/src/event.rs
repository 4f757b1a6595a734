//! One committed change of one object, as watchers see it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use strait_machinery::object::Object;
use strait_types::{ClusterName, Revision};

use crate::ObjectName;

/// A change. Shared by all watchers of a resource, and encoded once for all of them.
#[derive(Debug)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// Where the object is.
    pub cluster: ClusterName,
    /// Which object.
    pub name: ObjectName,
    /// The object after the change; `None`: deleted.
    pub object: Option<Arc<Object>>,
    /// The object before the change; `None`: there was none.
    pub previous: Option<Arc<Object>>,
    json: OnceLock<Bytes>,
}

impl Event {
    pub(crate) fn new(
        revision: Revision,
        (cluster, name): (ClusterName, ObjectName),
        object: Option<Arc<Object>>,
        previous: Option<Arc<Object>>,
    ) -> Arc<Self> {
        Arc::new(Self { revision, cluster, name, object, previous, json: OnceLock::new() })
    }

    /// The object as the event shows it: after the change, or for a deletion the last state,
    /// both with the revision of the change. Encoded at the first call.
    ///
    /// Empty only for a deletion whose last state is unknown, which engines do not deliver.
    pub fn json(&self) -> &Bytes {
        self.json.get_or_init(|| {
            let shown = self.object.as_ref().or(self.previous.as_ref());
            shown.map(|object| object.body.at(self.revision)).unwrap_or_default()
        })
    }

    /// Bytes of memory that live only because of this event, roughly.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.previous.as_ref().map_or(0, |object| object.weight())
    }
}
