//! What is let through, what is added and taken away, and what people are told.

use futures_util::FutureExt as _;
use strait_tunnel::{Code, Tlvs};

use super::rig::{Answer, Ask, Rig, listen, refusing, scripted, write};
use crate::link::Part;
use crate::serve::HEARTBEAT_PATH;

const OK: &str = "HTTP/1.1 200 OK|Content-Length: 2||hi";

/// A service whose requests can be read.
async fn heard(options: &str) -> (Rig, tokio::sync::mpsc::Receiver<String>) {
    let (listener, url) = listen().await;
    let rig = Rig::with_files(
        &format!("services:\n- {{name: web, type: jenkins, url: {url}/ci, {options}}}\n"),
        &[("user", "bob\n"), ("password", "canary-secret\n")],
    )
    .await;
    let heads = scripted(&rig.tasks, listener, OK);
    (rig, heads)
}

#[tokio::test]
async fn a_request_arrives_as_it_should() {
    let (rig, mut heads) =
        heard("credentials: {basic: {userFile: DIR/user, passwordFile: DIR/password}}").await;
    let ask = Ask {
        path: "/job/x?a=b%20c",
        fields: &[
            ("accept", "*/*"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Bearer of-the-client"),
            ("connection", "x-private, te"),
            ("x-private", "1"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "gopher"),
            ("impersonate-user", "root"),
            ("x-remote-user", "root"),
            ("x_remote_user", "root"),
            ("x-real-ip", "6.6.6.6"),
            ("x-strait-hint", "root"),
            ("x-opsmx-token", "sj1.canary"),
            ("x-opsmx-agent-name", "other"),
            ("host", "evil.example"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("expect", "200-maybe"),
            ("te", "trailers, gzip"),
        ],
        ..Ask::default()
    };
    let forwarded = Tlvs { forwarded: "203.0.113.1", ..ask.tlvs };
    let mut stream = rig.ask(&Ask { tlvs: forwarded, ..ask });
    let answer = Answer::read(&mut stream.receiver).await;
    assert_eq!((answer.status, answer.text(), answer.told().2), (200, "hi", true));
    let head = heads.recv().await.unwrap();
    let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "GET /ci/job/x?a=b%20c HTTP/1.1");
    lines.sort_unstable();
    let url = rig.serving.config().services["web"].clone();
    let crate::services::Target::Http(http) = &url.target else { panic!() };
    let host = format!("host: {}", http.url.host());
    let mut expected = vec![
        "accept: */*",
        "authorization: Basic Ym9iOmNhbmFyeS1zZWNyZXQ=",
        "connection: te",
        "cookie: a=1; b=2",
        &*host,
        "te: trailers",
        "x-forwarded-for: 203.0.113.1, 192.0.2.7",
        "x-forwarded-host: hub.example",
        "x-forwarded-proto: https",
        "x-opsmx-agent-name: smith",
        "x-request-id: r-1",
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn rules_refuse_before_anything_goes_in() {
    let (rig, mut heads) = heard(
        "maxBody: \"10\", allow: {methods: [GET, POST], paths: [/job/*], denyPaths: [/job/secret*], users: [\"a*\"]}",
    )
    .await;
    let bob = br#"{"user":"bob"}"#;
    let old = br#"{"user":"alice","via":"token","issued":"2020-01-01T00:00:00Z"}"#;
    for (method, path, identity, expected) in [
        ("DELETE", "/job/x", super::rig::ALICE, (403, "AgentRule")),
        ("GET", "/other", super::rig::ALICE, (403, "AgentRule")),
        ("GET", "/job/secret1", super::rig::ALICE, (403, "AgentRule")),
        ("GET", "/job/%2e%2e/x", super::rig::ALICE, (400, "BadTarget")),
        ("GET", "/job/a%2fb", super::rig::ALICE, (400, "BadTarget")),
        ("GET", "/job//x", super::rig::ALICE, (400, "BadTarget")),
        ("OPTIONS", "*", super::rig::ALICE, (400, "BadTarget")),
        ("GET", "/job/x", bob, (403, "AgentRule")),
        ("GET", "/job/x", b"", (403, "AgentRule")),
        ("GET", "/job/x", old, (403, "AgentRule")),
    ] {
        let ask = Ask { method, path, ..Ask::default() };
        let tlvs = Tlvs { identity, ..ask.tlvs };
        let mut stream = rig.ask(&Ask { tlvs, ..ask });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(answer.told(), (expected.0, expected.1, true), "{method} {path}");
        assert_eq!(answer.field("x-request-id"), "r-1");
    }
    let large = Ask { method: "POST", path: "/job/x", ..Ask::default() };
    let tlvs = Tlvs { body_length: Some(11), ..large.tlvs };
    let mut stream = rig.begin(&Ask { tlvs, ..large.clone() });
    let answer = Answer::read(&mut stream.receiver).await;
    assert_eq!(answer.told(), (413, "TooLarge", true));
    let tlvs = Tlvs { upgrade: "websocket", ..large.tlvs };
    let mut stream = rig.begin(&Ask { method: "GET", tlvs, ..large });
    let answer = Answer::read(&mut stream.receiver).await;
    assert_eq!(answer.told(), (501, "UpgradeNotAllowed", true));
    assert!(heads.try_recv().is_err(), "nothing went in");
}

#[tokio::test]
async fn what_is_not_on_offer_was_not_executed() {
    let rig = Rig::new(
        "services:\n- {name: web, type: http, url: \"http://127.0.0.1:1\"}\n- {name: db, type: tcp, address: \"127.0.0.1:1\"}\n",
    )
    .await;
    let ask = Ask::default();
    for (service, service_type) in [("other", ""), ("db", ""), ("web", "jenkins"), ("", "")] {
        let tlvs = Tlvs { service, service_type, ..ask.tlvs };
        let mut stream = rig.ask(&Ask { tlvs, ..ask.clone() });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(answer.code(), Code::NoService, "{service}");
    }
    for (service, code, text) in [
        ("web", Code::NoService, ""),
        ("x", Code::NoService, ""),
        ("db", Code::ConnectFailed, "connection refused"),
    ] {
        let mut stream = rig.raw(service);
        let answer = Answer::read(&mut stream.receiver).await;
        let Part::Broken(end) = &answer.end else { panic!("{answer:?}") };
        assert_eq!((end.code, &*end.text), (code, text), "{service}");
    }
    let tlvs = Tlvs { identity: b"{", ..ask.tlvs };
    let mut stream = rig.ask(&Ask { tlvs, ..ask });
    assert_eq!(Answer::read(&mut stream.receiver).await.code(), Code::Identity);
}

#[tokio::test]
async fn failures_of_a_service_are_told_by_name_and_without_addresses() {
    let (_held, url) = refusing();
    let rig = Rig::new(&format!(
        "defaults: {{dialTimeout: 2s, headTimeout: 2s}}\nservices:\n- {{name: web, type: http, url: {url}}}\n\
         - {{name: name, type: http, url: \"http://does-not-exist.invalid\"}}\n\
         - {{name: sock, type: http, url: \"unix:///canary/none.sock\"}}\n"
    ))
    .await;
    for (service, status, reason) in [("web", 502, "ConnectFailed"), ("sock", 502, "ConnectFailed")]
    {
        let ask = Ask::default();
        let tlvs = Tlvs { service, ..ask.tlvs };
        let mut stream = rig.ask(&Ask { tlvs, ..ask });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(answer.told(), (status, reason, true), "{service}");
        assert!(!answer.text().contains("127.0.0.1") && !answer.text().contains("canary"));
    }
    rig.metric("strait_relay_served_streams_total{service=\"web\",kind=\"http\",code=\"NONE\"} 1")
        .await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: {url}, headTimeout: 500ms}}\n"
    ))
    .await;
    let answer = rig.get("/").await;
    assert_eq!(answer.told(), (504, "HeadTimeout", true));
    let (socket, _) = listener.accept().await.unwrap();
    // Its connection is closed with the exchange.
    let mut socket = tokio::io::BufReader::new(socket);
    assert!(super::rig::head_of(&mut socket).await.is_some());
    assert!(super::rig::head_of(&mut socket).await.is_none());
}

