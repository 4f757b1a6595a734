//! Memory under bodies that nobody vouches for, and with a backlog.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use http::StatusCode;

use super::gate::Gate;
use super::load::{self, Make, Numbers};
use super::sinks::Sink;
use super::webhook::Webhooks;
use crate::bench::report::{Goal, Row};
use crate::bench::{Ground, cpu};
use crate::https::{answer, drive};
use crate::stopwatch::Stopwatch;

/// Bodies that come at once, and their bytes: just below what is taken.
const PARALLEL: usize = 32;
const LARGE: usize = 26_000_000;
/// How often they come.
const WAVES: usize = 3;

/// Webhooks that wait, and their bytes.
const BACKLOG: usize = 10_000;
const BACKLOG_BODY: usize = 500_000;
const BACKLOG_SENDERS: usize = 16;

/// Bytes that a server may have resident.
const GOAL: Goal = Goal::AtMost(192.0);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let runtime = crate::bench::load::runtime()?;
    runtime.block_on(async { Ok(vec![strangers(ground).await?, backlog(ground).await?]) })
}

async fn strangers(ground: &Ground) -> Result<Row> {
    let sink = Sink::start(Stopwatch::start(), false).await?;
    let gate = Gate::start(ground, &[&sink], "")?;
    let webhooks = Arc::new(Webhooks::new(LARGE)?);
    let mut statuses = std::collections::BTreeMap::<String, usize>::new();
    for _ in 0..WAVES {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..PARALLEL {
            let (mut sender, driver) = gate.connect().await?;
            let webhooks = webhooks.clone();
            tasks.spawn(drive(driver, async move {
                Ok(answer(&mut sender, webhooks.bad(number as u64)).await?.status())
            }));
        }
        while let Some(ended) = tasks.join_next().await {
            // A sender that is still writing may see the connection close instead of the answer.
            let status =
                ended?.map_or_else(|_| "broken".to_owned(), |status| status.as_str().to_owned());
            *statuses.entry(status).or_default() += 1;
        }
    }
    Ok(Row {
        name: "hooks: memory, 32 unauthenticated bodies of 26 MB at once",
        goal: Some(GOAL),
        measured: f64::from(cpu::peak_kib(gate.pid())?) / 1024.0,
        unit: "MiB",
        details: format!("VmHWM; answers: {statuses:?}"),
    })
}

/// A backend that hangs, so that all that is acknowledged waits.
async fn backlog(ground: &Ground) -> Result<Row> {
    let sink = Sink::start(Stopwatch::start(), false).await?;
    sink.hang();
    let gate = Gate::start(ground, &[&sink], "")?;
    let webhooks = Webhooks::new(BACKLOG_BODY)?;
    let make: Make = Arc::new(move |number| webhooks.good(number));
    let numbers = Numbers::default();
    let mut count = 0;
    let stopwatch = Stopwatch::start();
    while count < BACKLOG {
        let wanted = StatusCode::ACCEPTED;
        let run = Duration::from_millis(500);
        let sent = load::closed(&gate, BACKLOG_SENDERS, run, &numbers, wanted, &make).await?;
        count += sent.answers.len();
        if stopwatch.elapsed() > Duration::from_secs(300) {
            bail!("only {count} of {BACKLOG} were acknowledged in 300 s");
        }
    }
    Ok(Row {
        name: "hooks: memory, 10,000 undelivered webhooks of 500 KB",
        goal: Some(GOAL),
        measured: f64::from(cpu::peak_kib(gate.pid())?) / 1024.0,
        unit: "MiB",
        details: format!(
            "VmHWM; {count} wait; now {:.0} MiB; {:.0}/s acknowledged meanwhile",
            f64::from(cpu::resident_kib(gate.pid())?) / 1024.0,
            count as f64 / stopwatch.elapsed().as_secs_f64()
        ),
    })
}
