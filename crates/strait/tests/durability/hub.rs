//! A hub as a process that is killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::client::Access;
use super::disk::Disk;
use super::process::{Output, Process};

/// A running hub. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Hub {
    process: Process,
    address: SocketAddr,
}

impl Hub {
    /// Starts one on a directory, and waits until it serves.
    pub(crate) fn start(data: &Path, listen: &str) -> Self {
        Self::run(&mut command(data, listen))
    }

    /// Starts one in a directory of a disk.
    pub(crate) fn start_on(disk: &Disk) -> Self {
        Self::run(disk.attach(&mut command(disk.root(), "127.0.0.1:0")))
    }

    /// Starts one on an empty disk without waiting for it.
    pub(crate) fn begin_on(disk: &Disk) -> Process {
        Process::start(disk.attach(&mut command(disk.root(), "127.0.0.1:0")))
    }

    fn run(command: &mut Command) -> Self {
        let mut process = Process::start(command);
        let ready = process.wait_for_output(|line| line.starts_with("ready "));
        let (_, address) = ready.rsplit_once('/').unwrap();
        Self { process, address: address.parse().unwrap() }
    }

    /// How to reach it.
    pub(crate) fn access(&self, data: &Path) -> Access {
        Access::new(data, self.address)
    }

    /// Kills it, as a power cut or an operator in despair does.
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
}

fn command(data: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command
        .args(["hub", "--listen", listen, "--parent", &std::process::id().to_string()])
        .arg("--data-dir")
        .arg(data)
        .env_clear();
    command
}
