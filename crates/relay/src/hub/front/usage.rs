//! The resource `agentmetrics`: what the connections of each instance of an agent carry now.

use std::collections::BTreeMap;
use std::sync::Arc;

use strait_apiserver::{Query, Reach, View};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_machinery::status::Status;
use strait_types::{ClusterName, GroupResource};

use super::Front;
use super::unstored::{GROUP, VERSION, Wanted};
use crate::hub::tunnels::Carrying;

/// Fields that a selector may be about.
const FIELDS: [&str; 3] = ["metadata.name", "spec.agent", "spec.instance"];

/// An instance: logical cluster, agent, installation.
type Instance = (ClusterName, Arc<str>, Arc<str>);

impl Front {
    /// What each instance carries that is wanted.
    ///
    /// # Errors
    /// There is no such instance, or the selector is wrong.
    pub(super) fn agent_metrics(
        &self,
        view: &dyn View,
        name: Option<&str>,
        query: &Query,
    ) -> Result<Vec<Value>, Status> {
        let wanted = Wanted::parse(query, &FIELDS)?;
        let of = match view.reach() {
            Reach::All => None,
            Reach::Cluster(cluster) => Some(cluster),
        };
        let mut instances: BTreeMap<Instance, Vec<Carrying>> = BTreeMap::new();
        for one in self.tunnels.carrying(of) {
            let key = (one.cluster.clone(), one.agent.clone(), one.instance.clone());
            instances.entry(key).or_default().push(one);
        }
        instances.retain(|(_, agent, instance), _| {
            let own = name_of(agent, instance);
            let is_meant = wanted.has(|field| match field {
                "spec.agent" => agent,
                "spec.instance" => instance,
                _ => &own,
            });
            name.map_or(is_meant, |name| name == own)
        });
        if let Some(name) = name
            && instances.is_empty()
        {
            return Err(Status::not_found(&GroupResource::new(GROUP, "agentmetrics"), name));
        }
        Ok(instances.iter().map(|(instance, all)| value_of(instance, all)).collect())
    }
}

/// As requests to join are named.
fn name_of(agent: &str, instance: &str) -> String {
    format!("{agent}.{instance}")
}

/// What one connection carries, or several together.
#[derive(Clone, Copy, Default)]
struct Sum {
    streams: u64,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    buffered: u64,
    queued: u64,
    round_trip: Option<u64>,
}

impl Sum {
    fn of(one: &Carrying) -> Self {
        let (usage, carried) = (one.link.usage(), one.link.carried());
        let micros =
            |took: std::time::Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self {
            streams: usage.open as u64,
            requests: carried.streams,
            bytes_in: carried.sent,
            bytes_out: carried.received,
            buffered: usage.unconsumed,
            queued: usage.queued as u64,
            round_trip: one.link.round_trip().map(micros),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            streams: self.streams + other.streams,
            requests: self.requests + other.requests,
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            buffered: self.buffered + other.buffered,
            queued: self.queued + other.queued,
            round_trip: self.round_trip.into_iter().chain(other.round_trip).min(),
        }
    }

    fn to_value(self) -> Value {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut value = object! {
            "streams": number(self.streams),
            "requests": number(self.requests),
            "bytesIn": number(self.bytes_in),
            "bytesOut": number(self.bytes_out),
            "bufferedBytes": number(self.buffered),
            "queuedBytes": number(self.queued),
        };
        if let Some(micros) = self.round_trip {
            value.set(&["rttMicros"], number(micros));
        }
        value
    }
}

fn value_of((cluster, agent, instance): &Instance, all: &[Carrying]) -> Value {
    let time = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let sums: Vec<Sum> = all.iter().map(Sum::of).collect();
    let each = all.iter().zip(&sums).map(|(one, sum)| {
        let mut value = sum.to_value();
        value.set(&["number"], i64::try_from(one.serial).unwrap_or(i64::MAX));
        value.set(&["since"], time(one.since));
        value.set(&["address"], one.peer.ip().to_string());
        value
    });
    let each: Vec<Value> = each.collect();
    let mut status = sums.iter().copied().fold(Sum::default(), Sum::and).to_value();
    status.set(&["connections"], i64::try_from(all.len()).unwrap_or(i64::MAX));
    status.set(&["each"], each);
    let since = all.iter().map(|one| one.since).min().unwrap_or_default();
    object! {
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "AgentMetrics",
        "metadata": object! {
            "name": name_of(agent, instance),
            "creationTimestamp": time(since),
            "annotations": object! {"kcp.io/cluster": cluster.as_str()},
        },
        "spec": object! {"agent": &**agent, "instance": &**instance},
        "status": status,
    }
}
