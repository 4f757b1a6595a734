//! Who broke a stream off, as metrics say it.

use strait_tunnel::{Code, End, EndedBy};

/// Who broke a stream off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) enum By {
    Client,
    Hub,
    Agent,
    Service,
    /// Nobody: the tunnel's connection ended.
    Connection,
}

impl By {
    /// Of a stream of a tunnel that did not end well.
    pub(in crate::hub) const fn of(end: &End) -> Self {
        match (end.code, end.by) {
            (Code::Lost, _) => Self::Connection,
            // That is how the hub passes on that a client left.
            (Code::Cancel, EndedBy::Us) => Self::Client,
            // It did not keep to the protocol, or did not take the stream in time.
            (Code::Protocol | Code::Timeout, _) => Self::Agent,
            (_, EndedBy::Us) => Self::Hub,
            (
                Code::ConnectFailed
                | Code::ConnectTimeout
                | Code::UpstreamTls
                | Code::UpstreamReset
                | Code::UpstreamProtocol,
                _,
            ) => Self::Service,
            _ => Self::Agent,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Hub => "hub",
            Self::Agent => "agent",
            Self::Service => "service",
            Self::Connection => "connection",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_broke_a_stream_off_is_told_by_its_end() {
        let (us, peer, loss) = (EndedBy::Us, EndedBy::Peer, EndedBy::Loss);
        for (code, by, expected) in [
            (Code::Cancel, us, By::Client),
            (Code::Cancel, peer, By::Agent),
            (Code::TooLarge, us, By::Hub),
            (Code::TooLarge, peer, By::Agent),
            (Code::Overloaded, us, By::Hub),
            (Code::Revoked, us, By::Hub),
            (Code::Revoked, peer, By::Agent),
            (Code::Aborted, us, By::Hub),
            (Code::Protocol, us, By::Agent),
            (Code::Timeout, us, By::Agent),
            (Code::UpstreamReset, peer, By::Service),
            (Code::Lost, us, By::Connection),
            (Code::Lost, loss, By::Connection),
        ] {
            assert_eq!(By::of(&End::broken(code, by)), expected, "{code} {by:?}");
        }
    }
}
