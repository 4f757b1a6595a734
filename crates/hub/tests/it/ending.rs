//! A hub that ends, with requests open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use strait_relay::hub::Ending;
use strait_relay::link::control::Announced;
use strait_relay::link::{Part, Stream};
use strait_runtime::Shutdown;
use strait_tunnel::{Code, Field, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::fake_agent::{Acme, CI, FakeAgent, ask, end_of};
use crate::harness::{Answer, Client, PATIENCE, TestHub};
use crate::raw::Site;
use crate::services::offer;
use crate::streams::stay;

const SECOND: Duration = Duration::from_secs(1);

/// Time for a hub to end that has nothing to wait for.
const AT_ONCE: Duration = Duration::from_secs(8);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it ends in time")
}

/// A request that is not answered yet: what the client gets, and the agent's end.
async fn waits(
    client: &Client,
    agent: &mut FakeAgent,
    method: Method,
) -> (JoinHandle<Answer>, Stream) {
    let client = client.clone();
    let asked = tokio::spawn(async move { client.send_bytes(method, CI, "body".into()).await });
    let stream = agent.next().await;
    stream.sender.accept();
    (asked, stream)
}

/// A stream that became another protocol: the client's end and the agent's.
async fn upgraded(
    client: &Client,
    agent: &mut FakeAgent,
) -> (TokioIo<hyper::upgrade::Upgraded>, Stream) {
    let fields = [("connection", "upgrade"), ("upgrade", "chat")];
    let serve = async {
        let stream = agent.next().await;
        stream.sender.accept();
        let head = Response::new(101, [Field::new("upgrade", b"chat")]).unwrap();
        stream.sender.send_head(&head, false).unwrap();
        stream
    };
    let asked = client.open_with(Method::GET, CI, &fields, "".into());
    let (mut answer, stream) = tokio::join!(asked, serve);
    assert_eq!(answer.status(), 101);
    (TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap()), stream)
}

/// What the hub's machine reads of it, without a credential.
async fn scrape(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let asked = "GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    socket.write_all(asked.as_bytes()).await.unwrap();
    let mut read = String::new();
    in_time(socket.read_to_string(&mut read)).await.unwrap();
    read
}

async fn finish(body: Incoming, mut stream: Stream, said: &str) {
    stream.sender.write(said.to_owned().into()).await.unwrap();
    stream.sender.finish().unwrap();
    let read = in_time(body.collect()).await.expect("the answer is whole");
    assert_eq!(read.to_bytes(), said);
}

#[tokio::test]
async fn what_runs_when_a_hub_ends_goes_on_and_nothing_new_begins() {
    let ending = Ending { grace: 3 * SECOND, hard: 60 * SECOND };
    let acme = Acme::on(TestHub::ending(ending).await).await;
    let mut agent = acme.smith().await;
    agent.offer(&[Announced { protocols: vec!["upgrade".into()], ..offer("ci", "h1") }]).await;
    let Acme { mut hub, alice } = acme;
    let (read, reading) = waits(&alice, &mut agent, Method::GET).await;
    let (write, writing) = waits(&alice, &mut agent, Method::POST).await;
    let (never, _unanswered) = waits(&alice, &mut agent, Method::GET).await;
    let (download, downloading) = stay(&alice, &mut agent, CI).await;
    let (mut socket, mut far) = upgraded(&alice, &mut agent).await;
    let (admin, address) = (hub.admin(), alice.address());
    let metrics = hub.hub().metrics_address().unwrap();
    let began = Instant::now();
    let ended = tokio::spawn(async move { hub.stop().await });
    // Whoever chooses between hubs is told first, and whoever was not told yet is served.
    let unready = async { while admin.get("/readyz").await.status != 500 {} };
    in_time(unready).await;
    assert_eq!(ask(&alice, &mut agent).await.status, 200);
    let told = in_time(agent.link().draining()).await.expect("agents are told");
    assert_eq!((&*told.text, told.code), ("the hub is ending", Code::None));
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    in_time(refused).await;
    let metrics = scrape(metrics).await;
    assert!(metrics.contains("strait_relay_drains_total{by=\"hub\"} 1"), "{metrics}");
    for (asked, stream, status) in [(read, reading, 200), (write, writing, 201)] {
        stream.sender.send_head(&Response::new(status, []).unwrap(), true).unwrap();
        assert_eq!(in_time(asked).await.unwrap().status, status);
    }
    let cut = in_time(never).await.unwrap();
    assert_eq!(cut.status, 502);
    assert_eq!(
        cut.text().trim(),
        "the hub ended before the request did; it may have been executed"
    );
    assert!(began.elapsed() >= ending.grace, "{:?}", began.elapsed());
    // What has begun goes on behind that.
    assert!(!ended.is_finished());
    finish(download, downloading, "all of it").await;
    socket.write_all(b"ping").await.unwrap();
    assert!(matches!(in_time(far.receiver.next()).await, Part::End | Part::Data(_)));
    far.sender.write("pong".into()).await.unwrap();
    far.sender.finish().unwrap();
    let mut said = String::new();
    in_time(socket.read_to_string(&mut said)).await.unwrap();
    assert_eq!(said, "pong");
    drop((socket, far));
    in_time(ended).await.unwrap();
    assert!(began.elapsed() < ending.hard / 2, "it waits for nobody");
}

