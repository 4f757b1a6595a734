//! The connections of agents: who is there, what they offer, and which one takes a stream.

mod member;
mod offered;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use strait_net::Io;
use strait_pki::AgentIdentity;
use strait_runtime::{Context, random_16};
use strait_tunnel::{Config, Drain, Role};
use strait_types::{ClusterName, HubId};
use tokio::sync::watch;

use super::calls::Calls;
use super::ending::{self, Ending};
use super::metrics::{RelayMetrics, Scraped, Series};
use crate::agents::AgentSpec;
use crate::choice::{Candidate, Ejections, Outcome, choose};
use crate::link::control::Announced;
use crate::link::{Carriage, Link, Memory, Share};
use crate::map::Map;
use crate::record::Recorder;
use crate::serve::Serving;
use crate::services::Rejected;

/// How long an agent that left is remembered, for what people are told.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);

/// How often those are looked for that left so long ago, as agents come and go.
const FORGET_EVERY: Duration = Duration::from_secs(3600);

/// Over what time agents spread their reconnections when the hub ends.
const DRAIN_SPREAD: Duration = Duration::from_secs(10);

/// Decides whether a member's certificate is still honoured; the text is for the agent.
pub type Honoured = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Hears of connections and of what agents offer, in the order in which it happened. It must not
/// block, and not ask the tunnels about anything.
pub trait Presence: Send + Sync {
    /// A connection is there.
    fn connected(&self, member: &AgentIdentity, connection: &Connected);
    /// How long a round trip takes on one of its connections, every now and then.
    fn round_trip(&self, _member: &AgentIdentity, _took: Duration) {}
    /// One of its connections is gone; so many are left.
    fn disconnected(&self, member: &AgentIdentity, left: usize);
    /// What a member offers now.
    fn offers(&self, member: &AgentIdentity, list: Vec<Announced>) -> Heard;
    /// What a member says of its newest configuration: why it does not go by that, if so.
    fn rejects(&self, _member: &AgentIdentity, _rejected: Option<Rejected>) {}
    /// What an agent may do as of now, if there is such an agent.
    fn spec(&self, cluster: &ClusterName, agent: &str) -> Option<Arc<AgentSpec>>;
}

/// What became of what a member offers.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// What of it the hub does not take, by name, and why.
    pub refused: Vec<(String, String)>,
    /// What it takes, each name once, with the number of its configuration, which grows with each
    /// one that is learned.
    pub taken: Vec<(Arc<Announced>, u64)>,
}

/// A connection of a member, as it was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Whose it is.
    pub identity: AgentIdentity,
    /// When the certificate that proves that ends.
    pub not_after: Timestamp,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What carries it.
    pub carriage: Carriage,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Since when.
    pub since: Timestamp,
    /// What the agent says that it runs.
    pub version: String,
    /// What it says that its machine is called.
    pub host: String,
    /// How many the member has now.
    pub count: usize,
}

/// All connections of agents to this hub.
pub struct Tunnels {
    context: Context,
    instance: [u8; 16],
    memory: Arc<Memory>,
    ending: Ending,
    metrics: Arc<RelayMetrics>,
    presence: Arc<dyn Presence>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    calls: Arc<Calls>,
    own: OnceLock<Serving>,
    recorder: Recorder,
}

#[derive(Default)]
struct State {
    serial: u64,
    agents: Map<AgentKey, Agent>,
    /// When those that left long ago were last forgotten.
    forgot: Option<Timestamp>,
}

type AgentKey = (ClusterName, Arc<str>);

/// An instance and a service.
type Ejection = (Arc<str>, String);

/// What is known of an agent's connections.
#[derive(Default)]
struct Agent {
    connections: Vec<Connection>,
    /// When and from where one was there last.
    seen: Option<(Timestamp, IpAddr)>,
    /// Services that were offered and are not any more.
    withdrawn: HashMap<String, Timestamp>,
    /// Its own: who joins says what an instance is called.
    ejections: Ejections<Ejection>,
}

