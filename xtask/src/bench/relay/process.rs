//! A process of a path, with the processes that it starts.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

use crate::bench::cpu;
use crate::command::end;

/// How a process is started.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// What runs.
    pub(crate) program: PathBuf,
    /// With what.
    pub(crate) arguments: Vec<OsString>,
    /// Where what it says goes.
    pub(crate) log: PathBuf,
}

/// A running process. Dropping it ends it and its children.
#[derive(Debug)]
pub(crate) struct Process {
    recipe: Recipe,
    child: Child,
}

impl Process {
    /// Starts a process.
    ///
    /// # Errors
    /// The program is not there, or its log cannot be written.
    pub(crate) fn start(recipe: Recipe) -> Result<Self> {
        // Children of what is killed become this process's, so that their end can be waited for.
        set_child_subreaper(Some(getpid()))?;
        let child = spawn(&recipe)?;
        Ok(Self { recipe, child })
    }

    /// Kills it and its children, and starts it again.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.kill();
        self.child = spawn(&self.recipe)?;
        Ok(())
    }

    /// Stops it until it is told to [go on](Self::go_on).
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into()?).context("a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Where what it says goes.
    pub(crate) fn log(&self) -> &FilePath {
        &self.recipe.log
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// It and its children.
    pub(crate) fn pids(&self) -> Vec<u32> {
        family(self.child.id())
    }

    fn kill(&mut self) {
        self.end_by(|child| {
            let _ = child.kill();
            let _ = child.wait();
        });
    }

    /// The process first, so that it replaces no child; then its children, which are this
    /// process's by then. All have ended afterwards, and their ports are free.
    fn end_by(&mut self, end: impl FnOnce(&mut Child)) {
        let pids = self.pids();
        end(&mut self.child);
        for pid in pids.into_iter().skip(1).filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)) {
            // One that ended before this process got it is nobody's here: its number is another's.
            if matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
                let _ = kill_process(pid, Signal::KILL);
                let _ = waitpid(Some(pid), WaitOptions::empty());
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_by(end);
    }
}

fn spawn(recipe: &Recipe) -> Result<Child> {
    Command::new(&recipe.program)
        .args(&recipe.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::options().create(true).append(true).open(&recipe.log)?)
        .spawn()
        .with_context(|| format!("cannot start {}", recipe.program.display()))
}

/// A process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children = children.collect::<Vec<_>>().join(" ");
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    [pid].into_iter().chain(children).collect()
}

/// Processor time of processes: of all threads that run.
pub(crate) fn running(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| cpu::running(*pid)).sum()
}

/// Memory of processes that is in RAM, in KiB.
///
/// # Errors
/// One of them has ended.
pub(crate) fn resident_kib(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| Ok(f64::from(cpu::resident_kib(*pid)?))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stopwatch::Stopwatch;

    #[test]
    fn a_process_ends_with_its_children() {
        let recipe = Recipe {
            program: "/bin/sh".into(),
            arguments: ["-c".into(), "sleep 60 & wait".into()].into(),
            log: "/dev/null".into(),
        };
        let family = |process: &Process| {
            let stopwatch = Stopwatch::start();
            while process.pids().len() < 2 {
                assert!(stopwatch.elapsed() < Duration::from_secs(10));
                std::thread::yield_now();
            }
            process.pids()
        };
        let gone =
            |pids: &[u32]| pids.iter().all(|pid| !fs::exists(format!("/proc/{pid}")).unwrap());
        let mut process = Process::start(recipe).unwrap();
        let first = family(&process);
        assert!(resident_kib(&first).unwrap() > 0.0);
        process.restart().unwrap();
        assert!(gone(&first));
        let second = family(&process);
        drop(process);
        assert!(gone(&second));
        assert!(resident_kib(&second).is_err());
    }
}
