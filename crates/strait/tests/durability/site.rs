//! A hub with a workspace that asks, and an agent that answers with a program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::Access;
use super::disk::Disk;
use super::hub::Hub;
use super::process::Process;

const REQUESTS: &str = "/clusters/root:demo/apis/signing.example.strait.dev/v1alpha1/namespaces/default/signingrequests";

/// Between two looks at what an agent did, and how many there are.
const LOOK: Duration = Duration::from_millis(20);
const LOOKS: usize = 1_500;

/// What `strait up` made, with other work for the agent: a program that appends what it is
/// given to a file.
pub(crate) struct Site {
    home: TempDir,
    hub: Hub,
    pub(crate) access: Access,
    asked: usize,
}

impl Site {
    pub(crate) fn new() -> Self {
        let home = TempDir::new().unwrap();
        let data = home.path().join("data");
        // The agent's membership names the port.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command.arg("up").arg("--data-dir").arg(&data).args(["--listen", &listen]).env_clear();
        let mut up = Process::start(&mut command);
        up.wait_for_output(|line| line.starts_with("ready "));
        assert_eq!(up.terminate().code, Some(0));
        let hub = Hub::start(&data, &listen);
        let access = hub.access(&data);
        let site = Self { home, hub, access, asked: 0 };
        site.write_work();
        site
    }

    fn write_work(&self) {
        let program = self.home.path().join("program");
        fs::write(&program, "#!/bin/sh\nread -r line\nprintf '%s\\n' \"$line\" >>\"$1\"\n")
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let (program, effects) = (program.display(), self.effects());
        let work = format!(
            "
apiVersion: requests.strait.dev/v1alpha1
kind: RemoteEndpoint
metadata: {{name: signing}}
spec: {{workspace: 'root:provider', endpointSlice: signing}}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestKindMapping
metadata: {{name: signing}}
spec:
  endpoint: signing
  resource: {{group: signing.example.strait.dev, version: v1alpha1, resource: signingrequests}}
  className: append
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestClass
metadata: {{name: append}}
spec:
  concurrency: 4
  executor:
    process: {{program: {program}, args: [{effects}], isolation: none}}
---
apiVersion: requests.strait.dev/v1alpha1
kind: RequestPolicy
metadata: {{name: append}}
spec:
  rules:
  - {{name: demo, effect: allow, match: {{workspaces: ['root:demo']}}}}
",
            effects = effects.display(),
        );
        fs::write(self.home.path().join("work.yaml"), work).unwrap();
    }

    /// Where the agent has its files, as a disk.
    pub(crate) fn disk(&self) -> Disk {
        let root = self.home.path().canonicalize().unwrap().join("data/agents/local");
        Disk::over(TempDir::new().unwrap(), root)
    }

