//! Senders: each sends one webhook after the other, or all keep a pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::task::JoinSet;

use super::gate::Gate;
use crate::https::{self, answer, drive};
use crate::stopwatch::Stopwatch;

/// Makes the request with a number.
pub(crate) type Make = Arc<dyn Fn(u64) -> Request<Full<Bytes>> + Send + Sync>;

/// Numbers for deliveries, none given twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers(Arc<AtomicU64>);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// What senders met with.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Numbers, when each was answered by the stopwatch, and what that took.
    pub(crate) answers: Vec<(u64, Duration, Duration)>,
}

impl Sent {
    /// What the answers took, sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        let mut all: Vec<_> = self.answers.iter().map(|(_, _, took)| *took).collect();
        all.sort_unstable();
        all
    }
}

/// So many senders, each with one webhook under way, for a time.
///
/// # Errors
/// One is answered with anything but `wanted`.
pub(crate) async fn closed(
    gate: &Gate,
    senders: usize,
    time: Duration,
    numbers: &Numbers,
    wanted: StatusCode,
    make: &Make,
) -> Result<Sent> {
    let mut tasks = JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..senders {
        opened.push(gate.connect().await?);
    }
    let stopwatch = Stopwatch::start();
    for (mut sender, driver) in opened {
        let (make, numbers) = (make.clone(), numbers.clone());
        tasks.spawn(drive(driver, async move {
            let mut answers = Vec::new();
            while stopwatch.elapsed() < time {
                let number = numbers.next();
                let begun = stopwatch.elapsed();
                let response = answer(&mut sender, make(number)).await?;
                let ended = stopwatch.elapsed();
                expect(response.status(), wanted)?;
                answers.push((number, ended, ended - begun));
            }
            Ok(answers)
        }));
    }
    gather(tasks).await
}

/// A number of webhooks at a pace, whatever became of the ones before; each on a connection that
/// is free or new.
///
/// # Errors
/// One is answered with anything but 202, or not within ten seconds, as GitHub has it.
pub(crate) async fn paced(
    (host, port): (&str, u16),
    count: u64,
    pace: Duration,
    stopwatch: Stopwatch,
    numbers: &Numbers,
    make: &Make,
) -> Result<Sent> {
    const SENDER_PATIENCE: Duration = Duration::from_secs(10);
    let mut tasks = JoinSet::new();
    let mut ticks = tokio::time::interval(pace);
    for _ in 0..count {
        ticks.tick().await;
        let (mut sender, driver) = https::connect(host, port, None).await?;
        let (number, make) = (numbers.next(), make.clone());
        tasks.spawn(drive(driver, async move {
            let begun = stopwatch.elapsed();
            let answered = answer(&mut sender, make(number));
            let Ok(response) = tokio::time::timeout(SENDER_PATIENCE, answered).await else {
                bail!("no answer in {SENDER_PATIENCE:?}");
            };
            let ended = stopwatch.elapsed();
            expect(response?.status(), StatusCode::ACCEPTED)?;
            Ok(vec![(number, ended, ended - begun)])
        }));
    }
    gather(tasks).await
}

async fn gather(mut tasks: JoinSet<Result<Vec<(u64, Duration, Duration)>>>) -> Result<Sent> {
    let mut sent = Sent::default();
    while let Some(answers) = tasks.join_next().await {
        sent.answers.extend(answers??);
    }
    Ok(sent)
}

fn expect(status: StatusCode, wanted: StatusCode) -> Result<()> {
    if status != wanted {
        bail!("answered {status} instead of {wanted}");
    }
    Ok(())
}
