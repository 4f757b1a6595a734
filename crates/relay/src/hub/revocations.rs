//! Revocations: durable, and known to every request.
//!
//! A revocation is a record, not an object that people see: its lease ends it with the last
//! credential that it could be about, and no right to write or delete objects takes one back. The
//! index in memory follows the records; whoever holds streams open is told of each.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use strait_apiserver::registry::Registry;
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::object::Object;
use strait_machinery::status::Status;
use strait_store::{Key, ObjectName, Put, ResourceId, Scope, Txn};
use strait_types::ClusterName;

use super::keys::SIGNS_FOR;
use super::records::{self, unwritten};
use crate::credential::{LIFE_MAX, Outcome, Revocation, Revoked, Subject, Subjects, Within};
use crate::token::hex;

/// Most revocations of single credentials and users in a logical cluster. Beyond them a whole
/// service or agent can still be revoked, so that no tenant fills what all share.
pub(super) const CLUSTER_MAX: usize = 1_000;

/// Called with each revocation, at least once; must not block.
pub type OnRevocation = Box<dyn Fn(&Revocation) + Send + Sync>;

/// The revocations of the hub.
pub(super) struct Revocations {
    registry: Registry,
    resource: ResourceId,
    index: RwLock<Revoked>,
    told: Mutex<Vec<OnRevocation>>,
}

impl Revocations {
    /// Reads what is stored.
    pub(super) fn open(registry: Registry) -> Self {
        let resource = ResourceId::new("relay.strait.dev", "revocations", "");
        let revocations =
            Self { registry, resource, index: RwLock::default(), told: Mutex::default() };
        revocations.refresh();
        revocations
    }

    /// Where they are stored.
    pub(super) const fn resource(&self) -> &ResourceId {
        &self.resource
    }

    /// Has `on_revocation` called from now on.
    pub(super) fn tell(&self, on_revocation: OnRevocation) {
        self.told.lock().push(on_revocation);
    }

    /// Why a use of a credential is over, if it is.
    pub(super) fn find(&self, of: &Subjects) -> Option<Revocation> {
        self.index.read().find(of).cloned()
    }

    /// Reads what is stored again, and tells of all of it: what was missed is among it.
    pub(super) fn refresh(&self) {
        let snapshot = self.registry.store().snapshot(&self.resource);
        for (cluster, _, record) in snapshot.iter(&Scope::All) {
            self.note(cluster, record);
        }
    }

    /// Notes a record, and tells of it.
    pub(super) fn note(&self, cluster: &ClusterName, record: &Object) {
        let Some(revocation) = read(cluster, &record.to_value()) else {
            tracing::error!(cluster = %cluster, "a revocation cannot be read");
            return;
        };
        self.index_it(&revocation);
        for told in &*self.told.lock() {
            told(&revocation);
        }
    }

    fn index_it(&self, revocation: &Revocation) {
        let now = self.registry.clock().now();
        let added = self.index.write().add(revocation.clone(), now);
        match added {
            Ok(Outcome::Added) => {}
            Ok(Outcome::KeyRevoked(key)) => {
                tracing::error!(%key, "too many revocations: every token by this key is revoked");
                let subject = Subject::Key(key);
                let whole = Revocation { subject, key: None, ..revocation.clone() };
                for told in &*self.told.lock() {
                    told(&whole);
                }
            }
            Err(full) => tracing::error!(err = %full, "a revocation is not in effect"),
        }
    }

    /// Revokes, durably; in effect for new requests when this returns.
    ///
    /// # Errors
    /// The store takes no write, or the logical cluster has too many.
    pub(super) async fn add(&self, revocation: &Revocation) -> Result<(), Status> {
        let (cluster, name, _) = stored(revocation);
        let single = matches!(revocation.subject, Subject::Credential(..) | Subject::User(..));
        if single && cluster != ClusterName::system_admin() {
            let snapshot = self.registry.store().snapshot(&self.resource);
            let scope = Scope::Cluster(cluster.clone());
            let others = snapshot.iter(&scope).filter(|(_, own, _)| own.name() != name);
            if others.count() >= CLUSTER_MAX {
                let why = format!(
                    "{CLUSTER_MAX} revocations are kept for this workspace; revoke the whole \
                     service or agent"
                );
                return Err(Status::too_many_requests(why, 3600));
            }
        }
        let put = self.put(revocation).await?;
        let txn = Txn { compares: Vec::new(), puts: vec![put], deletes: Vec::new() };
        let committed = self.registry.store().commit(&cluster, txn).await;
        committed.map_err(|error| unwritten(&error))?;
        self.index_it(revocation);
        Ok(())
    }

