//! What can go wrong with keys and certificates of ours.

use jiff::Timestamp;
use strait_runtime::fs::FsError;
use strait_types::{Classified, ErrorKind};

/// A key or certificate cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the CA.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// Bytes are not what they should be.
    #[error("malformed {what}")]
    Malformed {
        /// Such as `CA certificate`.
        what: &'static str,
    },
    /// The CA's key file belongs to another certificate.
    #[error("the CA's key does not belong to its certificate")]
    KeyMismatch,
    /// The CA can sign nothing that would be valid.
    #[error("the CA's certificate expired at {not_after}")]
    AuthorityExpired {
        /// Its end.
        not_after: Timestamp,
    },
    /// Not a host name or address that a certificate can carry, or not a user's name.
    #[error("{name:?} is not {expected}")]
    InvalidName {
        /// What was given.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The key of a signing request is of a kind that is not taken.
    #[error(
        "{found} keys are refused; use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
    )]
    RefusedKey {
        /// Such as `RSA 1024`.
        found: String,
    },
    /// A signing request is signed in a way that is not taken, such as with SHA-1.
    #[error("the signing request's signature algorithm is refused; use SHA-256 or SHA-384")]
    RefusedSignature,
    /// Whoever made the signing request does not hold its key.
    #[error("the signing request's signature is wrong")]
    WrongSignature,
    /// The crypto library refused; it says no more.
    #[error("the crypto library could not {action}")]
    Crypto {
        /// Such as `make a key`.
        action: &'static str,
    },
    /// The TLS library refused a certificate or key.
    #[error("unusable certificate or key")]
    Tls(#[source] rustls::Error),
}

impl Classified for PkiError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Malformed { .. }
            | Self::InvalidName { .. }
            | Self::RefusedKey { .. }
            | Self::RefusedSignature
            | Self::WrongSignature => ErrorKind::User,
            Self::Fs(error) => error.kind(),
            Self::KeyMismatch
            | Self::AuthorityExpired { .. }
            | Self::Crypto { .. }
            | Self::Tls(_) => ErrorKind::Internal,
        }
    }
}
