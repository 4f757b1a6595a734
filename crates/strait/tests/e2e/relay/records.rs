//! What is written down of a request: on both sides, under one id, and before it goes in.

use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use super::origin::Origin;
use super::site::{Site, eventually, program};
use crate::harness::{Hub, Process, Recorder, strait};

const ANYWHERE: &str = "127.0.0.1:0";

/// The lines of an audit log that fit.
fn audited(data: &Path, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut list = strait();
    list.args(["audit", "list", "-o", "json", "--data-dir"]).arg(data);
    let text = Process::start(&mut list).finish().succeeded();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(fits).collect()
}

/// What an audit log has of one kind.
pub(super) fn events(data: &Path, name: &str) -> Vec<Value> {
    let is_one = |outcome: &str| outcome.split(' ').next() == Some(name);
    audited(data, |line| line["outcome"].as_str().is_some_and(is_one))
}

/// The line of an access log that is about a request.
fn accessed(log: &str, id: &str) -> Value {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines = lines.filter(|line| line["target"] == "strait::access");
    lines.find(|line| line.to_string().contains(id)).unwrap_or_else(|| panic!("no {id} in {log}"))
}

#[test]
fn row_50_one_id_is_in_both_logs_in_both_audit_logs_and_in_the_trace() {
    let (origin, collector) = (Origin::start(), Recorder::start());
    let log = ["--log", "info,strait::access=debug", "--log-format", "json"];
    let traced = || {
        let mut command = strait();
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address));
        command
    };
    let hub = Hub::start_by(traced(), TempDir::new().unwrap(), ANYWHERE, &log);
    let mut site = Site::beside(hub, &origin.service());
    site.join(None);
    site.agents[0].roll_by(traced(), &log);
    site.wait_for_services();
    let token = site.token("ci");
    let url = site.url("ci", "/job?secret=canary");
    eventually("the agent", || site.works("ci", &token));
    let answer = site.curl(&token, &["--fail", "--include", "--data", "x"], &url).succeeded();
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap().trim();
    assert_eq!(origin.last().field("x-request-id"), Some(id));

    let Site { hub, mut agents, home } = site;
    let agent = agents.pop().unwrap();
    let agents_data = agent.data();
    let agents_log = agent.process.terminate().stderr;
    let hub = hub.stop();
    let [ours, theirs] = [&hub.log, &agents_log].map(|log| accessed(log, id));
    let trace = text_of(&ours, "trace");
    assert_eq!(text_of(&theirs, "trace"), trace);
    for (data, log) in [(hub.data(), &hub.log), (agents_data, &agents_log)] {
        let lines = audited(&data, |line| line["crossing"] == id);
        let outcomes: Vec<&str> =
            lines.iter().map(|line| line["outcome"].as_str().unwrap()).collect();
        let [open, end] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert!(open.starts_with("relay.stream.open POST /job from 127.0.0.1"), "{open}");
        assert!(end.starts_with("relay.stream.end NONE 200, 1 bytes up, "), "{end}");
        assert!(!log.contains("canary") && !format!("{lines:?}").contains("canary"));
    }
    let mut names = Vec::new();
    while names.len() < 2 {
        let body: Value = serde_json::from_str(&collector.next().body).unwrap();
        let spans = body.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap();
        for span in spans.as_array().unwrap() {
            let attributes = span["attributes"].as_array().unwrap();
            let of = attributes.iter().find(|one| one["key"] == "strait.request");
            if of.is_some_and(|one| one["value"]["stringValue"] == id) {
                assert_eq!(span["traceId"].as_str(), Some(&*trace));
                names.push(span["name"].as_str().unwrap().to_owned());
            }
        }
    }
    names.sort();
    assert_eq!(names, ["agent.relay", "hub.relay"]);
    drop(home);
}

/// A field of a line of a log in JSON.
fn text_of(line: &Value, name: &str) -> String {
    let found = line.get(name).or_else(|| line.pointer(&format!("/fields/{name}")));
    found.and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {line}")).to_owned()
}

/// A process that is told by an error, and not ended, where it may write no more.
fn enduring() -> Command {
    let mut env = program("env");
    env.args(["--ignore-signal=XFSZ", env!("CARGO_BIN_EXE_strait")]);
    env
}

/// From now on it cannot write to any file.
fn stop_writing(process: &Process) {
    let limit = Rlimit { current: Some(0), maximum: None };
    prlimit(Some(process.pid()), Resource::Fsize, limit).unwrap();
}

#[test]
fn row_50_what_cannot_be_written_down_does_not_go_in() {
    let origin = Origin::start();
    let hub = Hub::start_by(enduring(), TempDir::new().unwrap(), ANYWHERE, &[]);
    let mut site = Site::beside(hub, &origin.service());
    site.join(None);
    site.agents[0].roll_by(enduring(), &[]);
    site.wait_for_services();
    let works = |site: &Site, token: &str| {
        site.curl(token, &["--fail", "--data", "x"], &site.url("ci", "/a")).code == Some(0)
    };
    let refused = |site: &Site, token: &str| {
        let before = origin.known.seen.lock().len();
        for arguments in [&["--include"][..], &["--include", "--data", "x"]] {
            let answer = site.curl(token, arguments, &site.url("ci", "/a")).succeeded();
            assert!(answer.starts_with("HTTP/2 503"), "{answer}");
            assert!(answer.contains("x-strait-error: AuditUnavailable"), "{answer}");
            assert!(answer.contains("retry-after: 1"), "{answer}");
        }
        assert_eq!(origin.known.seen.lock().len(), before, "nothing went in");
    };
    // One that was read by is on record already, so it is another in each place.
    let [first, second, third] = [(); 3].map(|()| site.token("ci"));
    eventually("the agent", || works(&site, &first));

    stop_writing(&site.agents[0].process);
    refused(&site, &second);
    site.agents[0].kill();
    site.agents[0].start_again();
    eventually("the agent that writes again", || works(&site, &first));

    stop_writing(site.hub.process());
    refused(&site, &third);
    let told = site.hub.strait(&["service", "token", "smith/ci"]).failed();
    assert!(told.contains("not done") || told.contains("503"), "{told}");
    let address = site.address();
    let hub = std::mem::replace(&mut site.hub, Hub::start());
    site.hub = hub.kill().start_at(&address.to_string());
    eventually("the hub that writes again", || works(&site, &third));
}
