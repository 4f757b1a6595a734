//! Agents that stopped reporting, and installations that cannot come back.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::json::Value;
use strait_runtime::Shutdown;
use strait_store::{Key, Scope};
use strait_types::{Report, is_dns1123_label};

use super::RENEW_GRACE;
use super::conditions::observe;
use crate::agents::{Agents, revoked_serials, set_condition};
use crate::places::leaves;
use crate::seen::LastSeen;

/// How often agents are looked at; a lost one shows at most this much late.
const EVERY: Duration = Duration::from_secs(5);

/// Where a RequestClassView says when its class was last said to be there.
pub(super) const LAST_SEEN: [&str; 2] = ["availability", "lastSeen"];

/// Marks instances that have not reported lately as lost, or as ended if they said that they drain,
/// and what they ran as not available, until `stop`.
pub async fn watch_presence(agents: Agents, stop: Shutdown) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            _ = ticks.tick() => {}
        }
        look_at_agents(&agents).await;
        look_at_views(&agents).await;
    }
}

async fn look_at_agents(agents: &Agents) {
    let registry = &agents.system.registry;
    let now = registry.clock().now();
    let snapshot = registry.store().snapshot(&agents.resource);
    let mut there = HashSet::new();
    for (cluster, name, object) in snapshot.iter(&Scope::All) {
        let mut value = object.to_value();
        let seen = agents.last_seen((cluster, name.name()), &value);
        there.extend(instances(&value).map(|id| (cluster.clone(), name.name().to_owned(), id)));
        let lost = mark_lost(&mut value, &seen, &registry.timestamp());
        let gone = forget_gone(&mut value, now);
        if !observe(&mut value, now) && !gone && !lost {
            continue;
        }
        let key = agents.key(cluster, name.name());
        if let Err(error) = registry.replace_stored(&key, object, &value, Vec::new()).await {
            tracing::warn!(err = %Report(&error), agent = name.name(), "an agent's state cannot be shown");
        }
    }
    agents.seen.keep(&there, registry.clock());
}

fn instances(agent: &Value) -> impl Iterator<Item = String> {
    let listed = agent.array_at(&["status", "instances"]).iter();
    listed.filter_map(|own| own.str_at(&["id"]).map(str::to_owned))
}

/// Says of the classes of agents that are not there that they are not available. An agent that
/// comes back says so itself.
async fn look_at_views(agents: &Agents) {
    let registry = &agents.system.registry;
    let snapshot = registry.store().snapshot(&agents.views);
    for (cluster, name, object) in snapshot.iter(&Scope::All) {
        let mut value = object.to_value();
        let agent = value.str_at(&["agent"]).unwrap_or_default();
        let agent = Some(agent).filter(|agent| is_dns1123_label(agent));
        let agent = agent.and_then(|agent| Some(agents.find(cluster, agent)?.to_value()));
        let is_there = agent.as_ref().is_some_and(is_connected);
        let available = ["availability", "available"];
        if is_there || value.at(&available).and_then(Value::as_bool) != Some(true) {
            continue;
        }
        value.set(&available, false);
        // Both are of the hub's clock, in one form: the later one is the greater.
        let known = value.str_at(&LAST_SEEN).map(str::to_owned);
        let seen = agent.as_ref().and_then(last_seen).filter(|seen| known.as_ref() < Some(seen));
        if let Some(seen) = seen {
            value.set(&LAST_SEEN, seen);
        }
        let key = Key::new(agents.views.clone(), cluster.clone(), name.clone());
        if let Err(error) = registry.replace_stored(&key, object, &value, Vec::new()).await {
            tracing::warn!(err = %Report(&error), view = name.name(), "a class cannot be marked as not available");
        }
    }
}

/// When any of its instances was.
fn last_seen(agent: &Value) -> Option<String> {
    let all = agent.array_at(&["status", "instances"]).iter();
    all.filter_map(|own| own.str_at(&["lastSeen"])).max().map(str::to_owned)
}

fn is_connected(agent: &Value) -> bool {
    let conditions = agent.array_at(&["status", "conditions"]);
    let connected = conditions.iter().find(|own| own.str_at(&["type"]) == Some("Connected"));
    connected.is_some_and(|own| own.str_at(&["status"]) == Some("True"))
}

/// Drops installations whose certificate ended too long ago to be renewed: their places are free
/// for others. Returns whether anything changed.
fn forget_gone(agent: &mut Value, now: Timestamp) -> bool {
    let revoked = revoked_serials(agent);
    let instances = agent.make_object().object_mut("status").get_mut("instances");
    let Some(Value::Array(instances)) = instances else {
        return false;
    };
    let before = instances.len();
    instances.retain(|instance| {
        let end = instance.str_at(&["certificate", "notAfter"]);
        let end = end.and_then(|text| text.parse::<Timestamp>().ok());
        let grace = if leaves(instance, &revoked) { Duration::ZERO } else { RENEW_GRACE };
        end.is_none_or(|end| end + grace >= now)
    });
    instances.len() < before
}

