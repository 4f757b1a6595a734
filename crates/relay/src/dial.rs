//! The agent's end of the tunnel: connections to its hub, made, kept and replaced.
//!
//! ```text
//! Tunnel ─► lane (one per connection that is wanted)
//!             │  address ─► proxy? ─► TCP ─► (TLS ─► WebSocket)? ─► TLS 1.3 ─► Link
//!             │                                                                  │
//!             └ schedule ◄── lost, drained, refused ◄────────────────────────────┴── control
//! ```
//!
//! A lane holds one connection at a time, and two while it replaces one: before a certificate
//! ends, or as another route is set. The new one is ready and its announcement acknowledged before
//! the old one is let go. Where the hub itself drains, the lane comes back within the time that the
//! hub asks for. What the hub says decides nothing here but when to come back.
//!
//! Where all connections are full for some seconds, as many are made again. What was added is closed
//! once none is full and one carries nothing.
//!
//! Bounds: 8 connections, 16 addresses of a name, 5 s to connect, 10 s for each handshake, 30 s to
//! end. Attempts never stop: a mistake on the hub heals without anybody at the agent.

mod address;
mod carriage;
mod error;
mod known;
mod lane;
mod links;
mod load;
mod metrics;
mod proxy;
mod schedule;
mod talk;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_pki::PkiError;
use strait_runtime::{Context, Shutdown, Task};
use strait_tunnel::Config;
use tokio::sync::watch;

pub use address::NoProxy;
pub use error::DialError;
pub use links::Chosen;
pub use proxy::{InvalidProxy, Proxy, ProxyError};
pub use ways::{Way, Ways};

use crate::link::control::Callable;
use crate::link::{Acceptor, Link, Memory};
use lane::Lane;
use links::Links;
use load::{Load, surplus};
use metrics::{Certificate, DialMetrics};

/// How often a hub that is reached inside WebSockets is tried without.
pub const PROBE_EVERY: Duration = Duration::from_secs(3600);

/// Between two looks whether a connection that is not needed any more carries nothing.
const IDLE_LOOK: Duration = Duration::from_secs(1);

/// Streams about the connection itself, one of each side.
const CONTROL_STREAMS: usize = 2;

/// Time for connections to end once they are to.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(30);

/// Where a hub is, and how many connections to it there are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The way there.
    pub way: Way,
    /// How many connections.
    pub connections: u8,
}

/// The agent as a member of its hub; asked for each connection.
pub trait Member: Send + Sync + 'static {
    /// How connections are made now ([`strait_pki::tunnel_client_config`] with
    /// [`TUNNEL_PROTOCOL`](crate::TUNNEL_PROTOCOL)).
    ///
    /// # Errors
    /// The key or certificate cannot be used.
    fn tls(&self) -> Result<Arc<ClientConfig>, PkiError>;

    /// When the certificate of now ends.
    fn not_after(&self) -> Timestamp;

    /// When a connection by the certificate of now is to be replaced by one with the next.
    fn replace_at(&self) -> Timestamp;

    /// The hub asks for the next certificate.
    fn renew(&self);
}

/// What is announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Counts announcements; grows.
    pub generation: i64,
    /// Its messages ([`services::announcement`](crate::services::announcement)).
    pub messages: Vec<Vec<u8>>,
}

/// What a tunnel is made of.
pub struct Setup {
    /// Who the agent is.
    pub member: Arc<dyn Member>,
    /// What connections say in their HELLO.
    pub config: Config,
    /// Where to; nowhere while there is none.
    pub route: watch::Receiver<Option<Route>>,
    /// What is offered.
    pub announcements: watch::Receiver<Arc<Announcement>>,
    /// Makes what takes the streams of one connection; control streams do not get there.
    pub acceptor: Box<dyn Fn() -> Acceptor + Send + Sync>,
    /// What all connections hold.
    pub memory: Arc<Memory>,
    /// What connections are made with.
    pub ways: Ways,
    /// How often a hub that is reached inside WebSockets is tried without, where that is allowed
    /// ([`PROBE_EVERY`]).
    pub probe_every: Duration,
}

/// How the connections are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How many there are to be.
    pub wanted: usize,
    /// How many take streams.
    pub ready: usize,
    /// How many there are, those that end included.
    pub open: usize,
    /// Why the last attempt failed, if none succeeded since.
    pub failure: Option<String>,
}

