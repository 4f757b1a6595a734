//! One endpoint of one transport connection.
//!
//! Bytes go in through [`Connection::receive`], events come out of [`Connection::poll_event`],
//! bytes to write out of [`Connection::poll_transmit`]; time is told with each call that may need
//! it, and [`Connection::expire`] is due at [`Connection::deadline`]. Time is that of a clock
//! that never goes back, since any moment.
//!
//! Receiving never waits for sending: what a frame causes to be answered takes a slot that
//! exists once, or ends the connection. So the memory of an endpoint is bounded by its limits
//! ([`Connection::usage`]), whatever its peer sends and however little it takes.

mod data;
mod ending;
mod handshake;
mod incoming;
mod local;
mod receive;
mod streams;
mod transmit;

use std::collections::VecDeque;
use std::time::Duration;

use self::data::DataFrame;
use self::incoming::Assembly;
use self::receive::Abuse;
use self::streams::{Late, Streams};
use self::transmit::{Block, Slots};
use crate::code::Code;
use crate::decode::Decoder;
use crate::event::{Close, Drain, Draining, Event, Incoming};
use crate::hello::{EXTENDED_HEADS, Peer};
use crate::limits::{Config, Side};
use crate::liveness::Liveness;
use crate::preface;
use crate::queue::IdQueue;
use crate::schedule::Schedule;
use crate::stream::StreamId;
use crate::window::Window;

/// What the process' memory allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brake {
    /// Everything.
    #[default]
    Free,
    /// No window grows.
    NoGrowth,
    /// New streams are refused as well.
    NoOpens,
    /// The connection is granted nothing more as well.
    Full,
}

/// What a connection holds, in bytes where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Received on streams and not consumed.
    pub unconsumed: u64,
    /// What the peer may send on the connection at once.
    pub outstanding: u64,
    /// Taken from the application and not sent.
    pub queued: usize,
    /// Heads received and not read.
    pub heads: usize,
    /// Streams, closed ones included that are still to be told or released.
    pub streams: usize,
    /// Streams that are open, control streams aside.
    pub open: usize,
}

/// A stream that holds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heavy {
    /// Which.
    pub id: StreamId,
    /// Bytes received and not consumed.
    pub bytes: u64,
    /// Those bytes, by the milliseconds since the peer was last granted more.
    pub weight: u64,
}

#[derive(Debug)]
enum Phase {
    Preface(preface::Collector),
    Hello,
    Ready,
    /// Something last is to be sent.
    Closing(Duration),
    Closed,
}

/// A drain that this side began.
#[derive(Clone, Debug)]
struct OwnDrain {
    asked: Drain,
    /// The peer's last stream that was taken.
    last: u32,
    grace_ends: Duration,
    grace_over: bool,
    hard_ends: Duration,
}

/// An endpoint: state, and nothing that does I/O.
#[derive(Debug)]
pub struct Connection {
    side: Side,
    config: Config,
    phase: Phase,
    version: u16,
    /// The latest time that was told.
    now: Duration,
    started: Duration,
    peer: Option<Peer>,
    decoder: Decoder,
    /// A head block that has not all come.
    assembly: Option<Assembly>,
    /// A DATA frame that has not all come.
    data: Option<DataFrame>,
    streams: Streams,
    window: Window,
    /// Received while the brake was full: to be granted again later.
    withheld: u64,
    sent: u64,
    may_send: u64,
    queued: usize,
    heads: usize,
    unconsumed: u64,
    /// Sum of the windows above their floor.
    grown: u64,
    /// The largest that a stream's window has grown to.
    reached: u32,
    brake: Brake,
    schedule: Schedule,
    /// Streams with control frames.
    control: IdQueue,
    /// Streams whose writers wait for the connection's queue to shrink.
    starved: IdQueue,
    /// Streams with notices.
    notices: IdQueue,
    /// Streams whose ACCEPT leaves with what leaves next, and since when the first of them waits.
    unhurried: IdQueue,
    unhurried_since: Option<Duration>,
    /// Local streams that wait for ACCEPT, oldest first.
    opening: IdQueue,
    slots: Slots,
    refusals: VecDeque<(StreamId, Code)>,
    /// A head block that has not all been sent.
    block: Option<Block>,
    /// What the last batch held when it was given out: less now means that some was taken.
    left: usize,
    /// When control frames began to wait while the transport took nothing.
    blocked_since: Option<Duration>,
    late: Late,
    abuse: Abuse,
    life: Liveness,
    drain: Option<OwnDrain>,
    /// The peer drains: nothing is opened.
    peer_drains: bool,
    ready: Option<Box<Peer>>,
    draining: Option<Box<Draining>>,
    ended: Option<Box<Close>>,
}

