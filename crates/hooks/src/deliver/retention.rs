//! What the log need not hold any longer.
//!
//! Events that every backend has are kept for a while, others for longer; both give way when the
//! log is larger than it may be, the oldest first. The log removes whole segments, never the
//! newest, so it may hold more. What is removed before a backend had it is counted and told.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Shared;
use super::repair::received;
use crate::config::Retention;
use crate::event::Position;
use crate::state::Change;

/// Ticks between two looks at how old events are.
pub(super) const TICKS: u64 = 60;

/// What there is.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The oldest event of the log.
    floor: u64,
    /// The newest.
    head: u64,
    /// All up to this one are settled at every backend.
    low_water: u64,
}

/// The first position that is still wanted. `received` says when events were, which is in the
/// order of their positions; none for what cannot be read.
fn keep_from(
    there: Span,
    retention: &Retention,
    now: Timestamp,
    received: impl Fn(u64) -> Option<Timestamp>,
) -> u64 {
    let older_than = |age| {
        let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        let Ok(limit) = now.checked_sub(age) else {
            return there.floor;
        };
        let (mut low, mut high) = (there.floor, there.head + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if received(middle).is_some_and(|at| at <= limit) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    };
    let settled = older_than(retention.delivered).min(there.low_water.saturating_add(1));
    settled.max(older_than(retention.undelivered)).max(there.floor)
}

/// Whether the log is larger than it may be, and something of it can be removed.
pub(super) fn is_over(shared: &Shared) -> bool {
    let log = &shared.keep().log;
    log.bytes() > shared.disk && log.second_floor().is_some()
}

/// Removes what need not be kept.
pub(super) async fn tend(shared: &Arc<Shared>) {
    let blocking = shared.clone();
    let removed = tokio::task::spawn_blocking(move || remove(&blocking)).await;
    let result = match removed {
        Ok(Ok(Some(floor))) => {
            shared.clone().record(vec![Change::Forgotten { before: floor }]).await
        }
        Ok(Ok(None)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(panic) => Err(std::io::Error::other(panic).into()),
    };
    if let Err(error) = result {
        let err = strait_types::Report(&error).to_string();
        tracing::error!(err, "cannot remove old webhooks");
    }
}

/// The log's new beginning, if there is one.
fn remove(shared: &Shared) -> std::io::Result<Option<Position>> {
    let kept = shared.keep();
    let before = kept.log.floor();
    let lanes = shared.intake.lanes();
    let low_water = kept.state.read(|table| {
        let lows = lanes.iter().filter_map(|lane| table.low_water(lane.id));
        lows.map(|low| low.0).min().unwrap_or(u64::MAX)
    });
    let there = Span { floor: before.0, head: kept.log.head().0, low_water };
    let now = shared.clock().now();
    let from = keep_from(there, &shared.retention, now, |at| received(kept, Position(at)));
    kept.log.remove_below(Position(from))?;
    let by_age = kept.log.floor();
    tell_dropped(shared, before, by_age, "age");
    while kept.log.bytes() > shared.disk {
        let Some(second) = kept.log.second_floor() else {
            break;
        };
        kept.log.remove_below(second)?;
    }
    let after = kept.log.floor();
    tell_dropped(shared, by_age, after, "disk");
    Ok((after > before).then_some(after))
}

/// Tells of what a backend had still to get of what was removed.
fn tell_dropped(shared: &Shared, from: Position, to: Position, reason: &'static str) {
    if from == to {
        return;
    }
    for lane in shared.intake.lanes().iter() {
        let last = Position(to.0 - 1);
        let count: u64 = shared.keep().state.read(|table| {
            let runs = table.unsettled(lane.id, last);
            runs.map(|(first, last)| (last.0 + 1).saturating_sub(first.0.max(from.0))).sum()
        });
        if count > 0 {
            shared.metrics.dropped(lane.name(), reason, count);
            tracing::error!(
                backend = lane.name(),
                count,
                reason,
                "webhooks were removed before they were delivered"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: u64 = 3_600;

    #[test]
    fn what_is_old_goes_when_it_is_settled_and_what_is_older_always() {
        let retention = Retention {
            delivered: Duration::from_secs(72 * HOUR),
            undelivered: Duration::from_secs(168 * HOUR),
        };
        // One event each hour, from position 1 on.
        let hour = |at: u64| Timestamp::from_second((at * HOUR).cast_signed()).unwrap();
        for (floor, head, low_water, now, expected) in [
            (1, 50, 50, 60, 1),
            (1, 100, 100, 100, 29),
            (1, 100, 10, 100, 11),
            (1, 100, 0, 100, 1),
            (1, 200, 0, 200, 33),
            (1, 200, 20, 200, 33),
            (1, 200, u64::MAX, 200, 129),
            (40, 200, 10, 200, 40),
            (1, 10, u64::MAX, 1_000, 11),
            // Nothing is there.
            (11, 10, u64::MAX, 1_000, 11),
            // The clock was set back.
            (1, 100, 100, 3, 1),
        ] {
            let there = Span { floor, head, low_water };
            let got = keep_from(there, &retention, hour(now), |at| Some(hour(at)));
            assert_eq!(got, expected, "{there:?} {now}");
        }
    }
}
