//! One stream of a connection, as two halves that may go to different tasks.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use strait_tunnel::{
    Class, Code, Directions, End, EndedBy, Read, Response, SendError, StreamId, Trailers,
};

use super::{Shared, leave, release};

/// What a stream brings, in this order: heads, bytes, trailers, one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A head: any number of informational ones, then the final one.
    Head(Response),
    /// Bytes. They count as consumed when the next part is asked for.
    Data(Bytes),
    /// What came after the bytes.
    Trailers(Trailers),
    /// It was all, and it was complete.
    End,
    /// There will be no more, and it was not complete.
    Broken(End),
}

/// The peer takes no more of what is written, or the stream is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer takes no more ({0})")]
pub struct Stopped(pub Code);

/// One stream. Dropping it, or both of its halves, ends what has not ended: a stream that was
/// opened here is cancelled unless both directions have; of one that the peer opened the answer
/// is aborted unless it was finished, and then no more of the request is taken.
#[derive(Debug)]
pub struct Stream {
    /// What comes.
    pub receiver: Receiver,
    /// What goes.
    pub sender: Sender,
}

/// What comes.
#[derive(Debug)]
pub struct Receiver {
    stream: Arc<Inner>,
    unconsumed: usize,
}

/// What goes.
#[derive(Debug)]
pub struct Sender {
    stream: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    id: StreamId,
    class: Class,
    local: bool,
    /// What is sent was ended in order.
    finished: AtomicBool,
    /// The end of what came was read.
    ended: AtomicBool,
}

impl Stream {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: StreamId,
        class: Class,
        local: bool,
        finished: bool,
    ) -> Self {
        let (finished, ended) = (finished.into(), false.into());
        let stream = Arc::new(Inner { shared, id, class, local, finished, ended });
        let receiver = Receiver { stream: stream.clone(), unconsumed: 0 };
        Self { receiver, sender: Sender { stream } }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.sender.stream.id.get()
    }

    /// How its opener wants it weighed.
    #[must_use]
    pub fn class(&self) -> Class {
        self.sender.stream.class
    }

    /// Its two directions.
    #[must_use]
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }
}

