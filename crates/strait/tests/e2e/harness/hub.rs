//! A hub as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Output, Process, strait, tool};

/// A running hub with a data directory of its own. Dropping it kills it; [`Hub::stop`] ends it
/// as an operator does.
#[derive(Debug)]
pub(crate) struct Hub {
    process: Process,
    home: TempDir,
}

impl Hub {
    /// Starts a hub on an empty directory and waits until it serves.
    ///
    /// # Panics
    /// It does not.
    pub(crate) fn start() -> Self {
        Self::start_on(TempDir::new().unwrap())
    }

    /// Starts a hub on the `data` of a directory.
    ///
    /// # Panics
    /// It does not serve.
    pub(crate) fn start_on(home: TempDir) -> Self {
        Self::start_at(home, "127.0.0.1:0")
    }

    /// The same at an address.
    ///
    /// # Panics
    /// It does not serve.
    pub(crate) fn start_at(home: TempDir, listen: &str) -> Self {
        Self::start_by(strait(), home, listen, &[])
    }

    /// The same by this command, with more arguments.
    ///
    /// # Panics
    /// It does not serve.
    pub(crate) fn start_by(
        mut command: Command,
        home: TempDir,
        listen: &str,
        more: &[&str],
    ) -> Self {
        command
            .args(["hub", "--listen", listen, "--data-dir"])
            .arg(data(home.path()))
            .args(["--parent", &std::process::id().to_string()])
            .args(more);
        // What it offers to agents, if the directory has that.
        let own = home.path().join("services.yaml");
        if own.exists() {
            command.arg("--relay-services").arg(own);
        }
        let mut process = Process::start(&mut command);
        process.wait_for_log(|line| line.contains("hub is serving"));
        Self { process, home }
    }

    /// Runs kubectl as the administrator, in the workspace `root`.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.start_kubectl(arguments).finish()
    }

    /// Starts kubectl and leaves it running.
    pub(crate) fn start_kubectl(&self, arguments: &[&str]) -> Process {
        Process::start(self.client("kubectl").args(arguments))
    }

    /// Runs kubectl with a manifest on its standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> Output {
        let mut kubectl = self.client("kubectl");
        Process::start_with_input(kubectl.args(arguments).args(["-f", "-"]), manifest).finish()
    }

    /// Its URL, without a workspace.
    pub(crate) fn server(&self) -> String {
        let server = ["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"];
        self.kubectl(&server).succeeded().trim_end_matches("/clusters/root").to_owned()
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> String {
        self.kubectl(&["--server", &self.server(), "get", "--raw", "/metrics"]).succeeded()
    }

    /// Runs helm as the administrator, in the workspace `root`.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Output {
        Process::start(self.client("helm").args(arguments)).finish()
    }

    /// Runs a client command of the program as the administrator, in the workspace `root`.
    pub(crate) fn strait(&self, arguments: &[&str]) -> Output {
        self.start_strait(arguments).finish()
    }

    /// Starts a client command and leaves it running.
    pub(crate) fn start_strait(&self, arguments: &[&str]) -> Process {
        Process::start(self.strait_command().args(arguments))
    }

    /// The program, as the administrator's client.
    pub(crate) fn strait_command(&self) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_strait")))
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.home.path())
    }

    /// Its process.
    pub(crate) const fn process(&self) -> &Process {
        &self.process
    }

    /// Ends the hub; what it kept stays.
    ///
    /// # Panics
    /// It does not end well.
    pub(crate) fn stop(self) -> Stopped {
        let Self { process, home } = self;
        let output = process.terminate();
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.stdout.starts_with("ready "), "{output:?}");
        assert_eq!(output.stdout.lines().count(), 1, "talk belongs to standard error");
        Stopped { home, log: output.stderr }
    }

    /// Ends the hub without a word; what it kept stays.
    pub(crate) fn kill(self) -> Stopped {
        let Self { process, home } = self;
        let log = process.end_with(rustix::process::Signal::KILL).stderr;
        Stopped { home, log }
    }

    /// A program that talks to the hub, and knows nothing of who runs the test.
    fn client(&self, name: &str) -> Command {
        self.program(&tool(name))
    }

    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home.path())
            .env("KUBECONFIG", data(self.home.path()).join("admin.kubeconfig"))
            .current_dir(self.home.path());
        command
    }
}

/// The directory of a hub that ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    home: TempDir,
    /// What the hub said on standard error.
    pub(crate) log: String,
}

impl Stopped {
    /// Its data directory.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.home.path())
    }

    /// Starts a hub on what the one before kept.
    ///
    /// # Panics
    /// It does not serve.
    pub(crate) fn start(self) -> Hub {
        Hub::start_on(self.home)
    }

    /// The same at an address.
    ///
    /// # Panics
    /// It does not serve.
    pub(crate) fn start_at(self, listen: &str) -> Hub {
        Hub::start_at(self.home, listen)
    }
}

fn data(home: &Path) -> PathBuf {
    home.join("data")
}
