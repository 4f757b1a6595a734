//! Why an agent does not run.

use std::net::SocketAddr;

use strait_net::NotLoopback;
use strait_pki::PkiError;
use strait_relay::agent::{JoinError, MembershipError};
use strait_runtime::DataDirError;
use strait_runtime::fs::FsError;

use crate::kept::KeptError;

/// An agent cannot start, or cannot go on. For its operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// What it was told is not enough.
    #[error("{0}")]
    Config(String),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The health port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The health port's address.
    #[error(transparent)]
    Health(#[from] NotLoopback),
    /// The hub does not take it.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The membership file.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// The Secret that has its state.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A key or certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// A file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The audit log.
    #[error("the audit log cannot be opened")]
    Audit(#[from] strait_audit::OpenError),
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its requests.
    #[error(transparent)]
    Requests(#[from] strait_requests::StartError),
}

impl AgentError {
    /// Whether the hub said no.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Join(JoinError::Refused { .. }))
    }

    /// Whether what answered is not the hub that it should be.
    #[must_use]
    pub const fn is_distrust(&self) -> bool {
        matches!(self, Self::Join(JoinError::NotTrusted { .. }))
    }
}
