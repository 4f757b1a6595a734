//! One program under its supervisor.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use strait_machinery::json::Value;
use strait_runtime::fs::{FsError, sync_dir};
use strait_sandbox::exec::{
    Adopted, Ending, Exit, Gate, Handle, HandleError, Launcher, Spec, Stop, stdout_of,
};
use strait_types::Report;

use super::brought;
use crate::config::{Class, ExecutorConfig, ProcessConfig};
use crate::execution::{Failure, FailureClass};
use crate::settle::Ended;

/// Runs a class's programs.
#[derive(Debug)]
pub(crate) struct ProcessExecutor {
    class: Arc<Class>,
    launcher: Launcher,
}

/// A program whose supervisor waits at its gate. Dropping this starts nothing.
#[derive(Debug)]
pub(crate) struct Prepared {
    gate: Gate,
    dir: PathBuf,
}

/// A program that was started.
#[derive(Debug)]
pub(crate) struct Program {
    handle: Handle,
    dir: PathBuf,
}

impl ProcessExecutor {
    pub(super) const fn new(class: Arc<Class>, launcher: Launcher) -> Self {
        Self { class, launcher }
    }

    /// Starts a supervisor for an execution in `dir`, which no other execution ever had.
    pub(crate) async fn prepare(
        &self,
        dir: &Path,
        params: &Value,
        limit: Duration,
    ) -> Result<Prepared, Ended> {
        let config = self.config();
        let spec = Spec {
            program: config.program.clone(),
            args: config.args.clone(),
            env: config.env.clone(),
            time_limit: limit,
            grace: self.class.cancel_grace,
            stdout_bytes_max: config.stdout_bytes_max as u64,
            stderr_bytes_max: config.stderr_bytes_max as u64,
        };
        // What an earlier process left of it; nothing was executed there, and it says so: after
        // a power cut it must not stand for this execution.
        let cleared = remove(dir).and_then(|was_there| match dir.parent() {
            Some(parent) if was_there => sync_dir(parent),
            _ => Ok(()),
        });
        let gate = match cleared {
            Ok(()) => self.launcher.spawn(dir, &spec, &params.to_bytes()).await,
            Err(error) => Err(error.into()),
        };
        gate.map(|gate| Prepared { gate, dir: dir.to_owned() }).map_err(|error| {
            let class = &*self.class.name;
            tracing::error!(
                class,
                err = Report(&error).to_string(),
                "no supervisor can be started"
            );
            Ended::NotBegun(restartable("NotStarted", "the agent cannot start programs"))
        })
    }

    /// Opens the gate.
    pub(crate) async fn start(&self, prepared: Prepared) -> Result<Program, Ended> {
        let Prepared { gate, dir } = prepared;
        match gate.open().await {
            Ok(handle) => Ok(Program { handle, dir }),
            Err(_) => Err(never_started()),
        }
    }

    /// Takes over what an earlier process of this agent started.
    pub(crate) async fn adopt(&self, dir: &Path) -> Result<Program, Ended> {
        match Handle::adopt(dir).await {
            Ok(Adopted::Running(handle)) => Ok(Program { handle, dir: dir.to_owned() }),
            Ok(Adopted::Over(exit)) => Err(self.over(dir, exit)),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Waits for the program's end.
    ///
    /// # Cancel safety
    /// Safe: it may be called again.
    pub(crate) async fn wait(&self, program: &mut Program) -> Ended {
        match program.handle.wait().await {
            Ok(exit) => self.over(&program.dir, exit),
            Err(error) => self.lost(&error),
        }
    }

    /// Asks for the program's end; [`wait`](Self::wait) tells what came of it.
    pub(crate) async fn cancel(&self, program: &Program) {
        if let Err(error) = program.handle.cancel(self.class.cancel_grace).await {
            let class = &*self.class.name;
            tracing::error!(class, err = Report(&error).to_string(), "a program cannot be stopped");
        }
    }

    fn config(&self) -> &ProcessConfig {
        match &self.class.executor {
            ExecutorConfig::Process(config) => config,
            ExecutorConfig::Http(_) => unreachable!("made for process classes"),
        }
    }

    fn over(&self, dir: &Path, exit: Exit) -> Ended {
        let class = &*self.class.name;
        let backend = |code, message: &str| {
            Ended::Failed(Failure::new(FailureClass::Backend, code, message).retryable())
        };
        match exit.ending {
            Ending::Exited { code: 0 } => self.read(dir),
            Ending::Exited { code } => {
                backend("ExitCode", &format!("the program ended with code {code}"))
            }
            Ending::Killed { signal } => {
                backend("Killed", &format!("signal {signal} ended the program"))
            }
            Ending::NeverStarted => never_started(),
            Ending::NotExecuted { error } => {
                tracing::error!(class, err = error, "the program cannot be executed");
                let message = "the agent cannot execute the program";
                Ended::NotBegun(Failure::new(
                    FailureClass::Infrastructure,
                    "NotExecutable",
                    message,
                ))
            }
            Ending::Stopped { why } => match why {
                Stop::TimeLimit => Ended::OutOfTime,
                Stop::Cancelled => Ended::Cancelled,
                Stop::OutputTooLarge => Ended::Failed(Failure::new(
                    FailureClass::Backend,
                    "OutputTooLarge",
                    "the program wrote more than it may",
                )),
                Stop::OutputNotStored => {
                    Ended::Failed(restartable("OutputNotStored", "the output cannot be stored"))
                }
                Stop::Terminated => {
                    Ended::Failed(restartable("Terminated", "the program was stopped from outside"))
                }
            },
        }
    }

    fn read(&self, dir: &Path) -> Ended {
        match stdout_of(dir, self.config().stdout_bytes_max) {
            Ok(bytes) => brought(&self.class, &bytes),
            Err(error) => {
                let class = &*self.class.name;
                tracing::error!(class, err = Report(&error).to_string(), "an output is lost");
                let message = "the program's output cannot be read";
                Ended::Failed(Failure::new(FailureClass::Infrastructure, "OutputLost", message))
            }
        }
    }

    fn lost(&self, error: &HandleError) -> Ended {
        let class = &*self.class.name;
        tracing::error!(class, err = Report(error).to_string(), "a program's fate is unknown");
        Ended::Unknown("what became of the program is unknown")
    }
}

fn restartable(code: &str, message: &str) -> Failure {
    Failure::new(FailureClass::Infrastructure, code, message).retryable()
}

fn never_started() -> Ended {
    Ended::NotBegun(restartable("NeverStarted", "the program was not started"))
}

/// Removes an execution's directory; false if there is none. It may come back after a power cut
/// until the directory above is synced.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(dir: &Path) -> Result<bool, FsError> {
    match std::fs::remove_dir_all(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::new("remove", dir)(error)),
    }
}