impl Receiver {
    /// What came next. The bytes before it count as consumed from now on.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Part> {
        let taken = mem::take(&mut self.unconsumed);
        let Inner { shared, id, .. } = &*self.stream;
        let mut state = shared.state.lock();
        if taken > 0 {
            state.connection.consumed(shared.clock.monotonic(), *id, taken);
        }
        let read = state.connection.read(*id);
        let wakes = state.connection.has_control();
        let part = match read {
            Read::Head(head) => Poll::Ready(Part::Head(head)),
            Read::Data(bytes) => {
                self.unconsumed = bytes.len();
                Poll::Ready(Part::Data(bytes))
            }
            Read::Trailers(trailers) => Poll::Ready(Part::Trailers(trailers)),
            Read::End => Poll::Ready(Part::End),
            Read::Broken(..) | Read::Pending => match state.waiting.get_mut(id) {
                Some(waiting) => match (&waiting.end, read) {
                    (Some(end), _) if end.truncated => Poll::Ready(Part::Broken((**end).clone())),
                    (Some(_), _) => Poll::Ready(Part::End),
                    (None, Read::Broken(code, by)) => {
                        Poll::Ready(Part::Broken(End::broken(code, by)))
                    }
                    (None, _) => {
                        leave(&mut waiting.reader, context.waker());
                        Poll::Pending
                    }
                },
                None => Poll::Ready(Part::Broken(End::broken(Code::Lost, EndedBy::Loss))),
            },
        };
        release(state, wakes);
        if matches!(part, Poll::Ready(Part::Trailers(_) | Part::End | Part::Broken(_))) {
            self.stream.ended.store(true, Relaxed);
        }
        part
    }

    /// What came next.
    ///
    /// # Cancel safety
    /// Safe: nothing is taken before it is returned.
    pub async fn next(&mut self) -> Part {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Waits until the peer has accepted the stream.
    ///
    /// # Errors
    /// The stream ended before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn accepted(&mut self) -> Result<(), End> {
        let accepted = poll_fn(|context| {
            let mut state = self.stream.shared.state.lock();
            match state.waiting.get_mut(&self.stream.id) {
                Some(waiting) if waiting.accepted => Poll::Ready(true),
                Some(waiting) if waiting.end.is_none() => {
                    leave(&mut waiting.reader, context.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(false),
            }
        });
        if accepted.await {
            return Ok(());
        }
        match self.next().await {
            Part::Broken(end) => Err(end),
            _ => Err(End::broken(Code::Protocol, EndedBy::Peer)),
        }
    }

    /// Tells the peer that no more of what it sends is wanted.
    pub fn stop(&mut self, code: Code) {
        let id = self.stream.id;
        let stop = |state: &mut super::State| {
            state.connection.reset(id, Directions::Receive, code, "");
        };
        self.stream.shared.act(stop);
    }
}

impl Sender {
    /// Takes a stream that the peer opened. To be called before anything of it reaches the
    /// service: from then on the peer assumes that it was executed.
    pub fn accept(&self) {
        self.stream.shared.act(|state| state.connection.accept(self.stream.id));
    }

    /// The same, but the peer is told with what the stream says next, or after 10 ms. For a stream
    /// whose answer will be there in a moment: it saves a wake-up on both sides.
    pub fn accept_with_next(&self) {
        let shared = &self.stream.shared;
        let now = shared.clock.monotonic();
        let mut state = shared.state.lock();
        let is_timed = state.connection.accept_with_next(now, self.stream.id);
        release(state, is_timed);
    }

    /// Has that leave now: the answer takes its time.
    pub fn push(&self) {
        self.stream.shared.act(|state| state.connection.push(self.stream.id));
    }

    /// Sends the head of a response; `end`: nothing follows.
    ///
    /// # Errors
    /// The stream is over, or the head cannot come now.
    pub fn send_head(&self, head: &Response, end: bool) -> Result<(), SendError> {
        let id = self.stream.id;
        let sent = self.stream.shared.act(|state| state.connection.send_head(id, head, end));
        self.finished(end, sent)
    }

    /// Sends trailers, the end of this direction.
    ///
    /// # Errors
    /// The stream is over, or is none with trailers.
    pub fn send_trailers(&self, trailers: &Trailers) -> Result<(), SendError> {
        let id = self.stream.id;
        let sent = self.stream.shared.act(|state| state.connection.send_trailers(id, trailers));
        self.finished(true, sent)
    }

    fn finished(&self, end: bool, sent: Result<(), SendError>) -> Result<(), SendError> {
        if end && sent.is_ok() {
            self.stream.finished.store(true, Relaxed);
        }
        sent
    }

    /// Takes bytes off the front of `bytes`; ready when all were taken.
    ///
    /// # Errors
    /// None of what is left will be.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<Result<(), Stopped>> {
        let id = self.stream.id;
        self.stream.shared.act(|state| {
            let waiting = state.waiting.get_mut(&id);
            let Some(waiting) = waiting else { return Poll::Ready(Err(Stopped(Code::Lost))) };
            let over = waiting.stopped.or_else(|| waiting.end.as_ref().map(|end| end.code));
            if let Some(code) = over {
                return Poll::Ready(Err(Stopped(code)));
            }
            state.connection.write(id, bytes);
            if bytes.is_empty() {
                Poll::Ready(Ok(()))
            } else {
                leave(&mut waiting.writer, context.waker());
                Poll::Pending
            }
        })
    }

    /// Writes bytes, as fast as the peer takes them.
    ///
    /// # Errors
    /// Not all of them will be taken.
    ///
    /// # Cancel safety
    /// What was taken until then is sent.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Stopped> {
        poll_fn(|context| self.poll_write(context, &mut bytes)).await
    }

    /// Ends this direction in order.
    ///
    /// # Errors
    /// It is over, or is a response without a head.
    pub fn finish(&self) -> Result<(), SendError> {
        let finished = self.stream.shared.act(|state| state.connection.finish(self.stream.id));
        self.finished(true, finished)
    }

    /// Whether this direction was ended in order.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stream.finished.load(Relaxed)
    }

    /// Ends this direction out of order, behind what was written.
    pub fn abort(&self, code: Code, text: &str) {
        let id = self.stream.id;
        self.stream.shared.act(|state| state.connection.abort(id, code, text));
    }

    /// Ends one or both directions out of order, at once.
    pub fn reset(&self, directions: Directions, code: Code, text: &str) {
        let id = self.stream.id;
        self.stream.shared.act(|state| state.connection.reset(id, directions, code, text));
    }

    /// Whether the peer has accepted a stream that was opened here.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let state = self.stream.shared.state.lock();
        state.waiting.get(&self.stream.id).is_some_and(|waiting| waiting.accepted)
    }

    /// A handle by which somebody else can reset the stream.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller { shared: Arc::downgrade(&self.stream.shared), id: self.stream.id }
    }

    /// Ready once the peer wants no more of what is written, or the stream is over.
    pub fn poll_stopped(&mut self, context: &mut Context<'_>) -> Poll<Code> {
        let mut state = self.stream.shared.state.lock();
        let Some(waiting) = state.waiting.get_mut(&self.stream.id) else {
            return Poll::Ready(Code::Lost);
        };
        match waiting.stopped.or_else(|| waiting.end.as_ref().map(|end| end.code)) {
            Some(code) => Poll::Ready(code),
            None => {
                leave(&mut waiting.watcher, context.waker());
                Poll::Pending
            }
        }
    }

    /// Who wants no more of what is written, once somebody does.
    #[must_use]
    pub fn stopped_by(&self) -> EndedBy {
        let state = self.stream.shared.state.lock();
        let end = state.waiting.get(&self.stream.id).and_then(|waiting| waiting.end.as_ref());
        end.map_or(EndedBy::Peer, |end| end.by)
    }

    /// Waits until the peer wants no more of what is written, or the stream is over: work for
    /// it can end then.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stopped(&mut self) -> Code {
        poll_fn(|context| self.poll_stopped(context)).await
    }
}

