//! Agent objects: what they say, and what agents report into them.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_api::well_known::{RELAY_EXPORT, REQUESTS_EXPORT};
use strait_machinery::json::Value;
use strait_machinery::object::Object;
use strait_runtime::units::parse_duration;
use strait_store::{Key, ObjectName, ResourceId};
use strait_types::{ClusterName, Uid};
use strait_workspaces::System;

use crate::approval::JoinPolicy;
use crate::http::pattern::matches;
use crate::seen::{LastSeen, Seen, Sign, Who};

/// Life of a certificate where the Agent names none, and the bounds of what it may name.
pub(crate) const TTL_DEFAULT: Duration = Duration::from_secs(24 * 3600);
const TTL_MIN: Duration = Duration::from_secs(3600);
const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// An instance that has not reported for this long is lost.
pub const LOST_AFTER: Duration = Duration::from_secs(30);

/// What an Agent object allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSpec {
    /// Which Agent it is, however it is called.
    pub uid: Uid,
    /// Whether its certificates are refused for now.
    pub suspended: bool,
    /// Whether its instances get no new streams.
    pub draining: bool,
    /// Who may join.
    pub join_policy: JoinPolicy,
    /// Installations that may join.
    pub max_instances: usize,
    /// Life of a certificate.
    pub certificate_ttl: Duration,
    /// Certificates issued earlier are refused.
    pub revoked_before: Option<Timestamp>,
    /// Serial numbers of refused certificates.
    pub revoked_serials: Vec<String>,
    /// What it may offer: `type/name` with `*` for any characters, or `*`.
    pub offers: Vec<String>,
    /// Services of the hub that it may call, by type and name.
    pub calls: Vec<(String, String)>,
    /// Which of its instances serves whom.
    pub affinity: Affinity,
    /// Identifiers of installations that joined.
    pub instances: Vec<String>,
    /// Whether its deletion has begun.
    pub deleting: bool,
}

/// By what a client keeps to one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// By nothing.
    None,
    /// By its credential.
    Client,
    /// By the value of a header, if it has one; in lower case.
    Header(String),
}

impl AgentSpec {
    /// Reads an object.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let value = object.to_value();
        let instances = value.array_at(&["status", "instances"]).iter();
        let ttl = value.str_at(&["spec", "certificateTTL"]);
        let ttl = ttl.and_then(|text| parse_duration(text).ok()).unwrap_or(TTL_DEFAULT);
        let max = value.at(&["spec", "maxInstances"]).and_then(Value::as_i64).unwrap_or(8);
        let revoked_before = value.str_at(&["spec", "revokedBefore"]);
        Self {
            uid: object.header.uid,
            suspended: value.at(&["spec", "suspended"]).and_then(Value::as_bool) == Some(true),
            draining: value.at(&["spec", "drain"]).and_then(Value::as_bool) == Some(true),
            offers: texts(&value, &["spec", "services", "allow"]),
            calls: value.array_at(&["spec", "incoming"]).iter().filter_map(called).collect(),
            affinity: affinity(&value),
            join_policy: match value.str_at(&["spec", "joinPolicy"]) {
                Some("approve") => JoinPolicy::Approve,
                _ => JoinPolicy::Token,
            },
            max_instances: usize::try_from(max).unwrap_or(1),
            certificate_ttl: ttl.clamp(TTL_MIN, TTL_MAX),
            revoked_before: revoked_before.and_then(|text| text.parse().ok()),
            revoked_serials: revoked_serials(&value),
            instances: instances.filter_map(|i| i.str_at(&["id"])).map(str::to_owned).collect(),
            deleting: object.header.deleting,
        }
    }

    /// Whether the hub takes an announcement of a service.
    #[must_use]
    pub fn may_offer(&self, kind: &str, name: &str) -> bool {
        if self.offers.iter().any(|pattern| pattern == "*") {
            return true;
        }
        let full = format!("{kind}/{name}");
        self.offers.iter().any(|pattern| matches(pattern, &full))
    }

    /// Whether the agent may call a service of the hub.
    #[must_use]
    pub fn may_call(&self, kind: &str, name: &str) -> bool {
        self.calls.iter().any(|(own_kind, own_name)| (&**own_kind, &**own_name) == (kind, name))
    }

    /// Why a certificate of this agent is refused, if it is. The text is for the agent.
    #[must_use]
    pub fn refuses(
        &self,
        instance: &str,
        serial: &str,
        not_before: Timestamp,
    ) -> Option<&'static str> {
        if self.deleting {
            return Some("the agent is being deleted");
        }
        if self.suspended {
            return Some("the agent is suspended");
        }
        let revoked = self.revoked_serials.iter().any(|own| own == serial)
            || self.revoked_before.is_some_and(|before| not_before < before);
        if revoked {
            return Some("the certificate was revoked");
        }
        // A certificate of an earlier Agent of the same name.
        if !self.instances.iter().any(|own| own == instance) {
            return Some("this installation has not joined the agent");
        }
        None
    }
}