/// Marks what was not heard of; returns whether anything changed.
fn mark_lost(agent: &mut Value, seen: &LastSeen, now: &str) -> bool {
    let mut changed = false;
    let mut present = false;
    if let Some(Value::Array(instances)) =
        agent.make_object().object_mut("status").get_mut("instances")
    {
        for instance in instances {
            let state = instance.str_at(&["state"]).unwrap_or_default();
            let gone = match state {
                "Ready" => "Lost",
                // It said so.
                "Draining" => "Ended",
                _ => continue,
            };
            // What is connected needs not report.
            let connected = instance.at(&["connections"]).and_then(Value::as_i64) > Some(0);
            let id = instance.str_at(&["id"]).unwrap_or_default().to_owned();
            if !connected && seen.is_silent(&id) {
                instance.set(&["state"], gone);
                if let Some(text) = seen.text(&id) {
                    instance.set(&["lastSeen"], text);
                }
                changed = true;
            } else {
                present = true;
            }
        }
    }
    if changed && !present {
        set_condition(agent, "Connected", ("False", "Silent", "no instance reported lately"), now);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::{Heard, Sign};
    use strait_machinery::object;

    /// Each heard of so many seconds ago, by a hub that is there for a minute.
    fn seen(heard: &[(&str, u64)]) -> LastSeen {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let heard = heard.iter().map(|(id, seconds)| {
            let silence = Duration::from_secs(*seconds);
            let sign = Sign::Reported;
            let heard = Heard { silence, at: now - silence, sign, connected: false };
            ((*id).to_owned(), heard)
        });
        LastSeen { since_start: Duration::from_secs(60), heard: heard.collect() }
    }

    #[test]
    fn silence_is_noticed_once() {
        let mut agent = object! {"status": object!{"instances": vec![
            object!{"id": "a", "state": "Ready", "lastSeen": "2025-12-31T23:59:00Z"},
            object!{"id": "b", "state": "Draining"},
        ]}};
        let (first, later) = (seen(&[("a", 45), ("b", 5)]), seen(&[("a", 75), ("b", 35)]));
        assert!(mark_lost(&mut agent, &first, "t"));
        let [a, b] = agent.array_at(&["status", "instances"]) else { panic!("{agent}") };
        assert_eq!((a.str_at(&["state"]), b.str_at(&["state"])), (Some("Lost"), Some("Draining")));
        assert_eq!(a.str_at(&["lastSeen"]), Some("2026-01-01T00:00:15Z"));
        assert!(agent.array_at(&["status", "conditions"]).is_empty());
        assert!(!mark_lost(&mut agent, &first, "t"));
        assert!(mark_lost(&mut agent, &later, "t"));
        let b = &agent.array_at(&["status", "instances"])[1];
        assert_eq!(b.str_at(&["state"]), Some("Ended"));
        assert_eq!(agent.array_at(&["status", "conditions"])[0].str_at(&["status"]), Some("False"));
    }

    #[test]
    fn a_hub_that_starts_believes_no_stored_time_and_waits() {
        let mut agent = object! {"status": object!{"instances": vec![
            object!{"id": "a", "state": "Ready", "lastSeen": "2026-01-01T00:00:59Z"},
        ]}};
        assert!(!mark_lost(&mut agent, &LastSeen::default(), "t"));
        assert!(mark_lost(&mut agent, &seen(&[]), "t"));
        let a = &agent.array_at(&["status", "instances"])[0];
        assert_eq!(a.str_at(&["lastSeen"]), Some("2026-01-01T00:00:59Z"));
        // What is lost does not return by itself.
        assert!(!mark_lost(&mut agent, &LastSeen::default(), "t"));
    }

    #[test]
    fn who_is_connected_needs_not_report() {
        for (connections, lost) in [(1, false), (0, true)] {
            let mut agent = object! {"status": object!{"instances": vec![
                object!{"id": "a", "state": "Ready", "connections": connections},
            ]}};
            assert_eq!(mark_lost(&mut agent, &seen(&[]), "t"), lost);
        }
    }

    #[test]
    fn an_installation_that_cannot_renew_gives_its_place_back() {
        let instance = |id: &str, end: &str| {
            object! {"id": id, "certificate": object!{"notAfter": end}}
        };
        let mut agent = object! {"status": object!{"instances": vec![
            instance("gone", "2026-01-01T00:00:00Z"),
            instance("late", "2026-01-02T00:00:00Z"),
            object! {
                "id": "ephemeral",
                "ephemeral": true,
                "certificate": object!{"notAfter": "2026-01-08T00:00:00Z"},
            },
            object! {
                "id": "revoked",
                "ephemeral": true,
                "certificate": object!{"notAfter": "2026-01-08T00:00:00Z", "serial": "0a"},
            },
            object!{"id": "joining"},
        ]}};
        agent.set(&["spec", "revokedSerials"], Value::from(vec!["0a".into()]));
        let now: Timestamp = "2026-01-08T12:00:00Z".parse().unwrap();
        assert!(forget_gone(&mut agent, now));
        let left: Vec<_> = agent.array_at(&["status", "instances"]).iter().collect();
        assert_eq!(
            left.iter().filter_map(|i| i.str_at(&["id"])).collect::<Vec<_>>(),
            ["late", "revoked", "joining"]
        );
        assert!(!forget_gone(&mut agent, now));
    }
}
