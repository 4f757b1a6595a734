//! Both engines pass the one suite.

use std::path::PathBuf;

use strait_store::conformance::{self, Subject};
use strait_store::engine::{MemoryEngine, SqliteEngine};

struct Memory;

impl Subject for Memory {
    type Engine = MemoryEngine;

    fn empty(&mut self) -> MemoryEngine {
        MemoryEngine::new()
    }

    fn again(&mut self) -> Option<MemoryEngine> {
        None
    }
}

struct Sqlite {
    dir: tempfile::TempDir,
    count: u32,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.dir.path().join(format!("{}.db", self.count))
    }
}

impl Subject for Sqlite {
    type Engine = SqliteEngine;

    fn empty(&mut self) -> SqliteEngine {
        self.count += 1;
        SqliteEngine::open(&self.path()).unwrap()
    }

    fn again(&mut self) -> Option<SqliteEngine> {
        Some(SqliteEngine::open(&self.path()).unwrap())
    }
}

#[test]
fn memory_conforms() {
    conformance::run(&mut Memory);
}

#[test]
fn sqlite_conforms() {
    conformance::run(&mut Sqlite { dir: tempfile::tempdir().unwrap(), count: 0 });
}
