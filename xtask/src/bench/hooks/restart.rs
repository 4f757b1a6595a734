//! A restart with a backlog.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use http::StatusCode;

use super::gate::Gate;
use super::load::{self, Make, Numbers};
use super::sinks::Sink;
use super::webhook::Webhooks;
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, milliseconds};
use crate::https::{answer, drive};
use crate::stopwatch::Stopwatch;

/// Webhooks that wait.
const BACKLOG: usize = 100_000;
const BODY: usize = 1_024;
const SENDERS: usize = 64;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let runtime = crate::bench::load::runtime()?;
    runtime.block_on(async {
        let sink = Sink::start(Stopwatch::start(), false).await?;
        sink.hang();
        let mut gate = Gate::start(ground, &[&sink], "")?;
        let webhooks = Arc::new(Webhooks::new(BODY)?);
        let make: Make = {
            let webhooks = webhooks.clone();
            Arc::new(move |number| webhooks.good(number))
        };
        let (numbers, stopwatch) = (Numbers::default(), Stopwatch::start());
        let mut count = 0;
        while count < BACKLOG {
            let run = Duration::from_secs(1);
            let sent =
                load::closed(&gate, SENDERS, run, &numbers, StatusCode::ACCEPTED, &make).await?;
            count += sent.answers.len();
            if stopwatch.elapsed() > Duration::from_secs(300) {
                bail!("only {count} of {BACKLOG} were acknowledged in 300 s");
            }
        }
        let had = sink.requests();
        let stopwatch = Stopwatch::start();
        gate.restart()?;
        let (mut sender, driver) = gate.connect().await?;
        let asked = async move {
            Ok(answer(&mut sender, webhooks.good(u64::from(u32::MAX))).await?.status())
        };
        let status = drive(driver, asked).await?;
        let accepting = stopwatch.elapsed();
        if status != StatusCode::ACCEPTED {
            bail!("after the restart a webhook was answered {status}");
        }
        sink.wait(had + 1, Duration::from_secs(60)).await?;
        let delivering = stopwatch.elapsed();
        Ok(vec![Row {
            name: "hooks: accepting again after kill -9 with 100,000 undelivered",
            goal: Some(Goal::AtMost(1000.0)),
            measured: milliseconds(accepting),
            unit: "ms",
            details: format!(
                "{count} wait; ready line after {:.0} ms, first attempt after {:.0} ms",
                milliseconds(gate.started_in),
                milliseconds(delivering)
            ),
        }])
    })
}
