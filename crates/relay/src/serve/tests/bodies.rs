//! Bodies, trailers, informational heads, other protocols, bytes.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use strait_runtime::SystemClock;
use strait_tunnel::{Code, Field, Tlvs, Trailers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::rig::{Answer, Ask, Rig, exactly, head_of, listen, pattern, write};
use crate::link::Part;
use crate::serve::flow::{self, Flow, Upload};

/// A service of HTTP/1.1 or HTTP/2 that sends back what it gets, trailers included.
fn echo(rig: &Rig, listener: TcpListener) {
    let tasks = rig.tasks.clone();
    rig.tasks.spawn_daemon("service", async move {
        while let Ok((socket, _)) = listener.accept().await {
            tasks.spawn_daemon("service", async move {
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let service = service_fn(|request: Request<Incoming>| async move {
                    let fields = request.headers().clone();
                    let told = format!("{:?} {}", request.version(), request.uri());
                    let mut body = request.into_body();
                    let frames = futures_util::stream::poll_fn(move |context| {
                        let frame = std::task::ready!(body.frame().poll_unpin(context));
                        let frame = frame.map(|frame| {
                            frame
                                .map_err(drop)
                                .unwrap_or_else(|()| Frame::data(Bytes::from_static(b"BROKEN")))
                        });
                        std::task::Poll::Ready(frame.map(Ok::<_, Infallible>))
                    });
                    let mut response = Response::new(StreamBody::new(frames));
                    let told = HeaderValue::from_str(&told).unwrap();
                    response.headers_mut().insert("x-told", told);
                    for name in ["te", "host", "content-length", "trailer"] {
                        if let Some(value) = fields.get(name) {
                            let name = format!("x-got-{name}").parse::<http::HeaderName>().unwrap();
                            response.headers_mut().insert(name, value.clone());
                        }
                    }
                    response
                        .headers_mut()
                        .insert("trailer", HeaderValue::from_static("grpc-status"));
                    Ok::<_, Infallible>(response)
                });
                let _ = builder.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
}

async fn echoed(protocol: &str) -> Rig {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: {url}, protocol: {protocol}}}\n"
    ))
    .await;
    echo(&rig, listener);
    rig
}

fn trailers() -> Trailers {
    Trailers::new([
        Field::new("grpc-status", b"0"),
        Field::new("x-remote-user", b"root"),
        Field::new("authorization", b"forged"),
    ])
    .unwrap()
}

fn map(trailers: &Trailers) -> HeaderMap {
    crate::carried::fields_of(trailers.fields(), trailers.block()).to_map()
}

#[tokio::test]
async fn bodies_stream_both_ways_with_their_trailers() {
    for protocol in ["http1", "h2c"] {
        let rig = echoed(protocol).await;
        let fields = [("te", "trailers"), ("trailer", "grpc-status")];
        let ask = Ask { method: "POST", path: "/a?b", fields: &fields, ..Ask::default() };
        for length in [None, Some(700_000)] {
            let tlvs = Tlvs { body_length: length, ..ask.tlvs };
            let stream = rig.begin(&Ask { tlvs, ..ask.clone() });
            let (mut receiver, mut sender) = stream.split();
            let sent = pattern(700_000);
            let sending = async {
                sender.write(sent.clone()).await.unwrap();
                match length {
                    None => sender.send_trailers(&trailers()).unwrap(),
                    Some(_) => sender.finish().unwrap(),
                }
            };
            let (answer, ()) = tokio::join!(Answer::read(&mut receiver), sending);
            assert_eq!(answer.status, 200, "{protocol}");
            assert!(answer.body == sent, "{protocol}: {} bytes", answer.body.len());
            assert_eq!(answer.end, Part::End, "{protocol}");
            assert_eq!(answer.field("x-got-te"), "trailers", "{protocol}");
            let expected = length.map_or(String::new(), |length| length.to_string());
            assert_eq!(answer.field("x-got-content-length"), expected, "{protocol}");
            if length.is_none() {
                let fields = map(answer.trailers.as_ref().expect(protocol));
                assert_eq!(fields.len(), 1, "{protocol}: {fields:?}");
                assert_eq!(fields["grpc-status"], "0");
            }
        }
        // The second went over the connection of the first.
        rig.metric(&format!(
            "strait_relay_inner_connections{{service=\"web\",state=\"{}\"}} 1",
            if protocol == "h2c" { "active" } else { "resting" }
        ))
        .await;
    }
}

#[tokio::test]
async fn host_and_authority_say_the_same() {
    for (protocol, host, expected) in [
        ("http1", "client", "HTTP/1.1 / hub.example"),
        ("h2c", "client", "HTTP/2.0 http://hub.example/ "),
        ("h2c", "ci.example:80", "HTTP/2.0 http://ci.example:80/ "),
    ] {
        let (listener, url) = listen().await;
        let rig = Rig::new(&format!(
            "services:\n- {{name: web, type: http, url: {url}, protocol: {protocol}, host: \"{host}\"}}\n"
        ))
        .await;
        echo(&rig, listener);
        let answer = rig.get("/").await;
        let told = format!("{} {}", answer.field("x-told"), answer.field("x-got-host"));
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn each_side_says_something_before_the_other_has_ended() {
    let rig = echoed("h2c").await;
    let stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
    let (mut receiver, mut sender) = stream.split();
    for at in 0..5_u8 {
        sender.write(Bytes::from(vec![at])).await.unwrap();
        loop {
            match receiver.next().await {
                Part::Head(_) => {}
                Part::Data(bytes) => break assert_eq!(bytes, [at][..]),
                other => panic!("{other:?}"),
            }
        }
    }
    sender.finish().unwrap();
    assert_eq!(receiver.next().await, Part::End);
}

/// A service of one connection, over a socket.
async fn one(options: &str) -> (Rig, TcpListener) {
    let (listener, url) = listen().await;
    let rig =
        Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}{options}}}\n")).await;
    (rig, listener)
}

fn expecting() -> Ask<'static> {
    let ask = Ask { method: "POST", ..Ask::default() };
    let tlvs = Tlvs { expects: true, body_length: Some(3), ..ask.tlvs };
    Ask { tlvs, ..ask }
}

