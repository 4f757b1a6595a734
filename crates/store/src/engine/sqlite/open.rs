//! From a path to a connection: settings, layout, and what a crash left.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use strait_types::{Classified, ErrorKind};

use super::{begin, failed};
use crate::engine::EngineError;

/// The layout below. A file with another number is refused.
const FORMAT: i32 = 1;

const SCHEMA: &str = "
    CREATE TABLE log (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        previous INTEGER,
        body BLOB
    );
    CREATE TABLE cur (
        key TEXT PRIMARY KEY,
        seq INTEGER NOT NULL,
        lease INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX cur_lease ON cur (lease) WHERE lease IS NOT NULL;
    CREATE TABLE lease (
        id INTEGER PRIMARY KEY,
        ends INTEGER NOT NULL
    );
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO meta VALUES ('floor', 0), ('head', 0);
";

/// A store file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file was written by a newer release.
    #[error("the store has format {found}, this release reads {FORMAT}: use a newer release")]
    Newer {
        /// The file's format.
        found: i32,
    },
    /// The file is not a store.
    #[error("the store file belongs to another program or is damaged")]
    Foreign,
    /// The storage fails.
    #[error("the store cannot be opened")]
    Engine(#[from] EngineError),
}

impl Classified for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Newer { .. } | Self::Foreign => ErrorKind::User,
            Self::Engine(error) => error.kind(),
        }
    }
}

pub(super) fn connect(path: &Path) -> Result<Connection, EngineError> {
    let connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
    // A cache of 1 MiB: the index above holds what is read, SQLite only what is written.
    // SQLite's own checkpoints are off: it ignores a sync that fails in one, and tries again.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA trusted_schema = OFF;
             PRAGMA mmap_size = 0;
             PRAGMA cache_size = -1024;
             PRAGMA temp_store = MEMORY;
             PRAGMA journal_size_limit = 16777216;
             PRAGMA wal_autocheckpoint = 0;",
        )
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

pub(super) fn initialise(connection: &mut Connection) -> Result<(), OpenError> {
    let read_format = |c: &Connection| c.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i32 = read_format(connection).map_err(failed)?;
    match found {
        FORMAT => return Ok(()),
        0 => {}
        newer if newer > FORMAT => return Err(OpenError::Newer { found }),
        _ => return Err(OpenError::Foreign),
    }
    let transaction = begin(connection)?;
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if tables > 0 {
        return Err(OpenError::Foreign);
    }
    transaction.execute_batch(SCHEMA).map_err(failed)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(())
}

/// Syncs what a process that was killed wrote to the write-ahead log and may not have synced:
/// what is read from here on is shown, and so must be durable.
pub(super) fn sync_left(path: &Path) -> Result<(), EngineError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let synced = match File::open(&log) {
        Ok(log) => log.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let named = || File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all();
    synced.and_then(|()| named()).map_err(|error| EngineError::Sync(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::super::SqliteEngine;
    use super::*;

    #[test]
    fn a_newer_or_foreign_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        drop(SqliteEngine::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
        let error = SqliteEngine::open(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store has format 2, this release reads 1: use a newer release"
        );

        let other = dir.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(SqliteEngine::open(&other), Err(OpenError::Foreign)));

        let text = dir.path().join("text.db");
        std::fs::write(&text, "not a database, but long enough to be taken for one".repeat(20))
            .unwrap();
        assert!(matches!(
            SqliteEngine::open(&text),
            Err(OpenError::Engine(EngineError::Damaged { .. }))
        ));
    }
}
