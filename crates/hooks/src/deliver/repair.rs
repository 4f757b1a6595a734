//! What an operator, or a sender that sends again, asks for; and how the backends are doing.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::heartbeat::Pulse;
use super::lane::Lane;
use super::{DeliverError, Deliveries, Kept, Shared, Status};
use crate::event::Position;
use crate::state::{Became, Change};

/// Ticks between two looks at how the backends are doing, for the metrics.
pub(super) const SHOW_TICKS: u64 = 10;

impl Deliveries {
    /// Tries anew what is a dead letter of an event, as when its sender sends it again. At how
    /// many backends.
    pub async fn redrive(&self, position: Position) -> usize {
        let Some(kept) = &self.0.keep else {
            return 0;
        };
        // What is found dead stays so until it is recorded and waits: nobody else tries it anew,
        // and its lane is not replaced.
        let _applying = self.0.applying.lock().await;
        let is_dead = |lane: &Arc<Lane>| {
            let became = kept.state.read(|table| table.became(lane.id, position));
            matches!(became, Some(Became::Dead { .. }))
        };
        let lanes: Vec<_> = self.0.intake.lanes().iter().filter(|l| is_dead(l)).cloned().collect();
        let changes: Vec<_> = lanes.iter().map(|lane| self.anew(lane, position)).collect();
        if changes.is_empty() {
            return 0;
        }
        if let Err(error) = self.0.clone().record(changes).await {
            let err = strait_types::Report(&error).to_string();
            tracing::error!(err, "cannot try dead letters anew");
            return 0;
        }
        lanes.iter().for_each(|lane| lane.push_runs([(position, position)]));
        lanes.len()
    }

    /// Tries events anew at backends, whatever became of them there, unless they wait already.
    /// Filters count. Returns how many will be tried; positions that are not in the log and names
    /// that nobody has are passed over.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub async fn replay(
        &self,
        backends: &[Arc<str>],
        positions: &[Position],
    ) -> Result<usize, DeliverError> {
        let kept = self.0.kept()?;
        let _applying = self.0.applying.lock().await;
        let (floor, head) = (kept.log.floor(), kept.log.head());
        let mut count = 0;
        for lane in self.lanes(backends) {
            let wanted: Vec<_> = kept.state.read(|table| {
                let all = positions.iter().copied().filter(|at| (floor..=head).contains(at));
                all.filter(|at| !table.is_unsettled(lane.id, *at)).collect()
            });
            let changes = wanted.iter().map(|at| self.anew(&lane, *at)).collect();
            self.0.clone().record(changes).await?;
            lane.push_anew(&wanted);
            count += wanted.len();
        }
        Ok(count)
    }

    /// Takes events out: they are not tried any more, nor are they dead letters. Returns how many
    /// were one or the other. Those that are in flight may arrive all the same.
    ///
    /// # Errors
    /// See [`DeliverError`].
    pub async fn purge(
        &self,
        backends: &[Arc<str>],
        positions: &[Position],
    ) -> Result<usize, DeliverError> {
        let kept = self.0.kept()?;
        let _applying = self.0.applying.lock().await;
        let head = kept.log.head();
        let mut count = 0;
        for lane in self.lanes(backends) {
            // What nobody wants is settled, and is not to be counted.
            self.0.clone().record(lane.unwanted()).await?;
            let there: Vec<_> = kept.state.read(|table| {
                let is_dead =
                    |at: &Position| matches!(table.became(lane.id, *at), Some(Became::Dead { .. }));
                let all = positions.iter().copied().filter(|at| *at <= head);
                all.filter(|at| table.is_unsettled(lane.id, *at) || is_dead(at)).collect()
            });
            let purged = |at: &Position| Change::Became {
                backend: lane.id,
                position: *at,
                became: Became::Purged,
            };
            let changes: Vec<_> = there.iter().map(purged).collect();
            count += changes.len();
            self.0.clone().record(changes).await?;
        }
        Ok(count)
    }

    /// How the backends are doing, in the order of their configuration.
    pub async fn status(&self) -> Vec<Status> {
        status(&self.0).await
    }

    fn lanes(&self, names: &[Arc<str>]) -> Vec<Arc<Lane>> {
        let lanes = self.0.intake.lanes();
        lanes.iter().filter(|lane| names.contains(&lane.outlet.backend.name)).cloned().collect()
    }

    fn anew(&self, lane: &Lane, position: Position) -> Change {
        let until = self.0.clock().now();
        let became = Became::Waiting { attempts: 0, last: None, until };
        Change::Became { backend: lane.id, position, became }
    }
}

/// Shows in the metrics how the backends are doing.
pub(super) async fn show(shared: &Arc<Shared>) {
    let now = shared.clock().now();
    for (status, lane) in status(shared).await.iter().zip(shared.intake.lanes().iter()) {
        let metrics = &lane.outlet.metrics;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.waiting.set(number(status.waiting + status.in_flight));
        metrics.dead.set(number(status.dead));
        let age = status.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs());
        metrics.oldest.set(age.max(0));
    }
}

async fn status(shared: &Arc<Shared>) -> Vec<Status> {
    let shared = shared.clone();
    let look = move || {
        let lanes = shared.intake.lanes();
        lanes.iter().map(|lane| status_of(lane, shared.keep.as_ref())).collect()
    };
    // A panic was told.
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

fn status_of(lane: &Lane, kept: Option<&Kept>) -> Status {
    let (dead, oldest) = kept.map_or((0, None), |kept| {
        kept.state.read(|table| {
            let first = table.unsettled(lane.id, kept.log.head()).next().map(|(first, _)| first);
            (table.dead(lane.id).count(), first)
        })
    });
    let look = lane.look();
    Status {
        name: lane.outlet.backend.name.clone(),
        waiting: look.waiting,
        in_flight: look.in_flight,
        breaker: look.breaker,
        dead,
        oldest: kept.zip(oldest).and_then(|(kept, first)| received(kept, first)),
        last: look.last,
        heartbeat: lane.outlet.pulse.as_ref().and_then(Pulse::last),
    }
}

/// When the event at a position, or the next that can be read, was received.
pub(super) fn received(kept: &Kept, position: Position) -> Option<Timestamp> {
    let mut found = None;
    let read = kept.log.for_each(position, |_, summary| {
        found = Some(summary.received);
        ControlFlow::Break(())
    });
    if let Err(error) = read {
        let err = strait_types::Report(&error).to_string();
        tracing::error!(err, "cannot read the event log");
    }
    found
}
