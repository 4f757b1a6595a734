//! Sockets of this machine.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Listens on a socket that its owner alone may use (mode 0600), and that does not block. A socket
/// that an earlier process left is replaced.
///
/// # Errors
/// Somebody listens there; the path is another kind of file, or cannot be written.
pub fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {
            let asked = UnixStream::connect(path);
            // Nobody listens on one that was left; any other failure may be somebody's who does.
            let is_left = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if !asked.as_ref().is_err_and(is_left) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Before anybody can connect.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_and_replaces_one_that_was_left_and_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin.sock");
        for _ in 0..2 {
            let listener = listen_unix(&path).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(listen_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert!(listener.accept().is_ok() && UnixStream::connect(&path).is_ok());
        }
        let file = directory.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(listen_unix(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }
}
