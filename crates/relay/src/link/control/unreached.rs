//! Why an agent does not reach a service, as it says it to a hub: a class of failures, with
//! nothing of the private side in it.

use serde::{Deserialize, Serialize};

use crate::message::{ConnectError, Failure};

/// A class of failures to connect to a service. What this release does not know is [`Failed`]:
/// whatever the other side writes, people are shown one of these.
///
/// [`Failed`]: Self::Failed
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Unreached {
    /// Its port takes no connections.
    ConnectionRefused,
    /// There is no way there.
    NoRoute,
    /// Its name has no address.
    NameNotFound,
    /// It took too long.
    TimedOut,
    /// No trust in it, or none of it in us.
    UpstreamTls,
    /// Anything else.
    #[serde(other)]
    Failed,
}

impl Unreached {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 6] = [
        Self::ConnectionRefused,
        Self::NoRoute,
        Self::NameNotFound,
        Self::TimedOut,
        Self::UpstreamTls,
        Self::Failed,
    ];

    /// The class that a failure to connect is of.
    pub(crate) const fn of(failure: &Failure) -> Self {
        match failure {
            Failure::ConnectFailed(ConnectError::Refused) => Self::ConnectionRefused,
            Failure::ConnectFailed(ConnectError::Unreachable) => Self::NoRoute,
            Failure::ConnectFailed(ConnectError::NameUnknown) => Self::NameNotFound,
            Failure::ConnectFailed(ConnectError::TimedOut) | Failure::ConnectTimeout(_) => {
                Self::TimedOut
            }
            Failure::UpstreamTls { .. } => Self::UpstreamTls,
            _ => Self::Failed,
        }
    }

    /// Its name: on the wire, and as the reason of a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConnectionRefused => "ConnectionRefused",
            Self::NoRoute => "NoRoute",
            Self::NameNotFound => "NameNotFound",
            Self::TimedOut => "TimedOut",
            Self::UpstreamTls => "UpstreamTls",
            Self::Failed => "Failed",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::ConnectionRefused => "the connection is refused",
            Self::NoRoute => "there is no route to it",
            Self::NameNotFound => "its name is not found",
            Self::TimedOut => "the connection takes too long",
            Self::UpstreamTls => "TLS with it fails",
            Self::Failed => "the connection fails",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_is_of_a_class_and_nothing_else_can_be_said() {
        let tls = Failure::UpstreamTls { why: "is signed by Corp CA at 10.0.0.7".into() };
        for (failure, expected) in [
            (Failure::ConnectFailed(ConnectError::Refused), Unreached::ConnectionRefused),
            (Failure::ConnectFailed(ConnectError::Unreachable), Unreached::NoRoute),
            (Failure::ConnectFailed(ConnectError::NameUnknown), Unreached::NameNotFound),
            (Failure::ConnectFailed(ConnectError::Failed), Unreached::Failed),
            (Failure::ConnectTimeout(Duration::ZERO), Unreached::TimedOut),
            (tls, Unreached::UpstreamTls),
            (Failure::Internal, Unreached::Failed),
        ] {
            assert_eq!(Unreached::of(&failure), expected, "{failure:?}");
        }
        for (at, one) in Unreached::ALL.into_iter().enumerate() {
            let json = format!("{:?}", one.as_str());
            assert_eq!(serde_json::to_string(&one).unwrap(), json);
            assert_eq!(serde_json::from_str::<Unreached>(&json).unwrap(), one);
            assert_eq!(one as usize, at);
        }
        for (json, expected) in [
            ("\"10.0.0.7:8443 refused\"", Some(Unreached::Failed)),
            ("\"\"", Some(Unreached::Failed)),
            ("{\"Failed\":1}", None),
            ("7", None),
        ] {
            assert_eq!(serde_json::from_str::<Unreached>(json).ok(), expected, "{json}");
        }
    }
}
