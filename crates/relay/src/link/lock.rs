//! The lock of a connection. In tests of [`interleavings`](super::interleavings) shuttle decides at
//! each taking which thread is next.

#[cfg(not(test))]
pub(super) use parking_lot::{Mutex, MutexGuard};
#[cfg(test)]
pub(super) use taken_in_turns::{Mutex, MutexGuard, in_turns};

#[cfg(test)]
mod taken_in_turns {
    use std::cell::Cell;
    use std::ops::{Deref, DerefMut};
    use std::sync::PoisonError;

    thread_local! {
        static IN_TURNS: Cell<bool> = const { Cell::new(false) };
    }

    /// Does something whose threads are shuttle's, which all run on this one.
    pub(in super::super) fn in_turns(work: impl FnOnce()) {
        IN_TURNS.set(true);
        work();
        IN_TURNS.set(false);
    }

    /// What shuttle waits for before the lock itself, which is free then.
    pub(in super::super) struct Mutex<T> {
        turn: Option<shuttle::sync::Mutex<()>>,
        inner: parking_lot::Mutex<T>,
    }

    /// In the order in which they are given back.
    pub(in super::super) struct MutexGuard<'a, T> {
        inner: parking_lot::MutexGuard<'a, T>,
        _turn: Option<shuttle::sync::MutexGuard<'a, ()>>,
    }

    impl<T> Mutex<T> {
        pub(in super::super) fn new(value: T) -> Self {
            let turn = IN_TURNS.get().then(|| shuttle::sync::Mutex::new(()));
            Self { turn, inner: parking_lot::Mutex::new(value) }
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            // Without poison, as all of ours are.
            let take =
                |turn| shuttle::sync::Mutex::lock(turn).unwrap_or_else(PoisonError::into_inner);
            let turn = self.turn.as_ref().map(take);
            MutexGuard { inner: self.inner.lock(), _turn: turn }
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.inner
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.inner
        }
    }
}