#[tokio::test]
async fn a_service_says_that_it_wants_the_body() {
    let (rig, listener) = one("").await;
    let mut stream = rig.begin(&expecting());
    stream.sender.write(Bytes::from_static(b"abc")).await.unwrap();
    stream.sender.finish().unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        let head = head_of(&mut socket).await.unwrap();
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        // Nothing of the body is there before it was asked for.
        assert!(socket.buffer().is_empty() && socket.get_ref().try_read(&mut [0]).is_err());
        write(socket.get_mut(), "HTTP/1.1 103 Early||HTTP/1.1 100 Continue||").await.unwrap();
        assert_eq!(exactly(&mut socket, 3).await, b"abc");
        write(socket.get_mut(), "HTTP/1.1 201 Made|Content-Length: 0||").await.unwrap();
        socket
    };
    let (answer, _socket) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!((answer.informed, answer.status), (vec![103, 100], 201));
}

#[tokio::test]
async fn the_agent_asks_for_a_body_that_nobody_asks_for() {
    let (rig, listener) = one("").await;
    let mut stream = rig.begin(&expecting());
    stream.sender.write(Bytes::from_static(b"abc")).await.unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        assert_eq!(exactly(&mut socket, 3).await, b"abc");
        // Too late to count.
        let late = "HTTP/1.1 100 Continue||HTTP/1.1 200 OK|Content-Length: 0||";
        write(socket.get_mut(), late).await.unwrap();
        socket
    };
    let (answer, _socket) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!((answer.informed, answer.status), (vec![100], 200));
}

#[tokio::test]
async fn a_body_that_is_refused_early_is_not_read() {
    let (rig, listener) = one("").await;
    let mut stream = rig.begin(&expecting());
    stream.sender.write(Bytes::from_static(b"abc")).await.unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 413 No|Content-Length: 0||").await.unwrap();
        // The connection ends without a byte of the body.
        assert!(head_of(&mut socket).await.is_none());
    };
    let (answer, ()) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!((&*answer.informed, answer.told()), (&[][..], (413, "", true)));
    assert_eq!(stream.sender.stopped().await, Code::None);
}

