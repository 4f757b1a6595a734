//! What listeners tell of themselves. Labels are their names and closed sets.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strait_runtime::Metrics;

type Pair = [(&'static str, String); 2];

/// The metrics of an agent's listeners: made once.
#[derive(Clone, Debug, Default)]
pub(super) struct IncomingMetrics {
    streams: Family<Pair, Counter>,
    open: Family<[(&'static str, String); 1], Gauge>,
    bytes: Family<Pair, Counter>,
    closed: Family<[(&'static str, String); 1], Counter>,
}

impl IncomingMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let this = Self::default();
        metrics.register(
            "strait_relay_incoming_streams",
            "Streams of listeners that ended, by the code that they ended with",
            this.streams.clone(),
        );
        metrics.register(
            "strait_relay_incoming_streams_open",
            "Streams of listeners",
            this.open.clone(),
        );
        metrics.register(
            "strait_relay_incoming_bytes",
            "Bytes of bodies and raw streams, to and from services of the hub",
            this.bytes.clone(),
        );
        metrics.register(
            "strait_relay_incoming_closed",
            "Connections to listeners of bytes that were closed since there were too many",
            this.closed.clone(),
        );
        this
    }

    pub(super) fn opened(&self, listener: &str) -> Counted {
        let gauge = self.open.get_or_create_owned(&[("incoming", listener.to_owned())]);
        gauge.inc();
        Counted(gauge)
    }

    /// A connection was closed since there were as many as may be.
    pub(super) fn closed(&self, listener: &str) {
        self.closed.get_or_create_owned(&[("incoming", listener.to_owned())]).inc();
    }

    pub(super) fn ended(&self, listener: &str, code: &str, [up, down]: [u64; 2]) {
        let pair =
            |name, value: &str| [("incoming", listener.to_owned()), (name, value.to_owned())];
        self.streams.get_or_create(&pair("code", code)).inc();
        self.bytes.get_or_create(&pair("direction", "out")).inc_by(up);
        self.bytes.get_or_create(&pair("direction", "in")).inc_by(down);
    }
}

/// Counts while it lives.
#[derive(Debug)]
pub(super) struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
