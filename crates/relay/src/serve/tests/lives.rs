//! Reloads, rotation, kept connections, TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strait_pki::{Authority, ServerNames, ServingCertificate, server_config};
use strait_runtime::{SeededEntropy, SystemClock};
use strait_tunnel::{Code, Tlvs};
use strait_types::HubId;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::rig::{Answer, Ask, Rig, config, head_of, listen, scripted, write};
use crate::link::Part;
use crate::services::Change;

const OK: &str = "HTTP/1.1 200 OK|Content-Length: 2||hi";

#[tokio::test]
async fn what_does_not_change_keeps_its_connections() {
    let (listener, url) = listen().await;
    let web = |more: &str| format!("services:\n- {{name: web, type: http, url: {url}{more}}}\n");
    let rig = Rig::new(&web("")).await;
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        for _ in 0..3 {
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), OK).await.unwrap();
        }
        // New trust, credentials or protocol: new connections.
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), OK).await.unwrap();
    };
    let asking = async {
        for (more, change) in [
            ("", Change::Unchanged),
            (", allow: {methods: [GET]}, concurrent: 3", Change::Rules),
            (", protocol: http1", Change::Connections),
        ] {
            assert_eq!(rig.get("/").await.status, 200);
            let changes = rig.serving.apply(config(&web(more)));
            assert_eq!(changes["web"], change);
        }
        assert_eq!(rig.get("/").await.status, 200);
    };
    tokio::join!(serving, asking);
    // The rules of now count.
    rig.serving.apply(config(&web(", allow: {methods: [PUT]}")));
    assert_eq!(rig.get("/").await.told(), (403, "AgentRule", true));
}

#[tokio::test]
async fn a_removed_service_ends_its_streams_in_half_a_minute() {
    let path = tempfile::tempdir().unwrap();
    let socket = path.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: \"unix://{}\", headTimeout: \"0\", idleTimeout: \"0\"}}\n",
        socket.display()
    ))
    .await;
    let mut stream = rig.ask(&Ask::default());
    let (mut inner, _) = listener.accept().await.unwrap();
    inner.write_all(b"HTTP/1.1 200 OK\r\n\r\ndata").await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(_)));
    assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"data")));
    let before = Instant::now();
    let changes = rig.serving.apply(config("services: []\n"));
    assert_eq!(changes["web"], Change::Removed);
    let mut late = rig.ask(&Ask::default());
    assert_eq!(Answer::read(&mut late.receiver).await.code(), Code::NoService);
    // It goes on until then.
    inner.write_all(b"more").await.unwrap();
    assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(b"more")));
    tokio::time::pause();
    let Part::Broken(end) = stream.receiver.next().await else { panic!() };
    assert_eq!(end.code, Code::Aborted);
    let took = before.elapsed().as_secs();
    assert!((29..=31).contains(&took), "{took} s");
}

#[tokio::test]
async fn credentials_follow_their_files_and_swapped_links() {
    let (listener, url) = listen().await;
    let files = tempfile::tempdir().unwrap();
    let at = |name: &str| files.path().join(name);
    for (version, token) in [("v1", "one"), ("v2", "two")] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("token"), token).unwrap();
    }
    std::os::unix::fs::symlink(at("v1"), at("link")).unwrap();
    let text = format!(
        "services:\n- {{name: web, type: http, url: {url}, credentials: {{token: {{tokenFile: {}/token}}}}}}\n",
        at("link").display()
    );
    let rig = Rig::new(&text).await;
    let mut heads = scripted(&rig.tasks, listener, OK);
    rig.get("/").await;
    assert!(heads.recv().await.unwrap().contains("authorization: Token one\r\n"));
    std::os::unix::fs::symlink(at("v2"), at("next")).unwrap();
    std::fs::rename(at("next"), at("link")).unwrap();
    loop {
        rig.get("/").await;
        let head = heads.recv().await.unwrap();
        if head.contains("authorization: Token two\r\n") {
            break;
        }
        assert!(head.contains("authorization: Token one\r\n"), "{head}");
    }
    // A file that is gone leaves what was read before.
    std::fs::remove_file(at("v2").join("token")).unwrap();
    rig.get("/").await;
    assert!(heads.recv().await.unwrap().contains("authorization: Token two\r\n"));
}

pub(super) fn authority(seed: u64) -> Arc<Authority> {
    let hub = HubId::from_random([7; 16]);
    let entropy = Arc::new(SeededEntropy::new(seed));
    Arc::new(Authority::create(&hub, Arc::new(SystemClock), entropy).unwrap())
}

pub(super) fn tls_of(authority: &Arc<Authority>, alpn: &[&[u8]]) -> TlsAcceptor {
    let names = ServerNames::new(["ci.example"]).unwrap();
    let day = Duration::from_secs(86_400);
    let serving = ServingCertificate::new(authority.clone(), names, day).unwrap();
    let mut config = server_config(serving, &[], Arc::new(SystemClock)).unwrap();
    Arc::make_mut(&mut config).alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(config)
}

