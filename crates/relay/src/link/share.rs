//! What one service has of a connection: its streams that wait to be accepted, and how long its
//! streams stood still.
//!
//! A connection has room for so many that wait. A service whose streams nobody accepts would take
//! it all, and the others of the same agent would get nothing; so a service may have no more of
//! them than there is room left: one alone takes half, two a third each, and some is always left.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use strait_tunnel::Stalled;

/// Hears how long streams stood still for want of credit, now and then and at their end.
pub trait Stalls: Send + Sync + fmt::Debug {
    /// So long since it was told last.
    fn stood(&self, stalled: Stalled);
}

/// A service's share of a connection. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: AtomicU32,
    stalls: Option<Arc<dyn Stalls>>,
}

/// A place in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Share);

impl Share {
    /// One whose stalls somebody hears of.
    #[must_use]
    pub fn heard_by(stalls: Arc<dyn Stalls>) -> Self {
        Self(Arc::new(Inner { waiting: AtomicU32::new(0), stalls: Some(stalls) }))
    }

    /// How many of its streams wait to be accepted.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.0.waiting.load(Relaxed)
    }

    /// Takes a place where the connection has room for so many more.
    pub(super) fn take(&self, room: u32) -> Option<Place> {
        let more = |waiting| (waiting < room).then_some(waiting + 1);
        self.0.waiting.fetch_update(Relaxed, Relaxed, more).ok().map(|_| Place(self.clone()))
    }

    /// A stream of the service stood still.
    pub(super) fn stood(&self, stalled: Stalled) {
        if stalled != Stalled::default()
            && let Some(stalls) = &self.0.stalls
        {
            stalls.stood(stalled);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Relaxed);
    }
}
