//! What became of every event at every backend, in memory.

use std::collections::BTreeMap;

use super::frame::{FRAME_BYTES, Frame};
use super::{Backend, Became, Change};
use crate::event::Position;

/// What became of every event at every backend.
///
/// An event that is to be tried again, or is dead, takes about 64 bytes for each such backend;
/// a run of settled ones, as of those not tried yet, about 32. Which of them were unwanted takes
/// about 24 for each 32 positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table(BTreeMap<Backend, Column>);

/// What became of the events of one backend: all from the first to the low-water mark are
/// settled, and above it the runs of `settled`. Whatever is in no map was not tried yet.
#[derive(Clone, Debug, Default, PartialEq)]
struct Column {
    /// The first position that the backend gets.
    from: u64,
    /// Delivered, unwanted, dead, purged or absent.
    settled: super::runs::Runs,
    /// From before the backend was added, between those that were asked for: never its own.
    absent: super::runs::Runs,
    unwanted: super::marks::Marks,
    purged: super::runs::Runs,
    /// Tried, and to be tried again.
    waiting: BTreeMap<u64, Became>,
    dead: BTreeMap<u64, Became>,
}

impl Table {
    /// The backends that were added, in no order that means anything.
    pub fn backends(&self) -> impl Iterator<Item = Backend> {
        self.0.keys().copied()
    }

    /// What became of an event at a backend; none if it was not tried, or is none of its.
    #[must_use]
    pub fn became(&self, backend: Backend, position: Position) -> Option<Became> {
        let column = self.0.get(&backend)?;
        let Position(position) = position;
        let exception = column.waiting.get(&position).or_else(|| column.dead.get(&position));
        exception.copied().or_else(|| match () {
            () if column.purged.contains(position) => Some(Became::Purged),
            () if column.unwanted.contains(position) => Some(Became::Unwanted),
            () if column.absent.contains(position) => None,
            () if column.settled.contains(position) => Some(Became::Delivered),
            () => None,
        })
    }

    /// Whether the backend has still to get an event, tried or not.
    #[must_use]
    pub fn is_unsettled(&self, backend: Backend, position: Position) -> bool {
        let column = self.0.get(&backend);
        column
            .is_some_and(|column| position.0 >= column.from && !column.settled.contains(position.0))
    }

    /// The position up to which everything of the backend is settled; the one before its first
    /// if nothing is. None if it was not added.
    #[must_use]
    pub fn low_water(&self, backend: Backend) -> Option<Position> {
        let column = self.0.get(&backend)?;
        let first = column.settled.gaps(column.from, u64::MAX).next();
        Some(Position(first.map_or(u64::MAX, |(first, _)| first.saturating_sub(1))))
    }

    /// What the backend has still to get of the events up to `last`, tried or not: runs, both
    /// ends included, in order.
    pub fn unsettled(
        &self,
        backend: Backend,
        last: Position,
    ) -> impl Iterator<Item = (Position, Position)> {
        let columns = self.0.get(&backend).into_iter();
        columns
            .flat_map(move |column| column.settled.gaps(column.from, last.0))
            .map(|(first, last)| (Position(first), Position(last)))
    }

    /// What was tried and is to be tried again ([`Became::Waiting`]), in order.
    pub fn waiting(&self, backend: Backend) -> impl Iterator<Item = (Position, Became)> {
        let columns = self.0.get(&backend).into_iter();
        columns
            .flat_map(|column| column.waiting.iter())
            .map(|(at, became)| (Position(*at), *became))
    }

    /// The dead letters ([`Became::Dead`]), in order.
    pub fn dead(&self, backend: Backend) -> impl Iterator<Item = (Position, Became)> {
        let columns = self.0.get(&backend).into_iter();
        columns.flat_map(|column| column.dead.iter()).map(|(at, became)| (Position(*at), *became))
    }

    pub(super) fn apply(&mut self, frame: Frame) {
        match frame {
            Frame::Header { .. } => {}
            Frame::Change(Change::Added { backend, from }) => {
                let column = Column { from: from.0.max(1), ..Column::default() };
                self.0.entry(backend).or_insert(column);
            }
            Frame::Change(Change::Removed { backend }) => drop(self.0.remove(&backend)),
            Frame::Change(Change::Forgotten { before }) => {
                for column in self.0.values_mut() {
                    column.forget(before.0);
                }
            }
            Frame::Change(Change::Became { backend, position, became }) => {
                self.column(backend).set(position.0, position.0, became);
            }
            Frame::Change(Change::Unwanted { backend, first, last }) => {
                self.column(backend).set(first.0, last.0, Became::Unwanted);
            }
            Frame::Run { backend, first, last, became } => {
                self.column(backend).set(first.0, last.0, became);
            }
            Frame::Unwanted { backend, word, bits } => {
                self.column(backend).unwanted.insert_word(word, bits);
            }
            Frame::Absent { backend, first, last } => {
                let column = self.column(backend);
                column.settled.insert(first.0, last.0);
                column.absent.insert(first.0, last.0);
            }
        }
    }

