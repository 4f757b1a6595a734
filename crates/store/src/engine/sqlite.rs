//! The embedded default: one SQLite file.
//!
//! `log` holds every write, `cur` points at each key's newest one. A row's `seq` is its
//! revision shifted left by eight plus its place in the transaction, so ranges of revisions
//! are ranges of the primary key. Write-ahead log with `synchronous=FULL`: a commit has been
//! synced when SQLite returns.
//!
//! One connection writes; another reads history and is never held across a wait. Frames go
//! back into the file in small steps on a thread of their own, so that no commit waits long
//! for a checkpoint.

mod checkpoint;
mod open;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, ffi,
};
use strait_types::Revision;

use self::checkpoint::Checkpointer;
pub use self::open::OpenError;
use self::open::{connect, initialise, sync_left};
use super::{
    Commit, Engine, EngineError, Expect, Extent, LeaseId, Outcome, Row, Write,
    assert_one_key_per_resource,
};
use crate::Key;

/// Most writes of one transaction: what the low bits of `seq` can number.
const MAX_WRITES: usize = 256;

/// The log in a SQLite file. One process at a time; the caller holds a lock on the directory.
#[derive(Debug)]
pub struct SqliteEngine {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    checkpointer: Checkpointer,
}

impl SqliteEngine {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// The file is of another format or program, or the storage fails.
    ///
    /// # Blocking
    /// Reads and may write the disk.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let mut writer = connect(path)?;
        initialise(&mut writer)?;
        sync_left(path)?;
        let reader = connect(path)?;
        let checkpointer = Checkpointer::start(connect(path)?);
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader), checkpointer })
    }

    /// The connection that writes, unless a checkpoint found the disk broken.
    fn write(&self) -> Result<MutexGuard<'_, Connection>, EngineError> {
        self.checkpointer.check()?;
        Ok(self.writer.lock())
    }

    /// Counts what a commit added to the log, and takes some of it back where there is too much.
    fn count(&self, writer: &Connection, bytes: usize) -> Result<(), EngineError> {
        if self.checkpointer.wake(bytes) { self.checkpointer.catch_up(writer) } else { Ok(()) }
    }
}

/// Reads one value that was kept with [`Engine::set_meta`], beside a store that may be running.
/// `None` if there is no such value.
///
/// # Errors
/// There is no such file, or it cannot be read.
///
/// # Blocking
/// Reads the disk.
pub fn read_meta(path: &Path, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
    meta_of(&connection, name)
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, EngineError> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)
}

/// Sorts SQLite's failures by what the process must do about them.
fn failed(error: rusqlite::Error) -> EngineError {
    let rusqlite::Error::SqliteFailure(code, _) = &error else {
        return EngineError::Io(Box::new(error));
    };
    match (code.code, code.extended_code) {
        (ErrorCode::DiskFull, _) => EngineError::Full,
        (_, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) => {
            EngineError::Sync(Box::new(error))
        }
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
            EngineError::Damaged { what: error.to_string() }
        }
        _ => EngineError::Io(Box::new(error)),
    }
}

/// Bytes of the write-ahead log that a small write takes: a page each of log, index and head.
const LOGGED: usize = 3 * 4096;

/// What a write adds to the write-ahead log, roughly.
fn logged(write: &Write) -> usize {
    LOGGED + write.body.as_ref().map_or(0, |body| body.len())
}

const fn seq(revision: Revision, at: usize) -> i64 {
    (revision.0 << 8).cast_signed() | (at as i64)
}

const fn revision(seq: i64) -> Revision {
    Revision(seq.cast_unsigned() >> 8)
}

fn read_revision(connection: &Connection, name: &str) -> Result<Revision, EngineError> {
    let mut query =
        connection.prepare_cached("SELECT value FROM meta WHERE name = ?1").map_err(failed)?;
    let value: i64 = query.query_row([name], |row| row.get(0)).map_err(failed)?;
    Ok(Revision(value.cast_unsigned()))
}

fn write_revision(connection: &Connection, name: &str, value: Revision) -> Result<(), EngineError> {
    let mut update =
        connection.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1").map_err(failed)?;
    update.execute((name, value.0.cast_signed())).map_err(failed)?;
    Ok(())
}

fn extent(connection: &Connection) -> Result<Extent, EngineError> {
    Ok(Extent {
        floor: read_revision(connection, "floor")?,
        head: read_revision(connection, "head")?,
    })
}

fn decode_key(text: &str) -> Result<Key, EngineError> {
    Key::decode(text).map_err(|error| EngineError::Damaged { what: error.to_string() })
}

fn current_seq(connection: &Connection, key: &str) -> Result<Option<i64>, EngineError> {
    let mut query =
        connection.prepare_cached("SELECT seq FROM cur WHERE key = ?1").map_err(failed)?;
    query.query_row([key], |row| row.get(0)).optional().map_err(failed)
}

