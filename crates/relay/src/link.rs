//! A tunnel connection, driven: the protocol of [`strait_tunnel`] over a transport.
//!
//! ```text
//! transport ◄──► Driver ──┐
//!                         ├── one Connection, under a lock that nobody holds while waiting
//! Link, Stream ◄──────────┘
//! ```
//!
//! The [`Driver`] is a task: it moves bytes, keeps time, and tells streams what came. A [`Link`]
//! is a handle of the connection, a [`Stream`] one of a stream. What a handle does is done at
//! once on the state machine; the driver is woken to send what came of it. Whoever waits leaves
//! a waker under the same lock under which it looked, so that none is missed.
//!
//! What is received and not consumed by all connections together is bounded by [`Memory`].

#[cfg(test)]
mod batches;
pub mod control;
mod driver;
#[cfg(test)]
mod interleavings;
mod lock;
mod memory;
mod share;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use strait_runtime::Clock;
use strait_tunnel::{
    Brake, Class, Close, Code, Config, Connection, Directions, Drain, Draining, End, OpenError,
    OpenHead, Peer, Side, StreamId, Usage,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use lock::{Mutex, MutexGuard};
use share::Place;
use traffic::Traffic;

pub use driver::Driver;
pub use memory::Memory;
pub use share::{Share, Stalls, Unopened};
pub use stream::{Canceller, Part, Receiver, Sender, Stopped, Stream};
pub use traffic::Burden;

/// Takes the streams that the peer opens. It is called by the driver's task and must not wait:
/// work is for a task of its own.
pub type Acceptor = Box<dyn FnMut(Stream, OpenHead) + Send>;

/// What a connection is carried by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// TLS on TCP.
    Direct,
    /// The same TLS in a WebSocket, for ways that pass HTTP alone.
    WebSocket,
}

impl Carriage {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Direct, Self::WebSocket];

    /// Its name in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::WebSocket => "websocket",
        }
    }
}

/// How long what was said before a break may take to leave.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// A handle of a connection; clones are the same one.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    life: watch::Sender<Life>,
    /// Bytes that the transport was given and has not taken; at least one while it has not passed
    /// on what it took.
    backlog: AtomicUsize,
    /// Streams that are about to be opened.
    coming: AtomicUsize,
}

/// The connection and whoever waits for it.
struct State {
    connection: Connection,
    waiting: BTreeMap<StreamId, Waiting>,
    driver: Option<Waker>,
    /// What was done since the driver last wrote, and how much of that wakes it: one thing while
    /// it sleeps, more while it lets others add to what it will write.
    done: u32,
    enough: u32,
    traffic: Traffic,
    /// The same of what leaves.
    sent: Traffic,
    carried: Carried,
}

impl State {
    /// Opens a stream and keeps what waits for it.
    fn open(
        &mut self,
        now: Duration,
        head: &OpenHead,
        (class, end): (Class, bool),
        waiting: Waiting,
    ) -> Result<StreamId, OpenError> {
        let id = self.connection.open(now, head, class, end)?;
        self.carried.count(head);
        self.waiting.insert(id, waiting);
        Ok(id)
    }
}

/// What a connection has carried since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Streams that either side opened, control streams aside.
    pub streams: u64,
    /// Bytes to the peer, frames and all.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
}

/// Who waits for a stream, and what was told of it that does not come by reading.
#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Who wants to know that the peer wants no more.
    watcher: Option<Waker>,
    accepted: bool,
    stopped: Option<Code>,
    end: Option<Box<End>>,
    /// Until it is accepted.
    place: Option<Place>,
    /// Of the service that it is for.
    share: Option<Share>,
}

/// What a connection has gone through.
#[derive(Clone, Debug, Default)]
struct Life {
    peer: Option<Arc<Peer>>,
    draining: Option<Arc<Draining>>,
    closed: Option<Arc<Close>>,
}

