//! What an agent that cannot join is told, mostly by itself.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use strait_machinery::duration::human;

/// Why an agent did not join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// The hub's address showed another certificate.
    WrongAuthority {
        /// The address.
        hub: String,
        /// The issuer of what it showed.
        issuer: String,
        /// The key that the token names, in hexadecimal.
        expected: String,
    },
    /// All uses of the token are used.
    TokenUsed {
        /// When the last one was.
        at: Timestamp,
        /// By which host.
        by: String,
    },
    /// The token's time is over.
    TokenExpired {
        /// How long ago.
        ago: Duration,
    },
    /// This machine's clock is wrong.
    Clock {
        /// By how much.
        off: Duration,
        /// Ahead of the hub's, or behind it.
        ahead: bool,
    },
}

impl fmt::Display for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongAuthority { hub, issuer, expected } => write!(
                f,
                "{hub} presented a certificate by {issuer:?}; expected hub CA {}: an inspecting \
                 proxy is in the way",
                expected.get(..16).unwrap_or(expected)
            ),
            Self::TokenUsed { at, by } => {
                write!(f, "token was used at {at:.0} by {by}; make a new one")
            }
            Self::TokenExpired { ago } => {
                write!(f, "token expired {} ago; make a new one", human(*ago))
            }
            Self::Clock { off, ahead } => {
                let side = if *ahead { "ahead of" } else { "behind" };
                write!(f, "this machine's clock is {} {side} the hub", human(*off))
            }
        }
    }
}
