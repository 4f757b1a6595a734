//! Two ends over a pipe, in tokio's time, which tests may stop.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use strait_runtime::{Clock, Metrics, Task, TaskSet};
use strait_tunnel::{
    Class, Close, Code, Config, Drain, EndedBy, Field, Method, OpenError, OpenHead, RawHead,
    Request, RequestParts, Response, Role, Side, Tlvs, Trailers,
};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, duplex,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::*;

/// tokio's clock.
#[derive(Debug)]
pub(super) struct TokioClock(pub(super) Instant);

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(super) struct End {
    pub(super) link: Link,
    incoming: mpsc::Receiver<(Stream, OpenHead)>,
    driver: Task<Arc<Close>>,
}

impl End {
    pub(super) fn start(
        transport: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        side: Side,
        tasks: &TaskSet,
    ) -> Self {
        let (role, peer) = match side {
            Side::Dialler => (Role::Agent, Role::Hub),
            Side::Acceptor => (Role::Hub, Role::Agent),
        };
        let (sender, incoming) = mpsc::channel(1_024);
        let acceptor = Box::new(move |stream, head| drop(sender.try_send((stream, head))));
        let clock = Arc::new(TokioClock(Instant::now()));
        let config = Config::new(role, peer, [7; 16]);
        let (link, driver) = Link::new(transport, side, config, clock, acceptor);
        Self { link, incoming, driver: tasks.spawn("link", driver) }
    }

    pub(super) async fn next(&mut self) -> Stream {
        self.incoming.recv().await.unwrap().0
    }
}

/// A hub and an agent, with so many bytes between them.
pub(super) async fn pair(between: usize) -> (End, End, TaskSet) {
    let tasks = TaskSet::new(&Metrics::new());
    let (one, other) = duplex(between);
    let hub = End::start(one, Side::Acceptor, &tasks);
    let agent = End::start(other, Side::Dialler, &tasks);
    hub.link.ready().await.unwrap();
    agent.link.ready().await.unwrap();
    (hub, agent, tasks)
}

pub(super) fn get() -> OpenHead {
    let parts = RequestParts {
        method: Method::new("GET").unwrap(),
        authority: "ci",
        path: "/",
        tlvs: Tlvs { service: "ci", ..Tlvs::default() },
    };
    OpenHead::Http(Request::new(&parts, []).unwrap())
}

fn raw() -> OpenHead {
    OpenHead::Raw(RawHead::new(&Tlvs { service: "db", ..Tlvs::default() }).unwrap())
}

fn ok() -> Response {
    Response::new(200, []).unwrap()
}

/// Reads bytes to the end, which is returned.
async fn collect(receiver: &mut Receiver) -> (Vec<u8>, Part) {
    let mut all = Vec::new();
    loop {
        match receiver.next().await {
            Part::Data(bytes) => all.extend_from_slice(&bytes),
            Part::Head(_) => {}
            end => return (all, end),
        }
    }
}

pub(super) fn pattern(length: usize, seed: usize) -> Bytes {
    (0..length).map(|at| u8::try_from((at * 7 + at / 251 + seed) % 251).unwrap()).collect()
}

#[tokio::test]
async fn an_exchange_crosses_with_everything_in_it() {
    let (hub, mut agent, _tasks) = pair(1 << 16).await;
    let mut asked = hub.link.open(&get(), Class::Normal, false).unwrap();
    let sent = pattern(300_000, 1);
    let writing = async {
        asked.sender.write(sent.clone()).await.unwrap();
        asked.sender.finish().unwrap();
    };
    let reading = async {
        assert_eq!(asked.receiver.next().await, Part::Head(ok()));
        let (answer, end) = collect(&mut asked.receiver).await;
        let trailers = Trailers::new([Field::new("grpc-status", b"0")]).unwrap();
        assert_eq!((answer.len(), end), (sent.len(), Part::Trailers(trailers)));
        assert!(answer == sent);
        assert_eq!(asked.receiver.next().await, Part::End);
    };
    let answering = async {
        let stream = agent.next().await;
        let (mut receiver, mut sender) = stream.split();
        sender.accept();
        sender.send_head(&ok(), false).unwrap();
        loop {
            match receiver.next().await {
                Part::Data(bytes) => sender.write(bytes).await.unwrap(),
                Part::End => break,
                other => panic!("{other:?}"),
            }
        }
        let trailers = Trailers::new([Field::new("grpc-status", b"0")]).unwrap();
        sender.send_trailers(&trailers).unwrap();
    };
    tokio::join!(writing, reading, answering);
    drop(asked);
    until(|| hub.link.usage().streams == 0 && agent.link.usage().streams == 0).await;
}