#[tokio::test]
async fn an_early_answer_stops_an_upload() {
    let (rig, listener) = one("").await;
    let stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
    let (mut receiver, mut sender) = stream.split();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        exactly(&mut socket, 1000).await;
        write(socket.get_mut(), "HTTP/1.1 507 Full|Content-Length: 4||full").await.unwrap();
        socket
    };
    let uploading = async {
        while sender.write(pattern(16 << 10)).await.is_ok() {}
        sender.stopped().await
    };
    let (answer, code, _socket) = tokio::join!(Answer::read(&mut receiver), uploading, serving);
    assert_eq!((answer.told(), answer.text()), ((507, "", true), "full"));
    assert_eq!(code, Code::None);
}

#[tokio::test]
async fn a_body_larger_than_it_may_be_is_stopped() {
    let (rig, listener) = one(", maxBody: \"5000\"").await;
    let mut stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
    stream.sender.write(pattern(20_000)).await.unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        let _ = { socket }.read_to_end(&mut all).await;
        all
    };
    let (answer, got) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!(answer.told(), (413, "TooLarge", true));
    assert!(!got.ends_with(b"0\r\n\r\n"), "the service must not believe that it is whole");
}

#[tokio::test]
async fn a_client_that_breaks_off_breaks_the_request() {
    use strait_tunnel::Directions;
    for directions in [Directions::Both, Directions::Send] {
        let (rig, listener) = one("").await;
        let mut stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
        stream.sender.write(Bytes::from_static(b"half")).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        assert_eq!(exactly(&mut socket, 9).await, b"4\r\nhalf\r\n");
        stream.sender.reset(directions, Code::Cancel, "");
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "no end that looks like one");
        let line = "strait_relay_served_streams_open{service=\"web\",kind=\"http\"} 0";
        rig.metric(line).await;
    }
}

#[tokio::test]
async fn a_body_ends_whole_or_breaks_off() {
    let (rig, _listener) = one("").await;
    let (end, ended) = (Part::End, Part::Trailers(trailers()));
    for (length, last, expected) in [
        (None, &end, Upload::Done),
        (Some(0), &end, Upload::Done),
        (Some(5), &end, Upload::Broken),
        (None, &ended, Upload::Done),
        (Some(0), &ended, Upload::Done),
        (Some(5), &ended, Upload::Broken),
    ] {
        let flow = Flow::new(Arc::new(SystemClock));
        let (receiver, _sender) = rig.begin(&Ask::default()).split();
        let limits = (None, false);
        let mut body = flow::Incoming::new(receiver, Some(last.clone()), &flow, length, limits);
        let frame = body.frame().now_or_never().unwrap();
        let broke = matches!(frame, Some(Err(_)));
        let found = (flow.upload(), broke);
        assert_eq!(found, (expected, expected == Upload::Broken), "{length:?} {last:?}");
    }
}

#[tokio::test]
async fn a_cancelled_answer_closes_its_connection() {
    let (rig, listener) = one("").await;
    let mut stream = rig.ask(&Ask::default());
    let (mut socket, _) = listener.accept().await.unwrap();
    write(&mut socket, "HTTP/1.1 200 OK||data: 1||").await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(_)));
    assert!(matches!(stream.receiver.next().await, Part::Data(_)));
    drop(stream);
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"active\"} 0").await;
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"resting\"} 0").await;
}

fn upgrading() -> Ask<'static> {
    let ask = Ask { fields: &[("sec-websocket-key", "x")], ..Ask::default() };
    let tlvs = Tlvs { upgrade: "websocket", ..ask.tlvs };
    Ask { tlvs, ..ask }
}

#[tokio::test]
async fn a_connection_becomes_one_of_another_protocol() {
    let (rig, listener) = one(", upgrade: true").await;
    let mut stream = rig.begin(&upgrading());
    stream.sender.write(Bytes::from_static(b"early")).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    let head = head_of(&mut socket).await.unwrap();
    assert!(head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n"), "{head}");
    assert!(socket.buffer().is_empty(), "nothing goes in before the protocol is agreed on");
    let answer = "HTTP/1.1 101 Switching|Upgrade: WebSocket|Connection: Upgrade||first";
    write(socket.get_mut(), answer).await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(head) if head.status() == 101));
    assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"first")));
    assert_eq!(exactly(&mut socket, 5).await, b"early");
    stream.sender.write(Bytes::from_static(b"\0\r\n\xff")).await.unwrap();
    assert_eq!(exactly(&mut socket, 4).await, b"\0\r\n\xff");
    // Each direction ends in its own time.
    stream.sender.finish().unwrap();
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
    socket.get_mut().write_all(b"last").await.unwrap();
    drop(socket);
    assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"last")));
    assert_eq!(stream.receiver.next().await, Part::End);
}

