//! The relay's place in the agent: connections to the hub, and what is offered on them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::ClientConfig;
use strait_audit::AuditLog;
use strait_net::{ServerMetrics, SystemResolver};
use strait_pki::{PkiError, TrustBundle, tunnel_client_config};
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::dial::{self, Announcement, NoProxy, PROBE_EVERY, Proxy, Route, Setup, Tunnel};
use strait_relay::incoming::{self, ListenError, Listeners};
use strait_relay::link::{Acceptor, Memory};
use strait_relay::record::Recorder;
use strait_relay::serve::{Serving, ServingMetrics};
use strait_relay::services::AgentConfig;
use strait_runtime::{Context, random_16};
use strait_tunnel::{Code, Config, Directions, Role};
use strait_types::Report;
use tokio::sync::watch;

use crate::member::Member;

/// What all connections may hold, bytes.
const MEMORY: u64 = 64 << 20;

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

/// The hub's addresses, given those of the configuration.
type Addresses = Box<dyn Fn(&[String]) -> Vec<String> + Send + Sync>;

struct Inner {
    addresses: Addresses,
    serving: ArcSwapOption<Serving>,
    listeners: OnceLock<Listeners>,
    make: Box<dyn Fn(AgentConfig) -> Serving + Send + Sync>,
    generation: AtomicI64,
    route: watch::Sender<Option<Route>>,
    announcements: watch::Sender<Arc<Announcement>>,
}

impl Relay {
    /// Offers nothing yet. `addresses` are the hub's, given those of the configuration; `make`
    /// serves the first one.
    fn new(
        addresses: impl Fn(&[String]) -> Vec<String> + Send + Sync + 'static,
        make: impl Fn(AgentConfig) -> Serving + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            addresses: Box::new(addresses),
            serving: ArcSwapOption::empty(),
            listeners: OnceLock::new(),
            make: Box::new(make),
            generation: AtomicI64::new(0),
            route: watch::Sender::default(),
            announcements: watch::Sender::default(),
        }))
    }

    /// With the tunnel to the hub that the agent is a member of.
    pub(crate) fn start(
        member: &Member,
        environment: Environment,
        label: &str,
        (audit, listeners): (&AuditLog, &ServerMetrics),
        context: &Context,
    ) -> (Self, Tunnel) {
        let of_member = member.clone();
        let (agent, metrics) = (member.now().agent.clone(), ServingMetrics::new(&context.metrics));
        let (clock, tasks) = (context.clock.clone(), context.tasks.clone());
        let recorder = Recorder::new(audit.clone(), tasks.clone());
        tasks.spawn("reads", recorder.clone().count_reads(context.shutdown.clone()));
        let writes = recorder.clone();
        let make = move |config| {
            let (clock, metrics) = (clock.clone(), metrics.clone());
            let serving =
                Serving::new(&agent, config, clock, tasks.clone(), metrics, recorder.clone());
            tasks.spawn_daemon("services", serving.clone().tend());
            serving
        };
        let relay = Self::new(move |own| of_member.addresses_or(own), make);
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
            proxy: environment.proxy,
            no_proxy: environment.no_proxy,
            resolver: Arc::new(SystemResolver),
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

    /// Offers what a configuration says from now on, and listens where it says; nothing where
    /// there is none.
    ///
    /// # Errors
    /// It cannot listen where it is to; then nothing has changed.
    pub(crate) fn apply(&self, config: Option<AgentConfig>) -> Result<(), Vec<String>> {
        let inner = &self.0;
        let none = BTreeMap::new();
        let wanted = config.as_ref().map_or(&none, |config| &config.incoming);
        if let Some(listeners) = inner.listeners.get() {
            let bound = listeners.bind(wanted).map_err(|errors| reports(&errors))?;
            listeners.serve(bound).map_err(|errors| reports(&errors))?;
        }
        let serving = match (inner.serving.load_full(), config) {
            (Some(serving), Some(config)) => {
                serving.apply(config);
                Some(serving)
            }
            (None, Some(config)) => Some(Arc::new((inner.make)(config))),
            (_, None) => None,
        };
        inner.serving.store(serving.clone());
        if let Some(serving) = serving {
            let generation = inner.generation.fetch_add(1, Ordering::Relaxed) + 1;
            let messages = serving.announcement(generation);
            let announcement = Arc::new(Announcement { generation, messages });
            inner.announcements.send_replace(announcement);
        }
        self.refresh();
        Ok(())
    }

    /// Removes the sockets of listeners.
    pub(crate) fn close(&self) {
        if let Some(listeners) = self.0.listeners.get() {
            listeners.close();
        }
    }

    /// Takes the streams of a connection. There is none while nothing is offered.
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
        let config = self.0.serving.load().as_ref().map(|serving| serving.config());
        let route = config.map(|config| Route {
            addresses: (self.0.addresses)(&config.hub.addresses),
            transport: config.hub.transport,
            proxy_file: config.hub.proxy_file.clone(),
            connections: config.hub.connections,
        });
        self.0.route.send_if_modified(|now| {
            let changes = *now != route;
            *now = route;
            changes
        });
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> (Self, watch::Receiver<Option<Route>>) {
        let metrics = strait_runtime::Metrics::new();
        let (tasks, served) =
            (strait_runtime::TaskSet::new(&metrics), ServingMetrics::new(&metrics));
        let clock = Arc::new(strait_runtime::SystemClock);
        // It serves nothing, so that nothing is written.
        let files = tempfile::tempdir().unwrap();
        let options = strait_audit::Options::new(files.path().join("audit"), "smith-1".into());
        let mirror = Box::new(strait_audit::FileMirror(files.path().join("mirror")));
        let audit = AuditLog::open(options, mirror, clock.clone(), &metrics).unwrap();
        let recorder = Recorder::new(audit, tasks.clone());
        let make = move |config| {
            let (clock, served) = (clock.clone(), served.clone());
            Serving::new("smith", config, clock, tasks.clone(), served, recorder.clone())
        };
        let relay = Self::new(<[String]>::to_vec, make);
        let route = relay.0.route.subscribe();
        (relay, route)
    }
}

fn reports(errors: &[ListenError]) -> Vec<String> {
    errors.iter().map(|error| Report(error).to_string()).collect()
}

impl dial::Member for Member {
    fn tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        let (trust, now) = (TrustBundle::from_pem(self.authority().as_bytes())?, self.now());
        tunnel_client_config(&trust, now.identity()?, TUNNEL_PROTOCOL, self.clock())
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
