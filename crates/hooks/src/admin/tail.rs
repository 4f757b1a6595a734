//! `/tail`: events as they come, and what becomes of them.
//!
//! The log and the state are looked at each [`EVERY`], so nothing that receives or delivers waits
//! for an operator. What becomes of an event between two looks is told as it is at the second.
//! Where states are selected, only such outcomes are told, and no events. Whether the reader may
//! still read is decided again each [`DECIDED_EVERY`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};
use strait_net::Connection;
use strait_runtime::Shutdown;

use super::authorize::{Asked, Authorizer, Refusal};
use super::kept::{At, Look, WINDOW, at};
use super::lines::{Lines, Unread};
use super::select::{Became as Word, Selector};
use super::{Inner, view};
use crate::event::Position;
use crate::log::ReadError;
use crate::state::{self, Became, Table};

/// How often one looks.
const EVERY: Duration = Duration::from_millis(250);

/// How long a decision about the reader holds: with what an answer of a cluster is kept and waited
/// for, a right that was taken back ends a tail within a minute.
const DECIDED_EVERY: Duration = Duration::from_secs(20);

/// Deliveries that are followed at once; what becomes of more is not told.
const FOLLOWED_MAX: usize = 4096;

/// What was told so far.
pub(super) struct Tail {
    /// Without states.
    selector: Selector,
    /// Outcomes that are told; all if there are none.
    states: Vec<Word>,
    next: Position,
    followed: Followed,
}

/// What was told last of each delivery.
type Followed = BTreeMap<(Position, Arc<str>), Option<Became>>;

/// Who reads, and as what it was decided that they may.
pub(super) struct Reader {
    pub(super) authorizer: Arc<Authorizer>,
    pub(super) connection: Arc<Connection>,
    pub(super) headers: HeaderMap,
    pub(super) asked: Asked,
    /// When it was decided last, by the monotonic clock.
    pub(super) decided: Duration,
}

impl Reader {
    /// Whether they may read on, or why not.
    async fn may(&mut self, now: Duration) -> Result<(), &'static str> {
        if now.saturating_sub(self.decided) < DECIDED_EVERY {
            return Ok(());
        }
        self.decided = now;
        let (connection, asked) = (&self.connection, self.asked.clone());
        match self.authorizer.decide(connection, &self.headers, asked).await {
            Ok(_) => Ok(()),
            Err(Refusal::Unauthenticated | Refusal::Forbidden(_)) => {
                Err("the right to follow was taken back")
            }
            Err(Refusal::Unavailable) => Err("it cannot be asked now whether you may follow"),
        }
    }
}

/// Writes lines until the reader goes, does not read, may not, or the process ends.
pub(super) async fn run(
    inner: Arc<Inner>,
    mut tail: Tail,
    mut reader: Reader,
    lines: Lines,
    shutdown: Shutdown,
) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = lines.gone() => return,
            () = shutdown.asked() => return lines.end(&end("the server is ending")),
        }
        if let Err(why) = reader.may(inner.clock.monotonic()).await {
            return lines.end(&end(why));
        }
        let looking = inner.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let found = tail.look(&looking);
            (tail, found)
        });
        let Ok((back, found)) = looked.await else {
            return lines.end(&end("the log cannot be read"));
        };
        tail = back;
        let Ok(found) = found else {
            return lines.end(&end("the log cannot be read"));
        };
        for line in found {
            // Whoever reads slowly is at this for long.
            if let Err(why) = reader.may(inner.clock.monotonic()).await {
                return lines.end(&end(why));
            }
            match lines.write(&line).await {
                Ok(()) => {}
                Err(Unread::Gone) => return,
                Err(Unread::Slow) => return lines.end(&end("lines were not read in time")),
            }
        }
    }
}

fn end(why: &str) -> Value {
    json!({"type": "end", "why": why})
}

