//! Who waits for what, so that a change wakes only those whom it concerns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strait_types::{ClusterName, Revision};
use tokio::sync::Notify;

use crate::{ObjectName, Scope};

/// The waiting watches of one resource, by scope.
#[derive(Default)]
pub(crate) struct Interests {
    slots: Mutex<HashMap<Scope, Vec<Weak<Slot>>>>,
    count: AtomicUsize,
}

/// Where one watch is told that there is something to read.
#[derive(Default)]
pub(crate) struct Slot {
    /// Revision of the first event not yet looked at; 0: none.
    pending: AtomicU64,
    notify: Notify,
}

impl Interests {
    /// Registers a watch. Its slot is found until it is dropped.
    pub(crate) fn register(&self, scope: Scope) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.slots.lock().entry(scope).or_default().push(Arc::downgrade(&slot));
        self.count.fetch_add(1, Ordering::Relaxed);
        slot
    }

    /// Forgets a watch whose slot was dropped.
    pub(crate) fn unregister(&self, scope: &Scope, slot: &Arc<Slot>) {
        let mut slots = self.slots.lock();
        if let Some(waiting) = slots.get_mut(scope) {
            waiting.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(slot)));
            if waiting.is_empty() {
                slots.remove(scope);
            }
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Number of watches.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Notes an event for those whom it concerns, and adds them to `woken`.
    pub(crate) fn mark(
        &self,
        cluster: &ClusterName,
        name: &ObjectName,
        revision: Revision,
        woken: &mut Vec<Arc<Slot>>,
    ) {
        if self.count() == 0 {
            return;
        }
        let slots = self.slots.lock();
        for scope in Scope::around(cluster, name) {
            let waiting = slots.get(&scope).into_iter().flatten();
            for slot in waiting.filter_map(Weak::upgrade) {
                let first = slot.pending.compare_exchange(
                    0,
                    revision.0,
                    Ordering::AcqRel,
                    Ordering::Relaxed,
                );
                if first.is_ok() {
                    woken.push(slot);
                }
            }
        }
    }
}

impl Slot {
    /// Takes the revision of the first event not yet looked at.
    pub(crate) fn take_pending(&self) -> Option<Revision> {
        match self.pending.swap(0, Ordering::AcqRel) {
            0 => None,
            revision => Some(Revision(revision)),
        }
    }

    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits for [`Slot::wake`]; one that came before counts.
    ///
    /// # Cancel safety
    /// Safe: a wake-up that is not taken stays.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}
