//! Clients that leave in the middle, by the thousand: nothing is left of what they asked for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::origin::Origin;
use super::site::{Site, rest};
use super::wire::{Wire, trust};

/// Clients at once, each with a token of its own, and with a connection of its own over HTTP/2.
const CLIENTS: usize = 10;
/// How often each leaves at most: more than 50 a second by one token would be refused.
const PACE: Duration = Duration::from_millis(21);
/// Times that clients leave over each version of HTTP, a third each of what they ask for.
const MANY: usize = 500;
const VERY_MANY: usize = 15_000;
/// Time for everything to be gone.
const GONE: Duration = Duration::from_secs(60);

/// What is asked for in turn: a download, a watch, an upload that is answered before it is over.
const ASKED: [(&str, &str); 3] = [("GET", "/endless"), ("GET", "/quiet"), ("POST", "/early")];
/// Where that is.
const PREFIX: &str = "/services/relay/smith/ci";
/// What is sent of an upload, and how long it says that it is.
const SENT: &[u8] = &[b'u'; 1000];
const LENGTH: usize = 1 << 30;

#[test]
fn row_23_a_thousand_that_leave_leave_nothing() {
    nothing_is_left_of(MANY);
}

#[test]
#[ignore = "3 minutes; cargo xtask soak row_23"]
fn row_23_ten_thousand_of_each_kind_that_leave_leave_nothing() {
    nothing_is_left_of(VERY_MANY);
}

fn nothing_is_left_of(many: usize) {
    let origin = Origin::start();
    let site = Site::start(&origin.service());
    let tokens: Vec<String> = (0..CLIENTS).map(|_| site.token("ci")).collect();
    let door = Door { address: site.address(), authority: site.authority() };
    let before = held(&site, &tokens[0]);
    for (version, leave) in [("HTTP/1.1", leave_http1 as Leave), ("HTTP/2", leave_http2)] {
        let began = Instant::now();
        thread::scope(|scope| {
            for token in &tokens {
                scope.spawn(|| leave(&door, token, many / CLIENTS));
            }
        });
        let took = began.elapsed();
        let began = Instant::now();
        let mut after = held(&site, &tokens[0]);
        while !is_within(&after, &before) {
            assert!(began.elapsed() < GONE, "{version}: {before:#?} became {after:#?}");
            thread::park_timeout(Duration::from_millis(500));
            after = held(&site, &tokens[0]);
        }
        println!("{version}: {many} left in {took:?}, nothing of them after {:?}", began.elapsed());
    }
    let all = |kind: &str| {
        before.iter().filter(|(what, _)| what.contains(kind)).map(|(_, n)| n).sum::<u64>()
    };
    println!("as before: {} tasks, {} files", all("tasks{"), all(" files"));
    for (method, path) in ASKED {
        let least = 2 * (many / CLIENTS / ASKED.len()) * CLIENTS;
        assert!(origin.count(method, path) >= least, "{path}");
    }
}

/// What hub and agent hold after one request: tasks by their names, streams, connections (one of
/// which rests since that request), open files.
fn held(site: &Site, token: &str) -> BTreeMap<String, u64> {
    const COUNTED: [&str; 4] = [
        "strait_runtime_tasks{",
        "strait_relay_streams_open{",
        "strait_relay_served_streams_open{",
        "strait_relay_inner_connections{",
    ];
    site.curl(token, &["--fail"], &site.url("ci", "/a")).succeeded();
    let agent = &site.agents[0];
    let mut held = BTreeMap::new();
    for (who, metrics, pid) in [
        ("hub", site.hub.metrics(), site.hub.process().pid()),
        ("agent", agent.metrics(), agent.process.pid()),
    ] {
        for line in metrics.lines().filter(|line| COUNTED.iter().any(|name| line.starts_with(name)))
        {
            let (name, count) = line.rsplit_once(' ').unwrap();
            // A series that is there and 0 is as good as one that is not.
            if count != "0" {
                held.insert(format!("{who} {name}"), count.parse().unwrap());
            }
        }
        let files = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_pid())).unwrap().count();
        held.insert(format!("{who} files"), files.try_into().unwrap());
    }
    held
}

/// Whether no more is held than was.
fn is_within(now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> bool {
    now.iter().all(|(what, count)| before.get(what).is_some_and(|before| count <= before))
}

/// What a client does with its token, so many times.
type Leave = fn(&Door, &str, usize);

/// How the hub is reached.
struct Door {
    address: SocketAddr,
    authority: PathBuf,
}

/// Leaves with the connection each time.
fn leave_http1(door: &Door, token: &str, times: usize) {
    for (method, path) in ASKED.into_iter().cycle().take(times) {
        let began = Instant::now();
        let mut wire = Wire::connect(door.address, &door.authority);
        let is_upload = method == "POST";
        let length =
            if is_upload { format!("Content-Length: {LENGTH}\r\n") } else { String::new() };
        wire.write(
            format!("{method} {PREFIX}{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{length}\r\n")
                .as_bytes(),
        );
        if is_upload {
            wire.write(SENT);
        }
        let head = wire.read_head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path} {head}");
        drop(wire);
        rest(PACE.saturating_sub(began.elapsed()));
    }
}

/// Leaves with the stream alone.
fn leave_http2(door: &Door, token: &str, times: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut sender = open_http2(door).await;
        for (method, path) in ASKED.into_iter().cycle().take(times) {
            let began = Instant::now();
            let (stay, left) = oneshot::channel();
            let body = match method {
                "POST" => Upload { sent: Some(Bytes::from_static(SENT)), left: Some(left) },
                _ => Upload { sent: None, left: None },
            };
            let uri = format!("https://{}{PREFIX}{path}", door.address);
            let request = Request::builder().method(method).uri(uri);
            let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            sender.ready().await.unwrap();
            let answer = sender.send_request(request.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            drop::<(_, oneshot::Sender<()>)>((answer, stay));
            tokio::time::sleep(PACE.saturating_sub(began.elapsed())).await;
        }
    });
}

async fn open_http2(door: &Door) -> SendRequest<Upload> {
    let mut tls = trust(&door.authority);
    tls.alpn_protocols = vec![b"h2".into()];
    let stream = TcpStream::connect(door.address).await.unwrap();
    let tls = TlsConnector::from(Arc::new(tls)).connect(door.address.ip().into(), stream);
    let connection = http2::Builder::new(TokioExecutor::new());
    let (sender, driver) = connection.handshake(TokioIo::new(tls.await.unwrap())).await.unwrap();
    tokio::spawn(driver);
    sender
}

/// A body that goes on until its client has left, or none.
struct Upload {
    sent: Option<Bytes>,
    left: Option<oneshot::Receiver<()>>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(sent) = self.sent.take() {
            return Poll::Ready(Some(Ok(Frame::data(sent))));
        }
        let Some(left) = &mut self.left else { return Poll::Ready(None) };
        Pin::new(left).poll(context).map(|_| Some(Err(io::ErrorKind::BrokenPipe.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none()
    }
}
