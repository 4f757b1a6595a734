//! What was received lately, and what is being received: each delivery goes into the log once.
//!
//! The second of two equal deliveries that arrive at once waits for what becomes of the first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Position;
use crate::dedupe::{Dedupe, Identity, Seen};
use crate::log::AppendError;

/// What became of an event.
pub(super) type Kept = Result<Position, AppendError>;

/// Deliveries of all sources.
#[derive(Default)]
pub(super) struct Recent(Mutex<State>);

#[derive(Default)]
struct State {
    known: HashMap<Arc<str>, Dedupe>,
    /// What is being appended, with those who wait for what becomes of it. Bounded by the
    /// connections and by the log's queue.
    underway: BTreeMap<Identity, Vec<oneshot::Sender<Kept>>>,
}

/// Whether a delivery was received before.
pub(super) enum Claim {
    /// It was not; whoever has this appends it.
    First {
        claimed: Claimed,
        /// Whether another of its name was, with another body.
        other_body: bool,
    },
    /// It is in the log there.
    Again(Position),
    /// Another is being appended.
    Wait(oneshot::Receiver<Kept>),
}

impl Recent {
    /// Remembers deliveries of these sources, each for its window, and no others.
    pub(super) fn follow<'s>(&self, sources: impl Iterator<Item = (&'s Arc<str>, Duration)>) {
        let mut state = self.0.lock();
        let mut before = std::mem::take(&mut state.known);
        state.known = sources
            .map(|(name, window)| {
                let mut dedupe = before.remove(name).unwrap_or_else(|| Dedupe::new(window));
                dedupe.set_window(window);
                (name.clone(), dedupe)
            })
            .collect();
    }

    /// Remembers an event of the log.
    pub(super) fn recall(
        &self,
        source: &str,
        event: Identity,
        position: Position,
        received: Timestamp,
    ) {
        if let Some(known) = self.0.lock().known.get_mut(source) {
            known.insert(event, position, received);
        }
    }

    pub(super) fn claim(
        self: &Arc<Self>,
        source: &Arc<str>,
        event: Identity,
        now: Timestamp,
    ) -> Claim {
        let mut state = self.0.lock();
        let seen = state.known.get(source).map_or(Seen::New, |known| known.seen(&event, now));
        if let Seen::Duplicate(position) = seen {
            return Claim::Again(position);
        }
        if let Some(waiting) = state.underway.get_mut(&event) {
            let (outcome, told) = oneshot::channel();
            waiting.push(outcome);
            return Claim::Wait(told);
        }
        state.underway.insert(event, Vec::new());
        let claimed = Claimed { recent: self.clone(), source: source.clone(), event: Some(event) };
        Claim::First { claimed, other_body: seen == Seen::SameIdOtherBody }
    }
}

/// The right to append a delivery. Dropped without an outcome, it tells those who wait that
/// there will be none.
pub(super) struct Claimed {
    recent: Arc<Recent>,
    source: Arc<str>,
    /// None once it was told: another may have the right then.
    event: Option<Identity>,
}

impl Claimed {
    /// Says what became of it.
    pub(super) fn end(mut self, kept: Kept, received: Timestamp) {
        if let (Ok(position), Some(event)) = (kept, self.event) {
            self.recent.recall(&self.source, event, position, received);
        }
        for outcome in self.give_up() {
            // Whoever no longer waits does not want to know.
            let _ = outcome.send(kept);
        }
    }

    /// Those who wait; nobody can any more.
    fn give_up(&mut self) -> Vec<oneshot::Sender<Kept>> {
        let Some(event) = self.event.take() else { return Vec::new() };
        self.recent.0.lock().underway.remove(&event).unwrap_or_default()
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        drop(self.give_up());
    }
}

/// Waits for what becomes of another; [`AppendError::Closed`] if nothing does.
pub(super) async fn outcome(told: oneshot::Receiver<Kept>) -> Kept {
    told.await.unwrap_or(Err(AppendError::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn follow(recent: &Recent, names: &[&str], seconds: u64) {
        let names: Vec<Arc<str>> = names.iter().map(|name| (*name).into()).collect();
        recent.follow(names.iter().map(|name| (name, Duration::from_secs(seconds))));
    }

    fn event(delivery: &str) -> Identity {
        Identity::new("github", delivery, &[1; 32])
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_the_third_knows() {
        let recent = Arc::new(Recent::default());
        follow(&recent, &["github"], 60);
        let claim = |delivery| recent.claim(&"github".into(), event(delivery), NOW);
        for (delivery, kept) in [("a", Ok(Position(7))), ("b", Err(AppendError::Busy))] {
            let Claim::First { claimed, other_body: false } = claim(delivery) else {
                panic!("{delivery} is the first");
            };
            let Claim::Wait(second) = claim(delivery) else { panic!("it is under way") };
            claimed.end(kept, NOW);
            assert_eq!(outcome(second).await, kept);
            match claim(delivery) {
                Claim::Again(position) => assert_eq!(Ok(position), kept),
                Claim::First { .. } => assert!(kept.is_err()),
                Claim::Wait(_) => panic!("nothing is under way"),
            }
        }
        let Claim::First { claimed, .. } = claim("c") else { panic!("it is the first") };
        let Claim::Wait(second) = claim("c") else { panic!("it is under way") };
        drop(claimed);
        assert_eq!(outcome(second).await, Err(AppendError::Closed));
    }

    #[test]
    fn a_new_configuration_keeps_what_is_known() {
        let recent = Arc::new(Recent::default());
        follow(&recent, &["github", "gone"], 60);
        recent.recall("github", event("a"), Position(3), NOW);
        recent.recall("gone", event("b"), Position(4), NOW);
        follow(&recent, &["github", "new"], 30);
        let claim = |source: &str, delivery, second| {
            let now = Timestamp::from_second(second).unwrap();
            recent.claim(&source.into(), event(delivery), now)
        };
        assert!(matches!(claim("github", "a", 30), Claim::Again(Position(3))));
        assert!(matches!(claim("github", "a", 31), Claim::First { .. }));
        assert!(matches!(claim("gone", "b", 1), Claim::First { .. }));
    }
}
