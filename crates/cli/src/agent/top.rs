//! `strait agent top`: what the connections of agents carry, as rates between two looks.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};
use strait_machinery::json::Value;
use strait_machinery::object;
use strait_runtime::{Clock as _, SystemClock};

use crate::client::Workspace;
use crate::exit::{Exit, Failure};
use crate::objects::{Kind, cell, read};
use crate::output::{self, table};

/// What the hub says of each instance.
const METRICS: Kind = Kind {
    noun: "agent",
    collection: "/apis/relay.strait.dev/v1alpha1/agentmetrics",
    resource: "agentmetric.relay.strait.dev",
    columns: &COLUMNS,
    narrow: COLUMNS.len(),
    row: |_, _| Vec::new(),
    typed: |one| one.str_at(&["spec", "agent"]).unwrap_or_default().to_owned(),
    details: |_| Vec::new(),
};

const COLUMNS: [&str; 10] = [
    "AGENT",
    "INSTANCE",
    "CONNECTIONS",
    "STREAMS",
    "REQUESTS/S",
    "IN/S",
    "OUT/S",
    "RTT",
    "BUFFERED",
    "QUEUED",
];

/// Between the first two looks.
const FIRST: Duration = Duration::from_secs(1);

/// Between looks with `--watch`.
const EVERY: Duration = Duration::from_secs(2);

/// Clears a terminal.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";

/// Shows what agents carry now: connections, streams, requests and bytes a second
///
/// IN is to the agent, OUT from it. BUFFERED came from it and nobody has taken it yet; QUEUED
/// waits to be sent to it.
#[derive(Args, Debug)]
pub(super) struct TopArgs {
    /// One agent alone
    agent: Option<String>,

    /// How to print
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    output: Format,

    /// Look again every two seconds
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// What an instance carried between two looks.
#[derive(Clone, Debug, PartialEq)]
struct Carried {
    agent: String,
    instance: String,
    connections: u64,
    streams: u64,
    /// A second, as are bytes.
    requests: f64,
    bytes_in: f64,
    bytes_out: f64,
    round_trip: Option<Duration>,
    buffered: u64,
    queued: u64,
}

/// Looks, and prints.
pub(super) async fn run(args: &TopArgs, workspace: &Workspace) -> Result<Exit, Failure> {
    let terminal = std::io::stdout().is_terminal();
    let mut before = (SystemClock.monotonic(), read(&METRICS, workspace).await?);
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        let now = (SystemClock.monotonic(), read(&METRICS, workspace).await?);
        let all = carried(&before.1, &now.1, now.0.saturating_sub(before.0));
        let is_meant = |one: &Carried| args.agent.as_ref().is_none_or(|own| *own == one.agent);
        let all: Vec<Carried> = all.into_iter().filter(is_meant).collect();
        let mut out = Vec::new();
        if args.watch && terminal && args.output == Format::Table {
            out.extend_from_slice(CLEAR);
        }
        print(&all, args.output, &mut out);
        std::io::stdout().lock().write_all(&out)?;
        if !args.watch && all.is_empty() {
            let which = args.agent.as_ref().map_or_else(String::new, |name| format!(" {name:?}"));
            output::note(&format!(
                "no agent{which} is connected in workspace {}",
                workspace.name()
            ));
            return Ok(if args.agent.is_some() { Exit::No } else { Exit::Done });
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        (before, pause) = (now, EVERY);
    }
}

/// What each instance of the second look carried since the first.
fn carried(before: &Value, now: &Value, took: Duration) -> Vec<Carried> {
    let number = |value: &Value, key: &str| {
        value.at(&[key]).and_then(Value::as_i64).and_then(|one| u64::try_from(one).ok())
    };
    let connections = |list: &Value| -> Vec<Value> {
        let items = list.array_at(&["items"]).iter();
        items.flat_map(|one| one.array_at(&["status", "each"]).to_vec()).collect()
    };
    let known = connections(before);
    // What is new has carried everything since then.
    let was = |one: &Value, key: &str| {
        let own = known.iter().find(|was| was.at(&["number"]) == one.at(&["number"]));
        own.and_then(|own| number(own, key)).unwrap_or(0)
    };
    let instance = |one: &Value| {
        let status = one.get("status").cloned().unwrap_or_else(Value::object);
        let per_second = |key: &str| {
            let each = status.array_at(&["each"]).iter();
            let grew = each.map(|one| number(one, key).unwrap_or(0).saturating_sub(was(one, key)));
            #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
            let grew = grew.sum::<u64>() as f64;
            grew / took.as_secs_f64().max(0.001)
        };
        let text = |key| one.str_at(&["spec", key]).unwrap_or_default().to_owned();
        let sum = |key| number(&status, key).unwrap_or(0);
        Carried {
            agent: text("agent"),
            instance: text("instance"),
            connections: sum("connections"),
            streams: sum("streams"),
            requests: per_second("requests"),
            bytes_in: per_second("bytesIn"),
            bytes_out: per_second("bytesOut"),
            round_trip: number(&status, "rttMicros").map(Duration::from_micros),
            buffered: sum("bufferedBytes"),
            queued: sum("queuedBytes"),
        }
    };
    now.array_at(&["items"]).iter().map(instance).collect()
}

fn print(all: &[Carried], format: Format, out: &mut Vec<u8>) {
    if format == Format::Json {
        let items: Vec<Value> = all.iter().map(Carried::to_value).collect();
        out.extend(object! {"items": items}.to_pretty_bytes());
        out.push(b'\n');
        return;
    }
    if !all.is_empty() {
        let header = COLUMNS.map(str::to_owned).to_vec();
        let rows: Vec<_> = std::iter::once(header).chain(all.iter().map(Carried::row)).collect();
        // Memory takes everything.
        let _ = table(&rows, out);
    }
}

impl Carried {
    fn row(&self) -> Vec<String> {
        let millis = |took: Duration| format!("{:.1}ms", took.as_secs_f64() * 1e3);
        #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
        let bytes = |count: u64| size(count as f64);
        vec![
            self.agent.clone(),
            self.instance.clone(),
            self.connections.to_string(),
            self.streams.to_string(),
            format!("{:.1}", self.requests),
            size(self.bytes_in),
            size(self.bytes_out),
            cell(&self.round_trip.map(millis).unwrap_or_default()),
            bytes(self.buffered),
            bytes(self.queued),
        ]
    }

