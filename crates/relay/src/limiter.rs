//! How often an address may try.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// Addresses remembered; at the limit those that are free to try again are forgotten first, then
/// all.
const ADDRESSES_MAX: usize = 10_000;

/// Allows each address so many tries in a window.
#[derive(Debug)]
pub(crate) struct Limiter {
    tries: u32,
    window: Duration,
    seen: Mutex<HashMap<IpAddr, (Duration, u32)>>,
}

impl Limiter {
    pub(crate) fn new(tries: u32, window: Duration) -> Self {
        Self { tries, window, seen: Mutex::default() }
    }

    /// Counts a try at `now`; false where it is one too many.
    pub(crate) fn allow(&self, address: IpAddr, now: Duration) -> bool {
        let mut seen = self.seen.lock();
        if seen.len() >= ADDRESSES_MAX && !seen.contains_key(&address) {
            seen.retain(|_, (since, _)| now.saturating_sub(*since) < self.window);
            if seen.len() >= ADDRESSES_MAX {
                seen.clear();
            }
        }
        let (since, count) = seen.entry(address).or_insert((now, 0));
        if now.saturating_sub(*since) >= self.window {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= self.tries
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
    fn memory_is_bounded() {
        let limiter = Limiter::new(1, Duration::from_secs(60));
        for number in 0..=u32::try_from(ADDRESSES_MAX).unwrap() {
            assert!(limiter.allow(IpAddr::from(number.to_be_bytes()), Duration::ZERO));
        }
        assert!(limiter.seen.lock().len() <= ADDRESSES_MAX);
    }
}
