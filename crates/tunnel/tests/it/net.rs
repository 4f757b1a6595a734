//! Two endpoints, two pipes, one virtual clock. A pipe has a latency, a rate, a buffer, and cuts
//! what it carries where a seed says; it loses nothing and keeps the order until it is cut.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes};
use strait_tunnel::{
    Class, Code, Config, Connection, End, Event, OpenHead, Out, RawHead, Read, Role, Side,
    StreamId, Tlvs,
};

/// A small generator: the same numbers for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// What a pipe is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) latency: Duration,
    /// Bytes a second; 0: no limit.
    pub(crate) rate: u64,
    /// Bytes that wait to leave.
    pub(crate) buffer: usize,
    /// Deliveries are cut into at most so many bytes.
    pub(crate) cut: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { latency: Duration::from_millis(10), rate: 0, buffer: 128 << 10, cut: usize::MAX }
    }
}

#[derive(Debug, Default)]
struct Pipe {
    line: Line,
    /// Leaves and arrives at; bytes.
    queue: VecDeque<(Duration, Duration, Bytes)>,
    free: Duration,
    /// Takes nothing, delivers nothing.
    stuck: bool,
}

impl Pipe {
    fn room(&self, now: Duration) -> usize {
        let waiting: usize = self
            .queue
            .iter()
            .filter(|(leaves, ..)| *leaves > now)
            .map(|(.., bytes)| bytes.len())
            .sum();
        if self.stuck { 0 } else { self.line.buffer.saturating_sub(waiting) }
    }

    fn send(&mut self, now: Duration, bytes: Bytes) {
        let took = match self.line.rate {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / rate),
        };
        let leaves = self.free.max(now) + took;
        self.free = leaves;
        self.queue.push_back((leaves, leaves + self.line.latency, bytes));
    }

    fn next(&self) -> Option<Duration> {
        let &(leaves, arrives, _) = self.queue.front().filter(|_| !self.stuck)?;
        let _ = leaves;
        Some(arrives)
    }

    /// When there is room again.
    fn leaves(&self, now: Duration) -> Option<Duration> {
        self.queue.iter().map(|(leaves, ..)| *leaves).find(|leaves| *leaves > now)
    }
}

/// What an application does with each stream: it sends so many bytes of a pattern, checks the
/// pattern of what it gets, and reads or not.
#[derive(Debug, Default)]
pub(crate) struct App {
    /// Bytes left to send, and sent.
    pub(crate) writers: BTreeMap<StreamId, (u64, u64)>,
    /// Bytes got.
    pub(crate) got: BTreeMap<StreamId, u64>,
    /// Streams that nobody reads.
    pub(crate) stalled: std::collections::BTreeSet<StreamId>,
    /// How each stream ended.
    pub(crate) ends: BTreeMap<StreamId, End>,
    /// When.
    pub(crate) ended_at: BTreeMap<StreamId, Duration>,
    /// Streams that the peer opened and that were taken.
    pub(crate) executed: Vec<StreamId>,
    /// What `read` ended with.
    pub(crate) read_ends: BTreeMap<StreamId, Read>,
    pub(crate) closed: Option<(Code, Duration)>,
    pub(crate) ready: bool,
    /// Answers of streams that come are stalled as well.
    pub(crate) stall_all: bool,
    /// Streams that come are not answered at all.
    pub(crate) mute: bool,
    /// When the first byte of each stream came.
    pub(crate) first_at: BTreeMap<StreamId, Duration>,
}

pub(crate) fn pattern(id: StreamId, side: Side, offset: u64) -> u8 {
    let side = u64::from(matches!(side, Side::Dialler));
    (u64::from(id.get()) * 31 + offset * 7 + offset / 251 + side).to_le_bytes()[0]
}

pub(crate) struct Endpoint {
    pub(crate) side: Side,
    pub(crate) connection: Connection,
    pub(crate) app: App,
    out: Out,
}

impl Endpoint {
    fn other(&self) -> Side {
        match self.side {
            Side::Dialler => Side::Acceptor,
            Side::Acceptor => Side::Dialler,
        }
    }

