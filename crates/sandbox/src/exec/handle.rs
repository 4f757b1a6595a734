//! The agent's side: an execution that runs, its own or one of an agent before it.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use strait_runtime::fs::{FsError, read_capped};
use strait_types::{Classified, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;

use super::exit::Exit;
use super::spec::{SOCKET, STDOUT};

/// An execution's fate cannot be told, or not changed.
#[derive(Debug, thiserror::Error)]
pub enum HandleError {
    /// The supervisor ended and left no `exit` file: whether and how the program ended is
    /// unknown.
    #[error("the supervisor is gone and left no word of how the program ended")]
    Lost,
    /// The execution's directory.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The supervisor's socket or process.
    #[error("cannot talk to the supervisor")]
    Supervisor(#[source] io::Error),
}

impl Classified for HandleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fs(error) => error.kind(),
            Self::Lost | Self::Supervisor(_) => ErrorKind::Internal,
        }
    }
}

/// What an agent finds of an execution that another agent started.
#[derive(Debug)]
pub enum Adopted {
    /// Its supervisor lives.
    Running(Handle),
    /// It is over.
    Over(Exit),
}

/// An execution whose gate was opened. Dropping it changes nothing: the supervisor goes on.
#[derive(Debug)]
pub struct Handle {
    dir: PathBuf,
    supervisor: Supervisor,
}

#[derive(Debug)]
enum Supervisor {
    Child(Child),
    Peer(UnixStream),
}

impl Handle {
    pub(super) const fn of_child(dir: PathBuf, child: Child) -> Self {
        Self { dir, supervisor: Supervisor::Child(child) }
    }

    /// Takes over the execution of a directory: over its supervisor's socket, or by its `exit`
    /// file.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub async fn adopt(dir: &Path) -> Result<Adopted, HandleError> {
        if let Some(exit) = Exit::read(dir)? {
            return Ok(Adopted::Over(exit));
        }
        match connect(dir).await {
            Ok(socket) => Ok(Adopted::Running(Self {
                dir: dir.to_owned(),
                supervisor: Supervisor::Peer(socket),
            })),
            Err(error) if is_gone(&error) => match Exit::read(dir)? {
                // It ended between the two looks.
                Some(exit) => Ok(Adopted::Over(exit)),
                None => Err(HandleError::Lost),
            },
            Err(error) => Err(HandleError::Supervisor(error)),
        }
    }

    /// Waits until the execution is over.
    ///
    /// # Errors
    /// See [`HandleError`].
    ///
    /// # Cancel safety
    /// Safe: it may be called again.
    pub async fn wait(&mut self) -> Result<Exit, HandleError> {
        loop {
            match &mut self.supervisor {
                Supervisor::Child(child) => {
                    child.wait().await.map_err(HandleError::Supervisor)?;
                    return Exit::read(&self.dir)?.ok_or(HandleError::Lost);
                }
                Supervisor::Peer(socket) => {
                    // It never writes: the end of file, or a reset, is the supervisor's end, or
                    // that it had too many connections.
                    while matches!(socket.read(&mut [0; 16]).await, Ok(1..)) {}
                }
            }
            match Self::adopt(&self.dir).await? {
                Adopted::Over(exit) => return Ok(exit),
                Adopted::Running(again) => *self = again,
            }
        }
    }

    /// Asks for the end of the program: SIGTERM now, SIGKILL after `grace`. [`wait`](Self::wait)
    /// tells what came of it; an execution that is already over stays as it is.
    ///
    /// # Errors
    /// The supervisor cannot be reached though it lives.
    pub async fn cancel(&self, grace: Duration) -> Result<(), HandleError> {
        let command = format!("cancel {}\n", grace.as_millis());
        let sent = match connect(&self.dir).await {
            Ok(mut socket) => socket.write_all(command.as_bytes()).await,
            Err(error) => Err(error),
        };
        match sent {
            Err(error) if !is_gone(&error) => Err(HandleError::Supervisor(error)),
            _ => Ok(()),
        }
    }
}

/// Reads what an execution that is over wrote to standard output.
///
/// # Errors
/// The file cannot be read, or is longer than `limit` bytes.
pub fn stdout_of(dir: &Path, limit: usize) -> Result<Vec<u8>, FsError> {
    read_capped(&dir.join(STDOUT), limit)
}

/// Connects to the supervisor. Its directory's path may be longer than a socket's name can be
/// (108 bytes, `unix(7)`), so it is named by an open descriptor.
async fn connect(dir: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(dir, flags, Mode::empty())?;
    let name = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    UnixStream::connect(name).await
}

/// Whether an error means that nobody listens any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
    )
}