fn called(service: &Value) -> Option<(String, String)> {
    let text = |key| service.str_at(&[key]).map(str::to_owned);
    Some((text("type")?, text("name")?))
}

fn affinity(agent: &Value) -> Affinity {
    let of = |key| agent.str_at(&["spec", "affinity", key]).unwrap_or_default();
    match (of("mode"), of("header")) {
        ("client", _) => Affinity::Client,
        ("header", header) if !header.is_empty() => Affinity::Header(header.to_ascii_lowercase()),
        _ => Affinity::None,
    }
}

/// Finds Agent objects, and knows when their instances were last heard of.
#[derive(Clone)]
pub struct Agents {
    pub(crate) system: Arc<System>,
    pub(crate) resource: ResourceId,
    /// Where CertificateRequests are stored.
    pub(crate) requests: ResourceId,
    /// Where agents' RequestClassViews are stored.
    pub(crate) views: ResourceId,
    pub(crate) seen: Arc<Seen>,
}

impl Agents {
    /// Agents are stored under the identity of the hub's own export.
    ///
    /// # Panics
    /// If the system was not started: then there is no such export.
    #[must_use]
    pub fn new(system: Arc<System>) -> Self {
        let id = |export: &str, resource: &str| {
            let identity = system.own_identity(export);
            let identity = identity.expect("the hub's exports are there once it started");
            ResourceId::new(export, resource, &identity)
        };
        let resource = id(RELAY_EXPORT, "agents");
        let requests = id(RELAY_EXPORT, "certificaterequests");
        let views = id(REQUESTS_EXPORT, "requestclassviews");
        let seen = Arc::new(Seen::new(system.registry.clock()));
        Self { system, resource, requests, views, seen }
    }

    /// The key of an agent.
    #[must_use]
    pub fn key(&self, cluster: &ClusterName, name: &str) -> Key {
        Key::new(self.resource.clone(), cluster.clone(), ObjectName::cluster_scoped(name))
    }

    /// The key of a request to join.
    pub(crate) fn request_key(&self, cluster: &ClusterName, name: &str) -> Key {
        Key::new(self.requests.clone(), cluster.clone(), ObjectName::cluster_scoped(name))
    }

    /// An agent as it is now.
    #[must_use]
    pub fn find(&self, cluster: &ClusterName, name: &str) -> Option<Arc<Object>> {
        self.system.tenancy.find(&self.key(cluster, name))
    }

    /// Something is heard of an instance, which proved who it is; returns how long it had been
    /// silent, as [`Seen::heard`].
    pub(crate) fn heard(
        &self,
        (cluster, name): (&ClusterName, &str),
        instance: &str,
        sign: Sign,
    ) -> Option<Duration> {
        let who: Who = (cluster.clone(), name.to_owned(), instance.to_owned());
        self.seen.heard(who, sign, self.system.registry.clock())
    }

