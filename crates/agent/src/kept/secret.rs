//! An agent's entry in a Secret.
//!
//! ```text
//! data: {smith-0: {pod: UID, instance, joinKey | membership}, smith-1: …}      in base64
//! ```
//!
//! An entry has the name of its pod: Kubernetes has one pod of a name at a time, and a StatefulSet makes
//! the next one only when the one before has ended. The pod's uid in it is written before anything else,
//! and looked at with every write: a pod that was replaced writes, and renews, nothing any more. Writes
//! carry the resourceVersion that was read.
//!
//! Bounds: 64 entries, 8 attempts at a write that others come before.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use parking_lot::Mutex;
use strait_machinery::json::{Map, Value};
use strait_machinery::object;
use strait_pki::PrivateKey;
use strait_relay::agent::Membership;
use strait_runtime::{Clock, Context};
use strait_types::InstanceId;

use super::State;
use super::cluster::{Cluster, KeptError, Pod};
use super::entry::Entry;

/// Most entries of a Secret.
const ENTRIES_MAX: usize = 64;

/// Attempts at a write that others come before.
const ATTEMPTS: usize = 8;

/// The Secret, and what this agent has in it.
#[derive(Debug)]
pub(crate) struct Secret {
    name: String,
    cluster: Cluster,
    pod: Pod,
    clock: Arc<dyn Clock>,
    entry: Mutex<Entry>,
}

impl Secret {
    /// Takes the pod's entry over, or makes one, with the id `fresh`.
    pub(super) async fn open(
        state: State,
        fresh: &InstanceId,
        context: &Context,
    ) -> Result<Self, KeptError> {
        let clock = context.clock.clone();
        let cluster = Cluster::new(state.server, state.account, clock.clone());
        let pod = cluster.pod().await?;
        let (instance, uid) = (fresh.clone(), pod.uid.clone());
        let new = Entry { pod: uid, instance, key: None, membership: None };
        let secret =
            Self { name: state.secret, cluster, pod, clock, entry: Mutex::new(new.clone()) };
        secret
            .change(|stored| match stored {
                Some(stored) if stored.pod == new.pod => Ok(stored),
                Some(stored) => Ok(Entry { pod: new.pod.clone(), ..stored }),
                None => Ok(new.clone()),
            })
            .await?;
        Ok(secret)
    }

    /// What is kept.
    pub(super) fn entry(&self) -> Entry {
        self.entry.lock().clone()
    }

    /// The key to join with, which is made if there is none.
    pub(super) async fn join_key(&self) -> Result<PrivateKey, KeptError> {
        if let Some(key) = self.entry().key {
            return Ok(PrivateKey::from_pem(key.expose())?);
        }
        let key = PrivateKey::generate()?;
        let text = key.to_pem()?;
        self.change(|stored| Ok(Entry { key: Some(text.clone()), ..self.own(stored)? })).await?;
        Ok(key)
    }

    /// Keeps a membership, in the place of the key to join with.
    pub(super) async fn save(&self, now: &Membership) -> Result<(), KeptError> {
        let membership = || Some(now.clone());
        self.change(|stored| Ok(Entry { key: None, membership: membership(), ..self.own(stored)? }))
            .await
    }

    /// The entry, if it is still this pod's.
    fn own(&self, stored: Option<Entry>) -> Result<Entry, KeptError> {
        let own = stored.filter(|stored| stored.pod == self.pod.uid);
        own.ok_or_else(|| KeptError::Lost(self.pod.name.clone()))
    }

    /// Changes the entry as it is now.
    async fn change(
        &self,
        change: impl Fn(Option<Entry>) -> Result<Entry, KeptError>,
    ) -> Result<(), KeptError> {
        let path = format!("/api/v1/namespaces/{}/secrets/{}", self.pod.namespace, self.name);
        for _ in 0..ATTEMPTS {
            let secret = self.cluster.get(&path).await?;
            let stored = self.read(&secret)?;
            let entry = change(stored)?;
            let patch = self.patch(&secret, &entry)?;
            match self.cluster.merge(&path, &patch).await {
                Ok(_) => {
                    *self.entry.lock() = entry;
                    return Ok(());
                }
                Err(KeptError::Answered { status: StatusCode::CONFLICT, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(KeptError::Contended(self.name.clone()))
    }

    fn read(&self, secret: &Value) -> Result<Option<Entry>, KeptError> {
        let malformed = |what| KeptError::Malformed {
            secret: self.name.clone(),
            entry: self.pod.name.clone(),
            what,
        };
        let Some(text) = secret.str_at(&["data", &self.pod.name]) else { return Ok(None) };
        let bytes = STANDARD.decode(text).map_err(|_| malformed("base64"))?;
        Entry::read(&bytes).map(Some).map_err(malformed)
    }

    /// What writes an entry, and removes those that are of no use to anybody any more.
    fn patch(&self, secret: &Value, entry: &Entry) -> Result<Value, KeptError> {
        let mut data = Value::object();
        data.set(&[&self.pod.name], STANDARD.encode(entry.to_bytes().expose()));
        let (mut others, now) = (0, self.clock.now());
        let stored = secret.at(&["data"]).and_then(Value::as_object);
        for (name, text) in stored.into_iter().flat_map(Map::iter) {
            if name == self.pod.name {
                continue;
            }
            let bytes = text.as_str().and_then(|text| STANDARD.decode(text).ok());
            let other = bytes.and_then(|bytes| Entry::read(&bytes).ok());
            if other.is_some_and(|other| other.is_over(now)) {
                data.set(&[name], Value::Null);
            } else {
                others += 1;
            }
        }
        if others >= ENTRIES_MAX {
            return Err(KeptError::Full { secret: self.name.clone(), entries: others });
        }
        let revision = secret.str_at(&["metadata", "resourceVersion"]).unwrap_or_default();
        Ok(object! {"metadata": object! {"resourceVersion": revision}, "data": data})
    }
}

#[cfg(test)]
mod tests;
