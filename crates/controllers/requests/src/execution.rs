//! One execution of a request, as the journal keeps it.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use strait_machinery::json::Value;
use strait_reconcile::ObjectKey;
use strait_types::{ClusterName, GroupResource, HubId, Uid};

/// Characters of the text form: 130 bits.
const ID_CHARS: usize = 26;

/// Names an execution everywhere: in the journal, as its directory, and as the key by which a
/// service recognises a repetition. The same request and attempt have the same id, whoever
/// computes it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ExecutionId(Box<str>);

impl ExecutionId {
    /// Base32 (RFC 4648 §6, lower case) of the SHA-256 of hub, resource, logical cluster,
    /// namespace, uid and attempt, each of which cannot contain the `|` between them.
    pub(crate) fn new(
        hub: &HubId,
        resource: &GroupResource,
        key: &ObjectKey,
        attempt: u32,
    ) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let ObjectKey { cluster, namespace, uid, .. } = key;
        let namespace = namespace.as_deref().unwrap_or_default();
        let text = format!("{hub}|{resource}|{cluster}|{namespace}|{uid}|{attempt}");
        let hash = Sha256::digest(text.as_bytes());
        let digit = |at: usize| {
            let word = u16::from(hash[at * 5 / 8]) << 8 | u16::from(hash[at * 5 / 8 + 1]);
            char::from(ALPHABET[usize::from(word >> (11 - at * 5 % 8) & 31)])
        };
        Self((0..ID_CHARS).map(digit).collect::<String>().into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name under which the journal keeps it.
    pub(crate) fn of_journal(name: &str) -> Self {
        Self(name.into())
    }

    /// 128 bits that stand for it once it is forgotten.
    pub(crate) fn tombstone(&self) -> [u8; 16] {
        let mut stone = [0; 16];
        let hash = Sha256::digest(self.0.as_bytes());
        stone.copy_from_slice(&hash[..16]);
        stone
    }
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of what a request asks for: what runs is what was decided about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct SpecHash([u8; 32]);

impl SpecHash {
    pub(crate) fn of(params: &Value) -> Self {
        Self(Sha256::digest(params.to_bytes()).into())
    }
}

impl fmt::Display for SpecHash {
    /// In hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<SpecHash> for String {
    fn from(hash: SpecHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for SpecHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let mut hash = [0; 32];
        let digit =
            |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = digit(at * 2).ok_or("a hash has 64 hexadecimal digits")?;
        }
        Ok(Self(hash))
    }
}

/// What the journal keeps of an execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Whose execution.
    #[serde(flatten)]
    pub(crate) request: Request,
    /// 1, 2, …
    pub(crate) attempt: u32,
    /// Name of the class that it was accepted by.
    pub(crate) class: Box<str>,
    /// `http`, `process`, or empty where none was ever started.
    pub(crate) executor: Box<str>,
    /// What was asked for.
    pub(crate) spec_hash: SpecHash,
    /// The object's generation then.
    pub(crate) generation: i64,
    /// When things happened.
    pub(crate) times: Times,
    /// Set once the execution is to be ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancel: Option<Cancel>,
    /// How far it is.
    pub(crate) state: State,
}

/// The request of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// Name of the endpoint in the configuration that saw it.
    pub(crate) endpoint: Box<str>,
    pub(crate) group: Box<str>,
    pub(crate) version: Box<str>,
    pub(crate) resource: Box<str>,
    pub(crate) cluster: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<Box<str>>,
    pub(crate) name: Box<str>,
    pub(crate) uid: Box<str>,
    /// Who created it, as the hub recorded it; empty if it did not.
    pub(crate) requester: Box<str>,
}

impl Request {
    /// The object's key; none if the record is not one of ours.
    pub(crate) fn key(&self) -> Option<ObjectKey> {
        Some(ObjectKey {
            endpoint: (*self.endpoint).into(),
            cluster: ClusterName::new(&self.cluster).ok()?,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.parse::<Uid>().ok()?,
        })
    }

    pub(crate) fn group_resource(&self) -> GroupResource {
        GroupResource::new(&self.group, &self.resource)
    }
}

/// Wall times of this machine, RFC 3339; empty where a thing did not happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Times {
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub(crate) accepted: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub(crate) claimed: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub(crate) started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time")]
    pub(crate) finished: Option<Timestamp>,
}