struct Connection {
    serial: u64,
    /// It has said what it offers.
    has_said: bool,
    instance: Arc<str>,
    since: Timestamp,
    accepted: Accepted,
    link: Link,
    services: Map<String, Offer>,
}

/// What an instance offers under a name.
struct Offer {
    said: Arc<Announced>,
    /// The number of its configuration.
    number: u64,
    series: Arc<Series>,
    share: Share,
}

/// An agent with a connection.
#[derive(Clone)]
pub(super) struct ConnectedAgent {
    pub(super) cluster: ClusterName,
    pub(super) name: String,
    /// The hub that they are to.
    pub(super) hub: HubId,
    /// Its connections, in the order of [`Carriage::ALL`].
    pub(super) connections: [usize; 2],
    /// When the first of its instances has no valid certificate any more, as far as they have
    /// shown them.
    pub(super) not_after: Timestamp,
    /// Bytes that wait to be sent to it.
    pub(super) queued: usize,
    pub(super) round_trip: Option<Duration>,
}

/// One connection of an agent, and what it carries.
pub(super) struct Carrying {
    pub(super) cluster: ClusterName,
    pub(super) agent: Arc<str>,
    pub(super) instance: Arc<str>,
    /// No other one gets its number.
    pub(super) serial: u64,
    pub(super) since: Timestamp,
    pub(super) peer: SocketAddr,
    pub(super) link: Link,
}

/// A connection that takes a stream for a service.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The agent.
    agent: AgentKey,
    /// The connection.
    pub link: Link,
    /// Whose it is.
    pub instance: Arc<str>,
    /// What is offered there.
    pub service: Arc<Announced>,
    /// Where its streams are counted.
    pub(super) series: Arc<Series>,
    /// What the service has of the connection's streams that wait.
    pub(super) share: Share,
}

/// Nobody takes a stream for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// No instance of the agent is connected; when and from where the last one was.
    Offline(Option<(Timestamp, IpAddr)>),
    /// The agent is connected and no longer offers it, or may not; since when, if that is known.
    Withdrawn(Option<Timestamp>),
    /// The agent is connected and never offered it.
    Unknown,
    /// All that there are were tried, or take nothing now.
    Exhausted,
}

impl Tunnels {
    /// None yet.
    #[must_use]
    pub fn new(
        context: Context,
        memory: Arc<Memory>,
        ending: Ending,
        presence: Arc<dyn Presence>,
        recorder: Recorder,
    ) -> Arc<Self> {
        let instance = random_16(&*context.entropy);
        let (state, changed) = (Mutex::default(), watch::Sender::new(0));
        let (metrics, registry) = (RelayMetrics::new(&context.metrics), context.metrics.clone());
        let calls = Calls::new(context.clock.clone(), metrics.clone());
        let own = OnceLock::new();
        let new = Arc::new(Self {
            context,
            instance,
            memory,
            ending,
            metrics,
            presence,
            state,
            changed,
            calls,
            own,
            recorder,
        });
        let (tunnels, clock) = (Arc::downgrade(&new), new.context.clock.clone());
        registry.register_collector(Scraped { tunnels, clock });
        new
    }

    /// Offers services of the hub's own to those agents whose objects name them; once, what
    /// changes is applied to `own`.
    pub fn offer(&self, own: Serving) {
        // The first one stays.
        drop(self.own.set(own));
    }

    fn own(&self) -> Option<&Serving> {
        self.own.get()
    }

    /// Serves a connection of a member until it is over.
    pub async fn serve(self: Arc<Self>, accepted: Accepted, honoured: Honoured, io: Box<dyn Io>) {
        member::serve(self, accepted, honoured, io).await;
    }

    fn config(&self) -> Config {
        let mut config = Config::new(Role::Hub, Role::Agent, self.instance);
        config.drain_spread = Some(DRAIN_SPREAD);
        config
    }

    pub(super) const fn metrics(&self) -> &Arc<RelayMetrics> {
        &self.metrics
    }

