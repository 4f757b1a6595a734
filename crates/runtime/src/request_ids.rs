//! Identifiers of requests.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use strait_types::Uid;

use crate::Entropy;

/// Bytes of an identifier.
const BYTES: usize = 16;
/// How many are drawn at once.
const MANY: usize = 32;

/// Makes identifiers that nobody guesses, of random bytes that are drawn for many at once, which
/// saves each request a system call. None of them is a secret: those to come lie in memory, and a
/// copy of the machine would go on with the same ones.
pub struct RequestIds {
    entropy: Arc<dyn Entropy>,
    drawn: Mutex<Drawn>,
}

/// Bytes, and how many of them are left.
struct Drawn([u8; MANY * BYTES], usize);

impl RequestIds {
    /// Has drawn none.
    #[must_use]
    pub const fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, drawn: Mutex::new(Drawn([0; MANY * BYTES], 0)) }
    }

    /// Another one each time.
    #[must_use]
    pub fn next(&self) -> Uid {
        let mut drawn = self.drawn.lock();
        let Drawn(bytes, left) = &mut *drawn;
        if *left == 0 {
            self.entropy.fill(bytes);
            *left = MANY;
        }
        *left -= 1;
        let mut id = [0; BYTES];
        id.copy_from_slice(&bytes[*left * BYTES..][..BYTES]);
        Uid::from_random(id)
    }
}

impl fmt::Debug for RequestIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestIds").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::SeededEntropy;

    #[derive(Debug)]
    struct Counting(SeededEntropy, AtomicUsize);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            self.1.fetch_add(1, Relaxed);
            self.0.fill(bytes);
        }
    }

    #[test]
    fn no_two_are_the_same_and_few_draws_make_many() {
        let entropy = Arc::new(Counting(SeededEntropy::new(5), AtomicUsize::new(0)));
        let ids = RequestIds::new(entropy.clone());
        let made: HashSet<Uid> = (0..10 * MANY + 1).map(|_| ids.next()).collect();
        assert_eq!(made.len(), 10 * MANY + 1);
        assert_eq!(entropy.1.load(Relaxed), 11);
    }

    #[test]
    fn threads_share_none() {
        let ids = Arc::new(RequestIds::new(Arc::new(SeededEntropy::new(5))));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let ids = ids.clone();
                std::thread::spawn(move || (0..1_000).map(|_| ids.next()).collect::<Vec<_>>())
            })
            .collect();
        let made = threads.into_iter().flat_map(|thread| thread.join().unwrap());
        assert_eq!(made.collect::<HashSet<_>>().len(), 4_000);
    }

    #[test]
    fn nothing_to_come_is_shown() {
        let ids = RequestIds::new(Arc::new(SeededEntropy::new(5)));
        assert_eq!(format!("{ids:?}"), "RequestIds { .. }");
    }
}
