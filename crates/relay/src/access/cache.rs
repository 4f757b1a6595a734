//! Answers of RBAC that may be used again.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::CACHE;

/// Most answers kept; at the limit the oldest is forgotten.
pub const ENTRIES_MAX: usize = 65_536;

/// A kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cached {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

/// Answers by question. A question holds all that an answer depends on: credential or user and
/// groups, logical cluster, service, verb.
#[derive(Debug)]
pub struct Decisions<Q> {
    limit: usize,
    /// Grows with every change that could change an answer.
    epoch: u64,
    answers: HashMap<Q, (Cached, u64, Duration)>,
    /// Questions in the order of their answers, one for each time that one was kept.
    order: VecDeque<(Q, Duration)>,
}

impl<Q: Clone + Eq + Hash> Default for Decisions<Q> {
    fn default() -> Self {
        Self::with_limit(ENTRIES_MAX)
    }
}

impl<Q: Clone + Eq + Hash> Decisions<Q> {
    fn with_limit(limit: usize) -> Self {
        Self { limit, epoch: 0, answers: HashMap::new(), order: VecDeque::new() }
    }

    /// Forgets every answer: something changed that could change one. Also an answer that is
    /// being found now must not be kept, which [`epoch`](Self::epoch) tells.
    pub fn changed(&mut self) {
        self.epoch += 1;
        self.answers.clear();
        self.order.clear();
    }

    /// What to give to [`keep`](Self::keep), taken before the question is asked.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The answer to a question, if it is young enough at `now`.
    #[must_use]
    pub fn find(&self, question: &Q, now: Duration) -> Option<Cached> {
        let (answer, _, at) = self.answers.get(question)?;
        (now.saturating_sub(*at) < CACHE).then_some(*answer)
    }

    /// Keeps an answer to a question that was asked at `asked` and `epoch`.
    pub fn keep(&mut self, question: Q, answer: Cached, epoch: u64, asked: Duration) {
        if epoch != self.epoch {
            return;
        }
        self.forget_old(asked);
        self.order.push_back((question.clone(), asked));
        self.answers.insert(question, (answer, epoch, asked));
    }

    /// Forgets what is too old, and the oldest at the limit.
    fn forget_old(&mut self, now: Duration) {
        while let Some((_, at)) = self.order.front()
            && (now.saturating_sub(*at) >= CACHE || self.order.len() >= self.limit)
        {
            let Some((question, at)) = self.order.pop_front() else { return };
            // A younger answer to the same question stays.
            if self.answers.get(&question).is_some_and(|(_, _, kept)| *kept <= at) {
                self.answers.remove(&question);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_answer_holds_for_two_seconds_from_its_question() {
        let mut cache = Decisions::default();
        cache.keep("a", Cached::Allowed, cache.epoch(), ms(1_000));
        cache.keep("b", Cached::Refused, cache.epoch(), ms(1_500));
        for (question, now, expected) in [
            ("a", 1_000, Some(Cached::Allowed)),
            ("a", 2_999, Some(Cached::Allowed)),
            ("a", 3_000, None),
            ("b", 3_000, Some(Cached::Refused)),
            ("c", 1_000, None),
        ] {
            assert_eq!(cache.find(&question, ms(now)), expected, "{question} {now}");
        }
    }

    #[test]
    fn a_change_forgets_answers_and_those_on_their_way() {
        let mut cache = Decisions::default();
        let before = cache.epoch();
        cache.keep("a", Cached::Allowed, before, ms(0));
        cache.changed();
        assert_eq!(cache.find(&"a", ms(1)), None);
        cache.keep("a", Cached::Allowed, before, ms(1));
        assert_eq!(cache.find(&"a", ms(1)), None);
        cache.keep("a", Cached::Refused, cache.epoch(), ms(1));
        assert_eq!(cache.find(&"a", ms(1)), Some(Cached::Refused));
    }

    #[test]
    fn memory_is_bounded_and_the_youngest_stay() {
        let mut cache = Decisions::with_limit(3);
        for question in 0..10 {
            cache.keep(question, Cached::Allowed, 0, ms(question));
            cache.keep(0, Cached::Refused, 0, ms(question));
        }
        assert!(cache.answers.len() <= 3 && cache.order.len() <= 3);
        assert_eq!(cache.find(&0, ms(10)), Some(Cached::Refused));
        cache.keep(11, Cached::Allowed, 0, ms(5_000));
        assert_eq!((cache.answers.len(), cache.order.len()), (1, 1));
    }
}
