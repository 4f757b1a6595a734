//! The connections that agents keep to this hub, in the agents' status.
//!
//! [`Connections`] is told of connections and returns at once; a task of its own writes. An agent's
//! status is written at most once in [`WRITE_EVERY`], so what changed shows within two of those.
//! What is written follows from what is connected, so a restart, which begins with nothing
//! connected, takes the connections back that the last process left behind. Their instances stay
//! what they were for as long as they may be on their way.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use strait_machinery::json::Value;
use strait_pki::AgentIdentity;
use strait_runtime::Shutdown;
use strait_store::Scope;
use strait_types::{ClusterName, HubId, Report};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::conditions::show_rejected;
use super::services::AgentKey;
use super::tunnels::Connected;
use crate::agents::{Agents, set_condition, set_instance};
use crate::link::control::shown;
use crate::seen::{LastSeen, Sign};
use crate::services::Rejected;

/// The shortest time between two writes of one agent's status.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// When a write that failed, or met another, is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The connections of agents to this hub.
pub struct Connections {
    agents: Agents,
    hub: HubId,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    agents: HashMap<AgentKey, Known>,
    due: HashMap<AgentKey, Instant>,
    /// When a status was last written, for as long as that matters.
    written: HashMap<AgentKey, Instant>,
}

/// What is known of an agent.
#[derive(Clone, Debug, Default)]
struct Known {
    instances: BTreeMap<String, Seen>,
    services: Option<usize>,
}

/// An instance with at least one connection.
#[derive(Clone, Debug)]
struct Seen {
    connections: usize,
    address: IpAddr,
    version: String,
    host: String,
    round_trip: Option<Duration>,
    /// Whether it goes by its newest configuration, once it has said so.
    config: Option<Result<(), Rejected>>,
}

impl Connections {
    /// Begins with nothing connected.
    #[must_use]
    pub fn new(agents: Agents, hub: HubId) -> Self {
        Self { agents, hub, state: Mutex::default(), wake: Notify::new() }
    }

    /// An instance has a connection more. Does not block.
    pub(super) fn connected(&self, member: &AgentIdentity, connection: &Connected) {
        self.heard(member, Sign::Connected);
        self.change(member.cluster(), member.name(), |known| {
            let before = known.instances.get(member.instance().as_str());
            let seen = Seen {
                connections: connection.count,
                address: connection.peer.ip(),
                version: connection.version.clone(),
                host: connection.host.clone(),
                round_trip: before.and_then(|seen| seen.round_trip),
                config: before.and_then(|seen| seen.config.clone()),
            };
            known.instances.insert(member.instance().to_string(), seen);
        });
    }

    /// How long a round trip takes. The first one shows at once, others with the next change.
    /// Does not block.
    pub(super) fn round_trip(&self, member: &AgentIdentity, took: Duration) {
        let key = (member.cluster().clone(), member.name().to_owned());
        let mut state = self.state.lock();
        let known = state.agents.get_mut(&key);
        let seen = known.and_then(|known| known.instances.get_mut(member.instance().as_str()));
        let is_first = seen.is_some_and(|seen| seen.round_trip.replace(took).is_none());
        drop(state);
        if is_first {
            self.look_at(key, Instant::now());
        }
    }

    /// An instance has a connection less, and so many left. Does not block.
    pub(super) fn disconnected(&self, member: &AgentIdentity, left: usize) {
        self.heard(member, if left == 0 { Sign::Went } else { Sign::Connected });
        self.change(member.cluster(), member.name(), |known| {
            let instance = member.instance().as_str();
            if left == 0 {
                known.instances.remove(instance);
            } else if let Some(seen) = known.instances.get_mut(instance) {
                seen.connections = left;
            }
        });
    }

