//! Under which names a listener beside an agent answers.
//!
//! A page of another site can let a name of its own lead to this machine (DNS rebinding). To a
//! browser that page and the listener are then one site, and only the name that it asks under
//! tells them apart.

use std::net::IpAddr;

use http::uri::Authority;

/// The names under which a listener answers, whatever port is said with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Any: no browser reaches a socket.
    Any,
    /// This machine's own, and those that are listed.
    Only {
        /// Where it listens; each address of the machine, where that is unspecified.
        own: IpAddr,
        /// Beside those, each made by [`Hosts::parse`].
        more: Vec<String>,
    },
}

impl Hosts {
    /// A name or address to be listed, without a port, as it is compared; none if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<String> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = text.len() <= 253 && text.chars().all(allowed);
        let normal = normal(text);
        (!normal.is_empty() && (is_name || address(text).is_some())).then_some(normal)
    }

    /// Whether it answers requests for this authority.
    #[must_use]
    pub fn has(&self, authority: &str) -> bool {
        let Self::Only { own, more } = self else { return true };
        let Ok(asked) = authority.parse::<Authority>() else { return false };
        let own = own.to_canonical();
        let is_own = match address(asked.host()) {
            // An address in the place of a name was not looked up by anybody.
            Some(address) => address.is_loopback() || own.is_unspecified() || address == own,
            None => normal(asked.host()) == "localhost",
        };
        is_own || more.contains(&normal(asked.host()))
    }
}

/// An address, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bare.unwrap_or(text).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// One spelling for all that mean the same.
fn normal(text: &str) -> String {
    match address(text) {
        Some(address) => address.to_string(),
        None => text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_answers_under_its_own_and_listed_names_alone() {
        let more =
            ["Store.Local", "192.0.2.9", "[2001:DB8::1]"].map(|it| Hosts::parse(it).unwrap());
        let listed = Hosts::Only { own: "192.0.2.7".parse().unwrap(), more: more.into() };
        let own = Hosts::Only { own: "127.0.0.1".parse().unwrap(), more: Vec::new() };
        let all = Hosts::Only { own: "::".parse().unwrap(), more: Vec::new() };
        for (asked, [by_own, by_listed, by_all]) in [
            ("localhost", [true, true, true]),
            ("LOCALHOST.:80", [true, true, true]),
            ("127.0.0.1:8014", [true, true, true]),
            ("[::1]:8014", [true, true, true]),
            ("[::ffff:127.0.0.1]", [true, true, true]),
            ("192.0.2.7", [false, true, true]),
            ("192.0.2.8", [false, false, true]),
            ("192.0.2.9:1", [false, true, true]),
            ("[2001:db8:0::1]:1", [false, true, true]),
            ("store.local:8014", [false, true, false]),
            ("store.local.", [false, true, false]),
            ("other.example", [false, false, false]),
            ("localhost.other.example", [false, false, false]),
            ("127.0.0.1.other.example", [false, false, false]),
            ("other.example:localhost", [false, false, false]),
            ("127.0.0.1@other.example", [false, false, false]),
            ("x.store.local", [false, false, false]),
            ("0.0.0.0", [false, false, true]),
            ("0x7f.1", [false, false, false]),
            ("", [false, false, false]),
        ] {
            let said = [&own, &listed, &all].map(|hosts| hosts.has(asked));
            assert_eq!(said, [by_own, by_listed, by_all], "{asked}");
            assert!(Hosts::Any.has(asked), "{asked}");
        }
    }

    #[test]
    fn what_is_listed_is_a_name_or_an_address() {
        for (text, expected) in [
            ("Store", Some("store")),
            ("my_store.local.", Some("my_store.local")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("[::1]", Some("::1")),
            ("::1", Some("::1")),
            ("", None),
            (".", None),
            ("*.local", None),
            ("store:80", None),
            ("http://store", None),
            ("[store]", None),
        ] {
            assert_eq!(Hosts::parse(text).as_deref(), expected, "{text}");
        }
    }
}