impl Connection {
    /// An endpoint of a transport that was just made, at `now`.
    #[must_use]
    pub fn new(side: Side, mut config: Config, now: Duration) -> Self {
        config.limits = config.limits.in_range();
        let mut connection = Self {
            phase: Phase::Preface(preface::Collector::default()),
            version: 0,
            now,
            started: now,
            peer: None,
            decoder: Decoder::new(handshake::FRAME),
            assembly: None,
            data: None,
            streams: Streams::new(side),
            window: Window::new(config.limits.connection_credit, now),
            withheld: 0,
            sent: 0,
            may_send: 0,
            queued: 0,
            heads: 0,
            unconsumed: 0,
            grown: 0,
            reached: 0,
            brake: Brake::Free,
            schedule: Schedule::default(),
            control: IdQueue::default(),
            starved: IdQueue::default(),
            notices: IdQueue::default(),
            unhurried: IdQueue::default(),
            unhurried_since: None,
            opening: IdQueue::default(),
            slots: Slots::default(),
            refusals: VecDeque::new(),
            block: None,
            left: 0,
            blocked_since: None,
            late: Late::default(),
            abuse: Abuse::default(),
            life: Liveness::new(config.limits.keep_alive, now),
            drain: None,
            peer_drains: false,
            ready: None,
            draining: None,
            ended: None,
            side,
            config,
        };
        connection.greet();
        connection
    }

