//! The private side is killed and started again at once.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::CONNECTIONS;
use super::contest::median;
use super::load::Clients;
use super::path::{Kind, Path, Site};
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, milliseconds, number};
use crate::stopwatch::Stopwatch;

/// How often, on each path.
const RESTARTS: usize = 10;
/// Load before each, so that the connections that people have are there.
const WARM_UP: Duration = Duration::from_millis(100);
/// Time for the first success.
const BACK_MAX: Duration = Duration::from_secs(10);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    super::runtime()?.block_on(async {
        let mut site = Site::start(ground, &[Kind::Nginx, Kind::Strait]).await?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RESTARTS {
            for path in &mut site.paths {
                let times = if path.kind == Kind::Strait { &mut ours } else { &mut theirs };
                times.push(milliseconds(restart(path).await?));
            }
        }
        let most = |times: &[f64]| times.iter().copied().reduce(f64::max).unwrap_or(f64::NAN);
        let absent = site.absent.map(|why| format!("; strait: {why}")).unwrap_or_default();
        let row = |name, goal, of: &dyn Fn(&[f64]) -> f64| Row {
            name,
            goal: Some(goal),
            measured: of(&ours),
            unit: "ms",
            details: format!("of {RESTARTS}, from the kill; nginx {}{absent}", number(of(&theirs))),
        };
        Ok(vec![
            row(
                "relay: first success after kill -9 of the agent, median",
                Goal::Low { goal: 20.0, floor: 50.0 },
                &median,
            ),
            row("relay: the same, longest", Goal::AtMost(150.0), &most),
        ])
    })
}

/// From the kill to the first success.
async fn restart(path: &mut Path) -> Result<Duration> {
    Clients::open(&path.target, CONNECTIONS).await?.closed(WARM_UP).await?;
    let stopwatch = Stopwatch::start();
    path.inner.as_mut().context("a path without a private side")?.restart()?;
    path.first_success(BACK_MAX).await?;
    Ok(stopwatch.elapsed())
}
