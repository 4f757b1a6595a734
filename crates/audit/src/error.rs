//! Why a log cannot be opened or written.

use strait_runtime::fs::FsError;
use strait_types::{Classified, ErrorKind};

/// The log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// What was mirrored cannot be told.
    #[error("cannot load the audit log's mirrored position")]
    Mirror(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classified for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fs(error) => error.kind(),
            Self::Mirror(_) => ErrorKind::Internal,
        }
    }
}

/// Records were not written; their effect must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much waits already.
    #[error("the audit log is busy")]
    QueueFull,
    /// A record has more than [`RECORD_BYTES_MAX`] bytes of text.
    #[error("an audit record is too large")]
    TooLarge,
    /// The disk is full. The next try may succeed.
    #[error("the audit log's disk is full")]
    NoSpace,
    /// A write or sync failed: nothing more is written until the process starts again.
    #[error("the audit log is broken")]
    Broken,
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

impl Classified for AppendError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::QueueFull => ErrorKind::RateLimited,
            Self::TooLarge => ErrorKind::TooLarge,
            Self::NoSpace | Self::Broken => ErrorKind::Internal,
            Self::Closed => ErrorKind::Cancelled,
        }
    }
}
