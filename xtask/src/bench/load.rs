//! Load: many connections, each with one request in progress, for a fixed time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::cpu;
use super::hub::Hub;
use super::report::percentiles;
use crate::https::{Halves, answer, drive};
use crate::stopwatch::Stopwatch;

/// Connections at once.
pub(crate) const CONNECTIONS: usize = 64;
/// Time before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Time that counts.
const MEASURED: Duration = Duration::from_secs(5);
/// Threads that make load: the machine that the goals are for has two cores.
const THREADS: usize = 2;

/// Makes the request with a number that is not used twice.
pub(crate) type Requests = Arc<dyn Fn(usize) -> Request<Full<Bytes>> + Send + Sync>;

/// What a load met with.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Requests that were answered in the time that counts, a second.
    pub(crate) per_second: f64,
    /// Percentiles of latency, and processor time of both sides.
    pub(crate) details: String,
}

/// A runtime for load.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.worker_threads(THREADS).enable_all().build()?)
}

/// Puts a load on a hub, over connections of the administrator.
///
/// # Errors
/// A request is answered with anything but `wanted`.
pub(crate) fn run(hub: &Hub, wanted: StatusCode, requests: &Requests) -> Result<Outcome> {
    runtime()?.block_on(async {
        let tls = hub.admin()?;
        let mut clients = JoinSet::new();
        let mut opened: Vec<Halves> = Vec::new();
        for _ in 0..CONNECTIONS {
            opened.push(hub.connect(tls.clone()).await?);
        }
        let stopwatch = Stopwatch::start();
        for (first, (sender, driver)) in opened.into_iter().enumerate() {
            let client = client(sender, first, stopwatch, wanted, requests.clone());
            clients.spawn(drive(driver, client));
        }
        tokio::time::sleep(WARM_UP).await;
        let (ours, theirs) = (cpu::time(std::process::id())?, cpu::time(hub.pid())?);
        tokio::time::sleep(MEASURED.saturating_sub(stopwatch.elapsed().saturating_sub(WARM_UP)))
            .await;
        let (ours, theirs) =
            (cpu::time(std::process::id())? - ours, cpu::time(hub.pid())? - theirs);
        let mut latencies = Vec::new();
        while let Some(client) = clients.join_next().await {
            latencies.extend(client??);
        }
        latencies.sort_unstable();
        let per_second = latencies.len() as f64 / MEASURED.as_secs_f64();
        let details = format!(
            "{}; CPU of {:.0} s: hub {:.1} s, load {:.1} s",
            percentiles(&latencies),
            MEASURED.as_secs_f64(),
            theirs.as_secs_f64(),
            ours.as_secs_f64()
        );
        Ok(Outcome { per_second, details })
    })
}

/// Checks an answer's status.
///
/// # Errors
/// It is another; the message has the body.
pub(crate) fn expect(response: &Response<Bytes>, wanted: StatusCode) -> Result<()> {
    if response.status() != wanted {
        bail!("answered {}: {}", response.status(), String::from_utf8_lossy(response.body()));
    }
    Ok(())
}

/// One client's latencies in the time that counts.
async fn client(
    mut sender: SendRequest<Full<Bytes>>,
    first: usize,
    stopwatch: Stopwatch,
    wanted: StatusCode,
    requests: Requests,
) -> Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    for number in (first..).step_by(CONNECTIONS) {
        let begun = stopwatch.elapsed();
        let response = answer(&mut sender, requests(number)).await?;
        let ended = stopwatch.elapsed();
        expect(&response, wanted)?;
        if ended >= WARM_UP + MEASURED {
            break;
        }
        if ended >= WARM_UP {
            latencies.push(ended - begun);
        }
    }
    Ok(latencies)
}
