//! What one service may take of the streams of a connection that wait to be accepted.
//!
//! A connection has room for so many of them. A service whose streams nobody accepts would take
//! it all, and the others of the same agent would get nothing; so a service may have no more of
//! them than there is room left: one alone takes half, two a third each, and some is always left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A service's share of a connection. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<AtomicU32>);

/// A place in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Share);

impl Share {
    /// How many of its streams wait to be accepted.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Takes a place where the connection has room for so many more.
    pub(super) fn take(&self, room: u32) -> Option<Place> {
        let more = |waiting| (waiting < room).then_some(waiting + 1);
        self.0.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
