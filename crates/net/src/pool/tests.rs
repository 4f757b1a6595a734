//! Kept connections, against real sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use strait_runtime::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::egress::Denied;
use crate::resolve::SystemResolver;
use crate::testing::Scene;

const LONG: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(20);
const WITH_BODY: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nbody";

struct Bench {
    pool: Pool,
    clock: Arc<ManualClock>,
    opened: Counter,
    reused: Counter,
}

impl Bench {
    fn new(address: SocketAddr, policy: EgressPolicy) -> Self {
        let clock = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let (opened, reused) = (Counter::default(), Counter::default());
        let options = PoolOptions {
            tls: None,
            policy,
            resolver: Arc::new(SystemResolver),
            clock: clock.clone(),
            rest: REST,
            kept: Vec::new(),
            opened: opened.clone(),
            reused: reused.clone(),
        };
        let url = format!("http://{address}/").parse().unwrap();
        Self { pool: Pool::new(&url, options).unwrap(), clock, opened, reused }
    }

    async fn send(&self, time: Duration) -> Result<Answer, CallError> {
        let request = Request::post("/hook").body(Bytes::from_static(b"event")).unwrap();
        self.pool.send(request, time).await
    }

    fn counts(&self) -> (u64, u64) {
        (self.opened.get(), self.reused.get())
    }
}

/// A server whose connections are answered one request after the other, each by the next of
/// `answers`, and are closed behind the last.
async fn serve(scene: &Scene, answers: Vec<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    scene.tasks.spawn("raw", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in &answers {
                if read_request(&mut stream).await.is_err() {
                    break;
                }
                drop(stream.write_all(answer).await);
            }
        }
    });
    address
}

/// Up to the end of the body, which is always the same.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"event") {
        head.push(stream.read_u8().await?);
    }
    Ok(())
}

#[tokio::test]
async fn connections_are_used_again_until_they_rested_for_too_long() {
    let scene = Scene::new();
    let bench = Bench::new(serve(&scene, vec![WITH_BODY; 9]).await, EgressPolicy::unrestricted());
    for _ in 0..4 {
        assert_eq!(bench.send(LONG).await.unwrap().status, 202);
    }
    assert_eq!(bench.counts(), (1, 3));
    assert_eq!(bench.pool.sweep(), Some(REST));

    bench.clock.advance(REST - Duration::from_millis(1));
    bench.send(LONG).await.unwrap();
    assert_eq!(bench.counts(), (1, 4));

    bench.clock.advance(REST);
    bench.send(LONG).await.unwrap();
    assert_eq!(bench.counts(), (2, 4));
    bench.clock.advance(REST);
    assert_eq!(bench.pool.sweep(), None);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced_at_once() {
    let scene = Scene::new();
    let bench = Bench::new(serve(&scene, vec![WITH_BODY]).await, EgressPolicy::unrestricted());
    for _ in 0..20 {
        // Whether its end is noticed before or behind the write depends on the kernel; an error
        // would say that something was sent.
        match bench.send(LONG).await {
            Ok(answer) => assert_eq!(answer.status, 202),
            Err(error) => assert!(matches!(error, CallError::NoAnswer { .. }), "{error:?}"),
        }
    }
    assert!(bench.opened.get() > 5);
}

#[tokio::test]
async fn answers_that_end_their_connection_are_answers() {
    let scene = Scene::new();
    for answer in [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.0 200 OK\r\n\r\nto the end",
        // Cut off: what it says in its head is what it says.
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
    ] {
        let bench = Bench::new(serve(&scene, vec![answer]).await, EgressPolicy::unrestricted());
        for _ in 0..3 {
            assert_eq!(bench.send(LONG).await.unwrap().status, 200);
        }
        assert_eq!(bench.counts(), (3, 0));
    }
}

#[tokio::test]
async fn a_large_answer_is_cut_off_and_its_status_counts() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = scene.tasks.spawn("large", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        let head = b"HTTP/1.1 500 Oops\r\nContent-Length: 200000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (piece, mut written) = ([b'x'; 65_536], 0);
        while stream.write_all(&piece).await.is_ok() {
            written += piece.len();
        }
        written
    });
    let bench = Bench::new(address, EgressPolicy::unrestricted());
    assert_eq!(bench.send(LONG).await.unwrap().status, 500);
    // What the kernel buffers on both sides, and no more.
    assert!(served.await.unwrap() < 20_000_000);
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_off_in_time() {
    let scene = Scene::new();
    let answers = vec![&b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!"[..], b""];
    let bench = Bench::new(serve(&scene, answers).await, EgressPolicy::unrestricted());
    assert_eq!(bench.send(Duration::from_millis(300)).await.unwrap().status, 200);
    assert_eq!(bench.pool.sweep(), None);
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_not_sent_again() {
    let scene = Scene::new();
    let bench = Bench::new(serve(&scene, vec![b""]).await, EgressPolicy::unrestricted());
    let error = bench.send(LONG).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer { .. }), "{error:?}");

    let bench = Bench::new(serve(&scene, vec![b"", b""]).await, EgressPolicy::unrestricted());
    let error = bench.send(Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, CallError::AnswerTimedOut { .. }), "{error:?}");
    assert_eq!(bench.counts(), (1, 0));
}

#[tokio::test]
async fn denied_addresses_are_not_connected_to() {
    let scene = Scene::new();
    let guarded = EgressPolicy::guarded(Vec::new(), &[]);
    let bench = Bench::new(serve(&scene, vec![WITH_BODY]).await, guarded);
    let error = bench.send(LONG).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(Denied { .. })), "{error:?}");
    assert_eq!(bench.counts(), (0, 0));
}
