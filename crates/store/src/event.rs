//! One committed change of one object, as watchers see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use parking_lot::Mutex;
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
    /// Bytes by shape; a handful at most, one per way in which watches of the kind show objects.
    encoded: Mutex<Vec<(Box<str>, Bytes)>>,
    /// Where those bytes are counted.
    counted: Arc<AtomicUsize>,
}

impl Event {
    /// `counted`: bytes of encodings, of this event as long as it lives.
    pub(crate) fn new(
        revision: Revision,
        (cluster, name): (ClusterName, ObjectName),
        object: Option<Arc<Object>>,
        previous: Option<Arc<Object>>,
        counted: Arc<AtomicUsize>,
    ) -> Arc<Self> {
        let encoded = Mutex::default();
        Arc::new(Self { revision, cluster, name, object, previous, encoded, counted })
    }

    /// What `make` makes of the event, made once for all who ask for the same shape: whoever
    /// asks for one shape passes a `make` that gives the same bytes.
    pub fn encoded(&self, shape: &str, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut encoded = self.encoded.lock();
        if let Some((_, bytes)) = encoded.iter().find(|(own, _)| **own == *shape) {
            return bytes.clone();
        }
        let bytes = make();
        self.counted.fetch_add(bytes.len(), Relaxed);
        encoded.push((shape.into(), bytes.clone()));
        bytes
    }

    /// Bytes of memory that live only because of this event, roughly, without encodings.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.previous.as_ref().map_or(0, |object| object.weight())
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let bytes: usize = self.encoded.get_mut().iter().map(|(_, bytes)| bytes.len()).sum();
        self.counted.fetch_sub(bytes, Relaxed);
    }
}
