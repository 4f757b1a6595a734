//! What is read at each scrape: connections, how far away agents are, certificates, memory.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use strait_runtime::Clock;

use super::OTHER;
use crate::hub::Tunnels;
use crate::hub::tunnels::ConnectedAgent;
use crate::link::Carriage;

/// Agents with lines of their own; more are counted together.
const AGENTS_MAX: usize = 2_000;

/// Reads the tunnels.
#[derive(Debug)]
pub(in crate::hub) struct Scraped {
    pub(in crate::hub) tunnels: Weak<Tunnels>,
    pub(in crate::hub) clock: Arc<dyn Clock>,
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tunnels) = self.tunnels.upgrade() else { return Ok(()) };
        let agents = tunnels.agents();
        let (own, rest) = agents.split_at(agents.len().min(AGENTS_MAX));
        let help = "Connections that agents keep";
        let lines = own.iter().flat_map(|agent| carried(agent, of(agent)));
        let lines = lines.chain(together(rest));
        gauges(&mut encoder, "strait_relay_connections", help, lines)?;
        let help = "Bytes that wait to be sent to an agent";
        let lines = own.iter().map(|agent| (of(agent), number(agent.queued)));
        gauges(&mut encoder, "strait_relay_send_queue_bytes", help, lines)?;
        let help = "The shortest round trip to an agent of the last seconds";
        let round_trip =
            |agent: &ConnectedAgent| Some((of(agent), agent.round_trip?.as_secs_f64()));
        let lines = own.iter().filter_map(round_trip);
        gauges(&mut encoder, "strait_relay_rtt_seconds", help, lines)?;
        let help = "Until the first of an agent's instances that are connected has no certificate";
        let now = self.clock.now();
        let left = |agent: &ConnectedAgent| agent.not_after.duration_since(now).as_secs_f64();
        let lines = own.iter().map(|agent| (of(agent), left(agent)));
        gauges(&mut encoder, "strait_relay_certificate_expiry_seconds", help, lines)?;
        let memory = tunnels.memory();
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory fit a double")]
        let (held, limit) = (memory.held() as f64, memory.limit() as f64);
        let help = "Bytes that were received by tunnels and not passed on yet";
        gauge(&mut encoder, "strait_relay_buffered_bytes", help, held)?;
        let help = "The same, of what all tunnels together may hold";
        gauge(&mut encoder, "strait_relay_budget_ratio", help, held / limit)?;
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory fit a double")]
        let [most, part] = memory.most().map(|bytes| bytes as f64);
        let help = "The same of the workspace whose tunnels hold most, of what one may";
        gauge(&mut encoder, "strait_relay_workspace_budget_ratio", help, most / part)
    }
}

type Labels<const N: usize> = [(&'static str, String); N];

fn of(agent: &ConnectedAgent) -> Labels<2> {
    [("workspace", agent.cluster.to_string()), ("agent", agent.name.clone())]
}

/// An agent's connections by what carries them, under labels of its own or of others.
fn carried(agent: &ConnectedAgent, labels: Labels<2>) -> impl Iterator<Item = (Labels<4>, f64)> {
    let hub = agent.hub.to_string();
    let each = Carriage::ALL.into_iter().zip(agent.connections);
    each.filter(|(_, count)| *count > 0).map(move |(carriage, count)| {
        let [workspace, agent] = labels.clone();
        let carriage = ("carriage", carriage.as_str().to_owned());
        ([workspace, agent, ("hub", hub.clone()), carriage], number(count))
    })
}

/// The connections of agents that have no lines of their own.
fn together(rest: &[ConnectedAgent]) -> Vec<(Labels<4>, f64)> {
    let Some(first) = rest.first() else { return Vec::new() };
    let mut sum = ConnectedAgent { connections: [0; 2], ..first.clone() };
    for agent in rest {
        for (sum, count) in sum.connections.iter_mut().zip(agent.connections) {
            *sum += count;
        }
    }
    let labels = [("workspace", OTHER.to_owned()), ("agent", OTHER.to_owned())];
    carried(&sum, labels).collect()
}

#[expect(clippy::cast_precision_loss, reason = "connections and bytes fit a double")]
const fn number(count: usize) -> f64 {
    count as f64
}

fn gauges<const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    lines: impl Iterator<Item = (Labels<N>, f64)>,
) -> fmt::Result
where
    Labels<N>: EncodeLabelSet,
{
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in lines {
        ConstGauge::<f64>::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstGauge::<f64>::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
