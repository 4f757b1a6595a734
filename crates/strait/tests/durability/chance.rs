//! Random choices that a seed repeats.

use strait_runtime::{Entropy as _, SystemEntropy};

/// A stream of choices (xorshift64*, Vigna 2014).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// A new one, whose seed is printed.
    pub(crate) fn new() -> Self {
        let mut seed = [0; 8];
        SystemEntropy.fill(&mut seed);
        let seed = u64::from_le_bytes(seed) | 1;
        println!("seed {seed:#x}");
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).unwrap() % limit
    }
}
