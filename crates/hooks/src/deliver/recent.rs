//! Events that were just accepted, or read: who delivers at once does not read the disk, and who
//! lags behind reads once for all.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::event::{Event, Position};

/// Bytes of them that are kept.
pub(super) const RECENT_BYTES_MAX: usize = 8 << 20;

/// What an event takes beside its body, roughly.
const HEAD_BYTES: usize = 2 << 10;

/// The newest events, up to [`RECENT_BYTES_MAX`].
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    events: HashMap<Position, Arc<Event>>,
    /// In the order in which they came.
    order: VecDeque<Position>,
    bytes: usize,
}

impl Recent {
    /// Adds an event, and returns what it takes. One that is larger than all may be is not kept.
    pub(super) fn put(&self, position: Position, event: &Arc<Event>) -> usize {
        let mut over = Vec::new();
        let mut inner = self.0.lock();
        if cost(event) > RECENT_BYTES_MAX || inner.events.contains_key(&position) {
            return cost(event);
        }
        inner.bytes += cost(event);
        inner.events.insert(position, event.clone());
        inner.order.push_back(position);
        while inner.bytes > RECENT_BYTES_MAX {
            let oldest = inner.order.pop_front();
            let Some(gone) = oldest.and_then(|oldest| inner.events.remove(&oldest)) else {
                break;
            };
            inner.bytes -= cost(&gone);
            over.push(gone);
        }
        drop(inner);
        cost(event)
    }

    pub(super) fn find(&self, position: Position) -> Option<Arc<Event>> {
        self.0.lock().events.get(&position).cloned()
    }
}

fn cost(event: &Event) -> usize {
    event.body.len() + HEAD_BYTES
}
