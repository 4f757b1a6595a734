//! Which addresses a call may reach.
//!
//! A private service's URL is written by its operator, but the name in it is resolved by
//! somebody else, and the request's content comes from outside. So addresses, not names, are
//! checked, at the moment of use, and the connection goes to the address that was checked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use strait_types::{Classified, ErrorKind};

use crate::address::Network;

/// Which addresses may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPolicy(Mode);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mode {
    Unrestricted,
    Guarded { networks: Vec<Network>, hosts: Vec<String> },
}

impl EgressPolicy {
    /// Every address: for calls whose address the operator gave to this process for that very
    /// purpose, such as a hub's.
    #[must_use]
    pub const fn unrestricted() -> Self {
        Self(Mode::Unrestricted)
    }

    /// Public addresses; of the others ([`Range`]) those in `networks`, and those that one of
    /// `hosts` resolves to. A host does not open addresses that no host should have: those for
    /// metadata, link-local, multicast, unspecified and reserved ones have to be listed as
    /// networks.
    #[must_use]
    pub fn guarded(networks: Vec<Network>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| canonical(host)).collect();
        Self(Mode::Guarded { networks, hosts })
    }

    /// Decides about a host of a URL that is an address itself; a name is decided about when it
    /// is called, by what it stands for then.
    ///
    /// # Errors
    /// The address may not be reached.
    pub fn check_literal(&self, host: &str) -> Result<(), Denied> {
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match inner.parse() {
            Ok(address) => self.check(inner, address, is_own(address)),
            Err(_) => Ok(()),
        }
    }

    /// Decides about one address of a host. `own` says whether the address is this machine's.
    pub(crate) fn check(&self, host: &str, address: IpAddr, own: bool) -> Result<(), Denied> {
        let Mode::Guarded { networks, hosts } = &self.0 else {
            return Ok(());
        };
        let range = match Range::of(address) {
            Some(range) => range,
            None if own => Range::Own,
            None => return Ok(()),
        };
        let by_host = range.may_be_a_hosts() && hosts.contains(&canonical(host));
        if by_host || networks.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(Denied { host: host.to_owned(), address, range })
    }
}

fn canonical(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// A host resolved to an address that may not be reached. For operators: the text names the
/// address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} resolves to {address}, {range}, which is not allowed")]
pub struct Denied {
    /// The host that was asked for.
    pub host: String,
    /// What it resolved to.
    pub address: IpAddr,
    /// Why that is denied.
    pub range: Range,
}

impl Classified for Denied {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Denied
    }
}

/// What makes an address special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// A cloud's metadata service.
    Metadata,
    /// No address.
    Unspecified,
    /// This machine.
    Loopback,
    /// A private network, shared or unique local addresses included.
    Private,
    /// The link that the machine is on.
    LinkLocal,
    /// Many machines.
    Multicast,
    /// For documentation, translation, tests, or nothing yet.
    Reserved,
    /// An address of this machine.
    Own,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metadata => "a metadata service's address",
            Self::Unspecified => "an unspecified address",
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
            Self::Own => "this machine's own address",
        })
    }
}