/// Lets others run until it is so.
pub(super) async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never was");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_delays_no_other() {
    let (hub, mut agent, tasks) = pair(1 << 16).await;
    let stalled = hub.link.open(&raw(), Class::Normal, true).unwrap();
    let mut lively = hub.link.open(&raw(), Class::Normal, true).unwrap();
    for _ in 0..2 {
        let mut stream = agent.next().await;
        tasks.spawn("writer", async move {
            stream.sender.accept();
            // Ends when the reader leaves.
            let _ = stream.sender.write(pattern(4 << 20, 3)).await;
            let _ = stream.sender.finish();
            stream.sender.stopped().await;
        });
    }
    let (bytes, end) = collect(&mut lively.receiver).await;
    assert_eq!((bytes.len(), end), (4 << 20, Part::End));
    assert_eq!(hub.link.usage().unconsumed, 256 << 10, "its credit and no more");
    drop((stalled, lively));
    until(|| hub.link.usage().unconsumed == 0 && agent.link.usage().streams == 0).await;
}

#[tokio::test]
async fn who_leaves_is_noticed_on_the_other_side() {
    let (hub, mut agent, _tasks) = pair(1 << 16).await;
    let mut asked = hub.link.open(&get(), Class::Normal, false).unwrap();
    asked.sender.write(Bytes::from_static(b"half")).await.unwrap();
    let mut stream = agent.next().await;
    stream.sender.accept();
    drop(asked);
    assert_eq!(stream.sender.stopped().await, Code::Cancel);
    let (_, end) = collect(&mut stream.receiver).await;
    assert!(matches!(end, Part::Broken(end) if end.code == Code::Cancel && end.truncated));
    assert_eq!(stream.sender.write(Bytes::from_static(b"x")).await, Err(Stopped(Code::Cancel)));

    // The other way: work that is given up after it was accepted may have had effects.
    let mut asked = hub.link.open(&get(), Class::Normal, true).unwrap();
    let stream = agent.next().await;
    stream.sender.accept();
    asked.receiver.accepted().await.unwrap();
    drop(stream);
    let Part::Broken(end) = asked.receiver.next().await else { panic!("it is not whole") };
    assert_eq!((end.code, end.unexecuted), (Code::Aborted, false));

    // What is refused was not executed.
    let mut asked = hub.link.open(&get(), Class::Normal, true).unwrap();
    let stream = agent.next().await;
    stream.sender.reset(Directions::Both, Code::NoService, "no service ci");
    let Part::Broken(end) = asked.receiver.next().await else { panic!("it is not whole") };
    assert_eq!((end.code, end.unexecuted, &*end.text), (Code::NoService, true, "no service ci"));
}

#[tokio::test]
async fn a_service_that_accepts_nothing_leaves_room_for_others() {
    let (hub, mut agent, _tasks) = pair(1 << 16).await;
    let (deaf, other) = (Share::default(), Share::default());
    let open = |share: &Share| hub.link.open_of(share, &get(), Class::Normal, true);
    let mut held = Vec::new();
    while let Ok(stream) = open(&deaf) {
        held.push(stream);
    }
    assert_eq!((held.len(), deaf.waiting()), (1_024, 1_024));
    assert!(!hub.link.has_room(&deaf) && hub.link.has_room(&other));
    let mut more = Vec::new();
    while let Ok(stream) = open(&other) {
        more.push(stream);
    }
    assert_eq!(more.len(), 512);
    // What is accepted, and what is over, makes room.
    agent.next().await.sender.accept();
    until(|| deaf.waiting() == 1_023).await;
    held.truncate(64);
    until(|| deaf.waiting() == 63).await;
    drop((held, more));
    until(|| deaf.waiting() + other.waiting() == 0).await;
}

