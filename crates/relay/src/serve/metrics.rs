//! What serving tells of itself. Labels are names of services and closed sets.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use strait_runtime::Metrics;
use strait_tunnel::Code;

type Pair = [(&'static str, String); 2];
type Three = [(&'static str, String); 3];

/// The metrics of an agent's services: made once.
#[derive(Clone, Debug)]
pub struct ServingMetrics {
    connections: Family<Pair, Gauge>,
    streams: Family<Three, Counter>,
    open: Family<Pair, Gauge>,
    bytes: Family<Pair, Counter>,
}

impl ServingMetrics {
    /// Registers them.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let this = Self {
            connections: Family::default(),
            streams: Family::default(),
            open: Family::default(),
            bytes: Family::default(),
        };
        metrics.register(
            "strait_relay_inner_connections",
            "Connections to services, in use or resting",
            this.connections.clone(),
        );
        metrics.register(
            "strait_relay_served_streams",
            "Streams that ended, by the code that they ended with",
            this.streams.clone(),
        );
        metrics.register(
            "strait_relay_served_streams_open",
            "Streams that are served now",
            this.open.clone(),
        );
        metrics.register(
            "strait_relay_served_bytes",
            "Bytes of bodies and raw streams, to and from services",
            this.bytes.clone(),
        );
        this
    }

    /// The numbers of a service's streams, of which it has one kind.
    pub(super) fn of(&self, service: &str, kind: &'static str) -> Series {
        let bytes = |way| self.bytes.get_or_create_owned(&pair(service, "direction", way));
        let labels = pair(service, "kind", kind);
        Series {
            open: self.open.get_or_create_owned(&labels),
            answered: self.streams.get_or_create_owned(&ended(&labels, Code::None)),
            bytes: ["in", "out"].map(bytes),
            streams: self.streams.clone(),
            labels,
        }
    }

    pub(super) fn connection(&self, service: &str) -> Connected {
        let [active, resting] = ["active", "resting"]
            .map(|state| self.connections.get_or_create_owned(&pair(service, "state", state)));
        active.inc();
        Connected { active, resting, is_resting: false }
    }
}

fn pair(service: &str, name: &'static str, value: &str) -> Pair {
    [("service", service.to_owned()), (name, value.to_owned())]
}

/// With the code that streams ended with.
fn ended(labels: &Pair, code: Code) -> Three {
    let [service, kind] = labels.clone();
    [service, kind, ("code", code.as_str().to_owned())]
}

/// The numbers of a service's streams, found once.
#[derive(Debug)]
pub(super) struct Series {
    open: Gauge,
    /// Those that ended as they should.
    answered: Counter,
    /// To the service, and from it.
    bytes: [Counter; 2],
    /// By how they ended, for what is seldom.
    streams: Family<Three, Counter>,
    labels: Pair,
}

impl Series {
    pub(super) fn opened(&self) -> Counted {
        self.open.inc();
        Counted(self.open.clone())
    }

    pub(super) fn ended(&self, code: Code, bytes: (u64, u64)) {
        match code {
            Code::None => self.answered.inc(),
            _ => self.streams.get_or_create(&ended(&self.labels, code)).inc(),
        };
        self.bytes[0].inc_by(bytes.0);
        self.bytes[1].inc_by(bytes.1);
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

/// Counts a connection while it lives.
#[derive(Debug)]
pub(super) struct Connected {
    active: Gauge,
    resting: Gauge,
    is_resting: bool,
}

impl Connected {
    pub(super) fn rest(&mut self, rests: bool) {
        if rests != self.is_resting {
            let (from, to) =
                if rests { (&self.active, &self.resting) } else { (&self.resting, &self.active) };
            from.dec();
            to.inc();
            self.is_resting = rests;
        }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if self.is_resting { &self.resting } else { &self.active }.dec();
    }
}
