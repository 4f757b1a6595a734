//! How often an address, or whoever else, may try.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

/// How many are remembered; at the limit those that are free to try again are forgotten first, then
/// all.
const KNOWN_MAX: usize = 10_000;

/// Allows each of them so many tries in a window.
#[derive(Debug)]
pub(crate) struct Limiter<K = IpAddr> {
    tries: u32,
    window: Duration,
    seen: Mutex<HashMap<K, (Duration, u32)>>,
}

impl<K: Eq + Hash> Limiter<K> {
    pub(crate) fn new(tries: u32, window: Duration) -> Self {
        Self { tries, window, seen: Mutex::default() }
    }

    /// Counts a try at `now`; false where it is one too many.
    pub(crate) fn allow(&self, who: K, now: Duration) -> bool {
        let mut seen = self.seen.lock();
        if seen.len() >= KNOWN_MAX && !seen.contains_key(&who) {
            seen.retain(|_, (since, _)| now.saturating_sub(*since) < self.window);
            if seen.len() >= KNOWN_MAX {
                seen.clear();
            }
        }
        let (since, count) = seen.entry(who).or_insert((now, 0));
        if now.saturating_sub(*since) >= self.window {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        *count <= self.tries
    }
}

/// Whoever has one IPv6 address has a network of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped().map(IpAddr::V4);
            mapped.unwrap_or_else(|| Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into())
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_tries_too_often_waits() {
        let limiter = Limiter::new(2, Duration::from_secs(60));
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let at = Duration::from_secs;
        assert!(limiter.allow(a, at(0)) && limiter.allow(a, at(1)));
        assert!(!limiter.allow(a, at(2)));
        assert!(limiter.allow(b, at(2)));
        assert!(limiter.allow(a, at(60)));
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        let allow = |text: &str| limiter.allow(network_of(text.parse().unwrap()), Duration::ZERO);
        assert!(allow("2001:db8::1") && !allow("2001:db8::ffff:2") && allow("2001:db8:0:1::1"));
        assert!(allow("::ffff:10.0.0.1") && allow("::ffff:10.0.0.2"));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        for number in 0..=u32::try_from(KNOWN_MAX).unwrap() {
            assert!(limiter.allow(IpAddr::from(number.to_be_bytes()), Duration::ZERO));
        }
        assert!(limiter.seen.lock().len() <= KNOWN_MAX);
    }
}
