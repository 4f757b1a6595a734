//! What answers of all connections hold that their clients have not taken, and how much one may.
//!
//! Each may hold a part of what is left of the whole (dynamic thresholds: Choudhury and Hahne,
//! IEEE/ACM Transactions on Networking 6(2), 1998): plenty while few wait, and less the more there
//! are, so that nobody has to be refused and the whole is not exceeded but by what comes at once.

use prometheus_client::metrics::gauge::Gauge;

use crate::server::Limits;

/// An answer may hold what is left of the whole, divided by this.
const PARTS: u64 = 256;

/// Less than this no answer is kept to: a little less than a piece of a body, so that it is one.
/// Bytes.
const LEAST: u64 = 15 << 10;

/// What one connection's answers hold; dropped, they hold nothing.
#[derive(Debug)]
pub(super) struct Waiting {
    /// What all hold, bytes.
    all: Gauge,
    own: usize,
    /// What one may hold, and all together.
    limits: (u32, u64),
}

impl Waiting {
    /// Of a connection that is new.
    pub(super) const fn new(all: Gauge, limits: &Limits) -> Self {
        Self { all, own: 0, limits: (limits.buffer, limits.buffers) }
    }

    /// So many bytes wait now.
    pub(super) fn are(&mut self, bytes: usize) {
        if bytes != self.own {
            self.all.inc_by(signed(bytes) - signed(self.own));
            self.own = bytes;
        }
    }

    /// How many bytes may wait now.
    pub(super) fn limit(&self) -> usize {
        let (most, whole) = self.limits;
        let all = u64::try_from(self.all.get()).unwrap_or(0);
        let part = whole.saturating_sub(all) / PARTS;
        usize::try_from(part.max(LEAST).min(most.into())).unwrap_or(usize::MAX)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.are(0);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_wait_the_less_each_may_and_all_hold_no_more_than_the_whole() {
        const WHOLE: u64 = 64 << 20;
        let limits = Limits { buffer: 128 << 10, buffers: WHOLE, ..Limits::default() };
        let all = Gauge::default();
        let mut waiting = Vec::new();
        for (clients, kib) in [(0, 128..=128), (256, 127..=128), (512, 45..=50), (1_000, 15..=15)] {
            while waiting.len() < clients {
                let mut new = Waiting::new(all.clone(), &limits);
                new.are(new.limit());
                waiting.push(new);
            }
            let limit = Waiting::new(all.clone(), &limits).limit();
            assert!(kib.contains(&(limit >> 10)), "{clients}: {limit}");
            assert!(u64::try_from(all.get()).unwrap() <= WHOLE, "{clients}");
        }
        for (now, expected) in [(0, 128), (1 << 20, 128), (5, 128)] {
            waiting.truncate(1);
            waiting[0].are(now);
            assert_eq!(all.get(), signed(now));
            assert_eq!(waiting[0].limit() >> 10, expected);
        }
        waiting.clear();
        assert_eq!(all.get(), 0);
    }
}
