//! Proxies before the hub: whose word about where a request comes from is believed.
//!
//! A proxy adds the address that it saw at the end of `X-Forwarded-For`. So the list is read from
//! its end, and only as long as the address before was a trusted proxy's: what stands further to
//! the left anybody can have written. `Forwarded` (RFC 7239) and other spellings are believed of
//! nobody.

use std::net::{IpAddr, SocketAddr};

use strait_net::Network;
use strait_net::fields::Fields;
use strait_net::fields::names::X_FORWARDED_FOR;

/// Addresses that are read; more proxies stand behind one another nowhere.
const HOPS_MAX: usize = 16;

/// Where proxies are that are trusted; nowhere by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who is connected.
    pub peer: SocketAddr,
    /// Who asked, canonical: the peer, or whom a trusted proxy names.
    pub client: IpAddr,
    /// What of `X-Forwarded-For` is believed: the client and the trusted proxies behind it but for
    /// the peer; none where the client is the peer.
    pub before: Option<String>,
}

impl TrustedProxies {
    /// In these networks.
    #[must_use]
    pub const fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Those networks.
    #[must_use]
    pub fn networks(&self) -> &[Network] {
        &self.0
    }

    /// Where a request comes from.
    #[must_use]
    pub fn origin(&self, peer: SocketAddr, fields: &Fields) -> Origin {
        let mut client = peer.ip().to_canonical();
        if !self.trusts(client) {
            return Origin { peer, client, before: None };
        }
        let mut hops = Vec::new();
        let values = fields.all(X_FORWARDED_FOR).rev();
        let mut elements = values.flat_map(|value| value.rsplit(|byte| *byte == b','));
        while self.trusts(client)
            && hops.len() < HOPS_MAX
            && let Some(element) = elements.next().map(<[u8]>::trim_ascii)
        {
            // An empty element is none (RFC 9110 section 5.6.1.2).
            if element.is_empty() {
                continue;
            }
            let Some(address) = address(element) else { break };
            client = address;
            hops.push(address.to_string());
        }
        hops.reverse();
        let before = Some(hops.join(", ")).filter(|hops| !hops.is_empty());
        Origin { peer, client, before }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

impl Origin {
    /// The client, as a connection's other end: the peer's port says nothing of its own.
    #[must_use]
    pub const fn as_peer(&self) -> SocketAddr {
        SocketAddr::new(self.client, self.peer.port())
    }
}

/// An address, with or without a port, as proxies write it. None stands for every one.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let found = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(found.to_canonical()).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use strait_net::fields::Field;

    use super::*;
    use crate::http::testing::fields_of;

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "2001:db8::/64"];
        TrustedProxies::new(networks.map(|text| text.parse().unwrap()).to_vec())
    }

    fn fields(values: &[&[u8]]) -> Fields {
        let mut fields = Fields::new();
        for value in values {
            fields.push(Field::new(X_FORWARDED_FOR, value)).unwrap();
        }
        fields
    }

    fn origin(peer: &str, values: &[&[u8]]) -> (String, String) {
        let origin = proxies().origin(peer.parse().unwrap(), &fields(values));
        assert_eq!(origin.as_peer().port(), origin.peer.port());
        (origin.client.to_string(), origin.before.unwrap_or_default())
    }

    #[test]
    fn only_what_trusted_proxies_saw_is_believed() {
        for (peer, values, client, before) in [
            ("10.1.1.1:5", &[&b"192.0.2.7"[..]][..], "192.0.2.7", "192.0.2.7"),
            // Whoever is no proxy says what it likes.
            ("192.0.2.9:5", &[b"192.0.2.7"], "192.0.2.9", ""),
            ("[::ffff:192.0.2.9]:5", &[b"192.0.2.7"], "192.0.2.9", ""),
            ("[::ffff:10.1.1.1]:5", &[b"192.0.2.7"], "192.0.2.7", "192.0.2.7"),
            ("[2001:db8::5]:5", &[b"2001:db8:1::7"], "2001:db8:1::7", "2001:db8:1::7"),
            // Behind one, it is what that one saw.
            ("10.1.1.1:5", &[b"1.1.1.1, 192.0.2.7"], "192.0.2.7", "192.0.2.7"),
            ("10.1.1.1:5", &[b"10.9.9.9, 192.0.2.7"], "192.0.2.7", "192.0.2.7"),
            ("10.1.1.1:5", &[b"1.1.1.1", b"192.0.2.7"], "192.0.2.7", "192.0.2.7"),
            // Several, one behind the other.
            ("10.1.1.1:5", &[b"1.1.1.1,192.0.2.7,10.2.2.2"], "192.0.2.7", "192.0.2.7, 10.2.2.2"),
            ("10.1.1.1:5", &[b"192.0.2.7", b"10.2.2.2"], "192.0.2.7", "192.0.2.7, 10.2.2.2"),
            ("10.1.1.1:5", &[b"10.3.3.3 ,\t10.2.2.2"], "10.3.3.3", "10.3.3.3, 10.2.2.2"),
            // Ports, brackets and addresses inside others.
            ("10.1.1.1:5", &[b"192.0.2.7:81"], "192.0.2.7", "192.0.2.7"),
            ("10.1.1.1:5", &[b"[2001:db8:1::7]:81"], "2001:db8:1::7", "2001:db8:1::7"),
            ("10.1.1.1:5", &[b"[2001:DB8:1::7]"], "2001:db8:1::7", "2001:db8:1::7"),
            ("10.1.1.1:5", &[b"::ffff:192.0.2.7"], "192.0.2.7", "192.0.2.7"),
            ("10.1.1.1:5", &[b", ,192.0.2.7,"], "192.0.2.7", "192.0.2.7"),
            // What is no address ends what is believed.
            ("10.1.1.1:5", &[b"192.0.2.7, unknown"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"192.0.2.7, ?, 10.2.2.2"], "10.2.2.2", "10.2.2.2"),
            ("10.1.1.1:5", &[b"\xff\xfe"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"0.0.0.0"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"::"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"[::ffff:0.0.0.0]:1"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"192.0.2.7:99999"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"fe80::1%eth0"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"[192.0.2.7]"], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b"\"192.0.2.7\""], "10.1.1.1", ""),
            ("10.1.1.1:5", &[b""], "10.1.1.1", ""),
            ("10.1.1.1:5", &[], "10.1.1.1", ""),
        ] {
            let found = origin(peer, values);
            assert_eq!(found, (client.to_owned(), before.to_owned()), "{peer} {values:?}");
        }
        let many = vec![&b"10.2.2.2"[..]; 100];
        assert_eq!(origin("10.1.1.1:5", &many).1.matches(", ").count(), HOPS_MAX - 1);
    }

    #[test]
    fn nobody_else_and_no_other_field_is_believed() {
        let peer = "10.1.1.1:5".parse().unwrap();
        let nobody = TrustedProxies::default();
        assert_eq!(nobody.origin(peer, &fields(&[b"192.0.2.7"])).client, peer.ip());
        let others = ["x_forwarded_for", "forwarded", "x-real-ip", "x-forwarded"];
        let origin =
            proxies().origin(peer, &fields_of(&others.map(|name| (name, "for=192.0.2.7"))));
        assert_eq!((origin.client, origin.before), (peer.ip(), None));
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(value in "[ -~]{0,60}|[0-9a-f.:,\\[\\] ]{0,60}") {
            let (client, _) = origin("10.1.1.1:5", &[value.as_bytes()]);
            prop_assert!(!client.parse::<IpAddr>().unwrap().is_unspecified());
            prop_assert_eq!(origin("192.0.2.9:5", &[value.as_bytes()]).0, "192.0.2.9");
        }
    }
}
