//! Roles of this program as processes of their own.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};

use crate::exit::Failure;
use crate::log::LogArgs;

/// Longest wait for a role to say that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Time to end well once asked to; two of them in a row stay under five seconds.
const STOP_LIMIT: Duration = Duration::from_millis(2_300);

/// Most of the line that a role announces itself with.
const LINE_MAX: u64 = 4096;

/// A running role. It ends when this process does, however that ends.
pub(super) struct Child {
    name: &'static str,
    process: tokio::process::Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts this program in another role, in a process group of its own: a terminal's Ctrl-C
    /// reaches this process only, which then ends the others in their order.
    pub(super) fn start(name: &'static str, args: &[&str], log: &LogArgs) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).args(["--parent", &std::process::id().to_string()]).args(log.to_args());
        // Settings of this process are not theirs.
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("STRAIT_") {
                command.env_remove(key);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut process = command.spawn()?;
        let output = process.stdout.take().map(BufReader::new);
        Ok(Self { name, process, output })
    }

    /// Waits until the role says that it is ready, and returns what it says.
    pub(super) async fn ready(&mut self) -> Result<String, Failure> {
        let Some(output) = &mut self.output else {
            return Err(Failure::failed(&format!("the {} has no output", self.name)));
        };
        let mut line = String::new();
        let mut limited = tokio::io::AsyncReadExt::take(output, LINE_MAX);
        let read = tokio::time::timeout(READY_LIMIT, limited.read_line(&mut line)).await;
        let Ok(read) = read else {
            return Err(Failure::failed(&format!(
                "the {} was not ready within {READY_LIMIT:?}",
                self.name
            )));
        };
        read?;
        match line.trim_end().strip_prefix("ready ") {
            Some(what) => Ok(what.to_owned()),
            // It says itself why, on standard error.
            None => {
                let status = self.process.wait().await.ok();
                Err(Failure::failed(&self.describe(status)))
            }
        }
    }

    fn describe(&self, status: Option<ExitStatus>) -> String {
        let how = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        format!("the {} ended: {how}", self.name)
    }

    /// Asks the role to end, and makes it end.
    pub(super) async fn stop(mut self) {
        let pid = self.process.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_LIMIT, self.process.wait()).await.is_err() {
            tracing::warn!(role = self.name, "did not end in time, killed");
            drop(self.process.kill().await);
        }
    }
}

/// Waits until a role ends, and says how; for ever if there is none.
pub(super) async fn ended(child: &mut Option<Child>) -> String {
    match child {
        Some(child) => {
            let status = child.process.wait().await.ok();
            child.describe(status)
        }
        None => std::future::pending().await,
    }
}
