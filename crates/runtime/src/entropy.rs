//! Randomness, passed in.

use parking_lot::Mutex;

/// A source of unpredictable bytes.
pub trait Entropy: Send + Sync + std::fmt::Debug + 'static {
    /// Fills the whole buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// Sixteen random bytes: what every id of ours takes.
pub fn random_16(entropy: &dyn Entropy) -> [u8; 16] {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes
}

/// A random share of a whole, from 0 to 1.
pub fn random_share(entropy: &dyn Entropy) -> f64 {
    let mut draw = [0; 4];
    entropy.fill(&mut draw);
    f64::from(u32::from_le_bytes(draw)) / f64::from(u32::MAX)
}

/// The kernel's generator (`getrandom(2)`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the kernel has no generator: nothing of ours is safe to run then.
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            let flags = rustix::rand::GetRandomFlags::empty();
            match rustix::rand::getrandom(&mut bytes[filled..], flags) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("the kernel gives no random bytes: {error}"),
            }
        }
    }
}

/// A repeatable sequence for tests (SplitMix64). Never for secrets.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<u64>);

impl SeededEntropy {
    /// Starts the sequence that belongs to `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.0.lock();
        for chunk in bytes.chunks_mut(8) {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = *state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(entropy: &dyn Entropy, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        entropy.fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_kernel_fills_the_whole_buffer_differently_each_time() {
        // 4 KiB: more than one getrandom call may give. A zero run of 16 has odds of 2^-116.
        let bytes = drawn(&SystemEntropy, 4096);
        assert!(bytes.windows(16).all(|window| window != [0; 16]));
        assert_ne!(random_16(&SystemEntropy), random_16(&SystemEntropy));
        assert!(drawn(&SystemEntropy, 0).is_empty());
    }

    #[test]
    fn a_seed_repeats_its_sequence_and_no_other() {
        let first = drawn(&SeededEntropy::new(7), 37);
        assert_eq!(drawn(&SeededEntropy::new(7), 37), first);
        assert_ne!(drawn(&SeededEntropy::new(8), 37), first);
        // SplitMix64's published first output for seed 0 is 0xe220a8397b1dcdaf.
        let known = drawn(&SeededEntropy::new(0), 8);
        assert_eq!(known, 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn the_sequence_goes_on_between_calls() {
        let entropy = SeededEntropy::new(1);
        assert_ne!(drawn(&entropy, 8), drawn(&entropy, 8));
    }
}
