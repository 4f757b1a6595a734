//! The end of the chain: turns records into durable lines, one batch at a time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use strait_runtime::Clock;

use crate::head::Head;
use crate::line::seal;
use crate::record::Record;
use crate::recover::Recovered;
use crate::segment::Segment;
use crate::volume::{SegmentFile, Volume, is_full};

/// Why a batch was not written. None of its lines is in the files then, unless `Broken`.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The disk is full; another try may succeed.
    Full(io::Error),
    /// What the files hold is unknown; nothing more may be written.
    Broken(io::Error),
}

/// Writes lines after one another. Owned by the log's thread.
pub(crate) struct Writer {
    volume: Box<dyn Volume>,
    directory: PathBuf,
    /// The `writer` of every line.
    name: String,
    segment_bytes: u64,
    clock: Arc<dyn Clock>,
    current: Option<Current>,
    head: Head,
    /// To be written before anything else.
    notes: Vec<Record>,
}

struct Current {
    file: Box<dyn SegmentFile>,
    /// Where the durable lines end; what is behind was never acknowledged.
    size: u64,
}

impl Writer {
    /// Goes on where `recovered` says, after cutting what is behind it. What is left is durable
    /// then: a process that was killed may have written it, and the segment's name, without a
    /// sync. The notes are written with the first batch.
    pub(crate) fn new(
        mut volume: Box<dyn Volume>,
        directory: PathBuf,
        name: String,
        segment_bytes: u64,
        clock: Arc<dyn Clock>,
        recovered: Recovered,
    ) -> io::Result<Self> {
        let current = match recovered.segment {
            Some((segment, size)) => {
                let mut file = volume.open(&segment.path, false)?;
                if file.size()? != size {
                    file.truncate(size)?;
                }
                file.sync()?;
                volume.sync_names()?;
                Some(Current { file, size })
            }
            None => None,
        };
        Ok(Self {
            volume,
            directory,
            name,
            segment_bytes,
            clock,
            current,
            head: recovered.head,
            notes: recovered.notes,
        })
    }

    /// The newest durable position.
    pub(crate) const fn head(&self) -> Head {
        self.head
    }

    /// Writes the records of several callers in their order, durably; returns the position
    /// after each caller's.
    pub(crate) fn commit<'a>(
        &mut self,
        callers: impl Iterator<Item = &'a [Record]>,
    ) -> Result<Vec<Head>, Failure> {
        let time = self.clock.now();
        let mut bytes = Vec::new();
        let mut head = self.head;
        for note in &self.notes {
            head = seal(note, &self.name, time, head, &mut bytes);
        }
        let mut heads = Vec::new();
        for records in callers {
            for record in records {
                head = seal(record, &self.name, time, head, &mut bytes);
            }
            heads.push(head);
        }
        if !bytes.is_empty() {
            self.write(&bytes)?;
            self.head = head;
            self.notes.clear();
        }
        Ok(heads)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let current = match self.current.take() {
            Some(current) if current.size < self.segment_bytes => self.current.insert(current),
            full => match self.start_segment() {
                Ok(fresh) => self.current.insert(fresh),
                Err(error) => {
                    self.current = full;
                    return Err(failure(error));
                }
            },
        };
        let written = current.file.write_at(bytes, current.size).and_then(|()| current.file.sync());
        match written {
            Ok(()) => {
                current.size += bytes.len() as u64;
                Ok(())
            }
            Err(error) if is_full(&error) => match current.cut() {
                Ok(()) => Err(Failure::Full(error)),
                Err(error) => Err(Failure::Broken(error)),
            },
            Err(error) => Err(Failure::Broken(error)),
        }
    }

    fn start_segment(&mut self) -> io::Result<Current> {
        let segment = Segment::new(&self.directory, self.head.seq + 1);
        // One of this name may be left, empty, from an attempt that failed.
        let file = self.volume.open(&segment.path, true)?;
        if file.size()? != 0 {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.volume.sync_names()?;
        Ok(Current { file, size: 0 })
    }
}

impl Current {
    /// Takes back what was written of a failed batch, so that nobody reads half a line.
    fn cut(&mut self) -> io::Result<()> {
        self.file.truncate(self.size)?;
        self.file.sync()
    }
}

fn failure(error: io::Error) -> Failure {
    if is_full(&error) { Failure::Full(error) } else { Failure::Broken(error) }
}
