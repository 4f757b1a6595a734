//! Two ends, their drivers and everybody who holds a stream, each a thread of its own: shuttle
//! chooses who goes on at each taking of the lock, thousands of times. Time stands still, so no
//! timer hides a wake-up that was missed: then nobody can go on, and shuttle says so.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use shuttle::future::block_on;
use shuttle::thread::{self, JoinHandle};
use strait_runtime::Clock;
use strait_tunnel::{
    Class, Close, Code, Config, Directions, Drain, EndedBy, OpenHead, RawHead, Role, Side, Tlvs,
};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;

use super::lock::in_turns;
use super::{Link, Part, Receiver, Sender, Stream};

/// Orders in which threads take turns, of each test.
const ORDERS: usize = 2_000;
/// What the transport holds: less than a frame, so that it is often full.
const BETWEEN: usize = 8 << 10;
/// What each stream carries: more than a window, which has to be granted again on the way.
const BODY: usize = 80 << 10;
/// It is written in pieces.
const PIECE: usize = 20 << 10;
/// Streams of a test.
const STREAMS: usize = 2;

/// One at which time stands still.
#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(1)
    }
}

struct End {
    link: Link,
    incoming: mpsc::Receiver<Stream>,
    driver: JoinHandle<Arc<Close>>,
}

impl End {
    fn start(transport: DuplexStream, side: Side) -> Self {
        let (role, peer) = match side {
            Side::Dialler => (Role::Agent, Role::Hub),
            Side::Acceptor => (Role::Hub, Role::Agent),
        };
        let (sender, incoming) = mpsc::channel(STREAMS);
        let acceptor = Box::new(move |stream, _| drop(sender.try_send(stream)));
        let config = Config::new(role, peer, [7; 16]);
        let (link, driver) = Link::new(transport, side, config, Arc::new(Still), acceptor);
        Self { link, incoming, driver: thread::spawn(move || block_on(driver)) }
    }

    fn next(&mut self) -> Option<Stream> {
        block_on(self.incoming.recv())
    }
}

/// Runs it in many orders.
fn in_many_orders(scene: impl Fn() + Send + Sync + 'static) {
    // Drivers arm timers; nobody drives the runtime that those belong to.
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let build = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = RUNTIME.get_or_init(build).enter();
    let turns = in_turns(|| shuttle::check_random(scene, ORDERS));
    assert!(turns > ORDERS as u64, "{turns} turns are no choice");
}

fn pair() -> (End, End) {
    let (one, other) = duplex(BETWEEN);
    let ends = (End::start(one, Side::Acceptor), End::start(other, Side::Dialler));
    block_on(ends.0.link.ready()).unwrap();
    block_on(ends.1.link.ready()).unwrap();
    ends
}

fn open(link: &Link) -> Stream {
    let head = RawHead::new(&Tlvs { service: "db", ..Tlvs::default() }).unwrap();
    link.open(&OpenHead::Raw(head), Class::Normal, false).unwrap()
}

/// What everybody says.
fn piece() -> Bytes {
    Bytes::from_static(&[7; PIECE])
}

/// Says all of it, and its end.
fn say(mut sender: Sender) {
    for _ in 0..BODY / PIECE {
        block_on(sender.write(piece())).unwrap();
    }
    sender.finish().unwrap();
}

/// Hears all of it, and nothing else.
fn hear(mut receiver: Receiver) {
    let mut heard = 0;
    loop {
        match block_on(receiver.next()) {
            Part::Data(bytes) => heard += bytes.len(),
            Part::End => return assert_eq!(heard, BODY),
            other => panic!("{other:?}"),
        }
    }
}

/// Says and hears at once.
fn talk(stream: Stream) -> [JoinHandle<()>; 2] {
    let (receiver, sender) = stream.split();
    [thread::spawn(move || say(sender)), thread::spawn(move || hear(receiver))]
}

fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

fn drain(link: &Link) {
    let time = Duration::from_secs(60);
    link.drain(Drain { code: Code::None, grace: time, hard: time, text: String::new() });
}

#[test]
fn what_both_sides_say_at_once_arrives_and_a_drain_waits_for_it() {
    in_many_orders(|| {
        let (hub, mut agent) = pair();
        let asking = [(); STREAMS].map(|()| talk(open(&hub.link)));
        drain(&hub.link);
        let taken = [(); STREAMS].map(|()| agent.next().unwrap());
        taken.iter().for_each(|stream| stream.sender.accept());
        let answering = taken.map(talk);
        join(asking.into_iter().chain(answering).flatten());
        for end in [hub, agent] {
            assert_eq!(end.driver.join().unwrap().code, Code::None);
            let usage = end.link.usage();
            assert_eq!((usage.open, usage.unconsumed, usage.queued), (0, 0, 0));
            assert_eq!(end.link.open_streams(), 0);
        }
    });
}

#[test]
fn whoever_waits_for_a_stream_hears_that_it_was_cut() {
    in_many_orders(|| {
        let (hub, mut agent) = pair();
        let (mut receiver, mut sender) = open(&hub.link).split();
        let canceller = sender.canceller();
        let writes = thread::spawn(move || while block_on(sender.write(piece())).is_ok() {});
        let (mut theirs, mut answers) = agent.next().unwrap().split();
        let cut = thread::spawn(move || canceller.reset(Directions::Both, Code::Revoked, "cut"));
        let reads = thread::spawn(move || while let Part::Data(_) = block_on(theirs.next()) {});
        let told = thread::spawn(move || block_on(answers.stopped()));
        let Part::Broken(end) = block_on(receiver.next()) else { panic!("it was cut") };
        assert_eq!((end.code, end.by), (Code::Revoked, EndedBy::Us));
        join([cut, writes, reads]);
        assert_eq!(told.join().unwrap(), Code::Revoked);
        drop(receiver);
        drain(&agent.link);
        for end in [hub, agent] {
            end.driver.join().unwrap();
            assert_eq!(end.link.open_streams(), 0);
        }
    });
}

#[test]
fn whoever_waits_hears_that_the_connection_was_lost() {
    in_many_orders(|| {
        let (hub, agent) = pair();
        let (mut receiver, mut sender) = open(&hub.link).split();
        let (mut other, sends) = open(&hub.link).split();
        let link = hub.link.clone();
        let lost = thread::spawn(move || link.cut(Code::Protocol, "lost"));
        let writes = thread::spawn(move || while block_on(sender.write(piece())).is_ok() {});
        let reads = thread::spawn(move || {
            assert!(matches!(block_on(receiver.next()), Part::Broken(_)));
        });
        let accepted = thread::spawn(move || {
            assert!(block_on(other.accepted()).is_err());
            drop(sends);
        });
        let closed = block_on(hub.link.closed());
        assert_eq!(closed.code, Code::Protocol);
        join([lost, writes, reads, accepted]);
        let End { incoming, driver, .. } = agent;
        drop(incoming);
        assert_eq!(driver.join().unwrap().code, Code::Protocol);
        hub.driver.join().unwrap();
        assert_eq!(hub.link.open_streams(), 0);
    });
}
