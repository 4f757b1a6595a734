//! What a client is told of a stream that ended before its answer.

use std::time::Duration;

use strait_runtime::units::parse_duration;
use strait_tunnel::{Code, End, EndedBy};

use super::{Aborter, ConnectError, Failure};
use crate::link::control::shown;

impl Failure {
    /// Says why there is no answer.
    pub(crate) fn of(end: &End) -> Self {
        match end.code {
            Code::NoService => Self::NotFound,
            Code::Forbidden | Code::Identity => Self::NotFound,
            Code::ConnectFailed => Self::ConnectFailed(ConnectError::told(&end.text)),
            Code::ConnectTimeout => Self::ConnectFailed(ConnectError::TimedOut),
            // An agent says what is wrong with the certificate.
            Code::UpstreamTls if !end.text.is_empty() => {
                Self::UpstreamTls { why: shown(&end.text) }
            }
            Code::UpstreamTls => {
                Self::UpstreamTls { why: "is not trusted (why is in the agent's log)".into() }
            }
            // Whose body is not whole is told so; nobody else whose stream is cancelled here is still there.
            Code::Cancel if end.by == EndedBy::Us => Self::BadBody,
            Code::UpstreamReset => Self::UpstreamReset,
            Code::UpstreamProtocol => Self::UpstreamProtocol,
            Code::Overloaded if end.unexecuted => Self::NotAccepted,
            Code::Overloaded => Self::Aborted(Aborter::Agent),
            Code::Revoked => Self::CredentialRevoked { ago: Duration::ZERO, by: None },
            Code::Lost => Self::ConnectionLost,
            Code::Refused | Code::Draining => Self::NotAccepted,
            Code::Aborted => Self::Aborted(Aborter::Agent),
            // Who served it says how long nothing passed.
            Code::Timeout => match parse_duration(&end.text) {
                Ok(limit) => Self::IdleTimeout(limit),
                Err(_) => Self::TimedOut,
            },
            _ => Self::Internal,
        }
    }
}
