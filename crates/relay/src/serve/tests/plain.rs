//! What goes over the connections to services of HTTP/1.1, and when they are used again.

use bytes::Bytes;
use strait_tunnel::{Code, Directions, Field, Tlvs, Trailers};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Answer, Ask, LONG, Rig, exactly, head_of, listen, pattern, write};
use crate::link::Part;

async fn one() -> (Rig, TcpListener) {
    let (listener, url) = listen().await;
    let services = format!("services:\n- {{name: web, type: http, url: {url}, protocol: http1}}\n");
    (Rig::new(&services).await, listener)
}

async fn accepted(listener: &TcpListener) -> BufReader<TcpStream> {
    BufReader::new(listener.accept().await.unwrap().0)
}

/// Whatever was written until now has arrived.
async fn seen_by_now() {
    let (listener, url) = listen().await;
    let address = url.trim_start_matches("http://");
    let mut one = TcpStream::connect(address).await.unwrap();
    let mut other = accepted(&listener).await;
    write(&mut one, "x").await.unwrap();
    exactly(&mut other, 1).await;
}

fn post(length: Option<u64>) -> Ask<'static> {
    let ask = Ask { method: "POST", ..Ask::default() };
    Ask { tlvs: Tlvs { body_length: length, ..ask.tlvs }, ..ask }
}

#[tokio::test]
async fn both_sides_speak_at_once() {
    let (rig, listener) = one().await;
    let mut stream = rig.begin(&post(None));
    let mut socket = accepted(&listener).await;
    head_of(&mut socket).await.unwrap();
    write(socket.get_mut(), "HTTP/1.1 200 OK|Transfer-Encoding: chunked||").await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(_)));
    for _ in 0..5 {
        stream.sender.write(Bytes::from_static(b"ping")).await.unwrap();
        assert_eq!(exactly(&mut socket, 9).await, b"4\r\nping\r\n");
        write(socket.get_mut(), "4|pong|").await.unwrap();
        assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"pong")));
    }
    stream.sender.finish().unwrap();
    assert_eq!(exactly(&mut socket, 5).await, b"0\r\n\r\n");
    write(socket.get_mut(), "0|X-Sum: 7|Set-Cookie: a||").await.unwrap();
    let trailers = Trailers::new([Field::new("x-sum", b"7")]).unwrap();
    assert_eq!(stream.receiver.next().await, Part::Trailers(trailers));
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"resting\"} 1").await;
}

#[tokio::test]
async fn an_upload_goes_on_while_nobody_reads_the_answer() {
    let (rig, listener) = one().await;
    let stream = rig.begin(&post(None));
    let (_receiver, mut sender) = stream.split();
    let mut socket = accepted(&listener).await;
    head_of(&mut socket).await.unwrap();
    let (mut from, mut to) = socket.into_inner().into_split();
    let filling = rig.tasks.spawn("service", async move {
        let piece = pattern(64 << 10);
        let _ = to.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while to.write_all(&piece).await.is_ok() {}
    });
    let sent = pattern(1 << 20);
    let uploading = async {
        sender.write(sent.clone()).await.unwrap();
        sender.finish().unwrap();
    };
    let reading = async {
        let mut came = Vec::new();
        while !came.ends_with(b"\r\n0\r\n\r\n") {
            from.read_buf(&mut came).await.unwrap();
        }
        came.len()
    };
    let ((), came) = tokio::join!(uploading, reading);
    assert!(came > sent.len());
    drop((filling, sender));
}

#[tokio::test]
async fn a_service_that_takes_nothing_holds_up_its_client() {
    let (rig, listener) = one().await;
    let mut stream = rig.begin(&post(None));
    let _socket = accepted(&listener).await;
    let piece = pattern(64 << 10);
    let mut taken = 0;
    let full = async {
        loop {
            stream.sender.write(piece.clone()).await.unwrap();
            taken += piece.len();
        }
    };
    let full = tokio::time::timeout(std::time::Duration::from_millis(500), full).await;
    assert!(full.is_err());
    // The kernel holds most of it.
    assert!(taken < 16 << 20, "{taken} bytes");
}

/// What is told of an answer whose connection is reset behind it while the request is sent.
async fn answered_and_reset(told: &str) -> Answer {
    let (rig, listener) = one().await;
    let stream = rig.begin(&post(None));
    let (mut receiver, mut sender) = stream.split();
    let serving = async {
        let mut socket = accepted(&listener).await;
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), told).await.unwrap();
        // Closed with bytes unread: the kernel resets it.
        socket.read_exact(&mut [0; 10]).await.unwrap();
    };
    let uploading = async { while sender.write(pattern(64 << 10)).await.is_ok() {} };
    tokio::join!(Answer::read(&mut receiver), uploading, serving).0
}

#[tokio::test]
async fn an_answer_counts_though_its_connection_breaks_during_the_upload() {
    let answer = answered_and_reset("HTTP/1.1 413 No|Content-Length: 5||large").await;
    assert_eq!((answer.told(), answer.text()), ((413, "", true), "large"));
}

#[tokio::test]
async fn an_answer_until_the_end_is_not_whole_where_its_connection_is_reset() {
    let answer = answered_and_reset("HTTP/1.1 200 OK||half of it").await;
    assert!(!answer.told().2, "{:?}", answer.text());
}

#[tokio::test]
async fn a_stream_is_given_back_while_its_connection_rests() {
    let (rig, listener) = one().await;
    let mut stream = rig.begin(&post(Some(3)));
    stream.sender.write(Bytes::from_static(b"abc")).await.unwrap();
    let mut socket = accepted(&listener).await;
    head_of(&mut socket).await.unwrap();
    assert_eq!(exactly(&mut socket, 3).await, b"abc");
    write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 0||").await.unwrap();
    assert_eq!(Answer::read(&mut stream.receiver).await.told(), (200, "", true));
    assert_eq!(stream.sender.stopped().await, Code::None);
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"resting\"} 1").await;
}

