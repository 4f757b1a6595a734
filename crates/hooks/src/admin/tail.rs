//! `/tail`: events as they come, and what becomes of them.
//!
//! The log and the state are looked at each [`EVERY`], so nothing that receives or delivers waits
//! for an operator. What becomes of an event between two looks is told as it is at the second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strait_runtime::Shutdown;

use super::kept::{At, Look, WINDOW, at};
use super::lines::{Lines, Unread};
use super::select::{Became as Word, Selector};
use super::{Inner, view};
use crate::event::Position;
use crate::log::ReadError;
use crate::state::{self, Became};

/// How often one looks.
const EVERY: Duration = Duration::from_millis(250);

/// Deliveries that are followed at once; what becomes of more is not told.
const FOLLOWED_MAX: usize = 4096;

/// What was told so far.
struct Tail {
    selector: Selector,
    next: Position,
    followed: BTreeMap<(Position, Arc<str>), Option<Became>>,
}

/// Writes lines until the reader goes, does not read, or the process ends.
pub(super) async fn run(inner: Arc<Inner>, selector: Selector, lines: Lines, shutdown: Shutdown) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tail = Tail::new(&inner, selector);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = lines.gone() => return,
            () = shutdown.asked() => return lines.end(&end("the server is ending")),
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

impl Tail {
    /// From now on; what waits already is followed.
    fn new(inner: &Inner, selector: Selector) -> Self {
        let mut tail = Self { selector, next: Position(1), followed: BTreeMap::new() };
        let Some(kept) = &inner.kept else {
            return tail;
        };
        tail.next = Position(kept.log.head().0 + 1);
        // A selector may ask what an old event says; then only new ones are told.
        if tail.selector.is_empty() {
            let backends = inner.deliveries.backends();
            kept.state.read(|table| {
                for backend in backends.iter() {
                    let waiting = table.waiting(state::Backend::of(&backend.name));
                    let room = FOLLOWED_MAX.saturating_sub(tail.followed.len());
                    let each = waiting
                        .take(room)
                        .map(|(position, became)| ((position, backend.name.clone()), Some(became)));
                    tail.followed.extend(each);
                }
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
            schemes: &inner.schemes,
            backends: &backends,
            selector: &selector,
            absent: false,
            read: 0,
        };
        for candidate in look.window(self.next, last)?.candidates {
            let Some(facts) = look.facts(&candidate, true)? else { continue };
            lines.push(json!({"type": "event", "event": view::event(&candidate, &facts)}));
            for at in candidate.at.into_iter().filter(|at| at.word == Word::Waiting) {
                if self.followed.len() < FOLLOWED_MAX {
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
        kept.state.read(|table| {
            self.followed.retain(|(position, backend), before| {
                // It was removed, or its backend was.
                let Some(now) = at(table, backend, *position) else { return false };
                if now.became != *before {
                    lines.push(changed(*position, &now));
                    *before = now.became;
                }
                now.word == Word::Waiting
            });
        });
        lines
    }
}

fn changed(position: Position, at: &At) -> Value {
    json!({"type": "outcome", "id": position.0, "backend": view::at(at)})
}