    /// An instance says whether it goes by its configuration. Does not block.
    pub(super) fn rejects(&self, member: &AgentIdentity, rejected: Option<Rejected>) {
        let rejected = rejected.map(|own| Rejected { file: shown(&own.file), ..own });
        let config = rejected.map_or(Ok(()), Err);
        self.change(member.cluster(), member.name(), |known| {
            if let Some(seen) = known.instances.get_mut(member.instance().as_str()) {
                seen.config = Some(config);
            }
        });
    }

    fn heard(&self, member: &AgentIdentity, sign: Sign) {
        let who = (member.cluster(), member.name());
        self.agents.heard(who, member.instance().as_str(), sign);
    }

    /// How many services an agent offers.
    pub(super) fn observed(&self, cluster: &ClusterName, agent: &str, services: usize) {
        let key = (cluster.clone(), agent.to_owned());
        let known = self.state.lock().agents.get(&key).and_then(|known| known.services);
        if known != Some(services) {
            self.change(cluster, agent, |known| known.services = Some(services));
        }
    }

    fn change(&self, cluster: &ClusterName, agent: &str, change: impl FnOnce(&mut Known)) {
        let key = (cluster.clone(), agent.to_owned());
        change(self.state.lock().agents.entry(key.clone()).or_default());
        self.look_at(key, Instant::now());
    }

    fn look_at(&self, key: AgentKey, at: Instant) {
        let mut state = self.state.lock();
        let due = state.due.entry(key).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.wake.notify_one();
    }

    /// Keeps the status of agents as what is connected, until `stop`.
    pub async fn run(self: Arc<Self>, stop: Shutdown) {
        // What another process was connected to.
        let snapshot = self.agents.system.registry.store().snapshot(&self.agents.resource);
        for (cluster, name, _) in snapshot.iter(&Scope::All) {
            self.look_at((cluster.clone(), name.name().to_owned()), Instant::now());
        }
        drop(snapshot);
        tokio::select! {
            () = stop.asked() => {}
            () = self.work() => {}
        }
    }

