//! What is stored now, and what it was a while ago, in memory.
//!
//! Per resource there is one immutable ordered map of maps (cluster, then name), published by
//! pointer swap, and a history: recent events, each with the map that it led to. The history
//! serves watches and reads of exact revisions alike. All histories of a store share one
//! budget of [`Index::budget`] bytes; the oldest event of the store goes first.
//!
//! Only the writer thread publishes. Readers never wait for it, nor it for them beyond the
//! pushing of one entry.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use imbl::OrdMap;
use parking_lot::{Mutex, RwLock};
use strait_machinery::object::Object;
use strait_types::{ClusterName, Revision};
use tokio::sync::watch;

use crate::event::Event;
use crate::interest::Interests;
use crate::{Key, ObjectName, ResourceId, Scope, Snapshot};

/// Objects of one logical cluster.
pub(crate) type Objects = OrdMap<ObjectName, Arc<Object>>;

/// Objects of one resource.
pub(crate) type Root = OrdMap<ClusterName, Objects>;

/// Memory that a retained root keeps alive beside the events, measured at 100,000 keys.
const ROOT_BYTES: usize = 2400;

/// The index of a store.
pub(crate) struct Index {
    resources: RwLock<HashMap<ResourceId, Arc<ResourceIndex>>>,
    published: watch::Sender<Revision>,
    /// Resources and weights of retained events, oldest first.
    retained: Mutex<Retained>,
    pub(crate) budget: usize,
    /// For metrics: what `retained` weighs, with encodings.
    pub(crate) retained_bytes: AtomicUsize,
    /// Bytes of what was made of events for those who watch.
    encoded: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Retained {
    order: VecDeque<(Arc<ResourceIndex>, usize)>,
    bytes: usize,
}

/// A change to publish. `object` is `None` for a deletion.
pub(crate) struct Change {
    pub(crate) revision: Revision,
    pub(crate) key: Key,
    pub(crate) object: Option<Arc<Object>>,
}

/// One resource.
pub(crate) struct ResourceIndex {
    current: ArcSwap<RootAt>,
    history: RwLock<History>,
    pub(crate) interests: Interests,
}

/// A map, and the revision of the last change in it.
#[derive(Default)]
struct RootAt {
    revision: Revision,
    root: Root,
}

/// Recent events in ascending order.
struct History {
    /// What the oldest event changed.
    base: Arc<RootAt>,
    /// Everything after this revision is in `entries`.
    floor: Revision,
    entries: VecDeque<Entry>,
}

struct Entry {
    event: Arc<Event>,
    root: Arc<RootAt>,
}

/// Events after a revision, or the news that they are not in memory any more.
pub(crate) enum Recent {
    Events(Vec<Arc<Event>>),
    Gone,
}

/// A revision whose state is not in memory any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state at that revision is no longer kept")]
pub struct Gone;

impl Index {
    /// An empty index whose history begins after `floor`.
    pub(crate) fn new(floor: Revision, budget: usize) -> Self {
        Self {
            resources: RwLock::default(),
            published: watch::Sender::new(floor),
            retained: Mutex::default(),
            budget,
            retained_bytes: AtomicUsize::new(0),
            encoded: Arc::default(),
        }
    }

    /// Everything up to this revision is readable.
    pub(crate) fn published(&self) -> Revision {
        *self.published.borrow()
    }

    /// Follows [`Index::published`].
    pub(crate) fn subscribe(&self) -> watch::Receiver<Revision> {
        self.published.subscribe()
    }

    /// The index of a resource, made where there is none: kinds are bounded by what the
    /// catalogs serve.
    pub(crate) fn resource(&self, id: &ResourceId) -> Arc<ResourceIndex> {
        if let Some(index) = self.resources.read().get(id) {
            return index.clone();
        }
        let mut resources = self.resources.write();
        // A resource that was never written has no events before now.
        let index = resources.entry(id.clone()).or_insert_with(|| Arc::new(ResourceIndex::new()));
        index.clone()
    }

    /// Every resource that was ever read or written.
    pub(crate) fn resource_ids(&self) -> Vec<ResourceId> {
        self.resources.read().keys().cloned().collect()
    }

    /// Takes what was stored before the history begins, while opening.
    pub(crate) fn seed(&self, resources: HashMap<ResourceId, (Revision, Root)>) {
        for (id, (revision, root)) in resources {
            let resource = self.resource(&id);
            let root = Arc::new(RootAt { revision, root });
            resource.current.store(root.clone());
            let mut history = resource.history.write();
            history.floor = revision;
            history.base = root;
        }
    }

