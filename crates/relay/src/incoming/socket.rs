//! A listener's socket, which may outlive what serves it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use socket2::{Domain, SockRef, Type};
use strait_net::listen_unix;
use tokio::net::{TcpListener as TokioTcp, UnixListener as TokioUnix};

use crate::services::Listen;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// A bound socket that does not block.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A socket that connections can be taken from.
#[derive(Debug)]
pub(super) enum Served {
    Tcp(TokioTcp),
    Unix(TokioUnix),
}

impl Socket {
    /// Binds a place. `leaving` are bound and about to be closed: one of them at the same port is
    /// no hindrance, so that an address may become wider or narrower.
    pub(super) fn bind_beside(listen: &Listen, leaving: &[&Self]) -> io::Result<Self> {
        let bound = Self::bind(listen);
        let (Err(error), Listen::Tcp(address)) = (&bound, listen) else { return bound };
        let at_port =
            |own: &&TcpListener| own.local_addr().is_ok_and(|own| own.port() == address.port());
        let tcp = leaving.iter().filter_map(|own| match own {
            Self::Tcp(own) => Some(own),
            Self::Unix(..) => None,
        });
        let there: Vec<_> = tcp.filter(at_port).collect();
        if error.kind() != io::ErrorKind::AddrInUse || there.is_empty() {
            return bound;
        }
        // Both allow it for this moment alone: nobody else is to share the port later.
        let allow =
            |is: bool| there.iter().try_for_each(|own| SockRef::from(*own).set_reuse_port(is));
        let bound = allow(true).and_then(|()| bind_sharing(*address));
        allow(false)?;
        bound.map(Self::Tcp)
    }

    fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => Ok(Self::Unix(listen_unix(path)?, path.clone())),
        }
    }

    /// The same, to take connections from.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn served(&self) -> io::Result<Served> {
        Ok(match self {
            Self::Tcp(listener) => Served::Tcp(TokioTcp::from_std(listener.try_clone()?)?),
            Self::Unix(listener, _) => Served::Unix(TokioUnix::from_std(listener.try_clone()?)?),
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

/// Binds a port that another socket of this process is bound to, which allows it now.
fn bind_sharing(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_reuse_port(false)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(address: &str, leaving: &[&Socket]) -> io::Result<Socket> {
        Socket::bind_beside(&address.parse().unwrap(), leaving)
    }

    fn port(socket: &Socket) -> u16 {
        match socket.place() {
            Some(Listen::Tcp(address)) => address.port(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_grows_and_shrinks_at_its_port() {
        let narrow = bind("127.0.0.1:0", &[]).unwrap();
        let wide = format!("0.0.0.0:{}", port(&narrow));
        let is_taken = |socket: io::Result<Socket>| {
            assert_eq!(socket.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        };
        is_taken(bind(&wide, &[]));
        let other = bind("127.0.0.1:0", &[]).unwrap();
        is_taken(bind(&wide, &[&other]));
        let grown = bind(&wide, &[&other, &narrow]).unwrap();
        is_taken(bind(&wide, &[]));
        drop(narrow);
        let narrow = format!("127.0.0.1:{}", port(&grown));
        is_taken(bind(&narrow, &[]));
        let shrunk = bind(&narrow, &[&grown]).unwrap();
        drop(grown);
        assert!(std::net::TcpStream::connect(&narrow).is_ok());
        is_taken(bind(&narrow, &[]));
        drop(shrunk);
        assert!(bind(&narrow, &[]).is_ok());
    }
}
