//! The server against real sockets and TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use strait_pki::PeerCertificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::OnUpgrade;
use crate::accept::Streams;
use crate::testing::{LIMITS, Scene, call, clock, get};

mod clear;
mod handshakes;
mod http1;
mod proxied;
mod unread;

async fn connect_tls(mut config: ClientConfig, to: SocketAddr, alpn: &str) -> TlsStream<TcpStream> {
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    secure(Arc::new(config), TcpStream::connect(to).await.unwrap()).await.unwrap()
}

async fn secure(
    config: Arc<ClientConfig>,
    stream: TcpStream,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await
}

type Http2 = http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 connection whose driver runs as a daemon.
async fn connect_http2(scene: &Scene, config: ClientConfig, to: SocketAddr) -> Http2 {
    let stream = TokioIo::new(connect_tls(config, to, "h2").await);
    let exec = Streams(scene.tasks.clone());
    let (sender, connection) = http2::handshake(exec, stream).await.unwrap();
    scene.tasks.spawn_daemon("client", connection);
    sender
}

fn request(path: &str) -> Request<Full<Bytes>> {
    let request = Request::get(format!("https://localhost{path}"));
    request.body(Full::default()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn ok() -> Handler {
    handler(|_, _| async { Response::new(Body::from("ok")) })
}

async fn read_to_end(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset has ended as well.
    drop(stream.read_to_end(&mut bytes).await);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn requests_of_one_connection_share_what_was_found_out() {
    let scene = Scene::new();
    let bundle = scene.authority.bundle().unwrap();
    let verified = Arc::new(AtomicUsize::new(0));
    let counted = verified.clone();
    let whoami = handler(move |connection: Arc<Connection>, request| {
        let (bundle, counted) = (bundle.clone(), counted.clone());
        async move {
            let user: String = connection.cached(|connection| {
                counted.fetch_add(1, Ordering::Relaxed);
                let chain = connection.certificates();
                let peer = PeerCertificate::verify(chain, &bundle, clock().now());
                peer.map_or_else(|error| error.to_string(), |peer| peer.user)
            });
            assert!(connection.peer().ip().is_loopback());
            Response::new(Body::from(format!("{user} {:?}", request.version())))
        }
    });
    let (address, _served) = scene.serve(Limits::default(), whoami).await;
    let config = scene.client_config_of("jo");
    let mut sender = connect_http2(&scene, (*config).clone(), address).await;
    for _ in 0..3 {
        let response = sender.send_request(request("/")).await.unwrap();
        assert_eq!(text(response).await, "jo HTTP/2.0");
    }
    assert_eq!(verified.load(Ordering::Relaxed), 1);

    let url = format!("https://127.0.0.1:{}/", address.port());
    let response = call(Some(config), get(url)).await.unwrap();
    assert_eq!(response.body(), "jo HTTP/1.1");
    assert_eq!(verified.load(Ordering::Relaxed), 2);
    assert_eq!(scene.metric("strait_net_connections_accepted_total"), "2");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_connection_lives_on() {
    let scene = Scene::new();
    let fragile = handler(|_, request| {
        assert_ne!(request.uri().path(), "/now", "before there is a future");
        async move {
            assert_ne!(request.uri().path(), "/later", "in the future");
            Response::new(Body::from("fine"))
        }
    });
    let (address, _served) = scene.serve(Limits::default(), fragile).await;
    let config = scene.client_config();
    let mut sender = connect_http2(&scene, (*config).clone(), address).await;
    for path in ["/now", "/later"] {
        let response = sender.send_request(request(path)).await.unwrap();
        assert_eq!(response.status(), 500);
        let said = text(response).await;
        assert_eq!(said, "internal error; see the server's log\n");
    }
    let response = sender.send_request(request("/")).await.unwrap();
    assert_eq!(text(response).await, "fine");
    assert_eq!(scene.metric("strait_net_handler_panics_total"), "2");
}

#[tokio::test]
async fn shutdown_lets_requests_end_and_takes_no_more() {
    let scene = Scene::new();
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (began, may_finish) = (begun.clone(), finish.clone());
    let slow = handler(move |_, _| {
        let (began, may_finish) = (began.clone(), may_finish.clone());
        async move {
            began.notify_one();
            may_finish.notified().await;
            Response::new(Body::from("done"))
        }
    });
    let (address, served) = scene.serve(Limits::default(), slow).await;
    let config = scene.client_config();
    let mut http2 = connect_http2(&scene, (*config).clone(), address).await;
    let running = scene.tasks.spawn("caller", async move {
        let response = http2.send_request(request("/")).await.unwrap();
        text(response).await
    });
    begun.notified().await;
    let url = format!("https://127.0.0.1:{}/", address.port());
    let also = scene.tasks.spawn("other caller", async move {
        call(Some(config), get(url)).await.unwrap().into_body()
    });
    begun.notified().await;

    // Connections that are open and do nothing hold nobody up.
    let _idle = connect_http2(&scene, (*scene.client_config()).clone(), address).await;
    let _silent = connect_tls((*scene.client_config()).clone(), address, "http/1.1").await;

    scene.shutdown.ask();
    // The listener is gone as soon as the server heard; until then it may accept and drop.
    let gone = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMITS.total, gone).await.unwrap();
    finish.notify_waiters();
    assert_eq!(running.await.unwrap(), "done");
    assert_eq!(also.await.unwrap(), "done");
    // Well before the silent one's time for a head is over.
    let drained = tokio::time::timeout(Duration::from_secs(20), served).await;
    drained.unwrap().unwrap();
    assert_eq!(scene.metric("strait_net_connections "), "0");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    let scene = Scene::new();
    let limits = Limits { connections: 1, ..Limits::default() };
    let (address, _served) = scene.serve(limits, ok()).await;
    let config = scene.client_config();
    let mut first = connect_http2(&scene, (*config).clone(), address).await;
    let mut second = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, "");
    let refused = scene.metric("strait_net_connection_failures_total{reason=\"limit\"}");
    assert_eq!(refused, "1");
    let response = first.send_request(request("/")).await.unwrap();
    assert_eq!(text(response).await, "ok");
}

#[tokio::test]
async fn a_silent_handshake_ends_and_holds_nobody_up() {
    let scene = Scene::new();
    let limits = Limits { handshake_time: Duration::from_millis(50), ..Limits::default() };
    let (address, _served) = scene.serve(limits, ok()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_end(&mut silent).await, "");
    let reason = "{reason=\"handshake_timeout\"}";
    let timeouts = scene.metric(&format!("strait_net_connection_failures_total{reason}"));
    assert_eq!(timeouts, "1");
}

#[tokio::test]
async fn what_is_no_handshake_ends_it() {
    let scene = Scene::new();
    let (address, _served) = scene.serve(Limits::default(), ok()).await;
    let mut wrong = TcpStream::connect(address).await.unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    read_to_end(&mut wrong).await;
    let failed = scene.metric("strait_net_connection_failures_total{reason=\"handshake\"}");
    assert_eq!(failed, "1");
}

/// What a server says to bytes over TLS, until it closes the connection.
async fn said_to(head: &str, limits: Limits) -> String {
    let scene = Scene::new();
    let (address, _served) = scene.serve(limits, ok()).await;
    let config = scene.client_config();
    let mut stream = connect_tls((*config).clone(), address, "http/1.1").await;
    stream.write_all(head.as_bytes()).await.unwrap();
    read_to_end(&mut stream).await
}

#[tokio::test]
async fn heads_are_bounded_in_size() {
    let many = "a: b\r\n".repeat(257);
    let long = format!("a: {}\r\n", "b".repeat(65 << 10));
    for (head, answer) in [
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "HTTP/1.1 431 "),
        (format!("GET / HTTP/1.1\r\n{long}\r\n"), "HTTP/1.1 431 "),
        ("nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400 "),
    ] {
        let said = said_to(&head, Limits::default()).await;
        assert!(said.starts_with(answer), "{head:.40} {said}");
    }
}

#[tokio::test]
async fn heads_are_bounded_in_time() {
    let limits = Limits { head_time: Duration::from_millis(50), ..Limits::default() };
    for head in ["", "GET / HTTP/1.1\r\nHost: "] {
        // Well before hyper's own limit.
        let said = tokio::time::timeout(Duration::from_secs(20), said_to(head, limits)).await;
        assert!(!said.unwrap().starts_with("HTTP/1.1 200"));
    }
}

/// Waits until so many connections rest.
async fn resting(scene: &Scene, count: &str) {
    let rests = async {
        while scene.metric("strait_net_connections_resting ") != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMITS.total, rests).await.unwrap();
}

/// Reads until these bytes have come, so often.
async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), end: &str, times: usize) {
    let mut bytes = Vec::new();
    while String::from_utf8_lossy(&bytes).matches(end).count() < times {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_connection_that_rested_is_as_it_was() {
    let scene = Scene::new();
    let (address, served) = scene.serve(Limits::default(), ok()).await;
    let config = scene.client_config();
    let mut stream = connect_tls((*config).clone(), address, "http/1.1").await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // At first, after an answer, and with what comes in pieces and more than one at once.
    for pieces in [&[get][..], &[&get[..1], &get[1..]], &[&format!("{get}{get}")]] {
        resting(&scene, "1").await;
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            if pieces.len() > 1 {
                resting(&scene, "0").await;
            }
        }
        let times = pieces.concat().matches("GET").count();
        read_until(&mut stream, "\r\n\r\nok", times).await;
    }
    // What is wrong is so as well.
    resting(&scene, "1").await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n").await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 400 "));
    drop(stream);
    // One that rests holds up nobody who ends.
    let _silent = connect_tls((*config).clone(), address, "http/1.1").await;
    resting(&scene, "1").await;
    scene.shutdown.ask();
    tokio::time::timeout(LIMITS.total, served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_rests_for_as_long_as_a_head_may_take() {
    let scene = Scene::new();
    let limits = Limits { head_time: Duration::from_millis(1100), ..Limits::default() };
    let (address, _served) = scene.serve(limits, ok()).await;
    let mut stream = connect_tls((*scene.client_config()).clone(), address, "http/1.1").await;
    let before = clock().monotonic();
    resting(&scene, "1").await;
    let said = tokio::time::timeout(LIMITS.total, read_to_end(&mut stream)).await;
    assert_eq!(said.unwrap(), "");
    assert!(clock().monotonic() - before >= limits.head_time);
}

#[tokio::test]
async fn an_empty_line_gives_no_more_time_for_a_head() {
    let limits = Limits { head_time: Duration::from_secs(1), ..Limits::default() };
    let said = tokio::time::timeout(LIMITS.total, said_to("\r\n", limits)).await;
    assert_eq!(said.unwrap(), "");
}

#[tokio::test]
async fn nothing_rests_during_an_exchange() {
    let scene = Scene::new();
    let finish = Arc::new(Notify::new());
    let may_finish = finish.clone();
    let slow = handler(move |_, _| {
        let may_finish = may_finish.clone();
        async move {
            let last = async move {
                may_finish.notified().await;
                Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from("last")))
            };
            let first = futures_util::stream::iter([Ok(http_body::Frame::data("first".into()))]);
            let body = futures_util::StreamExt::chain(first, futures_util::stream::once(last));
            Response::new(Body::stream(http_body_util::StreamBody::new(body)))
        }
    });
    let (address, _served) = scene.serve(Limits::default(), slow).await;
    let config = (*scene.client_config()).clone();
    let mut busy = connect_tls(config.clone(), address, "http/1.1").await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut busy, "first\r\n", 1).await;
    // This one is younger, so the other was looked at before.
    let mut silent = connect_tls(config, address, "http/1.1").await;
    resting(&scene, "1").await;
    finish.notify_one();
    read_until(&mut busy, "last\r\n0\r\n\r\n", 1).await;
    resting(&scene, "2").await;
    silent.write_all(b"G").await.unwrap();
    resting(&scene, "1").await;
}

