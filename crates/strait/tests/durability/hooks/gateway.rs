//! A gateway as a process that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::backends::Backends;
use crate::disk::Disk;
use crate::process::{Output, Process};

/// What senders sign with.
pub(crate) const SECRET: &str = "known to the sender and to nobody else";

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts one on a directory, and waits until it takes webhooks.
    pub(crate) fn start(home: &Path, backends: &Backends) -> Self {
        Self::ready(Self::begin(home, backends))
    }

    /// Starts one on a disk.
    pub(crate) fn start_on(disk: &Disk, backends: &Backends) -> Self {
        let config = tempfile::NamedTempFile::new().unwrap();
        let mut command = command(config.path(), disk.root(), backends);
        Self::ready(Process::start(disk.attach(&mut command)))
    }

    /// Starts one without waiting for it.
    pub(crate) fn begin(home: &Path, backends: &Backends) -> Process {
        Process::start(&mut command(&home.join("hooks.yaml"), &home.join("data"), backends))
    }

    fn ready(mut process: Process) -> Self {
        let ready = process.wait_for_output(|line| line.starts_with("ready "));
        let (_, address) = ready.rsplit_once('/').unwrap();
        Self { process, address: address.parse().unwrap() }
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        drop(self.process);
    }

    /// Ends it well.
    pub(crate) fn stop(self) {
        let output = self.process.terminate();
        assert_eq!(output.code, Some(0), "{output:?}");
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(self) -> Output {
        self.process.finish()
    }

    /// The status of `/readyz`.
    pub(crate) async fn readiness(&self) -> u16 {
        super::senders::get(self.address, "/readyz").await
    }
}

fn command(config: &Path, data: &Path, backends: &Backends) -> Command {
    let secret = config.with_extension("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let backend = |(number, address): (usize, SocketAddr)| {
        format!(
            "- {{name: b{number}, url: 'http://{address}', sources: [github], allowPrivate: true}}\n"
        )
    };
    let backends: String = backends.addresses().enumerate().map(backend).collect();
    let text = format!(
        "
apiVersion: hooks.strait.dev/v1alpha1
kind: HooksConfig
listen: 127.0.0.1:0
dataDir: {data}
sources:
- {{name: github, path: /github, scheme: github, secretFiles: [{secret}]}}
backends:
{backends}",
        data = data.display(),
        secret = secret.display(),
    );
    std::fs::write(config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command
        .args(["hooks", "serve", "--parent", &std::process::id().to_string(), "--config"])
        .arg(config)
        .env_clear();
    command
}
