//! An event for an attempt: from memory if it was just accepted, else from the log, when there is
//! room for it.

use std::sync::Arc;

use super::Shared;
use super::budget::{Share, Taken};
use crate::event::{Event, Position};
use crate::log::ReadError;

/// Bytes of events that are read at a time, the first in any case: far fewer than are kept, and
/// enough for a backend that lags behind to wait for a disk now and then only.
const READ_AHEAD_BYTES: usize = 512 << 10;

#[derive(Debug)]
pub(super) enum Fetched {
    Event(Arc<Event>, Taken),
    /// The log does not have it any more.
    Gone,
    Damaged,
    /// The disk failed.
    Unread,
}

/// Finds an event, and takes room for it.
pub(super) async fn fetch(shared: &Arc<Shared>, share: &Share, position: Position) -> Fetched {
    let mut room = None;
    loop {
        // Removed meanwhile, it may still be in memory.
        if position < shared.keep().log.floor() {
            return Fetched::Gone;
        }
        let found = match shared.recent.find(position) {
            Some(event) => Ok(Some(event)),
            None => Box::pin(load(shared, position)).await,
        };
        let event = match found {
            Ok(Some(event)) => event,
            Ok(None) => return Fetched::Gone,
            Err(error) => return failed(position, &error),
        };
        let bytes = event.body.len();
        if let Some(taken) = room.take().or_else(|| share.try_take(bytes)) {
            return Fetched::Event(event, taken);
        }
        // It may not be held while it waits: it would be in memory all the same.
        drop(event);
        room = Some(share.take(bytes).await);
    }
}

/// Reads an event from the log, and those behind it that will be asked for next. One caller
/// reads at a time; who waited finds what another read.
async fn load(shared: &Arc<Shared>, position: Position) -> Result<Option<Arc<Event>>, ReadError> {
    let _loading = shared.loading.lock().await;
    if let Some(event) = shared.recent.find(position) {
        return Ok(Some(event));
    }
    let shared = shared.clone();
    let read = tokio::task::spawn_blocking(move || read_ahead(&shared, position)).await;
    read.unwrap_or_else(|panic| Err(ReadError::Io(std::io::Error::other(panic))))
}

fn read_ahead(shared: &Shared, position: Position) -> Result<Option<Arc<Event>>, ReadError> {
    let log = &shared.keep().log;
    let Some(event) = log.read(position)?.map(Arc::new) else {
        return Ok(None);
    };
    let mut bytes = shared.recent.put(position, &event, None);
    let mut at = position.0;
    while bytes < READ_AHEAD_BYTES {
        at += 1;
        if shared.recent.find(Position(at)).is_some() {
            break;
        }
        // What is wrong is found by whoever wants it.
        let Ok(Some(next)) = log.read(Position(at)) else {
            break;
        };
        bytes += shared.recent.put(Position(at), &Arc::new(next), None);
    }
    Ok(Some(event))
}

fn failed(position: Position, error: &ReadError) -> Fetched {
    match error {
        ReadError::Damaged(_) => Fetched::Damaged,
        ReadError::Io(_) => {
            let err = strait_types::Report(error).to_string();
            tracing::error!(position = position.0, err, "cannot read a webhook that waits");
            Fetched::Unread
        }
    }
}
