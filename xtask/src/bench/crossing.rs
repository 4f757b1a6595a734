//! How long a request takes from its creation to where the agent has launched its work.
//!
//! Requests are created at a steady pace, whatever became of the ones before, and their times are
//! read from the agent's audit log afterwards: nothing asks the hub meanwhile. The work is launched
//! between the log's `started`, the moment before that line is made durable, and its `ended`, which
//! has the call to the service in it. What counts is the latter: an upper bound, nothing estimated.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde_json::Value;

use super::report::{Goal, Row, milliseconds, percentile, percentiles};
use super::up::Up;
use super::{Ground, load};
use crate::https;
use crate::stopwatch::Stopwatch;

/// Where the example's tenant asks.
const COLLECTION: &str = "/clusters/root:demo/apis/signing.example.strait.dev/v1alpha1/namespaces/default/signingrequests";
/// Requests that do not count.
const WARM_UP: usize = 20;
/// Requests that count.
const REQUESTS: usize = 300;
/// Time from one to the next.
const PACE: Duration = Duration::from_millis(40);
/// Time for the last to end.
const END_MAX: Duration = Duration::from_secs(30);
/// How often the log is read meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Syncs of the disk that a launch may wait for, one after the other.
const SYNCS: f64 = 4.0;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets requests cross.
pub(crate) fn measure(ground: &Ground) -> Result<Vec<Row>> {
    let up = Up::start(ground)?;
    let sent = load::runtime()?.block_on(create_all(&up))?;
    let log = wait_for_ends(&up.agent_audit(), &sent)?;
    let times = |stage: &str| {
        let mut times: Vec<Duration> = sent
            .iter()
            .skip(WARM_UP)
            .filter_map(|(uid, at)| Some(later(*at, *log.get(&(uid.clone(), stage.to_owned()))?)))
            .collect();
        times.sort_unstable();
        times
    };
    let (started, ended) = (times("started"), times("ended"));
    if started.len() != REQUESTS || ended.len() != REQUESTS {
        bail!("of {REQUESTS} requests {} started and {} ended", started.len(), ended.len());
    }
    let row = |name, goal, share, details| Row {
        name,
        goal: Some(Goal::AtMost(goal)),
        measured: milliseconds(percentile(&ended, share)),
        unit: "ms",
        details,
    };
    let every = PACE.as_millis();
    let upper = format!("{}; {REQUESTS} requests, one in {every} ms", percentiles(&ended));
    let lower = format!("lower bound, `started`: {}", percentiles(&started));
    let goal = SYNCS.mul_add(milliseconds(ground.sync), 10.0);
    Ok(vec![
        row("request created to work launched, p50", goal, 0.5, upper),
        row("request created to work launched, p99", 100.0, 0.99, lower),
    ])
}

/// Uids of requests in their order, with the time of day at which each was sent.
async fn create_all(up: &Up) -> Result<Vec<(String, Duration)>> {
    let (mut sender, driver) = up.connect().await?;
    let creating = async move {
        let mut sent = Vec::new();
        let mut pace = tokio::time::interval(PACE);
        for number in 0..WARM_UP + REQUESTS {
            pace.tick().await;
            let at = time_of_day();
            sent.push((create(&mut sender, number).await?, at));
        }
        Ok(sent)
    };
    https::drive(driver, creating).await
}

/// Creates a request; its uid.
async fn create(sender: &mut SendRequest<Full<Bytes>>, number: usize) -> Result<String> {
    let body = format!(
        r#"{{"apiVersion":"signing.example.strait.dev/v1alpha1","kind":"SigningRequest","metadata":{{"name":"load-{number}"}},"spec":{{"digest":"sha256:{number:064x}","keyName":"dev"}}}}"#
    );
    let request = Request::post(COLLECTION)
        .header(header::HOST, HeaderValue::from_static("hub"))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Full::from(body))?;
    let response = https::answer(sender, request).await?;
    load::expect(&response, StatusCode::CREATED)?;
    let object: Value = serde_json::from_slice(response.body())?;
    let uid = object["metadata"]["uid"].as_str().context("an object without a uid")?;
    Ok(uid.to_owned())
}

/// Times of day by uid and stage.
type Log = BTreeMap<(String, String), Duration>;

/// Reads the log until every request has ended.
fn wait_for_ends(audit: &Path, sent: &[(String, Duration)]) -> Result<Log> {
    let stopwatch = Stopwatch::start();
    loop {
        let log = read(audit)?;
        let ended = |uid: &String| log.contains_key(&(uid.clone(), "ended".to_owned()));
        let open = sent.iter().filter(|(uid, _)| !ended(uid)).count();
        if open == 0 {
            return Ok(log);
        }
        if stopwatch.elapsed() > END_MAX {
            bail!("{open} of {} requests did not end in {} s", sent.len(), END_MAX.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn read(audit: &Path) -> Result<Log> {
    let mut log = Log::new();
    for entry in fs::read_dir(audit)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            log.extend(fs::read_to_string(path)?.lines().filter_map(stage));
        }
    }
    Ok(log)
}

/// Uid, stage and time of a line; none of a line that is being written.
fn stage(line: &str) -> Option<((String, String), Duration)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| line[key].as_str();
    let at = time_of_day_in(text("time")?)?;
    Some(((text("crossing")?.to_owned(), text("stage")?.to_owned()), at))
}

/// Time since midnight, UTC.
#[expect(clippy::disallowed_methods, reason = "compared with what other processes wrote")]
fn time_of_day() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::new(now.as_secs() % DAY.as_secs(), now.subsec_nanos())
}

/// Time since midnight in an RFC 3339 time stamp of UTC.
fn time_of_day_in(stamp: &str) -> Option<Duration> {
    let mut parts = stamp.split_once('T')?.1.strip_suffix('Z')?.split(':');
    let mut next = || parts.next()?.parse::<f64>().ok();
    let seconds = next()? * 3600.0 + next()? * 60.0 + next()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// From one time of day to the next time that it is another; zero where the two clocks' last
/// digits differ.
fn later(from: Duration, to: Duration) -> Duration {
    match to.checked_sub(from) {
        Some(passed) => passed,
        None if from - to > DAY / 2 => to + DAY - from,
        None => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_pass_midnight() {
        for (from, to, wanted_ms) in [
            ("2026-11-21T04:40:45.316615Z", "2026-11-21T04:40:45.336615Z", 20),
            ("2026-11-21T23:59:59.999Z", "2026-11-22T00:00:00.004Z", 5),
            ("2026-11-21T12:00:00.000001Z", "2026-11-21T12:00:00Z", 0),
        ] {
            let [from, to] = [from, to].map(|stamp| time_of_day_in(stamp).unwrap());
            let passed = milliseconds(later(from, to));
            assert!((passed - f64::from(wanted_ms)).abs() < 0.01, "{passed} {wanted_ms}");
        }
        assert_eq!(time_of_day_in("2026-11-21"), None);
        assert_eq!(time_of_day_in("2026-11-21T04:xx:45Z"), None);
    }

    #[test]
    fn reads_lines_of_an_audit_log() {
        let line = r#"{"crossing":"u","stage":"started","time":"2026-11-21T00:00:02Z"}"#;
        let wanted = (("u".to_owned(), "started".to_owned()), Duration::from_secs(2));
        assert_eq!(stage(line), Some(wanted));
        assert_eq!(stage(&line[..30]), None);
    }
}