#[tokio::test]
async fn as_many_connections_rest_as_were_used_at_once() {
    // Fewer than may wait to be accepted.
    const COUNT: usize = 100;
    let (rig, listener) = one().await;
    let rounds = async {
        let mut sockets = Vec::new();
        for round in 0..2 {
            let mut streams: Vec<_> = (0..COUNT).map(|_| rig.ask(&Ask::default())).collect();
            while round == 0 && sockets.len() < COUNT {
                sockets.push(accepted(&listener).await);
            }
            for socket in &mut sockets {
                assert!(head_of(socket).await.is_some(), "each has one of the requests");
            }
            for socket in &mut sockets {
                write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 2||hi").await.unwrap();
            }
            for stream in &mut streams {
                assert_eq!(Answer::read(&mut stream.receiver).await.told(), (200, "", true));
            }
        }
        sockets
    };
    let _sockets = tokio::time::timeout(LONG, rounds).await.unwrap();
    let resting = "strait_relay_inner_connections{service=\"web\",state=\"resting\"}";
    rig.metric(&format!("{resting} {COUNT}")).await;
}

#[tokio::test]
async fn a_connection_is_used_again_only_behind_a_whole_answer() {
    for (answer, again) in [
        ("HTTP/1.1 200 OK|Content-Length: 2||hi", true),
        ("HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|hi|0||", true),
        ("HTTP/1.1 204 No||", true),
        ("HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 2||hi", true),
        ("HTTP/1.0 200 OK|Content-Length: 2||hi", false),
        ("HTTP/1.1 200 OK|Connection: close|Content-Length: 2||hi", false),
        // What comes behind it is no answer to anything.
        ("HTTP/1.1 200 OK|Content-Length: 0||HTTP/1.1 200 OK|Content-Length: 3||bad", false),
        ("HTTP/1.1 200 OK|Content-Length: 2||hi|", false),
    ] {
        let (rig, listener) = one().await;
        let serving = async {
            let mut socket = accepted(&listener).await;
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), answer).await.unwrap();
            let mut socket = if again { socket } else { accepted(&listener).await };
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 4||next").await.unwrap();
            socket
        };
        let asking = async {
            assert!(matches!(rig.get("/").await.told(), (200 | 204, "", true)), "{answer}");
            rig.get("/").await
        };
        let (second, _socket) = tokio::join!(asking, serving);
        assert_eq!((second.told(), second.text()), ((200, "", true), "next"), "{answer}");
    }
}

#[tokio::test]
async fn what_comes_unasked_on_a_resting_connection_is_no_answer() {
    let (rig, listener) = one().await;
    let serving = async {
        let mut socket = accepted(&listener).await;
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 0||").await.unwrap();
        socket
    };
    let (first, mut socket) = tokio::join!(rig.get("/"), serving);
    assert_eq!(first.status, 200);
    write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 3||bad").await.unwrap();
    seen_by_now().await;
    let serving = async {
        let mut socket = accepted(&listener).await;
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 4||good").await.unwrap();
    };
    let (second, ()) = tokio::join!(rig.get("/"), serving);
    assert_eq!(second.text(), "good");
}

#[tokio::test]
async fn half_a_request_never_looks_whole() {
    for (length, sent) in [(Some(5), "abc"), (Some(5), ""), (None, "abc")] {
        let (rig, listener) = one().await;
        let mut stream = rig.begin(&post(length));
        stream.sender.write(Bytes::copy_from_slice(sent.as_bytes())).await.unwrap();
        let mut socket = accepted(&listener).await;
        head_of(&mut socket).await.unwrap();
        match length {
            // Its end came too early.
            Some(_) => drop(stream.sender.finish()),
            None => stream.sender.reset(Directions::Send, Code::Cancel, ""),
        }
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        assert!(rest.len() < 10 && !rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
        rig.metric("strait_relay_served_streams_open{service=\"web\",kind=\"http\"} 0").await;
        rig.metric("strait_relay_inner_connections{service=\"web\",state=\"resting\"} 0").await;
    }
}

#[tokio::test]
async fn large_heads_pass_up_to_a_limit() {
    for (size, expected) in [(40 << 10, (200, "")), (70 << 10, (502, "UpstreamProtocol"))] {
        let (rig, listener) = one().await;
        let serving = async {
            let mut socket = accepted(&listener).await;
            head_of(&mut socket).await.unwrap();
            let value = "x".repeat(size);
            let answer = format!("HTTP/1.1 200 OK|X-A: {value}|Content-Length: 2||hi");
            write(socket.get_mut(), &answer).await;
            socket
        };
        let (answer, _socket) = tokio::join!(rig.get("/"), serving);
        assert_eq!(answer.told(), (expected.0, expected.1, true), "{size}");
    }
}

#[tokio::test]
async fn answers_to_head_end_with_their_heads() {
    let (rig, listener) = one().await;
    let serving = async {
        let mut socket = accepted(&listener).await;
        for fields in ["Content-Length: 9", "Transfer-Encoding: chunked", "X: y"] {
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), &format!("HTTP/1.1 200 OK|{fields}||")).await.unwrap();
        }
        socket
    };
    let asking = async {
        for _ in 0..3 {
            let mut stream = rig.ask(&Ask { method: "HEAD", ..Ask::default() });
            let answer = Answer::read(&mut stream.receiver).await;
            assert_eq!((answer.told(), answer.text()), ((200, "", true), ""));
        }
    };
    tokio::join!(asking, serving);
}
