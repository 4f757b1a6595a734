//! Turns that peers share: so many streams at once, of which none takes all.
//!
//! Whoever has some may take another while that leaves a third of them free: one alone has three
//! quarters, the next three quarters of the rest, and where one holds what it has for hours there
//! is still something for others. A turn that becomes free goes to whoever waits and has fewest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::map::Map;

/// As many as a peer may have for each that is free.
const PER_FREE: usize = 3;

/// So many turns. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Mutex<State>>);

/// One turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    peer: Option<Arc<str>>,
}

#[derive(Debug)]
struct State {
    all: usize,
    free: usize,
    /// How many each peer has that has any.
    had: Map<Arc<str>, usize>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    peer: Option<Arc<str>>,
    told: oneshot::Sender<Turn>,
}

impl Turns {
    /// All are free.
    pub(super) fn new(all: usize) -> Self {
        let (had, waiting) = (Map::default(), VecDeque::new());
        Self(Arc::new(Mutex::new(State { all, free: all, had, waiting })))
    }

    /// A turn for a peer that shares them with others, or for one that has them to itself; none
    /// where it may have none now.
    pub(super) fn try_take(&self, peer: Option<&str>) -> Option<Turn> {
        let peer = peer.map(Arc::from);
        let is_taken = self.0.lock().take(peer.as_ref());
        is_taken.then(|| Turn { turns: self.clone(), peer })
    }

    /// The same, waiting until it may have one.
    ///
    /// # Cancel safety
    /// Whoever does not wait any more takes none.
    pub(super) async fn take(&self, peer: Option<&str>) -> Option<Turn> {
        let peer: Option<Arc<str>> = peer.map(Arc::from);
        let waits = {
            let mut state = self.0.lock();
            if state.take(peer.as_ref()) {
                return Some(Turn { turns: self.clone(), peer });
            }
            // Where no turn comes back, this is what forgets those that wait no more.
            state.waiting.retain(|one| !one.told.is_closed());
            let (told, waits) = oneshot::channel();
            state.waiting.push_back(Waiting { peer, told });
            waits
        };
        waits.await.ok()
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        let state = self.0.lock();
        state.all - state.free
    }

    fn put_back(&self, peer: Option<&Arc<str>>) {
        let mut state = self.0.lock();
        state.put_back(peer);
        state.waiting.retain(|one| !one.told.is_closed());
        // Dropped without the lock, which they take: whom nobody waits for any more.
        let mut missed = Vec::new();
        while let Some(Waiting { peer, told }) = state.next() {
            missed.extend(told.send(Turn { turns: self.clone(), peer }).err());
        }
        drop(state);
        drop(missed);
    }
}

impl State {
    fn has(&self, peer: Option<&Arc<str>>) -> usize {
        peer.and_then(|peer| self.had.get(peer)).copied().unwrap_or(0)
    }

    fn may_take(&self, peer: Option<&Arc<str>>) -> bool {
        self.free > 0 && (peer.is_none() || self.has(peer) < self.free.saturating_mul(PER_FREE))
    }

    fn take(&mut self, peer: Option<&Arc<str>>) -> bool {
        // Those who wait may take none, or they would not.
        let takes = self.may_take(peer);
        if takes {
            self.free -= 1;
            if let Some(peer) = peer {
                *self.had.entry(peer.clone()).or_default() += 1;
            }
        }
        takes
    }

    fn put_back(&mut self, peer: Option<&Arc<str>>) {
        self.free += 1;
        if let Some(peer) = peer
            && let Some(had) = self.had.get_mut(peer)
        {
            *had -= 1;
            if *had == 0 {
                self.had.remove(peer);
            }
        }
    }