    async fn work(&self) {
        loop {
            let next = {
                let state = self.state.lock();
                let first = state.due.iter().min_by_key(|(_, at)| **at);
                first.map(|(key, at)| (key.clone(), *at))
            };
            match next {
                Some((key, at)) if at <= Instant::now() => self.write(key).await,
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

    async fn write(&self, key: AgentKey) {
        let now = Instant::now();
        let known = {
            let mut state = self.state.lock();
            state.due.remove(&key);
            state.written.retain(|_, at| *at + WRITE_EVERY > now);
            if let Some(at) = state.written.get(&key).copied() {
                state.due.insert(key, at + WRITE_EVERY);
                return;
            }
            state.agents.get(&key).cloned().unwrap_or_default()
        };
        let registry = &self.agents.system.registry;
        let Some(agent) = self.agents.find(&key.0, &key.1) else {
            self.forget(&key);
            return;
        };
        let old = agent.to_value();
        let mut value = old.clone();
        let seen = self.agents.last_seen((&key.0, &key.1), &value);
        show(&mut value, &known, &seen, (self.hub.as_str(), registry.clock().now()));
        if value == old {
            return self.forget(&key);
        }
        let path = self.agents.key(&key.0, &key.1);
        match registry.replace_stored(&path, &agent, &value, Vec::new()).await {
            Ok(Some(_)) => {
                self.state.lock().written.insert(key.clone(), now);
                self.forget(&key);
            }
            Ok(None) => self.look_at(key, now + RETRY),
            Err(error) => {
                tracing::warn!(err = %Report(&error), agent = key.1, "an agent's connections cannot be shown");
                self.look_at(key, now + RETRY);
            }
        }
    }

    /// Forgets an agent with nothing connected, once that shows.
    fn forget(&self, key: &AgentKey) {
        let mut state = self.state.lock();
        let is_over = state.agents.get(key).is_some_and(|known| known.instances.is_empty());
        if is_over && !state.due.contains_key(key) {
            state.agents.remove(key);
        }
    }
}

/// Says in an agent's status what is connected to this hub.
fn show(agent: &mut Value, known: &Known, seen: &LastSeen, (hub, now): (&str, Timestamp)) {
    let text = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let stored: Vec<Value> = agent.array_at(&["status", "instances"]).to_vec();
    for instance in &stored {
        let id = instance.str_at(&["id"]).unwrap_or_default();
        let was_here = connections(instance) > 0 && instance.str_at(&["hub"]) == Some(hub);
        if was_here && !known.instances.contains_key(id) {
            let state = match instance.str_at(&["state"]) {
                // It said that it drains: it ends with its last connection, unless it reported since.
                Some("Draining") if seen.is_there(id) => "Draining",
                Some("Draining" | "Ended") => "Ended",
                // It reports, or was connected to the process before this one: silence shows it lost.
                Some("Ready") if seen.is_there(id) || seen.may_return(id) => "Ready",
                _ => "Lost",
            };
            let mut changes = vec![("connections", 0.into()), ("state", state.into())];
            changes.extend(seen.text(id).map(|text| ("lastSeen", text.into())));
            set_instance(agent, id, &changes);
        }
    }
    for (id, own) in &known.instances {
        // One that never joined is not shown, nor one that gave its place back.
        let Some(before) = stored.iter().find(|one| one.str_at(&["id"]) == Some(id)) else {
            continue;
        };
        let count = i64::try_from(own.connections).unwrap_or(i64::MAX);
        let mut changes: Vec<(&str, Value)> = vec![
            ("hub", hub.into()),
            ("connections", count.into()),
            ("address", own.address.to_canonical().to_string().into()),
        ];
        for (key, said) in [("version", &own.version), ("host", &own.host)] {
            if !said.is_empty() {
                changes.push((key, said.as_str().into()));
            }
        }
        if let Some(round_trip) = own.round_trip {
            let millis = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX);
            changes.push(("rttMillis", millis.into()));
        }
        if connections(before) == 0 {
            changes.push(("lastSeen", text.as_str().into()));
            changes.push(("state", "Ready".into()));
        }
        set_instance(agent, id, &changes);
    }
    if let Some(services) = known.services {
        let services = i64::try_from(services).unwrap_or(i64::MAX);
        agent.set(&["status", "observedServices"], services);
    }
    show_connected(agent, &stored, &text);
    let rejected = known.instances.iter().filter_map(|(id, own)| {
        let why = own.config.as_ref()?.as_ref().err()?;
        Some((&**id, why))
    });
    let mut rejected = rejected.peekable();
    // Of one that is not connected, or says nothing yet, nobody knows that it is over.
    let all_say = known.instances.values().all(|own| own.config.is_some());
    if rejected.peek().is_some() || (all_say && !known.instances.is_empty()) {
        show_rejected(agent, rejected, &text);
    }
}

/// The condition changes where an instance did: other agents report over HTTPS alone.
pub(super) fn show_connected(agent: &mut Value, before: &[Value], now: &str) {
    let instances = agent.array_at(&["status", "instances"]);
    if instances == before {
        return;
    }
    let is_there = |one: &Value| matches!(one.str_at(&["state"]), Some("Ready" | "Draining"));
    let connected = instances.iter().any(is_there);
    let conditions = agent.array_at(&["status", "conditions"]).iter();
    let mut shown = conditions.filter(|own| own.str_at(&["type"]) == Some("Connected"));
    let is_shown = shown.next().and_then(|own| own.str_at(&["status"])) == Some("True");
    match (connected, is_shown) {
        (true, false) => {
            let why = ("True", "Connected", "an instance is connected");
            set_condition(agent, "Connected", why, now);
        }
        (false, _) => {
            let why = ("False", "Disconnected", "no instance is connected");
            set_condition(agent, "Connected", why, now);
        }
        (true, true) => {}
    }
}

fn connections(instance: &Value) -> i64 {
    instance.at(&["connections"]).and_then(Value::as_i64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::LOST_AFTER;
    use crate::seen::Heard;
    use strait_machinery::object;

    fn known(instances: &[(&str, usize)]) -> Known {
        let address = "192.0.2.7".parse().unwrap();
        let seen = |connections| Seen {
            connections,
            address,
            version: "0.3.0".into(),
            host: String::new(),
            round_trip: Some(Duration::from_millis(18)),
            config: Some(Ok(())),
        };
        let all = instances.iter().map(|(id, count)| ((*id).to_owned(), seen(*count)));
        Known { instances: all.collect(), services: Some(3) }
    }

    /// `id state connections` of each instance, and whether the agent is connected.
    fn shown(agent: &Value) -> String {
        let mut all: Vec<String> = Vec::new();
        for one in agent.array_at(&["status", "instances"]) {
            let text = |key| one.str_at(&[key]).unwrap_or("-");
            all.push(format!("{} {} {}", text("id"), text("state"), connections(one)));
        }
        let condition = agent.array_at(&["status", "conditions"]).first();
        let connected = condition.and_then(|own| own.str_at(&["status"])).unwrap_or("-");
        format!("{} {connected}", all.join(", "))
    }

    #[test]
    fn an_agents_status_follows_its_connections() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let seen = LastSeen { since_start: 2 * LOST_AFTER, ..LastSeen::default() };
        let mut agent = object! {"status": object! {"instances": vec![
            object! {"id": "a"},
            object! {"id": "b", "state": "Ready"},
        ]}};
        for (instances, expected) in [
            (&[("a", 2)][..], "a Ready 2, b Ready 0 True"),
            (&[("a", 1), ("stranger", 1)], "a Ready 1, b Ready 0 True"),
            (&[("a", 1), ("b", 1)], "a Ready 1, b Ready 1 True"),
            (&[("b", 1)], "a Lost 0, b Ready 1 True"),
            (&[], "a Lost 0, b Lost 0 False"),
            (&[("a", 1)], "a Ready 1, b Lost 0 True"),
        ] {
            show(&mut agent, &known(instances), &seen, ("h1", now));
            assert_eq!(shown(&agent), expected, "{instances:?}");
        }
        let a = &agent.array_at(&["status", "instances"])[0];
        assert_eq!(a.str_at(&["address"]), Some("192.0.2.7"));
        assert_eq!(a.at(&["rttMillis"]), Some(&18.into()));
        assert_eq!(agent.at(&["status", "observedServices"]), Some(&3.into()));
        // What is connected to another hub is that one's business.
        show(&mut agent, &Known::default(), &seen, ("h2", now));
        assert_eq!(shown(&agent), "a Ready 1, b Lost 0 True");
    }

    #[test]
    fn one_that_drains_has_ended_with_its_last_connection() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let heard = |sign| {
            let (silence, connected) = (Duration::from_secs(1), sign != Sign::Went);
            let heard = Heard { silence, at: now, sign, connected };
            LastSeen { heard: [("a".to_owned(), heard)].into(), ..LastSeen::default() }
        };
        for (state, left, seen, expected) in [
            ("Draining", 1, heard(Sign::Reported), "a Draining 1 True"),
            ("Draining", 0, heard(Sign::Went), "a Ended 0 False"),
            // It reported since: it has no connection, and something yet to do.
            ("Draining", 0, heard(Sign::Reported), "a Draining 0 True"),
            // The process before this one saw it drain.
            ("Draining", 0, LastSeen::default(), "a Ended 0 False"),
            // What it said came behind its last connection's end.
            ("Ended", 0, heard(Sign::Went), "a Ended 0 False"),
            // It was started again.
            ("Ended", 1, heard(Sign::Reported), "a Ready 1 True"),
        ] {
            let before = i64::from(left == 0 || state == "Draining");
            let one = object! {"id": "a", "state": state, "connections": before, "hub": "h1"};
            let condition = object! {"type": "Connected", "status": "True"};
            let mut agent = object! {"status": object! {
                "instances": vec![one], "conditions": vec![condition],
            }};
            let known = if left > 0 { known(&[("a", left)]) } else { Known::default() };
            show(&mut agent, &known, &seen, ("h1", now));
            assert_eq!(shown(&agent), expected, "{state} {left} {seen:?}");
        }
    }

    #[test]
    fn one_that_goes_was_last_seen_when_this_hub_saw_it_last() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let earlier = "2026-01-01T00:00:00Z";
        let at = "2026-01-01T00:09:59Z".parse().unwrap();
        let silence = Duration::from_secs(1);
        let heard = |sign| Heard { silence, at, sign, connected: false };
        let heard = |sign| LastSeen {
            heard: [("a".to_owned(), heard(sign))].into(),
            ..LastSeen::default()
        };
        for (seen, expected, at) in [
            (heard(Sign::Went), "a Lost 0 False", "2026-01-01T00:09:59Z"),
            // It reported since.
            (heard(Sign::Reported), "a Ready 0 True", "2026-01-01T00:09:59Z"),
            // What another process was connected to.
            (LastSeen { since_start: LOST_AFTER, heard: [].into() }, "a Ready 0 True", earlier),
            (LastSeen { since_start: 2 * LOST_AFTER, heard: [].into() }, "a Lost 0 False", earlier),
        ] {
            let one = object! {
                "id": "a", "state": "Ready", "hub": "h1", "connections": 1, "lastSeen": earlier,
            };
            let mut agent = object! {"status": object! {"instances": vec![one]}};
            show(&mut agent, &Known::default(), &seen, ("h1", now));
            assert_eq!(shown(&agent), expected);
            let a = &agent.array_at(&["status", "instances"])[0];
            assert_eq!(a.str_at(&["lastSeen"]), Some(at));
        }
    }