#[tokio::test]
async fn a_handler_ends_with_its_client_unless_it_spawned() {
    struct Dropped(mpsc::Sender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.try_send("dropped").unwrap();
        }
    }

    let scene = Scene::new();
    let (events, mut happened) = mpsc::channel(8);
    let (tasks, release) = (scene.tasks.clone(), Arc::new(Notify::new()));
    let released = release.clone();
    let answer = handler(move |_, _| {
        let (events, tasks, released) = (events.clone(), tasks.clone(), released.clone());
        async move {
            let dropped = Dropped(events.clone());
            let effect = tasks.spawn("effect", async move {
                events.send("begun").await.unwrap();
                released.notified().await;
                events.send("finished").await.unwrap();
            });
            effect.await.unwrap();
            drop(dropped);
            Response::new(Body::empty())
        }
    });
    let (address, _served) = scene.serve(Limits::default(), answer).await;
    let config = scene.client_config();
    let mut sender = connect_http2(&scene, (*config).clone(), address).await;
    let response = sender.send_request(request("/"));
    let waiting = scene.tasks.spawn_daemon("caller", async move {
        tokio::select! {
            _ = response => unreachable!("nobody answers yet"),
            event = happened.recv() => assert_eq!(event, Some("begun")),
        }
        // The client goes away: its request is reset.
        drop(sender);
        happened
    });
    let mut happened = waiting.await.unwrap();
    assert_eq!(happened.recv().await, Some("dropped"));
    release.notify_one();
    assert_eq!(happened.recv().await, Some("finished"));
}

