//! Why there is no connection to a hub.

use std::error::Error;
use std::io;
use std::sync::Arc;

use strait_pki::{PinMismatch, PkiError};
use strait_tunnel::{Close, Code};
use strait_types::Report;

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
    #[error("{address} does not answer as a web server: {how}")]
    Http {
        /// What was dialled.
        address: String,
        /// What it did.
        how: String,
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
    /// Somebody else answered, who ends TLS and may pass WebSockets, and none came about either.
    #[error("{direct}; inside a WebSocket: {}", Report(&**inside))]
    NeitherWay {
        /// Without a WebSocket.
        direct: Box<Self>,
        /// With one.
        inside: Box<Self>,
    },
    /// The agent's own key or certificate.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl DialError {
    /// An exchange of HTTP with that address had no answer.
    pub(super) fn no_answer(address: String, error: &hyper::Error) -> Self {
        let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let ended = source.is_some_and(|source| source.kind() == io::ErrorKind::UnexpectedEof);
        // Whoever leaves without TLS's farewell gets a lesson from rustls, which is for programmers.
        let how = if ended || error.is_incomplete_message() {
            "it closed the connection".to_owned()
        } else {
            Report(error).to_string()
        };
        Self::Http { address, how }
    }

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
            Self::NeitherWay { inside, .. } if inside.is_lasting() => Cause::Refused,
            Self::Ended { close, .. } => cause(close),
            _ => Cause::Failed,
        }
    }

    /// Whether what stands before a hub lets no WebSocket through: where the hub is away for a
    /// while, it says so, in HTTP.
    fn is_lasting(&self) -> bool {
        match self {
            Self::NoWebSocket { source: BadAnswer::Status(status), .. } => {
                !status.is_server_error()
            }
            Self::NoWebSocket { .. }
            | Self::Http { .. }
            | Self::NotTrusted { .. }
            | Self::NoTunnel { .. } => true,
            _ => false,
        }
    }

    /// Together with how the other carriage failed at the same address.
    pub(super) fn and(self, other: Self) -> Self {
        let (direct, inside) = match (self, other) {
            (direct @ Self::NotTrusted { .. }, inside)
            | (inside, direct @ Self::NotTrusted { .. }) => (direct.into(), inside.into()),
            (before, after) => {
                return if before.cause() == Cause::Refused { before } else { after };
            }
        };
        Self::NeitherWay { direct, inside }
    }

    /// Who answered in the hub's place, where another attempt cannot end better.
    #[must_use]
    pub fn untrusted(&self) -> Option<(&str, &PinMismatch)> {
        match self {
            Self::NotTrusted { address, found } => Some((address, found)),
            Self::NeitherWay { direct, .. } if self.cause() == Cause::Refused => direct.untrusted(),
            _ => None,
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

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use strait_pki::KeyHash;

    use super::*;

    fn untrusted() -> DialError {
        let found = PinMismatch { expected: KeyHash([1; 32]), issuer: "CN=Proxy".into() };
        DialError::NotTrusted { address: "hub:443".into(), found }
    }

    fn answered(status: u16) -> DialError {
        let source = BadAnswer::Status(StatusCode::from_u16(status).unwrap());
        DialError::NoWebSocket { address: "hub:443".into(), source }
    }

    fn closed() -> DialError {
        let how = "it closed the connection".to_owned();
        DialError::Http { address: "hub:443".into(), how }
    }

    fn late() -> DialError {
        DialError::TimedOut { address: "hub:443".into() }
    }

    #[test]
    fn who_ends_tls_is_in_the_way_only_where_no_websocket_will_pass() {
        type Case = (fn() -> DialError, fn() -> DialError, Cause, bool);
        let table: [Case; 7] = [
            (untrusted, || answered(403), Cause::Refused, true),
            (untrusted, untrusted, Cause::Refused, true),
            (untrusted, closed, Cause::Refused, true),
            // The hub behind it is away.
            (untrusted, || answered(502), Cause::Failed, false),
            (untrusted, late, Cause::Failed, false),
            (late, || answered(404), Cause::Failed, false),
            (late, late, Cause::Failed, false),
        ];
        for (direct, inside, cause, is_told) in table {
            for error in [direct().and(inside()), inside().and(direct())] {
                assert_eq!(error.cause(), cause, "{error}");
                assert_eq!(error.untrusted().is_some(), is_told, "{error}");
            }
        }
        let both = untrusted().and(answered(502)).to_string();
        assert!(both.contains("CN=Proxy") && both.contains("502"), "{both}");
    }
}