    /// Whether the last that was heard of an instance is that its last connection ended.
    pub(crate) fn went(&self, (cluster, name): (&ClusterName, &str), instance: &str) -> bool {
        let who: Who = (cluster.clone(), name.to_owned(), instance.to_owned());
        self.seen.went(&who)
    }

    /// When the instances that an Agent lists were last heard of.
    pub(crate) fn last_seen(&self, who: (&ClusterName, &str), agent: &Value) -> LastSeen {
        self.seen.of(who, agent, self.system.registry.clock())
    }
}

/// Certificates that an Agent says are revoked, by their serials.
pub(crate) fn revoked_serials(agent: &Value) -> Vec<String> {
    texts(agent, &["spec", "revokedSerials"])
}

fn texts(value: &Value, path: &[&str]) -> Vec<String> {
    value.array_at(path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What an agent's status says of an instance.
pub(crate) fn instance_of<'a>(agent: &'a Value, id: &str) -> Option<&'a Value> {
    let mut instances = agent.array_at(&["status", "instances"]).iter();
    instances.find(|own| own.str_at(&["id"]) == Some(id))
}

/// Whether what an installation joined with, or was approved at, was revoked since.
pub(crate) fn is_revoked(agent: &Object, instance: &str, approved: Option<Timestamp>) -> bool {
    let value = agent.to_value();
    let known = instance_of(&value, instance);
    let serial = known.and_then(|own| own.str_at(&["certificate", "serial"]));
    let joined = known.and_then(|own| own.str_at(&["since"])?.parse().ok());
    let spec = AgentSpec::of(agent);
    let before = |time| spec.revoked_before.is_some_and(|before| time < before);
    serial.is_some_and(|serial| spec.revoked_serials.iter().any(|own| own == serial))
        || joined.max(approved).is_some_and(before)
}

/// Sets a condition of an object; its time changes only with its status.
pub(crate) fn set_condition(
    agent: &mut Value,
    kind: &str,
    (status, reason, message): (&str, &str, &str),
    now: &str,
) {
    let conditions =
        agent.make_object().object_mut("status").entry("conditions", || Value::Array(Vec::new()));
    let Value::Array(conditions) = conditions else {
        return;
    };
    let known = conditions.iter_mut().find(|own| own.str_at(&["type"]) == Some(kind));
    let since = match &known {
        Some(own) if own.str_at(&["status"]) == Some(status) => {
            own.str_at(&["lastTransitionTime"]).unwrap_or(now).to_owned()
        }
        _ => now.to_owned(),
    };
    let condition = strait_machinery::object! {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    };
    match known {
        Some(own) => *own = condition,
        None => conditions.push(condition),
    }
}