    /// Opens a raw stream that sends `up` bytes and asks for `down`.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        class: Class,
        up: u64,
        down: u64,
    ) -> Option<StreamId> {
        let name = down.to_string();
        let head =
            OpenHead::Raw(RawHead::new(&Tlvs { service: &name, ..Tlvs::default() }).unwrap());
        let id = self.connection.open(now, &head, class, false).ok()?;
        self.app.writers.insert(id, (up, 0));
        self.write(id);
        Some(id)
    }

    pub(crate) fn write(&mut self, id: StreamId) {
        let Some((left, sent)) = self.app.writers.get_mut(&id) else { return };
        while *left > 0 {
            let length = (*left).min(20_000);
            let bytes: Vec<u8> = (0..length).map(|at| pattern(id, self.side, *sent + at)).collect();
            let taken = self.connection.write(id, &mut Bytes::from(bytes)) as u64;
            *left -= taken;
            *sent += taken;
            if taken < length {
                return;
            }
        }
        self.app.writers.remove(&id);
        let _ = self.connection.finish(id);
    }

    pub(crate) fn read(&mut self, now: Duration, id: StreamId) {
        if self.app.stalled.contains(&id) {
            return;
        }
        let other = self.other();
        loop {
            match self.connection.read(id) {
                Read::Data(bytes) => {
                    let got = self.app.got.entry(id).or_default();
                    for byte in &bytes {
                        assert_eq!(*byte, pattern(id, other, *got), "stream {id} at {got}");
                        *got += 1;
                    }
                    self.app.first_at.entry(id).or_insert(now);
                    self.connection.consumed(now, id, bytes.len());
                }
                Read::Pending => return,
                end @ (Read::End | Read::Broken(..)) => {
                    self.app.read_ends.insert(id, end);
                    return;
                }
                Read::Head(_) | Read::Trailers(_) => {}
            }
        }
    }

    fn events(&mut self, now: Duration) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Ready(_) => self.app.ready = true,
                Event::Incoming(id, incoming) => {
                    let OpenHead::Raw(head) = incoming.head else { continue };
                    let down = head.tlvs().service.parse().unwrap();
                    self.app.executed.push(id);
                    if self.app.stall_all {
                        self.app.stalled.insert(id);
                    }
                    if !self.app.mute {
                        self.connection.accept(id);
                        self.app.writers.insert(id, (down, 0));
                        self.write(id);
                    }
                }
                Event::Readable(id) => self.read(now, id),
                Event::Writable(id) => self.write(id),
                Event::Stopped(id, _) => drop(self.app.writers.remove(&id)),
                Event::Closed(id, end) => {
                    self.app.writers.remove(&id);
                    let before = self.app.ends.insert(id, *end);
                    assert_eq!(before, None, "P6: one end for each stream");
                    self.app.ended_at.insert(id, now);
                    self.connection.release(id);
                }
                Event::Ended(close) => self.app.closed = Some((close.code, now)),
                _ => {}
            }
        }
    }
}

pub(crate) struct Net {
    pub(crate) now: Duration,
    pub(crate) ends: [Endpoint; 2],
    pipes: [Pipe; 2],
    seed: Seed,
    /// Called after each step.
    pub(crate) check: fn(&Self),
}

pub(crate) const DIALLER: usize = 0;
pub(crate) const ACCEPTOR: usize = 1;

pub(crate) fn agent() -> Config {
    Config::new(Role::Agent, Role::Hub, [1; 16])
}

pub(crate) fn hub() -> Config {
    Config::new(Role::Hub, Role::Agent, [2; 16])
}

impl Net {
    pub(crate) fn new(line: Line, seed: u64) -> Self {
        Self::with(line, seed, agent(), hub())
    }

    pub(crate) fn with(line: Line, seed: u64, agent: Config, hub: Config) -> Self {
        let now = Duration::from_secs(1_000);
        let end = |side, config| Endpoint {
            side,
            connection: Connection::new(side, config, now),
            app: App::default(),
            out: Out::new(0),
        };
        let pipe = || Pipe { line, ..Pipe::default() };
        Self {
            now,
            ends: [end(Side::Dialler, agent), end(Side::Acceptor, hub)],
            pipes: [pipe(), pipe()],
            seed: Seed(seed),
            check: |_| {},
        }
    }

