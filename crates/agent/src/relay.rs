//! The relay's place in the agent: connections to the hub, and what is offered on them.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_audit::AuditLog;
use strait_net::{ServerMetrics, SystemResolver};
use strait_pki::PkiError;
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::dial::{
    self, Announcement, NoProxy, PROBE_EVERY, Proxy, Route, Setup, Tunnel, Ways,
};
use strait_relay::incoming::{self, ListenError, Listeners};
use strait_relay::link::control::Message;
use strait_relay::link::{Acceptor, Memory};
use strait_relay::record::{Event, Recorder};
use strait_relay::serve::{Serving, ServingMetrics, Side};
use strait_relay::services::{AgentConfig, HubConfig, Rejected};
use strait_runtime::{Context, random_16};
use strait_tunnel::{Code, Config, Directions, Role};
use strait_types::Report;
use tokio::sync::watch;

use crate::member::Member;

/// What all connections may hold, bytes.
const MEMORY: u64 = 64 << 20;

/// Between two announcements of what came within reach or went out of it.
const ANNOUNCED_EVERY: Duration = Duration::from_secs(1);

/// The proxy that the environment names.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HTTPS_PROXY`.
    pub proxy: Option<Proxy>,
    /// `NO_PROXY`.
    pub no_proxy: NoProxy,
}

/// What is offered to the hub, and where it is. Clones are the same.
#[derive(Clone)]
pub(crate) struct Relay(Arc<Inner>);

/// Serves the first configuration.
type Make = dyn Fn(&Relay, AgentConfig) -> Serving + Send + Sync;

/// How the hub is reached from now on, given what the configuration says of it, if there is one.
type Reach = Box<dyn Fn(Option<&HubConfig>) -> Option<Route> + Send + Sync>;

/// Records what happens to the configuration.
type Record = Box<dyn Fn(String) + Send + Sync>;

struct Inner {
    reach: Reach,
    record: Record,
    serving: ArcSwapOption<Serving>,
    /// How the hub is reached; none while nothing is offered.
    hub: ArcSwapOption<HubConfig>,
    listeners: OnceLock<Listeners>,
    make: Box<Make>,
    route: watch::Sender<Option<Route>>,
    announcements: watch::Sender<Arc<Announcement>>,
    /// What of its newest configuration the agent does not take, if so.
    rejected: Mutex<Option<Rejected>>,
}

impl Environment {
    /// What connections to the hub are made with.
    pub(crate) fn ways(self, context: &Context) -> Ways {
        let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
        Ways::new(self.proxy, self.no_proxy, Arc::new(SystemResolver), clock, entropy)
    }
}