    /// Gives a turn to whoever may have one and has fewest; of those, to whoever came first.
    fn next(&mut self) -> Option<Waiting> {
        let peers = self.waiting.iter().map(|one| one.peer.as_ref()).enumerate();
        let may = peers.filter(|(_, peer)| self.may_take(*peer));
        let (at, _) = may.min_by_key(|(_, peer)| self.has(*peer))?;
        let waiting = self.waiting.remove(at)?;
        self.take(waiting.peer.as_ref());
        Some(waiting)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.put_back(self.peer.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn all_of(turns: &Turns, peer: Option<&str>) -> Vec<Turn> {
        std::iter::from_fn(|| turns.try_take(peer)).collect()
    }

    #[test]
    fn none_takes_all_where_others_may_come() {
        for (all, alone, second, third) in [
            (1, 1, 0, 0),
            (2, 2, 0, 0),
            (4, 3, 1, 0),
            (8, 6, 2, 0),
            (16, 12, 3, 1),
            (256, 192, 48, 12),
        ] {
            let turns = Turns::new(all);
            assert_eq!(all_of(&Turns::new(all), None).len(), all, "one that shares with nobody");
            let held = ["a", "b", "c"].map(|peer| all_of(&turns, Some(peer)));
            assert_eq!(held.each_ref().map(Vec::len), [alone, second, third], "{all}");
            assert_eq!(turns.taken(), alone + second + third);
            drop(held);
            assert_eq!(turns.taken(), 0);
        }
    }

    #[test]
    fn what_becomes_free_goes_to_whoever_has_fewest() {
        let turns = Turns::new(16);
        let mut many = all_of(&turns, Some("many"));
        let few = all_of(&turns, Some("few"));
        let last = all_of(&turns, None);
        assert_eq!((many.len(), few.len(), last.len()), (12, 3, 1));
        let mut first = Box::pin(turns.take(Some("many")));
        let mut second = Box::pin(turns.take(Some("few")));
        let mut left = Box::pin(turns.take(Some("gone")));
        let mut third = Box::pin(turns.take(Some("new")));
        let waits = [&mut first, &mut second, &mut left, &mut third].map(|one| one.now_or_never());
        assert!(waits.iter().all(Option::is_none));
        drop(left);
        many.pop();
        let new = third.now_or_never().flatten().unwrap();
        assert!(second.as_mut().now_or_never().is_none());
        many.truncate(9);
        let more = second.now_or_never().flatten().unwrap();
        assert!(first.as_mut().now_or_never().is_none(), "nine, where one is free");
        many.clear();
        let again = first.now_or_never().flatten().unwrap();
        assert_eq!(turns.taken(), few.len() + last.len() + 3);
        drop((new, more, again, few, last));
        assert_eq!(turns.taken(), 0);
    }

    #[test]
    fn a_turn_that_nobody_waits_for_any_more_is_free() {
        let turns = Turns::new(1);
        let own = turns.try_take(Some("a")).unwrap();
        let mut waits = Box::pin(turns.take(Some("b")));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(own);
        drop(waits);
        assert!(turns.try_take(Some("c")).is_some());
    }

    #[test]
    fn who_waits_no_more_is_forgotten_though_no_turn_comes_back() {
        let turns = Turns::new(1);
        let held = turns.try_take(None).unwrap();
        let mut waits = Box::pin(turns.take(Some("patient")));
        assert!(waits.as_mut().now_or_never().is_none());
        for _ in 0..10_000 {
            assert!(turns.take(Some("hasty")).now_or_never().is_none());
            assert!(turns.0.lock().waiting.len() <= 2);
        }
        drop(held);
        assert!(waits.now_or_never().flatten().is_some());
    }

    proptest! {
        /// Nothing is lost, and whoever waits may take none.
        #[test]
        fn turns_are_neither_lost_nor_idle(all in 1usize..20, steps in prop::collection::vec((0u8..4, 0u8..3), 0..80)) {
            let turns = Turns::new(all);
            let (mut held, mut waits) = (Vec::new(), Vec::new());
            for (peer, what) in steps {
                let peer = ["a", "b", "c", "d"][usize::from(peer)];
                match what {
                    0 if !held.is_empty() => drop(held.swap_remove(0)),
                    1 if !waits.is_empty() => drop(waits.swap_remove(0)),
                    _ => waits.push(Box::pin({
                        let turns = turns.clone();
                        async move { turns.take(Some(peer)).await }
                    })),
                }
                let mut still = Vec::new();
                for mut one in waits {
                    match one.as_mut().now_or_never() {
                        Some(turn) => held.extend(turn),
                        None => still.push(one),
                    }
                }
                waits = still;
                prop_assert_eq!(turns.taken(), held.len());
                let state = turns.0.lock();
                let open = state.waiting.iter().filter(|one| !one.told.is_closed());
                prop_assert!(open.clone().all(|one| !state.may_take(one.peer.as_ref())));
                prop_assert_eq!(open.count(), waits.len());
            }
            drop((held, waits));
            prop_assert_eq!(turns.taken(), 0);
        }
    }
}
