//! The streams that exist, how many count against which limit, and what may still arrive for
//! those that do not exist any more.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::Side;
use crate::schedule::Place;
use crate::stream::{Kind, Origin, Stream, StreamId};
use crate::wire::MAX_STREAM;

/// Streams by id.
#[derive(Debug)]
pub(super) struct Streams {
    all: BTreeMap<StreamId, Box<Stream>>,
    side: Side,
    /// The next id to open here.
    next: u32,
    /// The highest that the peer opened.
    pub(super) highest: u32,
    /// Opened here and not closed.
    pub(super) open_local: u32,
    /// Opened by the peer, and the work for them not released.
    pub(super) open_remote: u32,
    /// Not closed, control streams aside.
    pub(super) live: u32,
    /// The peer's control stream.
    pub(super) control: Option<StreamId>,
}

impl Streams {
    pub(super) const fn new(side: Side) -> Self {
        let next = match side {
            Side::Dialler => 1,
            Side::Acceptor => 2,
        };
        Self {
            all: BTreeMap::new(),
            side,
            next,
            highest: 0,
            open_local: 0,
            open_remote: 0,
            live: 0,
            control: None,
        }
    }

    pub(super) fn find(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.all.get_mut(&id).map(|stream| &mut **stream)
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.all.get(&id).map(|stream| &**stream)
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.all.contains_key(&id)
    }

    /// Whether a stream waits for its turn in a place.
    pub(super) fn is_at(&self, id: StreamId, place: Place) -> bool {
        self.get(id).is_some_and(|stream| stream.turn.place == place)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.all.iter().map(|(id, stream)| (*id, &**stream))
    }

    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.all.keys().copied().collect()
    }

    /// The id for the next stream that is opened here.
    pub(super) fn next_id(&mut self) -> Option<StreamId> {
        let id = self.next;
        (id <= MAX_STREAM).then(|| {
            self.next += 2;
            StreamId(id)
        })
    }

    /// The id after the last that was given out here.
    pub(super) const fn next_local(&self) -> u32 {
        self.next
    }

    /// Whether an id belongs to this side.
    pub(super) const fn is_local(&self, id: StreamId) -> bool {
        (id.0 % 2 == 1) == matches!(self.side, Side::Dialler)
    }

    /// Whether an id was ever opened: frames for one that was not are never late.
    pub(super) const fn was_opened(&self, id: StreamId) -> bool {
        if self.is_local(id) { id.0 < self.next } else { id.0 <= self.highest }
    }

    pub(super) fn insert(&mut self, id: StreamId, stream: Stream) {
        match stream.origin {
            Origin::Local => self.open_local += 1,
            Origin::Remote => self.open_remote += 1,
        }
        match (stream.kind, stream.origin) {
            (Kind::Control, Origin::Remote) => self.control = Some(id),
            (Kind::Control, Origin::Local) => {}
            (Kind::Http | Kind::Raw, _) => self.live += 1,
        }
        self.all.insert(id, Box::new(stream));
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Box<Stream>> {
        let stream = self.all.remove(&id)?;
        if stream.origin == Origin::Remote {
            self.open_remote = self.open_remote.saturating_sub(1);
        }
        Some(stream)
    }

    /// Bytes of memory; a map's node has room for eleven entries and is at least half full.
    pub(super) fn memory(&self) -> usize {
        let entry = 2 * (size_of::<StreamId>() + size_of::<Box<Stream>>()) + 16;
        self.all.values().map(|stream| stream.memory() + entry).sum()
    }
}

/// How long data for a stream that was reset may still arrive, in slots of 10 s.
const LATE_SLOTS: usize = 7;
const LATE_SLOT: Duration = Duration::from_secs(10);

/// What may still arrive for streams that were reset here: the credit that they had, for 60 to
/// 70 s. It is one sum, so that it takes no memory per stream.
#[derive(Debug, Default)]
pub(super) struct Late {
    slots: [u64; LATE_SLOTS],
    at: u64,
}

impl Late {
    fn settle(&mut self, now: Duration) {
        let at = now.as_secs() / LATE_SLOT.as_secs();
        let passed = at.saturating_sub(self.at).min(LATE_SLOTS as u64);
        for step in 0..passed {
            self.slots[Self::index(at - step)] = 0;
        }
        self.at = self.at.max(at);
    }

    fn index(at: u64) -> usize {
        usize::try_from(at % LATE_SLOTS as u64).expect("less than seven")
    }

    /// A stream was reset that had so much credit.
    pub(super) fn allow(&mut self, now: Duration, bytes: u64) {
        self.settle(now);
        let slot = &mut self.slots[Self::index(self.at)];
        *slot = slot.saturating_add(bytes);
    }

    /// Data arrived for such a stream; false if it was more than all of them had.
    pub(super) fn take(&mut self, now: Duration, mut bytes: u64) -> bool {
        self.settle(now);
        // The oldest first: it ends soonest.
        for step in 1..=LATE_SLOTS as u64 {
            let slot = &mut self.slots[Self::index(self.at + step)];
            let used = bytes.min(*slot);
            *slot -= used;
            bytes -= used;
        }
        bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn late_data_is_taken_up_to_the_credit_of_what_was_reset() {
        let mut late = Late::default();
        late.allow(at(0), 100);
        late.allow(at(30), 50);
        assert!(late.take(at(59), 120));
        assert!(late.take(at(65), 30));
        assert!(!late.take(at(65), 1));
        late.allow(at(65), 10);
        assert!(!late.take(at(200), 1));
    }

    #[test]
    fn each_side_knows_its_ids() {
        let mut dialler = Streams::new(Side::Dialler);
        assert!(dialler.is_local(StreamId(1)) && !dialler.is_local(StreamId(2)));
        assert!(!dialler.was_opened(StreamId(1)) && !dialler.was_opened(StreamId(2)));
        assert_eq!((dialler.next_id(), dialler.next_id()), (Some(StreamId(1)), Some(StreamId(3))));
        assert!(dialler.was_opened(StreamId(3)) && !dialler.was_opened(StreamId(5)));
        dialler.next = MAX_STREAM;
        assert_eq!((dialler.next_id(), dialler.next_id()), (Some(StreamId(MAX_STREAM)), None));
    }
}