impl Link {
    /// A connection over a transport that was just made. Nothing happens before the driver is
    /// polled.
    pub fn new<T>(
        transport: T,
        side: Side,
        config: Config,
        clock: Arc<dyn Clock>,
        acceptor: Acceptor,
    ) -> (Self, Driver<T>)
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let connection = Connection::new(side, config, clock.monotonic());
        let (traffic, sent) = (Traffic::default(), Traffic::default());
        let (waiting, carried) = (BTreeMap::new(), Carried::default());
        let (driver, done, enough) = (None, 0, 1);
        let state = State { connection, waiting, driver, done, enough, traffic, sent, carried };
        let life = watch::Sender::new(Life::default());
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new(state),
            life,
            backlog: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
        });
        (Self(shared.clone()), Driver::new(transport, shared, acceptor))
    }

    /// Counts what the connection holds into the process' memory, as its owner's, and bounds it by
    /// that.
    pub fn account(&self, memory: &Arc<Memory>, owner: &str) {
        memory.add(&self.0, owner);
    }

    /// Waits for the peer's HELLO.
    ///
    /// # Errors
    /// The connection ended before.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) -> Result<Arc<Peer>, Arc<Close>> {
        let mut life = self.0.life.subscribe();
        // The sender is here: waiting does not fail.
        let found = life.wait_for(|life| life.peer.is_some() || life.closed.is_some()).await;
        let life = found.map(|life| life.clone()).unwrap_or_default();
        match (life.peer, life.closed) {
            (Some(peer), _) => Ok(peer),
            (None, Some(close)) => Err(close),
            (None, None) => unreachable!("one of them was waited for"),
        }
    }

    /// Waits until the peer takes no new streams; `None` if the connection ended without it.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn draining(&self) -> Option<Arc<Draining>> {
        let mut life = self.0.life.subscribe();
        let found = life.wait_for(|life| life.draining.is_some() || life.closed.is_some()).await;
        found.ok().and_then(|life| life.draining.clone())
    }

    /// Waits for the connection's end.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn closed(&self) -> Arc<Close> {
        let mut life = self.0.life.subscribe();
        let found = life.wait_for(|life| life.closed.is_some()).await;
        let close = found.ok().and_then(|life| life.closed.clone());
        close.unwrap_or_else(|| unreachable!("it was waited for"))
    }

    /// Whether streams can be opened, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let life = self.0.life.borrow();
        life.peer.is_some() && life.draining.is_none() && life.closed.is_none()
    }

    /// Opens a stream; it can be written to at once. `end`: nothing will be.
    ///
    /// # Errors
    /// Why no stream can be opened now.
    pub fn open(&self, head: &OpenHead, class: Class, end: bool) -> Result<Stream, OpenError> {
        let now = self.0.clock.monotonic();
        let id = self.0.act(|state| state.open(now, head, (class, end), Waiting::default()))?;
        Ok(Stream::new(self.0.clone(), id, class, true, end))
    }

    /// The same for a service, which has its share of what may wait to be accepted.
    ///
    /// # Errors
    /// Why no stream of the service can be opened now.
    pub fn open_of(
        &self,
        share: &Share,
        head: &OpenHead,
        class: Class,
        end: bool,
    ) -> Result<Stream, Unopened> {
        let now = self.0.clock.monotonic();
        let id = self.0.act(|state| {
            let place = Some(share.take(state.connection.room())?);
            let waiting = Waiting { place, share: Some(share.clone()), ..Waiting::default() };
            state.open(now, head, (class, end), waiting).map_err(Unopened::from)
        })?;
        Ok(Stream::new(self.0.clone(), id, class, true, end))
    }

    /// Whether a service has a place left in its share.
    #[must_use]
    pub fn has_room(&self, share: &Share) -> bool {
        share.waiting() < self.0.state.lock().connection.room()
    }

    /// Takes no new streams, lets those that are open run out, then ends the connection.
    pub fn drain(&self, drain: Drain) {
        let now = self.0.clock.monotonic();
        self.0.act(|state| state.connection.drain(now, drain));
    }

    /// Ends the connection at once, and tells the peer.
    pub fn cut(&self, code: Code, text: &str) {
        let now = self.0.clock.monotonic();
        self.0.act(|state| state.connection.cut(now, code, text));
    }

    /// Streams that are held here.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.0.state.lock().waiting.len()
    }

    /// What a stream would share the connection with that was opened at `now`: what moved in the last
    /// moments, both ways, and what is open or about to be.
    #[must_use]
    pub fn burden(&self, now: Duration) -> Burden {
        let coming = self.0.coming.load(Ordering::Relaxed);
        let state = self.0.state.lock();
        Burden::new(state.traffic.lately(now), state.connection.usage().open + coming)
    }

    /// A stream is about to be opened here: it counts until it is, or this is dropped. Those that come
    /// meanwhile are not all to choose this connection.
    #[must_use]
    pub fn expect(&self) -> Coming {
        self.0.coming.fetch_add(1, Ordering::Relaxed);
        Coming(self.clone())
    }

    /// How long what is sent now waits before it is on its way, at the speed of the last moments.
    #[must_use]
    pub fn queueing(&self) -> Duration {
        let backlog = self.0.backlog.load(Ordering::Relaxed);
        if backlog == 0 {
            // What streams hold then waits for their readers.
            return Duration::ZERO;
        }
        let now = self.0.clock.monotonic();
        let state = self.0.state.lock();
        state.sent.time_for(now, backlog.saturating_add(state.connection.usage().queued))
    }

    /// Bytes that are on their way at once, in the direction of which there are more, at the speed
    /// of the last moments and without what queues hold; 0 while nobody knows how far away the
    /// peer is.
    #[must_use]
    pub fn on_its_way(&self) -> u64 {
        let now = self.0.clock.monotonic();
        let state = self.0.state.lock();
        let nearest = state.connection.nearest().unwrap_or_default();
        let sent = state.sent.within(now, nearest);
        let both = state.traffic.within(now, nearest);
        sent.max(both.saturating_sub(sent))
    }

    /// The smallest round trip that was measured, if one was.
    #[must_use]
    pub fn nearest(&self) -> Option<Duration> {
        self.0.state.lock().connection.nearest()
    }

    /// What the connection holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.state.lock().connection.usage()
    }

    /// Tells how long open streams stood still since this was last done, so that it is not told
    /// at their end alone.
    pub fn tell_stalls(&self) {
        let now = self.0.clock.monotonic();
        let mut state = self.0.state.lock();
        let State { connection, waiting, .. } = &mut *state;
        for (id, one) in waiting.iter() {
            if let Some(share) = &one.share {
                share.stood(connection.take_stalled(now, *id));
            }
        }
    }

    /// What the connection has carried.
    #[must_use]
    pub fn carried(&self) -> Carried {
        self.0.state.lock().carried
    }

    /// The smallest round trip of the last seconds, if one was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        let now = self.0.clock.monotonic();
        self.0.state.lock().connection.round_trip(now)
    }
}

