//! The supervisor's side: what `strait __exec` does.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use strait_runtime::fs::FsError;
use strait_runtime::{Clock, ParentError, die_with_parent};

use super::capture::Capture;
use super::exit::{Ending, Exit};
use super::kernel::{Signals, bind_to_this_process, leave_session};
use super::spec::{INPUT, SOCKET, STDERR, STDOUT, Spec, WORK};
use super::watch::watch;
use super::{OPEN, READY};

/// How a supervisor behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The process with which the supervisor, and so the program, ends (`--parent PID`). It
    /// must be the one that started it.
    pub parent: Option<u32>,
}

/// A supervisor cannot do its work. Nothing was executed.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// It would outlive the parent that it is bound to.
    #[error(transparent)]
    Parent(#[from] ParentError),
    /// Its directory.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The kernel refused what it needs.
    #[error("cannot {0}")]
    Kernel(&'static str, #[source] io::Error),
}

/// Supervises the execution whose directory is the working directory; standard input is the
/// gate, as [`Launcher`](super::Launcher) makes it. Returns when the execution is over and its
/// `exit` file durable.
///
/// # Errors
/// See [`SuperviseError`]; the agent is told through the gate. An error after the program was
/// started leaves no `exit` file, and its outcome is unknown.
///
/// # Blocking
/// As long as the program runs. Call it on the main thread of a process that does nothing else.
pub fn supervise(options: Options, clock: &dyn Clock) -> Result<(), SuperviseError> {
    let mut gate = gate()?;
    let prepared = prepare(options);
    let told = match &prepared {
        Ok(_) => gate.write_all(READY),
        Err(error) => gate.write_all(format!("{}\n", strait_types::Report(error)).as_bytes()),
    };
    let (spec, signals, listener) = prepared?;
    // An agent that is gone does not open the gate; that shows next.
    drop(told);
    let dir = Path::new(".");
    let exit = if opens(&mut gate, &signals).map_err(kernel("wait at the gate"))? {
        drop(gate);
        run(&spec, &signals, &listener, clock)?
    } else {
        Exit {
            ending: Ending::NeverStarted,
            started: None,
            finished: clock.now(),
            stderr_truncated: false,
        }
    };
    let written = exit.write(dir);
    // Whoever waits for the socket's end finds the exit file.
    drop(std::fs::remove_file(dir.join(SOCKET)));
    drop(listener);
    Ok(written?)
}

fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> SuperviseError {
    move |error| SuperviseError::Kernel(what, error)
}

/// Standard input, as the socket that it is.
fn gate() -> Result<UnixStream, SuperviseError> {
    let stdin = rustix::io::dup(rustix::stdio::stdin());
    let stdin = stdin.map_err(|error| kernel("use the gate")(error.into()))?;
    rustix::io::fcntl_setfd(&stdin, rustix::io::FdFlags::CLOEXEC)
        .map_err(|error| kernel("use the gate")(error.into()))?;
    Ok(UnixStream::from(stdin))
}

fn prepare(options: Options) -> Result<(Spec, Signals, UnixListener), SuperviseError> {
    if let Some(parent) = options.parent {
        die_with_parent(parent)?;
    }
    leave_session().map_err(kernel("leave the session"))?;
    let signals = Signals::listen().map_err(kernel("listen for signals"))?;
    let spec = Spec::read(Path::new("."))?;
    // A relative name: a socket's path has room for 108 bytes only.
    let listener = UnixListener::bind(SOCKET).map_err(kernel("make the socket"))?;
    listener.set_nonblocking(true).map_err(kernel("make the socket"))?;
    Ok((spec, signals, listener))
}

/// Waits for the gate: true if it opens, false at its end of file, on a signal, and on anything
/// that is not the word.
fn opens(gate: &mut UnixStream, signals: &Signals) -> io::Result<bool> {
    let mut fds = [PollFd::new(gate, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
    while let Err(error) = poll(&mut fds, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    if !fds[1].revents().is_empty() {
        return Ok(false);
    }
    let mut word = [0];
    Ok(matches!(gate.read(&mut word), Ok(1)) && word == [OPEN])
}

fn run(
    spec: &Spec,
    signals: &Signals,
    listener: &UnixListener,
    clock: &dyn Clock,
) -> Result<Exit, SuperviseError> {
    let output = |name, limit| {
        Capture::create(Path::new(name), limit).map_err(FsError::new("create", Path::new(name)))
    };
    let mut stdout = output(STDOUT, spec.stdout_bytes_max)?;
    let mut stderr = output(STDERR, spec.stderr_bytes_max)?;
    let started = clock.now();
    let (started, ending) = match start(spec) {
        Err(error) => (None, Ending::NotExecuted { error: error.to_string() }),
        Ok(mut child) => {
            let pipes = (child.stdout.take(), child.stderr.take());
            let (Some(out), Some(err)) = pipes else {
                unreachable!("both were asked for");
            };
            stdout.attach(out).map_err(kernel("read the program's output"))?;
            stderr.attach(err).map_err(kernel("read the program's output"))?;
            let watched = watch(child, spec, signals, listener, &mut stdout, &mut stderr);
            (Some(started), watched.map_err(kernel("watch the program"))?)
        }
    };
    let stderr_truncated = stderr.exceeded || stderr.failed;
    Ok(Exit { ending, started, finished: clock.now(), stderr_truncated })
}

fn start(spec: &Spec) -> io::Result<Child> {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(&spec.env)
        .current_dir(WORK)
        .stdin(Stdio::from(File::open(INPUT)?))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    bind_to_this_process(&mut command);
    command.spawn()
}