impl Status {
    /// Whether the hub can reach the agent, or nobody wants it to.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.wanted == 0 || self.ready > 0 {
            return Ok(());
        }
        Err(self.failure.clone().unwrap_or_else(|| "there is no connection to the hub yet".into()))
    }
}

/// Connections to a hub. Clones are the same.
#[derive(Clone)]
pub struct Tunnel(Arc<Inner>);

struct Inner {
    setup: Setup,
    context: Context,
    status: watch::Sender<Status>,
    metrics: DialMetrics,
    links: Mutex<Links>,
    offered: watch::Sender<Option<Vec<Callable>>>,
}

impl Tunnel {
    /// Nothing is connected before it runs.
    #[must_use]
    pub fn new(setup: Setup, context: &Context) -> Self {
        let metrics = DialMetrics::new(&context.metrics);
        let status = watch::Sender::default();
        let (context, links) = (context.clone(), Mutex::default());
        let offered = watch::Sender::default();
        let inner = Arc::new(Inner { setup, context, status, metrics, links, offered });
        let certificate = Certificate(Arc::downgrade(&inner));
        inner.context.metrics.register_collector(certificate);
        Self(inner)
    }

    /// How the connections are, from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// What the hub offers to the agent, as it told last; none before it told anything.
    #[must_use]
    pub fn offered(&self) -> watch::Receiver<Option<Vec<Callable>>> {
        self.0.offered.subscribe()
    }

    /// The connection for a stream to the hub: the least busy one, without those that were tried
    /// while there is another. None while there is none.
    #[must_use]
    pub fn choose(&self, tried: &[u64]) -> Option<Chosen> {
        self.0.links.lock().choose(tried)
    }

    /// Keeps connections until the shutdown, then lets them end: what takes longer than
    /// [`LEAVE_WITHIN`] is cut off.
    pub async fn run(self) {
        let inner = &self.0;
        let shutdown = &inner.context.shutdown;
        let mut route = inner.setup.route.clone();
        let mut lanes: Vec<Running> = Vec::new();
        let (mut load, mut before) = (Load::default(), 0);
        while !shutdown.is_asked() {
            let told = route.borrow_and_update().as_ref().map_or(0, |route| route.connections);
            let wanted = usize::from(load.wanted(told));
            inner.status.send_modify(|status| status.wanted = wanted);
            let is_told = told < std::mem::replace(&mut before, told);
            while let Some(one) = surplus(lanes.iter().map(Running::is_idle), wanted, is_told) {
                lanes.remove(one).stop.ask();
            }
            while lanes.len() < wanted {
                lanes.push(self.lane());
            }
            tokio::select! {
                () = shutdown.asked() => {}
                changed = route.changed() => if changed.is_err() { shutdown.asked().await },
                () = self.until_load_changes(&mut load, told) => {}
                () = tokio::time::sleep(IDLE_LOOK), if lanes.len() > wanted => {}
            }
        }
        for lane in lanes {
            // A panic was logged.
            drop(lane.task.await);
        }
        let mut status = self.status();
        // Each connection has its own limit, which is shorter.
        drop(tokio::time::timeout(LEAVE_WITHIN, status.wait_for(|status| status.open == 0)).await);
    }

    /// Looks at the connections until there are to be more or fewer.
    async fn until_load_changes(&self, load: &mut Load, told: u8) {
        if told == 0 {
            return std::future::pending().await;
        }
        let before = load.wanted(told);
        while load.wanted(told) == before {
            tokio::time::sleep(load::LOOK_EVERY).await;
            let busy = self.0.links.lock().busy();
            load.look(told, &busy);
        }
        let (wanted, configured) = (load.wanted(told), told);
        tracing::info!(wanted, configured, "the hub is connected to as often as is needed");
    }

    fn lane(&self) -> Running {
        let stop = self.0.context.shutdown.child();
        let lane = Lane::new(self.0.clone(), stop.clone());
        let link = lane.link();
        Running { stop, link, task: self.0.context.tasks.spawn("tunnel-lane", lane.run()) }
    }
}

impl Inner {
    fn with_status(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }
}

struct Running {
    stop: Shutdown,
    link: Arc<ArcSwapOption<Link>>,
    task: Task<()>,
}

impl Running {
    /// Whether no stream is on its connection.
    fn is_idle(&self) -> bool {
        let link = self.link.load();
        link.as_ref().is_none_or(|link| link.open_streams() <= CONTROL_STREAMS)
    }
}