    #[test]
    fn a_rejected_configuration_is_over_once_somebody_says_so() {
        use crate::services::Why;

        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let says = |of: &[(&str, Option<Result<(), Rejected>>)]| {
            let mut known = known(&of.iter().map(|(id, _)| (*id, 1)).collect::<Vec<_>>());
            for (id, config) in of {
                known.instances.get_mut(*id).unwrap().config = config.clone();
            }
            known
        };
        let rejects = || Some(Err(Rejected::elsewhere(Why::Listen, 1)));
        let taken = Some(Ok(()));
        let mut agent = Value::object();
        for (known, expected) in [
            (says(&[("a", taken.clone())]), None),
            (says(&[("a", rejects())]), Some("True")),
            // It is gone, or this process has just begun.
            (says(&[]), Some("True")),
            // It is back, and has said nothing.
            (says(&[("a", None)]), Some("True")),
            (says(&[("a", None), ("b", taken.clone())]), Some("True")),
            (says(&[("a", taken.clone()), ("b", taken.clone())]), Some("False")),
            (says(&[("a", None), ("b", rejects())]), Some("True")),
            (says(&[("b", taken)]), Some("False")),
        ] {
            show(&mut agent, &known, &LastSeen::default(), ("h1", now));
            let conditions = agent.array_at(&["status", "conditions"]).iter();
            let mut own = conditions.filter(|own| own.str_at(&["type"]) == Some("ConfigRejected"));
            let shown = own.next().and_then(|own| own.str_at(&["status"]));
            assert_eq!(shown, expected, "{known:?}");
        }
    }

    #[test]
    fn nothing_is_written_of_agents_that_only_report() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let agent = object! {"status": object! {"instances": vec![
            object! {"id": "a", "state": "Lost"},
        ]}};
        let mut same = agent.clone();
        show(&mut same, &Known::default(), &LastSeen::default(), ("h1", now));
        assert_eq!(same, agent);
    }
}