    /// Streams that agents opened to services of the hub's own.
    pub(super) const fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    pub(super) const fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// The agents that are connected, in order.
    pub(super) fn agents(&self) -> Vec<ConnectedAgent> {
        let state = self.state.lock();
        let agents = state.agents.iter();
        let mut agents: Vec<_> = agents.filter_map(|(key, agent)| agent.connected(key)).collect();
        drop(state);
        agents.sort_unstable_by(|a, b| (&a.cluster, &a.name).cmp(&(&b.cluster, &b.name)));
        agents
    }

    /// The connections that there are to agents of a cluster, or of all.
    pub(super) fn carrying(&self, of: Option<&ClusterName>) -> Vec<Carrying> {
        let state = self.state.lock();
        let agents = state.agents.iter();
        let agents = agents.filter(|((cluster, _), _)| of.is_none_or(|of| of == cluster));
        let carrying = agents.flat_map(|((cluster, agent), known)| {
            known.connections.iter().map(|one| Carrying {
                cluster: cluster.clone(),
                agent: agent.clone(),
                instance: one.instance.clone(),
                serial: one.serial,
                since: one.since,
                peer: one.accepted.peer,
                link: one.link.clone(),
            })
        });
        carrying.collect()
    }

    pub(super) const fn changed(&self) -> &watch::Sender<u64> {
        &self.changed
    }

    /// For a connection when the hub ends. Streams are cut one by one, which says more.
    fn drain(&self) -> Drain {
        let all = self.ending.of_connections();
        let text = ending::TEXT.to_owned();
        Drain { code: strait_tunnel::Code::None, grace: all, hard: all, text }
    }

    pub(super) const fn ending(&self) -> Ending {
        self.ending
    }

    /// What an agent may do as of now, if there is such an agent.
    #[must_use]
    pub fn spec(&self, cluster: &ClusterName, agent: &str) -> Option<Arc<AgentSpec>> {
        self.presence.spec(cluster, agent)
    }

