//! The task of a connection.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use strait_tunnel::{Class, Close, Event, OpenHead, Out, StreamId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep};

use super::{Acceptor, Shared, State, Stream, leave};

/// What is read at once from a connection that has little to say, and from one that has much.
const READ: [usize; 2] = [16 << 10, 64 << 10];
/// What is written at once.
const WRITE: usize = 64 << 10;
/// What others do before it is written although some of them have not had their turn: the peer can
/// begin with that.
const ENOUGH: u32 = 16;
/// Of these so many, before other tasks have their turn.
const BATCHES: usize = 4;
/// After the last frame: for the peer to close its side, so that it can read that frame.
const LINGER: Duration = Duration::from_secs(1);

/// Less than this part of a buffer is copied: 1 ÷ 4. The slices of it that wait then hold no more
/// than what came with them.
const SLICE_PART: usize = 4;

/// The task of a connection: resolves when it is over, and everything that waited was told.
/// Dropped before, the connection is lost.
pub struct Driver<T> {
    io: T,
    shared: Arc<Shared>,
    acceptor: Acceptor,
    phase: Phase,
    buffer: BytesMut,
    /// Which of the two sizes the next buffer has.
    much: bool,
    out: Out,
    /// Something was written that may not have left.
    unflushed: bool,
    gathered: Gathered,
    timer: Pin<Box<Sleep>>,
    /// When the timer ends, by the connection's clock.
    armed: Duration,
    found: Found,
}

/// Who had their turn since the last batch was written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gathered {
    Nobody,
    /// Tasks that were ready, after so much had been done.
    Ready(u32),
    /// Those too that what has come from outside makes ready.
    All,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last frames are being written.
    Closing,
    /// This side is shut; the peer's is read to its end.
    Lingering,
    Over,
}

/// What a look at the connection brought, to be told without the lock.
#[derive(Default)]
struct Found {
    wakers: Vec<Waker>,
    incoming: VecDeque<(StreamId, Class, OpenHead)>,
    life: Vec<Event>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(io: T, shared: Arc<Shared>, acceptor: Acceptor) -> Self {
        Self {
            io,
            shared,
            acceptor,
            phase: Phase::Open,
            buffer: BytesMut::new(),
            much: false,
            out: Out::new(WRITE),
            unflushed: false,
            gathered: Gathered::Nobody,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: Duration::ZERO,
            found: Found::default(),
        }
    }

