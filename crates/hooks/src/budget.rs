//! Memory for bodies, in bytes: how much all may take together, and how much one client.
//!
//! Pure. A share grows as bytes arrive, never by what was announced, and is given back when it
//! is dropped. A client's part is smaller than the whole, so that none can take it all; it is
//! never less than one body.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use strait_net::client_of;

/// The whole, or the client's part of it, is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory for bodies is spent")]
pub struct Spent;

/// What there is. Clones are the same.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    whole: usize,
    part: usize,
    taken: Mutex<Taken>,
    shown: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    whole: usize,
    /// Only of those that have some.
    clients: HashMap<IpAddr, usize>,
}

impl Budget {
    /// `whole` bytes, of which one client has at most half, or one `body` where that is more.
    /// `shown` says how much is taken.
    #[must_use]
    pub fn new(whole: usize, body: usize, shown: Gauge) -> Self {
        let part = (whole / 2).max(body);
        Self(Arc::new(Inner { whole, part, taken: Mutex::default(), shown }))
    }

    /// A share of a client, with nothing in it.
    pub fn share(&self, client: IpAddr) -> Share {
        Share { budget: self.clone(), client: client_of(client), bytes: 0 }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.taken.lock().whole
    }
}

/// What one body takes, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Share {
    budget: Budget,
    client: IpAddr,
    bytes: usize,
}

impl Share {
    /// Takes as much as is missing to `bytes`.
    ///
    /// # Errors
    /// There is not so much; the share stays as it was.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Spent> {
        let inner = &*self.budget.0;
        let more = bytes.saturating_sub(self.bytes);
        let mut taken = inner.taken.lock();
        let whole = taken.whole.checked_add(more).filter(|whole| *whole <= inner.whole);
        let part = taken.clients.get(&self.client).copied().unwrap_or(0).checked_add(more);
        let part = part.filter(|part| *part <= inner.part);
        let (whole, part) = whole.zip(part).ok_or(Spent)?;
        taken.whole = whole;
        taken.clients.insert(self.client, part);
        self.bytes += more;
        inner.show(&taken);
        Ok(())
    }

    /// Gives everything back.
    pub fn give_back(&mut self) {
        let mut taken = self.budget.0.taken.lock();
        taken.whole -= self.bytes;
        if let Entry::Occupied(mut part) = taken.clients.entry(self.client) {
            *part.get_mut() -= self.bytes;
            if *part.get() == 0 {
                part.remove();
            }
        }
        self.bytes = 0;
        self.budget.0.show(&taken);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Inner {
    fn show(&self, taken: &Taken) {
        self.shown.set(i64::try_from(taken.whole).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn nobody_takes_more_than_there_is_or_than_its_part() {
        let shown = Gauge::default();
        let budget = Budget::new(100, 10, shown.clone());
        let one = budget.share(address(1));
        let also_one = budget.share("::ffff:192.0.2.1".parse().unwrap());
        let mut shares = [one, also_one, budget.share(address(2))];
        for (share, bytes, result, taken) in [
            (0, 30, Ok(()), 30),
            (0, 20, Ok(()), 30),
            (1, 21, Err(Spent), 30),
            (1, 20, Ok(()), 50),
            (0, 31, Err(Spent), 50),
            (2, usize::MAX, Err(Spent), 50),
            (2, 50, Ok(()), 100),
        ] {
            assert_eq!(shares[share].grow(bytes), result, "{share} {bytes}");
            assert_eq!(budget.taken(), taken, "{share} {bytes}");
        }
        assert_eq!(shown.get(), 100);
        let [one, also_one, two] = shares;
        assert_eq!(budget.share(address(3)).grow(1), Err(Spent), "the whole is taken");
        drop(two);
        assert_eq!(budget.taken(), 50);
        drop((one, also_one));
        assert_eq!((budget.taken(), shown.get()), (0, 0));
        assert!(budget.0.taken.lock().clients.is_empty());
    }

    #[test]
    fn one_body_always_fits() {
        let mut share = Budget::new(100, 90, Gauge::default()).share(address(1));
        assert_eq!(share.grow(90), Ok(()));
    }
}