/// Commits one transaction of a batch inside the batch's SQLite transaction.
fn commit_one(
    connection: &Connection,
    commit: &Commit,
    next: Revision,
) -> Result<Outcome, EngineError> {
    assert_one_key_per_resource(commit);
    assert!(commit.writes.len() <= MAX_WRITES, "a commit writes at most {MAX_WRITES} keys");
    for (at, compare) in commit.compares.iter().enumerate() {
        let current = current_seq(connection, &compare.key.encode())?.map(revision);
        let holds = match compare.expect {
            Expect::Absent => current.is_none(),
            Expect::Revision(expected) => current == Some(expected),
        };
        if !holds {
            return Ok(Outcome::Refused(at));
        }
    }
    for (at, write) in commit.writes.iter().enumerate() {
        write_row(connection, seq(next, at), write)?;
    }
    Ok(Outcome::Committed(next))
}

fn write_row(connection: &Connection, seq: i64, write: &Write) -> Result<(), EngineError> {
    let key = write.key.encode();
    let previous = current_seq(connection, &key)?;
    let mut log = connection
        .prepare_cached("INSERT INTO log (seq, key, previous, body) VALUES (?1, ?2, ?3, ?4)")
        .map_err(failed)?;
    log.execute((seq, &key, previous, write.body.as_deref())).map_err(failed)?;
    if write.body.is_some() {
        let mut current = connection
            .prepare_cached("INSERT OR REPLACE INTO cur (key, seq, lease) VALUES (?1, ?2, ?3)")
            .map_err(failed)?;
        current.execute((&key, seq, write.lease.map(|lease| lease.0))).map_err(failed)?;
    } else {
        let mut current =
            connection.prepare_cached("DELETE FROM cur WHERE key = ?1").map_err(failed)?;
        current.execute([&key]).map_err(failed)?;
    }
    Ok(())
}

impl Engine for SqliteEngine {
    fn extent(&self) -> Result<Extent, EngineError> {
        extent(&self.reader.lock())
    }

    fn load(&self, each: &mut dyn FnMut(Row)) -> Result<Extent, EngineError> {
        let mut reader = self.reader.lock();
        let snapshot = reader.transaction().map_err(failed)?;
        let extent = extent(&snapshot)?;
        let mut query =
            snapshot.prepare("SELECT seq, key, body FROM log ORDER BY seq").map_err(failed)?;
        let mut rows = query.query([]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let seq: i64 = row.get(0).map_err(failed)?;
            let key: String = row.get(1).map_err(failed)?;
            let body: Option<Vec<u8>> = row.get(2).map_err(failed)?;
            each(Row {
                revision: revision(seq),
                key: decode_key(&key)?,
                body: body.map(Bytes::from),
                previous: None,
            });
        }
        Ok(extent)
    }

    fn commit(&self, batch: &[Commit]) -> Result<Vec<Outcome>, EngineError> {
        let mut writer = self.write()?;
        let transaction = begin(&mut writer)?;
        let start = read_revision(&transaction, "head")?;
        let mut head = start;
        let mut outcomes = Vec::with_capacity(batch.len());
        for commit in batch {
            let outcome = commit_one(&transaction, commit, head.next())?;
            if let Outcome::Committed(revision) = outcome {
                head = revision;
            }
            outcomes.push(outcome);
        }
        if head > start {
            write_revision(&transaction, "head", head)?;
            transaction.commit().map_err(failed)?;
            let written = batch.iter().flat_map(|commit| &commit.writes);
            self.count(&writer, written.map(logged).sum())?;
        }
        Ok(outcomes)
    }

