//! What is left of executions whose records are gone: 16 bytes each, in objects of a few
//! thousand.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use strait_machinery::json::Value;
use strait_machinery::object::{Body, Header};
use strait_store::{Key, ObjectName, Put, ResourceId, Scope, Store, Txn};
use strait_types::{ClusterName, Uid};

use super::JournalError;
use crate::execution::ExecutionId;

/// Tombstones of one object: 85 KiB of text.
pub(super) const CHUNK_STONES: usize = 4096;

type Stone = [u8; 16];

/// Every tombstone, and the newest chunk, which is not full.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    all: HashSet<Stone>,
    newest: Vec<Stone>,
    /// Number of the newest chunk.
    number: u32,
}

/// A chunk as it is to be.
#[derive(Debug)]
pub(super) struct Chunk {
    stones: Vec<Stone>,
    number: u32,
}

impl Tombstones {
    pub(super) fn read(store: &Store) -> Result<Self, JournalError> {
        let mut tombstones = Self::default();
        let snapshot = store.snapshot(&resource());
        for (_, name, object) in snapshot.iter(&Scope::All) {
            let damaged = || JournalError::Damaged(format!("tombstones {}", name.name()));
            let value = object.to_value();
            let text = value.str_at(&["stones"]).ok_or_else(damaged)?;
            let bytes = STANDARD.decode(text).map_err(|_| damaged())?;
            let (stones, rest) = bytes.as_chunks::<16>();
            // Names order as their numbers do.
            tombstones.number = name.name().parse().map_err(|_| damaged())?;
            if !rest.is_empty() {
                return Err(damaged());
            }
            tombstones.all.extend(stones);
            tombstones.newest = stones.to_vec();
        }
        Ok(tombstones)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn contains(&self, id: &ExecutionId) -> bool {
        !self.all.is_empty() && self.all.contains(&id.tombstone())
    }

    /// The newest chunk with these added, or another where they do not fit.
    pub(super) fn chunk_with(&self, stones: &[Stone]) -> Chunk {
        if self.newest.len() + stones.len() > CHUNK_STONES {
            return Chunk { stones: stones.to_vec(), number: self.number + 1 };
        }
        let mut all = self.newest.clone();
        all.extend(stones);
        Chunk { stones: all, number: self.number }
    }

    /// Takes a chunk that is durable.
    pub(super) fn commit(&mut self, chunk: Chunk) {
        self.all.extend(&chunk.stones);
        self.newest = chunk.stones;
        self.number = chunk.number;
    }
}

impl Chunk {
    /// Writes it.
    pub(super) fn txn(&self) -> Result<Txn, JournalError> {
        let name = format!("{:08}", self.number);
        let mut value = Value::object();
        value.set(&["metadata", "name"], name.as_str());
        // A store's objects have one; a chunk's means nothing.
        value.set(&["metadata", "uid"], Uid::from_random([0; 16]).to_string());
        value.set(&["stones"], STANDARD.encode(self.stones.as_flattened()));
        let damaged = |error| JournalError::Damaged(format!("{error}"));
        let put = Put {
            key: Key::new(resource(), ClusterName::root(), ObjectName::cluster_scoped(&name)),
            body: Body::encode(&value).map_err(damaged)?,
            header: Header::of(&value).map_err(damaged)?,
            lease: None,
        };
        Ok(Txn { puts: vec![put], ..Txn::default() })
    }
}

fn resource() -> ResourceId {
    ResourceId::new("requests.strait.dev", "tombstones", "")
}
