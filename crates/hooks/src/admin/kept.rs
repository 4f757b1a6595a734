//! What is kept of events, as operators look at it.
//!
//! Looks block; they read the log in windows, so that a look at many events neither takes much
//! memory nor holds the state for long.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;
use strait_audit::AuditLog;

use super::purged::Purged;
use super::select::{Became as Word, Selector};
use crate::config::Backend;
use crate::deliver::Schemes;
use crate::event::Position;
use crate::log::{Log, ReadError, Summary};
use crate::sender::{Facts, content_type, json};
use crate::state::{self, Became, State, Table};

/// Events that are looked at together.
pub(super) const WINDOW: u64 = 512;

/// Everything that is on disk.
#[derive(Clone)]
pub struct Kept {
    /// The events.
    pub log: Log,
    /// What became of them.
    pub state: Arc<State>,
    /// Those whose bodies are not given out any more.
    pub purged: Arc<Purged>,
    /// Who did what.
    pub audit: AuditLog,
}

/// An event that may be meant.
pub(super) struct Candidate {
    pub(super) position: Position,
    pub(super) summary: Summary,
    pub(super) purged: bool,
    /// At each backend of its source, in the order of the configuration.
    pub(super) at: Vec<At>,
}

/// What became of an event at a backend.
pub(super) struct At {
    pub(super) backend: Arc<str>,
    /// None if it was not tried yet, or is none of the backend's.
    pub(super) became: Option<Became>,
    pub(super) word: Word,
}

/// Candidates of a window, oldest first, and when the newest event there was received.
pub(super) struct Window {
    pub(super) candidates: Vec<Candidate>,
    pub(super) newest: Option<Timestamp>,
}

/// Looks for what a selector means.
pub(super) struct Look<'a> {
    pub(super) kept: &'a Kept,
    pub(super) schemes: Arc<Schemes>,
    pub(super) backends: &'a [Backend],
    pub(super) selector: &'a Selector,
    /// Whether a backend that is named may also be one that was never to have an event.
    pub(super) absent: bool,
    /// Bytes of bodies that were read.
    pub(super) read: usize,
}

impl Look<'_> {
    /// What may be meant from `first` to `last`, by all but bodies.
    pub(super) fn window(&self, first: Position, last: Position) -> Result<Window, ReadError> {
        let (mut found, mut newest) = (Vec::new(), None);
        self.kept.log.for_each(first, |position, summary| {
            if position > last {
                return ControlFlow::Break(());
            }
            newest = newest.max(Some(summary.received));
            if self.selector.may_fit(position, summary) {
                found.push((position, summary.clone()));
            }
            ControlFlow::Continue(())
        })?;
        let candidates = self.kept.state.read(|table| {
            let each = found.into_iter();
            each.filter_map(|(position, summary)| self.candidate(table, position, summary))
                .collect()
        });
        Ok(Window { candidates, newest })
    }

    fn candidate(&self, table: &Table, position: Position, summary: Summary) -> Option<Candidate> {
        let own = self.backends.iter().filter(|backend| backend.sources.contains(&summary.source));
        let named = |name: &str| self.selector.backends.iter().any(|one| one == name);
        let absent = |name: &Arc<str>| {
            let at = At { backend: name.clone(), became: None, word: Word::Absent };
            (self.absent && named(name)).then_some(at)
        };
        let each = own.map(|backend| &backend.name);
        let each = each.filter_map(|name| at(table, name, position).or_else(|| absent(name)));
        let at = each.collect::<Vec<_>>();
        let fits = |at: &At| self.selector.fits_backend(&at.backend, at.word);
        let purged = self.kept.purged.contains(position);
        // What was purged altogether may have had no backend.
        let by_itself = purged
            && self.selector.backends.is_empty()
            && self.selector.states.contains(&Word::Purged);
        let wanted = !self.selector.is_about_backends() || by_itself || at.iter().any(fits);
        wanted.then_some(Candidate { position, summary, purged, at })
    }

    /// What a candidate says of itself, if that is meant too. Reads its body if `whole`, or if
    /// it has to.
    pub(super) fn facts(
        &mut self,
        candidate: &Candidate,
        whole: bool,
    ) -> Result<Option<Facts>, ReadError> {
        let summary = &candidate.summary;
        let scheme = self.schemes.get(&summary.source);
        let Some(scheme) = scheme else {
            let facts = Facts::default();
            return Ok(self.selector.fits_facts(&facts).then_some(facts));
        };
        let of_head = Facts::read(scheme, &summary.headers, None);
        let needed = whole || self.selector.wants_facts();
        if candidate.purged || !needed {
            return Ok(self.selector.fits_facts(&of_head).then_some(of_head));
        }
        // What the head says is not asked of the body.
        let named = |event: &str| self.selector.events.iter().any(|one| one == event);
        let other = of_head.event.as_deref().is_some_and(|event| !named(event));
        if !self.selector.events.is_empty() && other {
            return Ok(None);
        }
        self.read += summary.body_bytes;
        let facts = match self.kept.log.read(candidate.position) {
            Ok(Some(event)) => {
                let content = content_type(scheme, &event.headers).ok().flatten();
                Facts::read(scheme, &event.headers, json(content, &event.body).as_deref())
            }
            // Removed just now, or its body is damaged: its head is still known.
            Ok(None) | Err(ReadError::Damaged(_)) => of_head,
            Err(error) => return Err(error),
        };
        Ok(self.selector.fits_facts(&facts).then_some(facts))
    }
}

/// What became of an event at a backend; none if the backend is not to have it.
pub(super) fn at(table: &Table, backend: &Arc<str>, position: Position) -> Option<At> {
    let id = state::Backend::of(backend);
    let became = table.became(id, position);
    let word = match &became {
        Some(Became::Waiting { .. }) => Word::Waiting,
        Some(Became::Delivered) => Word::Delivered,
        Some(Became::Unwanted) => Word::Filtered,
        Some(Became::Dead { .. }) => Word::Dead,
        Some(Became::Purged) => Word::Purged,
        None if table.is_unsettled(id, position) => Word::Waiting,
        None => return None,
    };
    Some(At { backend: backend.clone(), became, word })
}