#[tokio::test]
async fn a_socket_of_this_machine_is_served_alike() {
    let scene = Scene::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("admin.sock");
    let server = scene.plain();
    let told =
        handler(
            |connection, _| async move { Response::new(Body::from(connection.peer().to_string())) },
        );
    let listener = UnixListener::bind(&path).unwrap();
    let served = scene.tasks.spawn("server", server.serve_unix(listener, told));
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let asked = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(asked).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("[::]:0"), "{answer}");
    scene.shutdown.ask();
    served.await.unwrap();
}

#[tokio::test]
async fn another_protocol_is_spoken_where_the_client_asks_for_it() {
    let scene = Scene::new();
    let serve = |connection: Arc<Connection>, mut io: Box<dyn Io>| {
        async move {
            assert_eq!(connection.certificates().len(), 1);
            let mut asked = [0; 4];
            io.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"ping");
            io.write_all(b"pong").await.unwrap();
            io.shutdown().await.unwrap();
        }
        .boxed()
    };
    let protocol = Protocol { alpn: b"other/1", serve: Arc::new(serve) };
    let (address, _served) = scene.serve_beside(protocol, ok()).await;
    let config = scene.client_config_of("jo");
    let mut stream = connect_tls((*config).clone(), address, "other/1").await;
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "pong");
    let mut sender = connect_http2(&scene, (*config).clone(), address).await;
    assert_eq!(text(sender.send_request(request("/")).await.unwrap()).await, "ok");
}