/// What a backend has still to get of what is before a position.
fn waiting<'a>(
    table: &'a Table,
    backend: &'a Arc<str>,
    before: Position,
) -> impl Iterator<Item = ((Position, Arc<str>), Option<Became>)> + 'a {
    let id = state::Backend::of(backend);
    let runs = table.unsettled(id, Position(before.0.saturating_sub(1)));
    let each = runs.flat_map(|(first, last)| first.0..=last.0).map(Position);
    each.map(move |position| ((position, backend.clone()), table.became(id, position)))
}

impl Tail {
    /// From now on; what waits already is followed. Blocks.
    pub(super) fn new(inner: &Inner, mut selector: Selector) -> Self {
        let states = std::mem::take(&mut selector.states);
        let mut tail = Self { selector, states, next: Position(1), followed: BTreeMap::new() };
        let Some(kept) = &inner.kept else {
            return tail;
        };
        tail.next = Position(kept.log.head().0 + 1);
        // A selector may ask what an old event says; then only new ones are told.
        let by_backend =
            Selector { backends: tail.selector.backends.clone(), ..Selector::default() };
        if tail.selector == by_backend {
            let backends = inner.deliveries.backends();
            tail.followed = kept.state.read(|table| {
                let own = backends.iter().filter(|backend| tail.is_of(&backend.name));
                let waiting = own.flat_map(|backend| waiting(table, &backend.name, tail.next));
                waiting.take(FOLLOWED_MAX).collect()
            });
        }
        tail
    }

    /// What is new. Blocks.
    fn look(&mut self, inner: &Inner) -> Result<Vec<Value>, ReadError> {
        let Some(kept) = &inner.kept else {
            return Ok(Vec::new());
        };
        let mut lines = self.changes(kept);
        let last = Position(kept.log.head().0.min(self.next.0 + WINDOW - 1));
        if last < self.next {
            return Ok(lines);
        }
        let backends = inner.deliveries.backends();
        let selector = self.selector.clone();
        let mut look = Look {
            kept,
            schemes: inner.deliveries.schemes(),
            backends: &backends,
            selector: &selector,
            absent: false,
            read: 0,
        };
        for candidate in look.window(self.next, last)?.candidates {
            let Some(facts) = look.facts(&candidate, true)? else { continue };
            if self.states.is_empty() {
                lines.push(json!({"type": "event", "event": view::event(&candidate, &facts)}));
            }
            for at in candidate.at {
                // What became of it since it came would not be told otherwise.
                if !self.states.is_empty() && at.word != Word::Waiting && self.is_of(&at.backend) {
                    lines.extend(self.told(candidate.position, &at));
                }
                let is_followed = at.word == Word::Waiting && self.is_of(&at.backend);
                if is_followed && self.followed.len() < FOLLOWED_MAX {
                    self.followed.insert((candidate.position, at.backend), at.became);
                }
            }
        }
        self.next = Position(last.0 + 1);
        Ok(lines)
    }

    /// What became of those that are followed.
    fn changes(&mut self, kept: &super::Kept) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut followed = std::mem::take(&mut self.followed);
        kept.state.read(|table| {
            followed.retain(|(position, backend), before| {
                // It was removed, or its backend was.
                let Some(now) = at(table, backend, *position) else { return false };
                if now.became != *before {
                    lines.extend(self.told(*position, &now));
                    *before = now.became;
                }
                now.word == Word::Waiting
            });
        });
        self.followed = followed;
        lines
    }

    fn is_of(&self, backend: &str) -> bool {
        self.selector.backends.is_empty() || self.selector.backends.iter().any(|one| one == backend)
    }

    /// The line about an outcome, if it is one that is told.
    fn told(&self, position: Position, at: &At) -> Option<Value> {
        let wanted = self.states.is_empty() || self.states.contains(&at.word);
        wanted.then(|| json!({"type": "outcome", "id": position.0, "backend": view::at(at)}))
    }
}
