//! One large body, down and up.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::client::Client;
use super::contest::{Contest, Figure};
use super::path::{Kind, Path, Site};
use super::process;
use crate::bench::Ground;
use crate::bench::report::{Goal, Row};
use crate::stopwatch::Stopwatch;

/// Bytes of a body, and of one in a quick run.
const BYTES: u64 = 384 << 20;
const QUICK_BYTES: u64 = 128 << 20;
/// Time for a body.
const PATIENCE: Duration = Duration::from_secs(30);

const RATE: Goal = Goal::High { goal: 0.95, floor: 0.85 };
const COST: Goal = Goal::Low { goal: 0.8, floor: 1.0 };

const FIGURES: [Figure; 4] = [
    Figure { name: "relay: download, one stream", goal: RATE, unit: "MB/s" },
    Figure { name: "relay: CPU of a GiB down", goal: COST, unit: "s" },
    Figure { name: "relay: upload, one stream", goal: RATE, unit: "MB/s" },
    Figure { name: "relay: CPU of a GiB up", goal: COST, unit: "s" },
];

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let bytes = if ground.quick { QUICK_BYTES } else { BYTES };
    super::runtime()?.block_on(async {
        let site = Site::start(ground, &Kind::ALL).await?;
        let mut contest = Contest::new(&site);
        for round in 0..super::rounds(ground) {
            for path in contest.order(round) {
                let [down, down_cost] = run(&site.paths[path], "GET", bytes).await?;
                let [up, up_cost] = run(&site.paths[path], "PUT", bytes).await?;
                contest.push(path, [down, down_cost, up, up_cost]);
            }
        }
        Ok(contest.rows(FIGURES))
    })
}

/// Megabytes a second, and seconds of processor time for a GiB.
async fn run(path: &Path, method: &str, bytes: u64) -> Result<[f64; 2]> {
    let mut client = Client::open(&path.target).await?;
    let small = path.target.request(0, "GET", "/small", 0);
    client.exchange(&small).await?;
    let request = path.target.request(0, method, &format!("/bulk/{bytes}"), bytes);
    let pids = path.pids();
    let before = process::running(&pids);
    let stopwatch = Stopwatch::start();
    let transfer = async {
        if method == "GET" {
            client.download(&request).await
        } else {
            client.upload(&request, bytes).await
        }
    };
    let late = || format!("{} takes long for {method} of {bytes} bytes", path.kind.name());
    tokio::time::timeout(PATIENCE, transfer).await.with_context(late)??;
    let took = stopwatch.elapsed();
    let used = process::running(&pids).saturating_sub(before);
    let bytes = bytes as f64;
    Ok([bytes / 1e6 / took.as_secs_f64(), used.as_secs_f64() * f64::from(1 << 30) / bytes])
}
