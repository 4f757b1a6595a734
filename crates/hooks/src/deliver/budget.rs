//! How many bytes of events may be in memory to be sent.
//!
//! Half of it belongs to the backends, each to itself; the other half is whose comes first, for
//! what does not fit. So one backend that holds on to large events takes nothing that another
//! was sure of.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that are counted as one.
const UNIT: usize = 1 << 10;

/// The fewest backends that a half is divided by.
const BACKENDS_MIN: usize = 4;

/// The bytes of all backends.
#[derive(Debug)]
pub(super) struct Budget {
    half: Units,
    in_use: Gauge,
}

/// The bytes of one.
#[derive(Debug)]
pub(super) struct Share {
    own: Units,
    common: Units,
    in_use: Gauge,
}

#[derive(Clone, Debug)]
struct Units {
    most: u32,
    free: Arc<Semaphore>,
}

/// Bytes that were taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _units: OwnedSemaphorePermit,
    bytes: i64,
    in_use: Gauge,
}

impl Budget {
    pub(super) fn new(bytes: usize, in_use: Gauge) -> Self {
        Self { half: Units::of(bytes / 2), in_use }
    }

    /// The share of one of so many backends.
    pub(super) fn share(&self, backends: usize) -> Share {
        let own = self.half.most as usize * UNIT / backends.max(BACKENDS_MIN);
        Share { own: Units::of(own), common: self.half.clone(), in_use: self.in_use.clone() }
    }
}

impl Share {
    /// Takes bytes if they are free. What is larger than everything takes everything.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Taken> {
        let units = self.own.try_take(bytes).or_else(|| self.common.try_take(bytes))?;
        Some(self.taken(units, bytes))
    }

    /// Waits for bytes.
    pub(super) async fn take(&self, bytes: usize) -> Taken {
        let fits = self.own.fits(bytes);
        let units = tokio::select! {
            biased;
            units = self.own.take(bytes), if fits => units,
            units = self.common.take(bytes) => units,
        };
        self.taken(units, bytes)
    }

    fn taken(&self, units: OwnedSemaphorePermit, bytes: usize) -> Taken {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.in_use.inc_by(bytes);
        Taken { _units: units, bytes, in_use: self.in_use.clone() }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.in_use.dec_by(self.bytes);
    }
}

impl Units {
    fn of(bytes: usize) -> Self {
        let most = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self { most, free: Arc::new(Semaphore::new(most as usize)) }
    }

    fn count(bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
    }

    fn fits(&self, bytes: usize) -> bool {
        Self::count(bytes) <= self.most
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(Self::count(bytes)).ok()
    }

    async fn take(&self, bytes: usize) -> OwnedSemaphorePermit {
        let count = Self::count(bytes).min(self.most);
        self.free.clone().acquire_many_owned(count).await.expect("it is never closed")
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_share_is_sure_and_the_rest_is_whose_comes_first() {
        let gauge = Gauge::default();
        let budget = Budget::new(64 * UNIT, gauge.clone());
        let (greedy, modest) = (budget.share(4), budget.share(4));
        let held: Vec<_> = std::iter::from_fn(|| greedy.try_take(4 * UNIT)).collect();
        assert_eq!(held.len(), 10, "8 of its own and 32 of all");
        assert!(greedy.take(4 * UNIT).now_or_never().is_none());
        assert!(modest.take(8 * UNIT).now_or_never().is_some());
        assert_eq!(gauge.get(), 40 * UNIT as i64);
        drop(held);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn what_is_larger_than_everything_goes_alone() {
        let budget = Budget::new(64 * UNIT, Gauge::default());
        let (one, other) = (budget.share(4), budget.share(4));
        let held = one.take(100 * UNIT).now_or_never();
        assert!(held.is_some());
        assert!(other.take(100 * UNIT).now_or_never().is_none());
        assert!(other.take(8 * UNIT).now_or_never().is_some());
        drop(held);
        assert!(other.take(100 * UNIT).now_or_never().is_some());
    }
}
