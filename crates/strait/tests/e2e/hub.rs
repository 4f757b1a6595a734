//! What a hub refuses before it serves, and what it shows of itself.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Hub, Output, Process, Up, strait};

/// Exit codes of the program.
const FAILED: Option<i32> = Some(2);
const USAGE: Option<i32> = Some(64);

#[test]
fn every_mistake_is_told_at_once_before_anything_is_made() {
    let home = TempDir::new().unwrap();
    let arguments = ["--listen", "nonsense", "--store", "papyrus", "--advertise", "hub"];
    let refused = run(home.path(), &arguments);
    assert_eq!(refused.code, USAGE, "{refused:?}");
    for part in [
        "--listen: \"nonsense\" is not ADDR:PORT",
        "--store: \"papyrus\" is none of sqlite, memory",
        "--advertise hub: the port is missing",
    ] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(!home.path().join("data").exists());
}

#[test]
fn it_may_have_as_many_files_open_as_its_starter_lets_it() {
    let mut shell = Command::new("/bin/sh");
    let script = "ulimit -Sn 256 && ulimit -Hn 4000 && exec \"$0\" \"$@\"";
    shell.env_clear().args(["-c", script, env!("CARGO_BIN_EXE_strait")]);
    let hub = Hub::start_by(shell, TempDir::new().unwrap(), "127.0.0.1:0", &[]);
    let metrics = hub.metrics();
    assert!(metrics.contains("\nprocess_max_fds 4000"), "{metrics}");
}

#[test]
fn a_wildcard_needs_an_address_that_agents_reach() {
    let home = TempDir::new().unwrap();
    let refused = run(home.path(), &["--listen", "0.0.0.0:0"]);
    assert_eq!(refused.code, USAGE, "{refused:?}");
    assert!(refused.stderr.contains("--advertise: required"), "{refused:?}");
}

#[test]
fn a_directory_of_a_newer_format_is_left_alone() {
    let stopped = Hub::start().stop();
    let version = stopped.data().join("VERSION");
    let text = std::fs::read_to_string(&version).unwrap();
    let newer = text.replacen("\"format\": 1", "\"format\": 99", 1);
    assert_ne!(newer, text);
    std::fs::write(&version, &newer).unwrap();
    let home = stopped.data().parent().unwrap().to_owned();
    let refused = run(&home, &["--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, FAILED, "{refused:?}");
    assert!(refused.stderr.contains("99"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&version).unwrap(), newer);
}

#[test]
fn a_directory_of_an_agent_is_not_taken_for_a_hubs() {
    let up = Up::start();
    let (_, home) = up.stop();
    let agents = home.path().join("data/agents");
    std::fs::rename(agents.join("local"), agents.join("data")).unwrap();
    let refused = run(&agents, &["--listen", "127.0.0.1:0"]);
    assert_eq!(refused.code, FAILED, "{refused:?}");
    assert!(refused.stderr.contains("agent"), "{refused:?}");
}

#[test]
fn a_hub_alone_serves_what_up_made() {
    let up = Up::start();
    up.kubectl(&["create", "configmap", "kept"]).succeeded();
    let (_, home) = up.stop();
    let hub = Hub::start_on(home);
    let server = hub.server() + "/clusters/root:demo";
    hub.kubectl(&["--server", &server, "get", "configmap", "kept"]).succeeded();
    hub.stop();
}

#[test]
fn shows_its_health_and_metrics() {
    let hub = Hub::start();
    for probe in ["/livez", "/readyz"] {
        assert_eq!(hub.kubectl(&["get", "--raw", probe]).succeeded(), "ok", "{probe}");
    }
    let verbose = hub.kubectl(&["get", "--raw", "/readyz?verbose"]).succeeded();
    assert!(verbose.contains("[+]store ok"), "{verbose}");
    let metrics = hub.metrics();
    assert!(metrics.contains("# TYPE "), "{metrics}");
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    let mut command = strait();
    command.args(["hub", "--data-dir"]).arg(home.join("data"));
    command.args(["--parent", &std::process::id().to_string()]);
    Process::start(command.args(arguments)).finish()
}

/// docs/adr/0014-allocator.md: a build without them is right, and takes more memory.
#[test]
fn the_allocator_has_the_settings_that_were_decided() {
    let mut asked = strait();
    let told =
        Process::start(asked.env("MALLOC_CONF", "confirm_conf:true").arg("--version")).finish();
    for setting in ["narenas:2", "dirty_decay_ms:1000"] {
        assert!(told.stderr.contains(&format!("Set conf value: {setting}\n")), "{told:?}");
    }
}