/// Changes what an agent's status says of an instance; adds it where it is new.
pub(crate) fn set_instance(agent: &mut Value, id: &str, changes: &[(&str, Value)]) {
    let instances =
        agent.make_object().object_mut("status").entry("instances", || Value::Array(Vec::new()));
    let Value::Array(instances) = instances else {
        return;
    };
    let at = instances.iter().position(|own| own.str_at(&["id"]) == Some(id));
    let at = at.unwrap_or_else(|| {
        instances.push(strait_machinery::object! {"id": id});
        instances.len() - 1
    });
    for (key, value) in changes {
        instances[at].set(&[key], value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_machinery::object;
    use strait_machinery::object::{Body, Header};
    use strait_types::Revision;

    fn spec(change: impl FnOnce(&mut Value)) -> AgentSpec {
        let mut value = object! {
            "metadata": object!{"name": "smith", "uid": "6f1c2c1e-5b0a-4d6f-8e2b-0f8f3c0d9a11"},
            "status": object!{"instances": vec![object!{"id": "i1"}]},
        };
        change(&mut value);
        let (body, header) = (Body::encode(&value).unwrap(), Header::of(&value).unwrap());
        AgentSpec::of(&Object::new(Revision(1), body, header))
    }

    #[test]
    fn certificates_are_refused_for_a_reason() {
        let issued: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let refused = |spec: AgentSpec, instance: &str| spec.refuses(instance, "0a", issued);
        assert_eq!(refused(spec(|_| ()), "i1"), None);
        assert!(refused(spec(|_| ()), "i2").is_some());
        assert!(refused(spec(|agent| agent.set(&["spec", "suspended"], true)), "i1").is_some());
        assert!(
            refused(spec(|agent| agent.set(&["spec", "revokedSerials"], vec!["0a".into()])), "i1")
                .is_some()
        );
        assert!(
            refused(
                spec(|agent| agent.set(&["spec", "revokedBefore"], "2026-01-03T00:00:00Z")),
                "i1"
            )
            .is_some()
        );
        assert_eq!(
            refused(
                spec(|agent| agent.set(&["spec", "revokedBefore"], "2026-01-01T00:00:00Z")),
                "i1"
            ),
            None
        );
    }

    #[test]
    fn what_an_agent_may_offer_and_call() {
        let offers = |allow: &[&str]| {
            let allow: Value = allow.iter().copied().collect();
            spec(|agent| agent.set(&["spec", "services", "allow"], allow))
        };
        for (allow, kind, name, expected) in [
            (&["*"][..], "http", "ci", true),
            (&[], "http", "ci", false),
            (&["jenkins/*"], "jenkins", "ci", true),
            (&["jenkins/*"], "http", "ci", false),
            (&["*/ci", "tcp/db-*"], "tcp", "db-orders", true),
            (&["*/ci", "tcp/db-*"], "tcp", "orders", false),
            (&["http"], "http", "ci", false),
        ] {
            assert_eq!(offers(allow).may_offer(kind, name), expected, "{allow:?} {kind}/{name}");
        }
        let calls = spec(|agent| {
            let one = object! {"type": "front50", "name": "front50"};
            agent.set(&["spec", "incoming"], vec![one]);
        });
        assert!(calls.may_call("front50", "front50") && !calls.may_call("front50", "other"));
    }

    #[test]
    fn who_keeps_to_one_instance() {
        for (mode, header, expected) in [
            ("none", "X-Session", Affinity::None),
            ("client", "", Affinity::Client),
            ("header", "X-Session", Affinity::Header("x-session".into())),
            ("header", "", Affinity::None),
        ] {
            let agent = spec(|agent| {
                agent.set(&["spec", "affinity"], object! {"mode": mode, "header": header});
            });
            assert_eq!(agent.affinity, expected, "{mode} {header}");
        }
    }

    #[test]
    fn the_life_of_certificates_is_bounded() {
        let ttl =
            |text: &str| spec(|agent| agent.set(&["spec", "certificateTTL"], text)).certificate_ttl;
        assert_eq!(ttl("2h"), Duration::from_secs(7200));
        assert_eq!(ttl("1s"), TTL_MIN);
        assert_eq!(ttl("90d"), TTL_MAX);
        assert_eq!(spec(|_| ()).certificate_ttl, TTL_DEFAULT);
    }

    #[test]
    fn instances_and_conditions_change_in_place() {
        let mut agent = Value::object();
        set_instance(&mut agent, "a", &[("state", "Ready".into())]);
        set_instance(&mut agent, "a", &[("state", "Lost".into())]);
        set_instance(&mut agent, "b", &[]);
        assert_eq!(agent.array_at(&["status", "instances"]).len(), 2);
        set_condition(&mut agent, "Connected", ("True", "Reported", ""), "t1");
        set_condition(&mut agent, "Connected", ("True", "Reported", ""), "t2");
        assert_eq!(
            agent.array_at(&["status", "conditions"])[0].str_at(&["lastTransitionTime"]),
            Some("t1")
        );
    }
}
