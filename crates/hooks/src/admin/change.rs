//! `/replay` and `/purge`: events delivered again, or taken out.
//!
//! What is selected is gone through oldest first, a window at a time, on a thread of its own; a
//! line tells after each how far it is. It stops when its reader goes. What was replayed or
//! purged until then stays so.
//!
//! A purge that names neither backends nor states is of whole events: they are taken out wherever
//! they still wait or are dead, and their bodies are given out no more. One that does takes
//! events out there alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use strait_machinery::status::Status;

use super::Deliveries;
use super::answer::internal;
use super::kept::{Candidate, Look, WINDOW};
use super::lines::Lines;
use super::select::Became;
use crate::event::Position;

/// What is done to events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Replay,
    Purge,
}

impl Change {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Replay => "replay",
            Self::Purge => "purge",
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Positions that were looked at, and those that are to be.
    pub(super) looked: u64,
    pub(super) total: u64,
    /// Events that were selected and changed.
    pub(super) events: u64,
    /// Their deliveries: one for each backend.
    pub(super) deliveries: u64,
    /// Whether the reader went before the end.
    pub(super) stopped: bool,
}

impl Progress {
    pub(super) fn line(&self, done: bool) -> Value {
        json!({
            "looked": self.looked,
            "total": self.total,
            "events": self.events,
            "deliveries": self.deliveries,
            "done": done,
        })
    }
}

/// Changes what is selected.
pub(super) struct Run<'a> {
    pub(super) look: Look<'a>,
    pub(super) deliveries: &'a dyn Deliveries,
    pub(super) change: Change,
    pub(super) dry_run: bool,
    pub(super) lines: &'a Lines,
    /// Where what delivers is waited for; this has a thread of its own.
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) progress: Progress,
}

/// What is done of one window.
#[derive(Default)]
struct Plan {
    at: BTreeMap<Arc<str>, Vec<Position>>,
    whole: Vec<Position>,
    events: u64,
}

impl Run<'_> {
    /// Goes through everything; after a failure the progress says how far it came. Blocks.
    pub(super) fn run(&mut self) -> Result<(), Status> {
        let (floor, head) = (self.look.kept.log.floor().0, self.look.kept.log.head().0);
        let ids = &self.look.selector.ids;
        let windows: Box<dyn Iterator<Item = (u64, u64)>> = if ids.is_empty() {
            self.progress.total = (head + 1).saturating_sub(floor);
            let step = usize::try_from(WINDOW).unwrap_or(usize::MAX);
            Box::new(
                (floor..=head).step_by(step).map(|first| (first, head.min(first + WINDOW - 1))),
            )
        } else {
            self.progress.total = ids.len() as u64;
            Box::new(ids.clone().into_iter().map(|id| (id.0, id.0)))
        };
        for (first, last) in windows {
            self.window(Position(first), Position(last))?;
            self.progress.looked += last - first + 1;
            if self.lines.offer(&self.progress.line(false)).is_err() {
                self.progress.stopped = true;
                return Ok(());
            }
        }
        Ok(())
    }

    fn window(&mut self, first: Position, last: Position) -> Result<(), Status> {
        let window = self.look.window(first, last).map_err(|error| internal(&error))?;
        let mut plan = Plan::default();
        for candidate in window.candidates {
            let fits = self.look.facts(&candidate, false).map_err(|error| internal(&error))?;
            if fits.is_some() {
                self.plan(&candidate, &mut plan);
            }
        }
        let deliveries = if self.dry_run {
            plan.at.values().map(Vec::len).sum()
        } else {
            self.runtime.block_on(self.apply(&plan))?
        };
        if !plan.whole.is_empty() && !self.dry_run {
            let purged = self.look.kept.purged.add(&plan.whole);
            purged.map_err(|error| internal(&error))?;
        }
        self.progress.events += plan.events;
        self.progress.deliveries += deliveries as u64;
        Ok(())
    }

    fn plan(&self, candidate: &Candidate, plan: &mut Plan) {
        // What was purged stays so.
        if candidate.purged {
            return;
        }
        let whole = self.change == Change::Purge && !self.look.selector.is_about_backends();
        let before = plan.at.values().map(Vec::len).sum::<usize>();
        for at in &candidate.at {
            let fits = self.look.selector.fits_backend(&at.backend, at.word);
            let is_meant = match self.change {
                // What waits is delivered anyway.
                Change::Replay => at.word != Became::Waiting,
                Change::Purge => matches!(at.word, Became::Waiting | Became::Dead),
            };
            if fits && is_meant {
                plan.at.entry(at.backend.clone()).or_default().push(candidate.position);
            }
        }
        if whole {
            plan.whole.push(candidate.position);
        }
        let added = plan.at.values().map(Vec::len).sum::<usize>() > before;
        plan.events += u64::from(whole || added);
    }

    /// Has it done, and says at how many backends it was.
    async fn apply(&self, plan: &Plan) -> Result<usize, Status> {
        let mut count = 0;
        for (backend, positions) in &plan.at {
            let backend = std::slice::from_ref(backend);
            let changed = match self.change {
                Change::Replay => self.deliveries.replay(backend, positions),
                Change::Purge => self.deliveries.purge(backend, positions),
            };
            count += changed.await.map_err(|error| internal(&*error))?;
        }
        Ok(count)
    }
}
