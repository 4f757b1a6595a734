//! Following objects.
//!
//! A watch is a stream of frames, one event each. It ends at its time limit, when the client
//! leaves, when the server stops, or when whoever asked may no longer.
//!
//! Limits: the state that a watch begins with is written as it is sent, and events are taken
//! from the store as they are sent, so that a slow client costs one chunk of
//! [`CHUNK_BYTES`](crate::body::CHUNK_BYTES), or one batch of events.

mod frames;
mod options;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use strait_machinery::status::Status;
use strait_runtime::Shutdown;
use strait_store::{Event, ObjectName, Scope, Snapshot, Watch, WatchError};
use strait_types::ClusterName;
use tokio::time::Instant;

use self::frames::{Frames, error_frame};
use self::options::WatchOptions;
use crate::body::{CHUNK_BYTES, ResponseBody};
use crate::handle::{include, printer};
use crate::metrics::Metrics;
use crate::negotiate::{Format, Offer, Transform};
use crate::query::Query;
use crate::registry::{Call, Registry};
use crate::respond::{self, ApiResponse};
use crate::select::Selection;
use crate::view::View;

/// How often a quiet watch gets a bookmark.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// The last bookmark comes this long before the end.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// How often it is asked whether the watch may go on.
const RECHECK_EVERY: Duration = Duration::from_secs(10);

/// Whether the one who asked may still do so; asked every ten seconds.
pub type Recheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// What a watch needs beyond its call.
pub(crate) struct Keeper {
    pub(crate) recheck: Recheck,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
}

/// Answers a watch.
///
/// # Errors
/// What is wrong before the stream begins; later failures are events in it.
pub(crate) async fn watch(
    registry: &Registry,
    call: &Call<'_>,
    view: &Arc<dyn View>,
    (query, headers): (&Query, &HeaderMap),
    keeper: Keeper,
) -> Result<ApiResponse, Status> {
    let format = Format::choose(headers, query.get("pretty"), Offer::Events)?;
    let options = WatchOptions::parse(query, registry.entropy())?;
    let selection = Selection::parse(query, call.resource)?;
    let include = include(query)?;
    if format.transform == Transform::Table {
        printer(call.resource)?;
    }
    let scope = call.scope(&selection);
    registry.reach(options.revision).await?;
    let state = options.starts_with_state().then(|| State {
        snapshot: registry.store().snapshot(&call.resource.id),
        scope: scope.clone(),
        after: None,
        marks_end: options.marks_end_of_state(),
    });
    let after = match (&state, options.revision) {
        (Some(state), _) => state.snapshot.revision(),
        (None, Some(revision)) if !options.starts_now() => revision,
        (None, _) => registry.store().revision(),
    };
    let source = registry.store().watch(&call.resource.id, scope, after);
    let frames = Frames::new(registry, call, view, selection, (format.transform, include));
    let stream = EventStream::new(frames, source, state, &options, keeper);
    let body = futures_util::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((chunk, stream))
    });
    let body = ResponseBody::Stream(Box::pin(body));
    Ok(respond::bytes_of(StatusCode::OK, "application/json", body))
}

/// What is left to send of the state that a watch begins with.
struct State {
    snapshot: Snapshot,
    scope: Scope,
    /// The last object that was sent or passed over.
    after: Option<(ClusterName, ObjectName)>,
    marks_end: bool,
}

struct EventStream {
    frames: Frames,
    state: Option<State>,
    /// Gone after a failure.
    source: Option<Watch>,
    pending: VecDeque<Bytes>,
    bookmarks: bool,
    next_bookmark: Instant,
    next_check: Instant,
    end: Instant,
    keeper: Keeper,
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.keeper.metrics.watches.dec();
    }
}

impl EventStream {
    fn new(
        frames: Frames,
        source: Result<Watch, WatchError>,
        state: Option<State>,
        options: &WatchOptions,
        keeper: Keeper,
    ) -> Self {
        let now = Instant::now();
        let end = now + options.life;
        keeper.metrics.watches.inc();
        let (state, source, failure) = match source {
            Ok(source) => (state, Some(source), None),
            Err(error) => (None, None, Some(error_frame(&ended(&error)))),
        };
        let mut stream = Self {
            frames,
            state,
            source,
            pending: failure.into_iter().collect(),
            bookmarks: options.bookmarks,
            next_bookmark: now,
            next_check: now + RECHECK_EVERY,
            end,
            keeper,
        };
        stream.plan_bookmark(now);
        stream
    }

