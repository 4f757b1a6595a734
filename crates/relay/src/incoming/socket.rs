//! A listener's socket, which may outlive what serves it.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use strait_net::listen_unix;

use crate::services::Listen;

/// A bound socket that does not block.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Socket {
    pub(super) fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => Ok(Self::Unix(listen_unix(path)?, path.clone())),
        }
    }

    /// The same socket once more.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Unix(listener, path) => Self::Unix(listener.try_clone()?, path.clone()),
        })
    }

    /// Where it is.
    pub(super) fn place(&self) -> Option<Listen> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(Listen::Tcp),
            Self::Unix(_, path) => Some(Listen::Unix(path.clone())),
        }
    }

    /// Removes its file, if it has one.
    pub(super) fn remove(&self) {
        if let Self::Unix(_, path) = self {
            // Gone already is as good.
            drop(std::fs::remove_file(path));
        }
    }
}