    /// Reads what is there, up to a buffer; true if there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> bool {
        self.buffer.reserve(READ[usize::from(self.much)]);
        let room = self.buffer.capacity();
        let mut ended = false;
        while self.buffer.len() < room {
            match pin!(self.io.read_buf(&mut self.buffer)).poll(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => {
                    ended = true;
                    break;
                }
            }
        }
        let count = self.buffer.len();
        self.much = if count == room { true } else { self.much && count > READ[0] / 2 };
        let bytes = take(&mut self.buffer);
        if !self.much && self.buffer.capacity() > READ[0] {
            self.buffer = BytesMut::new();
        }
        if count == 0 && !ended {
            return false;
        }
        let full = count == room;
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state.lock();
        state.traffic.add(now, count);
        state.carried.received += count as u64;
        if self.phase == Phase::Open {
            state.connection.receive(now, bytes);
        }
        if ended {
            state.connection.transport_ended(now);
        }
        state.look(&mut self.found);
        drop(state);
        self.tell();
        if ended {
            self.phase = Phase::Over;
        }
        full && !ended
    }

    /// Fills the batch, and leaves the waker for whatever is to be sent after this look. True if
    /// there may be more than fitted.
    fn fill(&mut self, context: &Context<'_>) -> bool {
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state.lock();
        leave(&mut state.driver, context.waker());
        (state.done, state.enough) = (0, 1);
        let before = self.out.remaining();
        state.connection.poll_transmit(now, &mut self.out);
        let deadline = state.connection.deadline();
        let due = deadline.is_some_and(|deadline| deadline <= now);
        if due {
            state.connection.expire(now);
            state.connection.poll_transmit(now, &mut self.out);
        }
        let sent = self.out.remaining().saturating_sub(before);
        state.traffic.add(now, sent);
        state.carried.sent += sent as u64;
        state.sent.add(now, sent);
        let deadline = if due { state.connection.deadline() } else { deadline };
        state.look(&mut self.found);
        let closed = state.connection.is_closed();
        let more = state.connection.wants_transmit();
        drop(state);
        self.tell();
        if closed && self.phase == Phase::Open {
            self.phase = Phase::Closing;
        }
        self.arm(now, deadline);
        more
    }

    /// Sets the timer if it would end too late.
    fn arm(&mut self, now: Duration, deadline: Option<Duration>) {
        let Some(deadline) = deadline else { return };
        if deadline < self.armed || self.armed <= now {
            self.armed = deadline;
            self.timer.as_mut().reset(Instant::now() + deadline.saturating_sub(now));
        }
    }

    /// Writes the batch; true if the transport took something.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while self.out.has_remaining() {
            match pin!(self.io.write_buf(&mut self.out)).poll(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => {
                    written?;
                    (wrote, self.unflushed) = (true, true);
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.io).poll_flush(context)?.is_ready() {
            self.unflushed = false;
        }
        // What TLS has taken and could not pass on waits as well, and all else behind it.
        let backlog = self.out.remaining().max(usize::from(self.unflushed));
        self.shared.backlog.store(backlog, Ordering::Relaxed);
        Ok(wrote)
    }

    /// Tells what was found, without the lock.
    fn tell(&mut self) {
        for event in self.found.life.drain(..) {
            self.shared.life.send_modify(|life| match event {
                Event::Ready(peer) => life.peer = Some(Arc::from(peer)),
                Event::Draining(draining) => life.draining = Some(Arc::from(draining)),
                Event::Ended(close) => life.closed = Some(Arc::from(close)),
                _ => {}
            });
        }
        while let Some((id, class, head)) = self.found.incoming.pop_front() {
            let stream = Stream::new(self.shared.clone(), id, class, false, false);
            (self.acceptor)(stream, head);
        }
        for waker in self.found.wakers.drain(..) {
            waker.wake();
        }
    }

    fn lose(&mut self) {
        let now = self.shared.clock.monotonic();
        let mut state = self.shared.state.lock();
        state.connection.transport_ended(now);
        state.look(&mut self.found);
        drop(state);
        self.tell();
        self.phase = Phase::Over;
    }

    /// Moves some bytes, after some batches with a pause for others: nobody waits for a
    /// connection that is busy.
    fn turn(&mut self, context: &mut Context<'_>) {
        let mut again = self.read(context);
        if self.phase != Phase::Open || !self.has_gathered(context) {
            return;
        }
        self.gathered = Gathered::Nobody;
        for batch in 1..=BATCHES {
            let more = self.fill(context);
            match self.write(context) {
                Ok(true) if more && self.phase == Phase::Open => again |= batch == BATCHES,
                Ok(_) => break,
                Err(_) => return self.lose(),
            }
        }
        if again && self.phase == Phase::Open {
            context.waker().wake_by_ref();
        }
    }

    /// Whether it is time to write: others have their turn before, so that what they have to say
    /// leaves as one batch, and not each with a system call and a TLS record of its own. Those that
    /// are ready come first. If they brought nothing, one alone is at work, and does not wait. Else
    /// those have their turn too that become ready by what has come from outside, or as many as
    /// bring enough. Where it is not time yet, this task runs again.
    fn has_gathered(&mut self, context: &mut Context<'_>) -> bool {
        let mut state = self.shared.state.lock();
        if state.done >= ENOUGH {
            return true;
        }
        let gathered = match self.gathered {
            Gathered::All => return true,
            Gathered::Ready(done) if state.done == done || !state.connection.wants_transmit() => {
                return true;
            }
            Gathered::Ready(_) => Gathered::All,
            Gathered::Nobody => Gathered::Ready(state.done),
        };
        leave(&mut state.driver, context.waker());
        state.enough = ENOUGH;
        drop(state);
        self.gathered = gathered;
        if gathered == Gathered::All {
            let _ = pin!(yield_now()).poll(context);
        } else {
            context.waker().wake_by_ref();
        }
        false
    }

    /// Writes what is left, then shuts this side.
    fn close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.write(context).is_err() {
            self.phase = Phase::Over;
            return Poll::Ready(());
        }
        if !self.out.has_remaining() && !self.unflushed {
            let shut = ready!(Pin::new(&mut self.io).poll_shutdown(context));
            self.phase = if shut.is_ok() { Phase::Lingering } else { Phase::Over };
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Arc<Close>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Arc<Close>> {
        let driver = &mut *self;
        loop {
            match driver.phase {
                Phase::Open => {
                    driver.turn(context);
                    if driver.phase == Phase::Open {
                        ready!(driver.timer.as_mut().poll(context));
                        driver.armed = Duration::ZERO;
                    }
                    if driver.phase == Phase::Closing {
                        driver.armed = Duration::MAX;
                        driver.timer.as_mut().reset(Instant::now() + LINGER);
                    }
                }
                Phase::Closing => {
                    if driver.timer.as_mut().poll(context).is_ready() {
                        driver.phase = Phase::Over;
                    } else if driver.close(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Phase::Lingering => {
                    while driver.read(context) {}
                    let late = driver.timer.as_mut().poll(context).is_ready();
                    if driver.phase == Phase::Lingering && !late {
                        return Poll::Pending;
                    }
                    driver.phase = Phase::Over;
                }
                Phase::Over => {
                    let closed = driver.shared.life.borrow().closed.clone();
                    let Some(closed) = closed else {
                        driver.lose();
                        continue;
                    };
                    return Poll::Ready(closed);
                }
            }
        }
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        // A task that was aborted: whoever waits must not wait for ever.
        let now = self.shared.clock.monotonic();
        let mut found = mem::take(&mut self.found);
        let mut state = self.shared.state.lock();
        state.connection.transport_ended(now);
        state.look(&mut found);
        state.driver = None;
        drop(state);
        for event in found.life {
            if let Event::Ended(close) = event {
                self.shared.life.send_modify(|life| life.closed = Some(Arc::from(close)));
            }
        }
        for waker in found.wakers {
            waker.wake();
        }
    }
}

impl State {
    /// Notes what happened: for streams that are held, whom to wake; the rest for the caller.
    fn look(&mut self, found: &mut Found) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Incoming(id, incoming) => {
                    self.waiting.insert(id, super::Waiting::default());
                    self.carried.count(&incoming.head);
                    found.incoming.push_back((id, incoming.class, incoming.head));
                }
                Event::Accepted(id) => self.note(found, id, |waiting| {
                    (waiting.accepted, waiting.place) = (true, None);
                    [waiting.reader.take(), None, None]
                }),
                Event::Readable(id) => {
                    self.note(found, id, |waiting| [waiting.reader.take(), None, None]);
                }
                Event::Writable(id) => {
                    self.note(found, id, |waiting| [waiting.writer.take(), None, None]);
                }
                Event::Stopped(id, code) => self.note(found, id, |waiting| {
                    waiting.stopped = Some(code);
                    [waiting.writer.take(), waiting.watcher.take(), None]
                }),
                Event::Closed(id, end) => {
                    // It is forgotten after this.
                    let stalled = self.connection.take_stalled(Duration::ZERO, id);
                    self.note(found, id, |waiting| {
                        if let Some(share) = waiting.share.take() {
                            share.stood(stalled);
                        }
                        (waiting.end, waiting.place) = (Some(end), None);
                        [waiting.reader.take(), waiting.writer.take(), waiting.watcher.take()]
                    });
                }
                other => found.life.push(other),
            }
        }
    }

    fn note(
        &mut self,
        found: &mut Found,
        id: StreamId,
        note: impl FnOnce(&mut super::Waiting) -> [Option<Waker>; 3],
    ) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            found.wakers.extend(note(waiting).into_iter().flatten());
        }
    }
}

impl<T> std::fmt::Debug for Driver<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Takes what was read out of a buffer.
fn take(buffer: &mut BytesMut) -> Bytes {
    if buffer.len() * SLICE_PART >= buffer.capacity() {
        return buffer.split().freeze();
    }
    let bytes = Bytes::copy_from_slice(buffer);
    buffer.clear();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_that_waits_holds_no_buffer() {
        for (length, copied) in [(1, true), (4095, true), (4096, false), (16_384, false)] {
            let mut buffer = BytesMut::with_capacity(READ[0]);
            buffer.extend_from_slice(&vec![7; length]);
            let taken = take(&mut buffer);
            assert_eq!((taken.len(), buffer.len()), (length, 0));
            assert_eq!(buffer.capacity() == READ[0], copied, "{length}");
        }
    }
}