    /// One whose addition is damaged gets everything that is not known to be settled: rather
    /// twice than never.
    fn column(&mut self, backend: Backend) -> &mut Column {
        self.0.entry(backend).or_insert_with(|| Column { from: 1, ..Column::default() })
    }

    /// The bytes of [`encode`](Self::encode).
    pub(super) fn size(&self) -> u64 {
        let of = |column: &Column| {
            let runs = column.settled.len() + column.purged.len() + column.absent.len();
            1 + runs + column.unwanted.len() + column.waiting.len() + column.dead.len()
        };
        let frames = 1 + self.0.values().map(of).sum::<usize>();
        (frames * FRAME_BYTES) as u64
    }

    /// The frames that make a table equal to this one.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size()).unwrap_or_default());
        let mut put = |frame: Frame| bytes.extend_from_slice(&frame.encode());
        put(Frame::HEADER);
        for (backend, column) in &self.0 {
            let backend = *backend;
            put(Frame::Change(Change::Added { backend, from: Position(column.from) }));
            let settled = column.settled.iter().map(|run| (run, Became::Delivered));
            let purged = column.purged.iter().map(|run| (run, Became::Purged));
            for ((first, last), became) in settled.chain(purged) {
                put(Frame::Run { backend, first: Position(first), last: Position(last), became });
            }
            for (first, last) in column.absent.iter() {
                put(Frame::Absent { backend, first: Position(first), last: Position(last) });
            }
            for (word, bits) in column.unwanted.words() {
                put(Frame::Unwanted { backend, word, bits });
            }
            for (position, became) in column.dead.iter().chain(&column.waiting) {
                let (position, became) = (Position(*position), *became);
                put(Frame::Change(Change::Became { backend, position, became }));
            }
        }
        bytes
    }
}

impl Column {
    /// What was said before of these is no longer so, but that they were purged: whatever an
    /// attempt says that was under way, they stay so until they are asked for anew. More than one
    /// are only delivered, unwanted or purged.
    fn set(&mut self, first: u64, last: u64, became: Became) {
        let is_of_attempt = match became {
            Became::Waiting { attempts, .. } => attempts > 0,
            Became::Dead { .. } => true,
            Became::Delivered | Became::Unwanted | Became::Purged => false,
        };
        if is_of_attempt && self.purged.contains(first) {
            return;
        }
        // One from before the backend was added is asked for, and none of those between.
        if matches!(became, Became::Waiting { .. }) && first < self.from {
            self.settled.insert(first, self.from - 1);
            self.absent.insert(first, self.from - 1);
            self.from = first;
        }
        // Nothing else is below.
        let first = first.max(self.from);
        if first > last {
            return;
        }
        let (waiting, dead) = (&mut self.waiting, &mut self.dead);
        for map in [waiting, dead] {
            while let Some((position, _)) = map.range(first..=last).next() {
                let position = *position;
                map.remove(&position);
            }
        }
        self.settled.insert(first, last);
        self.unwanted.remove(first, last);
        self.absent.remove(first, last);
        match became {
            Became::Waiting { .. } => {
                self.settled.remove(first, last);
                self.purged.remove(first, last);
                self.waiting.insert(first, became);
            }
            Became::Delivered => {}
            Became::Unwanted => self.unwanted.insert(first, last),
            Became::Purged => self.purged.insert(first, last),
            Became::Dead { .. } => drop(self.dead.insert(first, became)),
        }
    }

    fn forget(&mut self, before: u64) {
        let Some(last) = before.checked_sub(1).filter(|_| before > self.from) else {
            return;
        };
        self.from = before;
        self.settled.remove(0, last);
        self.purged.remove(0, last);
        self.unwanted.remove(0, last);
        self.absent.remove(0, last);
        self.waiting = self.waiting.split_off(&before);
        self.dead = self.dead.split_off(&before);
    }
}
