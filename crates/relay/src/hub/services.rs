//! Service objects, made of what agents announce.
//!
//! [`Announcements`] takes what instances announce and returns at once; a task of its own writes
//! objects. It looks at what is announced and what is stored, never at what happened, so it does
//! not matter what it missed. An object is written at most once in [`WRITE_EVERY`].
//!
//! A service whose agent is gone goes with it: another agent of the same name inherits nothing of
//! it, nor any token, since those name the agent by its uid.

mod offer;
mod offers;
mod plan;
mod write;

pub use plan::KEPT_FOR;
pub(super) use plan::is_restricted;
pub use write::WRITE_EVERY;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strait_api::well_known::RELAY_EXPORT;
use strait_runtime::Shutdown;
use strait_store::{ResourceId, Scope, Snapshot};
use strait_types::ClusterName;
use strait_workspaces::Parsed;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Connections;
use super::tunnels::Heard;
use crate::agents::{AgentSpec, Agents};
use crate::link::control::Announced;
use offers::AgentOffers;

/// An Agent: logical cluster and name.
pub(super) type AgentKey = (ClusterName, String);

/// How long agents have to come back after the hub started, before their services are said to be
/// away.
const GRACE: Duration = Duration::from_secs(15);

/// How often everything is looked at: what nobody offers is deleted at most this late.
const SWEEP: Duration = Duration::from_secs(600);

/// What agents offer, and the objects that say so.
pub struct Announcements {
    agents: Agents,
    services: ResourceId,
    specs: Parsed<AgentSpec>,
    connections: Arc<Connections>,
    started: Instant,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    /// Agents with an instance that is connected.
    agents: HashMap<AgentKey, AgentOffers>,
    /// Agents to look at, and when.
    due: HashMap<AgentKey, Instant>,
    /// When objects were last written, for as long as that matters.
    written: HashMap<(ClusterName, String), Instant>,
}

impl Announcements {
    /// Begins with nothing announced.
    ///
    /// # Panics
    /// If the system was not started: then there are no kinds of agents and services.
    #[must_use]
    pub fn new(agents: Agents, connections: Arc<Connections>) -> Self {
        let identity = agents.system.own_identity(RELAY_EXPORT);
        let identity = identity.expect("the hub's exports are there once it started");
        let services = ResourceId::new(RELAY_EXPORT, "services", &identity);
        let (state, wake) = (Mutex::default(), Notify::new());
        let (specs, started) = (Parsed::new(AgentSpec::of), Instant::now());
        Self { agents, services, specs, connections, started, state, wake }
    }

    /// What an agent may do as of now, if there is such an agent.
    pub(super) fn spec(&self, cluster: &ClusterName, agent: &str) -> Option<Arc<AgentSpec>> {
        let key = self.agents.key(cluster, agent);
        let found = self.agents.system.tenancy.find(&key)?;
        Some(self.specs.of(&key, &found))
    }

    /// Takes all that an instance offers now, in place of what it offered before; an empty list
    /// if it is connected and offers nothing. Does not block.
    pub fn replace(
        &self,
        cluster: &ClusterName,
        agent: &str,
        instance: &str,
        offers: Vec<Announced>,
    ) -> Heard {
        let Some(object) = self.agents.find(cluster, agent) else {
            let refused = |offer: Announced| {
                let reason = "the agent does not exist any more".to_owned();
                (offer.name.chars().take(63).collect(), reason)
            };
            let refused = offers.into_iter().map(refused).collect();
            return Heard { refused, taken: Vec::new() };
        };
        let spec = AgentSpec::of(&object);
        let (taken, refused) = offer::taken(&spec, offers);
        let key = (cluster.clone(), agent.to_owned());
        let mut state = self.state.lock();
        let known = state.agents.entry(key.clone()).or_default();
        known.ceiling = Some(Arc::new(spec));
        known.replace(instance, taken);
        let taken = known.of(instance);
        drop(state);
        self.look_at(key, Instant::now());
        let refused = refused.into_iter().map(|refused| (refused.name, refused.reason)).collect();
        Heard { refused, taken }
    }

    /// Forgets what an instance offered: none of its connections is left. Does not block.
    pub fn withdraw(&self, cluster: &ClusterName, agent: &str, instance: &str) {
        let key = (cluster.clone(), agent.to_owned());
        let mut state = self.state.lock();
        if let Some(known) = state.agents.get_mut(&key) {
            known.withdraw(instance);
            if known.is_empty() {
                state.agents.remove(&key);
            }
        }
        drop(state);
        self.look_at(key, Instant::now());
    }

    /// Keeps objects as what is announced says, until `stop`.
    pub async fn run(self: Arc<Self>, stop: Shutdown) {
        tokio::select! {
            () = stop.asked() => {}
            () = self.follow_agents() => {}
            () = self.follow_services() => {}
            () = self.sweep() => {}
            () = self.work() => {}
        }
    }

    fn look_at(&self, key: AgentKey, at: Instant) {
        let mut state = self.state.lock();
        let due = state.due.entry(key).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.wake.notify_one();
    }

    /// Looks at an agent when it comes, goes, or is changed; what it reports is no change.
    async fn follow_agents(&self) {
        let store = self.agents.system.registry.store();
        loop {
            let start = store.snapshot(&self.agents.resource).revision();
            let Ok(mut watch) = store.watch(&self.agents.resource, Scope::All, start) else {
                continue;
            };
            while let Ok(events) = watch.next().await {
                for event in events {
                    let generation = |of: &Option<Arc<strait_machinery::object::Object>>| {
                        of.as_ref().map(|object| (object.header.generation, object.header.uid))
                    };
                    if generation(&event.object) == generation(&event.previous) {
                        continue;
                    }
                    let key = (event.cluster.clone(), event.name.name().to_owned());
                    if let Some(object) = &event.object
                        && let Some(known) = self.state.lock().agents.get_mut(&key)
                    {
                        known.ceiling = Some(Arc::new(AgentSpec::of(object)));
                    }
                    self.look_at(key, Instant::now());
                }
            }
            self.look_at_all(&store.snapshot(&self.services));
        }
    }

    /// A service that was deleted while it is offered comes again.
    async fn follow_services(&self) {
        let store = self.agents.system.registry.store();
        loop {
            let start = store.snapshot(&self.services).revision();
            let Ok(mut watch) = store.watch(&self.services, Scope::All, start) else { continue };
            while let Ok(events) = watch.next().await {
                for event in events.iter().filter(|event| event.object.is_none()) {
                    if let Some((_, agent)) = event.name.name().rsplit_once('.') {
                        self.look_at((event.cluster.clone(), agent.to_owned()), Instant::now());
                    }
                }
            }
        }
    }

    async fn sweep(&self) {
        let mut ticks = tokio::time::interval(SWEEP);
        loop {
            ticks.tick().await;
            self.look_at_all(&self.agents.system.registry.store().snapshot(&self.services));
        }
    }

    fn look_at_all(&self, services: &Snapshot) {
        for (cluster, name, _) in services.iter(&Scope::All) {
            if let Some((_, agent)) = name.name().rsplit_once('.') {
                self.look_at((cluster.clone(), agent.to_owned()), Instant::now());
            }
        }
    }
}