    /// The write of a revocation, for whoever has more to write with it.
    pub(super) async fn put(&self, revocation: &Revocation) -> Result<Put, Status> {
        let (cluster, name, value) = stored(revocation);
        let left = revocation.until.duration_since(revocation.at);
        let lease =
            records::lease(&self.registry, Duration::try_from(left).unwrap_or_default()).await?;
        let key = Key::new(self.resource.clone(), cluster, ObjectName::cluster_scoped(&name));
        records::record(&self.registry, key, value, lease)
    }
}

/// A revocation from now on. It is kept until every credential that lives now is over by itself.
pub(super) fn from_now(subject: Subject, by: &str, now: Timestamp) -> Revocation {
    let key = match &subject {
        Subject::Credential(_, id) => super::credentials::key_of(id).map(Arc::from),
        _ => None,
    };
    // A key could still sign for as long as it is known.
    let kept = if matches!(subject, Subject::Key(_)) { SIGNS_FOR + LIFE_MAX } else { LIFE_MAX };
    let until = now.saturating_add(kept).unwrap_or(Timestamp::MAX);
    Revocation { subject, key, at: now, by: by.into(), until }
}

/// Where a revocation is stored, under which name, and how. One of the same subject takes its
/// place.
fn stored(revocation: &Revocation) -> (ClusterName, String, Value) {
    let mut value = object! {"kind": "Revocation"};
    let mut set = |key: &str, text: &str| value.set(&[key], text);
    let within = match &revocation.subject {
        Subject::Key(id) => {
            set("key", id);
            &Within::Hub
        }
        Subject::Credential(within, id) => {
            set("credential", id);
            within
        }
        Subject::User(within, name) => {
            set("user", name);
            within
        }
        Subject::All(within) => within,
    };
    let cluster = match within {
        Within::Hub => None,
        Within::Agent(cluster, agent) => {
            set("agent", agent);
            Some(cluster)
        }
        Within::Service(cluster, agent, service) => {
            set("agent", agent);
            set("service", service);
            Some(cluster)
        }
    };
    // Names of clusters come from the store, where no other can be.
    let cluster = cluster.and_then(|cluster| ClusterName::new(cluster).ok());
    let name = hex(&Sha256::digest(value.to_bytes()));
    value.set(&["at"], revocation.at.to_string());
    value.set(&["until"], revocation.until.to_string());
    value.set(&["by"], &*revocation.by);
    (cluster.unwrap_or_else(ClusterName::system_admin), name, value)
}

fn read(cluster: &ClusterName, value: &Value) -> Option<Revocation> {
    let text = |key: &str| value.str_at(&[key]).map(Arc::<str>::from);
    let cluster: Arc<str> = cluster.as_str().into();
    let within = match (text("agent"), text("service")) {
        (None, _) if *cluster == *ClusterName::system_admin().as_str() => Within::Hub,
        (None, _) => return None,
        (Some(agent), None) => Within::Agent(cluster, agent),
        (Some(agent), Some(service)) => Within::Service(cluster, agent, service),
    };
    let subject = match (text("key"), text("credential"), text("user")) {
        (Some(key), ..) => Subject::Key(key),
        (_, Some(id), _) => Subject::Credential(within, id),
        (.., Some(user)) => Subject::User(within, user),
        _ => Subject::All(within),
    };
    let time = |key: &str| value.str_at(&[key])?.parse::<Timestamp>().ok();
    let (at, until) = (time("at")?, time("until")?);
    let key = match &subject {
        Subject::Credential(_, id) => super::credentials::key_of(id).map(Arc::from),
        _ => None,
    };
    Some(Revocation { subject, key, at, by: text("by")?, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        let agent = Within::Agent("c1".into(), "smith".into());
        let service = Within::Service("c1".into(), "smith".into(), "ci".into());
        let mut names = Vec::new();
        for subject in [
            Subject::Key("k1".into()),
            Subject::Credential(Within::Hub, "0123456789abcdef.t1".into()),
            Subject::User(Within::Hub, "alice".into()),
            Subject::User(agent.clone(), "alice".into()),
            Subject::All(agent),
            Subject::Credential(service.clone(), "t1".into()),
            Subject::User(service.clone(), "alice".into()),
            Subject::All(service),
        ] {
            let revocation = from_now(subject, "root", Timestamp::from_second(1_000).unwrap());
            let (cluster, name, value) = stored(&revocation);
            assert_eq!(read(&cluster, &value), Some(revocation));
            names.push(name);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 8);
        // A record of a tenant's never holds for the hub.
        let tenant = ClusterName::new("c1").unwrap();
        let (_, _, value) = stored(&from_now(
            Subject::User(Within::Hub, "alice".into()),
            "root",
            Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(read(&tenant, &value), None);
    }
}
