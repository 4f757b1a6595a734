//! What is durable: the segments and how far they go. Readers on one side, the writer on the
//! other.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::RwLock;

use super::ReadError;
use super::aside::set_aside;
use super::disk::Disk;
use super::metrics::LogMetrics;
use super::record::{HEADER_BYTES, Header, Summary, decode_summary};
use super::segment::{Segment, read_event};
use super::walk::{Found, Walk};
use crate::event::{Event, Position};

/// Everything that readers and the writer share.
pub(super) struct Store {
    pub(super) disk: Box<dyn Disk>,
    pub(super) metrics: LogMetrics,
    state: RwLock<State>,
}

struct State {
    /// By their first positions. The last is the one that is written.
    segments: BTreeMap<Position, Arc<Segment>>,
    /// The newest position that was given away.
    head: Position,
}

impl Store {
    pub(super) fn new(
        disk: Box<dyn Disk>,
        metrics: LogMetrics,
        segments: Vec<Arc<Segment>>,
        head: Position,
    ) -> Self {
        let segments = segments.into_iter().map(|segment| (segment.first, segment)).collect();
        let this = Self { disk, metrics, state: RwLock::new(State { segments, head }) };
        this.show_bytes();
        this
    }

    pub(super) fn head(&self) -> Position {
        self.state.read().head
    }

    pub(super) fn floor(&self) -> Position {
        let state = self.state.read();
        state.segments.keys().next().copied().unwrap_or(Position(state.head.0 + 1))
    }

    pub(super) fn second_floor(&self) -> Option<Position> {
        self.state.read().segments.keys().nth(1).copied()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.state.read().segments.values().map(|segment| segment.space()).sum()
    }

    /// Adds the segment that is written from now on.
    pub(super) fn begin(&self, segment: Arc<Segment>) {
        self.state.write().segments.insert(segment.first, segment);
        self.show_bytes();
    }

    /// Shows readers everything up to `head`.
    pub(super) fn publish(&self, head: Position) {
        self.state.write().head = head;
        self.show_bytes();
    }

    fn show_bytes(&self) {
        self.metrics.bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }

    pub(super) fn read(&self, position: Position) -> Result<Option<Event>, ReadError> {
        let segment = {
            let state = self.state.read();
            let before = state.segments.range(..=position).next_back();
            match before {
                Some((_, segment)) if position <= state.head => segment.clone(),
                _ => return Ok(None),
            }
        };
        let file = match self.disk.open(&segment.name) {
            // Removed just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(ReadError::Io)?,
        };
        let mut walk = segment
            .walk(&*file, position, |from, to| self.damaged(&segment, from, to))
            .map_err(ReadError::Io)?;
        let Some((at, header)) = find(&mut walk, position).map_err(ReadError::Io)? else {
            return Err(ReadError::Damaged(position));
        };
        let event = read_event(&*file, at, &header).map_err(ReadError::Io)?;
        if event.is_none() {
            self.damaged(&segment, at, at + header.record_bytes());
        }
        event.map(Some).ok_or(ReadError::Damaged(position))
    }

    pub(super) fn for_each(
        &self,
        from: Position,
        mut f: impl FnMut(Position, &Summary) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let (segments, head) = {
            let state = self.state.read();
            let begin = state.segments.range(..=from).next_back().map_or(from, |(first, _)| *first);
            (state.segments.range(begin..).map(|(_, s)| s.clone()).collect::<Vec<_>>(), state.head)
        };
        for segment in segments {
            if self.walk_summaries(&segment, from..=head, &mut f)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn walk_summaries(
        &self,
        segment: &Segment,
        wanted: std::ops::RangeInclusive<Position>,
        f: &mut impl FnMut(Position, &Summary) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ReadError> {
        let file = match self.disk.open(&segment.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(ControlFlow::Continue(()));
            }
            file => file.map_err(ReadError::Io)?,
        };
        let mut walk = segment
            .walk(&*file, *wanted.start(), |from, to| self.damaged(segment, from, to))
            .map_err(ReadError::Io)?;
        while let Some(found) = walk.next().map_err(ReadError::Io)? {
            let Found::Record { at, header } = found else { continue };
            if header.position > *wanted.end() {
                return Ok(ControlFlow::Break(()));
            }
            if header.position < *wanted.start() {
                continue;
            }
            let count = header.summary_bytes as usize;
            let bytes = walk.bytes(at + HEADER_BYTES as u64, count).map_err(ReadError::Io)?;
            match decode_summary(&header, bytes) {
                Some(summary) if f(header.position, &summary).is_break() => {
                    return Ok(ControlFlow::Break(()));
                }
                Some(_) => {}
                None => self.damaged(segment, at, at + header.record_bytes()),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Something that was acknowledged cannot be read any more.
    fn damaged(&self, segment: &Segment, from: u64, to: u64) {
        self.metrics.damaged.inc();
        let kept = set_aside(&*self.disk, &segment.name, from, to);
        tracing::error!(
            segment = segment.name,
            from,
            to,
            kept,
            "events in the log are damaged and cannot be delivered"
        );
    }

    /// Removes the segments all of whose events are below `position`, oldest first.
    pub(super) fn remove_below(&self, position: Position) -> io::Result<()> {
        while let Some(oldest) = self.oldest_below(position) {
            match self.disk.remove(&oldest.name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // One by one: a crash then leaves no hole.
            self.disk.sync_names()?;
            self.state.write().segments.remove(&oldest.first);
            self.show_bytes();
        }
        Ok(())
    }

    fn oldest_below(&self, position: Position) -> Option<Arc<Segment>> {
        let state = self.state.read();
        let mut segments = state.segments.values();
        let (oldest, next) = (segments.next()?, segments.next()?);
        (next.first <= position).then(|| oldest.clone())
    }
}

fn find(walk: &mut Walk<'_>, position: Position) -> io::Result<Option<(u64, Header)>> {
    while let Some(found) = walk.next()? {
        match found {
            Found::Record { at, header } if header.position == position => {
                return Ok(Some((at, header)));
            }
            Found::Record { header, .. } if header.position > position => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}
