//! One segment: its name, where in it events begin, and reading them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::disk::{Disk, DiskFile, read_up_to};
use super::record::{HEADER_BYTES, Header, Mark, decode_summary};
use super::walk::{Found, Walk};
use crate::event::{Event, Position};

const SUFFIX: &str = ".events";

/// Digits of a position in a name: enough for every one, so that names sort as they do.
const DIGITS: usize = 20;

/// Bytes between two entries of an index: 16 KiB of memory to a segment of 64 MiB.
const STRIDE: u64 = 64 << 10;

/// A file of the log.
pub(super) struct Segment {
    /// From its name: the first position that it may hold.
    pub(super) first: Position,
    /// From its name.
    pub(super) mark: Mark,
    pub(super) name: String,
    /// Where durable records end.
    end: AtomicU64,
    /// What it takes of the disk.
    space: AtomicU64,
    /// Made when it is first needed, for a segment of an earlier process.
    index: Mutex<Option<Index>>,
}

impl Segment {
    /// One that holds nothing yet.
    pub(super) fn new(first: Position, mark: Mark) -> Self {
        let name = format!("{:0DIGITS$}-{:016x}{SUFFIX}", first.0, u64::from_be_bytes(mark));
        let index = Mutex::new(Some(Index::default()));
        Self { first, mark, name, end: AtomicU64::new(0), space: AtomicU64::new(0), index }
    }

    /// The segment that a name belongs to, of so many bytes; none if the name is no segment's.
    pub(super) fn from_name(name: &str, size: u64) -> Option<Self> {
        let (first, mark) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let mark = u64::from_str_radix(mark, 16).ok()?.to_be_bytes();
        let this = Self::new(Position(first.parse().ok()?), mark);
        *this.index.lock() = None;
        this.end.store(size, Ordering::Release);
        this.space.store(size, Ordering::Relaxed);
        (this.name == name).then_some(this)
    }

    /// Where durable records end.
    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// What it takes of the disk, in bytes.
    pub(super) fn space(&self) -> u64 {
        self.space.load(Ordering::Relaxed).max(self.end())
    }

    pub(super) fn set_space(&self, bytes: u64) {
        self.space.store(bytes, Ordering::Relaxed);
    }

    /// Shows readers what became durable: the records that begin at `added`, up to `end`.
    pub(super) fn publish(&self, added: &[(Position, u64)], end: u64) {
        if let Some(index) = &mut *self.index.lock() {
            added.iter().for_each(|(position, at)| index.add(*position, *at));
        }
        self.end.store(end, Ordering::Release);
    }

    /// Sets the index that a check of the whole segment made.
    pub(super) fn set_checked(&self, index: Index, end: u64) {
        *self.index.lock() = Some(index);
        self.end.store(end, Ordering::Release);
    }

    /// A walk that begins at or before the record of `position`. Calls `damaged` for what is
    /// found damaged when this segment is walked through for the first time.
    pub(super) fn walk<'a>(
        &self,
        file: &'a dyn DiskFile,
        position: Position,
        damaged: impl FnMut(u64, u64),
    ) -> io::Result<Walk<'a>> {
        let mut index = self.index.lock();
        let index = match &mut *index {
            Some(index) => index,
            none => none.insert(self.index_of(file, damaged)?),
        };
        let begin = index.before(position).unwrap_or((self.first, 0));
        Ok(Walk::new(file, self.mark, begin, self.end()))
    }

    fn index_of(
        &self,
        file: &dyn DiskFile,
        mut damaged: impl FnMut(u64, u64),
    ) -> io::Result<Index> {
        let mut walk = Walk::new(file, self.mark, (self.first, 0), self.end());
        let (mut index, mut bad) = (Index::default(), None);
        while let Some(found) = walk.next()? {
            match found {
                Found::Record { at, header } => {
                    index.add(header.position, at);
                    if let Some((from, to)) = bad.take() {
                        damaged(from, to);
                    }
                }
                // At the end it is what was never acknowledged.
                Found::Damage { from, to } => bad = Some((from, to)),
            }
        }
        Ok(index)
    }
}

/// Where some records begin; in between, one walks.
#[derive(Default)]
pub(super) struct Index(Vec<(Position, u64)>);

impl Index {
    /// Records come in their order.
    pub(super) fn add(&mut self, position: Position, at: u64) {
        if self.0.last().is_none_or(|(_, last)| at >= last + STRIDE) {
            self.0.push((position, at));
        }
    }

    fn before(&self, position: Position) -> Option<(Position, u64)> {
        let after = self.0.partition_point(|(known, _)| *known <= position);
        after.checked_sub(1).map(|index| self.0[index])
    }
}

/// The segments among a directory's files, oldest first, with sizes.
pub(super) fn segments(disk: &dyn Disk) -> io::Result<Vec<Segment>> {
    let mut found = Vec::new();
    for name in disk.names()? {
        if Segment::from_name(&name, 0).is_some() {
            let size = disk.open(&name)?.size()?;
            found.extend(Segment::from_name(&name, size));
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// The event of a record, if it is whole.
pub(super) fn read_event(
    file: &dyn DiskFile,
    at: u64,
    header: &Header,
) -> io::Result<Option<Event>> {
    let total = header.record_bytes() - HEADER_BYTES as u64;
    let mut bytes = vec![0; usize::try_from(total).unwrap_or(usize::MAX)];
    if read_up_to(file, &mut bytes, at + HEADER_BYTES as u64)? < bytes.len() {
        return Ok(None);
    }
    let mut summary = Bytes::from(bytes);
    let body = summary.split_off(header.summary_bytes as usize);
    let intact = crc32fast::hash(&body) == header.body_crc;
    let decoded = decode_summary(header, &summary).filter(|_| intact);
    Ok(decoded.map(|summary| summary.with_body(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_segment_is() {
        for first in [1, 9, 10, u64::MAX] {
            let made = Segment::new(Position(first), [0, 1, 2, 3, 4, 5, 6, 0xff]);
            let read = Segment::from_name(&made.name, 7).unwrap();
            assert_eq!((read.first, read.mark, read.end()), (made.first, made.mark, 7));
        }
        for name in [
            "lock",
            "1-0000000000000000.events",
            "00000000000000000001-.events",
            "00000000000000000001-0000000000000000.damaged",
            "+0000000000000000001-0000000000000000.events",
            "00000000000000000001-000000000000000G.events",
        ] {
            assert!(Segment::from_name(name, 0).is_none(), "{name}");
        }
    }

    #[test]
    fn an_index_is_sparse_and_finds_where_to_begin() {
        let mut index = Index::default();
        assert_eq!(index.before(Position(5)), None);
        for position in 5..1005 {
            index.add(Position(position), (position - 5) * 1000);
        }
        assert_eq!(index.0.len(), 16);
        assert_eq!(index.before(Position(4)), None);
        assert_eq!(index.before(Position(69)), Some((Position(5), 0)));
        assert_eq!(index.before(Position(71)), Some((Position(71), 66_000)));
        assert_eq!(index.before(Position(u64::MAX)), Some((Position(995), 990_000)));
    }
}