/// Row 41: CVE-2018-1002105, CVE-2020-8559.
#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer_over_a_connection_used_once() {
    let (rig, listener) = one(", upgrade: true").await;
    let mut stream = rig.begin(&upgrading());
    stream.sender.write(Bytes::from_static(b"GET /smuggled HTTP/1.1\r\n\r\n")).await.unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 302 Found|Location: /x|Content-Length: 2||no").await;
        // What was sent early never goes in.
        assert!(head_of(&mut socket).await.is_none());
    };
    let (answer, ()) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!((answer.told(), answer.text()), ((302, "", true), "no"));
    assert_eq!(answer.field("location"), "/x");
}

#[tokio::test]
async fn another_protocol_than_was_asked_for_is_none() {
    for (ask, answer) in [
        (upgrading(), "HTTP/1.1 101 S|Upgrade: spdy|Connection: upgrade||"),
        (upgrading(), "HTTP/1.1 101 S|Connection: upgrade||"),
        (Ask::default(), "HTTP/1.1 101 S|Upgrade: websocket|Connection: upgrade||"),
    ] {
        let (rig, listener) = one(", upgrade: true").await;
        let mut stream = rig.begin(&ask);
        stream.sender.finish().unwrap();
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            write(&mut socket, answer).await.unwrap();
            socket
        };
        let (told, _socket) = tokio::join!(Answer::read(&mut stream.receiver), serving);
        assert_eq!(told.told(), (502, "UpstreamProtocol", true), "{answer}");
    }
}

#[tokio::test]
async fn raw_bytes_pass_with_each_direction_ending_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rig =
        Rig::new(&format!("services:\n- {{name: db, type: tcp, address: \"{address}\"}}\n")).await;
    let stream = rig.raw("db");
    let (mut receiver, mut sender) = stream.split();
    let sent = pattern(1 << 20);
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.unwrap();
        socket.write_all(&all).await.unwrap();
    };
    let sending = async {
        sender.write(sent.clone()).await.unwrap();
        sender.finish().unwrap();
    };
    let (answer, (), ()) = tokio::join!(Answer::read(&mut receiver), sending, serving);
    assert!(answer.body == sent && answer.end == Part::End);
    rig.metric("strait_relay_served_bytes_total{service=\"db\",direction=\"in\"} 1048576").await;
}

#[tokio::test]
async fn a_raw_stream_whose_service_breaks_is_broken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rig =
        Rig::new(&format!("services:\n- {{name: db, type: tcp, address: \"{address}\"}}\n")).await;
    let mut stream = rig.raw("db");
    stream.sender.write(Bytes::from_static(b"x")).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    // Closed with bytes unread: the kernel resets it.
    socket.peek(&mut [0]).await.unwrap();
    drop(socket);
    assert_eq!(Answer::read(&mut stream.receiver).await.code(), Code::UpstreamReset);
}

#[tokio::test]
async fn streams_that_nobody_reads_delay_no_other_on_a_shared_connection() {
    let rig = echoed("h2c").await;
    let large = pattern(128 << 10);
    let mut stalled = Vec::new();
    for _ in 0..40 {
        let mut stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
        // As much as fits, and nobody takes it back.
        for _ in 0..16 {
            if stream.sender.write(large.clone()).now_or_never().is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        stalled.push(stream);
    }
    let mut other = rig.begin(&Ask { method: "POST", ..Ask::default() });
    other.sender.write(Bytes::from_static(b"through")).await.unwrap();
    other.sender.finish().unwrap();
    assert_eq!(Answer::read(&mut other.receiver).await.text(), "through");
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"active\"} 1").await;
    // Cancelled, they give their places back, and the connection stays.
    drop(stalled);
    rig.metric("strait_relay_served_streams_open{service=\"web\",kind=\"http\"} 0").await;
    assert_eq!(rig.get("/").await.status, 200);
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"active\"} 1").await;
}
