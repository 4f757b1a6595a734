//! The lock of a connection. In tests with the feature `shuttle`, shuttle decides at each taking which
//! thread is next.

#[cfg(not(all(test, feature = "shuttle")))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(all(test, feature = "shuttle"))]
pub(super) use shuttle::sync::MutexGuard;
#[cfg(all(test, feature = "shuttle"))]
pub(super) use shuttled::Mutex;

#[cfg(all(test, feature = "shuttle"))]
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
