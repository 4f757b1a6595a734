//! One listener: what comes in, and where it goes.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strait_net::{Clear, Limits, Server, handler_of_heads};
use strait_runtime::{Context, RequestIds, Shutdown};
use strait_tunnel::{Code, Directions};

use super::metrics::IncomingMetrics;
use super::socket::Served;
use super::{Setup, is_raw, raw};
use crate::link::Canceller;
use crate::services::{Hosts, ServiceType};

/// Connections at once.
pub(super) const CONNECTIONS: u32 = 1_024;

/// Where a listener's requests go.
#[derive(Debug)]
pub(super) struct To {
    /// The listener's name.
    pub(super) listener: String,
    /// The type of the hub's service.
    pub(super) kind: ServiceType,
    /// Its name.
    pub(super) service: String,
    /// The names under which the listener answers.
    pub(super) hosts: Hosts,
}

pub(super) struct Listener {
    pub(super) setup: Arc<Setup>,
    pub(super) context: Context,
    pub(super) metrics: IncomingMetrics,
    pub(super) ids: RequestIds,
    to: ArcSwap<To>,
    raw: bool,
    streams: Mutex<Streams>,
}

/// What is open, to be cut.
#[derive(Default)]
struct Streams {
    next: u64,
    open: HashMap<u64, Option<Canceller>>,
    is_cut: bool,
}

impl Listener {
    pub(super) fn new(
        setup: Arc<Setup>,
        context: Context,
        metrics: IncomingMetrics,
        to: To,
    ) -> Arc<Self> {
        let (raw, streams) = (is_raw(&to.kind), Mutex::default());
        let (to, ids) = (ArcSwap::from_pointee(to), RequestIds::new(context.entropy.clone()));
        Arc::new(Self { setup, context, metrics, ids, to, raw, streams })
    }

    /// Whether it takes bytes, not HTTP.
    pub(super) const fn is_raw(&self) -> bool {
        self.raw
    }

    pub(super) fn to(&self) -> Arc<To> {
        self.to.load_full()
    }

    /// What comes from now on goes there.
    pub(super) fn aim(&self, to: To) {
        self.to.store(Arc::new(to));
    }

    /// Takes connections until `stop`.
    pub(super) fn serve(self: Arc<Self>, socket: Served, stop: &Shutdown) {
        let Context { tasks, .. } = self.context.clone();
        if self.raw {
            let stop = stop.clone();
            match socket {
                Served::Tcp(socket) => tasks.spawn("incoming", raw::accept(self, socket, stop)),
                Served::Unix(socket) => tasks.spawn("incoming", raw::accept(self, socket, stop)),
            };
            return;
        }
        let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
        let plain = Server::plain(self.setup.metrics.clone(), tasks.clone(), stop.clone());
        let server = Server { limits, clear: Clear::Http1Or2, ..plain };
        let answer = handler_of_heads(move |connection, request| {
            let listener = self.clone();
            async move { listener.answer(&connection, request.into_parts()).await }
        });
        match socket {
            Served::Tcp(socket) => tasks.spawn("incoming", server.serve(socket, answer)),
            Served::Unix(socket) => tasks.spawn("incoming", server.serve_unix(socket, answer)),
        };
    }

    /// Ends every stream.
    pub(super) fn cut(&self) {
        let mut streams = self.streams.lock();
        streams.is_cut = true;
        let open: Vec<_> = streams.open.values().flatten().cloned().collect();
        drop(streams);
        for canceller in open {
            cancel(&canceller);
        }
    }

    /// A stream's place among those that are open.
    pub(super) fn enter(&self) -> u64 {
        let mut streams = self.streams.lock();
        streams.next += 1;
        let id = streams.next;
        streams.open.insert(id, None);
        id
    }

    /// A connection takes the stream.
    pub(super) fn taken(&self, id: u64, canceller: Canceller) {
        let mut streams = self.streams.lock();
        if streams.is_cut {
            drop(streams);
            return cancel(&canceller);
        }
        streams.open.insert(id, Some(canceller));
    }

    pub(super) fn leave(&self, id: u64) {
        self.streams.lock().open.remove(&id);
    }
}

fn cancel(canceller: &Canceller) {
    canceller.reset(Directions::Both, Code::Revoked, "the listener is gone");
}
