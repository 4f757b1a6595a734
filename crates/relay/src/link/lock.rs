//! The lock of a connection. With the feature `shuttle`, which only tests have, shuttle decides at
//! each taking which thread is next.

#[cfg(not(feature = "shuttle"))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(feature = "shuttle")]
pub(super) use shuttle::sync::MutexGuard;
#[cfg(feature = "shuttle")]
pub(super) use shuttled::Mutex;

#[cfg(feature = "shuttle")]
mod shuttled {
    use std::sync::PoisonError;

    use shuttle::sync::MutexGuard;

    /// shuttle's, without poison as all of ours are.
    pub(in super::super) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
