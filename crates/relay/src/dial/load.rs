//! Whether a connection more is needed, and when it is not any longer. Pure: what was seen is passed in.
//!
//! Of what the hub sends it is seen how much comes, not how much waits there. Streams stay on the
//! connection where they began, so where one carries little, as over a long line, there are more from the
//! beginning.

use std::time::Duration;

/// Between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Where what is to be sent waits for longer than this before it is on its way, a connection is full.
const SLOW: Duration = Duration::from_millis(50);

/// Where more than this is on its way, it is full too, whatever the line could carry: machines let
/// few MiB of one TCP connection be (Linux: less than the 4 of `tcp_wmem`, half of the 6 of
/// `tcp_rmem`). Bytes.
const MUCH: u64 = 1 << 20;

/// Looks that have to find all connections full, 2 s. One that does not takes one back.
const FULL_LOOKS: u32 = 8;

/// Looks in a row that have to find none full until one that was added is closed, a minute.
const QUIET_LOOKS: u32 = 240;

/// A hub is far away from here on: the MiB that machines let one TCP connection have on its way are less
/// then than a line of 1 Gbit/s carries. So many connections there are to one, at least.
const FAR: Duration = Duration::from_millis(20);
const CONNECTIONS_FAR: u8 = 4;

/// Most connections.
const CONNECTIONS_MAX: u8 = 8;

/// What was seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    is_far: bool,
    /// Connections beyond those that there are without load.
    extra: u8,
    full: u32,
    quiet: u32,
}

/// What is seen of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy {
    /// How long what is to be sent waits before it is on its way.
    pub(super) delay: Duration,
    /// Bytes that are, the way that more go.
    pub(super) on_its_way: u64,
    /// The smallest round trip, once one was measured.
    pub(super) nearest: Option<Duration>,
}

impl Busy {
    fn is_full(&self) -> bool {
        self.delay > SLOW || self.on_its_way > MUCH
    }
}

impl Load {
    /// How many connections there are to be where so many are configured; none are added to none.
    pub(super) fn wanted(&self, configured: u8) -> u8 {
        if configured == 0 {
            return 0;
        }
        self.unloaded(configured).saturating_add(self.extra).min(CONNECTIONS_MAX.max(configured))
    }

    /// The same where none was ever full.
    fn unloaded(&self, configured: u8) -> u8 {
        if self.is_far { configured.max(CONNECTIONS_FAR) } else { configured }
    }

    /// Takes a look at the connections that take streams. Nothing is seen of those that are still
    /// to be made, so nothing is added before they are there.
    pub(super) fn look(&mut self, configured: u8, busy: &[Busy]) {
        if let Some(nearest) = busy.iter().filter_map(|one| one.nearest).min() {
            self.is_far = nearest > FAR;
        }
        let are_full = busy.iter().filter(|one| one.is_full()).count();
        let all_there = busy.len() >= usize::from(self.wanted(configured));
        if are_full == busy.len() && all_there && are_full > 0 {
            self.full += 1;
        } else {
            self.full = self.full.saturating_sub(1);
        }
        self.quiet = if are_full == 0 { self.quiet + 1 } else { 0 };
        let wanted = self.wanted(configured);
        if self.full >= FULL_LOOKS && wanted < CONNECTIONS_MAX {
            // As many again: streams do not move, so only those of later find room there.
            let most = CONNECTIONS_MAX - self.unloaded(configured);
            self.begin_anew(self.extra.saturating_add(wanted).min(most));
        } else if self.quiet >= QUIET_LOOKS {
            self.begin_anew(self.extra.saturating_sub(1));
        }
        self.full = self.full.min(FULL_LOOKS);
    }

    fn begin_anew(&mut self, extra: u8) {
        *self = Self { is_far: self.is_far, extra, ..Self::default() };
    }
}