#[tokio::test]
async fn an_upload_can_be_stopped_while_its_answer_comes() {
    let (hub, mut agent, _tasks) = pair(1 << 14).await;
    let mut asked = hub.link.open(&get(), Class::Normal, false).unwrap();
    let mut stream = agent.next().await;
    stream.sender.accept();
    let writing = async { asked.sender.write(pattern(1 << 20, 5)).await };
    let stopping = async {
        assert!(matches!(stream.receiver.next().await, Part::Data(_)));
        stream.sender.send_head(&Response::new(413, []).unwrap(), false).unwrap();
        stream.sender.write(Bytes::from_static(b"too much")).await.unwrap();
        stream.sender.finish().unwrap();
        stream.receiver.stop(Code::None);
    };
    let (written, ()) = tokio::join!(writing, stopping);
    assert_eq!(written, Err(Stopped(Code::None)));
    assert!(matches!(asked.receiver.next().await, Part::Head(head) if head.status() == 413));
    assert_eq!(collect(&mut asked.receiver).await, (b"too much".to_vec(), Part::End));
}

/// A peer whose machine is gone says nothing any more: found within 15 s, as T5 says.
#[tokio::test(start_paused = true)]
async fn a_half_open_peer_is_found_and_a_quiet_one_is_not() {
    let tasks = TaskSet::new(&Metrics::new());
    let (near, mut wire_near) = duplex(1 << 16);
    let (mut wire_far, far) = duplex(1 << 16);
    let hub = End::start(near, Side::Acceptor, &tasks);
    let agent = End::start(far, Side::Dialler, &tasks);
    let (cut, mut is_cut) = tokio::sync::oneshot::channel::<()>();
    tasks.spawn("wire", async move {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut wire_near, &mut wire_far) => {}
            _ = &mut is_cut => {}
        }
        // Open, and silent.
        std::future::pending::<()>().await;
    });
    hub.link.ready().await.unwrap();
    let mut asked = hub.link.open(&get(), Class::Normal, true).unwrap();
    drop(agent.incoming);
    let _ = asked.receiver.next().await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(hub.link.is_open(), "quiet is not gone");

    let mut asked = hub.link.open(&raw(), Class::Normal, true).unwrap();
    cut.send(()).unwrap();
    let since = Instant::now();
    let close = hub.link.closed().await;
    assert_eq!((close.code, close.by), (Code::Lost, EndedBy::Loss));
    assert!(since.elapsed() <= Duration::from_secs(15), "{:?}", since.elapsed());
    let Part::Broken(end) = asked.receiver.next().await else { panic!("it is not whole") };
    assert_eq!((end.code, end.truncated), (Code::Lost, true));
}

#[tokio::test]
async fn a_drain_lets_streams_run_out_and_then_ends_the_connection() {
    let (hub, mut agent, _tasks) = pair(1 << 16).await;
    let mut asked = hub.link.open(&get(), Class::Normal, true).unwrap();
    let mut stream = agent.next().await;
    stream.sender.accept();
    let grace = Duration::from_secs(30);
    let text = "the agent is going".to_owned();
    agent.link.drain(Drain { code: Code::None, grace, hard: grace, text });
    assert_eq!(hub.link.draining().await.unwrap().grace, grace);
    assert!(!hub.link.is_open());
    assert_eq!(hub.link.open(&get(), Class::Normal, true).unwrap_err(), OpenError::Draining);
    let answering = async {
        stream.sender.send_head(&ok(), false).unwrap();
        stream.sender.write(pattern(100_000, 9)).await.unwrap();
        stream.sender.finish().unwrap();
        drop(stream);
    };
    let ((), (bytes, end)) = tokio::join!(answering, collect(&mut asked.receiver));
    assert_eq!((bytes.len(), end), (100_000, Part::End));
    let (here, there) = (hub.driver.await.unwrap(), agent.driver.await.unwrap());
    assert_eq!((here.code, here.by), (Code::None, EndedBy::Peer));
    assert_eq!((there.code, there.by), (Code::None, EndedBy::Us));
}

