//! What servers tell of themselves.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strait_runtime::{Label, Metrics};

/// The metrics of every [`Server`](crate::Server) of a process: made once, cloned to each.
#[derive(Clone, Debug)]
pub struct ServerMetrics {
    pub(crate) connections: Gauge,
    resting: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) accepted: Counter,
    failures: Family<Label, Counter>,
    pub(crate) panics: Counter,
}

/// Why a connection came to nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConnectionFailure {
    /// The kernel gave an error instead of a connection.
    Accept,
    /// Too many were open.
    Limit,
    /// Its client had too many.
    AddressLimit,
    /// It did not say clearly where a request ends.
    Framing,
    /// A trusted proxy did not say clearly whose it is.
    Proxy,
    /// The handshake took too long.
    HandshakeTimeout,
    /// The handshake failed.
    Handshake,
}

impl ServerMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            connections: Gauge::default(),
            resting: Gauge::default(),
            waiting: Gauge::default(),
            accepted: Counter::default(),
            failures: Family::default(),
            panics: Counter::default(),
        };
        metrics.register(
            "strait_net_connections",
            "Connections that are open",
            this.connections.clone(),
        );
        metrics.register(
            "strait_net_connections_resting",
            "Connections of HTTP/1.1 that are open, silent, and hold no buffers",
            this.resting.clone(),
        );
        metrics.register(
            "strait_net_answers_waiting_bytes",
            "Bytes of answers over HTTP/1.1 that their clients have not taken",
            this.waiting.clone(),
        );
        metrics.register(
            "strait_net_connections_accepted",
            "Connections that were accepted",
            this.accepted.clone(),
        );
        metrics.register(
            "strait_net_connection_failures",
            "Connections that came to nothing",
            this.failures.clone(),
        );
        metrics.register(
            "strait_net_handler_panics",
            "Requests that were answered 500 because their handler panicked",
            this.panics.clone(),
        );
        this
    }

    pub(crate) fn failed(&self, failure: ConnectionFailure) {
        let reason = match failure {
            ConnectionFailure::Accept => "accept",
            ConnectionFailure::Limit => "limit",
            ConnectionFailure::AddressLimit => "address_limit",
            ConnectionFailure::Framing => "framing",
            ConnectionFailure::Proxy => "proxy",
            ConnectionFailure::HandshakeTimeout => "handshake_timeout",
            ConnectionFailure::Handshake => "handshake",
        };
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }
}

/// Counts a connection while this lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    pub(crate) fn open(metrics: &ServerMetrics) -> Self {
        metrics.accepted.inc();
        metrics.connections.inc();
        Self(metrics.connections.clone())
    }

    pub(crate) fn resting(metrics: &ServerMetrics) -> Self {
        metrics.resting.inc();
        Self(metrics.resting.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