    /// The connection for a stream: of an instance that announces the service and may, without
    /// those that were tried. `affinity`: the same text gets the same instance.
    ///
    /// # Errors
    /// There is none.
    pub fn choose(
        &self,
        (cluster, agent, service): (&ClusterName, &Arc<str>, &str),
        spec: &AgentSpec,
        affinity: Option<&str>,
        tried: &[Arc<str>],
    ) -> Result<Chosen, Nobody> {
        let now = self.context.clock.monotonic();
        let state = self.state.lock();
        let key = (cluster.clone(), agent.clone());
        let known = state.agents.get(&key).ok_or(Nobody::Offline(None))?;
        // Connections of an agent that was suspended just now are about to be cut.
        if known.connections.is_empty() || spec.suspended || spec.deleting {
            return Err(Nobody::Offline(known.seen));
        }
        let offering: Vec<_> = known
            .connections
            .iter()
            .filter_map(|one| Some((one, one.services.get(service)?)))
            .filter(|(_, offer)| spec.may_offer(&offer.said.r#type, service))
            .collect();
        if offering.is_empty() {
            let refused = known.connections.iter().any(|one| one.services.contains_key(service));
            return Err(match known.withdrawn.get(service) {
                Some(since) => Nobody::Withdrawn(Some(*since)),
                None if refused => Nobody::Withdrawn(None),
                // It is there, and has not come to say what it offers.
                None if known.connections.iter().any(|one| !one.has_said) => {
                    Nobody::Offline(known.seen)
                }
                None => Nobody::Unknown,
            });
        }
        if spec.draining {
            return Err(Nobody::Exhausted);
        }
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for (one, offered) in &offering {
            let connection = Candidate {
                instance: &one.instance,
                settings: &offered.said.hash,
                announced: offered.number,
                ready: one.link.is_open(),
                here: true,
                avoided: !offered.said.ready
                    || !one.link.has_room(&offered.share)
                    || known.ejections.is_ejected(|| ejection(one, service), now),
                open: u32::try_from(one.link.open_streams()).unwrap_or(u32::MAX),
                weight: 1,
            };
            // However many connections an instance has, it is one.
            match candidates.iter_mut().find(|known| known.instance == connection.instance) {
                Some(known) => known.join(connection),
                None => candidates.push(connection),
            }
        }
        let choice = choose(&candidates, affinity, tried, &*self.context.entropy);
        let chosen = &candidates[choice.ok_or(Nobody::Exhausted)?.index];
        // Of its connections the quieter one: not behind somebody's large body.
        let own = || {
            let own = offering.iter().filter(|(one, _)| *one.instance == *chosen.instance);
            own.filter(|(one, _)| one.link.is_open())
        };
        let roomy = own().filter(|(one, offered)| one.link.has_room(&offered.share));
        let quietest = roomy.min_by_key(|(one, _)| one.link.burden(now));
        let (one, offered) = quietest.or_else(|| own().next()).ok_or(Nobody::Exhausted)?;
        let (link, instance) = (one.link.clone(), one.instance.clone());
        let (series, share) = (offered.series.clone(), offered.share.clone());
        let service = offered.said.clone();
        drop(state);
        Ok(Chosen { agent: key, link, instance, service, series, share })
    }

    /// Notes how a stream ended, as far as that tells whether the instance reaches the service.
    pub fn ended(&self, chosen: &Chosen, outcome: Outcome) {
        if outcome == Outcome::Untold {
            return;
        }
        let now = self.context.clock.monotonic();
        let key = || (chosen.instance.clone(), chosen.service.name.clone());
        if let Some(agent) = self.state.lock().agents.get_mut(&chosen.agent) {
            agent.ejections.ended(key, outcome, now);
        }
    }

    /// The number of the newest connection whose instance announces a service, and may.
    pub(super) fn newest(
        &self,
        (cluster, agent, service): (&ClusterName, &Arc<str>, &str),
        spec: &AgentSpec,
    ) -> Option<u64> {
        let state = self.state.lock();
        let known = state.agents.get(&(cluster.clone(), agent.clone()))?;
        let offering = known.connections.iter().filter(|one| {
            let offer = one.services.get(service);
            offer.is_some_and(|offer| spec.may_offer(&offer.said.r#type, service))
        });
        offering.map(|one| one.serial).max()
    }

    /// Connections that there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state.lock().agents.values().map(|agent| agent.connections.len()).sum()
    }
}

impl State {
    /// Forgets, now and then, agents that left long ago.
    fn forget(&mut self, now: Timestamp) {
        let is_past = |at: Timestamp, time| now.duration_since(at).unsigned_abs() > time;
        if self.forgot.is_some_and(|at| !is_past(at, FORGET_EVERY)) {
            return;
        }
        self.forgot = Some(now);
        self.agents.retain(|_, agent| {
            let is_old = agent.seen.is_none_or(|(at, _)| is_past(at, REMEMBERED));
            !agent.connections.is_empty() || !is_old
        });
    }
}

impl Agent {
    /// How many connections an instance has.
    fn of(&self, instance: &str) -> usize {
        self.connections.iter().filter(|one| *one.instance == *instance).count()
    }

    /// Its numbers, if it has a connection.
    fn connected(&self, (cluster, name): &AgentKey) -> Option<ConnectedAgent> {
        let connections = &self.connections;
        let hub = connections.first()?.accepted.identity.hub().clone();
        let mut instances = HashMap::new();
        for one in connections {
            let known = instances.entry(&one.instance).or_insert(one.accepted.not_after);
            *known = one.accepted.not_after.max(*known);
        }
        let by =
            |carriage| connections.iter().filter(|one| one.accepted.carriage == carriage).count();
        Some(ConnectedAgent {
            cluster: cluster.clone(),
            name: name.to_string(),
            hub,
            connections: Carriage::ALL.map(by),
            not_after: instances.into_values().min()?,
            queued: connections.iter().map(|one| one.link.usage().queued).sum(),
            round_trip: connections.iter().filter_map(|one| one.link.round_trip()).min(),
        })
    }
}

fn ejection(connection: &Connection, service: &str) -> Ejection {
    (connection.instance.clone(), service.to_owned())
}

impl std::fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnels").field("connections", &self.count()).finish_non_exhaustive()
    }
}
