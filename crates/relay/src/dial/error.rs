//! Why there is no connection to a hub.

use std::io;
use std::sync::Arc;

use strait_pki::{PinMismatch, PkiError};
use strait_tunnel::{Close, Code};

use super::proxy::ProxyError;
use super::schedule::Cause;
use crate::message::Joining;
use crate::websocket::BadAnswer;

/// A connection could not be made. For the agent's log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// An address is no host and port.
    #[error("{0:?} is not a host and a port")]
    Address(String),
    /// There is no address to try.
    #[error("no address of the hub is known")]
    NoAddress,
    /// A name has no address.
    #[error("{host} cannot be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address takes connections.
    #[error("cannot connect to {address}")]
    Connect {
        /// What was dialled.
        address: String,
        /// What the last address said.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("connecting to {address} took too long")]
    TimedOut {
        /// What was dialled.
        address: String,
    },
    /// The proxy on the way.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// Somebody else answered.
    #[error("{}", wrong_authority(address, found))]
    NotTrusted {
        /// What was dialled.
        address: String,
        /// What was presented.
        found: PinMismatch,
    },
    /// The handshake failed otherwise.
    #[error("{address} makes no secure connection")]
    Tls {
        /// What was dialled.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is a server, but takes no tunnels.
    #[error("{address} takes no tunnels: this is an older hub, or another server's port")]
    NoTunnel {
        /// What was dialled.
        address: String,
    },
    /// No HTTP is spoken on the connection, or it broke off.
    #[error("{address} does not answer as a web server")]
    Http {
        /// What was dialled.
        address: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// It speaks HTTP, but takes no tunnels.
    #[error(
        "{address} takes no tunnels inside a WebSocket, neither itself nor what stands before it"
    )]
    NoWebSocket {
        /// What was dialled.
        address: String,
        /// What it answered.
        #[source]
        source: BadAnswer,
    },
    /// The hub ended the connection before it was ready.
    #[error("{address} ended the connection: {} ({})", close.text, close.code)]
    Ended {
        /// What was dialled.
        address: String,
        /// How.
        close: Arc<Close>,
    },
    /// The agent's own key or certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl DialError {
    /// Whether another carriage may get through where this one did not.
    pub(super) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Address(_) | Self::NoAddress | Self::Resolve { .. } | Self::Pki(_) => false,
            Self::Ended { close, .. } => cause(close) != Cause::Refused,
            _ => true,
        }
    }
}

fn wrong_authority(address: &str, found: &PinMismatch) -> Joining {
    Joining::WrongAuthority {
        hub: address.to_owned(),
        issuer: found.issuer.clone(),
        expected: found.expected.to_string(),
    }
}

impl DialError {
    /// What to expect of another attempt.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::NotTrusted { .. } => Cause::Refused,
            Self::Ended { close, .. } => cause(close),
            _ => Cause::Failed,
        }
    }
}

/// What the end of a connection lets expect of another one.
pub(super) fn cause(close: &Close) -> Cause {
    match close.code {
        Code::Auth | Code::Revoked => Cause::Refused,
        _ => Cause::Failed,
    }
}
