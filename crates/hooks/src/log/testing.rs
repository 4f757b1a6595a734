//! A disk in memory that fails where it is told to, and forgets what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use parking_lot::Mutex;
use strait_runtime::{Entropy, Metrics, SeededEntropy};

use super::disk::{Disk, DiskFile};
use super::metrics::LogMetrics;
use super::record::encode_summary;
use super::recover::Recovery;
use super::store::Store;
use super::writer::{Encoded, Failure, Writer};
use crate::event::{Event, Position};

/// What happens instead of one operation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// It and all that follow fail: there is no power.
    Crash,
    /// The first half of a write, then no power.
    Torn,
    /// The first half of a write; the rest is for the next call.
    Short,
    /// It fails. A sync that fails also forgets what it was to make durable.
    Error(io::ErrorKind),
}

/// What of the unsynced is on the disk after a crash.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Nothing,
    Everything,
    /// All writes, but no truncation or growth.
    Writes,
    Random,
}

enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

#[derive(Default)]
struct SimFile {
    data: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Where what was ever written ends.
    written: usize,
}

#[derive(Default)]
pub(super) struct SimState {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<SimFile>,
    /// Operations so far that change something.
    pub(super) operations: usize,
    pub(super) fault: Option<(usize, Fault)>,
    pub(super) dead: bool,
    /// Bytes that all files have together at most.
    pub(super) capacity: Option<usize>,
    /// Space is taken when bytes are written, not in advance.
    pub(super) sparse: bool,
    pub(super) syncs: usize,
    pub(super) bytes_read: usize,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct Sim(pub(super) Arc<Mutex<SimState>>);

fn no_power() -> io::Error {
    io::Error::other("no power")
}

impl SimState {
    /// Counts an operation. Some: a write is to stop half-way.
    fn step(&mut self) -> io::Result<Option<Fault>> {
        if self.dead {
            return Err(no_power());
        }
        let now = self.operations;
        self.operations += 1;
        match self.fault {
            Some((at, fault)) if at == now => match fault {
                Fault::Crash => {
                    self.dead = true;
                    Err(no_power())
                }
                Fault::Error(kind) => Err(kind.into()),
                fault => Ok(Some(fault)),
            },
            _ => Ok(None),
        }
    }

    fn used_by(&self, file: usize) -> usize {
        let file = &self.files[file];
        if self.sparse { file.written.min(file.data.len()) } else { file.data.len() }
    }

    /// How many of `wanted` more bytes there is space for.
    fn space(&self, wanted: usize) -> usize {
        let used = self.names.values().map(|file| self.used_by(*file)).sum::<usize>();
        self.capacity.map_or(wanted, |capacity| wanted.min(capacity.saturating_sub(used)))
    }

    fn change(&mut self, file: usize, change: Change) {
        let file = &mut self.files[file];
        apply(&mut file.data, &change);
        file.written = match &change {
            Change::Write(at, bytes) => file.written.max(at + bytes.len()),
            Change::Resize(size) => file.written.min(*size),
        };
        file.unsynced.push(change);
    }
}

fn apply(data: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, bytes) => {
            data.resize(data.len().max(at + bytes.len()), 0);
            data[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Change::Resize(size) => data.resize(*size, 0),
    }
}

impl Sim {
    pub(super) fn fail_at(&self, operation: usize, fault: Fault) {
        self.0.lock().fault = Some((operation, fault));
    }

    /// What all files take of the disk.
    pub(super) fn used(&self) -> usize {
        let state = self.0.lock();
        state.names.values().map(|file| state.used_by(*file)).sum()
    }

    pub(super) fn bytes_of(&self, name: &str) -> Vec<u8> {
        let state = self.0.lock();
        state.files[state.names[name]].data.clone()
    }

    pub(super) fn set_bytes(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.0.lock();
        let file = state.names[name];
        state.files[file] = SimFile { durable: bytes.clone(), data: bytes, ..SimFile::default() };
    }

    /// The disk as the next process finds it when this one was killed: with all that was written.
    pub(super) fn after_kill(&self) -> Self {
        let mut state = self.0.lock();
        (state.dead, state.fault) = (false, None);
        drop(state);
        self.clone()
    }

