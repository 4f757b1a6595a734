//! A disk in memory that fails when told to and knows what is durable.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};

use super::volume::{Bytes, Volume};
use super::{Backend, Became, Change};
use crate::event::Position;
use crate::schedule::{Outcome, Reason};

pub(super) fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

pub(super) fn became(backend: &str, position: u64, became: Became) -> Change {
    Change::Became { backend: Backend::of(backend), position: Position(position), became }
}

pub(super) fn waiting(attempts: u32) -> Became {
    let last = Some(Outcome::Status(500));
    Became::Waiting { attempts, last, until: time(i64::from(attempts)) }
}

/// Changes of every kind, in an order that makes sense.
pub(super) fn changes() -> Vec<Change> {
    let added = |name, from| Change::Added { backend: Backend::of(name), from: Position(from) };
    let dead = |reason| Became::Dead { attempts: 2, reason, at: time(7) };
    let mut changes = vec![added("a", 1), added("b", 3), added("gone", 1)];
    let outcomes = [
        None,
        Some(Outcome::Status(503)),
        Some(Outcome::TimedOut),
        Some(Outcome::Refused),
        Some(Outcome::Broken),
        Some(Outcome::Forbidden),
    ];
    for (position, last) in (1..).zip(outcomes) {
        let until = time(-9);
        changes.push(became("a", position, Became::Waiting { attempts: 1, last, until }));
    }
    changes.extend([
        became("a", 1, Became::Delivered),
        became("a", 2, dead(Reason::Rejected(404))),
        became("b", 3, Became::Delivered),
        became("b", 5, dead(Reason::TooOld(Outcome::Status(500)))),
        became("a", 3, dead(Reason::TooOld(Outcome::Forbidden))),
        became("gone", 1, Became::Delivered),
        became("gone", 2, dead(Reason::Unusable)),
        became("a", 4, Became::Purged),
        became("a", 5, Became::Delivered),
        Change::Removed { backend: Backend::of("gone") },
        became("a", 7, dead(Reason::Redirected(302))),
        became("a", 7, Became::Waiting { attempts: 0, last: None, until: time(0) }),
        Change::Forgotten { before: Position(2) },
        became("b", 4, waiting(3)),
        became("b", 8, Became::Unwanted),
    ]);
    changes
}

/// What an operation does instead of what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing works from here on, as if the process had been killed; a write gets half through.
    Killed,
    /// This one fails so, a write half through.
    Error(io::ErrorKind),
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Default)]
struct Inner {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    operations: usize,
    syncs: usize,
    fault: Option<(usize, Fault)>,
}

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Arc<(Mutex<Inner>, Condvar)>);

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// Of the process: everything.
    Process,
    /// Of the machine: what was synced.
    Machine,
    /// Of the machine, which had made the names durable by itself.
    MachineWithNames,
}

impl MemoryDisk {
    /// The operation of that number (from 0) fails.
    pub(super) fn fail(&self, operation: usize, fault: Fault) {
        self.0.0.lock().fault = Some((operation, fault));
    }

    /// The next operation fails.
    pub(super) fn fail_next(&self, fault: Fault) {
        self.fail(self.operations(), fault);
    }

    pub(super) fn operations(&self) -> usize {
        self.0.0.lock().operations
    }

    /// Waits, bounded, until there were more syncs.
    pub(super) fn wait_for_syncs(&self, more_than: usize) {
        let limit = std::time::Duration::from_secs(30);
        let mut inner = self.0.0.lock();
        let late = self.0.1.wait_while_for(&mut inner, |inner| inner.syncs <= more_than, limit);
        assert!(!late.timed_out(), "no sync");
    }

    pub(super) fn syncs(&self) -> usize {
        self.0.0.lock().syncs
    }

    /// A disk with what a crash leaves of this one.
    pub(super) fn after(&self, crash: Crash) -> Self {
        let inner = self.0.0.lock();
        let names = match crash {
            Crash::Machine => &inner.durable_names,
            Crash::Process | Crash::MachineWithNames => &inner.names,
        };
        let disk = Self::default();
        for (name, file) in names {
            let content = &inner.files[*file];
            let bytes = if crash == Crash::Process { &content.now } else { &content.durable };
            disk.put(name, bytes.clone());
        }
        disk
    }

    pub(super) fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.0.0.lock();
        let file = inner.files.len();
        inner.files.push(Content { now: bytes.clone(), durable: bytes });
        inner.names.insert(name.to_owned(), file);
        inner.durable_names = inner.names.clone();
    }

    pub(super) fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.0.0.lock();
        inner.names.get(name).map(|file| inner.files[*file].now.clone())
    }

    /// Does an operation, or part of it where it is to fail.
    fn operate<T>(&self, act: impl FnOnce(&mut Inner, Option<Fault>) -> T) -> io::Result<T> {
        let mut inner = self.0.0.lock();
        let operation = inner.operations;
        inner.operations += 1;
        let failed = match inner.fault {
            Some((at, Fault::Killed)) if operation > at => {
                return Err(io::Error::other("the process is gone"));
            }
            Some((at, fault)) if operation == at => Some(fault),
            _ => None,
        };
        let result = act(&mut inner, failed);
        self.0.1.notify_all();
        match failed {
            None => Ok(result),
            Some(Fault::Killed) => Err(io::Error::other("the process is gone")),
            Some(Fault::Error(kind)) => Err(kind.into()),
        }
    }

    fn file(&self, file: usize) -> Arc<dyn Bytes> {
        Arc::new(MemoryFile(self.clone(), file))
    }
}

impl Volume for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Option<Arc<dyn Bytes>>> {
        let file = self.operate(|inner, _| inner.names.get(name).copied())?;
        Ok(file.map(|file| self.file(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn Bytes>> {
        let file = self.operate(|inner, fault| {
            let file = inner.files.len();
            if fault.is_none() {
                inner.files.push(Content::default());
                inner.names.insert(name.to_owned(), file);
            }
            file
        })?;
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operate(|inner, fault| {
            if fault.is_none()
                && let Some(file) = inner.names.remove(from)
            {
                inner.names.insert(to.to_owned(), file);
            }
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.operate(|inner, fault| {
            if fault.is_none() {
                inner.names.remove(name);
            }
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.operate(|inner, fault| {
            if fault.is_none() {
                inner.durable_names = inner.names.clone();
            }
        })
    }
}

struct MemoryFile(MemoryDisk, usize);

impl Bytes for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        self.0.operate(|inner, _| inner.files[self.1].now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        self.0.operate(|inner, _| {
            buffer.copy_from_slice(&inner.files[self.1].now[at..at + buffer.len()]);
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).unwrap();
        self.0.operate(|inner, fault| {
            let count = if fault.is_some() { bytes.len() * 2 / 3 } else { bytes.len() };
            let now = &mut inner.files[self.1].now;
            now.resize(now.len().max(at + count), 0);
            now[at..at + count].copy_from_slice(&bytes[..count]);
        })
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).unwrap();
        self.0.operate(|inner, fault| {
            if fault.is_none() {
                inner.files[self.1].now.truncate(size);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.0.operate(|inner, fault| {
            if fault.is_none() {
                let content = &mut inner.files[self.1];
                content.durable = content.now.clone();
                inner.syncs += 1;
            }
        })
    }
}
