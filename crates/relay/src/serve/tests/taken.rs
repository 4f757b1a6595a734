//! A hub that somebody else has taken over: nothing of what it may not is executed, and the agent
//! writes down what was tried.

use strait_tunnel::{Code, Tlvs};

use super::hostile::lines;
use super::rig::{ALICE, Answer, Ask, LONG, Rig, listen, scripted};
use crate::link::Part;

const SERVICES: &str = "policy: {requireIdentity: true, maxTokenAge: 24h}
services:
- {name: web, type: http, url: URL, allow: {methods: [GET], paths: [/job/*], denyPaths: [/job/secret*], users: [\"a*\"]}}
- {name: db, type: tcp, address: \"127.0.0.1:1\", allow: {users: [dba]}}
";

/// The last line of the agent's audit log, once there are so many.
async fn line(rig: &Rig, count: usize) -> String {
    let there = async {
        loop {
            match lines(rig) {
                mut all if all.len() == count => return all.pop().unwrap(),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(LONG, there).await.unwrap_or_else(|_| panic!("{:#?}", lines(rig)))
}

#[tokio::test]
async fn row_38_m20_what_a_hub_may_not_is_not_executed_and_written_down() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&SERVICES.replace("URL", &url)).await;
    let mut heads = scripted(&rig.tasks, listener, "HTTP/1.1 200 OK|Content-Length: 2||hi");
    let ask = Ask { path: "/job/x", ..Ask::default() };
    let of = |service, identity| Tlvs { service, identity, ..ask.tlvs };
    let web = |identity| of("web", identity);
    let (bob, number) = (br#"{"user":"bob"}"#, br#"{"user":7}"#);
    let old = br#"{"user":"alice","via":"token","issued":"2020-01-01T00:00:00Z"}"#;
    let mut count = 0;
    for (method, path, tlvs, told, written) in [
        // Services that are not offered, or not as that.
        ("GET", "/job/x", of("vault", ALICE), "NO_SERVICE", "NotOffered"),
        ("GET", "/job/x", of("../web", ALICE), "NO_SERVICE", "NotOffered"),
        ("GET", "/job/x", of("db", ALICE), "NO_SERVICE", "NotOffered"),
        // Outside the rules.
        ("DELETE", "/job/x", web(ALICE), "403 AgentRule", "AgentRule allow.methods"),
        ("GET", "/script", web(ALICE), "403 AgentRule", "AgentRule allow.paths"),
        (
            "GET",
            "/job/secret",
            web(ALICE),
            "403 AgentRule",
            "AgentRule allow.denyPaths /job/secret*",
        ),
        ("GET", "/job/../script", web(ALICE), "400 BadTarget", "BadTarget"),
        ("GET", "/job/a%2f..%2fb", web(ALICE), "400 BadTarget", "BadTarget"),
        // Nobody, somebody whom the agent does not take, somebody of long ago, no identity.
        ("GET", "/job/x", web(b""), "403 AgentRule", "AgentRule policy.requireIdentity"),
        ("GET", "/job/x", web(bob), "403 AgentRule", "AgentRule allow.users"),
        ("GET", "/job/x", web(old), "403 AgentRule", "AgentRule policy.maxTokenAge"),
        ("GET", "/job/x", web(number), "IDENTITY", "IdentityMalformed"),
        ("GET", "/job/x", web(b"\xff"), "IDENTITY", "IdentityMalformed"),
    ] {
        let mut stream = rig.ask(&Ask { method, path, tlvs, ..ask.clone() });
        let answer = Answer::read(&mut stream.receiver).await;
        let answered = match &answer.end {
            Part::Broken(end) => end.code.to_string(),
            _ => format!("{} {}", answer.status, answer.field("x-strait-error")),
        };
        assert_eq!(answered, told, "{method} {path}");
        count += 1;
        let line = line(&rig, count).await;
        let what = format!("relay.stream.deny {method} {path} {written}");
        assert!(line.contains(&format!("{}.smith r-1 ", tlvs.service)), "{line}");
        assert!(line.ends_with(&what), "{line} is not {what}");
    }
    for (service, code, written) in [
        ("db", Code::Forbidden, "AgentRule allow.users"),
        ("web", Code::NoService, "NotOffered"),
        ("ssh", Code::NoService, "NotOffered"),
    ] {
        let mut stream = rig.raw(service);
        assert_eq!(Answer::read(&mut stream.receiver).await.code(), code, "{service}");
        count += 1;
        let line = line(&rig, count).await;
        assert!(line.contains(&format!("alice {service}.smith ")), "{line}");
        assert!(line.ends_with(written), "{line}");
    }
    assert!(heads.try_recv().is_err(), "nothing went in");
}

#[tokio::test]
async fn row_38_fields_that_say_who_asks_are_removed_and_written_down() {
    let (listener, url) = listen().await;
    let rig = Rig::new(&format!("services:\n- {{name: web, type: http, url: {url}}}\n")).await;
    let mut heads = scripted(&rig.tasks, listener, "HTTP/1.1 200 OK|Content-Length: 2||hi");
    for field in ["impersonate-user", "Impersonate_Group", "x-remote-user", "x-forwarded-for"] {
        let name = field.to_ascii_lowercase();
        let fields = [(&*name, "root-canary")];
        let mut stream = rig.ask(&Ask { path: "/job/x", fields: &fields, ..Ask::default() });
        assert_eq!(Answer::read(&mut stream.receiver).await.status, 200);
        let head = heads.recv().await.unwrap();
        assert!(!head.contains("canary"), "{head}");
    }
    // An honest hub passes none on.
    let mut stream = rig.ask(&Ask { path: "/job/y", ..Ask::default() });
    assert_eq!(Answer::read(&mut stream.receiver).await.status, 200);
    rig.metric("strait_runtime_tasks{task=\"stream-deny\"} 0").await;
    let denied = lines(&rig).into_iter().filter(|line| line.contains("relay.stream.deny"));
    let line = "decided alice web.smith r-1 relay.stream.deny GET /job/x IdentityField";
    assert_eq!(denied.collect::<Vec<_>>(), [line; 3], "the first three of a kind");
}
