//! What is read at each scrape: connections, how far away agents are, memory.

use std::fmt;
use std::sync::Weak;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::OTHER;
use crate::hub::Tunnels;

/// Agents with lines of their own; more are counted together.
const AGENTS_MAX: usize = 2_000;

/// Reads the tunnels.
#[derive(Debug)]
pub(in crate::hub) struct Scraped(pub(in crate::hub) Weak<Tunnels>);

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(tunnels) = self.0.upgrade() else { return Ok(()) };
        let agents = tunnels.agents();
        let label = |workspace: &str, agent: &str| {
            [("workspace", workspace.to_owned()), ("agent", agent.to_owned())]
        };
        let help = "Connections that agents keep";
        let name = "strait_relay_connections";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let (own, rest) = agents.split_at(agents.len().min(AGENTS_MAX));
        let put = |family: &mut prometheus_client::encoding::MetricEncoder<'_>, labels, value| {
            let metric = ConstGauge::<f64>::new(value);
            metric.encode(family.encode_family(&labels)?)
        };
        #[expect(clippy::cast_precision_loss, reason = "connections and bytes fit a double")]
        let number = |count: usize| count as f64;
        for agent in own {
            let labels = label(agent.cluster.as_str(), &agent.name);
            put(&mut family, labels, number(agent.connections))?;
        }
        if !rest.is_empty() {
            let sum = rest.iter().map(|agent| agent.connections).sum();
            put(&mut family, label(OTHER, OTHER), number(sum))?;
        }
        let help = "Bytes that wait to be sent to an agent";
        let name = "strait_relay_send_queue_bytes";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for agent in own {
            let labels = label(agent.cluster.as_str(), &agent.name);
            put(&mut family, labels, number(agent.queued))?;
        }
        let help = "The shortest round trip to an agent of the last seconds";
        let name = "strait_relay_rtt_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for agent in own {
            if let Some(took) = agent.round_trip {
                let labels = label(agent.cluster.as_str(), &agent.name);
                put(&mut family, labels, took.as_secs_f64())?;
            }
        }
        let memory = tunnels.memory();
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory fit a double")]
        let (held, limit) = (memory.held() as f64, memory.limit() as f64);
        let help = "Bytes that were received by tunnels and not passed on yet";
        gauge(&mut encoder, "strait_relay_buffered_bytes", help, held)?;
        let help = "The same, of what all tunnels together may hold";
        gauge(&mut encoder, "strait_relay_budget_ratio", help, held / limit)
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let metric = ConstGauge::<f64>::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
