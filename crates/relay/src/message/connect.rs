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
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "no route to it",
            Self::NameUnknown => "its name has no address",
            Self::TimedOut => "it took too long",
            Self::Failed => "the connection failed",
        }
    }
}
