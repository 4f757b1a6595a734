//! Turns events into durable records, one batch at a time. Owned by the log's thread.

use std::io;
use std::sync::Arc;

use strait_runtime::Entropy;

use super::disk::{DiskFile, is_full, write_all};
use super::queue::BATCH_BYTES;
use super::record::{HEADER_BYTES, encode_header};
use super::segment::Segment;
use super::store::Store;
use crate::event::{Event, Position};

/// A body of this size is written from where it lies, not copied first.
const COPIED_BYTES_MAX: usize = 64 << 10;

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// The disk is full. None of the batch is in the files; another try may succeed.
    Full(io::Error),
    /// What the files hold is unknown; nothing more may be written.
    Broken(io::Error),
}

/// An event and its summary as a record holds it.
pub(super) struct Encoded {
    pub(super) event: Arc<Event>,
    pub(super) summary: Vec<u8>,
}

impl Encoded {
    /// What a record of it takes.
    pub(super) fn bytes(&self) -> usize {
        HEADER_BYTES + self.summary.len() + self.event.body.len()
    }
}

/// The end of the log.
pub(super) struct Writer {
    store: Arc<Store>,
    segment_bytes: u64,
    entropy: Arc<dyn Entropy>,
    current: Option<Current>,
    /// For the next event.
    next: Position,
    /// Where small records are put together; it keeps its room.
    buffer: Vec<u8>,
}

/// The segment that is written.
pub(super) struct Current {
    segment: Arc<Segment>,
    file: Box<dyn DiskFile>,
    /// Where the durable records end.
    end: u64,
    /// How long the file is; zeros are behind `end`.
    size: u64,
}

impl Current {
    /// Goes on behind `end`, where only zeros are.
    pub(super) fn new(
        segment: Arc<Segment>,
        file: Box<dyn DiskFile>,
        end: u64,
    ) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { segment, file, end, size })
    }

    /// Makes room for a batch: for a whole segment at once, or, where the disk has no more, for
    /// what is needed.
    fn reserve(&mut self, bytes: u64, segment_bytes: u64) -> Result<(), Failure> {
        let needed = self.end + bytes;
        if needed <= self.size {
            return Ok(());
        }
        let whole = segment_bytes.max(needed);
        let taken = match self.allocate(whole) {
            Err(Failure::Full(_)) if whole > needed => self.allocate(needed),
            taken => taken,
        };
        self.segment.set_space(self.size);
        taken
    }

    fn allocate(&mut self, size: u64) -> Result<(), Failure> {
        match self.file.allocate(self.size, size) {
            Ok(()) => {
                self.size = size;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                // It may have taken a part.
                self.file.truncate(self.size).map_err(Failure::Broken)?;
                Err(Failure::Full(error))
            }
            Err(error) => Err(Failure::Broken(error)),
        }
    }

    /// Takes back what was written of a failed batch, durably, before anyone is told that it
    /// failed: recovery must not find it.
    fn cut(&mut self) -> io::Result<()> {
        self.size = self.end;
        self.file.truncate(self.end)?;
        self.file.sync()?;
        self.segment.set_space(self.size);
        Ok(())
    }
}

impl Writer {
    pub(super) fn new(
        store: Arc<Store>,
        segment_bytes: u64,
        entropy: Arc<dyn Entropy>,
        current: Option<Current>,
        next: Position,
    ) -> Self {
        Self { store, segment_bytes, entropy, current, next, buffer: Vec::new() }
    }

    /// Writes events in their order, durably, and shows them to readers. Returns the first's
    /// position; the others follow it.
    pub(super) fn commit(&mut self, batch: &[Encoded]) -> Result<Position, Failure> {
        let bytes = batch.iter().map(|encoded| encoded.bytes() as u64).sum();
        let first = self.next;
        let segment_bytes = self.segment_bytes;
        let mut buffer = std::mem::take(&mut self.buffer);
        let current = self.segment_for(bytes)?;
        current.reserve(bytes, segment_bytes)?;
        let mut added = Vec::with_capacity(batch.len());
        let written = write(current, batch, first, (&mut buffer, &mut added));
        match written {
            Err(error) if is_full(&error) => {
                current.cut().map_err(Failure::Broken)?;
                return Err(Failure::Full(error));
            }
            written => written.map_err(Failure::Broken)?,
        }
        // Whatever this says, it is not asked again: the kernel may have forgotten the pages.
        current.file.sync().map_err(Failure::Broken)?;
        current.end += bytes;
        current.segment.publish(&added, current.end);
        buffer.clear();
        buffer.shrink_to(2 * BATCH_BYTES);
        self.buffer = buffer;
        self.next = Position(first.0 + batch.len() as u64);
        self.store.publish(Position(self.next.0 - 1));
        Ok(first)
    }

    /// The current segment, or a new one if a batch does not fit it.
    fn segment_for(&mut self, bytes: u64) -> Result<&mut Current, Failure> {
        let fits =
            |current: &Current| current.end == 0 || current.end + bytes <= self.segment_bytes;
        let full = match self.current.take() {
            Some(current) if fits(&current) => return Ok(self.current.insert(current)),
            full => full,
        };
        match self.begin_segment() {
            Ok(fresh) => {
                if let Some(full) = full {
                    // Gives back what was taken in advance. Not having it is no harm.
                    drop(full.file.truncate(full.end));
                    full.segment.set_space(full.end);
                }
                Ok(self.current.insert(fresh))
            }
            Err(failure) => {
                self.current = full;
                Err(failure)
            }
        }
    }

    fn begin_segment(&self) -> Result<Current, Failure> {
        let mut mark = [0; 8];
        self.entropy.fill(&mut mark);
        let segment = Arc::new(Segment::new(self.next, mark));
        let disk = &*self.store.disk;
        let file = match disk.create(&segment.name) {
            Err(error) if is_full(&error) => return Err(Failure::Full(error)),
            file => file.map_err(Failure::Broken)?,
        };
        disk.sync_names().map_err(Failure::Broken)?;
        self.store.begin(segment.clone());
        Current::new(segment, file, 0).map_err(Failure::Broken)
    }
}

/// Writes records behind the durable ones, by way of a buffer; tells where each begins.
fn write(
    current: &Current,
    batch: &[Encoded],
    first: Position,
    (buffer, added): (&mut Vec<u8>, &mut Vec<(Position, u64)>),
) -> io::Result<()> {
    let mut at = current.end;
    for (position, Encoded { event, summary }) in (first.0..).map(Position).zip(batch) {
        added.push((position, at + buffer.len() as u64));
        buffer.extend(encode_header(current.segment.mark, position, summary, &event.body));
        buffer.extend(summary);
        if event.body.len() <= COPIED_BYTES_MAX {
            buffer.extend(&event.body);
            continue;
        }
        write_all(&*current.file, buffer, at)?;
        at += buffer.len() as u64;
        buffer.clear();
        write_all(&*current.file, &event.body, at)?;
        at += event.body.len() as u64;
    }
    write_all(&*current.file, buffer, at)
}