#[tokio::test]
async fn too_many_at_once_wait_a_second_and_are_told() {
    let (listener, url) = listen().await;
    let rig =
        Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}, concurrent: 1}}\n"))
            .await;
    let first = rig.ask(&Ask::default());
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = tokio::io::BufReader::new(socket);
    super::rig::head_of(&mut socket).await.unwrap();
    let second = rig.get("/").await;
    // Of what was not accepted another instance may be asked.
    let Part::Broken(end) = second.end else { panic!("{second:?}") };
    assert_eq!((end.code, &*end.text, end.unexecuted), (Code::Overloaded, "1", true));
    // One that waits gets the turn as soon as it is there.
    let mut third = rig.ask(&Ask::default());
    write(socket.get_mut(), OK).await.unwrap();
    drop(first);
    let next = async {
        match super::rig::head_of(&mut socket).await {
            Some(_) => write(socket.get_mut(), OK).await,
            None => {
                let (mut socket, _) = listener.accept().await.unwrap();
                write(&mut socket, OK).await
            }
        }
    };
    let (answer, _) = tokio::join!(Answer::read(&mut third.receiver), next);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_request_is_accepted_before_its_service_is_connected_to() {
    // It takes connections, and says nothing of TLS.
    let (_silent, url) = listen().await;
    let url = url.replace("http:", "https:");
    let rig = Rig::new(&format!(
        "services:\n- {{name: web, type: http, url: '{url}', dialTimeout: 100ms}}\n"
    ))
    .await;
    let mut stream = rig.ask(&Ask::default());
    stream.receiver.accepted().await.unwrap();
    assert!(stream.sender.is_accepted());
    let answer = Answer::read(&mut stream.receiver).await;
    assert_eq!(answer.told(), (504, "ConnectTimeout", true));
}

