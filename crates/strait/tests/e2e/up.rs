//! One command brings up a hub and an agent; it ends as a whole, and starts again on what it kept.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::harness::{Process, Up, strait, up, wait_for_end};

/// Time from Ctrl-C to the end, by promise.
const STOP_MAX: Duration = Duration::from_secs(5);

#[test]
fn says_one_line_on_standard_output() {
    let up = Up::start();
    let (what, rest) = up.ready.split_once(" agent=connected crossing=").unwrap();
    assert!(what.starts_with("ready https://127.0.0.1:"), "{what}");
    let (crossing, relay) = rest.split_once("ms relay=").unwrap();
    let relay = relay.strip_suffix("ms").unwrap();
    assert!(crossing.parse::<u32>().is_ok() && relay.parse::<u32>().is_ok(), "{rest}");
    let ready = up.ready.clone();
    let (output, _) = up.stop();
    assert_eq!(output.stdout, format!("{ready}\n"));
    assert!(output.stderr.contains("signature verified"), "{}", output.stderr);
    let relayed = "relayed: GET /services/relay/local/signer/keys/dev answered in ";
    assert!(output.stderr.contains(relayed), "{}", output.stderr);
}

#[test]
fn row_54_the_private_service_answers_the_curl_line_that_is_shown() {
    let mut up = Up::start();
    let line = up.told(|line| line.starts_with("  curl "));
    let ask = |more: &str| {
        let line = line.replacen("curl ", &format!("curl --silent --show-error {more} "), 1);
        let mut shell = Command::new("/bin/sh");
        Process::start(shell.env_clear().env("PATH", "/usr/bin:/bin").args(["-ec", &line])).finish()
    };
    let answer: serde_json::Value = serde_json::from_str(&ask("").succeeded()).unwrap();
    assert_eq!(answer["publicKey"].as_str().map(str::len), Some(44), "{answer}");
    let refused = ask("--include --data x").succeeded();
    assert!(refused.contains("x-strait-error: AgentRule"), "{refused}");
    let data = up.data();
    let own = std::fs::read_to_string(data.join("agents/local/signer-token")).unwrap();
    assert!(!line.contains(&own), "its own token stays inside");
    // Every start shows it.
    let (_, home) = up.stop();
    let mut up = Up::start_in(home, &[]);
    up.told(|line| line.starts_with("relayed: "));
}

#[test]
fn runs_hub_agent_and_service_as_processes_that_end_with_it() {
    let up = Up::start();
    let children = up.children();
    let mut roles: Vec<&str> = children.iter().map(|(_, role)| role.as_str()).collect();
    roles.sort_unstable();
    assert_eq!(roles, ["__example-signer", "agent", "hub"]);
    let asked = Instant::now();
    up.stop();
    assert!(asked.elapsed() < STOP_MAX, "{:?}", asked.elapsed());
    wait_for_end(&children);
}

#[test]
fn its_processes_end_although_it_was_killed_and_it_starts_again() {
    let up = Up::start();
    let kept = ["create", "configmap", "kept", "--from-literal=colour=blue"];
    up.kubectl(&kept).succeeded();
    let children = up.children();
    let home = up.kill();
    wait_for_end(&children);
    let up = Up::start_in(home, &[]);
    up.kubectl(&["get", "configmap", "kept"]).succeeded();
}

#[test]
fn ends_as_a_whole_and_says_which_process_ended_first() {
    for role in ["hub", "agent", "__example-signer"] {
        let up = Up::start();
        let children = up.children();
        let (first, _) = children.iter().find(|(_, own)| own == role).unwrap();
        kill_process(*first, Signal::KILL).unwrap();
        let output = up.finish();
        assert_eq!(output.code, Some(2), "{output:?}");
        let name = role.trim_start_matches("__").replace('-', " ");
        assert!(output.stderr.contains(&format!("the {name} ended: signal: 9")), "{output:?}");
        wait_for_end(&children);
    }
}

#[test]
fn finds_everything_as_it_was_when_it_starts_again() {
    let up = Up::start();
    let uids = |up: &Up| {
        let of = |context: &str, kind: &str, name: &str| {
            let place = ["--context", context, "get", kind, name];
            let arguments = [&place[..], &["-o", "jsonpath={.metadata.uid}"]].concat();
            up.kubectl(&arguments).succeeded()
        };
        [
            of("root", "workspace", "provider"),
            of("root", "workspace", "demo"),
            of("root:provider", "apiexport", "signing"),
            of("root:provider", "agent", "local"),
            of("root:demo", "apibinding", "signing"),
        ]
    };
    let before = uids(&up);
    // What somebody removed stays removed.
    up.kubectl(&["delete", "configmap", "--all"]).succeeded();
    let (_, home) = up.stop();
    let up = Up::start_in(home, &[]);
    assert_eq!(uids(&up), before);
    let left = up.kubectl(&["get", "signingrequests", "-o", "name"]).succeeded();
    assert_eq!(left, "", "a proof leaves nothing behind");
}

#[test]
fn works_without_the_example() {
    let home = tempfile::TempDir::new().unwrap();
    let up = Up::start_in(home, &["--no-demo"]);
    assert!(up.ready.ends_with(" agent=connected"), "{}", up.ready);
    assert_eq!(up.kubectl(&["config", "get-contexts", "-o", "name"]).succeeded(), "root\n");
    let state = ["get", "agents", "-o", "jsonpath={.items[*].metadata.name}"];
    assert_eq!(up.kubectl(&state).succeeded(), "local");
    up.stop();
}

#[test]
fn a_context_has_rights_in_its_own_workspace_only() {
    let up = Up::start();
    let server = up.ready.split(' ').nth(1).unwrap().to_owned();
    let provider = format!("{server}/clusters/root:provider");
    for kind in ["configmaps", "apiexports", "secrets", "namespaces"] {
        up.kubectl(&["get", kind]).succeeded();
        let refused = up.kubectl(&["--server", &provider, "get", kind]).failed();
        assert!(refused.contains("Error from server (Forbidden)"), "{refused}");
    }
    let raw = up
        .kubectl(&["--server", &server, "get", "--raw", "/clusters/root:provider/api/v1/secrets"])
        .failed();
    assert!(raw.contains("workspace access not permitted"), "{raw}");
    let metrics = up.kubectl(&["--server", &server, "get", "--raw", "/metrics"]).failed();
    assert!(metrics.contains("cannot get path \"/metrics\""), "{metrics}");
    let data = up.data();
    for file in ["kubeconfig", "admin.kubeconfig"] {
        let mode = data.join(file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn a_second_one_on_the_same_directory_refuses() {
    let first = Up::start();
    let home = first.data().parent().unwrap().to_owned();
    let second = Process::start(&mut up(&home)).finish();
    assert_eq!(second.stdout, "");
    assert!(second.failed().contains("in use"));
    first.kubectl(&["get", "namespaces"]).succeeded();
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = tempfile::TempDir::new().unwrap();
    let mut command = strait();
    command.args(["up", "--listen", &address, "--data-dir"]).arg(home.path());
    let said = Process::start(&mut command).finish().failed();
    assert!(said.contains(&address), "{said}");
    assert!(said.contains("in use"), "{said}");
}