    /// Starts the agent on its disk. Its supervisors outlive it.
    pub(crate) fn start_agent(&self, disk: &Disk) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
        command
            .args(["agent", "--health", "127.0.0.1:0", "--data-dir"])
            .arg(disk.root())
            .arg("--config")
            .arg(self.home.path().join("work.yaml"))
            .env_clear();
        Process::start(disk.attach(&mut command))
    }

    /// Asks for some more work.
    pub(crate) async fn ask(&mut self, count: usize) {
        let mut connection = self.access.connect().await.unwrap();
        for _ in 0..count {
            let request = request(&format!("ask-{}", self.asked), self.asked);
            let (status, text) =
                connection.call(Method::POST, REQUESTS, Some(&request)).await.unwrap();
            assert_eq!(status, 201, "{text}");
            self.asked += 1;
        }
    }

    /// The phase of every request, by what it asks for.
    pub(crate) async fn phases(&self) -> BTreeMap<String, String> {
        let list = self.access.read(REQUESTS).await.unwrap();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                (text(&item["spec"]["digest"]), text(&item["status"]["phase"]))
            })
            .collect()
    }

    /// What is said of the request for a digest.
    pub(crate) async fn status(&self, digest: &str) -> Value {
        let list = self.access.read(REQUESTS).await.unwrap();
        let mut items = list["items"].as_array().unwrap().iter();
        items.find(|item| item["spec"]["digest"] == digest).unwrap()["status"].clone()
    }

    /// Waits until nothing is left to do.
    pub(crate) async fn settled(&self) -> BTreeMap<String, String> {
        let mut phases = BTreeMap::new();
        for _ in 0..LOOKS {
            phases = self.phases().await;
            let over =
                |phase: &String| matches!(&**phase, "Succeeded" | "Failed" | "Indeterminate");
            if phases.values().all(over) {
                return phases;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("not all is done: {phases:?}")
    }

    /// How often each thing was done.
    pub(crate) fn done(&self) -> BTreeMap<String, usize> {
        let mut done = BTreeMap::new();
        for line in fs::read_to_string(self.effects()).unwrap_or_default().lines() {
            let params: Value = serde_json::from_str(line).unwrap();
            *done.entry(params["digest"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        done
    }

    /// Number of requests.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    fn effects(&self) -> PathBuf {
        self.home.path().join("effects")
    }

    /// Ends the hub.
    pub(crate) fn stop(self) {
        self.hub.stop();
    }

    /// Ends the hub, whose data become a disk.
    pub(crate) fn into_disk(self) -> Disk {
        self.hub.stop();
        let root = self.home.path().canonicalize().unwrap().join("data");
        Disk::over(self.home, root)
    }
}

/// Asks for work until the hub is gone; which requests it acknowledged, by their uids.
pub(crate) async fn ask_until_gone(access: Access, prefix: String) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut connection) = access.connect().await else { return acknowledged };
    for number in 0.. {
        let request = request(&format!("{prefix}-{number}"), number);
        match connection.call(Method::POST, REQUESTS, Some(&request)).await {
            Ok((201, text)) => acknowledged.push(uid_of(&serde_json::from_str(&text).unwrap())),
            Ok(other) => panic!("{other:?}"),
            Err(_) => break,
        }
    }
    acknowledged
}

/// The uids of all requests.
pub(crate) async fn asked(access: &Access) -> BTreeSet<String> {
    let list = access.read(REQUESTS).await.unwrap();
    list["items"].as_array().unwrap().iter().map(uid_of).collect()
}

fn uid_of(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn request(name: &str, number: usize) -> Value {
    json!({
        "apiVersion": "signing.example.strait.dev/v1alpha1",
        "kind": "SigningRequest",
        "metadata": {"name": name},
        "spec": {"digest": digest(number), "keyName": "dev"},
    })
}

/// Whether `strait audit verify` finds nothing missing or changed.
pub(crate) fn audit_is_intact(data: &Path) {
    let verified = Command::new(env!("CARGO_BIN_EXE_strait"))
        .args(["audit", "verify", "--data-dir"])
        .arg(data)
        .env_clear()
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
}

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

/// Kills the supervisors that work below a directory, as a power cut does, and waits for their
/// end and that of their programs. A program that ended first could still be told of: one that is
/// not in its own directory yet is known by its parent.
pub(crate) fn kill_all_below(directory: &Path) {
    for _ in 0..LOOKS {
        let below: BTreeMap<i32, i32> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let pid = path.file_name()?.to_str()?.parse().ok()?;
                let cwd = fs::read_link(path.join("cwd")).ok()?;
                cwd.starts_with(directory).then(|| Some((pid, parent_of(&path)?)))?
            })
            .collect();
        if below.is_empty() {
            return;
        }
        for (pid, _) in below.iter().filter(|(_, parent)| !below.contains_key(parent)) {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            if !cwd.ends_with("out") {
                // It may have ended by itself.
                let _ = kill_process(Pid::from_raw(*pid).unwrap(), Signal::KILL);
            }
        }
        std::thread::sleep(LOOK);
    }
    panic!("something still works in {}", directory.display())
}

/// Field 4 of `/proc/PID/stat`; the second, the name, may hold anything but ends with `)`.
fn parent_of(process: &Path) -> Option<i32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
