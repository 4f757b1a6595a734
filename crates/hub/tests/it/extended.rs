//! WebSockets over HTTP/2 (RFC 8441), as browsers ask for them.

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use strait_net::fields::Fields;
use strait_relay::link::control::Announced;
use strait_relay::link::{Part, Stream};
use strait_relay::websocket::{Pipe, Role, Subprotocol, judge};
use strait_tunnel::{Field, OpenHead, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::credentials::SERVICES;
use crate::fake_agent::{Acme, CI, FakeAgent};
use crate::harness::{Client, PATIENCE};
use crate::raw::Site;
use crate::services::offer;

type Http2 = SendRequest<Empty<Bytes>>;

async fn connect(client: &Client) -> Http2 {
    let stream = TokioIo::new(client.connect_as(&[b"h2"]).await);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    sender
}

/// Asks for a stream that is another protocol.
fn request(client: &Client, path: &str, protocol: &'static str) -> Request<Empty<Bytes>> {
    let url = format!("https://{}{path}", client.address());
    let request = Request::builder().method(Method::CONNECT).uri(url);
    let request = request.extension(Protocol::from_static(protocol));
    let request = request.header("sec-websocket-version", "13");
    request.body(Empty::new()).unwrap()
}

async fn send(
    sender: &mut Http2,
    asked: Request<Empty<Bytes>>,
) -> http::Response<hyper::body::Incoming> {
    sender.ready().await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(asked)).await;
    answer.expect("it is answered in time").expect("it is answered")
}

/// An agent that offers `ci`, with upgrades.
async fn smith(acme: &Acme) -> FakeAgent {
    let mut agent = FakeAgent::connect(&acme.install().await, &[]).await;
    let upgrades = Announced { protocols: vec!["upgrade".into()], ..offer("ci", "h1") };
    agent.offer(&[upgrades]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    agent
}

/// The next stream, with the fields that it came with.
async fn next(agent: &mut FakeAgent) -> (Stream, HeaderMap) {
    let opened = tokio::time::timeout(PATIENCE, agent.opened()).await.unwrap().unwrap();
    let (stream, OpenHead::Http(head)) = opened else { panic!("a request") };
    let parts = head.parts();
    assert_eq!((parts.method.as_str(), parts.tlvs.upgrade), ("GET", "websocket"));
    let fields = head.fields().map(|field| {
        let name = HeaderName::from_bytes(field.name).unwrap();
        (name, HeaderValue::from_bytes(field.value).unwrap())
    });
    let fields = fields.collect();
    stream.sender.accept();
    (stream, fields)
}

/// What a service answers that makes a WebSocket of it.
fn accept(fields: &HeaderMap) -> HeaderValue {
    let mut answer = Fields::new();
    let fields = Fields::from(fields);
    judge(&fields, Subprotocol::Raw).expect("a key of 16 bytes").put(&mut answer);
    answer.to_map()[SEC_WEBSOCKET_ACCEPT].clone()
}

#[tokio::test]
async fn a_stream_of_http2_becomes_a_websocket_of_a_service() {
    let acme = Acme::new().await;
    let mut agent = smith(&acme).await;
    let mut sender = connect(&acme.alice).await;
    let path = format!("/clusters/root:acme{CI}");
    let mut asked = request(&acme.alice, &path, "websocket");
    // It is the hub that knows what the service is to answer.
    asked.headers_mut().insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("mine"));
    let answers = async {
        let (stream, fields) = next(&mut agent).await;
        let accept = accept(&fields);
        let said = [
            Field::new("sec-websocket-accept", accept.as_bytes()),
            Field::new("sec-websocket-protocol", b"chat"),
        ];
        stream.sender.send_head(&Response::new(101, said).unwrap(), false).unwrap();
        stream
    };
    let (mut answer, mut stream) = tokio::join!(send(&mut sender, asked), answers);
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "chat");
    for own in ["sec-websocket-accept", "upgrade", "connection"] {
        assert!(!answer.headers().contains_key(own), "{own}");
    }
    let mut io = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
    io.write_all(b"ping").await.unwrap();
    io.flush().await.unwrap();
    let Part::Data(came) = stream.receiver.next().await else { panic!("bytes") };
    assert_eq!(came, "ping");
    stream.sender.write("pong".into()).await.unwrap();
    let mut four = [0; 4];
    io.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"pong");
    // Each direction has its own end.
    io.shutdown().await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::End));
    stream.sender.write("last".into()).await.unwrap();
    stream.sender.finish().unwrap();
    let mut rest = String::new();
    io.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "last");
    // The connection is still one for requests.
    let get = Request::get(format!("https://{}/readyz", acme.alice.address()));
    assert_eq!(send(&mut sender, get.body(Empty::new()).unwrap()).await.status(), 200);
}

