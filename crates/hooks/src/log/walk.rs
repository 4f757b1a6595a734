//! From record to record through a segment, past what is damaged.

use std::io;

use super::disk::{DiskFile, read_up_to};
use super::record::{HEADER_BYTES, Header, Mark};
use crate::event::Position;

/// What one read takes: some small records.
const CHUNK_BYTES: usize = 16 << 10;

/// What one read takes in search of the next record.
const SEARCH_BYTES: usize = 256 << 10;

/// What lies next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A header that is whole, and a record that ends within the segment. What is behind the
    /// header was not looked at.
    Record { at: u64, header: Header },
    /// Bytes that are no record.
    Damage { from: u64, to: u64 },
}

/// A walk from a record's beginning to the end of what is written.
pub(super) struct Walk<'a> {
    file: &'a dyn DiskFile,
    mark: Mark,
    at: u64,
    end: u64,
    /// The least position that may come; one below it would be a record's stale copy.
    least: Position,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Walk<'a> {
    pub(super) const fn new(
        file: &'a dyn DiskFile,
        mark: Mark,
        (least, at): (Position, u64),
        end: u64,
    ) -> Self {
        Self { file, mark, at, end, least, buffer: Vec::new(), buffer_at: 0 }
    }

    /// The next, or none when only zeros follow.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        if let Some(header) = self.header(self.at)? {
            let at = self.at;
            self.at += header.record_bytes();
            self.least = Position(header.position.0.saturating_add(1));
            return Ok(Some(Found::Record { at, header }));
        }
        let from = self.at;
        let (record, written) = self.search(from)?;
        self.at = record.unwrap_or(self.end);
        let to = record.unwrap_or(written);
        Ok((to > from).then_some(Found::Damage { from, to }))
    }

    /// Bytes of the file; fewer where it ends.
    pub(super) fn bytes(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let have = at.checked_sub(self.buffer_at).and_then(|skip| usize::try_from(skip).ok());
        let skip = match have {
            Some(skip) if skip.saturating_add(count) <= self.buffer.len() => skip,
            _ => {
                self.fill(at, count.max(CHUNK_BYTES))?;
                0
            }
        };
        let end = (skip + count).min(self.buffer.len());
        Ok(&self.buffer[skip..end])
    }

    fn fill(&mut self, at: u64, count: usize) -> io::Result<()> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        self.buffer.resize(count.min(left), 0);
        self.buffer_at = at;
        let read = read_up_to(self.file, &mut self.buffer, at)?;
        self.buffer.truncate(read);
        Ok(())
    }

    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let (mark, least, end) = (self.mark, self.least, self.end);
        let Ok(bytes) = self.bytes(at, HEADER_BYTES)?.try_into() else {
            return Ok(None);
        };
        let header = Header::read(bytes, mark);
        Ok(header.filter(|header| {
            header.position >= least && at.saturating_add(header.record_bytes()) <= end
        }))
    }

    /// Where after `from` the next record begins, and where what is not zero ends.
    fn search(&mut self, from: u64) -> io::Result<(Option<u64>, u64)> {
        let (mut at, mut written) = (from, from);
        let mut chunk = vec![0; SEARCH_BYTES];
        let zeros = vec![0; SEARCH_BYTES];
        while at < self.end {
            let left = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            let room = chunk.len().min(left);
            let count = read_up_to(self.file, &mut chunk[..room], at)?;
            let bytes = &chunk[..count];
            // Most of what was taken in advance is zeros; this is the fast way to tell.
            if *bytes != zeros[..count] {
                let last = bytes.iter().rposition(|byte| *byte != 0);
                written = at + last.map_or(0, |last| last as u64 + 1);
                let mark = self.mark;
                for (skip, window) in bytes.windows(mark.len()).enumerate() {
                    let candidate = at + skip as u64;
                    if window == mark && candidate > from && self.header(candidate)?.is_some() {
                        return Ok((Some(candidate), written));
                    }
                }
            }
            if count < SEARCH_BYTES {
                break;
            }
            // A mark may lie across two chunks.
            at += (count - self.mark.len() + 1) as u64;
        }
        Ok((None, written))
    }
}