mod time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde gives the field by reference")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.collect_str(time),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Some).map_err(serde::de::Error::custom)
    }
}

/// Why an execution is ended early. The first reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Cancel {
    /// The tenant asked.
    Requested,
    /// The request was deleted.
    Deleted,
}

/// How far an execution is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(crate) enum State {
    /// It is about to be started. Exits: all others.
    StartPending,
    /// It was started, or is so within a moment. Exits: all below.
    Launched,
    /// It did not succeed and is tried again: as `attempt`, not before that time. Exits: its
    /// own end where that attempt is the same; otherwise the other attempt's record takes over.
    #[serde(rename_all = "camelCase")]
    Retry {
        attempt: u32,
        #[serde(with = "required_time")]
        not_before: Timestamp,
        failure: Failure,
    },
    /// Whether it had its effect is unknown. A person decides; nothing else ends it but the
    /// request's deletion.
    Indeterminate { failure: Failure },
    /// It is over, and the hub may not know.
    Finished { outcome: Outcome },
    /// It is over, and the hub knows. Nothing follows but forgetting.
    Reported { outcome: Outcome },
}

mod required_time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub(crate) enum Outcome {
    /// It did what it should; results as JSON texts, by name.
    Succeeded { results: BTreeMap<Box<str>, Box<str>> },
    /// It did not.
    Failed { failure: Failure },
    /// It was never to run.
    Rejected { failure: Failure },
    /// It was ended early, or before it began.
    Cancelled,
    /// It took too long.
    TimedOut { limit: Limit },
    /// Nobody knows, and the request is gone.
    Abandoned,
}

/// Which limit was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Limit {
    /// Waiting for a turn.
    Queue,
    /// Running.
    Execution,
    /// The request's own deadline.
    Deadline,
}

/// What went wrong, fit for the tenant: nothing of the private side is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    /// Whose it is.
    pub(crate) class: FailureClass,
    /// CamelCase.
    pub(crate) code: Box<str>,
    /// For people.
    pub(crate) message: Box<str>,
    /// Whether the same request made again may succeed.
    pub(crate) retryable: bool,
}

impl Failure {
    pub(crate) fn new(class: FailureClass, code: &str, message: impl Into<Box<str>>) -> Self {
        Self { class, code: code.into(), message: message.into(), retryable: false }
    }

    pub(crate) fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum FailureClass {
    /// What the request brings.
    User,
    /// A policy's.
    Policy,
    /// The work's.
    Backend,
    /// The agent's, or that of what it stands on.
    Infrastructure,
    /// Unknown.
    Indeterminate,
}

impl FailureClass {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Policy => "Policy",
            Self::Backend => "Backend",
            Self::Infrastructure => "Infrastructure",
            Self::Indeterminate => "Indeterminate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(cluster: &str, namespace: &str, uid: u8) -> ObjectKey {
        ObjectKey {
            endpoint: "hub".into(),
            cluster: ClusterName::new(cluster).unwrap(),
            namespace: Some(namespace.into()),
            name: "same".into(),
            uid: Uid::from_random([uid; 16]),
        }
    }

    fn id(key: &ObjectKey, attempt: u32) -> String {
        let hub = "0123456789ab".parse().unwrap();
        ExecutionId::new(&hub, &GroupResource::new("s.dev", "signings"), key, attempt).to_string()
    }

    #[test]
    fn an_id_is_the_same_for_whoever_computes_it() {
        // printf '0123456789ab|signings.s.dev|a|ns|01010101-0101-4101-8101-010101010101|1' |
        //   sha256sum | xxd -r -p | base32 | tr A-Z a-z | cut -c1-26
        assert_eq!(id(&key("a", "ns", 1), 1), "6zkg6ja2vzqdlalwhymskg6wzf");
    }

    #[test]
    fn every_part_matters() {
        let ids = [
            id(&key("a", "ns", 1), 1),
            id(&key("a", "ns", 1), 2),
            id(&key("b", "ns", 1), 1),
            id(&key("a", "n2", 1), 1),
            id(&key("a", "ns", 2), 1),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        assert!(ids.iter().all(|id| id.len() == ID_CHARS));
    }
}
