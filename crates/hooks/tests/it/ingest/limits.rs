//! What is too large, too slow or too much.

use std::time::Duration;

use futures_util::future::join_all;
use strait_hooks::config::Limits;
use strait_runtime::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::scene::{
    Options, Scene, eventually, limits, one_answer, signed, status_and_body, unsigned, until_closed,
};

const MIB: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_millis(200);

async fn with(limits: Limits) -> Scene {
    Scene::new(Options { limits, ..Options::default() }).await
}

/// A signature that could be right.
fn signature() -> String {
    format!("X-Hub-Signature-256: sha256={}\r\n", "0".repeat(64))
}

#[tokio::test]
async fn slow_heads_and_bodies_end_a_second_after_their_deadline() {
    let limits = Limits { head_deadline: DEADLINE, body_deadline: DEADLINE, ..limits() };
    let scene = with(limits).await;
    let whole = signed("/hook", &[b'x'; 100_000], "");
    let head = whole.len() - 100_000;
    let begun = SystemClock.monotonic();
    let mut waiting = Vec::new();
    for (sent, answer) in [(0, ""), (20, ""), (head, "408"), (head + 70_000, "408")] {
        for _ in 0..20 {
            let mut stream = scene.connect().await;
            stream.write_all(&whole[..sent]).await.unwrap();
            waiting.push(async move { (answer, until_closed(stream).await) });
        }
    }
    for (answer, said) in join_all(waiting).await {
        let (head, _) = said.split_once("\r\n").unwrap_or_default();
        assert_eq!(head.contains(" 408 "), answer == "408", "{said}");
        assert!(answer.is_empty() || said.contains("connection: close"), "{said}");
    }
    let took = SystemClock.monotonic().saturating_sub(begun);
    assert!(took < DEADLINE * 2 + Duration::from_secs(1), "{took:?}");
    assert_eq!(scene.metric("strait_hooks_budget_bytes"), "0");
}

/// Answers that nobody reads fill the kernel's buffers; then the client's place is another's.
#[tokio::test]
async fn who_takes_no_answers_is_closed() {
    let scene = with(Limits { head_deadline: DEADLINE, ..limits() }).await;
    let mut stream = scene.connect().await;
    let asks = "GET /livez HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1_000);
    let writes = async { while stream.write_all(asks.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), writes).await.expect("the connection ends");
}

#[tokio::test]
async fn what_announces_too_much_is_refused_unread_and_sees_why() {
    let scene = with(limits()).await;
    let head = unsigned("/hook", &[], &signature());
    let head = String::from_utf8(head).unwrap().replace("Length: 0", "Length: 26214401");
    let mut stream = scene.connect().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "half is closed");
    // The other half is still read.
    for _ in 0..9 {
        stream.write_all(&[b'x'; 100_000]).await.unwrap();
    }
    drop(stream);

    let expecting = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let said = scene.say(expecting).await;
    assert!(said.starts_with("HTTP/1.1 413 "), "no 100 before: {said}");
}

#[tokio::test]
async fn what_grows_too_large_is_refused() {
    let scene = with(Limits { body: MIB, ..limits() }).await;
    let head = String::from_utf8(unsigned("/hook", &[], &signature())).unwrap();
    let head = head.replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for (chunks, status) in [(16, 401), (17, 413)] {
        let mut request = head.clone().into_bytes();
        request.extend(chunk.repeat(chunks).as_bytes());
        request.extend(b"0\r\n\r\n");
        let mut stream = scene.connect().await;
        stream.write_all(&request).await.unwrap();
        let answer = one_answer(&mut stream).await;
        assert_eq!(status_and_body(&answer).0, status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_large_bodies_takes_no_more_than_the_budget() {
    let scene = with(limits()).await;
    let request = unsigned("/hook", &vec![b'x'; 25 * MIB - MIB / 5], &signature());
    let (request, mut most) = (bytes::Bytes::from(request), 0);
    let senders = (0..32).map(|_| {
        let (request, address) = (request.clone(), scene.address);
        scene.context.tasks.spawn("sender", async move {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(&request).await.expect("no reset");
            status_and_body(&one_answer(&mut stream).await).0
        })
    });
    let senders: Vec<_> = senders.collect();
    let mut all = std::pin::pin!(join_all(senders));
    let statuses = loop {
        tokio::select! {
            statuses = &mut all => break statuses,
            () = tokio::task::yield_now() => {
                most = most.max(scene.metric("strait_hooks_budget_bytes").parse().unwrap());
            }
        }
    };
    assert!(most > 0 && most <= 64 * MIB, "half is for one client: {most}");
    for status in statuses {
        assert!(matches!(status.unwrap(), 401 | 503));
    }
    assert_eq!(scene.metric("strait_hooks_budget_bytes"), "0");
}

#[tokio::test]
async fn a_client_has_its_connections_and_no_more() {
    let scene = with(Limits { per_address: 2, ..limits() }).await;
    let probe = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = scene.connect().await;
        stream.write_all(probe).await.unwrap();
        assert!(one_answer(&mut stream).await.ends_with("ok"));
        open.push(stream);
    }
    assert_eq!(scene.say(probe).await, "");
    let refused = "strait_net_connection_failures_total{reason=\"address_limit\"}";
    assert_eq!(scene.metric(refused), "1");
    drop(open);
    eventually(|| scene.metric("strait_net_connections") == "0").await;
    let mut stream = scene.connect().await;
    stream.write_all(probe).await.unwrap();
    assert!(one_answer(&mut stream).await.ends_with("ok"));
}