#[tokio::test]
async fn what_goes_on_for_long_is_cut_in_the_end_and_told_by_whom() {
    let ending = Ending { grace: SECOND, hard: 2 * SECOND };
    let mut site = Site::on(TestHub::ending(ending).await).await;
    let mut pipe = site.dial("echo").await;
    pipe.write_all(b"ping").await.unwrap();
    pipe.read_exact(&mut [0; 4]).await.unwrap();
    let began = Instant::now();
    let ended = tokio::spawn(async move { site.hub.stop().await });
    let error = in_time(pipe.read(&mut [0; 4])).await.unwrap_err();
    assert!(error.to_string().contains("the hub ended before the request did"), "{error}");
    assert!(began.elapsed() > ending.grace + ending.hard / 2, "{:?}", began.elapsed());
    in_time(ended).await.unwrap();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_is_cut_does_not_look_whole() {
    let ending = Ending { grace: Duration::ZERO, hard: Duration::ZERO };
    let acme = Acme::on(TestHub::ending(ending).await).await;
    let mut agent = acme.smith().await;
    let Acme { mut hub, alice } = acme;
    let (body, mut stream) = stay(&alice, &mut agent, CI).await;
    let ended = tokio::spawn(async move { hub.stop().await });
    match end_of(&mut stream).await {
        Part::Broken(end) => assert_eq!(end.code, Code::Aborted),
        other => panic!("{other:?}"),
    }
    in_time(body.collect()).await.expect_err("half of it");
    in_time(ended).await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    let ending = Ending { grace: SECOND, hard: SECOND };
    let acme = Acme::on(TestHub::ending(ending).await).await;
    let mut agent = acme.smith().await;
    let Acme { mut hub, alice } = acme;
    let mut client = alice.connect().await;
    let request = format!("GET /clusters/root:acme{CI} HTTP/1.1\r\nHost: hub\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (_receiver, mut sender) = agent.answer(200).await.split();
    // As much as there is room for on the way.
    let piece = bytes::Bytes::from(vec![0; 64 << 10]);
    let fills = async { while sender.write(piece.clone()).await.is_ok() {} };
    tokio::time::timeout(SECOND, fills).await.expect_err("it is full");
    let began = Instant::now();
    in_time(hub.stop()).await;
    // Notice, grace, farewell, and what the last tasks have: a second for each round of looks.
    let most = SECOND + ending.hard + Duration::from_secs(5 + 3) + SECOND;
    assert!(began.elapsed() < most, "{:?}", began.elapsed());
    drop(client);
}

#[tokio::test]
async fn a_second_demand_ends_a_hub_at_once() {
    let shutdown = Shutdown::new();
    let hub = TestHub::ending_by(Ending::default(), shutdown.clone()).await;
    let acme = Acme::on(hub).await;
    let mut agent = acme.smith().await;
    let Acme { mut hub, alice } = acme;
    let (body, _stream) = stay(&alice, &mut agent, CI).await;
    let began = Instant::now();
    let ended = tokio::spawn(async move { hub.stop().await });
    in_time(shutdown.asked()).await;
    shutdown.force();
    in_time(body.collect()).await.expect_err("half of it");
    in_time(ended).await.unwrap();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
}
