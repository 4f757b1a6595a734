//! What is counted of connections to the hub.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strait_runtime::{Label, Metrics};

use super::error::DialError;
use super::schedule::Cause;

/// Counters of one agent.
pub(super) struct DialMetrics {
    pub(super) ready: Gauge,
    reconnects: Family<Label, Counter>,
    failures: Family<Label, Counter>,
}

impl DialMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let new = Self {
            ready: Gauge::default(),
            reconnects: Family::default(),
            failures: Family::default(),
        };
        let help = "Connections to the hub that take streams";
        metrics.register("strait_relay_connections", help, new.ready.clone());
        let help = "Connections to the hub that had to be made again";
        metrics.register("strait_relay_reconnects", help, new.reconnects.clone());
        let help = "Attempts to connect to the hub that failed";
        metrics.register("strait_relay_handshake_failures", help, new.failures.clone());
        new
    }

    pub(super) fn ended(&self, cause: Cause) {
        self.reconnects.get_or_create(&[("reason", cause.as_str())]).inc();
    }

    pub(super) fn failed(&self, error: &DialError) {
        let reason = match error {
            DialError::Address(_) | DialError::NoAddress | DialError::Pki(_) => "settings",
            DialError::Resolve { .. } => "name",
            DialError::Connect { .. } => "connect",
            DialError::TimedOut { .. } => "timeout",
            DialError::Proxy(_) => "proxy",
            DialError::NotTrusted { .. } | DialError::NeitherWay { .. } => "authority",
            DialError::Tls { .. } => "tls",
            DialError::NoTunnel { .. } | DialError::Http { .. } | DialError::NoWebSocket { .. } => {
                "protocol"
            }
            DialError::Ended { .. } => "ended",
        };
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }
}
