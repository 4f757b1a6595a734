//! Services and hubs that do not keep to the rules, and what is never done twice.

use bytes::Bytes;
use strait_audit::{Entry, Filter, Record};
use strait_tunnel::{Code, Directions, Tlvs};
use tokio::io::BufReader;
use tokio::net::TcpListener;

use super::rig::{Answer, Ask, Rig, head_of, listen, pattern, refusing, scripted, write};
use crate::link::Part;

async fn one(options: &str) -> (Rig, TcpListener) {
    let (listener, url) = listen().await;
    let services = format!("services:\n- {{name: web, type: http, url: {url}{options}}}\n");
    (Rig::new(&services).await, listener)
}

#[tokio::test]
async fn answers_that_are_not_http_are_told_as_such() {
    for answer in [
        "SSH-2.0-OpenSSH|",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK|Content-Length: 3|Content-Length: 4||abcd",
        "HTTP/1.1 200 OK|Content-Length: 3|Transfer-Encoding: chunked||0||",
        "HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||0||",
        "HTTP/1.1 200 OK|X: a| folded||",
        "HTTP/1.1 099 OK||",
        "HTTP/1.1 999 OK||",
    ] {
        let (rig, listener) = one("").await;
        scripted(&rig.tasks, listener, answer);
        assert_eq!(rig.get("/").await.told(), (502, "UpstreamProtocol", true), "{answer}");
    }
}

#[tokio::test]
async fn a_broken_answer_never_looks_complete() {
    for answer in [
        "HTTP/1.1 200 OK|Content-Length: 10||abc",
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|",
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abc|zz|",
        "HTTP/1.1 200 OK|Transfer-Encoding: chunked||3|abcX",
    ] {
        let (rig, listener) = one("").await;
        let mut stream = rig.ask(&Ask::default());
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = BufReader::new(socket);
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), answer).await.unwrap();
        };
        let (told, ()) = tokio::join!(Answer::read(&mut stream.receiver), serving);
        // What was not sent yet of it is not sent any more.
        assert!(matches!(told.status, 0 | 200), "{answer}");
        assert_eq!(told.code(), Code::UpstreamReset, "{answer}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_before_its_answer_is_told_as_that() {
    let (rig, listener) = one("").await;
    let mut stream = rig.begin(&Ask { method: "POST", ..Ask::default() });
    stream.sender.finish().unwrap();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        head_of(&mut BufReader::new(socket)).await.unwrap();
    };
    let (told, ()) = tokio::join!(Answer::read(&mut stream.receiver), serving);
    assert_eq!(told.told(), (502, "UpstreamReset", true));
}

/// Serves a first request on a connection, closes it at the second's head, and counts what comes
/// over others.
async fn second_request_meets_a_dying_connection(method: &str, body: bool) -> (u16, usize) {
    let (rig, listener) = one("").await;
    let dying = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 0||").await.unwrap();
        head_of(&mut socket).await.unwrap();
    };
    let asking = async {
        assert_eq!(rig.get("/").await.status, 200);
        rig.metric("strait_relay_inner_connections{service=\"web\",state=\"resting\"} 1").await;
        let mut stream = match body {
            true => rig.begin(&Ask { method, ..Ask::default() }),
            false => rig.ask(&Ask { method, ..Ask::default() }),
        };
        if body {
            stream.sender.write(Bytes::from_static(b"x")).await.unwrap();
            stream.sender.finish().unwrap();
        }
        stream
    };
    let (mut stream, ()) = tokio::join!(asking, dying);
    let heads = scripted(&rig.tasks, listener, "HTTP/1.1 200 OK|Content-Length: 0||");
    let status = Answer::read(&mut stream.receiver).await.status;
    (status, heads.len())
}