/// Which of the connections, of which some are idle, is to end where so many are wanted: the last
/// one if fewer were told, which streams have their time for; else one that carries nothing, since
/// what carries something is needed still.
pub(super) fn surplus(
    idle: impl ExactSizeIterator<Item = bool> + DoubleEndedIterator,
    wanted: usize,
    is_told: bool,
) -> Option<usize> {
    let mut all = idle.enumerate().rev();
    if all.len() <= wanted {
        return None;
    }
    all.find(|(_, is_idle)| is_told || *is_idle).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_needed_ends_where_it_carries_nothing() {
        for (idle, wanted, is_told, expected) in [
            (&[true, true][..], 2, false, None),
            (&[true, true], 1, false, Some(1)),
            (&[true, false], 1, false, Some(0)),
            (&[false, false], 1, false, None),
            (&[false, false], 1, true, Some(1)),
            (&[false, false], 0, true, Some(1)),
            (&[], 0, true, None),
        ] {
            let found = surplus(idle.iter().copied(), wanted, is_told);
            assert_eq!(found, expected, "{idle:?} {wanted} {is_told}");
        }
    }

    const FAST: Busy = Busy { delay: SLOW, on_its_way: MUCH, nearest: Some(FAR) };
    const LATE: Busy = Busy { delay: Duration::from_millis(51), on_its_way: 0, nearest: None };
    /// A line is full of it.
    const LONG: Busy = Busy { delay: Duration::ZERO, on_its_way: MUCH + 1, nearest: None };
    /// To a hub that is far away.
    const QUIET: Busy =
        Busy { delay: Duration::ZERO, on_its_way: 0, nearest: Some(Duration::from_millis(21)) };
    const FULL: Busy = Busy { on_its_way: MUCH + 1, ..QUIET };

    #[test]
    fn a_connection_is_added_where_all_are_full_and_closed_when_none_is() {
        /// How often all of so many connections are seen so, and how many are wanted then.
        type Step = (u32, &'static [Busy], u8);
        let table: &[(u8, &[Step])] = &[
            (2, &[(7, &[LATE, LATE], 2), (1, &[LONG, LATE], 4)]),
            (2, &[(7, &[LONG, LONG], 2), (1, &[LONG, LONG], 4), (100, &[LONG, FAST], 4)]),
            // What was added has to be there, and to be full too, before there are more.
            (
                2,
                &[
                    (8, &[LATE; 2], 4),
                    (40, &[LATE; 3], 4),
                    (40, &[LATE, LATE, FAST, LATE], 4),
                    (8, &[LATE; 4], 8),
                ],
            ),
            // A look or two that find it otherwise do not begin anew.
            (
                2,
                &[
                    (6, &[LATE; 2], 2),
                    (2, &[LATE, FAST], 2),
                    (3, &[LATE; 2], 2),
                    (1, &[LATE; 2], 4),
                ],
            ),
            (2, &[(1_000, &[LATE, FAST], 2), (10_000, &[FAST; 2], 2), (100, &[], 2)]),
            (
                1,
                &[
                    (8, &[LATE], 2),
                    (239, &[FAST; 2], 2),
                    (1, &[LATE, FAST], 2),
                    (239, &[FAST; 2], 2),
                    (1, &[FAST; 2], 1),
                    (240, &[FAST], 1),
                ],
            ),
            (7, &[(8, &[LATE; 7], 8), (100, &[LATE; 8], 8), (240, &[FAST; 8], 7)]),
            (8, &[(100, &[LATE; 8], 8)]),
            (0, &[(100, &[LATE; 2], 0)]),
            // Far away there are four from the first measurement on, and more where those are full.
            (2, &[(1, &[LATE, QUIET], 4), (9, &[], 4), (7, &[FULL; 4], 4), (1, &[FULL; 4], 8)]),
            (1, &[(240, &[QUIET], 4), (8, &[FULL; 4], 8), (240, &[QUIET; 8], 7)]),
            (6, &[(1, &[QUIET; 6], 6), (8, &[FULL; 6], 8)]),
            (0, &[(1, &[QUIET], 0)]),
            // One that is near says that the first measurements were of a busy moment.
            (2, &[(1, &[QUIET; 2], 4), (1, &[QUIET, QUIET, FAST, QUIET], 2)]),
        ];
        for (configured, steps) in table {
            let mut load = Load::default();
            for (step, (looks, busy, wanted)) in steps.iter().enumerate() {
                for _ in 0..*looks {
                    load.look(*configured, busy);
                }
                assert_eq!(
                    load.wanted(*configured),
                    *wanted,
                    "{configured} configured, step {step}"
                );
            }
        }
    }

    #[test]
    fn fewer_that_are_configured_are_fewer() {
        let mut load = Load::default();
        for _ in 0..FULL_LOOKS {
            load.look(2, &[LATE; 2]);
        }
        assert_eq!([load.wanted(2), load.wanted(1), load.wanted(8), load.wanted(0)], [4, 3, 8, 0]);
    }
}