/// The IANA special-purpose registries of November 2026 and the clouds' documentation; the first
/// that contains an address decides.
const RANGES: &[(Network, Range)] = &[
    (Network::v4([169, 254, 169, 254], 32), Range::Metadata),
    (Network::v4([169, 254, 170, 2], 32), Range::Metadata),
    (Network::v4([100, 100, 100, 200], 32), Range::Metadata),
    (Network::v4([168, 63, 129, 16], 32), Range::Metadata),
    (Network::v4([192, 0, 0, 192], 32), Range::Metadata),
    (Network::v6([0xfd00, 0x0ec2, 0, 0], 0x254, 128), Range::Metadata),
    (Network::v6([0xfd20, 0x00ce, 0, 0], 0x254, 128), Range::Metadata),
    (Network::v4([0, 0, 0, 0], 8), Range::Unspecified),
    (Network::v4([127, 0, 0, 0], 8), Range::Loopback),
    (Network::v4([10, 0, 0, 0], 8), Range::Private),
    (Network::v4([172, 16, 0, 0], 12), Range::Private),
    (Network::v4([192, 168, 0, 0], 16), Range::Private),
    (Network::v4([100, 64, 0, 0], 10), Range::Private),
    (Network::v4([169, 254, 0, 0], 16), Range::LinkLocal),
    (Network::v4([224, 0, 0, 0], 4), Range::Multicast),
    (Network::v4([240, 0, 0, 0], 4), Range::Reserved),
    (Network::v4([192, 0, 0, 0], 24), Range::Reserved),
    (Network::v4([192, 0, 2, 0], 24), Range::Reserved),
    (Network::v4([198, 51, 100, 0], 24), Range::Reserved),
    (Network::v4([203, 0, 113, 0], 24), Range::Reserved),
    (Network::v4([192, 88, 99, 0], 24), Range::Reserved),
    (Network::v4([198, 18, 0, 0], 15), Range::Reserved),
    (Network::v6([0, 0, 0, 0], 0, 128), Range::Unspecified),
    (Network::v6([0, 0, 0, 0], 1, 128), Range::Loopback),
    (Network::v6([0, 0, 0, 0], 0, 8), Range::Reserved),
    (Network::v6([0x64, 0xff9b, 0, 0], 0, 32), Range::Reserved),
    (Network::v6([0x100, 0, 0, 0], 0, 64), Range::Reserved),
    (Network::v6([0x2001, 0, 0, 0], 0, 23), Range::Reserved),
    (Network::v6([0x2001, 0xdb8, 0, 0], 0, 32), Range::Reserved),
    (Network::v6([0x2002, 0, 0, 0], 0, 16), Range::Reserved),
    (Network::v6([0x3fff, 0, 0, 0], 0, 20), Range::Reserved),
    (Network::v6([0x5f00, 0, 0, 0], 0, 16), Range::Reserved),
    (Network::v6([0xfc00, 0, 0, 0], 0, 7), Range::Private),
    (Network::v6([0xfe80, 0, 0, 0], 0, 10), Range::LinkLocal),
    (Network::v6([0xfec0, 0, 0, 0], 0, 10), Range::Private),
    (Network::v6([0xff00, 0, 0, 0], 0, 8), Range::Multicast),
];

impl Range {
    fn of(address: IpAddr) -> Option<Self> {
        let mut ranges = RANGES.iter();
        let found = ranges.find(|(network, _)| network.contains(address));
        found.map(|(_, range)| *range)
    }

    const fn may_be_a_hosts(self) -> bool {
        matches!(self, Self::Loopback | Self::Private | Self::Own)
    }
}

/// Whether an address is one of this machine's. Asked of the kernel, which tells without sending
/// anything: only an own address can be bound, and only from itself is one reached.
pub(crate) fn is_own(address: IpAddr) -> bool {
    (can_bind(address) && !can_bind(nobodys(address))) || source_for(address) == Some(address)
}

fn can_bind(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// An address for documentation: it can be bound only where everything can
/// (`net.ipv4.ip_nonlocal_bind`), and binding says nothing.
const fn nobodys(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    }
}