impl Relay {
    /// Offers nothing yet. `reach` says where the hub is; `make` serves the first configuration;
    /// `record` writes down what happens to those that follow.
    fn new(
        reach: impl Fn(Option<&HubConfig>) -> Option<Route> + Send + Sync + 'static,
        make: impl Fn(&Self, AgentConfig) -> Serving + Send + Sync + 'static,
        record: impl Fn(String) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            reach: Box::new(reach),
            record: Box::new(record),
            serving: ArcSwapOption::empty(),
            hub: ArcSwapOption::empty(),
            listeners: OnceLock::new(),
            make: Box::new(make),
            route: watch::Sender::default(),
            announcements: watch::Sender::default(),
            rejected: Mutex::default(),
        }))
    }

    /// With the tunnel to the hub that the agent is a member of.
    pub(crate) fn start(
        member: &Member,
        label: &str,
        (audit, listeners): (&AuditLog, &ServerMetrics),
        context: &Context,
    ) -> (Self, Tunnel) {
        let of_member = member.clone();
        let (agent, metrics) = (member.now().agent.clone(), ServingMetrics::new(&context.metrics));
        let (tasks, own) = (context.tasks.clone(), context.clone());
        let recorder = Recorder::new(audit.clone(), tasks.clone());
        tasks.spawn("reads", recorder.clone().count_reads(context.shutdown.clone()));
        let writes = recorder.clone();
        let make = move |relay: &Self, config| {
            let side = Side::Agent((*agent).into());
            let serving = Serving::new(side, config, metrics.clone(), recorder.clone(), &own);
            tasks.spawn_daemon("services", serving.clone().tend());
            tasks.spawn_daemon("services.reached", relay.clone().follow(serving.clone()));
            serving
        };
        let reach = move |hub: Option<&HubConfig>| {
            of_member.go_by(hub.cloned().unwrap_or_default());
            let way = of_member.way(&of_member.now().addresses);
            hub.map(|hub| Route { way, connections: hub.connections })
        };
        let relay = Self::new(reach, make, of_config(member, writes.clone()));
        let served = relay.clone();
        let memory = Memory::new(MEMORY);
        context.tasks.spawn_daemon("tunnel-memory", memory.clone().watch());
        let mut config = Config::new(Role::Agent, Role::Hub, random_16(&*context.entropy));
        label.clone_into(&mut config.label);
        let setup = Setup {
            member: Arc::new(member.clone()),
            config,
            route: relay.0.route.subscribe(),
            announcements: relay.0.announcements.subscribe(),
            acceptor: Box::new(move || served.acceptor()),
            memory,
            ways: member.ways().clone(),
            probe_every: PROBE_EVERY,
        };
        let tunnel = Tunnel::new(setup, context);
        let membership = member.now();
        let setup = incoming::Setup {
            user: format!("system:strait:agent:{}:{}", membership.cluster, membership.agent),
            cluster: membership.cluster.clone(),
            tunnel: tunnel.clone(),
            recorder: writes,
            metrics: listeners.clone(),
        };
        let listeners = Listeners::new(setup, context);
        context.tasks.spawn_daemon("incoming.offered", listeners.clone().watch());
        // It is the first one.
        drop(relay.0.listeners.set(listeners));
        (relay, tunnel)
    }

    /// Offers what a configuration says from now on, and listens where it says. Where there is
    /// none, the services that were offered end as those do that a configuration leaves out.
    ///
    /// # Errors
    /// It cannot listen where it is to; then nothing has changed.
    pub(crate) fn apply(&self, config: Option<AgentConfig>) -> Result<(), Vec<String>> {
        let inner = &self.0;
        let none = BTreeMap::new();
        let wanted = config.as_ref().map_or(&none, |config| &config.incoming);
        if let Some(listeners) = inner.listeners.get() {
            let bound = listeners.bind(wanted).map_err(|errors| reports(&errors))?;
            listeners.serve(bound);
        }
        inner.hub.store(config.as_ref().map(|config| Arc::new(config.hub.clone())));
        let serving = match (inner.serving.load_full(), config) {
            (Some(serving), config) => {
                let config = config.unwrap_or_else(|| serving.config().without_services());
                serving.apply(config);
                serving
            }
            (None, Some(config)) => Arc::new((inner.make)(self, config)),
            (None, None) => return Ok(()),
        };
        inner.serving.store(Some(serving.clone()));
        self.announce(&serving);
        self.refresh();
        Ok(())
    }

    /// Tells the hub, where there is a connection to it, what of the newest configuration is not
    /// taken; none: nothing is wrong with it.
    pub(crate) fn tell(&self, rejected: Option<Rejected>) {
        let before = std::mem::replace(&mut *self.0.rejected.lock(), rejected.clone());
        match &rejected {
            None => (self.0.record)("relay.config.reload".to_owned()),
            Some(why) if before != rejected => {
                (self.0.record)(format!("relay.config.reject {why}"));
            }
            // It is read again and again until it is right.
            Some(_) => {}
        }
        if before == rejected {
            return;
        }
        if let Some(serving) = self.0.serving.load_full() {
            self.announce(&serving);
        }
    }

    /// Removes the sockets of listeners.
    pub(crate) fn close(&self) {
        if let Some(listeners) = self.0.listeners.get() {
            listeners.close();
        }
    }

    fn announce(&self, serving: &Serving) {
        // One at a time: the last one that is made is the last one that is said.
        self.0.announcements.send_modify(|announcement| {
            let generation = announcement.generation + 1;
            let mut messages = serving.announcement(generation);
            let rejected = self.0.rejected.lock().clone();
            messages.push(Message::Config { rejected }.to_bytes());
            *announcement = Arc::new(Announcement { generation, messages });
        });
    }

    /// Announces again what came within reach, or went out of it: at once, and then no more often
    /// than every [`ANNOUNCED_EVERY`], however often a service comes and goes.
    async fn follow(self, serving: Serving) {
        let mut reached = serving.reached();
        while reached.changed().await.is_ok() {
            self.announce(&serving);
            tokio::time::sleep(ANNOUNCED_EVERY).await;
        }
    }

    /// Takes the streams of a connection. There is none before something is offered.
    fn acceptor(&self) -> Acceptor {
        match &*self.0.serving.load() {
            // The hub's own control stream is taken before.
            Some(serving) => serving.acceptor(drop),
            None => Box::new(|stream, _| {
                stream.sender.reset(Directions::Both, Code::NoService, "");
            }),
        }
    }

    /// Looks where the hub is now: a renewed membership may know other addresses.
    pub(crate) fn refresh(&self) {
        let route = (self.0.reach)(self.0.hub.load().as_deref());
        self.0.route.send_if_modified(|now| {
            let changes = *now != route;
            *now = route;
            changes
        });
    }

    /// All that the hub is told, as text.
    #[cfg(test)]
    pub(crate) fn announced(&self) -> String {
        let announcement = self.0.announcements.borrow().clone();
        String::from_utf8(announcement.messages.concat()).unwrap()
    }

    #[cfg(test)]
    pub(crate) fn for_test(files: &std::path::Path) -> (Self, watch::Receiver<Option<Route>>) {
        let context = Context::of_system();
        let Context { clock, metrics, tasks, .. } = context.clone();
        let served = ServingMetrics::new(&metrics);
        let options = strait_audit::Options::new(files.join("audit"), "smith-1".into());
        let mirror = Box::new(strait_audit::FileMirror(files.join("mirror")));
        let audit = AuditLog::open(options, mirror, clock, &metrics).unwrap();
        let recorder = Recorder::new(audit, tasks);
        let make = move |_: &Self, config| {
            let side = Side::Agent("smith".into());
            Serving::new(side, config, served.clone(), recorder.clone(), &context)
        };
        let reach = |hub: Option<&HubConfig>| {
            let way = |hub| strait_relay::agent::FrontDoor::default().way(hub, &[]);
            hub.map(|hub| Route { way: way(hub), connections: hub.connections })
        };
        let relay = Self::new(reach, make, drop);
        let route = relay.0.route.subscribe();
        (relay, route)
    }
}

