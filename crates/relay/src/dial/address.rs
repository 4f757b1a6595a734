//! Where a hub is, and for which hosts no proxy is used.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use strait_net::Network;

use super::DialError;

/// Host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl FromStr for Address {
    type Err = DialError;

    fn from_str(text: &str) -> Result<Self, DialError> {
        let parsed = || {
            let (host, port) = text.rsplit_once(':')?;
            let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            let host = match bare {
                Some(bare) => bare.parse::<Ipv6Addr>().ok().map(|_| bare)?,
                None => host,
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let named = !host.is_empty() && host.chars().all(plain);
            (named || bare.is_some()).then(|| Self { host: host.to_owned(), port })
        };
        parsed().ok_or_else(|| DialError::Address(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Hosts that are reached without a proxy, as `NO_PROXY` has them: names with their subdomains,
/// addresses, ranges of addresses, each with a port or without, or `*` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy(Vec<String>);

impl NoProxy {
    /// Reads a list with commas. What is none of these matches nothing.
    #[must_use]
    pub fn new(list: &str) -> Self {
        let entries = list.split(',').map(|entry| entry.trim().to_ascii_lowercase());
        Self(entries.filter(|entry| !entry.is_empty()).collect())
    }

    /// Whether an address is reached without a proxy.
    pub(super) fn covers(&self, address: &Address) -> bool {
        let host = address.host.trim_end_matches('.').to_ascii_lowercase();
        let ip: Option<IpAddr> = host.parse().ok();
        self.0.iter().any(|entry| {
            let (entry, port) = match entry.rsplit_once(':') {
                // An IPv6 address has colons of its own.
                Some((rest, port)) if !rest.contains(':') || rest.ends_with(']') => {
                    (rest, Some(port))
                }
                _ => (entry.as_str(), None),
            };
            if port.is_some_and(|port| port.parse() != Ok(address.port)) {
                return false;
            }
            let entry = entry.trim_matches(['[', ']']);
            match ip {
                _ if entry == "*" => true,
                Some(ip) => entry.parse::<Network>().is_ok_and(|network| network.contains(ip)),
                None => {
                    let domain = entry.trim_start_matches("*.").trim_matches('.');
                    let rest = host.strip_suffix(domain);
                    !domain.is_empty()
                        && rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (text, host) in [
            ("hub.example:443", Some("hub.example")),
            ("10.0.0.1:1", Some("10.0.0.1")),
            ("[::1]:6443", Some("::1")),
            ("::1:6443", None),
            ("hub.example", None),
            ("hub.example:0", None),
            ("hub.example:65536", None),
            (":443", None),
            ("a b:443", None),
            ("[hub]:443", None),
            ("hub\r\nX: y:443", None),
        ] {
            let address: Result<Address, _> = text.parse();
            assert_eq!(address.as_ref().ok().map(|address| &*address.host), host, "{text}");
            assert!(address.is_err() || address.unwrap().to_string() == text);
        }
    }

    #[test]
    fn some_hosts_need_no_proxy() {
        for (list, address, covered) in [
            ("", "hub.example:443", false),
            ("*", "hub.example:443", true),
            ("example", "hub.example:443", true),
            (".example", "hub.example:443", true),
            ("*.example", "hub.example:443", true),
            (" other , HUB.example", "Hub.Example.:443", true),
            ("b.example", "hub.example:443", false),
            (".", "hub.example:443", false),
            ("hub.example:443", "hub.example:443", true),
            ("hub.example:444", "hub.example:443", false),
            ("10.0.0.0/8", "10.1.2.3:1", true),
            ("10.0.0.0/8", "11.1.2.3:1", false),
            ("10.1.2.3:2", "10.1.2.3:1", false),
            ("2.3", "10.1.2.3:1", false),
            ("::1", "[::1]:1", true),
            ("[::1]:1", "[::1]:1", true),
            ("fd00::/8", "[fd00::7]:1", true),
        ] {
            let found = NoProxy::new(list).covers(&address.parse().unwrap());
            assert_eq!(found, covered, "{list} {address}");
        }
    }
}
