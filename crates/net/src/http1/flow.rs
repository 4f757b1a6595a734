//! The body of a request, between the connection that it comes from and whoever reads it.
//!
//! A part is taken from the connection when it is asked for, and not before: a slow reader holds up
//! its client, and nothing is kept for it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::Malformed;
use super::payload::Part;

/// A body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfinished {
    /// The client went away.
    #[error("the connection ended within the body")]
    Cut,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

#[derive(Debug, Default)]
struct State {
    /// What was asked for.
    part: Option<Result<Part, Unfinished>>,
    /// Somebody waits for it.
    asked: bool,
    /// Nobody ever will again.
    gone: bool,
    reader: Option<Waker>,
    connection: Option<Waker>,
}

/// What its reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The next part.
    Part,
    /// Nothing now.
    Nothing,
    /// Nothing ever.
    Gone,
}

/// The connection's end.
#[derive(Debug)]
pub(super) struct Sender(Arc<Mutex<State>>);

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Receiver {
    state: Arc<Mutex<State>>,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    over: bool,
}

/// A body of so many bytes, if that is known.
pub(super) fn flow(left: Option<u64>) -> (Sender, Receiver) {
    let state = Arc::<Mutex<State>>::default();
    (Sender(state.clone()), Receiver { state, left, over: left == Some(0) })
}

impl Sender {
    /// What is wanted; this is woken when that changes.
    pub(super) fn wish(&self, context: &Context<'_>) -> Wish {
        let mut state = self.0.lock();
        if state.gone {
            return Wish::Gone;
        }
        // Also while a part is awaited: its reader may give up.
        keep(&mut state.connection, context);
        if state.asked && state.part.is_none() { Wish::Part } else { Wish::Nothing }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.0.lock().gone
    }

    /// Gives what was asked for.
    pub(super) fn give(&self, part: Result<Part, Unfinished>) {
        let reader = {
            let mut state = self.0.lock();
            state.part = Some(part);
            state.asked = false;
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let reader = {
            let mut state = self.0.lock();
            state.part.get_or_insert(Err(Unfinished::Cut));
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Body for Receiver {
    type Data = Bytes;
    type Error = Unfinished;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unfinished>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        let (part, connection) = {
            let mut state = this.state.lock();
            let part = state.part.take();
            state.asked = part.is_none();
            if state.asked {
                keep(&mut state.reader, context);
            }
            let connection = state.connection.take_if(|_| part.is_none());
            (part, connection)
        };
        let Some(part) = part else {
            // Within the connection's own task it looks for itself.
            if let Some(connection) = connection.filter(|own| !own.will_wake(context.waker())) {
                connection.wake();
            }
            return Poll::Pending;
        };
        let frame = match part {
            Ok(Part::Data(data)) => {
                if let Some(left) = &mut this.left {
                    *left -= data.len() as u64;
                    this.over = *left == 0;
                }
                Ok(Frame::data(data))
            }
            Ok(Part::Trailers(fields)) => {
                this.over = true;
                Ok(Frame::trailers(fields))
            }
            Ok(Part::End) => {
                this.over = true;
                return Poll::Ready(None);
            }
            Err(error) => {
                this.over = true;
                Err(error)
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let connection = {
            let mut state = self.state.lock();
            state.gone = true;
            state.connection.take()
        };
        if let Some(connection) = connection {
            connection.wake();
        }
    }
}

fn keep(waker: &mut Option<Waker>, context: &Context<'_>) {
    match waker {
        Some(own) => own.clone_from(context.waker()),
        None => *waker = Some(context.waker().clone()),
    }
}
