//! How fast webhooks are acknowledged and delivered when nothing is wrong.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http::StatusCode;

use super::gate::Gate;
use super::load::{self, Make, Numbers};
use super::sinks::Sink;
use super::webhook::Webhooks;
use crate::bench::report::{Goal, Row, milliseconds, percentile, percentiles};
use crate::bench::{Ground, cpu, disk};
use crate::stopwatch::Stopwatch;

/// Bytes of a usual webhook.
pub(crate) const BODY: usize = 5 << 10;
/// Pairs of runs whose medians are compared.
const ROUNDS: usize = 5;
/// Time of each run.
const RUN: Duration = Duration::from_secs(2);
/// Time for the backends to have everything.
const DELIVERED_MAX: Duration = Duration::from_secs(60);

/// One run: rate, and processor time of the server for each webhook.
#[derive(Clone, Copy, Debug)]
struct Run {
    per_second: f64,
    micros: f64,
    p50: Duration,
}

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let runtime = crate::bench::load::runtime()?;
    runtime.block_on(async {
        let stopwatch = Stopwatch::start();
        let sinks = [
            Sink::start(stopwatch, false).await?,
            Sink::start(stopwatch, false).await?,
            Sink::start(stopwatch, false).await?,
        ];
        let gate = Gate::start(ground, &[&sinks[0], &sinks[1], &sinks[2]], "")?;
        let idle = f64::from(cpu::resident_kib(gate.pid())?) / 1024.0;
        let site = Site {
            gate,
            sinks,
            numbers: Numbers::default(),
            webhooks: Webhooks::new(BODY)?.into(),
        };
        let mut rows = vec![Row {
            name: "hooks: resident memory, idle",
            goal: Some(Goal::AtMost(16.0)),
            measured: idle,
            unit: "MiB",
            details: "VmRSS after the start, 3 backends".into(),
        }];
        site.run(16, true).await?;
        for (senders, names) in [
            (
                16,
                [
                    "hooks: acknowledged of answered only, 16 senders",
                    "hooks: CPU of a webhook, 16 senders",
                ],
            ),
            (
                64,
                [
                    "hooks: acknowledged of answered only, 64 senders",
                    "hooks: CPU of a webhook, 64 senders",
                ],
            ),
        ] {
            rows.extend(site.compare(senders, names).await?);
        }
        let before: u64 = site.sinks.iter().map(Sink::connections).sum();
        let delivered: u64 = site.sinks.iter().map(Sink::requests).sum();
        rows.push(Row {
            name: "hooks: new connections for each delivery",
            goal: Some(Goal::AtMost(0.01)),
            measured: before as f64 / delivered as f64,
            unit: "",
            details: format!("{before} connections, {delivered} deliveries"),
        });
        rows.push(site.alone(ground).await?);
        Ok(rows)
    })
}

struct Site {
    gate: Gate,
    sinks: [Sink; 3],
    numbers: Numbers,
    webhooks: Arc<Webhooks>,
}

impl Site {
    async fn run(&self, senders: usize, good: bool) -> Result<Run> {
        let webhooks = self.webhooks.clone();
        let make: Make = if good {
            Arc::new(move |number| webhooks.good(number))
        } else {
            Arc::new(move |number| webhooks.bad(number))
        };
        let wanted = if good { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED };
        let had: Vec<u64> = self.sinks.iter().map(Sink::requests).collect();
        let before = cpu::time(self.gate.pid())?;
        let sent = load::closed(&self.gate, senders, RUN, &self.numbers, wanted, &make).await?;
        let count = sent.answers.len();
        if good {
            for (sink, had) in self.sinks.iter().zip(had) {
                sink.wait(had + count as u64, DELIVERED_MAX).await?;
            }
        }
        let used = cpu::time(self.gate.pid())? - before;
        Ok(Run {
            per_second: count as f64 / RUN.as_secs_f64(),
            micros: used.as_secs_f64() * 1e6 / count as f64,
            p50: percentile(&sent.latencies(), 0.5),
        })
    }

    /// Acknowledging and delivering beside answering only, in turn.
    async fn compare(&self, senders: usize, names: [&'static str; 2]) -> Result<[Row; 2]> {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        let mut last = String::new();
        for _ in 0..ROUNDS {
            let durable = self.run(senders, true).await?;
            let answered = self.run(senders, false).await?;
            rates.push(durable.per_second / answered.per_second);
            costs.push(durable.micros / answered.micros);
            last = format!(
                "last round: {:.0}/s with p50 {:.2} ms beside {:.0}/s; CPU {:.0} µs beside {:.0} µs",
                durable.per_second,
                milliseconds(durable.p50),
                answered.per_second,
                durable.micros,
                answered.micros
            );
        }
        let row = |name, goal, measured, details| Row {
            name,
            goal: Some(goal),
            measured,
            unit: "x",
            details,
        };
        let details = format!("median of {ROUNDS} pairs; {last}");
        Ok([
            row(names[0], Goal::AtLeast(0.2), median(&mut rates), details),
            row(
                names[1],
                Goal::AtMost(4.0),
                median(&mut costs),
                "delivered to three; beside answering only".into(),
            ),
        ])
    }

    /// One sender, beside a sync of the same bytes.
    async fn alone(&self, ground: &Ground) -> Result<Row> {
        let mut over = Vec::new();
        let mut details = String::new();
        for _ in 0..ROUNDS {
            let syncs = disk::syncs(ground, BODY)?;
            let sync = percentile(&syncs, 0.5);
            let webhooks = self.webhooks.clone();
            let make: Make = Arc::new(move |number| webhooks.good(number));
            let sent = load::closed(&self.gate, 1, RUN, &self.numbers, StatusCode::ACCEPTED, &make)
                .await?;
            let latencies = sent.latencies();
            over.push(milliseconds(percentile(&latencies, 0.5)) - milliseconds(sync));
            details = format!(
                "last round: {}; fdatasync p50 {:.2} ms",
                percentiles(&latencies),
                milliseconds(sync)
            );
        }
        Ok(Row {
            name: "hooks: acknowledgement p50 over a sync, 1 sender",
            goal: Some(Goal::AtMost(0.3)),
            measured: median(&mut over),
            unit: "ms",
            details: format!("median of {ROUNDS}; {details}"),
        })
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