    /// The next event, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(peer) = self.ready.take() {
            return Some(Event::Ready(peer));
        }
        if let Some(draining) = self.draining.take() {
            return Some(Event::Draining(draining));
        }
        self.stream_event().or_else(|| self.ended.take().map(Event::Ended))
    }

    fn stream_event(&mut self) -> Option<Event> {
        loop {
            let streams = &self.streams;
            let id = self.notices.front(|id| streams.contains(id))?;
            let Some(stream) = self.streams.find(id) else { continue };
            let notices = &mut stream.notices;
            let event = if std::mem::take(&mut notices.incoming) {
                let class = stream.class;
                let Some(head) = stream.opened_with.take() else { continue };
                self.heads -= head.len();
                Event::Incoming(id, Incoming { class, head: *head })
            } else if std::mem::take(&mut notices.accepted) {
                Event::Accepted(id)
            } else if std::mem::take(&mut notices.readable) {
                Event::Readable(id)
            } else if std::mem::take(&mut notices.writable) {
                Event::Writable(id)
            } else if std::mem::take(&mut notices.stopped) {
                Event::Stopped(id, stream.send.stopped)
            } else if std::mem::take(&mut notices.closed) {
                let Some(end) = stream.end.clone() else { continue };
                Event::Closed(id, end)
            } else {
                notices.queued = false;
                self.notices.pop(|_| true);
                self.forget_if_done(id);
                continue;
            };
            return Some(event);
        }
    }

    /// When [`Self::expire`] is due; `None` once the connection is over.
    #[must_use]
    pub fn deadline(&mut self) -> Option<Duration> {
        let hello = self.started.saturating_add(crate::limits::HELLO_WITHIN);
        match self.phase {
            Phase::Closed => return None,
            Phase::Closing(until) => return Some(until),
            Phase::Preface(_) | Phase::Hello => return Some(hello),
            Phase::Ready => {}
        }
        let drain = self.drain.as_ref().map(|drain| match drain.grace_over {
            true => drain.hard_ends,
            false => drain.grace_ends.min(drain.hard_ends),
        });
        let blocked = self.blocked_since.map(|at| at.saturating_add(crate::limits::BLOCKED_FOR));
        let prompt = self.unhurried_since.map(|at| at.saturating_add(crate::limits::PROMPT));
        let timers = [drain, blocked, prompt, self.accept_deadline(), Some(self.life.deadline())];
        timers.into_iter().flatten().min()
    }

    /// What the peer said of itself, once the connection is ready.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Whether heads may begin with extensions: both sides read them.
    fn extends_heads(&self) -> bool {
        self.peer.as_ref().is_some_and(|peer| peer.capabilities & EXTENDED_HEADS != 0)
    }

    /// The smallest round trip since the connection was made, if one was measured: without what
    /// waits on the way while it is busy.
    #[must_use]
    pub const fn nearest(&self) -> Option<Duration> {
        self.life.nearest()
    }

    /// Whether the peer is so far away that a reader notices each time there and back.
    fn is_far(&self) -> bool {
        self.nearest().is_some_and(|nearest| nearest >= crate::window::FAR)
    }

    /// The smallest round trip of the last 5 to 10 s, if one was measured.
    pub fn round_trip(&mut self, now: Duration) -> Option<Duration> {
        self.life.round_trip(now.max(self.now))
    }

    /// Nothing more comes in or goes out: the transport can be dropped.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// How many more streams the peer takes.
    #[must_use]
    pub fn room(&self) -> u32 {
        self.peer.as_ref().map_or(0, |peer| peer.streams.saturating_sub(self.streams.open_local))
    }

    /// What is held, for the process' budget.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            unconsumed: self.unconsumed,
            outstanding: self.window.outstanding(),
            queued: self.queued,
            heads: self.heads,
            streams: self.streams.len(),
            open: self.streams.live as usize,
        }
    }

    /// Bytes of one stream's data that are held: to be sent, and not consumed yet. 0 where there is
    /// no such stream.
    #[must_use]
    pub fn buffered(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.send.data.len() + stream.recv.data.len())
    }

    /// Bytes of memory that the connection takes, counted over everything it holds: slow, for
    /// tests and for reports.
    #[must_use]
    pub fn memory(&self) -> usize {
        let queues = [&self.unhurried, &self.control, &self.starved, &self.notices, &self.opening];
        size_of::<Self>()
            + self.decoder.memory()
            + self.assembly.as_ref().map_or(0, Assembly::memory)
            + self.streams.memory()
            + self.schedule.memory()
            + queues.iter().map(|queue| queue.memory()).sum::<usize>()
            + self.refusals.capacity() * size_of::<(StreamId, Code)>()
            + self.block.as_ref().map_or(0, Block::memory)
    }

    /// The streams that hold most for longest, heaviest first, at most `count`: whom to reset
    /// when memory is short. Looks at every stream.
    #[must_use]
    pub fn heaviest(&self, now: Duration, count: usize) -> Vec<Heavy> {
        let weighed = self.streams.iter().map(|(id, one)| {
            let window = &one.recv.window;
            Heavy { id, bytes: window.unconsumed(), weight: window.weight(now) }
        });
        let mut all: Vec<_> = weighed.filter(|heavy| heavy.bytes > 0).collect();
        all.sort_unstable_by_key(|heavy| (std::cmp::Reverse(heavy.weight), heavy.id));
        all.truncate(count);
        all
    }

    /// Says what the process' memory allows from now on.
    pub fn set_brake(&mut self, brake: Brake) {
        self.brake = brake;
        if brake < Brake::Full {
            let withheld = std::mem::take(&mut self.withheld);
            self.place(withheld);
        }
    }

    /// Bytes of what the peer sent are out of the way of the connection.
    fn place(&mut self, bytes: u64) {
        if self.brake == Brake::Full {
            self.withheld += bytes;
            return;
        }
        self.window.take(bytes);
        let limits = &self.config.limits;
        let growth = crate::window::Growth {
            floor: if self.is_far() { self.window.size() } else { limits.connection_credit },
            ceiling: limits.connection_credit_max,
            known: 0,
            room: u64::MAX,
            round_trip: self.life.round_trip(self.now).filter(|_| self.brake == Brake::Free),
        };
        if self.window.grant(self.now, growth).is_some() {
            self.slots.credit = true;
            self.control_waits();
        }
    }

    fn control_waits(&mut self) {
        self.blocked_since.get_or_insert(self.now);
    }

    /// Puts a stream with control frames in their queue, unless its OPEN must go first.
    fn queue_control(&mut self, id: StreamId) {
        let Some(stream) = self.streams.find(id) else { return };
        if !stream.control.queued && !stream.control.is_empty() && stream.send.opening.is_none() {
            stream.control.queued = true;
            self.control.push(id);
            self.control_waits();
        }
    }

    /// Puts a stream with notices in their queue.
    fn queue_notices(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.find(id)
            && !stream.notices.queued
            && stream.notices.any()
        {
            stream.notices.queued = true;
            self.notices.push(id);
        }
    }
}