/// What a request over TLS brings, where the service offers these protocols.
async fn over_tls(options: &str, alpn: &'static [&'static [u8]]) -> Answer {
    let (own, other) = (authority(1), authority(2));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let rig = Rig::with_files(
        &format!("services:\n- {{name: web, type: http, url: \"https://{address}\", {options}}}\n"),
        &[("ca", &own.certificate_pem()), ("other", &other.certificate_pem())],
    )
    .await;
    let acceptor = tls_of(&own, alpn);
    rig.tasks.spawn_daemon("service", async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut socket) = acceptor.accept(socket).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await;
        }
    });
    rig.get("/").await
}

#[tokio::test]
async fn services_are_trusted_as_they_are_configured() {
    let http1: &[&[u8]] = &[b"http/1.1"];
    let none: &[&[u8]] = &[];
    let good = "serverName: ci.example, caFile: DIR/ca";
    for (options, alpn, expected) in [
        (format!("tls: {{{good}}}"), http1, (200, "")),
        (format!("tls: {{{good}}}"), none, (200, "")),
        (format!("tls: {{{good}, minVersion: \"1.3\"}}"), http1, (200, "")),
        ("tls: {insecure: true}".into(), http1, (200, "")),
        (format!("tls: {{{good}}}, protocol: http2"), none, (502, "UpstreamProtocol")),
        (format!("tls: {{{good}}}, protocol: http2"), http1, (502, "UpstreamTLS")),
        ("tls: {serverName: ci.example, caFile: DIR/other}".into(), http1, (502, "UpstreamTLS")),
        ("tls: {caFile: DIR/ca}".into(), http1, (502, "UpstreamTLS")),
        ("tls: {serverName: ci.example}".into(), http1, (502, "UpstreamTLS")),
    ] {
        let answer = over_tls(&options, alpn).await;
        assert_eq!(answer.told(), (expected.0, expected.1, true), "{options}");
        assert!(!answer.text().contains("ci.example"), "{}", answer.text());
        // Who signed it, where that is what is not trusted.
        let by_another = options.contains("other") || !options.contains("caFile");
        let told = answer.text().contains("is not signed by")
            && answer.text().contains("(issuer: CN=Strait hub CA");
        assert_eq!(told, by_another && answer.status == 502, "{}", answer.text());
    }
}

#[tokio::test]
async fn unix_sockets_are_services() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: x-mine, url: \"unix://{}\"}}\n",
        path.display()
    ))
    .await;
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_buf(&mut head).await.unwrap();
        }
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    };
    let (answer, head) = tokio::join!(rig.get("/a"), serving);
    assert_eq!(answer.status, 200);
    assert!(
        head.starts_with("GET /a HTTP/1.1\r\n") && head.contains("host: localhost\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn an_idle_stream_is_ended() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: {url}, idleTimeout: 50ms}}\n"
    ))
    .await;
    let mut stream = rig.ask(&Ask::default());
    let (mut socket, _) = listener.accept().await.unwrap();
    write(&mut socket, "HTTP/1.1 200 OK||data").await.unwrap();
    let answer = Answer::read(&mut stream.receiver).await;
    assert_eq!((answer.text(), answer.code()), ("data", Code::Timeout));
}

#[tokio::test]
async fn a_client_that_takes_what_waited_is_not_idle() {
    let (listener, url) = listen().await;
    let rig =
        Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}, idleTimeout: 2s}}\n"))
            .await;
    let mut stream = rig.ask(&Ask::default());
    let (mut socket, _) = listener.accept().await.unwrap();
    // Little more than a stream's first window: the agent has no more to read then.
    let much = "x".repeat(257 << 10);
    write(&mut socket, &format!("HTTP/1.1 200 OK|Content-Length: 263172||{much}")).await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(_)));
    // Each is less than it may be idle, and both are more.
    let some_time = Duration::from_millis(1_300);
    tokio::time::sleep(some_time).await;
    assert_eq!(rig.hub.usage().unconsumed, 256 << 10, "it waits");
    let rest = async {
        tokio::time::sleep(some_time).await;
        write(&mut socket, "last").await.unwrap();
    };
    let (answer, ()) = tokio::join!(Answer::read(&mut stream.receiver), rest);
    assert_eq!((answer.body.len(), answer.end), (263_172, Part::End));
}

