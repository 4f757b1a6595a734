//! Agents join with a token, stay without one, and say plainly why they cannot.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Process, Up, strait};

/// Exit codes of the program.
const NOT_ALLOWED: Option<i32> = Some(77);
const NOT_TRUSTED: Option<i32> = Some(78);
const USAGE: Option<i32> = Some(64);

#[test]
fn an_agent_joins_with_a_token_and_stays_without_it() {
    let (up, home) = (Up::start(), TempDir::new().unwrap());
    let token = home.path().join("token");
    std::fs::write(&token, token_for(&up, "edge", &["--export", "signing"])).unwrap();
    let mut agent = start(home.path(), &["--token-file", token.to_str().unwrap()]);
    agent.wait_for_output(|line| line.starts_with("ready edge "));
    let connected = ["--context", "root:provider", "wait", "agent/edge"];
    let connected = [&connected[..], &["--for=condition=Connected", "--timeout=30s"]].concat();
    up.kubectl(&connected).succeeded();
    assert_eq!(agent.terminate().code, Some(0));

    std::fs::remove_file(&token).unwrap();
    let mut again = start(home.path(), &[]);
    again.wait_for_output(|line| line.starts_with("ready edge "));
    assert_eq!(again.terminate().code, Some(0));
}

#[test]
fn a_certificate_is_renewed_with_a_new_key_when_it_is_time() {
    let (up, home) = (Up::start(), TempDir::new().unwrap());
    let token = home.path().join("token");
    std::fs::write(&token, token_for(&up, "edge", &[])).unwrap();
    let mut agent = start(home.path(), &["--token-file", token.to_str().unwrap()]);
    agent.wait_for_output(|line| line.starts_with("ready "));
    agent.terminate();
    let serial = ["--context", "root:provider", "get", "agent", "edge", "-o"];
    let serial = [&serial[..], &["jsonpath={.status.instances[0].certificate.serial}"]].concat();
    let before = up.kubectl(&serial).succeeded();

    let file = home.path().join("data/membership.json");
    let read =
        || -> serde_json::Value { serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap() };
    let mut membership = read();
    let (old_key, due) = (membership["key"].clone(), "2020-01-01T00:00:00Z");
    assert!(old_key.is_string());
    membership["renewAt"] = due.into();
    std::fs::write(&file, membership.to_string()).unwrap();
    let mut agent = start(home.path(), &[]);
    agent.wait_for_log(|line| line.contains("certificate renewed"));
    let renewed = read();
    assert!(renewed["key"].is_string() && renewed["key"] != old_key);
    assert_ne!(renewed["renewAt"], due);
    assert_ne!(up.kubectl(&serial).succeeded(), before);
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn a_token_is_good_for_one_agent() {
    let (up, first, second) = (Up::start(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let token = first.path().join("token");
    std::fs::write(&token, token_for(&up, "edge", &[])).unwrap();
    let with_token = ["--token-file", token.to_str().unwrap()];
    let mut agent = start(first.path(), &with_token);
    agent.wait_for_output(|line| line.starts_with("ready "));
    let refused = start(second.path(), &with_token).finish();
    assert_eq!(refused.code, NOT_ALLOWED, "{refused:?}");
    assert!(refused.stderr.contains("token was used at 20"), "{refused:?}");
    assert!(!refused.stderr.contains(std::fs::read_to_string(&token).unwrap().trim()));
}

/// Row 41: CVE-2024-22030.
#[test]
fn a_hub_other_than_the_tokens_is_not_trusted() {
    let (ours, other, home) = (Up::start(), Up::start(), TempDir::new().unwrap());
    let token = home.path().join("token");
    std::fs::write(&token, token_for(&ours, "edge", &[])).unwrap();
    let hub = other.ready.split(' ').nth(1).unwrap();
    let refused =
        start(home.path(), &["--token-file", token.to_str().unwrap(), "--hub", hub]).finish();
    assert_eq!(refused.code, NOT_TRUSTED, "{refused:?}");
    assert!(refused.stderr.contains("is not the hub that made the token"), "{refused:?}");
}

#[test]
fn a_token_is_needed_to_join() {
    let home = TempDir::new().unwrap();
    let refused = start(home.path(), &[]).finish();
    assert_eq!(refused.code, USAGE, "{refused:?}");
    assert!(refused.stderr.contains("strait agent token create NAME"), "{refused:?}");
    let token = home.path().join("token");
    for text in ["", "no token", "sj1.e30", "sj1.!!!"] {
        std::fs::write(&token, text).unwrap();
        let refused = start(home.path(), &["--token-file", token.to_str().unwrap()]).finish();
        assert_eq!(refused.code, USAGE, "{text:?} {refused:?}");
        assert!(refused.stderr.contains("--token-file: "), "{text:?} {refused:?}");
    }
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once_with_its_place() {
    let home = TempDir::new().unwrap();
    let config = home.path().join("agent.yaml");
    std::fs::write(&config, MISTAKES).unwrap();
    let refused = start(home.path(), &["--config", config.to_str().unwrap()]).finish();
    assert_eq!(refused.code, USAGE, "{refused:?}");
    for part in [
        "agent.yaml:6:3: unknown field \"spec.endpointSlize\"",
        "agent.yaml:4:1: spec.endpointSlice: Required value",
        "agent.yaml:9:1: kind: Unsupported value: \"RequestClasss\"",
        "agent.yaml:16:3: spec.executionTimeout: Invalid value: \"soon\"",
        "agent.yaml:18:5: spec.executor.process.isolation: Required value",
        "agent.yaml:25:3: spec.endpoint: Not found: \"nowhere\"",
        "agent.yaml:27:3: spec.className: Not found: \"none\"",
    ] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(!home.path().join("data").exists(), "nothing is begun");
}

#[test]
fn an_agent_listens_to_its_own_machine_only() {
    let home = TempDir::new().unwrap();
    let mut command = agent(home.path());
    let refused = Process::start(command.args(["--health", "0.0.0.0:0"])).finish();
    assert_eq!(refused.code, USAGE, "{refused:?}");
    assert!(refused.stderr.contains("--health: must be a loopback address"), "{refused:?}");
}

#[test]
fn a_token_is_made_by_those_who_may() {
    let up = Up::start();
    let create = ["agent", "token", "create", "edge", "--workspace", "root:provider"];
    let refused = up.strait(&create);
    assert_eq!(refused.code, NOT_ALLOWED, "{refused:?}");
    assert_eq!(refused.stdout, "");
    let named = ["--context", "root:provider", "agent", "token", "create", "Edge!"];
    let refused = up.strait(&[&named[2..], &named[..2]].concat()).failed();
    assert!(refused.contains("metadata.name: Invalid value: \"Edge!\""), "{refused}");
}

const MISTAKES: &str = "\
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {name: signing}
spec:
  workspace: root:provider
  endpointSlize: signing
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClasss
metadata: {name: sign}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {name: run}
spec:
  executionTimeout: soon
  executor:
    process:
      program: /bin/true
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestKindMapping
metadata: {name: m}
spec:
  endpoint: nowhere
  resource: {group: a.example, version: v1, resource: things}
  className: none
";

/// A token of the provider's workspace.
fn token_for(up: &Up, agent: &str, arguments: &[&str]) -> String {
    let create = ["agent", "token", "create", agent, "--context", "root:provider"];
    up.strait(&[&create[..], arguments].concat()).succeeded()
}

fn start(home: &Path, arguments: &[&str]) -> Process {
    Process::start(agent(home).args(["--health", "127.0.0.1:0"]).args(arguments))
}

fn agent(home: &Path) -> Command {
    let mut command = strait();
    command.args(["agent", "--data-dir"]).arg(home.join("data"));
    command.args(["--parent", &std::process::id().to_string()]);
    command
}