/// An agent's end that reads and writes what it is told to alone, after the handshake.
async fn by_hand(far: &mut DuplexStream) -> Connection {
    let config = Config::new(Role::Agent, Role::Hub, [8; 16]);
    let mut peer = Connection::new(Side::Dialler, config, Duration::ZERO);
    let mut out = strait_tunnel::Out::new(0);
    peer.poll_transmit(Duration::ZERO, &mut out);
    far.write_buf(&mut out).await.unwrap();
    let mut answer = BytesMut::new();
    while peer.peer().is_none() {
        far.read_buf(&mut answer).await.unwrap();
        peer.receive(Duration::ZERO, answer.split().freeze());
    }
    peer
}

/// As TLS does, a transport may take what it cannot pass on yet.
#[tokio::test]
async fn what_a_transport_has_not_passed_on_waits() {
    let tasks = TaskSet::new(&Metrics::new());
    let (near, mut far) = duplex(1 << 10);
    let hub = End::start(BufStream::with_capacity(1, 1 << 20, near), Side::Acceptor, &tasks);
    by_hand(&mut far).await;
    hub.link.ready().await.unwrap();
    assert_eq!(hub.link.queueing(), Duration::ZERO);
    let mut stream = hub.link.open(&raw(), Class::Bulk, false).unwrap();
    stream.sender.write(pattern(10_000, 0)).await.unwrap();
    until(|| hub.link.queueing() > Duration::ZERO).await;
    let read = tasks.spawn("far", async move { drop(far.read_to_end(&mut Vec::new()).await) });
    until(|| hub.link.queueing() == Duration::ZERO).await;
    drop((hub, read));
}

/// P11: what is received is not held up by what cannot be sent.
#[tokio::test]
async fn a_full_socket_does_not_hold_up_reading() {
    let tasks = TaskSet::new(&Metrics::new());
    let (near, mut far) = duplex(4 << 10);
    let mut hub = End::start(near, Side::Acceptor, &tasks);
    let mut peer = by_hand(&mut far).await;
    hub.link.ready().await.unwrap();
    let mut busy = hub.link.open(&raw(), Class::Bulk, false).unwrap();
    let full =
        tokio::time::timeout(Duration::from_millis(50), busy.sender.write(pattern(1 << 20, 0)));
    assert!(full.await.is_err(), "nobody reads it");
    let mut out = strait_tunnel::Out::new(0);
    for number in 0..100 {
        peer.open(Duration::ZERO, &get(), Class::Normal, true).unwrap();
        peer.poll_transmit(Duration::ZERO, &mut out);
        while bytes::Buf::has_remaining(&out) {
            far.write_buf(&mut out).await.unwrap();
        }
        assert_eq!(hub.next().await.id(), 2 * number + 1);
    }
}

#[tokio::test]
async fn whoever_waits_is_told_when_the_task_is_aborted() {
    let (one, _other) = duplex(1 << 10);
    let clock = Arc::new(TokioClock(Instant::now()));
    let config = Config::new(Role::Hub, Role::Agent, [7; 16]);
    let (link, driver) = Link::new(one, Side::Acceptor, config, clock, Box::new(|_, _| {}));
    let (close, ()) = tokio::join!(link.ready(), async { drop(driver) });
    assert_eq!(close.unwrap_err().code, Code::Lost);
    assert_eq!(link.closed().await.by, EndedBy::Loss);
}