/// Resets a stream that somebody else holds. Keeps nothing open.
#[derive(Clone)]
pub struct Canceller {
    shared: Weak<Shared>,
    id: StreamId,
}

impl Canceller {
    /// Ends one or both directions out of order.
    pub fn reset(&self, directions: Directions, code: Code, text: &str) {
        if let Some(shared) = self.shared.upgrade() {
            shared.act(|state| state.connection.reset(self.id, directions, code, text));
        }
    }
}

impl Canceller {
    /// Bytes of the stream that are held here: to be sent, and not consumed yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let held = |shared: Arc<Shared>| shared.state.lock().connection.buffered(self.id);
        self.shared.upgrade().map_or(0, held)
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("id", &self.id.get()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (finished, ended) = (*self.finished.get_mut(), *self.ended.get_mut());
        let reset = match (self.local, finished, ended) {
            (_, true, true) => None,
            (true, _, _) => Some((Directions::Both, Code::Cancel)),
            (false, true, false) => Some((Directions::Receive, Code::None)),
            (false, false, _) => Some((Directions::Both, Code::Aborted)),
        };
        let id = self.id;
        // Only what was opened here has a share.
        let now = self.local.then(|| self.shared.clock.monotonic());
        self.shared.act(|state| {
            let waiting = state.waiting.remove(&id);
            if let (Some(share), Some(now)) = (waiting.and_then(|waiting| waiting.share), now) {
                share.stood(state.connection.take_stalled(now, id));
            }
            if let Some((directions, code)) = reset {
                state.connection.reset(id, directions, code, "");
            }
            if !self.local {
                state.connection.release(id);
            }
        });
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id.get()).finish_non_exhaustive()
    }
}