    /// Makes changes readable, in ascending order of revision. `up_to` is the newest revision
    /// of the batch.
    pub(crate) fn publish(&self, changes: Vec<Change>, up_to: Revision) {
        let mut woken = Vec::new();
        for change in changes {
            let resource = self.resource(&change.key.resource);
            let (cluster, name) = (change.key.cluster.clone(), change.key.name.clone());
            let weight = resource.apply(change, &self.encoded);
            if let Some((weight, revision)) = weight {
                resource.interests.mark(&cluster, &name, revision, &mut woken);
                self.retain(resource, weight);
            }
        }
        self.published.send_replace(up_to);
        for slot in woken {
            slot.wake();
        }
    }

    fn retain(&self, resource: Arc<ResourceIndex>, weight: usize) {
        let mut retained = self.retained.lock();
        retained.bytes += weight;
        retained.order.push_back((resource, weight));
        let weighs = |bytes: usize| bytes + self.encoded.load(Ordering::Relaxed);
        while weighs(retained.bytes) > self.budget {
            let Some((resource, weight)) = retained.order.pop_front() else {
                break;
            };
            retained.bytes -= weight;
            resource.forget_oldest();
        }
        self.retained_bytes.store(weighs(retained.bytes), Ordering::Relaxed);
    }

    /// What is stored now.
    pub(crate) fn snapshot(&self, id: &ResourceId) -> Snapshot {
        // The order matters: all that was published is in a root loaded afterwards, and what
        // such a root holds beyond it is complete up to the root's own revision.
        let published = self.published();
        let current = self.resource(id).current.load_full();
        Snapshot::new(published.max(current.revision), current.root.clone())
    }

    /// What was stored at a revision that was published.
    pub(crate) fn snapshot_at(
        &self,
        id: &ResourceId,
        revision: Revision,
    ) -> Result<Snapshot, Gone> {
        let root = self.resource(id).history.read().at(revision).ok_or(Gone)?;
        Ok(Snapshot::new(revision, root.root.clone()))
    }
}

impl ResourceIndex {
    fn new() -> Self {
        let empty = Arc::new(RootAt::default());
        Self {
            current: ArcSwap::new(empty.clone()),
            history: RwLock::new(History {
                base: empty,
                floor: Revision::ZERO,
                entries: VecDeque::new(),
            }),
            interests: Interests::default(),
        }
    }

    /// Applies one change; returns the weight of its event, or nothing where a deletion met
    /// nothing to delete.
    fn apply(&self, change: Change, encoded: &Arc<AtomicUsize>) -> Option<(usize, Revision)> {
        let Change { revision, key, object } = change;
        let mut root = self.current.load().root.clone();
        let previous = match &object {
            Some(object) => root
                .entry(key.cluster.clone())
                .or_default()
                .insert(key.name.clone(), object.clone()),
            None => {
                let objects = root.get_mut(&key.cluster)?;
                let previous = objects.remove(&key.name)?;
                if objects.is_empty() {
                    root.remove(&key.cluster);
                }
                Some(previous)
            }
        };
        let which = (key.cluster, key.name);
        let event = Event::new(revision, which, object, previous, encoded.clone());
        let weight = event.weight() + ROOT_BYTES;
        let root = Arc::new(RootAt { revision, root });
        self.history.write().entries.push_back(Entry { event, root: root.clone() });
        self.current.store(root);
        Some((weight, revision))
    }

    fn forget_oldest(&self) {
        let mut history = self.history.write();
        if let Some(entry) = history.entries.pop_front() {
            history.floor = entry.event.revision;
            history.base = entry.root;
        }
    }

    /// At most `max` events of a scope after a revision.
    pub(crate) fn recent(&self, after: Revision, scope: &Scope, max: usize) -> Recent {
        let history = self.history.read();
        if after < history.floor {
            return Recent::Gone;
        }
        let start = history.entries.partition_point(|entry| entry.event.revision <= after);
        let events = history.entries.range(start..).map(|entry| &entry.event);
        let wanted = events.filter(|event| scope.contains(&event.cluster, &event.name));
        Recent::Events(wanted.take(max).cloned().collect())
    }

    /// Everything after this revision is in memory.
    pub(crate) fn floor(&self) -> Revision {
        self.history.read().floor
    }
}

impl History {
    fn at(&self, revision: Revision) -> Option<Arc<RootAt>> {
        if revision < self.floor {
            return None;
        }
        let after = self.entries.partition_point(|entry| entry.event.revision <= revision);
        match after.checked_sub(1) {
            Some(at) => Some(self.entries[at].root.clone()),
            None => Some(self.base.clone()),
        }
    }
}
