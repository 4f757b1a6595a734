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

/// Entries of the order that may be of no event any more, beside as many as there are events.
const STALE_MAX: usize = 64;

/// The newest events, up to [`RECENT_BYTES_MAX`], but those that every backend has: their memory
/// is soon wanted for the next.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    events: HashMap<Position, Entry>,
    /// In the order in which they came; some may be gone.
    order: VecDeque<Position>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    /// Backends that have still to get it; none if that is not known.
    takers: Option<usize>,
}

impl Recent {
    /// Adds an event for so many backends, if that is known, and returns what it takes. One that
    /// is larger than all may be is not kept, nor one that nobody wants.
    pub(super) fn put(
        &self,
        position: Position,
        event: &Arc<Event>,
        takers: Option<usize>,
    ) -> usize {
        let mut over = Vec::new();
        let mut inner = self.0.lock();
        let unfit = cost(event) > RECENT_BYTES_MAX || takers == Some(0);
        if unfit || inner.events.contains_key(&position) {
            return cost(event);
        }
        inner.bytes += cost(event);
        inner.events.insert(position, Entry { event: event.clone(), takers });
        inner.order.push_back(position);
        while inner.bytes > RECENT_BYTES_MAX
            && let Some(oldest) = inner.order.pop_front()
        {
            over.extend(inner.remove(oldest));
        }
        drop(inner);
        cost(event)
    }

    pub(super) fn find(&self, position: Position) -> Option<Arc<Event>> {
        self.0.lock().events.get(&position).map(|entry| entry.event.clone())
    }

    /// A backend will not ask for these any more.
    pub(super) fn settled(&self, positions: impl Iterator<Item = Position>) {
        let mut over = Vec::new();
        let mut inner = self.0.lock();
        for position in positions {
            let Some(Entry { takers: Some(takers), .. }) = inner.events.get_mut(&position) else {
                continue;
            };
            *takers = takers.saturating_sub(1);
            if *takers == 0 {
                over.extend(inner.remove(position));
            }
        }
        inner.trim();
        drop(inner);
    }
}

impl Inner {
    fn remove(&mut self, position: Position) -> Option<Arc<Event>> {
        let gone = self.events.remove(&position)?.event;
        self.bytes -= cost(&gone);
        Some(gone)
    }

    fn trim(&mut self) {
        if self.order.len() > 2 * self.events.len() + STALE_MAX {
            let events = &self.events;
            self.order.retain(|position| events.contains_key(position));
        }
    }
}

fn cost(event: &Event) -> usize {
    event.body.len() + HEAD_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use jiff::Timestamp;

    use super::*;

    fn event(bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            source: "github".into(),
            delivery: "a".into(),
            received: Timestamp::UNIX_EPOCH,
            path: "".into(),
            query: "".into(),
            headers: HeaderMap::new(),
            body: Bytes::from(vec![0; bytes]),
            sha256: [0; 32],
        })
    }

    fn there(recent: &Recent, most: u64) -> Vec<u64> {
        (1..=most).filter(|at| recent.find(Position(*at)).is_some()).collect()
    }

    #[test]
    fn an_event_goes_when_every_backend_has_it() {
        let recent = Recent::default();
        for (at, takers) in [(1, Some(2)), (2, Some(1)), (3, None), (4, Some(0))] {
            recent.put(Position(at), &event(10), takers);
        }
        assert_eq!(there(&recent, 4), [1, 2, 3]);
        for (settled, left) in [(vec![1, 2, 9], vec![1, 3]), (vec![1, 3], vec![3])] {
            recent.settled(settled.into_iter().map(Position));
            assert_eq!(there(&recent, 4), left);
        }
        assert_eq!(recent.0.lock().bytes, 10 + HEAD_BYTES);
    }

    #[test]
    fn what_is_kept_is_bounded_whoever_waits() {
        let recent = Recent::default();
        let large = event(RECENT_BYTES_MAX / 4);
        recent.put(Position(1), &large, Some(1));
        for at in 2..1_000 {
            recent.put(Position(at), &event(10), Some(1));
            recent.settled([Position(at)].into_iter());
        }
        assert_eq!(there(&recent, 1_000), [1]);
        assert!(recent.0.lock().order.len() <= STALE_MAX + 2);
        for at in 1_000..1_004 {
            recent.put(Position(at), &large, None);
        }
        assert_eq!(there(&recent, 1_004), [1_001, 1_002, 1_003]);
    }
}