    fn to_value(&self) -> Value {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let mut value = object! {
            "agent": &*self.agent,
            "instance": &*self.instance,
            "connections": number(self.connections),
            "streams": number(self.streams),
            "requestsPerSecond": self.requests,
            "bytesInPerSecond": self.bytes_in,
            "bytesOutPerSecond": self.bytes_out,
            "bufferedBytes": number(self.buffered),
            "queuedBytes": number(self.queued),
        };
        if let Some(took) = self.round_trip {
            value.set(&["rttSeconds"], took.as_secs_f64());
        }
        value
    }
}

/// Bytes as people read them: three digits or so.
fn size(bytes: f64) -> String {
    let (mut left, mut unit) = (bytes, "");
    for next in ["Ki", "Mi", "Gi"] {
        if left < 1000.0 {
            break;
        }
        (left, unit) = (left / 1024.0, next);
    }
    if unit.is_empty() || left >= 10.0 {
        format!("{left:.0}{unit}")
    } else {
        format!("{left:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(connections: &[(i64, i64, i64)]) -> Value {
        let each = connections.iter().map(|(number, requests, bytes)| {
            object! {"number": *number, "requests": *requests, "bytesIn": *bytes, "bytesOut": 3 * *bytes}
        });
        let each: Vec<Value> = each.collect();
        object! {"items": vec![object! {
            "spec": object! {"agent": "smith", "instance": "q4"},
            "status": object! {
                "connections": connections.len() as i64,
                "streams": 3,
                "rttMicros": 18_250,
                "bufferedBytes": 70_000,
                "queuedBytes": 0,
                "each": each,
            },
        }]}
    }

    #[test]
    fn rates_are_of_connections_that_were_there_and_of_those_that_came() {
        let second = Duration::from_secs(1);
        for (before, now, took, requests, bytes) in [
            (&[(1, 10, 100)][..], &[(1, 30, 1_100)][..], second, 20.0, 1_000.0),
            (&[(1, 10, 100)], &[(1, 30, 1_100)], 2 * second, 10.0, 500.0),
            (&[(1, 10, 100)], &[(1, 10, 100)], second, 0.0, 0.0),
            // The other connection is gone, and a new one there.
            (&[(1, 10, 100), (2, 50, 7_000)], &[(1, 11, 110), (3, 4, 40)], second, 5.0, 50.0),
            (&[], &[(7, 2, 10)], second, 2.0, 10.0),
        ] {
            let all = carried(&look(before), &look(now), took);
            let [one] = &all[..] else { panic!("{all:?}") };
            assert_eq!((one.requests, one.bytes_in, one.bytes_out), (requests, bytes, 3.0 * bytes));
            assert_eq!((one.connections, one.streams), (now.len() as u64, 3));
        }
    }

    #[test]
    fn a_row_has_everything_in_its_units() {
        let all = carried(&look(&[(1, 0, 0)]), &look(&[(1, 5, 3 << 20)]), Duration::from_secs(2));
        let row = all[0].row();
        assert_eq!(row, ["smith", "q4", "1", "3", "2.5", "1.5Mi", "4.5Mi", "18.2ms", "68Ki", "0"]);
        assert_eq!(row.len(), COLUMNS.len());
        let value = all[0].to_value();
        assert_eq!(value.str_at(&["instance"]), Some("q4"));
        assert_eq!(value.at(&["requestsPerSecond"]).unwrap().to_string(), "2.5");
        assert_eq!(value.at(&["rttSeconds"]).unwrap().to_string(), "0.01825");
        let mut out = Vec::new();
        print(&[], Format::Table, &mut out);
        assert!(out.is_empty());
        print(&[], Format::Json, &mut out);
        assert_eq!(strait_machinery::json::parse(&out).unwrap().array_at(&["items"]).len(), 0);
    }

    #[test]
    fn sizes_have_few_digits() {
        for (bytes, expected) in [
            (0.0, "0"),
            (0.4, "0"),
            (999.0, "999"),
            (1_000.0, "1.0Ki"),
            (70_000.0, "68Ki"),
            (5e6, "4.8Mi"),
            (1e12, "931Gi"),
            (1e15, "931323Gi"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