#[tokio::test]
async fn of_bytes_that_wait_for_a_connection_there_are_not_too_many() {
    let (_silent, url) = listen().await;
    let address = url.trim_start_matches("http://");
    let rig = Rig::new(&format!(
        "services:\n- {{name: db, type: tcp, address: '{address}', tls: {{insecure: true}}, \
         concurrent: 1}}\n"
    ))
    .await;
    let mut held: Vec<_> = (0..2_048).map(|_| rig.raw("db")).collect();
    let mut more = rig.raw("db");
    assert_eq!(Answer::read(&mut more.receiver).await.code(), Code::Overloaded);
    let last = held.last_mut().unwrap();
    assert!(last.receiver.next().now_or_never().is_none(), "it waits for its turn");
}

#[tokio::test]
async fn answers_are_made_public() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}/ci}}\n")).await;
    let answer = "HTTP/1.1 302 Found|Location: /ci/login|Set-Cookie: a=1; Path=/ci|Set-Cookie: b=2|\
        X-Strait-Error: Forged|X-Request-Id: forged|Alt-Svc: h3|Connection: x-mine|X-Mine: 1|Content-Length: 0||";
    scripted(&rig.tasks, listener, answer);
    let ask = Ask { path: "/x", ..Ask::default() };
    let tlvs = Tlvs { prefix: "/services/relay/smith/web", ..ask.tlvs };
    let mut stream = rig.ask(&Ask { tlvs, ..ask });
    let public = Answer::read(&mut stream.receiver).await;
    assert_eq!(public.field("location"), "/services/relay/smith/web/login");
    let cookies: Vec<_> = public.fields.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/services/relay/smith/web/", "b=2"]);
    for name in ["x-strait-error", "x-request-id", "alt-svc", "connection", "x-mine"] {
        assert_eq!(public.field(name), "", "{name}");
    }
    // With a host of its own a service speaks for itself.
    let own = rig.get("/x").await;
    assert_eq!((own.field("location"), own.field("alt-svc")), ("/ci/login", "h3"));
}

#[tokio::test]
async fn a_refusal_by_the_service_says_that_it_is_one() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}}}\n")).await;
    scripted(&rig.tasks, listener, "HTTP/1.1 401 No|Content-Length: 0||");
    let answer = rig.get("/").await;
    assert_eq!(answer.told(), (401, "", true));
    assert_eq!(answer.field("x-strait-hint"), "401 came from web, not from the hub");
}

#[tokio::test]
async fn the_clients_own_authorization_passes_only_where_it_may() {
    for (options, expected) in
        [("clientAuthorization: pass", true), ("clientAuthorization: remove", false)]
    {
        let (rig, mut heads) = heard(options).await;
        let ask = Ask { fields: &[("authorization", "Bearer own")], ..Ask::default() };
        Answer::read(&mut rig.ask(&ask).receiver).await;
        let head = heads.recv().await.unwrap();
        assert_eq!(head.contains("authorization: Bearer own"), expected, "{options}");
    }
}

#[tokio::test]
async fn a_heartbeat_is_answered_whatever_the_rules_and_goes_nowhere() {
    // Nobody listens there, nobody may do anything, and there is no place for a second request.
    let rig = Rig::new(
        "policy: {requireIdentity: true}\nservices:\n- {name: web, type: http, url: 'http://127.0.0.1:1', \
         concurrent: 1, allow: {methods: [GET], paths: [/only], users: [bob]}}\n",
    )
    .await;
    for (method, path, status) in [
        ("POST", HEARTBEAT_PATH, 204),
        ("GET", HEARTBEAT_PATH, 204),
        ("POST", "/.well-known/strait/heartbeat/", 403),
        ("POST", "/.well-known/strait/heartbeat?x", 403),
        ("POST", "/", 403),
    ] {
        let mut stream = rig.ask(&Ask { method, path, ..Ask::default() });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(
            (answer.status, &*answer.body == b""),
            (status, status == 204),
            "{method} {path}"
        );
    }
}
