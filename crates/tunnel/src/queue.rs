//! Queues of streams that wait for something.
//!
//! A stream that goes away is only counted as stale; stale entries are swept once they are the
//! larger part, so that a queue stays proportional to what waits in it, at constant cost each.

use std::collections::VecDeque;

use crate::stream::StreamId;

/// Below this many stale entries nothing is swept.
const SWEEP: usize = 32;

/// First in, first out, each id at most once by the care of its user.
#[derive(Debug, Default)]
pub(crate) struct IdQueue {
    ids: VecDeque<StreamId>,
    stale: usize,
}

impl IdQueue {
    pub(crate) fn push(&mut self, id: StreamId) {
        self.ids.push_back(id);
    }

    /// Takes the first for which `is_live`.
    pub(crate) fn pop(&mut self, is_live: impl Fn(StreamId) -> bool) -> Option<StreamId> {
        while let Some(id) = self.ids.pop_front() {
            if is_live(id) {
                return Some(id);
            }
            self.stale = self.stale.saturating_sub(1);
        }
        None
    }

    /// The first for which `is_live`.
    pub(crate) fn front(&mut self, is_live: impl Fn(StreamId) -> bool) -> Option<StreamId> {
        let id = self.pop(is_live)?;
        self.ids.push_front(id);
        Some(id)
    }

    /// One of the ids stands here for nothing from now on.
    pub(crate) fn forget(&mut self, is_live: impl Fn(StreamId) -> bool) {
        self.stale += 1;
        if self.stale > SWEEP && self.stale * 2 > self.ids.len() {
            self.ids.retain(|id| is_live(*id));
            self.ids.shrink_to(self.ids.len() * 2);
            self.stale = 0;
        }
    }

    /// Stale ones included.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Bytes that the queue itself takes.
    pub(crate) fn memory(&self) -> usize {
        self.ids.capacity() * size_of::<StreamId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_skipped_and_in_the_end_swept() {
        let mut queue = IdQueue::default();
        for id in 0..1_000 {
            queue.push(StreamId(id));
        }
        let live = |id: StreamId| id.0.is_multiple_of(100);
        assert_eq!(queue.front(live), Some(StreamId(0)));
        for _ in 0..990 {
            queue.forget(live);
        }
        assert!(queue.ids.len() < 100 && queue.ids.capacity() < 1_000);
        let all: Vec<_> = std::iter::from_fn(|| queue.pop(live)).map(|id| id.0).collect();
        assert_eq!(all, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert!(queue.is_empty());
    }
}