fn source_for(address: IpAddr) -> Option<IpAddr> {
    let unspecified = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    // The port does not matter: nothing is sent.
    socket.connect((address, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(address: &str) -> Option<Range> {
        Range::of(address.parse().unwrap())
    }

    #[test]
    fn special_addresses_are_known() {
        for (address, range) in [
            ("0.0.0.0", Range::Unspecified),
            ("0.1.2.3", Range::Unspecified),
            ("127.0.0.1", Range::Loopback),
            ("127.255.255.254", Range::Loopback),
            ("10.1.2.3", Range::Private),
            ("172.31.255.255", Range::Private),
            ("192.168.0.1", Range::Private),
            ("100.127.255.255", Range::Private),
            ("169.254.1.1", Range::LinkLocal),
            ("169.254.169.254", Range::Metadata),
            ("100.100.100.200", Range::Metadata),
            ("168.63.129.16", Range::Metadata),
            ("224.0.0.251", Range::Multicast),
            ("255.255.255.255", Range::Reserved),
            ("198.19.0.1", Range::Reserved),
            ("::", Range::Unspecified),
            ("::1", Range::Loopback),
            ("::7f00:1", Range::Reserved),
            ("::ffff:127.0.0.1", Range::Loopback),
            ("::ffff:169.254.169.254", Range::Metadata),
            ("64:ff9b::7f00:1", Range::Reserved),
            ("64:ff9b:1::1", Range::Reserved),
            ("2002:7f00:1::1", Range::Reserved),
            ("2001:0:1::1", Range::Reserved),
            ("2001:db8::1", Range::Reserved),
            ("fc00::1", Range::Private),
            ("fdff::1", Range::Private),
            ("fd00:ec2::254", Range::Metadata),
            ("fe80::1", Range::LinkLocal),
            ("fec0::1", Range::Private),
            ("ff02::1", Range::Multicast),
        ] {
            assert_eq!(range_of(address), Some(range), "{address}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "11.0.0.1", "2606:4700::1111", "2001:4860::1"] {
            assert_eq!(range_of(public), None, "{public}");
        }
    }

    #[test]
    fn lists_open_what_they_name() {
        let networks = vec!["10.1.0.0/16".parse().unwrap(), "169.254.0.0/16".parse().unwrap()];
        let policy = EgressPolicy::guarded(networks, &["Signer.Internal.".to_owned()]);
        for (host, address, own, allowed) in [
            ("any", "1.1.1.1", false, true),
            ("any", "1.1.1.1", true, false),
            ("any", "10.1.2.3", false, true),
            ("any", "::ffff:10.1.2.3", false, true),
            ("any", "10.2.0.1", false, false),
            ("any", "127.0.0.1", true, false),
            ("signer.internal", "127.0.0.1", true, true),
            ("SIGNER.internal.", "10.2.0.1", false, true),
            ("signer.internal", "1.1.1.1", true, true),
            ("signer.internal", "fd00:ec2::254", false, false),
            ("signer.internal", "fe80::1", false, false),
            ("signer.internal", "224.0.0.1", false, false),
            ("signer.internal", "0.0.0.0", false, false),
            ("any", "169.254.169.254", false, true),
        ] {
            let decided = policy.check(host, address.parse().unwrap(), own);
            assert_eq!(decided.is_ok(), allowed, "{host} {address} {own}");
        }
    }

    #[test]
    fn a_denial_says_why() {
        let policy = EgressPolicy::guarded(Vec::new(), &[]);
        let address = "192.168.1.1".parse().unwrap();
        let denied = policy.check("router", address, false).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "router resolves to 192.168.1.1, a private address, which is not allowed"
        );
        assert!(EgressPolicy::unrestricted().check("router", address, true).is_ok());
    }

    #[test]
    fn a_host_that_is_an_address_is_decided_about_before_it_is_called() {
        let policy = EgressPolicy::guarded(vec!["10.1.0.0/16".parse().unwrap()], &[]);
        for (host, allowed) in [
            ("10.1.2.3", true),
            ("[::ffff:10.1.2.3]", true),
            ("10.2.0.1", false),
            ("[::1]", false),
            ("169.254.169.254", false),
            ("1.1.1.1", true),
            ("name.internal", true),
        ] {
            assert_eq!(policy.check_literal(host).is_ok(), allowed, "{host}");
        }
    }

    #[test]
    fn the_machine_knows_its_own_addresses() {
        assert!(is_own([127, 0, 0, 1].into()));
        assert!(is_own([127, 9, 9, 9].into()));
        // Kept for documentation: nobody's.
        assert!(!is_own([192, 0, 2, 1].into()));
    }
}