#[tokio::test]
async fn events_may_be_silent_for_longer() {
    let (listener, url) = listen().await;
    let text = "defaults: {idleTimeout: 50ms}\nservices:\n- {name: web, type: http, url: 'URL'}\n";
    let rig = Rig::new(&text.replace("URL", &url)).await;
    for (path, kind) in [("/events", "text/event-stream"), ("/pods?watch=1", "application/json")] {
        let head = format!(
            "HTTP/1.1 200 OK|Content-Type: {kind}|Connection: close|Transfer-Encoding: chunked||"
        );
        let mut quiet = rig.ask(&Ask { path, ..Ask::default() });
        let (mut source, _) = listener.accept().await.unwrap();
        write(&mut source, &format!("{head}6|first |")).await.unwrap();
        // Whoever was silent since later than this one is ended.
        let mut other = rig.ask(&Ask::default());
        let (mut socket, _) = listener.accept().await.unwrap();
        write(&mut socket, "HTTP/1.1 200 OK||data").await.unwrap();
        assert_eq!(Answer::read(&mut other.receiver).await.code(), Code::Timeout);
        write(&mut source, "6|second|0||").await.unwrap();
        assert_eq!(Answer::read(&mut quiet.receiver).await.text(), "first second", "{path}");
    }
    // Where the service itself has a limit, it is for all that it says.
    let text = format!("services:\n- {{name: web, type: http, url: {url}, idleTimeout: 50ms}}\n");
    let rig = Rig::new(&text).await;
    let mut stream = rig.ask(&Ask { path: "/events", ..Ask::default() });
    let (mut socket, _) = listener.accept().await.unwrap();
    write(&mut socket, "HTTP/1.1 200 OK|Content-Type: text/event-stream||first").await.unwrap();
    assert_eq!(Answer::read(&mut stream.receiver).await.code(), Code::Timeout);
}

#[tokio::test]
async fn a_request_ends_with_its_own_time() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}}}\n")).await;
    let ask = Ask::default();
    let tlvs = Tlvs { deadline_ms: Some(50), ..ask.tlvs };
    let mut stream = rig.ask(&Ask { tlvs, ..ask });
    assert_eq!(Answer::read(&mut stream.receiver).await.code(), Code::Timeout);
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    head_of(&mut socket).await.unwrap();
    assert!(head_of(&mut socket).await.is_none(), "its connection is closed");
}

#[tokio::test]
async fn bytes_that_stand_still_are_ended_with_how_long_they_did() {
    let (listener, url) = listen().await;
    let address = url.trim_start_matches("http://");
    let rig = Rig::new(&format!(
        "services:\n- {{name: db, type: tcp, address: '{address}', idleTimeout: 50ms}}\n"
    ))
    .await;
    let mut stream = rig.raw("db");
    let _service = listener.accept().await.unwrap();
    let end = Answer::read(&mut stream.receiver).await.end;
    let Part::Broken(end) = end else { panic!("{end:?}") };
    assert_eq!((end.code, &*end.text), (Code::Timeout, "50ms"));
}

#[tokio::test]
async fn what_the_service_took_is_told_and_nothing_of_an_answer_in_its_place() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: '{url}'}}\n\
         - {{name: dead, type: http, url: 'http://127.0.0.1:1'}}\n"
    ))
    .await;
    let asked = Instant::now();
    let serve = async {
        let mut socket = BufReader::new(listener.accept().await.unwrap().0);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), OK).await.unwrap();
        socket
    };
    let (answer, _socket) = tokio::join!(rig.get("/"), serve);
    let took = answer.took.unwrap();
    assert!(took > Duration::ZERO && took <= asked.elapsed(), "{took:?}");
    for (service, path, status) in [("dead", "/", 502), ("web", crate::serve::HEARTBEAT_PATH, 204)]
    {
        let ask = Ask { path, ..Ask::default() };
        let tlvs = Tlvs { service, ..ask.tlvs };
        let mut stream = rig.ask(&Ask { tlvs, ..ask });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!((answer.status, answer.took), (status, None), "{service}");
    }
}

#[tokio::test]
async fn a_service_out_of_reach_is_announced_as_that_until_it_is_back() {
    let files = tempfile::tempdir().unwrap();
    let socket = files.path().join("s");
    let path = socket.display();
    let rig =
        Rig::new(&format!("services:\n- {{name: web, type: http, url: 'unix://{path}'}}\n")).await;
    let ready = || {
        let message = rig.serving.announcement(1).remove(0);
        let message = strait_machinery::json::parse(&message).unwrap();
        let web = &message.array_at(&["list"])[0];
        let ready = web.at(&["ready"]).and_then(|own| own.as_bool());
        assert_eq!(web.str_at(&["unreached"]).is_none(), ready == Some(true));
        ready
    };
    let mut reached = rig.serving.reached();
    assert_eq!(ready(), Some(true));
    for _ in 0..3 {
        assert_eq!(rig.get("/").await.told(), (502, "ConnectFailed", true));
    }
    reached.changed().await.unwrap();
    assert_eq!(ready(), Some(false));
    rig.serving.look().await;
    assert_eq!(ready(), Some(false));
    let _service = UnixListener::bind(&socket).unwrap();
    rig.serving.look().await;
    assert!(reached.has_changed().unwrap());
    assert_eq!(ready(), Some(true));
}
