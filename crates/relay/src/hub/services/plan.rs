//! From what an agent's instances announce, and what is stored, to what must be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_machinery::object;

use crate::agents::set_condition;
use crate::link::control::{Announced, Unreached};

/// How long a service that nobody offers any more is kept, if people did not close or limit it.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Label with a service's type.
const TYPE_LABEL: &str = "strait.dev/type";

/// What an agent is, as far as its services are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
}

/// What one instance announces of a service.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) instance: String,
    /// Grows with each configuration that the hub learns.
    pub(super) number: u64,
    pub(super) offer: Arc<Announced>,
}

/// What is seen of an agent.
pub(super) struct Seen<'a> {
    /// None where it is no more.
    pub(super) owner: Option<Owner<'a>>,
    /// Whether any instance is connected.
    pub(super) is_connected: bool,
    /// What is offered and allowed, by name, each at least once.
    pub(super) offers: BTreeMap<String, Vec<Given>>,
    pub(super) now: Timestamp,
}

/// A write that makes stored what is seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// There is none: type, spec and status; the server's metadata is missing.
    Create(String, Value),
    /// It differs.
    Replace(String, Value),
    /// It is over.
    Delete(String),
}

impl Write {
    /// The name of the Service object.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Create(name, _) | Self::Replace(name, _) | Self::Delete(name) => name,
        }
    }
}

/// The writes for one agent. `existing` are its Service objects by name.
pub(super) fn plan(seen: &Seen<'_>, existing: &BTreeMap<String, Value>) -> Vec<Write> {
    let Some(owner) = seen.owner else {
        let orphans = existing.iter().filter(|(_, service)| owner_of(service).is_some());
        return orphans.map(|(name, _)| Write::Delete(name.clone())).collect();
    };
    let object_name = |service: &str| format!("{service}.{}", owner.name);
    let mut writes = Vec::new();
    for (service, announced) in &seen.offers {
        let name = object_name(service);
        match existing.get(&name) {
            // Of an earlier Agent of the same name: what people said of that is not said of this.
            Some(old) if owner_of(old).is_some_and(|uid| uid != owner.uid) => {
                writes.push(Write::Delete(name));
            }
            Some(old) => {
                let mut value = old.clone();
                offered(&mut value, owner, announced, seen.now);
                if value != *old {
                    writes.push(Write::Replace(name, value));
                }
            }
            None => {
                let mut value = new_service(service, owner);
                offered(&mut value, owner, announced, seen.now);
                writes.push(Write::Create(name, value));
            }
        }
    }
    let announced: BTreeSet<String> = seen.offers.keys().map(|name| object_name(name)).collect();
    let withdrawn = existing.iter().filter(|(name, _)| !announced.contains(*name));
    writes.extend(withdrawn.filter_map(|(name, old)| withdraw(name, old, owner, seen)));
    writes
}

/// The uid of the Agent that a service is made for, if it was made for one.
pub(super) fn owner_of(service: &Value) -> Option<&str> {
    let owners = service.array_at(&["metadata", "ownerReferences"]);
    owners.iter().find(|own| own.str_at(&["kind"]) == Some("Agent"))?.str_at(&["uid"])
}

/// Whether people closed an agent's service, or limited it: made anew it would be open.
pub(in crate::hub) fn is_restricted(service: &Value) -> bool {
    let limits = ["concurrent", "requestsPerSecond", "maxBody"];
    let is_limited =
        |limit| service.at(&["spec", "limits", limit]).is_some_and(|own| *own != 0.into());
    let is_closed = service.at(&["spec", "exposure", "path"]) == Some(&false.into());
    owner_of(service).is_some() && (is_closed || limits.into_iter().any(is_limited))
}

fn new_service(service: &str, owner: Owner<'_>) -> Value {
    object! {
        "apiVersion": "relay.strait.dev/v1alpha1",
        "kind": "Service",
        "metadata": object! {"generation": 1},
        "spec": object! {
            "agent": owner.name,
            "name": service,
            "exposure": object! {"path": true, "raw": false},
            "limits": object! {"concurrent": 0, "requestsPerSecond": 0, "maxBody": 0},
        },
    }
}

