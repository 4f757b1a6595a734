//! Ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A range of addresses: `10.0.0.0/8`, `fd00::/8`; a lone address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// A text is not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of addresses such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

impl Network {
    pub(crate) const fn v4(first: [u8; 4], prefix: u8) -> Self {
        let [a, b, c, d] = first;
        Self { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    /// The first four groups of an IPv6 address, the rest zero but for the last.
    pub(crate) const fn v6(first: [u16; 4], last: u16, prefix: u8) -> Self {
        let [a, b, c, d] = first;
        Self { first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, last)), prefix }
    }

    /// Whether every address of its version is in the range.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether an address is in the range. An IPv4 address inside IPv6 (`::ffff:…`) is the IPv4
    /// address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width) = bits_of(address.to_canonical());
        let (first, first_width) = bits_of(self.first);
        width == first_width && (bits ^ first) & mask(self.prefix, width) == 0
    }
}

const fn bits_of(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (address.to_bits() as u128, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The bits that a prefix fixes, in the lowest `width` bits.
const fn mask(prefix: u8, width: u8) -> u128 {
    let host = width - prefix;
    if host >= 128 { 0 } else { !0 << host }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// The address must be the range's first.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let parsed = || {
            let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
            let first: IpAddr = address.parse().ok()?;
            let (bits, width) = bits_of(first);
            let prefix = match text.len() == address.len() {
                true => width,
                false => Some(prefix)
                    .filter(|prefix| prefix.bytes().all(|c| c.is_ascii_digit()))?
                    .parse()
                    .ok()?,
            };
            let exact = prefix <= width && bits & mask(prefix, width) == bits;
            exact.then_some(Self { first, prefix })
        };
        parsed().ok_or_else(|| InvalidNetwork(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_contain_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{network} {outside}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0/8",
            "::/129",
            "fd00::1/8",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "host/8",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(address in any::<u128>(), prefix in 0..=128u8) {
            let first = Ipv6Addr::from_bits(address & mask(prefix, 128));
            let network = Network { first: first.into(), prefix };
            prop_assert_eq!(network.to_string().parse(), Ok(network));
            prop_assert!(network.contains(first.into()) || first.to_ipv4_mapped().is_some());
        }

        #[test]
        fn no_text_panics(text in "[0-9a-f.:/]{0,30}") {
            let _ = text.parse::<Network>();
        }
    }
}