    /// The disk as the next process finds it when the power was gone.
    pub(super) fn after_crash(&self, kept: Kept, dice: &SeededEntropy) -> Self {
        let state = self.0.lock();
        let keep = || match kept {
            Kept::Nothing => false,
            Kept::Everything | Kept::Writes => true,
            Kept::Random => roll(dice, 2) == 0,
        };
        let mut names = state.durable_names.clone();
        for (name, file) in &state.names {
            if !names.contains_key(name) && keep() {
                names.insert(name.clone(), *file);
            }
        }
        names.retain(|name, _| state.names.contains_key(name) || !keep());
        let files = state.files.iter().map(|file| {
            let mut data = file.durable.clone();
            for change in &file.unsynced {
                match change {
                    Change::Write(at, bytes) => {
                        let mut at = *at;
                        let piece = 1 + roll(dice, 700);
                        for piece in bytes.chunks(piece) {
                            if keep() {
                                apply(&mut data, &Change::Write(at, piece.to_vec()));
                            }
                            at += piece.len();
                        }
                    }
                    resize if keep() && !matches!(kept, Kept::Writes) => apply(&mut data, resize),
                    Change::Resize(_) => {}
                }
            }
            SimFile { durable: data.clone(), written: data.len(), data, ..SimFile::default() }
        });
        let files = files.collect();
        let durable_names = names.clone();
        Self(Arc::new(Mutex::new(SimState { names, durable_names, files, ..SimState::default() })))
    }
}

pub(super) fn roll(dice: &SeededEntropy, sides: usize) -> usize {
    let mut bytes = [0; 8];
    dice.fill(&mut bytes);
    usize::try_from(u64::from_le_bytes(bytes) % sides as u64).unwrap()
}

impl Disk for Sim {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.step()?;
        assert!(!state.names.contains_key(name), "{name} is there");
        let file = state.files.len();
        state.files.push(SimFile::default());
        state.names.insert(name.to_owned(), file);
        Ok(Box::new(SimHandle(self.clone(), file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock();
        let file = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimHandle(self.clone(), *file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.step()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimHandle(Sim, usize);

impl DiskFile for SimHandle {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().files[self.1].data.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.0.0.lock();
        let data = &state.files[self.1].data;
        let from = usize::try_from(at).unwrap().min(data.len());
        let count = bytes.len().min(data.len() - from);
        bytes[..count].copy_from_slice(&data[from..from + count]);
        state.bytes_read += count;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize> {
        let mut state = self.0.0.lock();
        let fault = state.step()?;
        let at = usize::try_from(at).unwrap();
        let size = state.used_by(self.1);
        let grown = (at + bytes.len()).saturating_sub(size);
        let mut count = bytes.len() - (grown - state.space(grown));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if fault.is_some() {
            count = count.div_ceil(2);
        }
        state.change(self.1, Change::Write(at, bytes[..count].to_vec()));
        if matches!(fault, Some(Fault::Torn)) {
            state.dead = true;
            return Err(no_power());
        }
        Ok(count)
    }

    fn allocate(&self, from: u64, size: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.step()?;
        let (from, size) = (usize::try_from(from).unwrap(), usize::try_from(size).unwrap());
        assert_eq!(from, state.files[self.1].data.len());
        let space = if state.sparse { size - from } else { state.space(size - from) };
        state.change(self.1, Change::Resize(from + space));
        if space < size - from { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.step()?;
        state.change(self.1, Change::Resize(usize::try_from(size).unwrap()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.syncs += 1;
        let stepped = state.step();
        let dead = state.dead;
        let file = &mut state.files[self.1];
        if dead {
            return stepped.map(drop);
        }
        // Also where it failed: the kernel takes the pages for written then.
        let changes = std::mem::take(&mut file.unsynced);
        stepped?;
        changes.iter().for_each(|change| apply(&mut file.durable, change));
        Ok(())
    }
}

/// An event that differs by its number, with a body of so many bytes.
pub(super) fn event(number: u64, body_bytes: usize) -> Event {
    let mut body = vec![0; body_bytes];
    SeededEntropy::new(number).fill(&mut body);
    let mut headers = HeaderMap::new();
    headers.append("x-github-event", HeaderValue::from_static("push"));
    headers.append("x-many", HeaderValue::from_static("one"));
    headers.append("content-type", HeaderValue::from_static("application/json"));
    headers.append("x-many", HeaderValue::from_bytes(b"tw\xf6").unwrap());
    headers.append("x-empty", HeaderValue::from_static(""));
    Event {
        source: "github-app".into(),
        delivery: format!("delivery-{number}").into(),
        // Later ones are earlier: no clock matters to the log.
        received: Timestamp::from_nanosecond(1_700_000_000_123_456_789 - i128::from(number))
            .unwrap(),
        path: "/a%20b".into(),
        query: "k=v&k".into(),
        headers,
        body: Bytes::from(body),
        sha256: [u8::try_from(number % 251).unwrap(); 32],
    }
}

/// A log without its thread.
pub(super) struct Opened {
    pub(super) store: Arc<Store>,
    pub(super) writer: Writer,
    pub(super) recovery: Recovery,
}

pub(super) fn open(sim: &Sim, segment_bytes: u64, seed: u64) -> io::Result<Opened> {
    let metrics = LogMetrics::new(&Metrics::new());
    let entropy = Arc::new(SeededEntropy::new(seed));
    let (store, writer, recovery) =
        super::open_store(Box::new(sim.clone()), metrics, segment_bytes, entropy)?;
    Ok(Opened { store, writer, recovery })
}

impl Opened {
    pub(super) fn commit(&mut self, events: &[Event]) -> Result<Position, Failure> {
        let encoded = |event: &Event| {
            let summary = encode_summary(event).unwrap();
            Encoded { event: Arc::new(event.clone()), summary }
        };
        let batch: Vec<_> = events.iter().map(encoded).collect();
        self.writer.commit(&batch)
    }

    pub(super) fn append(&mut self, event: &Event) {
        self.commit(std::slice::from_ref(event)).unwrap();
    }

    /// Every event that can be read, in order; each is read by its position, too.
    pub(super) fn contents(&self) -> Vec<(Position, Event)> {
        let mut found = Vec::new();
        let each = self.store.for_each(Position(0), |position, summary| {
            found.push((position, summary.clone()));
            std::ops::ControlFlow::Continue(())
        });
        each.unwrap();
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "in order");
        let read = |(position, summary): (Position, super::Summary)| {
            let event = self.store.read(position).ok()??;
            let read = summary.with_body(event.body.clone());
            assert_eq!(read, event);
            Some((position, event))
        };
        found.into_iter().filter_map(read).collect()
    }
}
