//! Why a stream or a connection ended.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// The reason in RESET, GOAWAY and CUT frames.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
            /// A number that this version has no name for.
            Unknown(u16),
        }

        impl Code {
            /// Every code with a name, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code of a number.
            #[must_use]
            pub const fn from_wire(value: u16) -> Self {
                match value {
                    $($value => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }

            /// The code's number.
            #[must_use]
            pub const fn to_wire(self) -> u16 {
                match self {
                    $(Self::$name => $value,)*
                    Self::Unknown(other) => other,
                }
            }

            /// Its name in logs and metrics; `UNKNOWN` for one without.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown(_) => "UNKNOWN",
                }
            }
        }
    };
}

codes! {
    /// Nothing went wrong.
    None = 0, "NONE";
    /// The receiver of the body left.
    Cancel = 1, "CANCEL";
    /// Not executed; another connection or instance may take it.
    Refused = 2, "REFUSED";
    /// The acceptor does not offer this service.
    NoService = 3, "NO_SERVICE";
    /// The acceptor's own rules forbid it.
    Forbidden = 4, "FORBIDDEN";
    /// The target refused, is unreachable, or its name is unknown.
    ConnectFailed = 5, "CONNECT_FAILED";
    /// The target did not answer the connection attempt.
    ConnectTimeout = 6, "CONNECT_TIMEOUT";
    /// The target's certificate or handshake failed.
    UpstreamTls = 7, "UPSTREAM_TLS";
    /// The target broke off.
    UpstreamReset = 8, "UPSTREAM_RESET";
    /// The target does not speak valid HTTP.
    UpstreamProtocol = 9, "UPSTREAM_PROTOCOL";
    /// A head, idle time or deadline took too long.
    Timeout = 10, "TIMEOUT";
    /// A limit on a head or body.
    TooLarge = 11, "TOO_LARGE";
    /// The process' memory budget.
    Overloaded = 12, "OVERLOADED";
    /// The endpoint is being shut down; like `Refused` where no ACCEPT came before.
    Draining = 13, "DRAINING";
    /// A credential or an agent was cut off.
    Revoked = 14, "REVOKED";
    /// A defect.
    Internal = 15, "INTERNAL";
    /// The peer sent more than it was granted.
    FlowControl = 16, "FLOW_CONTROL";
    /// A frame, or the order of frames, breaks the protocol.
    Protocol = 17, "PROTOCOL";
    /// A frame's length breaks the protocol.
    FrameSize = 18, "FRAME_SIZE";
    /// More of something cheap than any peer needs.
    EnhanceCalm = 19, "ENHANCE_CALM";
    /// No common version, or something mandatory that is not understood.
    Version = 20, "VERSION";
    /// What the peer says does not agree with its certificate.
    Auth = 21, "AUTH";
    /// Never sent: the connection died, execution is unknown.
    Lost = 22, "LOST";
    /// The identity is missing or cannot be mapped.
    Identity = 23, "IDENTITY";
    /// Given up after ACCEPT: may have been executed, never retried.
    Aborted = 24, "ABORTED";
}

impl Code {
    /// Whether a RESET with this code, when no ACCEPT and no HEAD came before it, proves that
    /// nothing was executed.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Refused | Self::NoService | Self::Draining | Self::Overloaded)
    }

    /// Whether it is never sent behind an ACCEPT. A process that runs out of memory ends also
    /// what it accepted.
    pub(crate) const fn only_refuses(self) -> bool {
        self.refuses() && !matches!(self, Self::Overloaded)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(value) => write!(f, "UNKNOWN({value})"),
            known => f.write_str(known.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_are_one_to_one() {
        for (value, code) in (0..).zip(Code::ALL) {
            assert_eq!((Code::from_wire(value), code.to_wire()), (*code, value));
        }
        assert_eq!(Code::from_wire(900).to_wire(), 900);
        assert_eq!(Code::from_wire(900).to_string(), "UNKNOWN(900)");
    }

    #[test]
    fn only_four_codes_prove_that_nothing_ran() {
        use Code::{Draining, NoService, Overloaded, Refused};
        let all = |which: fn(Code) -> bool| -> Vec<Code> {
            Code::ALL.iter().copied().filter(|code| which(*code)).collect()
        };
        assert_eq!(all(Code::refuses), [Refused, NoService, Overloaded, Draining]);
        assert_eq!(all(Code::only_refuses), [Refused, NoService, Draining]);
    }
}