/// A stream that is about to be opened.
#[derive(Debug)]
pub struct Coming(Link);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.0.coming.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Carried {
    /// A stream was opened.
    const fn count(&mut self, head: &OpenHead) {
        if !matches!(head, OpenHead::Control) {
            self.streams += 1;
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Shared {
    /// Does something that there may be something to send of.
    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        release(state, true);
        result
    }

    /// Says what the process' memory allows, and resets streams that hold most of it.
    fn brake(&self, brake: Brake, shed: u64) -> u64 {
        let now = self.clock.monotonic();
        self.act(|state| {
            state.connection.set_brake(brake);
            let mut freed = 0;
            while freed < shed {
                let Some(heavy) = state.connection.heaviest(now, 1).pop() else { break };
                let text = "the process is short of memory";
                state.connection.reset(heavy.id, Directions::Both, Code::Overloaded, text);
                freed += heavy.bytes;
            }
            freed
        })
    }
}

/// Gives the lock back, and has the driver look at what there is for it if it is to.
fn release(mut state: MutexGuard<'_, State>, wakes: bool) {
    state.done += u32::from(wakes);
    let enough = state.done >= state.enough;
    let driver = state.driver.take_if(|_| wakes && enough);
    drop(state);
    if let Some(driver) = driver {
        driver.wake();
    }
}

/// Leaves a waker unless that one is there already.
fn leave(slot: &mut Option<Waker>, waker: &Waker) {
    if !slot.as_ref().is_some_and(|there| there.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}
