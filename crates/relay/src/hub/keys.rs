//! The keys that sign relay tokens.
//!
//! Keys are records, numbered: of hubs that make the next one at once, one succeeds and the others
//! take its. A key signs for [`SIGNS_FOR`] and checks for the longest life of a token after that;
//! then its record goes with its lease.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use strait_apiserver::registry::Registry;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_pki::PrivateKey;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, ObjectName, ResourceId, Scope, Txn};
use strait_types::{ClusterName, Report};

use super::records::{self, unwritten};
use crate::credential::{KeyRing, LIFE_MAX, TokenKey};

/// How long a key signs.
pub(super) const SIGNS_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// Attempts to make a key that another hub makes too.
const ATTEMPTS: usize = 8;

/// The hub's keys. What is in the store counts; this is what was last read of it.
pub(super) struct TokenKeys {
    registry: Registry,
    resource: ResourceId,
    issuer: String,
    known: RwLock<Option<Arc<Known>>>,
}

/// The keys that are there, at least one.
pub(super) struct Known {
    pub(super) ring: KeyRing,
    /// The number of the one that signs.
    number: u64,
    /// When that one was made.
    made: Timestamp,
}

impl TokenKeys {
    /// Reads what is stored.
    pub(super) fn open(registry: Registry, issuer: &str) -> Self {
        let resource = ResourceId::new("relay.strait.dev", "tokenkeys", "");
        let issuer = issuer.to_owned();
        let keys = Self { registry, resource, issuer, known: RwLock::default() };
        keys.refresh();
        keys
    }

    /// Where they are stored.
    pub(super) const fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// The keys, if one was ever made.
    pub(super) fn known(&self) -> Option<Arc<Known>> {
        self.known.read().clone()
    }

    /// Reads what is stored again.
    pub(super) fn refresh(&self) {
        // Held while reading: of two readers the later one must win.
        let mut known = self.known.write();
        let snapshot = self.registry.store().snapshot(&self.resource);
        let mut stored: Vec<(u64, Timestamp, TokenKey)> = Vec::new();
        for (_, name, record) in snapshot.iter(&Scope::All) {
            match read(name.name(), record) {
                Some(key) => stored.push(key),
                None => tracing::error!(key = name.name(), "a key of tokens cannot be read"),
            }
        }
        stored.sort_by_key(|(number, ..)| *number);
        let newest = stored.pop();
        *known = newest.map(|(number, made, current)| {
            let earlier: Vec<TokenKey> = stored.into_iter().map(|(_, _, key)| key).collect();
            Arc::new(Known { ring: KeyRing::new(&self.issuer, current, &earlier), number, made })
        });
    }

    /// The keys, the first of which may sign: it is made where there is none, or the last one is
    /// too old or `revoked`.
    ///
    /// # Errors
    /// The store takes no write, or no key can be made.
    pub(super) async fn signing(
        &self,
        revoked: impl Fn(&str) -> bool,
    ) -> Result<Arc<Known>, Status> {
        for _ in 0..ATTEMPTS {
            let known = self.known();
            let now = self.registry.clock().now();
            if let Some(known) = &known
                && now.duration_since(known.made).unsigned_abs() < SIGNS_FOR
                && !revoked(known.ring.current().id())
            {
                return Ok(known.clone());
            }
            let number = known.map_or(1, |known| known.number + 1);
            self.make(number, now).await?;
            self.refresh();
        }
        Err(Status::unavailable("no key for tokens can be made now").retry_after(1))
    }

    /// Makes a key of that number, unless somebody else does.
    async fn make(&self, number: u64, now: Timestamp) -> Result<(), Status> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(err = %Report(error), "a key of tokens cannot be made");
            Status::internal("a key for tokens cannot be made")
        };
        let pem = PrivateKey::generate().and_then(|key| key.to_pem());
        let pem = pem.map_err(|error| failed(&error))?;
        let lease = records::lease(&self.registry, SIGNS_FOR + LIFE_MAX).await?;
        let home = ClusterName::system_admin();
        let name = ObjectName::cluster_scoped(&number.to_string());
        let key = Key::new(self.resource.clone(), home.clone(), name);
        let value = object! {
            "kind": "TokenKey",
            "made": now.to_string(),
            "key": pem.expose().as_str(),
        };
        let put = records::record(&self.registry, key.clone(), value, lease)?;
        let compares = vec![Compare { key, expect: Expect::Absent }];
        let txn = Txn { compares, puts: vec![put], deletes: Vec::new() };
        match self.registry.store().commit(&home, txn).await {
            Ok(_) => tracing::info!(number, "a new key signs relay tokens"),
            Err(CommitError::Refused(_)) => {}
            Err(error) => return Err(unwritten(&error)),
        }
        Ok(())
    }
}

fn read(name: &str, record: &Object) -> Option<(u64, Timestamp, TokenKey)> {
    let value = record.to_value();
    let key = PrivateKey::from_pem(value.str_at(&["key"])?).ok()?;
    let made = value.str_at(&["made"])?.parse().ok()?;
    Some((name.parse().ok()?, made, TokenKey::new(&key).ok()?))
}
