//! Why an agent has no connection to a service.

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The port takes none.
    Refused,
    /// No way there.
    Unreachable,
    /// The name has no address.
    NameUnknown,
    /// It took too long.
    TimedOut,
    /// Anything else.
    Failed,
}

impl ConnectError {
    /// What an agent said, if it is one of these.
    pub(super) fn told(text: &str) -> Self {
        let known = [Self::Refused, Self::Unreachable, Self::NameUnknown, Self::TimedOut];
        known.into_iter().find(|own| own.text() == text).unwrap_or(Self::Failed)
    }

    /// Says it, to people and from an agent to its hub.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "no route to it",
            Self::NameUnknown => "its name has no address",
            Self::TimedOut => "it took too long",
            Self::Failed => "the connection failed",
        }
    }
}
