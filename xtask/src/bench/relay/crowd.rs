//! What others feel of 2,047 who read nothing: as many streams as one connection of an agent has
//! beside one that is used. Here an agent's connections share them.

use std::time::Duration;

use anyhow::{Context as _, Result};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::CONNECTIONS;
use super::contest::median;
use super::http2::{self, Http2};
use super::load::{Clients, Outcome, PATIENCE};
use super::path::{Kind, Path, Site, raise_descriptor_limit};
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, number};

/// Those who read nothing.
const STALLED: usize = 2047;
/// Of them over one connection to the hub, whose window none of them gives back. Over connections of
/// their own what the kernel holds for them would be what is measured.
const TOGETHER: usize = 200;
/// What each of them asked for: more than everything on its way holds.
const BYTES: u64 = 256 << 10;
/// Time of each run, and before anything counts.
const RUN: Duration = Duration::from_secs(3);
const WARM_UP: Duration = Duration::from_millis(200);
/// Time for the next of the stalled to have everything.
const REST: Duration = Duration::from_secs(30);
/// Requests a second of the others.
const PACE: u32 = 500;

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    super::runtime()?.block_on(async {
        raise_descriptor_limit()?;
        let site = Site::start(ground, &[Kind::Strait]).await?;
        let mut rounds = Vec::new();
        for number in 0..super::rounds(ground) {
            for path in &site.paths {
                rounds.push(round(path, number, super::time(ground, RUN)).await?);
            }
        }
        let p99 = |run: usize| {
            median(&rounds.iter().map(|runs| runs[run].milliseconds(0.99)).collect::<Vec<_>>())
        };
        let ratios = rounds
            .iter()
            .map(|[alone, beside]| beside.milliseconds(0.99) / alone.milliseconds(0.99));
        let lost: usize = rounds.iter().flatten().map(|outcome| outcome.errors).sum();
        let absent = site.absent.map(|why| format!("; strait: {why}")).unwrap_or_default();
        Ok(vec![Row {
            name: "relay: p99 at 500/s beside 2,047 stalled readers, to without",
            goal: Some(Goal::Low { goal: 1.1, floor: 1.25 }),
            measured: median(&ratios.collect::<Vec<_>>()),
            unit: "x",
            details: format!(
                "{} ms, without {} ms; {lost} requests lost{absent}",
                number(p99(1)),
                number(p99(0)),
            ),
        }])
    })
}

/// Without and beside; which is first alternates.
async fn round(path: &Path, number: usize, time: Duration) -> Result<[Outcome; 2]> {
    let mut others = Clients::open(&path.target, CONNECTIONS).await?;
    others.closed(WARM_UP).await?;
    if number.is_multiple_of(2) {
        let alone = others.paced(PACE, time).await?;
        Ok([alone, beside(path, &mut others, time).await?])
    } else {
        let beside = beside(path, &mut others, time).await?;
        others.closed(WARM_UP).await?;
        Ok([others.paced(PACE, time).await?, beside])
    }
}

async fn beside(path: &Path, others: &mut Clients, time: Duration) -> Result<Outcome> {
    let (mut connections, mut stalled) = (Vec::new(), Vec::with_capacity(STALLED));
    let bulk = format!("/bulk/{BYTES}");
    for number in 0..STALLED {
        if number.is_multiple_of(TOGETHER) {
            connections.push(Http2::open(&path.target).await?);
        }
        let client = connections.last_mut().context("the first is at 0")?;
        let begun = client.ask(&path.target, number, "GET", &bulk, Bytes::new());
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        stalled.push(begun.context("no answer")?.with_context(|| format!("the {number}th"))?);
    }
    others.closed(WARM_UP).await?;
    let outcome = others.paced(PACE, time).await?;
    // They get the rest at last: clients that give up so many are refused the next ones.
    let mut reading: JoinSet<_> = stalled.into_iter().map(http2::read).collect();
    while let Some(read) = tokio::time::timeout(REST, reading.join_next()).await? {
        read??;
    }
    Ok(outcome)
}