#[tokio::test]
async fn what_does_not_speak_the_protocol_is_closed_without_a_word() {
    let tasks = TaskSet::new(&Metrics::new());
    let (near, mut far) = duplex(1 << 10);
    let hub = End::start(near, Side::Acceptor, &tasks);
    far.write_all(b"GET / HTTP/1.1\r\nhost: hub\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"");
    assert_eq!(hub.link.ready().await.unwrap_err().code, Code::Protocol);
}

/// P13: over many threads, pieces and pauses, everything arrives and nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_up_is_lost_between_threads() {
    const STREAMS: usize = 64;
    let (hub, mut agent, tasks) = pair(5_000).await;
    let echo = {
        let tasks = tasks.clone();
        tasks.clone().spawn("acceptor", async move {
            for _ in 0..STREAMS {
                let (mut receiver, mut sender) = agent.next().await.split();
                tasks.spawn("echo", async move {
                    sender.accept();
                    while let Part::Data(bytes) = receiver.next().await {
                        sender.write(bytes).await.unwrap();
                    }
                    sender.finish().unwrap();
                });
            }
            agent
        })
    };
    let mut clients = Vec::new();
    for number in 0..STREAMS {
        let stream = hub.link.open(&raw(), Class::Normal, false).unwrap();
        clients.push(tasks.spawn("client", async move {
            let (mut receiver, mut sender) = stream.split();
            let sent = pattern(40_000 + number * 997, number);
            let (_, (got, end)) = tokio::join!(
                async {
                    for (at, piece) in sent.chunks(1 + number * 61).enumerate() {
                        sender.write(sent.slice_ref(piece)).await.unwrap();
                        if at % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                    sender.finish().unwrap();
                },
                collect(&mut receiver)
            );
            assert_eq!((got.len(), end), (sent.len(), Part::End), "{number}");
            assert!(got == sent, "{number}: other bytes");
        }));
    }
    let all = async {
        for client in clients {
            client.await.unwrap();
        }
        echo.await.unwrap()
    };
    let agent = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    until(|| hub.link.usage().streams == 0 && agent.link.usage().streams == 0).await;
}

/// Streams whose agent sends more than anybody takes.
async fn filled(hub: &End, agent: &mut End, tasks: &TaskSet, count: usize) -> Vec<Stream> {
    let open = |_| hub.link.open(&raw(), Class::Normal, true).unwrap();
    let held = (0..count).map(open).collect();
    for _ in 0..count {
        let mut stream = agent.next().await;
        tasks.spawn("writer", async move {
            stream.sender.accept();
            let _ = stream.sender.write(pattern(1 << 20, 0)).await;
        });
    }
    held
}

/// How many of them were reset for lack of memory.
async fn overloaded(held: &mut [Stream]) -> usize {
    let mut overloaded = 0;
    for stream in held {
        let next = tokio::time::timeout(Duration::from_millis(1), stream.receiver.next()).await;
        match next {
            Ok(Part::Broken(end)) => {
                assert_eq!(end.code, Code::Overloaded);
                overloaded += 1;
            }
            Ok(Part::Data(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    overloaded
}

#[tokio::test(start_paused = true)]
async fn memory_that_runs_out_ends_those_who_hold_most() {
    let (hub, mut agent, tasks) = pair(1 << 16).await;
    let memory = Memory::new(1 << 20);
    hub.link.account(&memory, "");
    tasks.spawn_daemon("memory", memory.clone().watch());
    // 64 streams of 32 KiB are twice the budget, and the first of them have more.
    let mut held = filled(&hub, &mut agent, &tasks, 64).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(memory.held() <= memory.limit(), "{}", memory.held());
    let overloaded = overloaded(&mut held).await;
    assert!((1..64).contains(&overloaded), "{overloaded}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_all_memory_takes_it_from_nobody_else() {
    let (first, mut greedy, tasks) = pair(1 << 16).await;
    let (second, mut modest, other_tasks) = pair(1 << 16).await;
    let memory = Memory::shared(4 << 20);
    first.link.account(&memory, "greedy");
    second.link.account(&memory, "modest");
    tasks.spawn_daemon("memory", memory.clone().watch());
    let mut much = filled(&first, &mut greedy, &tasks, 64).await;
    let mut little = filled(&second, &mut modest, &other_tasks, 2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let [most, part] = memory.most();
    assert!(most <= part && part == 1 << 20, "{most} of {part}");
    assert!((1..64).contains(&overloaded(&mut much).await));
    assert_eq!(overloaded(&mut little).await, 0);
    // Nor is anything refused to the other.
    let _more = filled(&second, &mut modest, &other_tasks, 1).await;
}
