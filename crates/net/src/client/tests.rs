//! Calls against real sockets.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Uri};
use proptest::prelude::*;
use strait_pki::{PinMismatch, PrivateKey, pinned_client_config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::body::Body;
use crate::server::{Limits, handler};
use crate::testing::{LIMITS, Scene, call, clock, get};

/// A server that reads one request and answers with these bytes.
async fn raw_server(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scene = Scene::new();
    scene.tasks.spawn("raw", async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(answer).await.unwrap();
    });
    address
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_call_brings_back_status_fields_and_body() {
    let scene = Scene::new();
    let echo = handler(|_, request| async move {
        let (head, body) = request.into_parts();
        let body = collect(body, 100).await.unwrap();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        let host = head.headers[header::HOST].clone();
        response.headers_mut().insert("x-host", host);
        let path = HeaderValue::try_from(head.uri.to_string()).unwrap();
        response.headers_mut().insert("x-path", path);
        response
    });
    let (address, _served) = scene.serve(Limits::default(), echo).await;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://localhost:{}/a%20b?c=d", address.port()))
        .body(Bytes::from("body"));
    let response = call(Some(scene.client_config()), request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 418);
    assert_eq!(response.headers()["x-host"], format!("localhost:{}", address.port()));
    assert_eq!(response.headers()["x-path"], "/a%20b?c=d");
    assert_eq!(response.body(), "body");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let address =
        raw_server(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n").await;
    let response = call(None, get(format!("http://{address}/"))).await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn an_answer_may_end_with_the_connection() {
    let address = raw_server(b"HTTP/1.0 200 OK\r\n\r\nto the end").await;
    let response = call(None, get(format!("http://{address}/"))).await.unwrap();
    assert_eq!(response.body(), "to the end");
}

#[tokio::test]
async fn refused_connections_sent_nothing() {
    // Held by somebody who does not listen.
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    let error = call(None, get(format!("http://{address}/"))).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");
    assert!(error.nothing_was_sent());
    assert_eq!(error.kind(), ErrorKind::Upstream);

    let error = call(None, get("http://nobody.invalid/".into())).await.unwrap_err();
    assert!(matches!(error, CallError::Resolve { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_nobody_trusts_gets_nothing() {
    let (ours, theirs) = (Scene::new(), Scene::new());
    let (address, _served) =
        theirs.serve(Limits::default(), handler(|_, _| async { unreachable!() })).await;
    let url = || format!("https://127.0.0.1:{}/", address.port());
    let error = call(Some(ours.client_config()), get(url())).await.unwrap_err();
    assert!(matches!(error, CallError::Connect { .. }), "{error:?}");

    let pin = PrivateKey::generate().unwrap().spki_sha256();
    let pinned = pinned_client_config(pin, clock()).unwrap();
    let error = call(Some(pinned), get(url())).await.unwrap_err();
    assert_eq!(PinMismatch::find(&error).unwrap().expected, pin);
    assert!(error.nothing_was_sent());
}

#[tokio::test]
async fn no_whole_answer_means_an_unknown_outcome() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"SSH-2.0-OpenSSH\r\n",
    ] {
        let address = raw_server(answer).await;
        let error = call(None, get(format!("http://{address}/"))).await.unwrap_err();
        assert!(matches!(error, CallError::NoAnswer { .. }), "{error:?}");
        assert!(!error.nothing_was_sent());
    }
}

#[tokio::test]
async fn a_timeout_before_sending_is_told_from_one_after() {
    // Accepted by the kernel, answered by nobody.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let scene = Scene::new();
    let client = Client::new(Some(scene.client_config()), EgressPolicy::unrestricted());
    let brief = Duration::from_millis(50);
    for limits in [CallLimits { connect: brief, ..LIMITS }, CallLimits { total: brief, ..LIMITS }] {
        let request = get(format!("https://127.0.0.1:{port}/"));
        let error = client.call(request, &limits).await.unwrap_err();
        assert!(matches!(error, CallError::ConnectTimedOut { .. }), "{error:?}");
        assert!(error.nothing_was_sent());
    }

    let (address, _served) = scene.serve(Limits::default(), handler(|_, _| pending())).await;
    let limits = CallLimits { total: Duration::from_secs(1), ..LIMITS };
    let request = get(format!("https://127.0.0.1:{}/", address.port()));
    let error = client.call(request, &limits).await.unwrap_err();
    assert!(matches!(error, CallError::AnswerTimedOut { .. }), "{error:?}");
    assert!(!error.nothing_was_sent());
}

#[tokio::test]
async fn a_large_answer_is_cut_off_and_its_status_known() {
    let address = raw_server(b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nabcdef").await;
    let client = Client::new(None, EgressPolicy::unrestricted());
    let limits = CallLimits { response_bytes: 5, ..LIMITS };
    let error = client.call(get(format!("http://{address}/")), &limits).await;
    match error.unwrap_err() {
        CallError::TooLarge { status, limit, .. } => assert_eq!((status.as_u16(), limit), (201, 5)),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn urls_that_cannot_be_called_are_refused() {
    let client = Client::new(None, EgressPolicy::unrestricted());
    for (url, why) in [
        ("/path", "it is neither http nor https"),
        ("ftp://host/", "it is neither http nor https"),
        ("https://host/", "no certificates are trusted here"),
        ("http://user:secret@host/", "it has a user or password"),
    ] {
        let error = client.call(get(url.into()), &LIMITS).await.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with(why), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(error.kind(), ErrorKind::User);
    }
}

/// Gives other addresses each time it is asked.
#[derive(Debug, Default)]
struct Rebinding(AtomicUsize);

impl Resolve for Rebinding {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        let last = if asked == 0 { 1 } else { 254 };
        async move { Ok(vec![[127, 0, 0, last].into()]) }.boxed()
    }
}

#[derive(Debug)]
struct Fixed(Vec<IpAddr>);

impl Resolve for Fixed {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        async move { Ok(self.0.clone()) }.boxed()
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_the_one_that_is_called() {
    let address = raw_server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let policy = EgressPolicy::guarded(vec!["127.0.0.1".parse().unwrap()], &[]);
    let resolver = Arc::new(Rebinding::default());
    let client = Client::with_resolver(None, policy, resolver.clone());
    let request = || get(format!("http://private.example:{}/", address.port()));
    let response = client.call(request(), &LIMITS).await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(resolver.0.load(Ordering::Relaxed), 1, "resolved once");

    let error = client.call(request(), &LIMITS).await.unwrap_err();
    assert!(matches!(error, CallError::Denied(_)), "{error:?}");
    assert!(error.nothing_was_sent());
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn one_denied_address_denies_the_host() {
    let policy = EgressPolicy::guarded(Vec::new(), &[]);
    let addresses = vec![[1, 1, 1, 1].into(), [10, 0, 0, 1].into()];
    let client = Client::with_resolver(None, policy, Arc::new(Fixed(addresses)));
    let error = client.call(get("http://mixed.example/".into()), &LIMITS).await;
    assert!(matches!(error, Err(CallError::Denied(_))));
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let address = raw_server(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    let addresses = vec![[127, 0, 0, 9].into(), [127, 0, 0, 1].into()];
    let policy = EgressPolicy::unrestricted();
    let client = Client::with_resolver(None, policy, Arc::new(Fixed(addresses)));
    let request = get(format!("http://two.example:{}/", address.port()));
    let response = client.call(request, &LIMITS).await.unwrap();
    assert_eq!(response.status(), 204);
}

proptest! {
    #[test]
    fn no_url_panics(text in "(https?://)?[a-z0-9:@\\[\\]./?#%-]{0,40}") {
        if let Ok(url) = text.parse::<Uri>()
            && Target::of(&url, true).is_ok()
        {
            let request = Request::get(url).body(Bytes::new()).unwrap();
            let _ = prepare(request);
        }
    }
}