/// Says of a service what is announced. People's part of it stays as it is.
fn offered(service: &mut Value, owner: Owner<'_>, announced: &[Given], now: Timestamp) {
    let Some(newest) = announced.iter().max_by_key(|one| one.number) else { return };
    let offer = &newest.offer;
    let reference = object! {
        "apiVersion": "relay.strait.dev/v1alpha1",
        "kind": "Agent",
        "name": owner.name,
        "uid": owner.uid,
        "controller": true,
    };
    service.set(&["metadata", "ownerReferences"], vec![reference]);
    service.set(&["metadata", "labels", TYPE_LABEL], offer.r#type.as_str());
    if service.str_at(&["spec", "type"]) != Some(&offer.r#type) {
        let generation = service.at(&["metadata", "generation"]).and_then(Value::as_i64);
        if service.at(&["spec", "type"]).is_some() {
            service.set(&["metadata", "generation"], generation.unwrap_or(0) + 1);
        }
        service.set(&["spec", "type"], offer.r#type.as_str());
    }
    let texts = |all: &[String]| all.iter().map(String::as_str).collect::<Value>();
    let instances: BTreeSet<&str> = announced.iter().map(|one| &*one.instance).collect();
    service.set(&["status", "instances"], instances.into_iter().collect::<Value>());
    service.set(&["status", "protocols"], texts(&offer.protocols));
    service.set(&["status", "methods"], texts(&offer.methods));
    service.set(&["status", "paths"], texts(&offer.paths));
    let annotations = offer.annotations.iter().map(|(key, value)| (&**key, &**value));
    let annotations: strait_machinery::json::Map = annotations.collect();
    service.set(&["status", "annotations"], annotations);

    let same = |one: &&Given| one.offer.hash == offer.hash;
    let disagree = announced.iter().any(|one| !same(&one));
    let ready = announced.iter().filter(same).filter(|one| one.offer.ready).count();
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let out = out_of_reach(announced);
    let (reason, why) = out.as_ref().map_or(("NotReady", ""), |(reason, why)| (*reason, &**why));
    let none_reaches = format!("no instance of the agent can reach it{why}");
    let one_does_not = format!("an instance cannot reach it{why}; its log says more");
    let available = match ready {
        0 => ("False", "NotReady", &*none_reaches),
        _ => ("True", "Ready", ""),
    };
    let degraded = if disagree {
        let why = "instances disagree: requests go to the newest configuration only";
        ("True", "InstancesDisagree", why)
    } else if out.is_some() {
        ("True", reason, &*one_does_not)
    } else {
        ("False", "Agreed", "")
    };
    set_condition(service, "Announced", ("True", "Announced", ""), &now);
    set_condition(service, "Available", available, &now);
    set_condition(service, "Degraded", degraded, &now);
}

/// Why instances cannot reach a service: a reason, and `: ` with words where any says why; none
/// where all can. Of what an agent says nothing but the class gets here.
fn out_of_reach(announced: &[Given]) -> Option<(&'static str, String)> {
    let mut out = announced.iter().filter(|one| !one.offer.ready).peekable();
    out.peek()?;
    let classes: BTreeSet<Unreached> = out.filter_map(|one| one.offer.unreached).collect();
    let reason = match (classes.first(), classes.len()) {
        (Some(one), 1) => one.as_str(),
        _ => "NotReady",
    };
    let words: Vec<&str> = classes.iter().map(|one| one.text()).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    Some((reason, format!("{colon}{}", words.join(", "))))
}

/// What becomes of a service that nobody offers.
fn withdraw(name: &str, old: &Value, owner: Owner<'_>, seen: &Seen<'_>) -> Option<Write> {
    let own = owner_of(old)?;
    if own != owner.uid || !is_kept(old, seen.now) {
        return Some(Write::Delete(name.to_owned()));
    }
    let (reason, why) = if seen.is_connected {
        ("Withdrawn", format!("agent {} is connected and does not offer it", owner.name))
    } else {
        ("AgentOffline", format!("no instance of agent {} is connected", owner.name))
    };
    let mut value = old.clone();
    let now = seen.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    value.set(&["status", "instances"], Vec::<Value>::new());
    set_condition(&mut value, "Announced", ("False", reason, &why), &now);
    set_condition(&mut value, "Available", ("False", reason, &why), &now);
    set_condition(&mut value, "Degraded", ("False", reason, ""), &now);
    (value != *old).then(|| Write::Replace(name.to_owned(), value))
}

/// Whether a service that nobody offers is still kept.
fn is_kept(service: &Value, now: Timestamp) -> bool {
    if is_restricted(service) {
        return true;
    }
    let conditions = service.array_at(&["status", "conditions"]).iter();
    let mut announced = conditions.filter(|own| own.str_at(&["type"]) == Some("Announced"));
    let Some(announced) = announced.next() else { return true };
    if announced.str_at(&["status"]) == Some("True") {
        return true;
    }
    let since = announced.str_at(&["lastTransitionTime"]).and_then(|at| at.parse().ok());
    since.is_none_or(|since: Timestamp| {
        Duration::try_from(now.duration_since(since)).unwrap_or_default() < KEPT_FOR
    })
}

#[cfg(test)]
mod tests {
    use super::super::offer::tests::offer;
    use super::*;

    const SMITH: Owner<'static> = Owner { name: "smith", uid: "u1" };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn one(instance: &str, number: u64, change: impl FnOnce(&mut Announced)) -> Given {
        Given { instance: instance.into(), number, offer: Arc::new(offer("ci", change)) }
    }

    fn seen(announced: Vec<Given>) -> Seen<'static> {
        let offers = if announced.is_empty() {
            BTreeMap::new()
        } else {
            BTreeMap::from([("ci".to_owned(), announced)])
        };
        let now = at("2026-01-01T12:00:00Z");
        Seen { owner: Some(SMITH), is_connected: true, offers, now }
    }

    fn stored(value: Value) -> BTreeMap<String, Value> {
        BTreeMap::from([("ci.smith".to_owned(), value)])
    }

    fn written(writes: &[Write]) -> Value {
        match writes {
            [Write::Create(name, value) | Write::Replace(name, value)] => {
                assert_eq!(name, "ci.smith");
                value.clone()
            }
            other => panic!("{other:?}"),
        }
    }

    fn made() -> Value {
        written(&plan(&seen(vec![one("i1", 1, |_| ())]), &BTreeMap::new()))
    }

    /// `Announced Available Degraded`, with the reason of the last two.
    fn conditions(service: &Value) -> String {
        let of = |kind: &str| {
            let all = service.array_at(&["status", "conditions"]);
            let own = all.iter().find(|own| own.str_at(&["type"]) == Some(kind)).unwrap();
            (own.str_at(&["status"]).unwrap(), own.str_at(&["reason"]).unwrap())
        };
        let (announced, available, degraded) = (of("Announced"), of("Available"), of("Degraded"));
        format!("{} {}/{} {}/{}", announced.0, available.0, available.1, degraded.0, degraded.1)
    }

    #[test]
    fn conditions_follow_from_what_instances_say() {
        let unready = |offer: &mut Announced| offer.ready = false;
        let refused = |offer: &mut Announced| {
            (offer.ready, offer.unreached) = (false, Some(Unreached::ConnectionRefused));
        };
        let late = |offer: &mut Announced| {
            (offer.ready, offer.unreached) = (false, Some(Unreached::TimedOut));
        };
        // It is reached now, whatever was wrong before.
        let back = |offer: &mut Announced| offer.unreached = Some(Unreached::TimedOut);
        let other = |offer: &mut Announced| offer.hash = "h2".into();
        let other_unready =
            |offer: &mut Announced| (offer.hash, offer.ready) = ("h2".into(), false);
        for (announced, expected) in [
            (vec![one("i1", 1, |_| ())], "True True/Ready False/Agreed"),
            (vec![one("i1", 1, unready)], "True False/NotReady True/NotReady"),
            (vec![one("i1", 1, |_| ()), one("i2", 1, unready)], "True True/Ready True/NotReady"),
            (vec![one("i1", 1, refused)], "True False/NotReady True/ConnectionRefused"),
            (
                vec![one("i1", 1, refused), one("i2", 1, unready), one("i3", 1, |_| ())],
                "True True/Ready True/ConnectionRefused",
            ),
            (vec![one("i1", 1, late), one("i2", 1, refused)], "True False/NotReady True/NotReady"),
            (vec![one("i1", 1, back)], "True True/Ready False/Agreed"),
            (
                vec![one("i1", 1, |_| ()), one("i2", 2, other)],
                "True True/Ready True/InstancesDisagree",
            ),
            // Only the newest configuration counts.
            (
                vec![one("i1", 1, |_| ()), one("i2", 2, other_unready)],
                "True False/NotReady True/InstancesDisagree",
            ),
        ] {
            let value = written(&plan(&seen(announced.clone()), &BTreeMap::new()));
            assert_eq!(conditions(&value), expected, "{announced:?}");
            // What is so is not written again.
            assert_eq!(plan(&seen(announced), &stored(value)), []);
        }
        let offline = Seen { is_connected: false, ..seen(Vec::new()) };
        let gone = written(&plan(&offline, &stored(made())));
        assert_eq!(conditions(&gone), "False False/AgentOffline False/AgentOffline");
        let withdrawn = written(&plan(&seen(Vec::new()), &stored(made())));
        assert_eq!(conditions(&withdrawn), "False False/Withdrawn False/Withdrawn");
    }

    #[test]
    fn a_degraded_service_says_why_in_words_of_the_hub() {
        let text =
            r#"{"name":"ci","type":"jenkins","hash":"h1","unreached":"10.0.0.7: \u001b[31m"}"#;
        let hostile: Announced = serde_json::from_str(text).unwrap();
        for (why, expected) in [
            (Some(Unreached::NameNotFound), "its name is not found; its log says more"),
            (hostile.unreached, "the connection fails; its log says more"),
        ] {
            let given = one("i1", 1, |offer| (offer.ready, offer.unreached) = (false, why));
            let value = written(&plan(&seen(vec![given]), &BTreeMap::new()));
            let all = value.array_at(&["status", "conditions"]);
            let own = all.iter().find(|own| own.str_at(&["type"]) == Some("Degraded")).unwrap();
            let told = format!("an instance cannot reach it: {expected}");
            assert_eq!(own.str_at(&["message"]), Some(&*told));
            assert!(!value.to_string().contains("10.0.0.7"));
        }
    }

    #[test]
    fn an_object_says_what_was_announced_and_keeps_what_people_said() {
        let value = made();
        for (path, expected) in [
            (&["spec", "agent"][..], "smith"),
            (&["spec", "name"], "ci"),
            (&["spec", "type"], "jenkins"),
            (&["metadata", "labels", TYPE_LABEL], "jenkins"),
            (&["status", "annotations", "description"], "build"),
        ] {
            assert_eq!(value.str_at(path), Some(expected), "{path:?}");
        }
        assert_eq!(owner_of(&value), Some("u1"));
        let mut exposed = value;
        exposed.set(&["spec", "exposure", "raw"], true);
        exposed.set(&["spec", "limits", "concurrent"], 3);
        exposed.set(&["metadata", "annotations", "mine"], "kept");
        let changed = vec![one("i2", 2, |offer| {
            offer.r#type = "http".into();
            offer.paths = Vec::new();
        })];
        let value = written(&plan(&seen(changed), &stored(exposed.clone())));
        assert_eq!(value.at(&["spec", "exposure"]), exposed.at(&["spec", "exposure"]));
        assert_eq!(value.at(&["spec", "limits"]), exposed.at(&["spec", "limits"]));
        assert_eq!(value.str_at(&["metadata", "annotations", "mine"]), Some("kept"));
        assert_eq!(value.str_at(&["spec", "type"]), Some("http"));
        assert_eq!(value.at(&["metadata", "generation"]), Some(&2.into()));
        assert_eq!(value.array_at(&["status", "instances"]), [Value::from("i2")]);
        assert!(value.array_at(&["status", "paths"]).is_empty());
    }

    #[test]
    fn a_service_outlives_its_agent_by_no_moment_and_its_announcement_by_a_day() {
        let withdrawn = written(&plan(&seen(Vec::new()), &stored(made())));
        let delete = [Write::Delete("ci.smith".into())];
        let nobody = || seen(Vec::new());
        let day = |text: &str| Seen { now: at(text), ..nobody() };
        let anew = Some(Owner { uid: "u2", ..SMITH });
        for (seen, old, expected) in [
            (day("2026-01-02T11:59:59Z"), withdrawn.clone(), &[][..]),
            (day("2026-01-02T12:00:00Z"), withdrawn, &delete),
            (Seen { owner: None, ..nobody() }, made(), &delete),
            (Seen { owner: anew, ..nobody() }, made(), &delete),
            (Seen { owner: anew, ..seen(vec![one("i1", 1, |_| ())]) }, made(), &delete),
        ] {
            assert_eq!(plan(&seen, &stored(old)), expected);
        }
        // What people closed or limited would be open once it is offered again.
        for (field, said) in [("exposure", "path"), ("limits", "concurrent"), ("limits", "maxBody")]
        {
            let mut old = written(&plan(&seen(Vec::new()), &stored(made())));
            assert!(!is_restricted(&old));
            let value: Value = if field == "exposure" { false.into() } else { 1.into() };
            old.set(&["spec", field, said], value);
            assert_eq!(plan(&day("2027-01-01T00:00:00Z"), &stored(old.clone())), [], "{said}");
            assert_eq!(plan(&Seen { owner: None, ..nobody() }, &stored(old)), delete);
        }
        // The hub's own services belong to no agent.
        let mut own = made();
        own.set(&["metadata", "ownerReferences"], Vec::<Value>::new());
        assert_eq!(plan(&Seen { owner: None, ..nobody() }, &stored(own.clone())), []);
        assert_eq!(plan(&nobody(), &stored(own)), []);
    }
}
