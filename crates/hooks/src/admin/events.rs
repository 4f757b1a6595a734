//! `/events` and `/payloads`: what was received, and what became of it.

use std::io;

use http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use strait_machinery::status::Status;
use strait_net::Body;

use super::answer::{internal, no_such_event};
use super::kept::{Look, WINDOW};
use super::select::Query;
use super::{answer, view};
use crate::breaker::Breaker;
use crate::config::{API_VERSION, Backend};
use crate::deliver;
use crate::event::{Event, Position};
use crate::log::ReadError;
use crate::sender::Facts;

/// What one look reads at most; a page ends there and says where to go on.
const EVENTS_MAX: u64 = 100_000;
const BODIES_BYTES_MAX: usize = 64 << 20;

/// A page of events, newest first. Blocks.
///
/// Of events that a clock which was set back gave an earlier time, those in a window all of whose
/// events are older than `since` are not found.
pub(super) fn list(mut look: Look<'_>, query: &Query) -> Result<Value, ReadError> {
    let (floor, head) = (look.kept.log.floor(), look.kept.log.head());
    let mut next = Some(query.next.unwrap_or(head).min(head));
    let mut page = Page { limit: query.limit, items: Vec::new() };
    let mut left = EVENTS_MAX;
    let mut stopped = None;
    while let Some(last) = next.filter(|last| *last >= floor && last.0 > 0) {
        if left == 0 {
            stopped = Some(last);
            break;
        }
        let first = before(&look, last).max(floor);
        let window = look.window(first, last)?;
        if let Some(at) = page.add(&mut look, window.candidates)? {
            stopped = Some(at);
            break;
        }
        let is_older = |since| window.newest.is_some_and(|newest| newest < since);
        if query.selector.since.is_some_and(is_older) {
            break;
        }
        left = left.saturating_sub(last.0 - first.0 + 1);
        next = down(&look, first);
    }
    let mut list = json!({
        "apiVersion": API_VERSION,
        "kind": "EventList",
        "metadata": {},
        "items": page.items,
    });
    if let Some(Position(stopped)) = stopped {
        list["metadata"]["continue"] = stopped.to_string().into();
    }
    Ok(list)
}

/// The first of the window that ends with `last`.
fn before(look: &Look<'_>, last: Position) -> Position {
    if look.selector.ids.contains(&last) {
        return last;
    }
    Position(last.0.saturating_sub(WINDOW - 1).max(1))
}

/// The last of the window before one that begins with `first`.
fn down(look: &Look<'_>, first: Position) -> Option<Position> {
    if look.selector.ids.is_empty() {
        return first.0.checked_sub(1).map(Position);
    }
    look.selector.ids.range(..first).next_back().copied()
}

struct Page {
    limit: usize,
    items: Vec<Value>,
}

impl Page {
    /// Adds what fits, newest first; where it was full before all were looked at.
    fn add(
        &mut self,
        look: &mut Look<'_>,
        candidates: Vec<super::kept::Candidate>,
    ) -> Result<Option<Position>, ReadError> {
        for candidate in candidates.into_iter().rev() {
            if self.items.len() == self.limit || look.read > BODIES_BYTES_MAX {
                return Ok(Some(candidate.position));
            }
            if let Some(facts) = look.facts(&candidate, true)? {
                self.items.push(view::event(&candidate, &facts));
            }
        }
        Ok(None)
    }
}

/// One event. Blocks.
pub(super) fn show(mut look: Look<'_>, id: &str) -> Result<Value, Status> {
    let position = position(id)?;
    let window = look.window(position, position).map_err(|error| internal(&error))?;
    let candidate = window.candidates.into_iter().next().ok_or_else(|| no_such_event(id))?;
    let facts = look.facts(&candidate, true).map_err(|error| internal(&error))?;
    let mut event = view::event(&candidate, &facts.unwrap_or_else(Facts::default));
    event["apiVersion"] = API_VERSION.into();
    event["kind"] = "Event".into();
    Ok(event)
}

/// An event whose body may be given out. Blocks.
pub(super) fn payload(kept: &super::Kept, id: &str) -> Result<Event, Status> {
    let position = position(id)?;
    if kept.purged.contains(position) {
        return Err(Status::expired(format!("event {id} was purged")));
    }
    match kept.log.read(position) {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(no_such_event(id)),
        Err(ReadError::Damaged(_)) => {
            Err(Status::internal(format!("event {id} is damaged on disk")))
        }
        Err(error) => Err(internal(&error)),
    }
}

/// A body as it came, for programs and not for browsers.
pub(super) fn raw(id: &str, event: Event) -> Response<Body> {
    let mut response =
        answer::body(StatusCode::OK, "application/octet-stream", Body::from(event.body));
    let headers = response.headers_mut();
    if let Some(content_type) = event.headers.get(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, content_type.clone());
    }
    let attached = format!("attachment; filename=\"event-{id}\"");
    // The id is a number.
    if let Ok(attached) = HeaderValue::try_from(attached) {
        headers.insert(CONTENT_DISPOSITION, attached);
    }
    let sandbox = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(CONTENT_SECURITY_POLICY, sandbox);
    response
}

/// The position that an id is; ids that are written otherwise name nothing.
pub(super) fn position(id: &str) -> Result<Position, Status> {
    let position = id.parse().map(Position).map_err(|_| no_such_event(id))?;
    if position.0.to_string() == id { Ok(position) } else { Err(no_such_event(id)) }
}

/// Backends with what waits there.
pub(super) fn status(backends: &[Backend], status: &[deliver::Status]) -> Value {
    let item = |status: &deliver::Status| {
        let backend = backends.iter().find(|backend| backend.name == status.name);
        let mut item = json!({
            "name": &*status.name,
            "waiting": status.waiting,
            "inFlight": status.in_flight,
            "dead": status.dead,
            "breaker": breaker(status.breaker),
        });
        if let Some(backend) = backend {
            match backend.address.service() {
                None => item["url"] = backend.address.to_string().into(),
                Some(to) => {
                    item["workspace"] = to.workspace.as_str().into();
                    item["agent"] = (*to.agent).into();
                    item["service"] = (*to.service).into();
                }
            }
            item["sources"] = backend.sources.iter().map(|source| &**source).collect();
        }
        if let Some(oldest) = status.oldest {
            item["oldest"] = format!("{oldest:.3}").into();
        }
        if let Some(beat) = &status.heartbeat {
            item["heartbeat"] = json!({
                "at": format!("{:.3}", beat.at),
                "roundtripSeconds": beat.took.as_secs_f64(),
            });
        }
        if let Some(last) = &status.last {
            item["last"] = view::outcome(last).into();
        }
        item
    };
    json!({
        "apiVersion": API_VERSION,
        "kind": "BackendList",
        "metadata": {},
        "items": status.iter().map(item).collect::<Vec<_>>(),
    })
}

const fn breaker(breaker: Breaker) -> &'static str {
    match breaker {
        Breaker::Closed { .. } => "closed",
        Breaker::Open { .. } => "open",
        Breaker::HalfOpen => "half-open",
    }
}

/// An error of a thread that looked.
pub(super) fn panicked(_: tokio::task::JoinError) -> Status {
    internal(&io::Error::other("a look at the log panicked"))
}
