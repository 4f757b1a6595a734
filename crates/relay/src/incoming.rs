//! Programs beside an agent, on their way to services of its hub.
//!
//! ```text
//! program ─► listener ─► Message (or bytes) ─► recorded ─► OPEN ─► hub: offered? ─► service
//!                ▲                                                      │
//!                └──────────────── answer ◄─────────────────────────────┘
//! ```
//!
//! Who reaches a listener asks in the agent's name, so a listener is on this machine alone unless
//! its address says otherwise, and a socket belongs to the agent's user. What is offered is for
//! the hub to say; nothing a program says of who asks goes out. At a port it is asked under its
//! own name alone: a page of another site may lead its own name there.
//!
//! Limits: 1,024 connections of a listener, one request at a time on each, or 250 (HTTP/2); more
//! are closed and counted.

mod called;
mod full;
mod listener;
mod metrics;
mod raw;
mod request;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use strait_net::ServerMetrics;
use strait_runtime::{Context, Shutdown};
use strait_types::ClusterName;
use tokio::sync::watch;

use self::listener::{Listener, To};
use self::metrics::IncomingMetrics;
use self::socket::{Served, Socket};
use crate::dial::Tunnel;
use crate::link::control::Callable;
use crate::record::Recorder;
use crate::services::{DRAIN, HUB, Incoming, Listen, ServiceType};

/// In whose name listeners ask, and how they reach the hub.
pub struct Setup {
    /// The agent's user, as the hub knows it.
    pub user: String,
    /// Its logical cluster.
    pub cluster: ClusterName,
    /// Its connections.
    pub tunnel: Tunnel,
    /// Writes down what goes out.
    pub recorder: Recorder,
    /// Counts connections to listeners.
    pub metrics: ServerMetrics,
}

/// The listeners of an agent. Clones are the same.
#[derive(Clone)]
pub struct Listeners(Arc<Inner>);

struct Inner {
    setup: Arc<Setup>,
    context: Context,
    metrics: IncomingMetrics,
    open: Mutex<BTreeMap<String, Open>>,
    changed: watch::Sender<()>,
}

/// A listener that is served.
struct Open {
    listen: Listen,
    socket: Socket,
    listener: Arc<Listener>,
    /// Asked when it takes nothing more, forced when what it took must end.
    stop: Shutdown,
}

/// A listener that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("incoming {name}: cannot listen on {listen}")]
pub struct ListenError {
    name: String,
    listen: Listen,
    #[source]
    source: io::Error,
}

/// What there is to be, with all of it that can fail done.
#[must_use]
#[derive(Debug, Default)]
pub struct Bound {
    wanted: BTreeMap<String, Incoming>,
    /// Sockets of listeners that are not there yet.
    new: BTreeMap<String, Socket>,
    /// What to take connections from, of those and of listeners that are to speak something else.
    served: BTreeMap<String, Served>,
}

impl Listeners {
    /// None yet.
    #[must_use]
    pub fn new(setup: Setup, context: &Context) -> Self {
        let metrics = IncomingMetrics::new(&context.metrics);
        let (setup, context, open) = (Arc::new(setup), context.clone(), Mutex::default());
        let changed = watch::Sender::default();
        Self(Arc::new(Inner { setup, context, metrics, open, changed }))
    }

