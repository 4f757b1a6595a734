//! When streams are decided again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::AGAIN;
use crate::credential::StreamId;

/// The streams that live, by when they are due.
#[derive(Debug, Default)]
pub struct Streams {
    due: BTreeSet<(Duration, StreamId)>,
    by_id: HashMap<StreamId, Duration>,
}

impl Streams {
    /// Notes a stream that was decided at `now`, and whose credential ends at `ends`.
    pub fn decided(&mut self, stream: StreamId, now: Duration, ends: Option<Duration>) {
        self.ended(stream);
        let due = now.saturating_add(AGAIN);
        let due = ends.map_or(due, |ends| ends.min(due));
        self.due.insert((due, stream));
        self.by_id.insert(stream, due);
    }

    /// Forgets a stream that ended.
    pub fn ended(&mut self, stream: StreamId) {
        if let Some(due) = self.by_id.remove(&stream) {
            self.due.remove(&(due, stream));
        }
    }

    /// The streams that are due at `now`, at most `limit`, those due first first. Each is due
    /// until it is [`decided`](Self::decided) or [`ended`](Self::ended): where nobody can decide,
    /// it is asked for again.
    pub fn due(&self, now: Duration, limit: usize) -> Vec<StreamId> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        due.take(limit).map(|(_, stream)| *stream).collect()
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn streams_are_decided_again_every_minute() {
        let mut streams = Streams::default();
        assert_eq!(streams.next_due(), None);
        for (stream, at) in [(1, 0), (2, 10), (3, 5)] {
            streams.decided(stream, s(at), None);
        }
        assert_eq!(streams.next_due(), Some(s(60)));
        assert!(streams.due(s(59), 9).is_empty());
        assert_eq!(streams.due(s(65), 9), [1, 3]);
        assert_eq!(streams.due(s(90), 2), [1, 3]);
        streams.decided(1, s(65), Some(s(1_000)));
        streams.ended(3);
        streams.ended(3);
        assert_eq!(streams.due(s(125), 9), [2, 1]);
        streams.ended(1);
        // What ends sooner is looked at then.
        streams.decided(2, s(125), Some(s(130)));
        assert_eq!((streams.due(s(129), 9).len(), streams.due(s(130), 9)), (0, vec![2]));
        streams.ended(2);
        assert!(streams.due.is_empty() && streams.by_id.is_empty());
    }
}
