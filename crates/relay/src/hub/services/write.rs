//! The task that writes Service objects.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use strait_api::well_known::CLUSTER;
use strait_machinery::json::Value;
use strait_machinery::status::Status;
use strait_store::engine::{Compare, Expect};
use strait_store::{CommitError, Key, ObjectName, Scope, Txn};
use strait_types::Report;
use tokio::time::Instant;

use super::plan::{Owner, Seen, Write, owner_of, plan};
use super::{AgentKey, Announcements, GRACE};
use crate::hub::records::{encoded, unwritten};

/// The shortest time between two writes of one object.
pub const WRITE_EVERY: Duration = Duration::from_secs(5);

/// Writes at once.
const CONCURRENCY: usize = 16;

/// When a failed write is tried again.
const RETRY: Duration = Duration::from_millis(500);

impl Announcements {
    /// Writes what is due, one agent after the other.
    pub(super) async fn work(&self) {
        loop {
            let next = self.next_due();
            let now = Instant::now();
            match next {
                Some((key, at)) if at <= now => {
                    self.state.lock().due.remove(&key);
                    self.look(key).await;
                }
                Some((_, at)) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = self.wake.notified() => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    fn next_due(&self) -> Option<(AgentKey, Instant)> {
        let state = self.state.lock();
        let first = state.due.iter().min_by_key(|(_, at)| **at);
        first.map(|(key, at)| (key.clone(), *at))
    }

    /// Makes the objects of one agent what they should be.
    async fn look(&self, key: AgentKey) {
        let (cluster, name) = &key;
        let agent = self.agents.find(cluster, name).filter(|agent| !agent.header.deleting);
        let uid = agent.as_ref().map(|agent| agent.header.uid.to_string());
        let offers = self.state.lock().agents.get(&key).map(super::offers::AgentOffers::all);
        let comes_back = self.started + GRACE;
        if uid.is_some() && offers.is_none() && Instant::now() < comes_back {
            return self.look_at(key, comes_back);
        }
        let existing = self.existing(&key);
        let seen = Seen {
            owner: uid.as_deref().map(|uid| Owner { name, uid }),
            is_connected: offers.is_some(),
            offers: offers.unwrap_or_default(),
            now: self.agents.system.registry.clock().now(),
        };
        if uid.is_some() {
            self.connections.observed(cluster, name, seen.offers.len());
        }
        let again = futures_util::stream::iter(plan(&seen, &existing))
            .map(|write| self.apply(&key, write))
            .buffer_unordered(CONCURRENCY)
            .filter_map(std::future::ready)
            .collect::<Vec<Instant>>();
        if let Some(again) = again.await.into_iter().min() {
            self.look_at(key, again);
        }
    }

    fn existing(&self, (cluster, agent): &AgentKey) -> BTreeMap<String, Value> {
        let snapshot = self.agents.system.registry.store().snapshot(&self.services);
        let scope = Scope::Cluster(cluster.clone());
        let own = snapshot.iter(&scope).filter(|(_, name, object)| {
            let of = name.name().rsplit_once('.').map(|(_, agent)| agent);
            of == Some(agent) && !object.header.deleting
        });
        own.map(|(_, name, object)| (name.name().to_owned(), object.to_value())).collect()
    }

    /// Writes one object, unless it was written just now; returns when to look again, if that is
    /// to be done.
    async fn apply(&self, key: &AgentKey, write: Write) -> Option<Instant> {
        let object = (key.0.clone(), write.name().to_owned());
        let now = Instant::now();
        {
            let mut state = self.state.lock();
            state.written.retain(|_, at| *at + WRITE_EVERY > now);
            if let Some(at) = state.written.get(&object) {
                return Some(*at + WRITE_EVERY);
            }
            state.written.insert(object.clone(), now);
        }
        let name = write.name().to_owned();
        let why = match self.commit(key, write).await {
            Ok(true) => return None,
            Ok(false) => None,
            Err(error) => Some(error),
        };
        // Nothing was written, so the next attempt has not to wait.
        self.state.lock().written.remove(&object);
        if let Some(error) = why {
            tracing::warn!(err = %Report(&error), service = name, "a service cannot be written");
        }
        Some(now + RETRY)
    }

    /// Commits a write; false where something changed meanwhile.
    async fn commit(&self, (cluster, agent): &AgentKey, write: Write) -> Result<bool, Status> {
        let registry = &self.agents.system.registry;
        let name = ObjectName::cluster_scoped(write.name());
        let key = Key::new(self.services.clone(), cluster.clone(), name);
        let stored = registry.find(&key);
        let is_current = |compares: Vec<Compare>, puts, deletes| {
            let txn = Txn { compares, puts, deletes };
            async move {
                match registry.store().commit(cluster, txn).await {
                    Ok(_) => Ok(true),
                    Err(CommitError::Refused(_)) => Ok(false),
                    Err(error) => Err(unwritten(&error)),
                }
            }
        };
        match (write, stored) {
            (Write::Create(name, mut value), None) => {
                let Some(owner) = self.agents.find(cluster, agent) else { return Ok(false) };
                if owner_of(&value) != Some(owner.header.uid.to_string().as_str()) {
                    return Ok(false);
                }
                let metadata = value.make_object().object_mut("metadata");
                metadata.insert("name", name);
                metadata.insert("uid", registry.new_uid().to_string());
                metadata.insert("creationTimestamp", registry.timestamp());
                metadata.object_mut("annotations").insert(CLUSTER, cluster.as_str());
                let there = Compare {
                    key: self.agents.key(cluster, agent),
                    expect: Expect::Revision(owner.revision),
                };
                let absent = Compare { key: key.clone(), expect: Expect::Absent };
                is_current(vec![absent, there], vec![encoded(key, &value)?], Vec::new()).await
            }
            (Write::Replace(_, value), Some(old)) => {
                // People may have changed it since: then it is looked at again.
                let seen = value.str_at(&["metadata", "resourceVersion"]).unwrap_or_default();
                if seen != old.revision.to_string() {
                    return Ok(false);
                }
                Ok(registry.replace_stored(&key, &old, &value, Vec::new()).await?.is_some())
            }
            // Whoever put a finalizer there has to see it go.
            (Write::Delete(_), Some(old)) if old.header.finalizers.is_empty() => {
                let same = Compare { key: key.clone(), expect: Expect::Revision(old.revision) };
                is_current(vec![same], Vec::new(), vec![key]).await
            }
            (Write::Delete(_), _) => Ok(true),
            _ => Ok(false),
        }
    }
}