    /// One that is ready.
    pub(crate) fn ready(line: Line, seed: u64) -> Self {
        let mut net = Self::new(line, seed);
        assert!(net.run(Duration::from_secs(9), |net| net.ends.iter().all(|end| end.app.ready)));
        net
    }

    /// What one side sends goes nowhere from now on, and nothing comes of it.
    pub(crate) fn stick(&mut self, from: usize) {
        self.pipes[from].stuck = true;
    }

    /// The transport is lost with everything in it.
    pub(crate) fn lose(&mut self) {
        for pipe in &mut self.pipes {
            pipe.queue.clear();
            pipe.stuck = true;
        }
        for end in &mut self.ends {
            end.connection.transport_ended(self.now);
        }
    }

    pub(crate) fn in_flight(&self) -> bool {
        self.pipes.iter().any(|pipe| !pipe.queue.is_empty())
    }

    /// Everything that can happen now.
    pub(crate) fn settle(&mut self) {
        for (end, pipe) in self.ends.iter_mut().zip(&mut self.pipes) {
            loop {
                end.events(self.now);
                end.connection.poll_transmit(self.now, &mut end.out);
                let room = pipe.room(self.now);
                if room == 0 || !end.out.has_remaining() {
                    break;
                }
                let length = end.out.remaining().min(room).min(16 << 10);
                pipe.send(self.now, end.out.copy_to_bytes(length));
            }
        }
        (self.check)(self);
    }

    /// Moves to the next thing that happens; false if nothing will.
    pub(crate) fn step(&mut self) -> bool {
        self.settle();
        let timers: Vec<_> =
            self.ends.iter_mut().filter_map(|end| end.connection.deadline()).collect();
        let arrivals = self.pipes.iter().filter_map(Pipe::next);
        let now = self.now;
        let rooms = self
            .pipes
            .iter()
            .zip(&self.ends)
            .filter_map(|(pipe, end)| pipe.leaves(now).filter(|_| end.out.has_remaining()));
        let Some(next) = arrivals.chain(rooms).chain(timers).min() else { return false };
        self.now = self.now.max(next);
        for from in [DIALLER, ACCEPTOR] {
            while self.pipes[from].next().is_some_and(|at| at <= self.now) {
                let Some((.., mut bytes)) = self.pipes[from].queue.pop_front() else { break };
                let cut = self.pipes[from].line.cut;
                while bytes.has_remaining() {
                    let most = if cut == usize::MAX {
                        usize::MAX
                    } else {
                        1 + usize::try_from(self.seed.below(cut as u64)).unwrap()
                    };
                    let part = bytes.split_to(most.min(bytes.len()));
                    self.ends[1 - from].connection.receive(self.now, part);
                }
            }
        }
        for end in &mut self.ends {
            if end.connection.deadline().is_some_and(|at| at <= self.now) {
                end.connection.expire(self.now);
            }
        }
        self.settle();
        true
    }

    /// Steps until `done`; false if that was not within `limit`.
    pub(crate) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let stop = self.now + limit;
        self.settle();
        while !done(self) {
            if self.now > stop || !self.step() {
                return false;
            }
        }
        true
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let stop = self.now + time;
        self.run(time, |net| net.now >= stop);
        self.now = self.now.max(stop);
    }

    /// Every stream that either side knows has ended on both.
    pub(crate) fn all_ended(&self) -> bool {
        self.ends.iter().all(|end| end.connection.usage().streams == 0)
    }
}

impl Net {
    /// Carries bytes until none are in flight, without an application: events stay.
    pub(crate) fn carry(&mut self) {
        loop {
            for (end, pipe) in self.ends.iter_mut().zip(&mut self.pipes) {
                while end.connection.poll_transmit(self.now, &mut end.out) > 0
                    || end.out.has_remaining()
                {
                    pipe.send(self.now, end.out.copy_to_bytes(end.out.remaining()));
                }
            }
            let Some(next) = self.pipes.iter().filter_map(Pipe::next).min() else { return };
            self.now = self.now.max(next);
            for from in [DIALLER, ACCEPTOR] {
                while let Some((.., bytes)) = self.pipes[from].queue.pop_front() {
                    self.ends[1 - from].connection.receive(self.now, bytes);
                }
            }
        }
    }
}
