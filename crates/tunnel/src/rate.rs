//! Counting over time: buckets of tokens, and bytes of the last moments.

use std::time::Duration;

/// A token bucket: `rate` a second, `burst` at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: u32,
    burst: u32,
    /// Tokens that are gone, in thousandths, at `at`.
    used: u64,
    at: Duration,
}

impl Bucket {
    pub(crate) const fn new(rate: u32, burst: u32) -> Self {
        Self { rate, burst, used: 0, at: Duration::ZERO }
    }

    fn settle(&mut self, now: Duration) {
        let millis = now.saturating_sub(self.at).as_millis();
        if millis > 0 {
            let back = u64::try_from(millis).unwrap_or(u64::MAX).saturating_mul(self.rate.into());
            self.used = self.used.saturating_sub(back);
            self.at = now;
        }
    }

    /// Whether a token is left.
    pub(crate) fn has(&mut self, now: Duration) -> bool {
        self.settle(now);
        self.used + 1_000 <= u64::from(self.burst) * 1_000
    }

    /// Takes one; false if none was left.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let has = self.has(now);
        if has {
            self.used += 1_000;
        }
        has
    }

    /// Gives one back.
    pub(crate) const fn give(&mut self) {
        self.used = self.used.saturating_sub(1_000);
    }
}

/// Bytes of about the last `WINDOW` milliseconds: of this slot, and of the one before in
/// proportion to what is left of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent<const WINDOW: u32> {
    slot: u32,
    current: u32,
    before: u32,
}

impl<const WINDOW: u32> Recent<WINDOW> {
    fn settle(&mut self, now: Duration) -> u32 {
        // Wraps after 49 days, and counts nothing worse than a busy slot as a quiet one.
        #[expect(clippy::cast_possible_truncation, reason = "wrapping is meant")]
        let millis = now.as_millis() as u32;
        let slot = millis / WINDOW;
        match slot.wrapping_sub(self.slot) {
            0 => {}
            1 => (self.before, self.current) = (self.current, 0),
            _ => (self.before, self.current) = (0, 0),
        }
        self.slot = slot;
        millis % WINDOW
    }

    pub(crate) fn add(&mut self, now: Duration, bytes: usize) {
        self.settle(now);
        self.current = self.current.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    pub(crate) fn bytes(&mut self, now: Duration) -> u64 {
        let into = self.settle(now);
        let before = u64::from(self.before) * u64::from(WINDOW - into) / u64::from(WINDOW);
        u64::from(self.current) + before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(10, 3);
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, at(0)), 3);
        assert_eq!(taken(&mut bucket, at(99)), 0);
        assert_eq!(taken(&mut bucket, at(200)), 2);
        assert_eq!(taken(&mut bucket, at(60_000)), 3);
        assert!(!bucket.has(at(60_000)) && bucket.has(at(60_100)));
        // A clock that stands still or goes back gives nothing.
        assert_eq!(taken(&mut bucket, at(0)), 1);
        bucket.give();
        assert_eq!(taken(&mut bucket, at(60_100)), 1);
        (0..9).for_each(|_| bucket.give());
        assert_eq!(taken(&mut bucket, at(60_100)), 3, "no more than there were");
    }

    #[test]
    fn recent_bytes_fade() {
        let mut recent = Recent::<100>::default();
        recent.add(at(1_000), 1_000);
        assert_eq!(recent.bytes(at(1_050)), 1_000);
        assert_eq!(recent.bytes(at(1_150)), 500);
        recent.add(at(1_150), 7);
        assert_eq!(recent.bytes(at(1_199)), 17);
        assert_eq!(recent.bytes(at(1_200)), 7);
        assert_eq!(recent.bytes(at(1_500)), 0);
    }
}
