//! The agent's side: starting a supervisor and opening its gate.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use strait_runtime::fs::FsError;
use strait_types::{Classified, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::handle::Handle;
use super::spec::{INPUT, InvalidSpec, SPEC, Spec, WORK};
use super::{OPEN, READY};

/// A supervisor that does not report by then is given up. It starts in milliseconds; a machine
/// may be busy.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// The longest report: an error's text.
const REPORT_BYTES_MAX: u64 = 4 << 10;

/// No supervisor was started, or it cannot do its work. Nothing was executed.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Nothing can be run from this specification.
    #[error(transparent)]
    Spec(#[from] InvalidSpec),
    /// The execution's directory.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The supervisor's process.
    #[error("cannot start a supervisor")]
    Process(#[source] io::Error),
    /// It said why it cannot work, or ended without a word.
    #[error("the supervisor does not work: {0}")]
    NotReady(String),
}

impl Classified for SpawnError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Spec(error) => error.kind(),
            Self::Fs(error) => error.kind(),
            Self::Process(_) | Self::NotReady(_) => ErrorKind::Internal,
        }
    }
}

/// How supervisors are started: the command that ends up in
/// [`supervise`](super::supervise).
#[derive(Clone, Debug)]
pub struct Launcher {
    /// This binary.
    pub program: PathBuf,
    /// `__exec`, and `--parent PID` where supervisors end with this process.
    pub args: Vec<OsString>,
}

impl Launcher {
    /// Makes the execution's directory, which must not exist, and starts a supervisor in it that
    /// waits at its gate. Dropping the gate ends it without executing anything.
    ///
    /// Call it on a thread that lives as long as supervisors may, where they end with this
    /// process: the kernel watches the thread. A runtime's workers do.
    ///
    /// # Errors
    /// See [`SpawnError`].
    ///
    /// # Cancel safety
    /// The supervisor ends without executing anything; its directory stays.
    pub async fn spawn(&self, dir: &Path, spec: &Spec, input: &[u8]) -> Result<Gate, SpawnError> {
        spec.check()?;
        write_dir(dir, spec, input)?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(SpawnError::Process)?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .env_clear()
            .current_dir(dir)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(SpawnError::Process)?;
        let socket = ours.set_nonblocking(true).and_then(|()| UnixStream::from_std(ours));
        let mut socket = socket.map_err(SpawnError::Process)?;
        let report = tokio::time::timeout(READY_LIMIT, read_report(&mut socket)).await;
        match report {
            Ok(Ok(report)) if report == READY => Ok(Gate { dir: dir.to_owned(), child, socket }),
            Ok(Ok(report)) => {
                let text = String::from_utf8_lossy(&report);
                Err(SpawnError::NotReady(match text.trim_end() {
                    "" => "it ended without a word".to_owned(),
                    text => text.to_owned(),
                }))
            }
            Ok(Err(error)) => Err(SpawnError::Process(error)),
            Err(_) => Err(SpawnError::NotReady("it does not report".to_owned())),
        }
    }
}

fn write_dir(dir: &Path, spec: &Spec, input: &[u8]) -> Result<(), FsError> {
    let private = |path: &Path| {
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(FsError::new("create", path))
    };
    private(dir)?;
    private(&dir.join(WORK))?;
    for (name, bytes) in [(SPEC, &*spec.to_bytes()), (INPUT, input)] {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(FsError::new("write", &path))?;
    }
    Ok(())
}

async fn read_report(socket: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut report = Vec::new();
    let mut limited = socket.take(REPORT_BYTES_MAX);
    let mut byte = [0];
    while limited.read(&mut byte).await? == 1 {
        report.push(byte[0]);
        if byte[0] == b'\n' {
            break;
        }
    }
    Ok(report)
}

/// A supervisor that waits. Dropping this ends it without executing anything.
#[derive(Debug)]
#[must_use = "dropping the gate gives the execution up"]
pub struct Gate {
    dir: PathBuf,
    child: Child,
    socket: UnixStream,
}

impl Gate {
    /// Opens the gate: from here on the program may have been started.
    ///
    /// # Errors
    /// The supervisor is gone. It did not start the program.
    pub async fn open(mut self) -> io::Result<Handle> {
        // One byte into an empty socket does not wait; an error means that nobody can read it.
        self.socket.write_all(&[OPEN]).await?;
        Ok(Handle::of_child(self.dir, self.child))
    }
}
