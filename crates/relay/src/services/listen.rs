//! Where a listener beside an agent is.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address that programs beside the agent connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// An address and a port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A socket of this machine, an absolute path.
    Unix(PathBuf),
}

/// A text that says no such place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an address and a port such as 127.0.0.1:8014, or unix:/an/absolute/path")]
pub struct InvalidListen;

impl Listen {
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// Whether both cannot be listened at.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(InvalidListen),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListen),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_an_absolute_path() {
        for (text, is_of_this_machine) in [
            ("127.0.0.1:8014", Some(true)),
            ("[::1]:8014", Some(true)),
            ("[::ffff:127.0.0.1]:1", Some(true)),
            ("0.0.0.0:8014", Some(false)),
            ("192.0.2.7:1", Some(false)),
            ("unix:/run/strait/front50.sock", Some(true)),
            ("unix:run/x", None),
            ("unix:", None),
            ("unix:/run/", None),
            ("localhost:8014", None),
            (":8014", None),
            ("8014", None),
        ] {
            let parsed = text.parse::<Listen>();
            assert_eq!(parsed.as_ref().ok().map(Listen::is_of_this_machine), is_of_this_machine);
            if let Ok(listen) = parsed {
                assert_eq!(listen.to_string().parse(), Ok(listen), "{text}");
            }
        }
        let same = |one: &str, other: &str| {
            one.parse::<Listen>().unwrap().is_same(&other.parse().unwrap())
        };
        assert!(same("127.0.0.1:1", "127.0.0.1:1") && same("unix:/a", "unix:/a"));
        assert!(!same("127.0.0.1:0", "127.0.0.1:0") && !same("unix:/a", "unix:/b"));
    }
}
