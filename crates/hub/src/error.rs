//! Why a hub does not start.

use std::net::SocketAddr;

use strait_machinery::status::Status;
use strait_pki::PkiError;
use strait_runtime::DataDirError;
use strait_runtime::fs::FsError;
use strait_store::CommitError;
use strait_store::engine::OpenError;
use strait_types::{Classified, ErrorKind};

/// A hub does not start. For the operator: it may name paths and addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The port.
    #[error("cannot listen on {address}: choose another with {flag}, or end what uses it")]
    Listen {
        /// The flag that says where.
        flag: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Keys or certificates.
    #[error("cannot set up certificates")]
    Pki(#[from] PkiError),
    /// A file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The store.
    #[error("cannot open the store")]
    Store(#[from] OpenError),
    /// The store takes no write.
    #[error("cannot write to the store")]
    Commit(#[source] CommitError),
    /// The audit log.
    #[error("cannot open the audit log")]
    Audit(#[from] strait_audit::OpenError),
    /// What every hub has cannot be made.
    #[error("cannot make what a hub begins with")]
    Bootstrap(#[source] Status),
}

impl Classified for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Directory(error) => error.kind(),
            Self::Listen { .. } => ErrorKind::User,
            Self::Store(error) => error.kind(),
            _ => ErrorKind::Internal,
        }
    }
}
