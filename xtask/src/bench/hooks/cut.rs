//! The link to the agent that a backend is behind is silent for a while.
//!
//! A hub takes the webhooks and an agent beside it offers the backend. The agent is stopped and
//! not ended: as behind a line that is cut, the hub is told nothing, and what it had sent arrives
//! when the line is back, if at all.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::load::{self, Make, Numbers, Sent};
use super::rates::BODY;
use super::sinks::Sink;
use super::webhook::{SECRET, Webhooks};
use crate::bench::Ground;
use crate::bench::hub::{HOST, Hub, free_port};
use crate::bench::relay::strait::{AGENT, SERVICE, agent, offer_at};
use crate::bench::report::{Goal, Row, milliseconds, percentile};
use crate::stopwatch::Stopwatch;

/// Between two webhooks: 50 a second.
const PACE: Duration = Duration::from_millis(20);
/// Before the cut, and after it.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(20);
/// How long the link is silent; in a quick run less.
const CUT: Duration = Duration::from_secs(60);
const QUICK_CUT: Duration = Duration::from_secs(20);
/// Attempts that are under way at once: the backend's default.
const IN_FLIGHT: f64 = 32.0;
/// Time for the backend to have everything.
const DELIVERED_MAX: Duration = Duration::from_secs(60);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    crate::bench::load::runtime()?.block_on(async {
        let stopwatch = Stopwatch::start();
        let sink = Sink::start(stopwatch, true).await?;
        let port = free_port()?;
        let hub = launch(ground, port).await?;
        offer_at(ground, sink.address.port())?;
        let agent = agent(ground, &hub, "first")?;
        let webhooks = Webhooks::new(BODY)?;
        let make: Make = Arc::new(move |number| webhooks.good(number));
        let (numbers, to) = (Numbers::default(), (HOST, port));
        let first = load::paced(to, 1, PACE, stopwatch, &numbers, &make).await?;
        sink.wait(1, DELIVERED_MAX).await.context("the agent's service is not reached")?;

        let silent = if ground.quick { QUICK_CUT } else { CUT };
        let count = (BEFORE + silent + AFTER).as_millis() / PACE.as_millis();
        let cut = async {
            tokio::time::sleep(BEFORE).await;
            agent.stop()?;
            tokio::time::sleep(silent).await;
            agent.go_on()?;
            anyhow::Ok(stopwatch.elapsed())
        };
        let sent = load::paced(to, count.try_into()?, PACE, stopwatch, &numbers, &make);
        let (back, sent) = tokio::join!(cut, sent);
        let (back, mut sent) = (back?, sent?);
        sent.answers.extend(first.answers);
        all_came(&sink, sent.answers.len()).await?;
        rows(&sink, &sent, back, silent)
    })
}

/// A hub whose one backend is a service of the agent to come.
async fn launch(ground: &Ground, port: u16) -> Result<Hub> {
    let (secret, config) = (ground.directory.join("secret"), ground.directory.join("hooks.yaml"));
    fs::write(&secret, SECRET)?;
    let text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\nsources:\n\
         - {{name: github, path: /github, scheme: github, secretFiles: [{secret}]}}\nbackends:\n\
         - {{name: one, sources: [github], workspace: root, agent: {AGENT}, service: {SERVICE}}}\n",
        secret = secret.display(),
    );
    fs::write(&config, text)?;
    let config = config.to_str().context("the directory's name is no text")?;
    let listen = format!("{HOST}:{port}");
    Hub::launch(ground, &["--hooks-config", config, "--hooks-listen", &listen]).await
}

/// Waits for so many deliveries; some may come twice.
async fn all_came(sink: &Sink, count: usize) -> Result<()> {
    loop {
        let requests = sink.requests();
        if sink.times()?.len() >= count {
            return Ok(());
        }
        sink.wait(requests + 1, DELIVERED_MAX).await?;
    }
}

fn rows(sink: &Sink, sent: &Sent, back: Duration, silent: Duration) -> Result<Vec<Row>> {
    let came: BTreeMap<u64, Duration> = sink.times()?;
    let (mut caught_up, mut later) = (back, Vec::new());
    for (number, acknowledged, _) in &sent.answers {
        let Some(came) = came.get(number) else { bail!("delivery {number} was lost") };
        if *acknowledged < back {
            caught_up = caught_up.max(*came);
        }
    }
    for (number, acknowledged, _) in &sent.answers {
        if *acknowledged > caught_up {
            later.push(came[number].saturating_sub(*acknowledged));
        }
    }
    later.sort_unstable();
    let count = sent.answers.len();
    let twice = sink.requests() - came.len() as u64;
    let details = format!("link silent for {} s at 50/s", silent.as_secs());
    let row = |name, goal, measured, unit, details| Row {
        name,
        goal: Some(goal),
        measured,
        unit,
        details,
    };
    Ok(vec![
        row(
            "hooks: behind an agent, caught up after a cut",
            Goal::AtMost(10.0),
            (caught_up - back).as_secs_f64(),
            "s",
            format!("{details}; {count} of {count} acknowledged and delivered"),
        ),
        row(
            "hooks: delivered twice because of it",
            Goal::AtMost(IN_FLIGHT),
            twice as f64,
            "",
            "goal: what may be under way at once".into(),
        ),
        row(
            "hooks: lag p99 after that",
            Goal::AtMost(50.0),
            milliseconds(percentile(&later, 0.99)),
            "ms",
            format!("{} webhooks", later.len()),
        ),
    ])
}
