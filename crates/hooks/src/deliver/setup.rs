//! Which backends there are, at the start and later.

use std::sync::Arc;

use futures_util::FutureExt;

use super::lane::{Ending, Lane};
use super::outlet::Outlet;
use super::worker::Worker;
use super::{DeliverError, Shared, TICK, Working, heartbeat, repair, retention};
use crate::config::{Backend, Source};
use crate::event::Position;
use crate::state::{self, Change};

/// Makes state and log agree, and starts what runs from then on.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    sources: &[Source],
    backends: &[Backend],
) -> Result<(), DeliverError> {
    if let Some(kept) = &shared.keep {
        let known: Vec<_> = backends.iter().map(|one| state::Backend::of(&one.name)).collect();
        let gone = kept.state.read(|table| {
            let gone = table.backends().filter(|backend| !known.contains(backend));
            gone.map(|backend| Change::Removed { backend }).collect::<Vec<_>>()
        });
        if !gone.is_empty() {
            tracing::info!(count = gone.len(), "backends of before are forgotten");
        }
        let forgotten = Change::Forgotten { before: kept.log.floor() };
        shared.clone().record(gone.into_iter().chain([forgotten]).collect()).await?;
    }
    apply(shared, sources, backends).await?;
    let tasks = &shared.options.context.tasks;
    if shared.keep.is_some() {
        tasks.spawn_daemon("hooks-tend", tend(shared.clone()));
    }
    tasks.spawn_daemon("hooks-heartbeat", heartbeat::run(shared.clone()));
    Ok(())
}

/// Puts other sources and backends in place of those that there are.
pub(super) async fn apply(
    shared: &Arc<Shared>,
    sources: &[Source],
    backends: &[Backend],
) -> Result<(), DeliverError> {
    let _applying = shared.applying.lock().await;
    let old = shared.intake.lanes();
    for backend in backends.iter().filter(|one| !old.iter().any(|lane| *lane.name() == *one.name)) {
        // One of the same name that was removed has to be gone first, with its metrics.
        let ending = shared.workers.lock().remove(&backend.name);
        if let Some(ending) = ending {
            drop(ending.task.await);
        }
    }
    let (mut lanes, mut fresh) = (Vec::new(), Vec::new());
    for backend in backends {
        let before = old.iter().find(|lane| *lane.name() == *backend.name);
        match before {
            Some(lane) if lane.outlet.backend == *backend => lanes.push(lane.clone()),
            _ => {
                let lane = Arc::new(lane(shared, backend, backends.len())?);
                fresh.push((lane.clone(), before.cloned()));
                lanes.push(lane);
            }
        }
    }
    if shared.keep.is_some() {
        add(shared, &fresh).await?;
    }
    let gone = old.iter().filter(|lane| !backends.iter().any(|one| *one.name == *lane.name()));
    let last = shared.intake.replace(sources, lanes);
    gone.for_each(|lane| lane.end(Ending::Remove));
    for (lane, before) in fresh {
        if let Some(before) = before {
            before.end(Ending::Drain);
            // Not sooner: until then it told of its agent.
            if lane.outlet.pulse.is_none() {
                shared.metrics.forget_agent(lane.name());
            }
        }
        if shared.keep.is_some() {
            work(shared, lane, last);
        }
    }
    Ok(())
}

fn lane(shared: &Shared, backend: &Backend, count: usize) -> Result<Lane, DeliverError> {
    let outlet = Outlet::new(backend.clone(), &shared.options, &shared.metrics);
    Ok(Lane::new(outlet?, shared.budget.share(count)))
}

/// Makes new backends known to the state, durably: from then on nothing is kept from them.
async fn add(
    shared: &Arc<Shared>,
    fresh: &[(Arc<Lane>, Option<Arc<Lane>>)],
) -> Result<(), DeliverError> {
    let mut changes = Vec::new();
    for (lane, before) in fresh {
        if before.is_some() {
            continue;
        }
        let from = Position(shared.keep().log.head().0 + 1);
        changes.push(Change::Added { backend: lane.id, from });
    }
    if !changes.is_empty() {
        shared.clone().record(changes).await?;
    }
    Ok(())
}

/// Starts the task of a backend, which has to get what is unsettled up to `last`, and then what
/// is passed on to its lane.
fn work(shared: &Arc<Shared>, lane: Arc<Lane>, last: Position) {
    let name = lane.outlet.backend.name.clone();
    let mut workers = shared.workers.lock();
    workers.retain(|_, working| (&mut working.task).now_or_never().is_none());
    let (mut lanes, before) =
        workers.remove(&name).map_or((Vec::new(), None), |one| (one.lanes, Some(one.task)));
    lanes.push(lane.clone());
    let work = {
        let shared = shared.clone();
        async move {
            if let Some(before) = before {
                drop(before.await);
            }
            let state = &shared.keep().state;
            let runs = state.read(|table| table.unsettled(lane.id, last).collect());
            lane.push_older(runs);
            Worker::new(shared.clone(), lane).run().await;
        }
    };
    let task = shared.options.context.tasks.spawn("hooks-deliver", work);
    workers.insert(name, Working { lanes, task });
}

/// Does what is to be done from time to time.
async fn tend(shared: Arc<Shared>) {
    let mut count = 0_u64;
    loop {
        tokio::time::sleep(TICK).await;
        shared.intake.tick(shared.keep().log.head());
        shared.intake.lanes().iter().for_each(|lane| lane.tick());
        if count.is_multiple_of(repair::SHOW_TICKS) {
            repair::show(&shared).await;
        }
        if count.is_multiple_of(retention::TICKS) || retention::is_over(&shared) {
            retention::tend(&shared).await;
        }
        count += 1;
    }
}
