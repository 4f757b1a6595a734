//! A backend that hangs, and a flood that is refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use http::StatusCode;

use super::gate::Gate;
use super::load::{self, Make, Numbers, Sent};
use super::rates::BODY;
use super::sinks::Sink;
use super::webhook::Webhooks;
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, milliseconds, percentile, percentiles};
use crate::stopwatch::Stopwatch;

/// Webhooks a second, and how many.
const PACE: Duration = Duration::from_millis(50);
const COUNT: u64 = 400;
/// Time for the healthy backends to have everything.
const DELIVERED_MAX: Duration = Duration::from_secs(30);

/// The flood: senders, and bytes of each body.
const FLOOD_SENDERS: usize = 64;
const FLOOD_BODY: usize = 500_000;
/// The flood's time, and the pace of what is good meanwhile.
const FLOOD: Duration = Duration::from_secs(8);
const GOOD_PACE: Duration = Duration::from_millis(50);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let runtime = crate::bench::load::runtime()?;
    runtime.block_on(async {
        let mut rows = hung(ground).await?;
        rows.push(flood(ground).await?);
        Ok(rows)
    })
}

/// The same webhooks twice: with three healthy backends, then with one that hangs.
async fn hung(ground: &Ground) -> Result<Vec<Row>> {
    let (_, calm) = run(ground, false).await?;
    let (sent, lag) = run(ground, true).await?;
    let latencies = sent.latencies();
    let at = |lags: &[Duration]| milliseconds(percentile(lags, 0.99));
    Ok(vec![
        Row {
            name: "hooks: acknowledgement p99, one of three backends hung, 20/s",
            goal: Some(Goal::AtMost(50.0)),
            measured: milliseconds(percentile(&latencies, 0.99)),
            unit: "ms",
            details: format!("{COUNT} of {COUNT} acknowledged; {}", percentiles(&latencies)),
        },
        Row {
            name: "hooks: the healthy two's lag p99 beside the undisturbed",
            goal: Some(Goal::AtMost(2.0)),
            measured: at(&lag) / at(&calm),
            unit: "x",
            details: format!("all delivered; {:.2} ms beside {:.2} ms", at(&lag), at(&calm)),
        },
    ])
}

/// Sends at the pace; the lags of the first two backends, sorted.
async fn run(ground: &Ground, hang: bool) -> Result<(Sent, Vec<Duration>)> {
    let stopwatch = Stopwatch::start();
    let mut sinks = Vec::new();
    for _ in 0..3 {
        sinks.push(Sink::start(stopwatch, true).await?);
    }
    if hang {
        sinks[2].hang();
    }
    let gate = Gate::start(ground, &sinks.iter().collect::<Vec<_>>(), "")?;
    let webhooks = Webhooks::new(BODY)?;
    let make: Make = Arc::new(move |number| webhooks.good(number));
    let sent = load::paced(gate.to(), COUNT, PACE, stopwatch, &Numbers::default(), &make).await?;
    let mut lags = Vec::new();
    for sink in &sinks[..2] {
        sink.wait(COUNT, DELIVERED_MAX).await?;
        let came: BTreeMap<u64, Duration> = sink.times()?;
        for (number, acknowledged, _) in &sent.answers {
            let Some(came) = came.get(number) else { bail!("delivery {number} is missing") };
            // Delivered before its sender knew: no lag.
            lags.push(came.saturating_sub(*acknowledged));
        }
    }
    lags.sort_unstable();
    Ok((sent, lags))
}

async fn flood(ground: &Ground) -> Result<Row> {
    let stopwatch = Stopwatch::start();
    let sink = Sink::start(stopwatch, false).await?;
    let gate = Gate::start(ground, &[&sink], "")?;
    let (large, small) = (Webhooks::new(FLOOD_BODY)?, Webhooks::new(BODY)?);
    let bad: Make = Arc::new(move |number| large.bad(number));
    let good: Make = Arc::new(move |number| small.good(number));
    let numbers = Numbers::default();
    let count = u64::try_from(FLOOD.as_millis() / GOOD_PACE.as_millis())?;
    let (flooded, sent) = tokio::join!(
        load::closed(&gate, FLOOD_SENDERS, FLOOD, &numbers, StatusCode::UNAUTHORIZED, &bad),
        load::paced(gate.to(), count, GOOD_PACE, stopwatch, &numbers, &good),
    );
    let (flooded, sent) = (flooded?, sent?);
    let latencies = sent.latencies();
    Ok(Row {
        name: "hooks: good p50 while 64 senders flood 500 KB with bad signatures",
        goal: Some(Goal::AtMost(60.0)),
        measured: milliseconds(percentile(&latencies, 0.5)),
        unit: "ms",
        details: format!(
            "{}; {:.0} bad ones a second refused",
            percentiles(&latencies),
            flooded.answers.len() as f64 / FLOOD.as_secs_f64()
        ),
    })
}