#[tokio::test]
async fn what_is_no_websocket_is_an_answer() {
    let acme = Acme::new().await;
    let mut agent = smith(&acme).await;
    let mut sender = connect(&acme.alice).await;
    let path = format!("/clusters/root:acme{CI}");
    for (status, fields, expected, reason) in [
        (101, vec![Field::new("sec-websocket-accept", b"another's")], 502, "UpstreamProtocol"),
        (101, Vec::new(), 502, "UpstreamProtocol"),
        // Success would mean that the service switched.
        (200, Vec::new(), 501, "UpgradeNotAllowed"),
        (403, Vec::new(), 403, ""),
        (302, vec![Field::new("location", b"/elsewhere")], 302, ""),
    ] {
        let answers = async {
            let (stream, _) = next(&mut agent).await;
            stream.sender.send_head(&Response::new(status, fields).unwrap(), false).unwrap();
            if status != 101 {
                stream.sender.finish().unwrap();
            }
            stream
        };
        let asked = request(&acme.alice, &path, "websocket");
        let (answer, _stream) = tokio::join!(send(&mut sender, asked), answers);
        let told = answer.headers().get("x-strait-error").map(|value| value.to_str().unwrap());
        assert_eq!((answer.status().as_u16(), told.unwrap_or_default()), (expected, reason));
        assert!(answer.into_body().collect().await.is_ok());
    }
    // No client gave any of them up.
    let text = acme.hub.admin().below("").get("/metrics").await.text();
    let broken = "resets_total{code=\"UPSTREAM_PROTOCOL\",by=\"hub\"} 3";
    assert!(text.contains(broken) && !text.contains("code=\"CANCEL\""), "{text}");
    for (protocol, path, expected) in [
        ("connect-udp", &*path, 501),
        ("websocket", "/clusters/root:acme/services/relay/smith/none", 404),
        ("websocket", "/api/v1/namespaces/default", 403),
        ("websocket", "/tunnel", 426),
    ] {
        let answer = send(&mut sender, request(&acme.alice, path, protocol)).await;
        assert_eq!(answer.status(), expected, "{protocol} {path}");
    }
    let mut foreign = request(&acme.alice, &path, "websocket");
    foreign.headers_mut().insert("origin", HeaderValue::from_static("https://other.example"));
    assert_eq!(send(&mut sender, foreign).await.status(), 403);
    assert_eq!(agent.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_a_service_pass_in_one_too() {
    let site = Site::start().await;
    let mut pipe = dial(&site, "echo").await;
    pipe.write_all(b"ping").await.unwrap();
    pipe.flush().await.unwrap();
    let mut four = [0; 4];
    tokio::time::timeout(PATIENCE, pipe.read_exact(&mut four)).await.unwrap().unwrap();
    assert_eq!(&four, b"ping");
}

/// Row 41: a stream that became another protocol keeps to the flow control of HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_of_one_is_sent_a_bounded_amount() {
    let mut site = Site::start().await;
    let pipe = dial(&site, "source").await;
    site.holds_little(pipe).await;
}

/// The bytes of a service, in a WebSocket in HTTP/2.
async fn dial(site: &Site, service: &str) -> Pipe<TokioIo<Upgraded>> {
    let client = site.hub.anonymous();
    let mut sender = connect(&client).await;
    let path = format!("/services/relay/smith/{service}");
    let mut asked = request(&client, &path, "websocket");
    let token = format!("Bearer {}", site.token(service).await);
    asked.headers_mut().insert(AUTHORIZATION, token.parse().unwrap());
    let raw = HeaderValue::from_static(Subprotocol::Raw.as_str());
    asked.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, raw.clone());
    let mut answer = send(&mut sender, asked).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], raw);
    Pipe::new(TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap()), Role::Client).await
}
