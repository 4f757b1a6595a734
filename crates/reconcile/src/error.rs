//! What a call can end in.

use std::time::Duration;

use http::Uri;
use strait_net::BodyError;
use strait_types::{Classified, ErrorKind};

use crate::api::ClientError;

/// A call to an API server failed. For operators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// There is no client for the server.
    #[error("no client for the server")]
    Client(#[source] ClientError),
    /// The request was not answered; it may have had its effect.
    #[error("{server} does not answer")]
    Transport {
        /// Which server.
        server: Uri,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The answer broke off; the request may have had its effect.
    #[error("the server's answer is not whole")]
    Body(#[from] BodyError),
    /// No answer in time; the request may have had its effect.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server refused.
    #[error("the server answered {code} {reason}: {message}")]
    Status {
        /// HTTP status code.
        code: u16,
        /// The Status object's reason, or empty.
        reason: String,
        /// The Status object's text, or empty.
        message: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is not what it should be.
    #[error("the server's answer is not {0}")]
    Malformed(&'static str),
}

impl ApiError {
    /// The HTTP status code, if the server answered with one.
    #[must_use]
    pub const fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// How long the server asks to wait.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Classified for ApiError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Client(_) => ErrorKind::Internal,
            Self::Transport { .. } | Self::Malformed(_) => ErrorKind::Upstream,
            Self::Body(error) => error.kind(),
            Self::TimedOut => ErrorKind::Timeout,
            Self::Status { code, .. } => match code {
                401 => ErrorKind::Unauthenticated,
                403 => ErrorKind::Denied,
                404 => ErrorKind::NotFound,
                // A failed precondition of a JSON patch is 422 in Kubernetes.
                409 | 410 | 422 => ErrorKind::Conflict,
                413 => ErrorKind::TooLarge,
                429 => ErrorKind::RateLimited,
                400..500 => ErrorKind::User,
                _ => ErrorKind::Upstream,
            },
        }
    }
}
