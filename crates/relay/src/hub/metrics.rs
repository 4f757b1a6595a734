//! What the hub counts of streams, by service.
//!
//! A service's numbers are found once, when it is announced, and kept with what is announced: a
//! request looks nothing up and writes no text. They go when nobody announces the service and no
//! stream of it is open. Labels come from objects; beyond [`SERIES_MAX`] lines of services what is
//! new is counted as `other`.

mod by;
mod durations;
mod scraped;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use strait_runtime::{Label, Metrics};
use strait_tunnel::{Code, Stalled};
use strait_types::ClusterName;

pub(super) use by::By;
use durations::{Bounds, Durations, LINES as HISTOGRAM_LINES};
pub(super) use scraped::Scraped;

use crate::link::Stalls;
use crate::record::Kind;

/// Most lines of services that a scrape has, those of `other` aside.
const SERIES_MAX: usize = 10_000;

/// Bounds of how long streams take, microseconds.
const TOOK: Bounds = [
    5_000,
    25_000,
    100_000,
    500_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

/// Bounds of what the relay adds to a service's own time, microseconds.
const ADDED: Bounds = [500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

/// What streams are counted under: the hundreds of a status, and none.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What a label stands for that there is no room for.
const OTHER: &str = "other";

type Labels<const N: usize> = [(&'static str, String); N];
type Seconds = Counter<f64, AtomicU64>;
type Histograms = Family<Labels<4>, Durations, fn() -> Durations>;

/// The hub's numbers of streams.
#[derive(Debug)]
pub(super) struct RelayMetrics {
    open: Family<Labels<4>, Gauge>,
    ended: Family<Labels<5>, Counter>,
    seconds: Histograms,
    added: Histograms,
    bytes: Family<Labels<4>, Counter>,
    resets: Family<[(&'static str, &'static str); 2], Counter>,
    refused: Family<Label, Counter>,
    retries: Family<Label, Counter>,
    drains: Family<Label, Counter>,
    handshakes: Family<Label, Counter>,
    stalled: Family<Labels<3>, Counter>,
    credit: Family<Labels<4>, Seconds>,
    cut: Histogram,
    lines: AtomicUsize,
    known: Mutex<HashMap<Key, Weak<Series>>>,
}

/// A service: logical cluster, agent, name.
type Key = (ClusterName, String, String);

/// The numbers of one service.
#[derive(Debug)]
pub(super) struct Series {
    metrics: Arc<RelayMetrics>,
    key: Key,
    /// By kind.
    open: [OnceLock<Slot<Gauge>>; Kind::ALL.len()],
    stalled: OnceLock<Slot<Counter>>,
    credit: [OnceLock<Slot<Seconds>>; SIDES.len()],
    bytes: [OnceLock<Slot<Counter>>; 2],
    seconds: [OnceLock<Slot<Durations>>; CLASSES.len()],
    added: [OnceLock<Slot<Durations>>; CLASSES.len()],
    /// By kind, and by code; the last is for those without a name.
    ended: [[OnceLock<Slot<Counter>>; Code::ALL.len() + 1]; Kind::ALL.len()],
}

/// A metric, and whether it is the service's own.
#[derive(Debug)]
struct Slot<M> {
    metric: M,
    own: bool,
}

impl RelayMetrics {
    pub(super) fn new(metrics: &Metrics) -> Arc<Self> {
        let new = Self {
            open: Family::default(),
            ended: Family::default(),
            seconds: Family::new_with_constructor(|| Durations::new(&TOOK)),
            added: Family::new_with_constructor(|| Durations::new(&ADDED)),
            bytes: Family::default(),
            resets: Family::default(),
            refused: Family::default(),
            retries: Family::default(),
            drains: Family::default(),
            handshakes: Family::default(),
            stalled: Family::default(),
            credit: Family::default(),
            cut: Histogram::new([0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0]),
            lines: AtomicUsize::new(0),
            known: Mutex::default(),
        };
        let help = "Streams to services that are open";
        metrics.register("strait_relay_streams_open", help, new.open.clone());
        let help = "Streams to services that ended, by the code that they ended with";
        metrics.register("strait_relay_streams", help, new.ended.clone());
        let help = "From a stream's beginning to its end, by the class of its status";
        metrics.register("strait_relay_request_seconds", help, new.seconds.clone());
        let help = "What a request took until its answer's head beyond the time that its agent \
                    gives the service, by the class of its status";
        metrics.register("strait_relay_added_seconds", help, new.added.clone());
        let help = "Bytes of bodies and upgraded connections, to and from services";
        metrics.register("strait_relay_bytes", help, new.bytes.clone());
        let help = "Streams that did not end well, by code and by who broke them off";
        metrics.register("strait_relay_resets", help, new.resets.clone());
        let help = "Requests for services that were answered by the hub, by the reason";
        metrics.register("strait_relay_refused", help, new.refused.clone());
        let help = "Requests that were sent again, by how the earlier try ended";
        metrics.register("strait_relay_retries", help, new.retries.clone());
        let help = "Connections of agents that were to end in order, by who wanted that";
        metrics.register("strait_relay_drains", help, new.drains.clone());
        let help = "Connections of agents that never came to be, by code";
        metrics.register("strait_relay_handshake_failures", help, new.handshakes.clone());
        let help = "Requests for which too many of their service waited to be accepted by an agent";
        metrics.register("strait_relay_stalled", help, new.stalled.clone());
        let help = "For how long streams stood still since a side takes nothing more";
        metrics.register("strait_relay_credit_stall_seconds", help, new.credit.clone());
        let help = "From the moment that a stream was to be cut to its end";
        metrics.register("strait_relay_revocation_cut_seconds", help, new.cut.clone());
        Arc::new(new)
    }

    /// The numbers of a service.
    pub(super) fn of(
        self: &Arc<Self>,
        (cluster, agent, service): (&ClusterName, &str, &str),
    ) -> Arc<Series> {
        let key = (cluster.clone(), agent.to_owned(), service.to_owned());
        let mut known = self.known.lock();
        if let Some(series) = known.get(&key).and_then(Weak::upgrade) {
            return series;
        }
        let series = Arc::new(Series {
            metrics: self.clone(),
            key: key.clone(),
            open: Default::default(),
            stalled: OnceLock::new(),
            credit: Default::default(),
            bytes: Default::default(),
            seconds: Default::default(),
            added: Default::default(),
            ended: std::array::from_fn(|_| std::array::from_fn(|_| OnceLock::new())),
        });
        known.insert(key, Arc::downgrade(&series));
        series
    }

    /// The hub answered in a service's place.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// A request is sent again after a try that ended so.
    pub(super) fn retried(&self, reason: &'static str) {
        self.retries.get_or_create(&[("reason", reason)]).inc();
    }

    /// A side lets a connection end once its streams have.
    pub(super) fn drained(&self, by: &'static str) {
        self.drains.get_or_create(&[("by", by)]).inc();
    }

    /// A connection of an agent did not come to be.
    pub(super) fn not_shaken(&self, code: Code) {
        self.handshakes.get_or_create(&[("reason", code.as_str())]).inc();
    }

    /// A stream that was to be cut is over.
    pub(super) fn cut(&self, took: Duration) {
        self.cut.observe(took.as_secs_f64());
    }

    /// Takes room for so many lines, if there is.
    fn take(&self, lines: usize) -> bool {
        let add = |taken: usize| Some(taken + lines).filter(|sum| *sum <= SERIES_MAX);
        self.lines.fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    /// Forgets a service's own metric.
    fn forget<const N: usize, M: Clone, C: MetricConstructor<M>>(
        &self,
        slot: &OnceLock<Slot<M>>,
        lines: usize,
        is_last: bool,
        family: &Family<Labels<N>, M, C>,
        labels: &Labels<N>,
    ) {
        if slot.get().is_some_and(|slot| slot.own) {
            self.lines.fetch_sub(lines, Relaxed);
            if is_last {
                family.remove(labels);
            }
        }
    }
}

impl Series {
    /// A stream began.
    pub(super) fn opened(&self, kind: Kind) {
        let labels = || self.with("kind", kind.as_str());
        self.metric(&self.open[kind as usize], 1, &self.metrics.open, labels).inc();
    }

    /// A request found too many before it that no agent has accepted.
    pub(super) fn stalled(&self) {
        self.metric(&self.stalled, 1, &self.metrics.stalled, || self.labels()).inc();
    }

    /// The head of an answer is there, so much later than it was at the agent's.
    pub(super) fn added(&self, status: u16, time: Duration) {
        let class = class_of(status);
        let labels = || self.with("class", CLASSES[class]);
        let slot = &self.added[class];
        self.metric(slot, HISTOGRAM_LINES, &self.metrics.added, labels).observe(time);
    }

    /// A stream that began is over.
    pub(super) fn ended(
        &self,
        (kind, code, by): (Kind, Code, By),
        status: u16,
        took: Duration,
        [up, down]: [u64; 2],
    ) {
        let metrics = &*self.metrics;
        let labels = || self.with("kind", kind.as_str());
        self.metric(&self.open[kind as usize], 1, &metrics.open, labels).dec();
        let at = usize::from(code.to_wire()).min(Code::ALL.len());
        let labels = || self.of_end(kind, code.as_str());
        self.metric(&self.ended[kind as usize][at], 1, &metrics.ended, labels).inc();
        let class = class_of(status);
        let labels = || self.with("class", CLASSES[class]);
        let seconds = self.metric(&self.seconds[class], HISTOGRAM_LINES, &metrics.seconds, labels);
        seconds.observe(took);
        for (at, count) in [up, down].into_iter().enumerate() {
            let labels = || self.with("direction", DIRECTIONS[at]);
            self.metric(&self.bytes[at], 1, &metrics.bytes, labels).inc_by(count);
        }
        if code != Code::None {
            metrics.resets.get_or_create(&[("code", code.as_str()), ("by", by.as_str())]).inc();
        }
    }

    fn labels(&self) -> Labels<3> {
        let (cluster, agent, service) = &self.key;
        [("workspace", cluster.to_string()), ("agent", agent.clone()), ("service", service.clone())]
    }

    fn with(&self, name: &'static str, value: &str) -> Labels<4> {
        let [workspace, agent, service] = self.labels();
        [workspace, agent, service, (name, value.to_owned())]
    }

    fn of_end(&self, kind: Kind, code: &str) -> Labels<5> {
        let [workspace, agent, service, kind] = self.with("kind", kind.as_str());
        [workspace, agent, service, kind, ("code", code.to_owned())]
    }

    fn metric<'a, const N: usize, M: Clone, C: MetricConstructor<M>>(
        &self,
        slot: &'a OnceLock<Slot<M>>,
        lines: usize,
        family: &Family<Labels<N>, M, C>,
        labels: impl FnOnce() -> Labels<N>,
    ) -> &'a M {
        let slot = slot.get_or_init(|| {
            let (own, mut labels) = (self.metrics.take(lines), labels());
            if !own {
                for (_, value) in labels.iter_mut().take(3) {
                    OTHER.clone_into(value);
                }
            }
            Slot { metric: family.get_or_create_owned(&labels), own }
        });
        &slot.metric
    }
}

fn class_of(status: u16) -> usize {
    usize::from(status / 100).min(CLASSES.len() - 1)
}

/// Of bytes: to services, and from them.
const DIRECTIONS: [&str; 2] = ["in", "out"];

/// Who takes nothing more: the agent, for its service, or the client.
const SIDES: [&str; 2] = ["agent", "client"];

impl Stalls for Series {
    fn stood(&self, Stalled { sending, receiving }: Stalled) {
        for (at, time) in [sending, receiving].into_iter().enumerate() {
            if time > Duration::ZERO {
                let labels = || self.with("side", SIDES[at]);
                let metric = self.metric(&self.credit[at], 1, &self.metrics.credit, labels);
                metric.inc_by(time.as_secs_f64());
            }
        }
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let metrics = &*self.metrics;
        let mut known = metrics.known.lock();
        // One that was announced again meanwhile counts on under the same labels.
        let is_last = known.get(&self.key).is_some_and(|own| std::ptr::eq(own.as_ptr(), self));
        if is_last {
            known.remove(&self.key);
        }
        for (kind, slots) in Kind::ALL.into_iter().zip(&self.ended) {
            let labels = self.with("kind", kind.as_str());
            metrics.forget(&self.open[kind as usize], 1, is_last, &metrics.open, &labels);
            let codes = Code::ALL.iter().map(|code| code.as_str()).chain(["UNKNOWN"]);
            for (slot, code) in slots.iter().zip(codes) {
                metrics.forget(slot, 1, is_last, &metrics.ended, &self.of_end(kind, code));
            }
        }
        metrics.forget(&self.stalled, 1, is_last, &metrics.stalled, &self.labels());
        for (slot, class) in self.seconds.iter().zip(CLASSES) {
            let labels = self.with("class", class);
            metrics.forget(slot, HISTOGRAM_LINES, is_last, &metrics.seconds, &labels);
        }
        for (slot, class) in self.added.iter().zip(CLASSES) {
            let labels = self.with("class", class);
            metrics.forget(slot, HISTOGRAM_LINES, is_last, &metrics.added, &labels);
        }
        for (slot, side) in self.credit.iter().zip(SIDES) {
            metrics.forget(slot, 1, is_last, &metrics.credit, &self.with("side", side));
        }
        for (slot, direction) in self.bytes.iter().zip(DIRECTIONS) {
            metrics.forget(slot, 1, is_last, &metrics.bytes, &self.with("direction", direction));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(metrics: &Metrics, of: &str) -> Vec<String> {
        let text = metrics.encode();
        text.lines().filter(|line| line.contains(of)).map(str::to_owned).collect()
    }

    #[test]
    fn a_service_is_counted_until_nobody_has_it() {
        let all = Metrics::new();
        let metrics = RelayMetrics::new(&all);
        let cluster = ClusterName::root();
        let at = (&cluster, "smith", "ci");
        let (first, second) = (metrics.of(at), metrics.of(at));
        first.opened(Kind::Http);
        second.opened(Kind::Raw);
        first.stood(Stalled { sending: Duration::ZERO, receiving: Duration::from_millis(1_500) });
        first.added(204, Duration::from_micros(700));
        first.ended((Kind::Http, Code::None, By::Agent), 204, Duration::from_millis(30), [7, 9]);
        let own = "{workspace=\"root\",agent=\"smith\",service=\"ci\"";
        for line in [
            format!("strait_relay_streams_open{own},kind=\"http\"}} 0"),
            format!("strait_relay_streams_open{own},kind=\"raw\"}} 1"),
            format!("strait_relay_streams_total{own},kind=\"http\",code=\"NONE\"}} 1"),
            format!("strait_relay_bytes_total{own},direction=\"in\"}} 7"),
            format!("strait_relay_bytes_total{own},direction=\"out\"}} 9"),
        ] {
            assert!(lines(&all, "smith").contains(&line), "{line}: {:?}", lines(&all, "smith"));
        }
        let bucket = "strait_relay_request_seconds_bucket{le=\"0.1\",workspace";
        assert!(lines(&all, bucket).iter().any(|line| line.ends_with(" 1")), "{}", all.encode());
        let stood = format!("strait_relay_credit_stall_seconds_total{own},side=\"client\"}} 1.5");
        assert_eq!(lines(&all, "credit_stall_seconds_total{"), [stood]);
        let added = format!("strait_relay_added_seconds_sum{own},class=\"2xx\"}} 0.0007");
        assert_eq!(lines(&all, "added_seconds_sum"), [added]);
        drop(first);
        second.ended((Kind::Raw, Code::Revoked, By::Hub), 0, Duration::ZERO, [0, 0]);
        assert_eq!(
            lines(&all, "strait_relay_resets_total{"),
            ["strait_relay_resets_total{code=\"REVOKED\",by=\"hub\"} 1"]
        );
        assert_eq!(metrics.lines.load(Relaxed), lines(&all, "smith").len());
        drop(second);
        assert_eq!((lines(&all, "smith").len(), metrics.lines.load(Relaxed)), (0, 0));
        assert!(metrics.known.lock().is_empty());
    }

    #[test]
    fn beyond_the_limit_services_are_counted_together() {
        let all = Metrics::new();
        let metrics = RelayMetrics::new(&all);
        let cluster = ClusterName::root();
        let agents = (0..1_000).map(|number| {
            let series = metrics.of((&cluster, &format!("agent-{number}"), "ci"));
            series.opened(Kind::Http);
            series.ended((Kind::Http, Code::None, By::Agent), 200, Duration::ZERO, [1, 1]);
            series
        });
        let agents: Vec<_> = agents.collect();
        let own = lines(&all, "agent=\"agent-").len();
        assert!((SERIES_MAX - HISTOGRAM_LINES..=SERIES_MAX).contains(&own), "{own}");
        let streams = lines(&all, "strait_relay_streams_total{");
        let sum: u64 = streams
            .iter()
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum();
        assert_eq!(sum, 1_000, "none is lost");
        drop(agents);
        assert!(lines(&all, "agent=\"agent-").is_empty());
        assert_eq!(metrics.lines.load(Relaxed), 0);
    }
}
