//! `strait up` as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use tempfile::TempDir;

use super::{Output, Process, strait, tool};

/// Time for processes to end that nobody waits for.
const END_MAX: Duration = Duration::from_secs(10);

/// A hub, an agent and an example service, started by one command. Dropping it kills the parent.
#[derive(Debug)]
pub(crate) struct Up {
    process: Process,
    home: TempDir,
    /// The line on standard output.
    pub(crate) ready: String,
}

impl Up {
    /// Starts everything on an empty directory and waits until it is ready.
    ///
    /// # Panics
    /// It does not get there.
    pub(crate) fn start() -> Self {
        Self::start_in(TempDir::new().unwrap(), &[])
    }

    /// The same in a directory, with more arguments.
    pub(crate) fn start_in(home: TempDir, arguments: &[&str]) -> Self {
        let mut process = Process::start(up(home.path()).args(arguments));
        let ready = process.wait_for_output(|line| line.starts_with("ready "));
        Self { process, home, ready }
    }

    /// A line for people that fits.
    ///
    /// # Panics
    /// It says none.
    pub(crate) fn told(&mut self, fits: impl Fn(&str) -> bool) -> String {
        self.process.find_in_log(fits)
    }

    /// Runs kubectl with the kubeconfig that was written, in its current context.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Output {
        self.start_kubectl(arguments).finish()
    }

    /// The same with a manifest on standard input.
    pub(crate) fn kubectl_with(&self, arguments: &[&str], manifest: &str) -> Output {
        let kubeconfig = self.data().join("kubeconfig");
        let mut kubectl = client(&tool("kubectl"), self.home.path(), &kubeconfig);
        Process::start_with_input(kubectl.args(arguments).args(["-f", "-"]), manifest).finish()
    }

    /// Starts kubectl and leaves it running.
    pub(crate) fn start_kubectl(&self, arguments: &[&str]) -> Process {
        let kubeconfig = self.data().join("kubeconfig");
        Process::start(client(&tool("kubectl"), self.home.path(), &kubeconfig).args(arguments))
    }

    /// Runs a client command of the program, in the current context.
    pub(crate) fn strait(&self, arguments: &[&str]) -> Output {
        self.start_strait(arguments).finish()
    }

    /// Starts a client command and leaves it running.
    pub(crate) fn start_strait(&self, arguments: &[&str]) -> Process {
        let program = Path::new(env!("CARGO_BIN_EXE_strait"));
        let kubeconfig = self.data().join("kubeconfig");
        Process::start(client(program, self.home.path(), &kubeconfig).args(arguments))
    }

    /// Where everything is.
    pub(crate) fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The processes that it started, with their first argument.
    pub(crate) fn children(&self) -> Vec<(Pid, String)> {
        let parent = self.process.pid();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let children = processes.filter(|pid| parent_of(*pid) == Some(parent.as_raw_pid()));
        children
            .filter_map(|pid: i32| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                let role = line.split(|byte| *byte == 0).nth(1)?;
                Some((Pid::from_raw(pid)?, String::from_utf8_lossy(role).into_owned()))
            })
            .collect()
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Panics
    /// It does not end well.
    pub(crate) fn stop(self) -> (Output, TempDir) {
        let output = self.process.end_with(Signal::INT);
        assert_eq!(output.code, Some(0), "{output:?}");
        (output, self.home)
    }

    /// Waits for it to end by itself.
    pub(crate) fn finish(self) -> Output {
        self.process.finish()
    }

    /// Ends it without a chance to end its children.
    pub(crate) fn kill(self) -> TempDir {
        drop(self.process.end_with(Signal::KILL));
        self.home
    }
}

/// The command, for a home.
pub(crate) fn up(home: &Path) -> Command {
    let mut command = strait();
    command.current_dir(home);
    command.args(["up", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.join("data"));
    command
}

/// Waits until processes have ended.
///
/// # Panics
/// One goes on.
pub(crate) fn wait_for_end(processes: &[(Pid, String)]) {
    let begun = Instant::now();
    for (pid, role) in processes {
        while is_running(*pid) {
            assert!(begun.elapsed() < END_MAX, "{role} goes on");
            thread::yield_now();
        }
    }
}

fn is_running(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
        && stat(pid.as_raw_pid()).is_some_and(|fields| !fields.starts_with('Z'))
}

fn parent_of(pid: i32) -> Option<i32> {
    stat(pid)?.split(' ').nth(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name: state, parent, …
fn stat(pid: i32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.to_owned())
}

/// A program that talks to the hub, and knows nothing of who runs the test.
fn client(program: &Path, home: &Path, kubeconfig: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("KUBECONFIG", kubeconfig).current_dir(home);
    command
}