    /// Binds what these need and is not bound yet. Nothing changes before
    /// [`serve`](Self::serve), which cannot fail, and nothing at all where one cannot be bound.
    ///
    /// # Errors
    /// Every listener that cannot be opened.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(&self, wanted: &BTreeMap<String, Incoming>) -> Result<Bound, Vec<ListenError>> {
        let open = self.0.open.lock();
        let stay: Vec<_> =
            wanted.iter().filter_map(|(name, one)| kept(&open, name, &one.listen)).collect();
        let leaving = open.iter().filter(|(name, _)| !stay.contains(name));
        let leaving: Vec<_> = leaving.map(|(_, own)| &own.socket).collect();
        let mut bound = Bound { wanted: wanted.clone(), ..Bound::default() };
        let mut errors = Vec::new();
        for (name, incoming) in wanted {
            let own = kept(&open, name, &incoming.listen).and_then(|own| open.get(&own));
            if let Err(source) = bound.add(name, incoming, own, &leaving) {
                let (name, listen) = (name.clone(), incoming.listen.clone());
                errors.push(ListenError { name, listen, source });
            }
        }
        if !errors.is_empty() {
            bound.new.values().for_each(Socket::remove);
            return Err(errors);
        }
        Ok(bound)
    }

    /// Serves these listeners and no others. One whose address stays keeps its connections; one
    /// that is gone takes no more, and those that it has end within [`DRAIN`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn serve(&self, bound: Bound) {
        let Bound { wanted, mut new, mut served } = bound;
        let inner = &self.0;
        let mut open = inner.open.lock();
        let mut next = BTreeMap::new();
        for (name, incoming) in wanted {
            let Incoming { listen, kind, service, hosts } = incoming;
            let to = To { listener: name.clone(), kind, service, hosts };
            let socket = new.remove(&name);
            let before = kept(&open, &name, &listen).filter(|_| socket.is_none());
            let before = before.and_then(|own| open.remove(&own));
            let opened = match (before, socket, served.remove(&name)) {
                (Some(own), _, None) => {
                    own.listener.aim(to);
                    own
                }
                // What is spoken on it changes: the same socket, served anew.
                (Some(own), _, Some(served)) => {
                    inner.end(&own);
                    inner.start((own.socket, served), listen, to)
                }
                (None, Some(socket), Some(served)) => inner.start((socket, served), listen, to),
                // Closed meanwhile, and so is all.
                (None, ..) => continue,
            };
            next.insert(name, opened);
        }
        for gone in std::mem::replace(&mut *open, next).into_values() {
            gone.socket.remove();
            inner.end(&gone);
        }
        drop(open);
        inner.changed.send_replace(());
    }

    /// Where each listener is.
    #[must_use]
    pub fn places(&self) -> BTreeMap<String, Listen> {
        let open = self.0.open.lock();
        let places =
            open.iter().filter_map(|(name, own)| Some((name.clone(), own.socket.place()?)));
        places.collect()
    }

    /// Says which listeners have a service of the hub behind them, as that changes, for as long
    /// as it is polled.
    pub async fn watch(self) {
        let mut offered = self.0.setup.tunnel.offered();
        let mut changed = self.0.changed.subscribe();
        loop {
            let list = offered.borrow_and_update().clone();
            if let Some(list) = list {
                for own in self.0.open.lock().values() {
                    tell(&own.listener.to(), &list);
                }
            }
            let over = tokio::select! {
                told = offered.changed() => told.is_err(),
                told = changed.changed() => told.is_err(),
            };
            if over {
                return;
            }
        }
    }

    /// Takes nothing more, and removes the sockets.
    pub fn close(&self) {
        for gone in std::mem::take(&mut *self.0.open.lock()).into_values() {
            gone.socket.remove();
            gone.stop.ask();
        }
    }
}

impl Inner {
    fn start(&self, (socket, served): (Socket, Served), listen: Listen, to: To) -> Open {
        let stop = self.context.shutdown.child();
        let place = socket.place().unwrap_or_else(|| listen.clone());
        tracing::info!(incoming = to.listener, %place, service = to.service, "listening");
        let listener =
            Listener::new(self.setup.clone(), self.context.clone(), self.metrics.clone(), to);
        listener.clone().serve(served, &stop);
        Open { listen, socket, listener, stop }
    }

    fn end(&self, gone: &Open) {
        gone.stop.ask();
        let listener = gone.listener.clone();
        self.context.tasks.spawn_daemon("incoming.end", async move {
            tokio::time::sleep(DRAIN).await;
            listener.cut();
        });
    }
}

impl Bound {
    /// Makes what a listener needs; `own` is the one that is open at its place.
    fn add(
        &mut self,
        name: &str,
        incoming: &Incoming,
        own: Option<&Open>,
        leaving: &[&Socket],
    ) -> io::Result<()> {
        let served = match own {
            Some(own) if own.listener.is_raw() == is_raw(&incoming.kind) => return Ok(()),
            Some(own) => own.socket.served()?,
            None => {
                let socket = Socket::bind_beside(&incoming.listen, leaving)?;
                let served = socket.served();
                self.new.insert(name.to_owned(), socket);
                served?
            }
        };
        self.served.insert(name.to_owned(), served);
        Ok(())
    }
}

/// The name of the listener that is open at a place; one at any port stays under its own name.
fn kept(open: &BTreeMap<String, Open>, name: &str, listen: &Listen) -> Option<String> {
    let is_any_port = !listen.is_same(listen);
    let mut there = open
        .iter()
        .filter(|(own, one)| one.listen == *listen && (!is_any_port || own.as_str() == name));
    there.next().map(|(own, _)| own.clone())
}

const fn is_raw(kind: &ServiceType) -> bool {
    matches!(kind, ServiceType::Tcp)
}

fn tell(to: &To, list: &[Callable]) {
    let (incoming, kind, service) = (&*to.listener, to.kind.as_str(), &*to.service);
    if list.iter().any(|one| one.r#type == kind && one.name == service) {
        tracing::info!(incoming, service, "the hub offers it");
    } else {
        tracing::warn!(
            incoming,
            kind,
            service,
            from = HUB,
            "the hub does not offer it to this agent"
        );
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listeners").field(&self.places()).finish()
    }
}
