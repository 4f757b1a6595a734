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
        /// How often a turn was taken, while threads take turns.
        static TURNS: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Does something whose threads are shuttle's, which all run on this one; how often one of them
    /// took a turn.
    pub(in super::super) fn in_turns(work: impl FnOnce()) -> u64 {
        struct Over;
        impl Drop for Over {
            fn drop(&mut self) {
                TURNS.set(None);
            }
        }
        let _over = Over;
        TURNS.set(Some(0));
        work();
        TURNS.get().unwrap_or_default()
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
            let turn = TURNS.get().map(|_| shuttle::sync::Mutex::new(()));
            Self { turn, inner: parking_lot::Mutex::new(value) }
        }

        pub(in super::super) fn lock(&self) -> MutexGuard<'_, T> {
            // Without poison, as all of ours are.
            let take =
                |turn| shuttle::sync::Mutex::lock(turn).unwrap_or_else(PoisonError::into_inner);
            let turn = self.turn.as_ref().map(take);
            TURNS.set(TURNS.get().map(|turns| turns + u64::from(turn.is_some())));
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