#[tokio::test]
async fn only_what_changes_nothing_is_sent_again() {
    for (method, body, expected) in [
        ("GET", false, (200, 1)),
        ("HEAD", false, (200, 1)),
        ("OPTIONS", false, (200, 1)),
        ("GET", true, (502, 0)),
        ("POST", false, (502, 0)),
        ("PUT", true, (502, 0)),
        ("DELETE", false, (502, 0)),
        ("PROPFIND", false, (502, 0)),
    ] {
        let found = second_request_meets_a_dying_connection(method, body).await;
        assert_eq!(found, expected, "{method} {body}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_nothing() {
    let (rig, listener) = one("").await;
    for method in ["POST", "POST", "DELETE"] {
        let mut stream = rig.ask(&Ask { method, ..Ask::default() });
        let serving = async {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = BufReader::new(socket);
            head_of(&mut socket).await.unwrap();
            write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 0||").await.unwrap();
        };
        let (told, ()) = tokio::join!(Answer::read(&mut stream.receiver), serving);
        assert_eq!(told.told(), (200, "", true), "{method}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (rig, listener) = one("").await;
    let (other, url) = listen().await;
    let moved: &'static str =
        Box::leak(format!("HTTP/1.1 307 Moved|Location: {url}/x|Content-Length: 0||").into());
    scripted(&rig.tasks, listener, moved);
    let mut heads = scripted(&rig.tasks, other, "HTTP/1.1 200 OK|Content-Length: 0||");
    let answer = rig.get("/").await;
    assert_eq!((answer.status, answer.field("location")), (307, &*format!("{url}/x")));
    assert!(heads.try_recv().is_err());
}

#[tokio::test]
async fn a_credential_is_in_nothing_that_leaves() {
    let (listener, url) = listen().await;
    let (_held, dead) = refusing();
    let canary = "canary-7b1c";
    let rig = Rig::with_files(
        &format!(
            "services:\n\
             - {{name: web, type: http, url: {url}, credentials: {{bearer: {{tokenFile: DIR/canary-file}}}}, allow: {{denyPaths: [/canary-path*]}}}}\n\
             - {{name: dead, type: http, url: {dead}, credentials: {{bearer: {{tokenFile: DIR/canary-file}}}}}}\n\
             - {{name: none, type: http, url: {url}, credentials: {{bearer: {{tokenFile: DIR/canary-none}}}}}}\n"
        ),
        &[("canary-file", canary), ("canary-none", canary)],
    )
    .await;
    std::fs::remove_file(rig.path("canary-none")).unwrap();
    let mut heads = scripted(&rig.tasks, listener, "HTTP/1.1 200 OK|Content-Length: 2||hi");
    let mut left = String::new();
    for (service, path, status) in
        [("web", "/", 200), ("web", "/canary-pathx", 403), ("dead", "/", 502), ("none", "/", 500)]
    {
        let ask = Ask { path, ..Ask::default() };
        let tlvs = Tlvs { service, ..ask.tlvs };
        let mut stream = rig.ask(&Ask { tlvs, ..ask });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(answer.status, status, "{service}");
        left += &format!("{:?} {}", answer.fields, answer.text().replace("/canary-pathx", ""));
    }
    let announced = rig.serving.announcement(1);
    left += &announced.iter().map(|part| String::from_utf8_lossy(part)).collect::<String>();
    left = left.replace("/canary-path*", "");
    assert!(heads.recv().await.unwrap().contains(canary), "the service gets it");
    for secret in ["canary", "127.0.0.1", rig.files.path().to_str().unwrap()] {
        assert!(!left.contains(secret), "{secret} in {left}");
        assert!(!rig.metrics.encode().contains(secret), "{secret} in the metrics");
    }
}

#[tokio::test]
async fn a_slow_reader_holds_little() {
    let (rig, listener) = one("").await;
    let mut stream = rig.ask(&Ask::default());
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    head_of(&mut socket).await.unwrap();
    write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 1073741824||").await.unwrap();
    assert!(matches!(stream.receiver.next().await, Part::Head(_)));
    // Until nothing more is taken, nobody reading.
    let piece = pattern(64 << 10);
    let mut taken = 0;
    let full = async {
        let socket = socket.get_mut();
        loop {
            socket.writable().await.unwrap();
            match socket.try_write(&piece) {
                Ok(count) => taken += count,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let stuck = tokio::time::timeout(std::time::Duration::from_millis(500), full).await;
    assert!(stuck.is_err());
    // What the agent itself keeps: the stream's queue and hyper's buffer. The rest is the kernel's.
    let held = rig.hub.usage();
    assert!(held.unconsumed <= 256 << 10, "{held:?}");
    let kernel = 16 << 20;
    assert!(taken < kernel, "{taken} bytes");
    // Another stream is not held up.
    let mut other = rig.ask(&Ask::default());
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        head_of(&mut socket).await.unwrap();
        write(socket.get_mut(), "HTTP/1.1 200 OK|Content-Length: 2||hi").await.unwrap();
        socket
    };
    let (answer, _socket) = tokio::join!(Answer::read(&mut other.receiver), serving);
    assert_eq!(answer.told(), (200, "", true));
}

#[tokio::test]
async fn ten_thousand_aborted_exchanges_leave_nothing() {
    let (rig, listener) = one("").await;
    let tasks = rig.tasks.clone();
    rig.tasks.spawn_daemon("service", async move {
        while let Ok((socket, _)) = listener.accept().await {
            tasks.spawn_daemon("service", async move {
                let mut socket = BufReader::new(socket);
                let mut at = 0;
                while head_of(&mut socket).await.is_some() {
                    // Every other one answers half, and the others nothing.
                    at += 1;
                    if at % 2 == 1
                        && write(socket.get_mut(), "HTTP/1.1 200 OK||half").await.is_none()
                    {
                        break;
                    }
                }
            });
        }
    });
    for at in 0..10_000_usize {
        let mut stream = loop {
            let ask = Ask { method: if at % 3 == 0 { "POST" } else { "GET" }, ..Ask::default() };
            match rig.hub.open(&ask.head(), strait_tunnel::Class::Normal, at % 3 != 0) {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        match at % 5 {
            0 => drop(stream),
            1 => stream.sender.reset(Directions::Both, Code::Cancel, ""),
            2 => stream.receiver.stop(Code::None),
            3 => {
                tokio::task::yield_now().await;
                drop(stream);
            }
            _ if at % 50 == 4 => {
                let _ = stream.receiver.next().await;
            }
            _ => {}
        }
    }
    rig.metric("strait_relay_served_streams_open{service=\"web\",kind=\"http\"} 0").await;
    rig.metric("strait_relay_inner_connections{service=\"web\",state=\"active\"} 0").await;
    rig.metric("strait_runtime_tasks{task=\"relay.stream\"} 0").await;
    assert_eq!(rig.hub.usage().unconsumed, 0);
}

/// What the audit log says, without what chains it.
pub(super) fn lines(rig: &Rig) -> Vec<String> {
    let entries = strait_audit::list(&rig.path("audit"), Filter::default()).unwrap();
    let line = |entry: Entry| {
        let Record { crossing, stage, actor, object, outcome, rule } = entry.record;
        let line = format!("{stage} {} {} {crossing} {outcome} {rule}", actor.user, object.name);
        line.trim_end().to_owned()
    };
    entries.map(|entry| line(entry.unwrap())).collect()
}

#[tokio::test]
async fn nothing_goes_in_that_was_not_written_down() {
    let (rig, listener) = one("").await;
    let mut stream = rig.ask(&Ask { method: "DELETE", path: "/job?secret=1", ..Ask::default() });
    let (socket, _) = listener.accept().await.unwrap();
    let mut socket = BufReader::new(socket);
    head_of(&mut socket).await.unwrap();
    let opened = "started alice web.smith r-1 relay.stream.open DELETE /job";
    assert_eq!(lines(&rig), [opened], "written before the service has it");
    write(socket.get_mut(), "HTTP/1.1 204 No||").await.unwrap();
    assert_eq!(Answer::read(&mut stream.receiver).await.status, 204);
    rig.metric("strait_runtime_tasks{task=\"stream-end\"} 0").await;
    rig.audit.close().await;
    let ended = "ended alice web.smith r-1 relay.stream.end NONE 204, 0 bytes up, 0 down, ";
    let [first, last] = &lines(&rig)[..] else { panic!("{:?}", lines(&rig)) };
    assert_eq!(first, opened);
    assert!(last.starts_with(ended) && last.ends_with(" ms"), "{last}");
    for method in ["GET", "POST"] {
        let mut stream = rig.ask(&Ask { method, ..Ask::default() });
        let answer = Answer::read(&mut stream.receiver).await;
        assert_eq!(answer.told(), (503, "AuditUnavailable", true), "{method}");
    }
}

#[tokio::test]
async fn what_rules_refuse_is_written_down_a_few_times() {
    let (rig, _listener) = one(", allow: {methods: [GET]}").await;
    for _ in 0..10 {
        let mut stream =
            rig.ask(&Ask { method: "DELETE", path: "/job?secret=1", ..Ask::default() });
        assert_eq!(Answer::read(&mut stream.receiver).await.status, 403);
    }
    rig.metric("strait_runtime_tasks{task=\"relay.stream\"} 0").await;
    rig.metric("strait_runtime_tasks{task=\"stream-deny\"} 0").await;
    let denied =
        "decided alice web.smith r-1 relay.stream.deny DELETE /job AgentRule allow.methods";
    assert_eq!(lines(&rig), [denied; 3]);
}

#[tokio::test]
async fn whom_bytes_are_refused_to_is_told_by_which_rule_and_written_down() {
    let service = "{name: db, type: tcp, address: '127.0.0.1:1', allow: {users: [bob]}}";
    let rig = Rig::new(&format!("services:\n- {service}\n")).await;
    let mut stream = rig.raw("db");
    let end = Answer::read(&mut stream.receiver).await.end;
    let Part::Broken(end) = end else { panic!("{end:?}") };
    assert_eq!((end.code, &*end.text), (Code::Forbidden, "allow.users"));
    rig.metric("strait_runtime_tasks{task=\"relay.stream\"} 0").await;
    rig.metric("strait_runtime_tasks{task=\"stream-deny\"} 0").await;
    let [line] = &lines(&rig)[..] else { panic!("{:?}", lines(&rig)) };
    assert!(line.contains("alice db.smith") && line.contains("relay.stream.deny"), "{line}");
    assert!(line.ends_with(" AgentRule allow.users"), "{line}");
}
