//! Spans of a process, told by its environment where they go.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Process, Recorder, ask, strait};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A gateway with one backend, and what else its environment says.
fn gateway(home: &TempDir, backend: &Recorder, variables: &[(&str, &str)]) -> Command {
    let config = home.path().join("hooks.yaml");
    let text = format!(
        "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\nlisten: 127.0.0.1:0\n\
         dataDir: {}\nsources: [{{name: forge, path: /forge, scheme: none}}]\n\
         backends: [{{name: ci, sources: [forge], url: 'http://{}', allowPrivate: true}}]\n",
        home.path().join("data").display(),
        backend.address
    );
    fs::write(&config, text).unwrap();
    let mut command = strait();
    command.envs(variables.iter().copied());
    command.args(["hooks", "serve", "--parent", &std::process::id().to_string(), "--config"]);
    command.arg(config);
    command
}

/// Sends one webhook of the trace, and returns what the backend got as its parent.
fn deliver(gateway: &mut Process, backend: &Recorder) -> String {
    let line = gateway.wait_for_output(|line| line.starts_with("ready http://"));
    let address = line.rsplit_once('/').unwrap().1.parse().unwrap();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let fields = [("content-type", "application/json"), ("traceparent", &parent)];
    assert_eq!(ask(address, "POST /forge", &fields, "{}").status(), 202);
    backend.next().field("traceparent").unwrap().to_owned()
}

#[test]
fn what_ended_is_sent_before_the_process_ends() {
    let (home, backend, collector) =
        (TempDir::new().unwrap(), Recorder::start(), Recorder::start());
    let endpoint = format!("http://{}/in", collector.address);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t"),
        ("OTEL_SERVICE_NAME", "edge"),
    ];
    let mut process = Process::start(&mut gateway(&home, &backend, &variables));
    let told = deliver(&mut process, &backend);
    let output = process.terminate();
    assert_eq!(output.code, Some(0), "{output:?}");

    let mut spans: Vec<Value> = Vec::new();
    while spans.len() < 2 {
        let request = collector.next();
        assert_eq!(request.first, "POST /in/v1/traces HTTP/1.1");
        assert_eq!(request.field("content-type"), Some("application/json"));
        assert_eq!(request.field("authorization"), Some("Bearer t"));
        let body: Value = serde_json::from_str(&request.body).unwrap();
        let service = body.pointer("/resourceSpans/0/resource/attributes/0").unwrap();
        assert_eq!(service["value"]["stringValue"], "edge");
        let more = body.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap();
        spans.extend(more.as_array().unwrap().iter().cloned());
    }
    let named = |name| spans.iter().find(|own| own["name"] == name).unwrap();
    let [receive, deliver] = ["hooks.receive", "hooks.deliver"].map(named);
    assert!([receive, deliver].iter().all(|own| own["traceId"] == TRACE), "{spans:?}");
    assert_eq!(deliver["parentSpanId"], receive["spanId"]);
    assert_eq!(told, format!("00-{TRACE}-{}-01", deliver["spanId"].as_str().unwrap()));
}

#[test]
fn a_collector_that_says_nothing_holds_up_nobodys_end() {
    let (home, backend) = (TempDir::new().unwrap(), Recorder::start());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
    let mut process = Process::start(&mut gateway(&home, &backend, &variables));
    deliver(&mut process, &backend);
    let began = Instant::now();
    let output = process.terminate();
    assert_eq!(output.code, Some(0), "{output:?}");
    // Its own time for spans is 2 s, a post's 10 s.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(output.stderr.contains("no time was left to send spans"), "{output:?}");
}

#[test]
fn a_mistake_ends_the_start_and_tells_no_secret() {
    let (home, backend) = (TempDir::new().unwrap(), Recorder::start());
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hidden@collector"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ];
    let output = Process::start(&mut gateway(&home, &backend, &variables)).finish();
    assert_eq!(output.code, Some(64), "{output:?}");
    for part in ["OTEL_EXPORTER_OTLP_ENDPOINT: ", "OTEL_TRACES_SAMPLER: \"sometimes\" is none of"] {
        assert!(output.stderr.contains(part), "{part} in {output:?}");
    }
    assert!(!output.stderr.contains("hidden"), "{output:?}");
    assert!(!home.path().join("data").exists());
}
