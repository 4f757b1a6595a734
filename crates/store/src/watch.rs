//! Following a resource.

use std::sync::Arc;

use strait_machinery::object::{Body, Object};
use strait_types::{Classified, ErrorKind, Revision};

use crate::engine::{Engine, EngineError, Row};
use crate::event::Event;
use crate::index::{Index, Recent, ResourceIndex};
use crate::interest::Slot;
use crate::metrics::Metrics;
use crate::{ResourceId, Scope};

/// Events handed out at once, at most.
const BATCH_EVENTS: usize = 64;

/// Rows read from the log at once.
const LOG_ROWS: usize = 512;

/// A watch cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// History from there is compacted away; list again.
    #[error("revision {after} is older than the oldest kept, {floor}")]
    TooOld {
        /// Where the watch stood.
        after: Revision,
        /// The oldest revision that can be watched from.
        floor: Revision,
    },
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Engine(#[source] EngineError),
}

impl Classified for WatchError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooOld { .. } => ErrorKind::Conflict,
            Self::Engine(error) => error.kind(),
        }
    }
}

/// A cursor over the changes of a resource in one scope: every event after its start, in
/// ascending order, once.
///
/// It costs a few hundred bytes and no task. Events come from memory; a cursor that fell
/// behind what memory keeps goes on from the log.
pub struct Watch {
    index: Arc<Index>,
    engine: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
    id: ResourceId,
    resource: Arc<ResourceIndex>,
    scope: Scope,
    slot: Arc<Slot>,
    /// Everything up to here was handed out.
    cursor: Revision,
    /// Whether there may be events after the cursor that the slot will not tell of.
    behind: bool,
}

impl Watch {
    pub(crate) fn new(
        index: Arc<Index>,
        engine: Arc<dyn Engine>,
        metrics: Arc<Metrics>,
        (id, scope): (ResourceId, Scope),
        after: Revision,
    ) -> Self {
        let resource = index.resource(&id);
        let slot = resource.interests.register(scope.clone());
        Self { index, engine, metrics, id, resource, scope, slot, cursor: after, behind: true }
    }

    /// The next events, at least one.
    ///
    /// # Errors
    /// [`WatchError`].
    ///
    /// # Cancel safety
    /// Safe: what was not returned comes again.
    pub async fn next(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            let events = self.ready().await?;
            if !events.is_empty() {
                return Ok(events);
            }
            self.slot.woken().await;
        }
    }

    /// Events that are there now; none means that everything up to [`Watch::revision`] was
    /// handed out.
    ///
    /// # Errors
    /// [`WatchError`].
    ///
    /// # Cancel safety
    /// Safe: what was not returned comes again.
    pub async fn ready(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        loop {
            // The order matters: whatever was published up to here has marked the slot.
            let published = self.index.published();
            if !self.behind {
                let Some(first) = self.slot.take_pending() else {
                    self.cursor = self.cursor.max(published);
                    return Ok(Vec::new());
                };
                // Nothing in this scope happened between the cursor and the mark.
                self.cursor = self.cursor.max(Revision(first.0 - 1));
                self.behind = true;
            }
            match self.resource.recent(self.cursor, &self.scope, BATCH_EVENTS) {
                Recent::Events(events) => {
                    if let Some(last) = events.last() {
                        self.cursor = last.revision;
                    }
                    if events.len() < BATCH_EVENTS {
                        self.behind = false;
                    }
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
                Recent::Gone => {
                    let events = self.read_log().await?;
                    if !events.is_empty() {
                        return Ok(events);
                    }
                }
            }
        }
    }

    /// Everything up to this revision was handed out.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.cursor
    }

    /// Reads one step of the log; the cursor moves even where nothing concerns this watch.
    async fn read_log(&mut self) -> Result<Vec<Arc<Event>>, WatchError> {
        self.metrics.log_reads.inc();
        let (engine, after) = (self.engine.clone(), self.cursor);
        let (id, scope) = (self.id.clone(), self.scope.clone());
        let read = move || -> Result<(Vec<Arc<Event>>, Option<Revision>), EngineError> {
            let rows = engine.tail(after, LOG_ROWS)?;
            let last = rows.last().map(|row| row.revision);
            let concerned = rows.into_iter().filter(|row| {
                row.key.resource == id && scope.contains(&row.key.cluster, &row.key.name)
            });
            let events = concerned.map(event_of).collect::<Result<_, _>>()?;
            Ok((events, last))
        };
        let read = tokio::task::spawn_blocking(read).await.expect("reading the log does not panic");
        match read {
            Ok((events, last)) => {
                // An empty answer cannot be: memory forgets only what the log holds.
                self.cursor = last.unwrap_or_else(|| self.resource.floor());
                Ok(events)
            }
            Err(EngineError::Compacted { floor }) => Err(WatchError::TooOld { after, floor }),
            Err(error) => Err(WatchError::Engine(error)),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.resource.interests.unregister(&self.scope, &self.slot);
    }
}

/// The event that a row of the log stands for.
fn event_of(row: Row) -> Result<Arc<Event>, EngineError> {
    let object = row.body.map(|body| decode(row.revision, body)).transpose()?;
    let previous = row.previous.map(|(revision, body)| decode(revision, body)).transpose()?;
    // In no history.
    let counted = Arc::default();
    Ok(Event::new(row.revision, (row.key.cluster, row.key.name), object, previous, counted))
}

/// An object out of stored bytes.
pub(crate) fn decode(revision: Revision, body: bytes::Bytes) -> Result<Arc<Object>, EngineError> {
    match Body::decode(body) {
        Ok((body, header)) => Ok(Object::new(revision, body, header)),
        Err(error) => Err(EngineError::Damaged { what: format!("revision {revision}: {error}") }),
    }
}