/// Records what happens to the configuration of a member.
fn of_config(member: &Member, recorder: Recorder) -> impl Fn(String) + Send + Sync + 'static {
    let member = member.clone();
    move |what| {
        let now = member.now();
        let user = format!("system:strait:agent:{}:{}", now.cluster, now.agent);
        let (cluster, agent) = (now.cluster.as_str(), &*now.agent);
        recorder.notes(Event { user: &user, cluster, agent, instance: "", what });
    }
}

fn reports(errors: &[ListenError]) -> Vec<String> {
    errors.iter().map(|error| Report(error).to_string()).collect()
}

impl dial::Member for Member {
    fn tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        Self::tls(self, &self.now(), TUNNEL_PROTOCOL)
    }

    fn not_after(&self) -> Timestamp {
        self.now().not_after
    }

    /// Half of the time between the renewal and the end is for a hub that does not renew at once,
    /// half for connections to be made.
    fn replace_at(&self) -> Timestamp {
        let now = self.now();
        now.renew_at + (now.not_after.duration_since(now.renew_at) / 2)
    }

    fn renew(&self) {
        self.ask_to_renew();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use strait_api::private::Source;
    use strait_relay::link::{Link, Part};
    use strait_relay::services::{Disk, read};
    use strait_runtime::SystemClock;
    use strait_tunnel::{Class, OpenHead, RawHead, Side, Tlvs};
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_was_offered_ends_in_half_a_minute_where_there_is_no_configuration_any_more() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let text = format!(
            "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
             services: [{{name: db, type: tcp, address: '{}'}}]\n",
            listener.local_addr().unwrap()
        );
        let config = read(&Source { file: "a.yaml", text: &text }, &Disk, false);
        let files = tempfile::tempdir().unwrap();
        let (relay, route) = Relay::for_test(files.path());
        relay.apply(Some(config.unwrap().unwrap().config)).unwrap();
        assert!(route.borrow().is_some());

        let (near, far) = duplex(1 << 16);
        let clock = Arc::new(SystemClock);
        let hub = Config::new(Role::Hub, Role::Agent, [1; 16]);
        let nothing = Box::new(|_, _| {});
        let (hub, driver) = Link::new(near, Side::Acceptor, hub, clock.clone(), nothing);
        let agent = Config::new(Role::Agent, Role::Hub, [2; 16]);
        let (_, other) = Link::new(far, Side::Dialler, agent, clock, relay.acceptor());
        let tasks = strait_runtime::TaskSet::new(&strait_runtime::Metrics::new());
        tasks.spawn_daemon("hub", driver);
        tasks.spawn_daemon("agent", other);
        hub.ready().await.unwrap();
        let identity = br#"{"user":"alice","via":"cert"}"#;
        let tlvs = Tlvs { service: "db", identity, ..Tlvs::default() };
        let head = OpenHead::Raw(RawHead::new(&tlvs).unwrap());
        let mut stream = hub.open(&head, Class::Normal, false).unwrap();
        let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept());
        let (mut service, _) = accepted.await.expect("it is connected to").unwrap();
        stream.receiver.accepted().await.unwrap();

        let before = tokio::time::Instant::now();
        relay.apply(None).unwrap();
        assert_eq!(*route.borrow(), None);
        assert_eq!(relay.0.announcements.borrow().generation, 2);
        let mut late = hub.open(&head, Class::Normal, false).unwrap();
        let Part::Broken(end) = late.receiver.next().await else { panic!("it is gone") };
        assert_eq!(end.code, Code::NoService);
        service.write_all(b"more").await.unwrap();
        assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"more")));
        tokio::time::pause();
        let Part::Broken(end) = stream.receiver.next().await else { panic!("it goes on") };
        assert_eq!(end.code, Code::Aborted);
        let took = before.elapsed().as_secs();
        assert!((29..=31).contains(&took), "{took} s");
    }
}
