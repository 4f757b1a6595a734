//! Launchers, specifications and waiting for the tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use strait_sandbox::exec::{Exit, Gate, Handle, Launcher, Spec};
use tempfile::TempDir;

pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(test);
}

/// Starts this binary as the supervisor.
pub(crate) fn launcher() -> Launcher {
    Launcher { program: std::env::current_exe().unwrap(), args: vec!["__exec".into()] }
}

/// A shell script under limits that it should not meet.
pub(crate) fn script(text: &str) -> Spec {
    Spec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), text.into()],
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        time_limit: Duration::from_secs(60),
        grace: Duration::from_secs(60),
        stdout_bytes_max: 1 << 20,
        stderr_bytes_max: 1 << 20,
    }
}

/// An execution's directory below a directory of its own.
pub(crate) struct Dir {
    _root: TempDir,
    pub(crate) path: PathBuf,
}

impl Dir {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Longer than a socket's name can be.
        let below = root.path().join("d".repeat(120));
        std::fs::create_dir(&below).unwrap();
        Self { path: below.join("k"), _root: root }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }
}

pub(crate) async fn spawn(dir: &Dir, spec: &Spec) -> Gate {
    launcher().spawn(&dir.path, spec, b"input").await.unwrap()
}

pub(crate) async fn start(dir: &Dir, spec: &Spec) -> Handle {
    spawn(dir, spec).await.open().await.unwrap()
}

pub(crate) async fn run(dir: &Dir, spec: &Spec) -> Exit {
    start(dir, spec).await.wait().await.unwrap()
}

/// Waits until the file says something, without asking more often than the disk changes.
pub(crate) async fn text_in(path: &Path) -> String {
    for _ in 0..2000 {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("nothing came into {}", path.display());
}

/// Waits until a process is gone; a zombie is.
pub(crate) async fn gone(pid: &str) {
    for _ in 0..2000 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        match stat {
            Ok(stat) if !stat.contains(") Z ") => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => return,
        }
    }
    panic!("process {pid} did not end");
}
