//! What is counted of connections to the hub.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use strait_runtime::{Label, Metrics};

use super::Inner;
use super::error::DialError;
use super::schedule::Cause;
use crate::link::Carriage;

/// Counters of one agent.
pub(super) struct DialMetrics {
    ready: Family<Way, Gauge>,
    reconnects: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    drains: Family<Label, Counter>,
}

/// An address of the hub, and what carries a connection to it.
type Way = [(&'static str, String); 2];

impl DialMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let new = Self {
            ready: Family::default(),
            reconnects: Family::default(),
            failures: Family::default(),
            drains: Family::default(),
        };
        let help = "Connections to the hub that take streams";
        metrics.register("strait_relay_connections", help, new.ready.clone());
        let help = "Connections to the hub that had to be made again";
        metrics.register("strait_relay_reconnects", help, new.reconnects.clone());
        let help = "Attempts to connect to the hub that failed";
        metrics.register("strait_relay_handshake_failures", help, new.failures.clone());
        let help = "Connections to the hub that were to end in order, by who wanted that";
        metrics.register("strait_relay_drains", help, new.drains.clone());
        new
    }

    /// How many connections take streams that are to this address of the hub.
    pub(super) fn ready(&self, address: &str, carriage: Carriage) -> Gauge {
        let carriage = ("carriage", carriage.as_str().to_owned());
        self.ready.get_or_create_owned(&[("hub", address.to_owned()), carriage])
    }

    /// A side lets a connection end once its streams have.
    pub(super) fn drained(&self, by: &'static str) {
        self.drains.get_or_create(&[("by", by)]).inc();
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

/// Reads at each scrape for how long the agent's certificate is valid.
#[derive(Debug)]
pub(super) struct Certificate(pub(super) Weak<Inner>);

impl Collector for Certificate {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(inner) = self.0.upgrade() else { return Ok(()) };
        let left = inner.setup.member.not_after().duration_since(inner.context.clock.now());
        let metric = ConstGauge::<f64>::new(left.as_secs_f64());
        let name = "strait_relay_certificate_expiry_seconds";
        let help = "Until the agent's certificate ends";
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }
}
