//! A service that is far away: 40 ms there and back, at 1 Gbit/s, with and without losses, and a
//! line that is cut. The way through the relay is compared with a connection over the same line.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::client::{Client, Target};
use super::contest::median;
use super::link::{FAR, Line, Link, NEAR};
use super::load::Clients;
use super::path::raise_descriptor_limit;
use super::service::Service;
use super::strait;
use crate::bench::Ground;
use crate::bench::report::{Goal, Row, number};
use crate::stopwatch::Stopwatch;

const ROUND_TRIP: Duration = Duration::from_millis(40);
const LINE: Line = Line { megabits: 1000, round_trip: ROUND_TRIP, loss: 0.0 };
const LOSSY: Line = Line { loss: 0.01, ..LINE };
/// One that a body fills with certainty, so that what waits does so before the line.
const NARROW: Line = Line { megabits: 100, ..LINE };
/// Bytes of a body, over the good line and over the one that loses.
const BYTES: u64 = 256 << 20;
const LOSSY_BYTES: u64 = 4 << 20;
/// Rounds, and time for a body.
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);
/// Requests beside a body, a second, and for how long.
const BESIDE: u32 = 40;
const BESIDE_TIME: Duration = Duration::from_secs(10);
/// How long the line is cut, and time until all is as before.
const CUT: Duration = Duration::from_secs(60);
const BACK_MAX: Duration = Duration::from_secs(60);

pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    match Link::lay(LINE) {
        Ok(link) => super::runtime()?.block_on(far(ground, link)),
        Err(error) => Ok(vec![absent(format!("{error:#}"))]),
    }
}

async fn far(ground: &Ground, link: Link) -> Result<Vec<Row>> {
    raise_descriptor_limit()?;
    let site = Site::start(ground, &link).await?;
    let mut rows = vec![rate("relay: download over 40 ms, 1 Gbit/s", &site, BYTES, 0.9).await?];
    rows.extend(cut(&site, &link).await?);
    drop((site, link));
    let link = Link::lay(LOSSY)?;
    let site = Site::start(ground, &link).await?;
    rows.push(rate("relay: the same, one packet of 100 lost", &site, LOSSY_BYTES, 0.9).await?);
    drop((site, link));
    let link = Link::lay(NARROW)?;
    let site = Site::start(ground, &link).await?;
    rows.push(beside(&site).await?);
    Ok(rows)
}

/// The two ways over a line.
struct Site {
    ours: Target,
    direct: Target,
    path: super::path::Path,
    _service: Service,
}

impl Site {
    async fn start(ground: &Ground, link: &Link) -> Result<Self> {
        let _ = fs::remove_dir_all(ground.directory.join("hub"));
        let service = Service::start_on(link.listen()?)?;
        let path = strait::start_far(ground, &service, NEAR, &link.inside).await?;
        let address = format!("{FAR}:{}", service.address.port()).parse()?;
        let direct = Target { address, tls: None, prefix: String::new(), tokens: Vec::new() };
        path.first_success(BACK_MAX).await?;
        Ok(Self { ours: path.target.clone(), direct, path, _service: service })
    }
}

/// Megabytes a second of one body.
async fn download(target: &Target, bytes: u64) -> Result<f64> {
    let mut client = Client::open(target).await?;
    client.exchange(&target.request(0, "GET", "/small", 0)).await?;
    let request = target.request(0, "GET", &format!("/bulk/{bytes}"), 0);
    let stopwatch = Stopwatch::start();
    let late = "a body takes too long";
    tokio::time::timeout(PATIENCE, client.download(&request)).await.context(late)??;
    Ok(bytes as f64 / 1e6 / stopwatch.elapsed().as_secs_f64())
}

async fn rate(name: &'static str, site: &Site, bytes: u64, goal: f64) -> Result<Row> {
    let (mut ratios, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let direct = download(&site.direct, bytes).await?;
        let ours = download(&site.ours, bytes).await?;
        ratios.push(ours / direct);
        rates.push((ours, direct));
    }
    let of = |of: fn(&(f64, f64)) -> f64| number(median(&rates.iter().map(of).collect::<Vec<_>>()));
    Ok(Row {
        name,
        goal: Some(Goal::AtLeast(goal)),
        measured: median(&ratios),
        unit: "x",
        details: format!("MB/s: {} beside {} directly", of(|pair| pair.0), of(|pair| pair.1)),
    })
}

/// Small requests while a body fills the line.
async fn beside(site: &Site) -> Result<Row> {
    let [ours, directly] = [added(&site.ours).await?, added(&site.direct).await?];
    Ok(Row {
        name: "relay: p99 that a download adds to small requests, 40 ms, 100 Mbit/s",
        goal: Some(Goal::AtMost(2.0 * ROUND_TRIP.as_secs_f64() * 1e3 + 5.0)),
        measured: ours,
        unit: "ms",
        details: format!("directly, beside a direct download, {} ms", number(directly)),
    })
}

/// Milliseconds from the median without a download to the p99 with one.
async fn added(target: &Target) -> Result<f64> {
    let mut clients = Clients::open(target, 8).await?;
    let alone = clients.paced(BESIDE, BESIDE_TIME / 2).await?;
    let filling = async { while download(target, BYTES).await.is_ok() {} };
    let disturbed = tokio::select! {
        disturbed = clients.paced(BESIDE, BESIDE_TIME) => disturbed?,
        () = filling => bail!("a body broke off"),
    };
    Ok(disturbed.milliseconds(0.99) - alone.milliseconds(0.5))
}

/// A line that is dead for a minute, and then is not.
async fn cut(site: &Site, link: &Link) -> Result<[Row; 2]> {
    let mut client = Client::open(&site.ours).await?;
    client.open_quiet(&site.ours.request(0, "GET", "/quiet", 0)).await?;
    link.switch()?;
    let stopwatch = Stopwatch::start();
    let told = tokio::time::timeout(CUT, client.ended()).await;
    let found = if told.is_ok() { stopwatch.elapsed().as_secs_f64() } else { f64::NAN };
    tokio::time::sleep(CUT.saturating_sub(stopwatch.elapsed())).await;
    link.switch()?;
    let back = site.path.first_success(BACK_MAX).await?;
    let row = |name, most, measured, details: &str| Row {
        name,
        goal: Some(Goal::AtMost(most)),
        measured,
        unit: "s",
        details: details.to_owned(),
    };
    Ok([
        row(
            "relay: a dead line is found out",
            15.0,
            found,
            "until a quiet stream's client is told",
        ),
        row("relay: first success after a minute's cut", 31.0, back.as_secs_f64(), "from its end"),
    ])
}

fn absent(why: String) -> Row {
    Row {
        name: "relay: over a long line",
        goal: None,
        measured: f64::NAN,
        unit: "",
        details: format!("not measured: {why}"),
    }
}
