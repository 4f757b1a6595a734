//! Connections that rest. Between two requests a connection of HTTP/1.1 needs its TLS and nothing
//! else: after a second of silence hyper, with its buffers, is taken away from it, and comes back
//! with the next byte. What rests is so half of what it would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How long a connection is looked after between two looks at whether it rests; the second wait
/// is twice the first, and so on: what streams for hours is not looked at each second.
pub(crate) const LOOK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(32)];

/// What tells whether a connection rests: there is no exchange, nothing waits to be written, and
/// nothing of a next request was read.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    exchanges: AtomicUsize,
    reads: AtomicBool,
    writes: AtomicBool,
}

impl Activity {
    /// Whether it rests.
    pub(crate) fn is_none(&self) -> bool {
        self.exchanges.load(Relaxed) == 0 && !self.reads.load(Relaxed) && !self.writes.load(Relaxed)
    }

    /// Something of a request was read, or all was and the next one is waited for.
    pub(crate) fn reads(&self, within: bool) {
        self.reads.store(within, Relaxed);
    }

    /// Something waits to be written, or all was.
    pub(crate) fn writes(&self, waits: bool) {
        self.writes.store(waits, Relaxed);
    }
}

/// A request whose answer is not over.
#[derive(Debug)]
pub(crate) struct Exchange(Arc<Activity>);

impl Exchange {
    pub(crate) fn new(activity: &Arc<Activity>) -> Self {
        activity.exchanges.fetch_add(1, Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.exchanges.fetch_sub(1, Relaxed);
    }
}
