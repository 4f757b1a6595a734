//! Small requests: as many as go through, one after the other, and at a pace.

use std::time::Duration;

use anyhow::{Result, bail};

use super::contest::{Contest, Figure};
use super::load::Clients;
use super::path::{Kind, Path, Site};
use super::{CONNECTIONS, process};
use crate::bench::Ground;
use crate::bench::report::{Goal, Row};

/// More at once than most things are kept for.
const CROWD: usize = 256;
/// Time before anything counts.
const WARM_UP: Duration = Duration::from_millis(200);
/// Time of each run.
const RUN: Duration = Duration::from_secs(1);
/// Time and pace of the run in which clients do not wait for each other.
const PACED: Duration = Duration::from_secs(2);
const PER_SECOND: u32 = 500;

const FIGURES: [Figure; 6] = [
    Figure {
        name: "relay: GET of 1 KiB, 64 connections",
        goal: Goal::High { goal: 1.6, floor: 1.25 },
        unit: "/s",
    },
    Figure {
        name: "relay: p50 of a GET, 1 connection",
        goal: Goal::Low { goal: 0.85, floor: 1.0 },
        unit: "ms",
    },
    Figure {
        name: "relay: CPU of both sides of a GET, 64 connections",
        goal: Goal::Low { goal: 0.45, floor: 0.6 },
        unit: "us",
    },
    Figure { name: "relay: p50 at 500/s", goal: Goal::Low { goal: 0.9, floor: 1.0 }, unit: "ms" },
    Figure { name: "relay: p99 at 500/s", goal: Goal::Low { goal: 1.1, floor: 1.25 }, unit: "ms" },
    Figure {
        name: "relay: GET of 1 KiB, 256 connections",
        goal: Goal::High { goal: 1.0, floor: 0.75 },
        unit: "/s",
    },
];

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    super::runtime()?.block_on(async {
        let site = Site::start(ground, &Kind::ALL).await?;
        let mut contest = Contest::new(&site);
        for round in 0..super::rounds(ground) {
            for path in contest.order(round) {
                contest.push(path, run(&site.paths[path], |full| super::time(ground, full)).await?);
            }
        }
        Ok(contest.rows(FIGURES))
    })
}

async fn run(path: &Path, time: impl Fn(Duration) -> Duration) -> Result<[f64; 6]> {
    let mut many = Clients::open(&path.target, CONNECTIONS).await?;
    many.closed(WARM_UP).await?;
    let pids = path.pids();
    let before = process::running(&pids);
    let closed = many.closed(time(RUN)).await?;
    let used = process::running(&pids).saturating_sub(before);
    let paced = many.paced(PER_SECOND, time(PACED)).await?;
    if paced.errors > 0 {
        bail!("{}: {} requests at a pace were not answered", path.kind.name(), paced.errors);
    }
    drop(many);
    let mut crowd = Clients::open(&path.target, CROWD).await?;
    crowd.closed(WARM_UP).await?;
    let crowded = crowd.closed(time(RUN)).await?;
    drop(crowd);
    let mut one = Clients::open(&path.target, 1).await?;
    one.closed(WARM_UP).await?;
    let alone = one.closed(time(RUN)).await?;
    Ok([
        closed.per_second(),
        alone.milliseconds(0.5),
        used.as_secs_f64() * 1e6 / closed.count(),
        paced.milliseconds(0.5),
        paced.milliseconds(0.99),
        crowded.per_second(),
    ])
}
