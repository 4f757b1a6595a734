//! Connections of each address, counted: so many at most, or no more than are left for others, so that
//! whoever fills a server alone fills half of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which one client
/// has to itself.
#[must_use]
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        address => address,
    }
}

/// Whether a client is a program on this machine; those of a Unix socket have no address.
fn is_local(client: IpAddr) -> bool {
    client.is_loopback() || client.is_unspecified()
}

/// How many connections each client has.
pub(crate) struct Peers {
    /// None: as many as are free.
    most: Option<u32>,
    /// Those of all clients, each with its permit when it enters.
    connections: Arc<Semaphore>,
    /// Only those that have some.
    open: Mutex<HashMap<IpAddr, u32>>,
}

impl Peers {
    pub(crate) fn new(most: Option<u32>, connections: Arc<Semaphore>) -> Arc<Self> {
        Arc::new(Self { most, connections, open: Mutex::default() })
    }

    /// One more connection of an address, which has its permit, unless it has too many. This
    /// machine's own programs have no share, but all.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let free = u32::try_from(self.connections.available_permits() + 1).unwrap_or(u32::MAX);
        let share = if is_local(client) { u32::MAX } else { free };
        let mut open = self.open.lock();
        let count = open.entry(client).or_default();
        if *count >= self.most.unwrap_or(share) {
            return None;
        }
        *count += 1;
        Some(Place { peers: self.clone(), client })
    }
}

/// A connection that counts while it lives.
pub(crate) struct Place {
    peers: Arc<Peers>,
    client: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.peers.open.lock().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_places_and_gets_them_back() {
        let peers = Peers::new(Some(1), Arc::new(Semaphore::new(100)));
        let enter = |text: &str| peers.enter(text.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        for (address, free) in [
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
        ] {
            assert_eq!(enter(address).is_some(), free, "{address}");
        }
        let other = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff:2").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        drop((first, other));
        assert!(peers.open.lock().is_empty());
        assert!(enter("192.0.2.1").is_some());
    }

    #[test]
    fn a_client_leaves_as_many_places_free_as_it_has() {
        let connections = Arc::new(Semaphore::new(16));
        let peers = Peers::new(None, connections.clone());
        let enter = |text: &str| {
            let permit = connections.clone().try_acquire_owned().ok()?;
            Some((peers.enter(text.parse().unwrap())?, permit))
        };
        let mut held = Vec::new();
        let mut fill = |text: &str| {
            let before = held.len();
            held.extend(std::iter::from_fn(|| enter(text)));
            held.len() - before
        };
        for (address, taken) in [
            ("192.0.2.1", 8),
            ("192.0.2.1", 0),
            ("2001:db8::1", 4),
            ("2001:db8::2", 0),
            ("192.0.2.3", 2),
            ("192.0.2.4", 1),
            ("192.0.2.5", 1),
            ("127.0.0.1", 0),
        ] {
            assert_eq!(fill(address), taken, "{address}");
        }
        held.clear();
        for address in ["127.0.0.1", "::1", "::"] {
            held.extend((0..5).map(|_| enter(address).unwrap()));
        }
        assert_eq!(held.len(), 15);
    }
}