    /// The next frames; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.keeper.shutdown.is_asked() {
                return None;
            }
            if Instant::now() >= self.alarm() {
                self.ring().await?;
            }
            if let Some(chunk) = self.take() {
                return Some(chunk);
            }
            if let Some(chunk) = self.go_on_with_state() {
                return Some(chunk);
            }
            let alarm = self.alarm();
            let source = self.source.as_mut()?;
            tokio::select! {
                biased;
                () = self.keeper.shutdown.asked() => return None,
                events = source.next() => self.receive(events),
                () = tokio::time::sleep_until(alarm) => {}
            }
        }
    }

    /// What waits to be sent, up to a chunk of it.
    fn take(&mut self) -> Option<Bytes> {
        let first = self.pending.pop_front()?;
        if self.pending.is_empty() {
            return Some(first);
        }
        let mut chunk = BytesMut::from(&first[..]);
        while let Some(next) =
            self.pending.pop_front_if(|next| chunk.len() + next.len() <= CHUNK_BYTES)
        {
            chunk.extend_from_slice(&next);
        }
        Some(chunk.freeze())
    }

    /// The next chunk of the state that the watch begins with; `None` once all of it is sent.
    fn go_on_with_state(&mut self) -> Option<Bytes> {
        let state = self.state.take()?;
        let mut chunk = Vec::new();
        let mut last = None;
        let after = state.after.as_ref().map(|(cluster, name)| (cluster, name));
        for (cluster, name, object) in state.snapshot.iter_after(&state.scope, after) {
            if self.frames.shows(cluster, name, object) {
                chunk.extend_from_slice(&self.frames.state_of(object));
                self.keeper.metrics.events.inc();
                if chunk.len() >= CHUNK_BYTES {
                    last = Some((cluster.clone(), name.clone()));
                    break;
                }
            }
        }
        if last.is_some() {
            self.state = Some(State { after: last, ..state });
            return Some(chunk.into());
        }
        if state.marks_end {
            chunk.extend_from_slice(&self.frames.bookmark(state.snapshot.revision(), true));
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }

    fn receive(&mut self, events: Result<Vec<Arc<Event>>, WatchError>) {
        match events {
            Ok(events) => {
                let before = self.pending.len();
                self.pending.extend(events.iter().filter_map(|event| self.frames.frame(event)));
                self.keeper.metrics.events.inc_by((self.pending.len() - before) as u64);
            }
            Err(error) => {
                self.pending.push_back(error_frame(&ended(&error)));
                self.source = None;
            }
        }
    }

    fn alarm(&self) -> Instant {
        self.next_bookmark.min(self.next_check).min(self.end)
    }

    /// Does what is due: a bookmark, the question whether to go on, the end.
    async fn ring(&mut self) -> Option<()> {
        let now = Instant::now();
        if now >= self.end {
            return None;
        }
        if now >= self.next_check {
            self.next_check = now + RECHECK_EVERY;
            if !(self.keeper.recheck)() {
                return None;
            }
        }
        if now >= self.next_bookmark {
            self.plan_bookmark(now);
            // Only where everything before the bookmark has been sent.
            if let (None, Some(source)) = (&self.state, &mut self.source) {
                match source.ready().await {
                    Ok(events) if events.is_empty() => {
                        let bookmark = self.frames.bookmark(source.revision(), false);
                        self.pending.push_back(bookmark);
                    }
                    events => self.receive(events),
                }
            }
        }
        Some(())
    }

    /// Every minute, and once more before the end.
    fn plan_bookmark(&mut self, now: Instant) {
        let last = self.end.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
        self.next_bookmark = match last {
            Some(last) if self.bookmarks => (now + BOOKMARK_EVERY).min(last),
            _ => self.end,
        };
    }
}

/// Why a watch cannot go on, for the client.
fn ended(error: &WatchError) -> Status {
    match error {
        WatchError::TooOld { after, floor } => {
            Status::expired(format!("too old resource version: {after} ({floor})"))
        }
        _ => Status::internal("the watch cannot be continued").retry_after(1),
    }
}
