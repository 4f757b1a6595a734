//! A service that is far away: 40 and 100 ms there and back, at 1 Gbit/s, with and without losses,
//! and a line that is cut. The way through the relay is compared with a connection over the same line.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::task::JoinSet;

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

const LINE: Line = Line { megabits: 1000, round_trip: Duration::from_millis(40), loss: 0.0 };
const LOSSY: Line = Line { loss: 0.01, ..LINE };
/// One that a body fills with certainty, so that what waits does so before the line.
const NARROW: Line = Line { megabits: 100, ..LINE };
/// Where one stream's window does not fill the line, and some together do.
const FARTHER: Line = Line { round_trip: Duration::from_millis(100), ..LINE };
const NARROW_FARTHER: Line = Line { round_trip: FARTHER.round_trip, ..NARROW };
const TOGETHER: usize = 4;
/// Bytes of a body, over the good line and over the one that loses.
const BYTES: u64 = 256 << 20;
const LOSSY_BYTES: u64 = 4 << 20;
/// What a page has many of, and how many come one after the other.
const PICTURE: u64 = 200 << 10;
const PICTURES: usize = 10;
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
    let name = "relay: download over 40 ms, 1 Gbit/s";
    let mut rows = vec![rate(name, &site, (1, BYTES), 0.9).await?];
    rows.extend(cut(&site, &link).await?);
    drop((site, link));
    let link = Link::lay(LOSSY)?;
    let site = Site::start(ground, &link).await?;
    let name = "relay: the same, one packet of 100 lost";
    rows.push(rate(name, &site, (1, LOSSY_BYTES), 0.9).await?);
    drop((site, link));
    let link = Link::lay(FARTHER)?;
    let site = Site::start(ground, &link).await?;
    let name = "relay: four downloads over 100 ms, 1 Gbit/s";
    rows.push(rate(name, &site, (TOGETHER, BYTES), 0.9).await?);
    // Over before a line can be filled: what counts is how often there and back.
    let (name, goal) = ("relay: p50 of a GET of 200 KiB, 100 ms", (Goal::AtMost(1.1), "ms"));
    rows.push(compared(name, &site, goal, picture).await?);
    drop((site, link));
    for (line, name) in [
        (NARROW, "relay: p99 that a download adds to small requests, 40 ms, 100 Mbit/s"),
        (NARROW_FARTHER, "relay: the same, 100 ms"),
    ] {
        let link = Link::lay(line)?;
        let site = Site::start(ground, &link).await?;
        rows.push(beside(name, &site, line.round_trip).await?);
    }
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

/// Megabytes a second of so many bodies at once, of so many bytes together.
async fn download(target: &Target, (streams, bytes): (usize, u64)) -> Result<f64> {
    let mut clients = Vec::new();
    for _ in 0..streams {
        let mut client = Client::open(target).await?;
        client.exchange(&target.request(0, "GET", "/small", 0)).await?;
        clients.push(client);
    }
    let path = format!("/bulk/{}", bytes / streams as u64);
    let request = target.request(0, "GET", &path, 0);
    let stopwatch = Stopwatch::start();
    let mut all = JoinSet::new();
    for mut client in clients {
        let request = request.clone();
        all.spawn(async move { client.download(&request).await });
    }
    let late = "a body takes too long";
    let done = tokio::time::timeout(PATIENCE, all.join_all()).await.context(late)?;
    done.into_iter().collect::<Result<()>>()?;
    Ok(bytes as f64 / 1e6 / stopwatch.elapsed().as_secs_f64())
}

async fn rate(name: &'static str, site: &Site, bodies: (usize, u64), goal: f64) -> Result<Row> {
    let measure = async |target: &Target| download(target, bodies).await;
    compared(name, site, (Goal::AtLeast(goal), "MB/s"), measure).await
}

/// Something measured of ours and directly, in turns.
async fn compared(
    name: &'static str,
    site: &Site,
    (goal, unit): (Goal, &str),
    measure: impl AsyncFn(&Target) -> Result<f64>,
) -> Result<Row> {
    let mut pairs = Vec::new();
    for _ in 0..ROUNDS {
        let direct = measure(&site.direct).await?;
        pairs.push((measure(&site.ours).await?, direct));
    }
    let of = |of: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(of).collect::<Vec<_>>());
    let [ours, direct] = [of(|pair| pair.0), of(|pair| pair.1)].map(number);
    Ok(Row {
        name,
        goal: Some(goal),
        measured: of(|(ours, direct)| ours / direct),
        unit: "x",
        details: format!("{ours} beside {direct} {unit} directly"),
    })
}

/// Milliseconds of one of some on a connection, the median.
async fn picture(target: &Target) -> Result<f64> {
    let mut client = Client::open(target).await?;
    client.exchange(&target.request(0, "GET", "/small", 0)).await?;
    let request = target.request(0, "GET", &format!("/bulk/{PICTURE}"), 0);
    let mut times = Vec::new();
    for _ in 0..PICTURES {
        let stopwatch = Stopwatch::start();
        client.download(&request).await?;
        times.push(stopwatch.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times))
}

/// Small requests while a body fills the line.
async fn beside(name: &'static str, site: &Site, round_trip: Duration) -> Result<Row> {
    let [ours, directly] = [added(&site.ours).await?, added(&site.direct).await?];
    Ok(Row {
        name,
        goal: Some(Goal::AtMost(2.0 * round_trip.as_secs_f64() * 1e3 + 5.0)),
        measured: ours,
        unit: "ms",
        details: format!("directly, beside a direct download, {} ms", number(directly)),
    })
}

/// Milliseconds from the median without a download to the p99 with one.
async fn added(target: &Target) -> Result<f64> {
    let mut clients = Clients::open(target, 8).await?;
    let alone = clients.paced(BESIDE, BESIDE_TIME / 2).await?;
    let filling = async { while download(target, (1, BYTES)).await.is_ok() {} };
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