/// Becomes another protocol at `/other`, where it says what comes; else says what was asked for.
fn becomes_another(tasks: TaskSet) -> Handler {
    handler(move |_, mut request| {
        let tasks = tasks.clone();
        async move {
            let path = request.uri().path().to_owned();
            let mut response = Response::new(Body::from(path.clone()));
            if path == "/other" {
                let became = OnUpgrade::of(&mut request);
                tasks.spawn("other", async move {
                    let mut io = became.await.unwrap();
                    let mut said = String::new();
                    io.read_to_string(&mut said).await.unwrap();
                    io.write_all(said.to_uppercase().as_bytes()).await.unwrap();
                    io.shutdown().await.unwrap();
                });
                response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                let upgrade = HeaderValue::from_static("upgrade");
                response.headers_mut().insert(http::header::CONNECTION, upgrade);
            }
            response
        }
    })
}

/// Row 41: CVE-2018-1002105.
#[tokio::test]
async fn bytes_behind_a_wish_for_another_protocol_are_what_its_answer_says() {
    let asks = |path| {
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n")
    };
    let (other, plain) = (asks("/other"), asks("/plain"));
    let plainly = |path| format!("GET {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab");
    let last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    for (sent, statuses, end) in [
        // No HTTP at all, some of it with the request.
        (vec![format!("{other}no: \n"), "http\n".to_owned()], vec!["101"], "NO: \nHTTP\n"),
        (vec![plainly("/a") + &other + "x", "y".into()], vec!["200", "101"], "XY"),
        (vec![plain.clone() + &plainly("/next") + last], vec!["200", "200", "200"], "/last"),
        (vec![plain.clone() + &plain + &other + "z"], vec!["200", "200", "101"], "Z"),
        // What is HTTP is read as strictly as before.
        (vec![plain.clone() + "GET / HTTP/1.1\nX: y\r\n\r\n"], vec!["200", "400"], ""),
    ] {
        let scene = Scene::new();
        let (address, _served) =
            scene.serve(Limits::default(), becomes_another(scene.tasks.clone())).await;
        let config = scene.client_config();
        let mut stream = connect_tls((*config).clone(), address, "http/1.1").await;
        for piece in &sent {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        if statuses.contains(&"101") {
            stream.shutdown().await.unwrap();
        }
        let said = read_to_end(&mut stream).await;
        let found: Vec<&str> =
            said.match_indices("HTTP/1.1 ").map(|(at, _)| &said[at + 9..at + 12]).collect();
        assert_eq!(found, statuses, "{sent:?} {said}");
        assert!(said.ends_with(end), "{sent:?} {said}");
    }
}