    fn tail(&self, after: Revision, max: usize) -> Result<Vec<Row>, EngineError> {
        let mut reader = self.reader.lock();
        let snapshot = reader.transaction().map_err(failed)?;
        let floor = read_revision(&snapshot, "floor")?;
        if after < floor {
            return Err(EngineError::Compacted { floor });
        }
        let mut query = snapshot
            .prepare_cached(
                "SELECT log.seq, log.key, log.body, log.previous, before.body
                 FROM log LEFT JOIN log AS before ON before.seq = log.previous
                 WHERE log.seq >= ?1 ORDER BY log.seq",
            )
            .map_err(failed)?;
        let mut rows = query.query([seq(after.next(), 0)]).map_err(failed)?;
        let mut found: Vec<Row> = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let revision = revision(row.get(0).map_err(failed)?);
            let new_transaction = found.last().is_none_or(|row| row.revision != revision);
            if found.len() >= max && new_transaction {
                break;
            }
            found.push(read_row(row, revision)?);
        }
        Ok(found)
    }

    fn compact(&self, floor: Revision, max: u32) -> Result<bool, EngineError> {
        let mut writer = self.write()?;
        let transaction = begin(&mut writer)?;
        let extent = extent(&transaction)?;
        let floor = floor.min(extent.head);
        if floor <= extent.floor {
            return Ok(false);
        }
        let from = seq(extent.floor.next(), 0);
        let to = seq(floor.next(), 0);
        // Transactions cross as a whole, so the last one may exceed `max`.
        let last: Option<i64> = transaction
            .prepare_cached(
                "SELECT seq FROM log WHERE seq >= ?1 AND seq < ?2 ORDER BY seq LIMIT 1 OFFSET ?3",
            )
            .and_then(|mut query| query.query_row((from, to, max), |row| row.get(0)).optional())
            .map_err(failed)?;
        let last = last.map_or(floor, revision);
        let to = seq(last.next(), 0);
        transaction
            .prepare_cached(
                "DELETE FROM log WHERE seq IN (
                     SELECT previous FROM log WHERE seq >= ?1 AND seq < ?2 AND previous IS NOT NULL
                 )",
            )
            .and_then(|mut delete| delete.execute((from, to)))
            .map_err(failed)?;
        transaction
            .prepare_cached("DELETE FROM log WHERE seq >= ?1 AND seq < ?2 AND body IS NULL")
            .and_then(|mut delete| delete.execute((from, to)))
            .map_err(failed)?;
        write_revision(&transaction, "floor", last)?;
        transaction.commit().map_err(failed)?;
        self.count(&writer, max as usize * LOGGED)?;
        Ok(last < floor)
    }

    fn grant(&self, ttl: Duration, now: Timestamp) -> Result<LeaseId, EngineError> {
        let mut writer = self.write()?;
        let transaction = begin(&mut writer)?;
        transaction
            .execute("INSERT INTO lease (ends) VALUES (?1)", [ends(ttl, now)])
            .map_err(failed)?;
        let lease = LeaseId(transaction.last_insert_rowid());
        transaction.commit().map_err(failed)?;
        self.count(&writer, LOGGED)?;
        Ok(lease)
    }

    fn keep_alive(
        &self,
        lease: LeaseId,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let mut writer = self.write()?;
        let transaction = begin(&mut writer)?;
        let changed = transaction
            .execute("UPDATE lease SET ends = ?2 WHERE id = ?1", (lease.0, ends(ttl, now)))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.count(&writer, LOGGED)?;
        Ok(changed > 0)
    }

    fn expire(&self, now: Timestamp, max: u32) -> Result<Vec<Row>, EngineError> {
        let mut writer = self.write()?;
        let now = now.as_millisecond();
        let due: bool = writer
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM lease WHERE ends <= ?1)")
            .and_then(|mut query| query.query_row([now], |row| row.get(0)))
            .map_err(failed)?;
        if !due {
            return Ok(Vec::new());
        }
        let transaction = begin(&mut writer)?;
        let keys: Vec<String> = transaction
            .prepare_cached(
                "SELECT cur.key FROM cur JOIN lease ON lease.id = cur.lease
                 WHERE lease.ends <= ?1 ORDER BY cur.key LIMIT ?2",
            )
            .and_then(|mut query| query.query_map((now, max), |row| row.get(0))?.collect())
            .map_err(failed)?;
        let mut head = read_revision(&transaction, "head")?;
        let mut rows = Vec::with_capacity(keys.len());
        for key in &keys {
            head = head.next();
            let delete = Write { key: decode_key(key)?, body: None, lease: None };
            write_row(&transaction, seq(head, 0), &delete)?;
            rows.push(Row { revision: head, key: delete.key, body: None, previous: None });
        }
        if keys.len() < max as usize {
            transaction.execute("DELETE FROM lease WHERE ends <= ?1", [now]).map_err(failed)?;
        }
        write_revision(&transaction, "head", head)?;
        transaction.commit().map_err(failed)?;
        self.count(&writer, rows.len() * LOGGED)?;
        Ok(rows)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
        meta_of(&self.reader.lock(), name)
    }

    fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), EngineError> {
        let mut writer = self.write()?;
        let transaction = begin(&mut writer)?;
        transaction
            .execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", (meta_name(name), value))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.count(&writer, LOGGED)
    }
}

fn meta_of(connection: &Connection, name: &str) -> Result<Option<Vec<u8>>, EngineError> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")
        .and_then(|mut query| query.query_row([meta_name(name)], |row| row.get(0)).optional())
        .map_err(failed)
}

/// Callers' names live apart from the engine's own.
fn meta_name(name: &str) -> String {
    format!("user/{name}")
}

fn ends(ttl: Duration, now: Timestamp) -> i64 {
    now.saturating_add(ttl).unwrap_or(Timestamp::MAX).as_millisecond()
}

fn read_row(row: &rusqlite::Row<'_>, revision_read: Revision) -> Result<Row, EngineError> {
    let key: String = row.get(1).map_err(failed)?;
    let body: Option<Vec<u8>> = row.get(2).map_err(failed)?;
    let previous: Option<i64> = row.get(3).map_err(failed)?;
    let previous_body: Option<Vec<u8>> = row.get(4).map_err(failed)?;
    Ok(Row {
        revision: revision_read,
        key: decode_key(&key)?,
        body: body.map(Bytes::from),
        previous: previous.map(revision).zip(previous_body.map(Bytes::from)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_beside_a_running_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        assert!(read_meta(&path, "x").is_err());
        let engine = SqliteEngine::open(&path).unwrap();
        engine.set_meta("x", b"1").unwrap();
        assert_eq!(read_meta(&path, "x").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(read_meta(&path, "y").unwrap(), None);
    }
}
