//! What others feel of one who reads nothing, and of one who reads as fast as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};

use super::client::{Client, Target};
use super::contest::median;
use super::load::{Clients, Outcome};
use super::path::{Kind, Path, Site};
use super::{CONNECTIONS, process};
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, number};
use crate::stopwatch::Stopwatch;

/// Time of each run.
const RUN: Duration = Duration::from_secs(3);
/// Time before anything counts.
const WARM_UP: Duration = Duration::from_millis(200);
/// Pace of the others, beside one who reads nothing and beside one who reads.
const BESIDE_STALLED: u32 = 500;
const BESIDE_BUSY: u32 = 200;
/// What the one who reads nothing asked for.
const STALLED_BYTES: u64 = 1 << 30;
/// What the one who reads asks for again and again.
const BUSY_BYTES: u64 = 64 << 20;

/// What a round says of a path.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// p99 without a neighbour, beside the stalled and beside the busy one, in ms.
    p99: [f64; 3],
    errors: usize,
    /// Growth of both sides beside the stalled one, in MiB.
    growth: f64,
    /// Of the busy one, in MB/s.
    rate: f64,
}

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    super::runtime()?.block_on(async {
        let site = Site::start(ground, &[Kind::Nginx, Kind::Strait]).await?;
        let time = super::time(ground, RUN);
        let mut rounds = vec![Vec::new(); site.paths.len()];
        for number in 0..super::rounds(ground) {
            for (path, rounds) in site.paths.iter().zip(&mut rounds) {
                rounds.push(round(path, number, time).await?);
            }
        }
        let of = |kind| {
            let at = site.paths.iter().position(|path| path.kind == kind);
            at.map(|at| &rounds[at][..]).unwrap_or_default()
        };
        Ok(rows(of(Kind::Strait), of(Kind::Nginx), site.absent.as_deref()))
    })
}

/// Which of the first two runs is made first alternates.
async fn round(path: &Path, number: usize, time: Duration) -> Result<Round> {
    let mut clients = Clients::open(&path.target, CONNECTIONS).await?;
    clients.closed(WARM_UP).await?;
    let (alone, (stalled, growth)) = if number.is_multiple_of(2) {
        let alone = clients.paced(BESIDE_STALLED, time).await?;
        (alone, beside_stalled(path, &mut clients, time).await?)
    } else {
        let stalled = beside_stalled(path, &mut clients, time).await?;
        (clients.paced(BESIDE_STALLED, time).await?, stalled)
    };
    let busy = Busy::start(path.target.clone(), get(path, BUSY_BYTES))?;
    let beside_busy = clients.paced(BESIDE_BUSY, time).await?;
    let rate = busy.stop()?;
    let outcomes = [alone, stalled, beside_busy];
    Ok(Round {
        p99: [0, 1, 2].map(|run| outcomes[run].milliseconds(0.99)),
        errors: outcomes.iter().map(|outcome| outcome.errors).sum(),
        growth,
        rate,
    })
}

/// What the others meet with, and what memory both sides have more, in MiB.
async fn beside_stalled(
    path: &Path,
    others: &mut Clients,
    time: Duration,
) -> Result<(Outcome, f64)> {
    let pids = path.pids();
    let before = process::resident_kib(&pids)?;
    let mut stalled = Client::open(&path.target).await?;
    stalled.begin(&get(path, STALLED_BYTES)).await?;
    // Until everything on the way is full it is a download.
    others.closed(WARM_UP).await?;
    let outcome = others.paced(BESIDE_STALLED, time).await?;
    Ok((outcome, (process::resident_kib(&pids)? - before) / 1024.0))
}

fn get(path: &Path, bytes: u64) -> Vec<u8> {
    path.target.request(0, "GET", &format!("/bulk/{bytes}"), 0)
}

fn rows(ours: &[Round], theirs: &[Round], absent: Option<&str>) -> Vec<Row> {
    let column =
        |rounds: &[Round], of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let middle = |rounds: &[Round], of| median(&column(rounds, of));
    let absent = absent.map(|why| format!("; strait: {why}")).unwrap_or_default();
    let errors = |rounds: &[Round]| rounds.iter().map(|round| round.errors as f64).sum::<f64>();
    let ratio: fn(&Round) -> f64 = |round| round.p99[1] / round.p99[0];
    let most = |rounds| {
        column(rounds, |round| round.growth).into_iter().reduce(f64::max).unwrap_or(f64::NAN)
    };
    let row = |name, goal, measured, unit, details: String| Row {
        name,
        goal: Some(goal),
        measured,
        unit,
        details: details + &absent,
    };
    vec![
        row(
            "relay: p99 at 500/s beside a stalled reader, to without",
            Goal::Low { goal: 1.1, floor: 1.25 },
            middle(ours, ratio),
            "x",
            format!(
                "{} ms, without {} ms; nginx {} x",
                number(middle(ours, |round| round.p99[1])),
                number(middle(ours, |round| round.p99[0])),
                number(middle(theirs, ratio))
            ),
        ),
        row(
            "relay: requests lost beside neighbours",
            Goal::AtMost(0.0),
            if ours.is_empty() { f64::NAN } else { errors(ours) },
            "",
            format!("of all rounds; nginx {}", number(errors(theirs))),
        ),
        row(
            "relay: memory that a stalled reader of 1 GiB takes",
            Goal::Low { goal: 1.25, floor: 2.0 },
            most(ours),
            "MiB",
            format!("the most of {} rounds; nginx {}", ours.len(), number(most(theirs))),
        ),
        row(
            "relay: p99 at 200/s beside a download",
            Goal::Low { goal: 5.0, floor: 10.0 },
            middle(ours, |round| round.p99[2]),
            "ms",
            format!(
                "that goes at {} MB/s; nginx {} ms at {} MB/s",
                number(middle(ours, |round| round.rate)),
                number(middle(theirs, |round| round.p99[2])),
                number(middle(theirs, |round| round.rate))
            ),
        ),
    ]
}

/// A client that downloads as fast as it goes, on a thread of its own.
#[derive(Debug)]
struct Busy {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<f64>>,
}

impl Busy {
    fn start(target: Target, request: Vec<u8>) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let runtime = super::runtime()?;
        let thread = thread::Builder::new().name("busy".into()).spawn(move || {
            runtime.block_on(async {
                let mut client = Client::open(&target).await?;
                let (stopwatch, mut bytes) = (Stopwatch::start(), 0.0);
                while !stopped.load(Ordering::Relaxed) {
                    let patience = super::load::PATIENCE;
                    let download = client.download(&request);
                    tokio::time::timeout(patience, download).await.context("no download")??;
                    bytes += BUSY_BYTES as f64;
                }
                Ok(bytes / 1e6 / stopwatch.elapsed().as_secs_f64())
            })
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it; how many MB/s it had.
    fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the download's thread panicked"))?
    }
}
