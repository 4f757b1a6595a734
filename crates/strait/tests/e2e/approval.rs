//! Agents that a person approves, as processes that are killed on the way.

use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Hub, Output, Process, strait};

const AGENT: &str = "apiVersion: relay.strait.dev/v1alpha1
kind: Agent
metadata: {name: smith}
spec: {joinPolicy: approve}
";

const NOT_ALLOWED: Option<i32> = Some(77);

/// A hub with an agent that is to be approved, and a file with a token for one.
fn site() -> (Hub, TempDir) {
    let (hub, home) = (Hub::start(), TempDir::new().unwrap());
    hub.kubectl_with(&["create"], AGENT).succeeded();
    let token = hub.strait(&["agent", "token", "create", "smith"]).succeeded();
    std::fs::write(home.path().join("token"), token).unwrap();
    (hub, home)
}

fn start(home: &Path, data: &str) -> Process {
    let mut command = strait();
    command.args(["agent", "--health", "127.0.0.1:0", "--data-dir"]);
    command.arg(home.join(data)).args(["--parent", &std::process::id().to_string()]);
    Process::start(command.arg("--token-file").arg(home.join("token")))
}

fn waits(agent: &mut Process) -> String {
    agent.wait_for_log(|line| line.contains("waits for a person's approval"))
}

/// The key in a text.
fn key(text: &str) -> &str {
    let keys = text.split(|c: char| !c.is_ascii_hexdigit());
    keys.into_iter().find(|word| word.len() == 64).unwrap_or_else(|| panic!("no key in {text}"))
}

fn names(hub: &Hub) -> String {
    hub.kubectl(&["get", "certificaterequests", "-o", "name"]).succeeded()
}

#[test]
fn whoever_waits_is_approved_however_often_both_sides_are_killed() {
    let (hub, home) = site();
    let address = hub.server().trim_start_matches("https://").to_owned();
    let mut agent = start(home.path(), "data");
    let log = waits(&mut agent);
    agent.end_with(Signal::KILL);
    let request = names(&hub);
    let hub = hub.kill().start_at(&address);
    let mut agent = start(home.path(), "data");
    assert_eq!(key(&waits(&mut agent)), key(&log), "the key is the same");
    assert_eq!(names(&hub), request, "and so is the request");

    let listed = hub.strait(&["agent", "list"]);
    let note = listed.stderr.lines().find(|line| line.contains("strait agent approve")).unwrap();
    assert_eq!(key(note), key(&log));
    let approved = hub.strait(&["agent", "approve", "smith"]).succeeded();
    assert!(approved.starts_with("approved: smith/") && key(&approved) == key(&log), "{approved}");
    let hub = hub.kill().start_at(&address);
    agent.wait_for_output(|line| line.starts_with("ready smith "));
    agent.end_with(Signal::KILL);
    let mut agent = start(home.path(), "data");
    agent.wait_for_output(|line| line.starts_with("ready smith "));
    assert!(!hub.strait(&["agent", "list"]).stderr.contains("strait agent approve"));
    assert_eq!(agent.terminate().code, Some(0));
    // All that took the token's one use.
    let other = start(home.path(), "other").finish();
    assert_eq!(other.code, NOT_ALLOWED, "{other:?}");
    assert!(other.stderr.contains("token was used at 20"), "{other:?}");
    hub.stop();
}

#[test]
fn whoever_is_denied_ends_and_says_so() {
    let (hub, home) = site();
    let mut agent = start(home.path(), "data");
    waits(&mut agent);
    let denied = hub.strait(&["agent", "deny", "smith"]).succeeded();
    assert!(denied.starts_with("denied: smith/"), "{denied}");
    let refused = |output: Output| {
        assert_eq!(output.code, NOT_ALLOWED, "{output:?}");
        assert!(output.stderr.contains("a person denied it; to ask again"), "{output:?}");
    };
    refused(agent.finish());
    refused(start(home.path(), "data").finish());
    let again = hub.strait(&["agent", "approve", "smith"]);
    assert!(again.stderr.contains("no installation of agent smith waits"), "{again:?}");
    hub.stop();
}

#[test]
fn kubectl_shows_what_waits_and_approves_it() {
    let (hub, home) = site();
    let mut agent = start(home.path(), "data");
    waits(&mut agent);
    let name = names(&hub).trim().rsplit_once('/').unwrap().1.to_owned();
    let wide = hub.kubectl(&["get", "certreq", "-o", "wide"]).succeeded();
    assert!(wide.contains("smith") && wide.contains("127.0.0.1"), "{wide}");
    let path = format!("/apis/relay.strait.dev/v1alpha1/certificaterequests/{name}/approval");
    let word = r#"{"type":"Approved","message":"seen"}"#;
    hub.kubectl_with(&["create", "--raw", &path], word).succeeded();
    agent.wait_for_output(|line| line.starts_with("ready smith "));
    let approved = ["wait", "--for=condition=Approved", "--timeout=20s", "certreq", &name];
    hub.kubectl(&approved).succeeded();
    assert_eq!(agent.terminate().code, Some(0));
    hub.stop();
}
