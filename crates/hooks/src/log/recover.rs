//! What an earlier process left.
//!
//! A segment is synced before the next is begun, so only the newest can end in something torn;
//! it is checked whole. Nothing is destroyed here. Where something follows the last good record,
//! it stays as it is, and the next event begins a new segment behind the positions that it may
//! have held: had one been acknowledged, another event must not pass for it.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::aside::set_aside;
use super::disk::{Disk, DiskFile, is_full, read_up_to, write_all};
use super::queue::BATCH_BYTES;
use super::segment::{Index, Segment, read_event, segments};
use super::walk::{Found, Walk};
use super::writer::Current;
use crate::event::Position;

/// What was wrong with a log when it was opened. A torn end is what a crash leaves. Anything
/// damaged is for an operator to know: after a loss of power it may be of a batch that was never
/// acknowledged, otherwise an acknowledged event is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// What followed the newest good record.
    pub cut: Option<Cut>,
    /// Bad bytes that good records follow, oldest first.
    pub damaged: Vec<Damaged>,
}

/// Bytes behind the last good record, which are no part of the log any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file name. The bytes stay in it until it is removed.
    pub segment: String,
    /// Where they begin.
    pub at: u64,
    /// How many there are.
    pub bytes: u64,
}

/// Bytes amid good records that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The segment's file name.
    pub segment: String,
    /// Where they begin.
    pub at: u64,
    /// How many there are.
    pub bytes: u64,
    /// What cannot be read because of it.
    pub positions: RangeInclusive<Position>,
    /// The file, beside the segments, that they were copied to; none if that was not possible.
    pub kept: Option<String>,
}

/// Where to go on.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    /// What is written on, if the newest segment ends well.
    pub(super) current: Option<Current>,
    /// For the next event.
    pub(super) next: Position,
    pub(super) recovery: Recovery,
}

/// Finds the segments and checks the newest. What is left is durable then: a process that was
/// killed may have written it, and the segment's name, without a sync.
pub(super) fn recover(disk: &dyn Disk) -> io::Result<Recovered> {
    let mut found: Vec<_> = segments(disk)?.into_iter().map(Arc::new).collect();
    let Some(newest) = found.last_mut() else {
        let recovery = Recovery::default();
        return Ok(Recovered { segments: found, current: None, next: Position(1), recovery });
    };
    let newest = newest.clone();
    let file = disk.open(&newest.name)?;
    let mut check = Check::new(newest.first);
    check.run(&*file, &newest)?;
    rewrite(&*file, check.end.saturating_sub(check.last_bytes.max(BATCH_BYTES as u64)), check.end)?;
    file.sync()?;
    disk.sync_names()?;

    for damaged in &mut check.damaged {
        let (from, to) = (damaged.at, damaged.at + damaged.bytes);
        damaged.kept = set_aside(disk, &newest.name, from, to);
    }
    let next = check.next();
    newest.set_checked(check.index, check.end);
    let cut = check.bad.map(|(from, to)| Cut {
        segment: newest.name.clone(),
        at: from,
        bytes: to - from,
    });
    let current = match &cut {
        None => Some(Current::new(newest, file, check.end)?),
        Some(cut) => {
            // Gives back what was taken in advance: only zeros are there. Not having it is no harm.
            drop(file.truncate(cut.at + cut.bytes));
            newest.set_space(file.size()?);
            None
        }
    };
    let recovery = Recovery { cut, damaged: check.damaged };
    Ok(Recovered { segments: found, current, next, recovery })
}

/// Writes bytes over themselves. If the process before ended with a failed sync, the kernel may
/// take what it holds of the last batch for written; now it has to write it, or fail again.
fn rewrite(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let mut chunk = vec![0; BATCH_BYTES];
    let mut at = from;
    while at < to {
        let room = usize::try_from(to - at).unwrap_or(usize::MAX).min(chunk.len());
        let count = read_up_to(file, &mut chunk[..room], at)?;
        if count == 0 {
            break;
        }
        match write_all(file, &chunk[..count], at) {
            // Some file systems need space to write over what is there. What is kept can then at
            // least be delivered and removed.
            Err(error) if is_full(&error) => break,
            written => written?,
        }
        at += count as u64;
    }
    Ok(())
}

/// What a walk through the newest segment found so far.
struct Check {
    index: Index,
    damaged: Vec<Damaged>,
    /// Where the last good record ends, and its position.
    end: u64,
    good: Position,
    /// How long the last good record is.
    last_bytes: u64,
    /// The newest position of which there is any trace.
    seen: Position,
    /// What is bad behind the last good record.
    bad: Option<(u64, u64)>,
}

impl Check {
    fn new(first: Position) -> Self {
        let before = Position(first.0.saturating_sub(1));
        Self {
            index: Index::default(),
            damaged: Vec::new(),
            end: 0,
            good: before,
            last_bytes: 0,
            seen: before,
            bad: None,
        }
    }

    fn run(&mut self, file: &dyn DiskFile, segment: &Segment) -> io::Result<()> {
        let mut walk = Walk::new(file, segment.mark, (segment.first, 0), segment.end());
        while let Some(found) = walk.next()? {
            match found {
                Found::Record { at, header } => {
                    let end = at + header.record_bytes();
                    self.seen = header.position;
                    if read_event(file, at, &header)?.is_some() {
                        self.good_record(segment, header.position, (at, end));
                    } else {
                        self.bad_bytes(at, end);
                    }
                }
                Found::Damage { from, to } => {
                    self.seen.0 += 1;
                    self.bad_bytes(from, to);
                }
            }
        }
        Ok(())
    }

    fn good_record(&mut self, segment: &Segment, position: Position, (at, end): (u64, u64)) {
        if let Some((from, to)) = self.bad.take() {
            self.damaged.push(Damaged {
                segment: segment.name.clone(),
                at: from,
                bytes: to - from,
                positions: Position(self.good.0 + 1)..=Position(position.0 - 1),
                kept: None,
            });
        }
        self.index.add(position, at);
        (self.good, self.end, self.last_bytes) = (position, end, end - at);
    }

    fn bad_bytes(&mut self, from: u64, to: u64) {
        let from = self.bad.map_or(from, |(first, _)| first);
        self.bad = Some((from, to));
    }

    fn next(&self) -> Position {
        Position(self.seen.0 + 1)
    }
}
