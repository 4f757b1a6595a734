//! Heartbeats to the agents that backends are behind, by the way that webhooks take, and what is
//! known of agents that come back.
//!
//! An agent answers a heartbeat itself and passes it to nobody: one that comes back proves all of
//! the way but its last step, which is the service's to prove. When an agent comes, or a heartbeat
//! comes back after one that did not, what waits for the backend is tried at once.
//!
//! Limits: one heartbeat of a backend at a time, every [`EVERY`], each at most as long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::Shared;
use super::lane::{Ending, Lane};
use super::outlet::Outlet;

/// Path that an agent answers with 204 for each of its services, and passes on to none.
pub const HEARTBEAT_PATH: &str = "/.well-known/strait/heartbeat";

/// Between two heartbeats.
const EVERY: Duration = Duration::from_secs(10);

/// A heartbeat that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// When it did.
    pub at: Timestamp,
    /// How long it was under way.
    pub took: Duration,
}

/// What is known of the way to a service behind an agent.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    offered: Option<u64>,
    under_way: bool,
    failing: bool,
    last: Option<Heartbeat>,
}

impl Pulse {
    /// The last heartbeat that came back.
    pub(super) fn last(&self) -> Option<Heartbeat> {
        self.0.lock().last
    }

    /// Whether what is offered now is another offer than before.
    pub(super) fn offered(&self, now: Option<u64>) -> bool {
        let mut known = self.0.lock();
        let before = std::mem::replace(&mut known.offered, now);
        now.is_some() && before != now
    }

    /// Whether a heartbeat may begin.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.0.lock().under_way, true)
    }

    /// One ended. Whether it came back after one that did not.
    fn ended(&self, beat: Option<Heartbeat>) -> bool {
        let mut known = self.0.lock();
        known.under_way = false;
        known.last = beat.or(known.last);
        std::mem::replace(&mut known.failing, beat.is_none()) && beat.is_some()
    }
}

/// Sends heartbeats and hears of agents that come, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut changes = shared.options.carrier.as_ref().map(|carrier| carrier.changes());
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beats = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                hear(&shared);
                let lanes = shared.intake.lanes();
                beats.extend(lanes.iter().map(|lane| beat(shared.clone(), lane.clone())));
            }
            () = changed(&mut changes) => {
                let came = hear(&shared);
                beats.extend(came.into_iter().map(|lane| beat(shared.clone(), lane)));
            }
            Some(()) = beats.next(), if !beats.is_empty() => {}
        }
    }
}

/// Wakes the backends whose agents came to the hub around since this was asked: these.
fn hear(shared: &Shared) -> Vec<Arc<Lane>> {
    let lanes = shared.intake.lanes();
    let came = lanes.iter().filter(|lane| lane.outlet.is_offered_anew());
    let woken = came.inspect(|lane| {
        tracing::info!(backend = lane.name(), "its agent came");
        lane.wake(shared.clock().monotonic());
    });
    woken.cloned().collect()
}

/// Waits for agents that come; for ever where there is no hub around.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = changes
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// One heartbeat, if it has a way to prove.
async fn beat(shared: Arc<Shared>, lane: Arc<Lane>) {
    let outlet = &lane.outlet;
    let Some(pulse) = &outlet.pulse else { return };
    if lane.ending() != Ending::Open || !pulse.begin() {
        return;
    }
    let begun = shared.clock().monotonic();
    let came_back = exchange(outlet).await;
    // Another has its name by now, or nobody.
    if lane.ending() != Ending::Open {
        return;
    }
    let took = shared.clock().monotonic().saturating_sub(begun);
    let beat = came_back.then(|| Heartbeat { at: shared.clock().now(), took });
    outlet.metrics.beat(beat.map(|beat| beat.took));
    outlet.heard(came_back);
    if pulse.ended(beat) {
        tracing::info!(backend = lane.name(), "its agent answers again");
        lane.wake(shared.clock().monotonic());
    }
}

async fn exchange(outlet: &Outlet) -> bool {
    let Some(to) = outlet.backend.address.service() else { return false };
    let mut request = Request::new(Bytes::new());
    // As webhooks, so that it needs the same rights.
    *request.method_mut() = Method::POST;
    *request.uri_mut() = to.at(&PathAndQuery::from_static(HEARTBEAT_PATH)).into();
    let answer = outlet.exchange(request, outlet.backend.timeout.min(EVERY)).await;
    let backend = &*outlet.backend.name;
    match answer {
        Ok(answer) if answer.status == StatusCode::NO_CONTENT => return true,
        Ok(answer) => {
            let status = answer.status.as_u16();
            tracing::debug!(backend, status, "a heartbeat did not come back");
        }
        Err(error) => {
            let err = strait_types::Report(&error).to_string();
            tracing::debug!(backend, err, "a heartbeat did not come back");
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_counts_once_and_so_does_coming_back() {
        let pulse = Pulse::default();
        for (now, anew) in [
            (None, false),
            (Some(1), true),
            (Some(1), false),
            (None, false),
            (Some(1), true),
            (Some(2), true),
        ] {
            assert_eq!(pulse.offered(now), anew, "{now:?}");
        }
        let beat = Heartbeat { at: Timestamp::UNIX_EPOCH, took: Duration::from_millis(3) };
        for (ended, again) in [
            (Some(beat), false),
            (None, false),
            (None, false),
            (Some(beat), true),
            (Some(beat), false),
        ] {
            assert!(pulse.begin() && !pulse.begin());
            assert_eq!(pulse.ended(ended), again);
            assert_eq!(pulse.last(), Some(beat));
        }
    }
}
