//! Directly or inside a WebSocket: what is tried, in which order, and what is remembered of it.

use std::time::Duration;

use crate::link::Carriage;
use crate::services::Transport;

/// How long it is remembered what a hub was reached by.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Direct attempts in a row that have to fail, where one succeeded before, until others are made:
/// a hub that restarts is to be found as it was.
const FAILURES: u32 = 3;

/// What is known of the way to a hub.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    won: Option<(Carriage, Duration)>,
    /// Direct failures since.
    failures: u32,
}

impl Known {
    /// What to try at an address, in this order.
    pub(super) fn order(&self, transport: Transport, now: Duration) -> &'static [Carriage] {
        use Carriage::{Direct, WebSocket};
        let won = self.won.filter(|(_, at)| now.saturating_sub(*at) < KEPT);
        match (transport, won.map(|(carriage, _)| carriage)) {
            (Transport::Tls, _) => &[Direct],
            (Transport::WebSocket, _) => &[WebSocket],
            (Transport::Auto, Some(WebSocket)) => &[WebSocket, Direct],
            (Transport::Auto, Some(Direct)) if self.failures < FAILURES => &[Direct],
            (Transport::Auto, _) => &[Direct, WebSocket],
        }
    }

    /// A connection was made.
    pub(super) const fn won(&mut self, carriage: Carriage, now: Duration) {
        *self = Self { won: Some((carriage, now)), failures: 0 };
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, carriage: Carriage) {
        if carriage == Carriage::Direct {
            self.failures = self.failures.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Carriage::{Direct, WebSocket};
    use super::*;

    #[test]
    fn what_won_is_tried_first_and_alone_while_it_is_likely() {
        let hour = Duration::from_secs(3600);
        let mut known = Known::default();
        let order = |known: &Known, hours: u32| known.order(Transport::Auto, hour * hours);
        assert_eq!(order(&known, 0), [Direct, WebSocket]);
        known.won(WebSocket, hour);
        assert_eq!(order(&known, 2), [WebSocket, Direct]);
        assert_eq!(order(&known, 24), [WebSocket, Direct]);
        assert_eq!(order(&known, 25), [Direct, WebSocket], "a day later");
        known.won(Direct, hour);
        assert_eq!(order(&known, 2), [Direct]);
        known.failed(WebSocket);
        for _ in 0..2 {
            known.failed(Direct);
            assert_eq!(order(&known, 2), [Direct]);
        }
        known.failed(Direct);
        assert_eq!(order(&known, 2), [Direct, WebSocket]);
        known.won(Direct, hour);
        assert_eq!(order(&known, 2), [Direct]);
        assert_eq!(order(&known, 25), [Direct, WebSocket]);
        assert_eq!(known.order(Transport::Tls, hour * 25), [Direct]);
        assert_eq!(known.order(Transport::WebSocket, hour), [WebSocket]);
    }
}
