//! What a stream carries.

/// A kind of streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A request and its answer.
    Http,
    /// A request after which the connection speaks another protocol.
    Upgrade,
    /// Bytes both ways.
    Raw,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Http, Self::Upgrade, Self::Raw];

    /// Of what is a request where it is not `raw`, and may be for another protocol.
    pub(crate) const fn of(raw: bool, upgrade: bool) -> Self {
        match (raw, upgrade) {
            (true, _) => Self::Raw,
            (false, true) => Self::Upgrade,
            (false, false) => Self::Http,
        }
    }

    /// In lists and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Upgrade => "upgrade",
            Self::Raw => "raw",
        }
    }
}
