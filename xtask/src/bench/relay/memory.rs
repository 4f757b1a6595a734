//! What an open stream costs while nothing happens on it.

use anyhow::Result;

use super::client::Client;
use super::contest::median;
use super::load::Clients;
use super::path::{Kind, Path, Site};
use super::{CONNECTIONS, process};
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, number};

use std::time::Duration;

/// Streams and clients that are held.
const HELD: usize = 2000;
/// Passes, each with new processes.
const PASSES: usize = 3;
/// Load before anything is held, so that what a process makes once is there.
const WARM_UP: Duration = Duration::from_millis(300);

/// What is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// Connections that have had an answer.
    Idle,
    /// Answers that have begun and go on.
    Quiet,
}

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    super::runtime()?.block_on(async {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let mut absent = None;
        for _ in 0..if ground.quick { 1 } else { PASSES } {
            for (kind, passes) in [(Kind::Nginx, &mut theirs), (Kind::Strait, &mut ours)] {
                let mut pass = [f64::NAN; 2];
                for (held, figure) in [Held::Idle, Held::Quiet].into_iter().zip(&mut pass) {
                    let site = Site::start(ground, &[kind]).await?;
                    absent = absent.or(site.absent);
                    if let Some(path) = site.paths.first() {
                        *figure = kib(path, held).await?;
                    }
                }
                passes.push(pass);
            }
        }
        Ok(rows(&ours, &theirs, absent.as_deref()))
    })
}

/// KiB that both sides have in RAM for each.
async fn kib(path: &Path, held: Held) -> Result<f64> {
    Clients::open(&path.target, CONNECTIONS).await?.closed(WARM_UP).await?;
    let pids = path.pids();
    let before = process::resident_kib(&pids)?;
    let mut clients = Vec::with_capacity(HELD);
    for number in 0..HELD {
        let mut client = Client::open(&path.target).await?;
        match held {
            Held::Idle => {
                client.exchange(&path.target.request(number, "GET", "/small", 0)).await?;
            }
            Held::Quiet => {
                client.open_quiet(&path.target.request(number, "GET", "/quiet", 0)).await?;
            }
        }
        clients.push(client);
    }
    Ok((process::resident_kib(&pids)? - before) / HELD as f64)
}

fn rows(ours: &[[f64; 2]], theirs: &[[f64; 2]], absent: Option<&str>) -> Vec<Row> {
    let column = |passes: &[[f64; 2]], of: fn(&[f64; 2]) -> f64| -> f64 {
        median(&passes.iter().map(of).collect::<Vec<_>>())
    };
    let row = |name, goal, floor, of: fn(&[f64; 2]) -> f64| Row {
        name,
        goal: Some(Goal::Low { goal, floor }),
        measured: column(ours, of),
        unit: "KiB",
        details: format!(
            "{HELD} held, median of {}; nginx {}{}",
            ours.len(),
            number(column(theirs, of)),
            absent.map(|why| format!("; strait: {why}")).unwrap_or_default()
        ),
    };
    vec![
        row("relay: memory of a quiet stream, both sides", 17.0, 20.0, |[_, quiet]| *quiet),
        row("relay: the same without the client's connection", 4.0, 6.0, |[idle, quiet]| {
            quiet - idle
        }),
        row("relay: memory of an idle client with TLS", 13.0, 16.0, |[idle, _]| *idle),
    ]
}
