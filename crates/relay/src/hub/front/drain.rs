//! The end of the hub, for what it carries.

use std::time::Duration;

use super::Front;
use crate::hub::ending::{FAREWELL, TEXT, is_long};
use crate::message::{Aborter, Failure};

/// How often it is looked whether anything is left.
const LOOK: Duration = Duration::from_millis(50);

/// What agents have for the last of their connections to be seen to end.
const SEEN: Duration = Duration::from_secs(1);

impl Front {
    /// Waits until all that is carried has ended, and cuts what does not in its time. Nothing new
    /// is taken meanwhile: the shutdown was asked for.
    pub async fn drain(&self) {
        let limit = self.tunnels.ending().of_connections() + SEEN;
        drop(tokio::time::timeout(limit, self.until_idle()).await);
    }

    async fn until_idle(&self) {
        let (began, ending) = (self.context.clock.monotonic(), self.tunnels.ending());
        let mut looked_at = 0;
        while !self.is_idle() {
            let past = self.context.clock.monotonic().saturating_sub(began);
            // Once a second: there may be many.
            if past >= ending.grace && looked_at <= past.as_secs() {
                looked_at = past.as_secs() + 1;
                self.cut_due(past);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// A client that reads nothing is not waited for: its stream is there until it does.
    fn is_idle(&self) -> bool {
        let cut_before = self.context.clock.monotonic().saturating_sub(FAREWELL);
        self.live.are_cut(cut_before)
            && self.tunnels.count() == 0
            && self.tunnels.calls().is_empty()
    }

    /// Cuts the streams whose time is over, so long after the end began.
    fn cut_due(&self, past: Duration) {
        let (now, ending) = (self.context.clock.monotonic(), self.tunnels.ending());
        for (id, open) in self.live.all() {
            if open.cut_since().is_none()
                && ending.of(is_long(open.recorded.kind, open.status()), id) <= past
            {
                open.cut(now, Failure::Aborted(Aborter::Hub), TEXT);
            }
        }
        for (id, calling) in self.tunnels.calls().all() {
            if calling.cut_since().is_none()
                && ending.of(is_long(calling.recorded.kind, calling.progress.status()), id) <= past
            {
                calling.cut(now, TEXT);
            }
        }
    }
}
