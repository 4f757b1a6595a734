//! A log in a temporary directory whose disk can be made to fail.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use strait_runtime::{ManualClock, Metrics};
use tokio::runtime::{Builder, Runtime};

use crate::error::{AppendError, OpenError};
use crate::head::Head;
use crate::log::{AuditLog, Options};
use crate::mirror::Mirror;
use crate::record::{Actor, Object, Record, Stage};
use crate::volume::{Disk, SegmentFile, Volume};

/// A record that differs by its crossing.
pub(crate) fn record(crossing: &str) -> Record {
    Record {
        crossing: crossing.to_owned(),
        stage: Stage::Asked,
        actor: Actor::default(),
        object: Object::default(),
        rule: String::new(),
        outcome: String::new(),
    }
}

/// What the disk does wrong, and what is known to be durable.
#[derive(Default)]
pub(crate) struct Faults {
    /// A write stops after so many bytes.
    pub(crate) write: Option<(usize, io::ErrorKind)>,
    pub(crate) sync: Option<io::ErrorKind>,
    pub(crate) truncate: Option<io::ErrorKind>,
    pub(crate) create: Option<io::ErrorKind>,
    /// Sizes at the last sync.
    pub(crate) durable: HashMap<PathBuf, u64>,
    pub(crate) syncs: usize,
}

pub(crate) type SharedFaults = Arc<Mutex<Faults>>;

fn fail(kind: Option<io::ErrorKind>) -> io::Result<()> {
    kind.map_or(Ok(()), |kind| Err(kind.into()))
}

struct FaultyDisk(Disk, SharedFaults);

struct FaultyFile(Box<dyn SegmentFile>, PathBuf, SharedFaults);

impl Volume for FaultyDisk {
    fn open(&mut self, path: &Path, create: bool) -> io::Result<Box<dyn SegmentFile>> {
        if create {
            fail(self.1.lock().create)?;
        }
        let file = self.0.open(path, create)?;
        Ok(Box::new(FaultyFile(file, path.into(), self.1.clone())))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.0.sync_names()
    }
}

impl SegmentFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn write_at(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let fault = self.2.lock().write;
        if let Some((count, kind)) = fault {
            self.0.write_at(&bytes[..count.min(bytes.len())], at)?;
            return fail(Some(kind));
        }
        self.0.write_at(bytes, at)
    }

    fn truncate(&mut self, size: u64) -> io::Result<()> {
        fail(self.2.lock().truncate)?;
        self.0.truncate(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut faults = self.2.lock();
        fail(faults.sync)?;
        faults.syncs += 1;
        faults.durable.insert(self.1.clone(), self.0.size()?);
        Ok(())
    }
}

/// What a mirror was told.
#[derive(Default)]
pub(crate) struct Mirrored {
    pub(crate) head: Option<Head>,
    pub(crate) saves: usize,
    pub(crate) broken: bool,
}

#[derive(Clone, Default)]
pub(crate) struct MemoryMirror(pub(crate) Arc<Mutex<Mirrored>>);

impl Mirror for MemoryMirror {
    fn load(&mut self) -> Result<Option<Head>, Box<dyn Error + Send + Sync>> {
        let mirrored = self.0.lock();
        if mirrored.broken {
            return Err("broken".into());
        }
        Ok(mirrored.head)
    }

    fn save(&mut self, head: Head) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut mirrored = self.0.lock();
        mirrored.saves += 1;
        if mirrored.broken {
            return Err("broken".into());
        }
        mirrored.head = Some(head);
        Ok(())
    }
}

/// An open log and everything around it.
pub(crate) struct Logged {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) mirror: MemoryMirror,
    pub(crate) faults: SharedFaults,
    pub(crate) metrics: Metrics,
    pub(crate) log: AuditLog,
    runtime: Runtime,
    segment_bytes: u64,
    directory: tempfile::TempDir,
}

impl Logged {
    /// The clock's first reading, in seconds since 1970.
    pub(crate) const START: i64 = 1_767_225_600;

    pub(crate) fn new() -> Self {
        Self::with(1 << 20)
    }

    /// Every append begins a segment.
    pub(crate) fn with_small_segments() -> Self {
        Self::with(1)
    }

    fn with(segment_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let start = Timestamp::from_second(Self::START).unwrap();
        let (mirror, faults) = (MemoryMirror::default(), SharedFaults::default());
        let (clock, metrics) = (Arc::new(ManualClock::new(start)), Metrics::new());
        let path = directory.path();
        let log = open(path, segment_bytes, &mirror, &faults, &clock, &metrics).unwrap();
        Self {
            clock,
            mirror,
            faults,
            metrics,
            log,
            runtime: Builder::new_current_thread().build().unwrap(),
            segment_bytes,
            directory,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn append(&self, records: Vec<Record>) -> Head {
        self.try_append(records).unwrap()
    }

    pub(crate) fn try_append(&self, records: Vec<Record>) -> Result<Head, AppendError> {
        self.block_on(self.log.append(records))
    }

    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The position after everything that was appended.
    pub(crate) fn head(&self) -> Head {
        self.append(Vec::new())
    }

    pub(crate) fn close(&self) {
        self.block_on(self.log.close());
    }

    /// Opens the same files again, after [`close`](Self::close).
    pub(crate) fn reopen(&mut self) -> Result<(), OpenError> {
        self.metrics = Metrics::new();
        let (path, metrics) = (self.directory.path(), &self.metrics);
        let (mirror, faults) = (&self.mirror, &self.faults);
        self.log = open(path, self.segment_bytes, mirror, faults, &self.clock, metrics)?;
        Ok(())
    }
}

fn open(
    path: &Path,
    segment_bytes: u64,
    mirror: &MemoryMirror,
    faults: &SharedFaults,
    clock: &Arc<ManualClock>,
    metrics: &Metrics,
) -> Result<AuditLog, OpenError> {
    let options = Options { segment_bytes, ..Options::new(path.to_owned(), "hub".to_owned()) };
    let volume = Box::new(FaultyDisk(Disk(path.to_owned()), faults.clone()));
    let mirror = Box::new(mirror.clone());
    AuditLog::open_on(volume, options, mirror, clock.clone(), metrics)
}
