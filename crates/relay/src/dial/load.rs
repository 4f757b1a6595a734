//! Whether a connection more is needed, and when it is not any longer. Pure: what was seen is passed in.
//!
//! Only what waits at this end is seen: what the hub has to send waits there.

use std::time::Duration;

/// Between two looks.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What waits for longer than this before it is on its way has too few connections.
const SLOW: Duration = Duration::from_millis(50);

/// Looks that have to find all connections slow, 5 s. One that does not takes one back.
const SLOW_LOOKS: u32 = 20;

/// Looks in a row that have to find none slow until one that was added is closed, a minute.
const QUIET_LOOKS: u32 = 240;

/// Most connections.
const CONNECTIONS_MAX: u8 = 8;

/// What was seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Connections beyond those that are configured.
    extra: u8,
    slow: u32,
    quiet: u32,
}

impl Load {
    /// How many connections there are to be where so many are configured; none are added to none.
    pub(super) fn wanted(&self, configured: u8) -> u8 {
        if configured == 0 {
            return 0;
        }
        configured.saturating_add(self.extra).min(CONNECTIONS_MAX.max(configured))
    }

    /// Takes a look: how long what is to be sent waits at each connection that takes streams. Says
    /// nothing of connections that are still to be made, so nothing is added before those are there.
    pub(super) fn look(&mut self, configured: u8, delays: &[Duration]) {
        let are_slow = delays.iter().filter(|delay| **delay > SLOW).count();
        let all_there = delays.len() >= usize::from(self.wanted(configured));
        if are_slow == delays.len() && all_there && are_slow > 0 {
            self.slow += 1;
        } else {
            self.slow = self.slow.saturating_sub(1);
        }
        self.quiet = if are_slow == 0 { self.quiet + 1 } else { 0 };
        if self.slow >= SLOW_LOOKS && self.wanted(configured) < CONNECTIONS_MAX {
            *self = Self { extra: self.extra + 1, ..Self::default() };
        } else if self.quiet >= QUIET_LOOKS {
            *self = Self { extra: self.extra.saturating_sub(1), ..Self::default() };
        }
        self.slow = self.slow.min(SLOW_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = SLOW;
    const LATE: Duration = Duration::from_millis(51);

    #[test]
    fn a_connection_is_added_where_all_are_slow_and_closed_when_none_is() {
        /// How often all of so many connections are seen so, and how many are wanted then.
        type Step = (u32, &'static [Duration], u8);
        let table: &[(u8, &[Step])] = &[
            (2, &[(19, &[LATE, LATE], 2), (1, &[LATE, LATE], 3)]),
            // What was added has to be there, and to be slow too, before there are more.
            (
                2,
                &[
                    (20, &[LATE; 2], 3),
                    (40, &[LATE; 2], 3),
                    (40, &[LATE, LATE, FAST], 3),
                    (20, &[LATE; 3], 4),
                ],
            ),
            // A look or two that find it otherwise do not begin anew.
            (
                2,
                &[
                    (15, &[LATE; 2], 2),
                    (2, &[LATE, FAST], 2),
                    (6, &[LATE; 2], 2),
                    (1, &[LATE; 2], 3),
                ],
            ),
            (2, &[(1_000, &[LATE, FAST], 2), (10_000, &[FAST; 2], 2), (100, &[], 2)]),
            (
                1,
                &[
                    (20, &[LATE], 2),
                    (239, &[FAST; 2], 2),
                    (1, &[LATE, FAST], 2),
                    (239, &[FAST; 2], 2),
                    (1, &[FAST; 2], 1),
                    (240, &[FAST], 1),
                ],
            ),
            (7, &[(20, &[LATE; 7], 8), (100, &[LATE; 8], 8), (240, &[FAST; 8], 7)]),
            (8, &[(100, &[LATE; 8], 8)]),
            (0, &[(100, &[LATE; 2], 0)]),
        ];
        for (configured, steps) in table {
            let mut load = Load::default();
            for (step, (looks, delays, wanted)) in steps.iter().enumerate() {
                for _ in 0..*looks {
                    load.look(*configured, delays);
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
        for _ in 0..SLOW_LOOKS {
            load.look(2, &[LATE; 2]);
        }
        assert_eq!([load.wanted(2), load.wanted(1), load.wanted(8), load.wanted(0)], [3, 2, 8, 0]);
    }
}
