//! How long the directions of a stream stood still for want of credit. Pure: time is passed in.

use std::time::Duration;

/// For how long a stream's directions stood still since whoever receives granted nothing more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalled {
    /// What this side sends.
    pub sending: Duration,
    /// What the peer sends, as far as can be seen: it may have had nothing to send.
    pub receiving: Duration,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sending,
    Receiving,
}

/// The stalls of one stream.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    since: [Option<Duration>; 2],
    sums: [Duration; 2],
}

impl Stalls {
    /// No credit is left.
    pub(crate) fn begin(&mut self, way: Way, now: Duration) {
        self.since[way as usize].get_or_insert(now);
    }

    /// There is credit again, or nobody wants any.
    pub(crate) fn end(&mut self, way: Way, now: Duration) {
        if let Some(since) = self.since[way as usize].take() {
            self.sums[way as usize] += now.saturating_sub(since);
        }
    }

    /// It was no stall: there was nothing to send.
    pub(crate) fn forget(&mut self, way: Way) {
        self.since[way as usize] = None;
    }

    /// What has not been taken yet. What goes on begins anew.
    pub(crate) fn take(&mut self, now: Duration) -> Stalled {
        for (since, sum) in self.since.iter_mut().zip(&mut self.sums) {
            if let Some(since) = since {
                *sum += now.saturating_sub(std::mem::replace(since, now));
            }
        }
        let [sending, receiving] = std::mem::take(&mut self.sums);
        Stalled { sending, receiving }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_are_summed_up_and_taken_once() {
        let second = Duration::from_secs;
        let mut stalls = Stalls::default();
        let taken = |stalls: &mut Stalls, now| {
            let Stalled { sending, receiving } = stalls.take(second(now));
            (sending.as_secs(), receiving.as_secs())
        };
        assert_eq!(taken(&mut stalls, 1), (0, 0));
        stalls.begin(Way::Sending, second(1));
        stalls.begin(Way::Sending, second(2));
        stalls.begin(Way::Receiving, second(3));
        stalls.end(Way::Sending, second(4));
        stalls.end(Way::Sending, second(5));
        assert_eq!(taken(&mut stalls, 5), (3, 2));
        assert_eq!(taken(&mut stalls, 9), (0, 4));
        stalls.forget(Way::Receiving);
        assert_eq!(taken(&mut stalls, 20), (0, 0));
    }
}
