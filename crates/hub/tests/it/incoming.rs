//! What the hub itself offers to agents: to whom, for how long, and in whose name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use parking_lot::Mutex;
use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_net::{Body, Server, ServerMetrics, handler};
use strait_relay::hub::STREAMS_PATH;
use strait_relay::link::control::Callable;
use strait_relay::link::{Part, Stream};
use strait_runtime::{Metrics, Shutdown, TaskSet};
use strait_tunnel::{Code, Field, Method, OpenHead, RawHead, Request, RequestParts, Tlvs};
use tokio::net::TcpListener;

use crate::fake_agent::FakeAgent;
use crate::harness::{Client, PATIENCE, TestHub, yaml};
use crate::joining::{AGENTS, Installation, make_agent, token};

/// What is taken away is gone within this.
const GONE_WITHIN: Duration = Duration::from_secs(2);

const NAMED: &str = "{spec: {incoming: [{type: front50, name: store}, {type: tcp, name: db}]}}";

/// A service beside the hub that notes the heads of what it is asked.
#[derive(Clone)]
struct Beside {
    url: String,
    heads: Arc<Mutex<Vec<HashMap<String, String>>>>,
}

impl Beside {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = Self { url, heads: Arc::default() };
        let metrics = Metrics::new();
        let tasks = TaskSet::new(&metrics);
        let server = Server::plain(ServerMetrics::new(&metrics), tasks.clone(), Shutdown::new());
        let heads = service.heads.clone();
        let answer = handler(move |_, request: http::Request<strait_net::Incoming>| {
            let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
            let fields = request.headers().iter();
            let head = fields.map(|(name, value)| (name.to_string(), text(value))).collect();
            heads.lock().push(head);
            let body = match request.uri().path() {
                "/endless" => {
                    let first =
                        stream::iter([Ok::<_, std::io::Error>(Frame::data("first".into()))]);
                    Body::stream(StreamBody::new(first.chain(stream::pending())))
                }
                _ => Body::from(Bytes::from_static(b"stored")),
            };
            std::future::ready(http::Response::new(body))
        });
        tasks.spawn_daemon("service", server.serve(listener, answer));
        service
    }

    fn asked(&self) -> usize {
        self.heads.lock().len()
    }
}

/// A hub that offers `store` and `db` to agents of these names.
async fn hub(service: &Beside, users: &str) -> TestHub {
    let (url, address) = (&service.url, service.url.trim_start_matches("http://"));
    TestHub::offering(&format!(
        "services:\n\
         - {{name: store, type: front50, url: '{url}', allow: {{users: ['{users}']}}}}\n\
         - {{name: db, type: tcp, address: '{address}', allow: {{users: ['{users}']}}}}\n"
    ))
    .await
}

/// The agent smith in a workspace, connected.
async fn smith(hub: &TestHub, workspace: &str) -> (Client, FakeAgent) {
    let workspace = hub.workspace(workspace).await;
    workspace.bind("relay", "root", "relay.strait.dev").await;
    make_agent(&workspace, "smith", "{}").await;
    let token = token(&workspace, "smith", "{}").await;
    let agent = FakeAgent::connect(&Installation::new().join(hub, &token).await, &[]).await;
    (workspace, agent)
}

/// A request for the service `store` that claims to be somebody else's.
fn ask(agent: &FakeAgent, path: &str) -> Stream {
    let tlvs = Tlvs {
        service_type: "front50",
        service: "store",
        identity: br#"{"user":"system:strait:agent:root:other","groups":["system:masters"]}"#,
        client: Some("198.51.100.1:1".parse().unwrap()),
        forwarded: "198.51.100.2",
        request_id: "r-1",
        plain: true,
        ..Tlvs::default()
    };
    let method = Method::new("GET").unwrap();
    let parts = RequestParts { method, authority: "127.0.0.1:8014", path, tlvs };
    let fields = [
        ("x-remote-user", "admin"),
        ("x_remote_user", "admin"),
        ("x-remote-group", "system:masters"),
        ("x-forwarded-for", "198.51.100.3"),
        ("x-opsmx-agent-name", "other"),
        ("impersonate-user", "admin"),
    ];
    let fields = fields.map(|(name, value)| Field::new(name, value.as_bytes()));
    agent.call(&OpenHead::Http(Request::new(&parts, fields).unwrap()))
}

/// The status of an answer, or the code that the stream ended with.
async fn status(stream: &mut Stream) -> Result<u16, Code> {
    let part = tokio::time::timeout(PATIENCE, stream.receiver.next()).await;
    match part.expect("it is answered") {
        Part::Head(head) => Ok(head.status()),
        Part::Broken(end) => Err(end.code),
        other => panic!("{other:?}"),
    }
}

async fn grant(workspace: &Client, agent: &mut FakeAgent, spec: &str, names: &[&str]) {
    workspace.merge(&format!("{AGENTS}/smith"), &yaml(spec)).await.expect(200);
    agent.offered(|list| list.iter().map(|one| &*one.name).eq(names.iter().copied())).await;
}

async fn denied(hub: &TestHub, rule: &str) {
    let log = hub.directory().join("audit");
    let there = async {
        loop {
            let lines = list(&log, Filter::default()).unwrap();
            if lines.map(|line| line.unwrap().record).any(|one| {
                one.rule.starts_with(rule)
                    && one.object.name == "store.hub"
                    && one.actor.user.ends_with(":smith")
            }) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.expect("the denial is recorded");
}

#[tokio::test]
async fn an_agent_calls_what_its_object_names_in_its_own_name() {
    let service = Beside::start().await;
    let hub = hub(&service, "system:strait:agent:*").await;
    let (workspace, mut agent) = smith(&hub, "root:acme").await;
    let pretender = yaml("{metadata: {name: hub}}");
    workspace.create(AGENTS, &pretender).await.refused(422, "Invalid");
    agent.offered(<[Callable]>::is_empty).await;
    assert_eq!(status(&mut ask(&agent, "/")).await, Err(Code::NoService));
    denied(&hub, "NotOffered").await;
    assert_eq!(service.asked(), 0);

    grant(&workspace, &mut agent, NAMED, &["store", "db"]).await;
    assert_eq!(status(&mut ask(&agent, "/")).await, Ok(200));
    let head = service.heads.lock().pop().unwrap();
    let cluster = crate::credentials::cluster(&workspace).await;
    for (name, expected) in [
        ("x-remote-user", Some(&*format!("system:strait:agent:{cluster}:smith"))),
        ("x-remote-group", Some("system:strait:agents")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-opsmx-agent-name", Some("smith")),
        ("x-request-id", Some("r-1")),
        ("x_remote_user", None),
        ("impersonate-user", None),
    ] {
        assert_eq!(head.get(name).map(String::as_str), expected, "{name}");
    }
    let lines = list(&hub.directory().join("audit"), Filter::default()).unwrap();
    let opened = lines
        .map(|line| line.unwrap().record)
        .find(|one| one.crossing == "r-1" && one.outcome == "relay.stream.open GET /");
    assert_eq!(opened.unwrap().object.cluster, cluster);
    // A type is part of the name.
    let tlvs = Tlvs { service_type: "tcp", service: "store", ..Tlvs::default() };
    let mut raw = agent.call(&OpenHead::Raw(RawHead::new(&tlvs).unwrap()));
    assert_eq!(status(&mut raw).await, Err(Code::NoService));
}

#[tokio::test]
async fn what_agents_opened_is_listed_and_cut_in_their_workspace_alone() {
    let service = Beside::start().await;
    let hub = hub(&service, "system:strait:agent:*").await;
    let (acme, mut agent) = smith(&hub, "root:acme").await;
    grant(&acme, &mut agent, NAMED, &["store", "db"]).await;
    let mut stream = ask(&agent, "/endless?canary=1");
    assert_eq!(status(&mut stream).await, Ok(200));
    assert_eq!(stream.receiver.next().await, Part::Data("first".into()));
    let tlvs = Tlvs { service_type: "tcp", service: "db", ..Tlvs::default() };
    let mut raw = agent.call(&OpenHead::Raw(RawHead::new(&tlvs).unwrap()));
    tokio::time::timeout(PATIENCE, raw.receiver.accepted()).await.unwrap().unwrap();

    let (other, mut others) = smith(&hub, "root:other").await;
    grant(&other, &mut others, NAMED, &["store", "db"]).await;
    let mut theirs = ask(&others, "/endless");
    assert_eq!(status(&mut theirs).await, Ok(200));

    let all = acme.get(STREAMS_PATH).await.expect(200);
    let [first, second] = all.array_at(&["items"]) else { panic!("{all}") };
    let cluster = crate::credentials::cluster(&acme).await;
    let user = format!("system:strait:agent:{cluster}:smith");
    for (path, expected) in [
        (&["spec", "direction"][..], "FromAgent"),
        (&["spec", "agent"], "smith"),
        (&["spec", "service"], "store"),
        (&["spec", "user"], &user),
        (&["spec", "method"], "GET"),
        (&["spec", "path"], "/endless"),
        (&["spec", "requestID"], "r-1"),
        (&["metadata", "annotations", "kcp.io/cluster"], &cluster),
    ] {
        assert_eq!(first.str_at(path), Some(expected), "{first}");
    }
    assert_eq!(first.at(&["status", "code"]), Some(&200.into()));
    assert_eq!(first.at(&["status", "bytesOut"]), Some(&5.into()));
    assert_eq!(
        (second.str_at(&["spec", "service"]), second.str_at(&["spec", "method"])),
        (Some("db"), Some("CONNECT"))
    );
    assert!(!all.to_string().contains("canary"), "{all}");

    // Another tenant sees its own, and cuts nothing else.
    let name = |stream: &Value| stream.str_at(&["metadata", "name"]).unwrap().to_owned();
    let one = format!("{STREAMS_PATH}/{}", name(first));
    let seen = other.get(STREAMS_PATH).await.expect(200);
    assert_eq!(seen.array_at(&["items"]).len(), 1, "{seen}");
    other.get(&one).await.refused(404, "NotFound");
    other.delete(&one).await.refused(404, "NotFound");
    let of_smith = format!("{STREAMS_PATH}?fieldSelector=spec.agent%3Dsmith");
    other.delete(&of_smith).await.expect(200);
    assert_eq!(code_of(&mut theirs).await, Code::Aborted);
    assert_eq!(acme.get(STREAMS_PATH).await.expect(200).array_at(&["items"]).len(), 2);

    acme.delete(&one).await.expect(200);
    assert_eq!(code_of(&mut stream).await, Code::Aborted);
    let log = list(&hub.directory().join("audit"), Filter::default()).unwrap();
    let cuts = log.map(|line| line.unwrap().record.outcome);
    let own = format!("relay.stream.cut {} of {user}", name(first));
    assert!(cuts.filter(|outcome| *outcome == own).count() == 1, "{own}");
    acme.delete(&of_smith).await.expect(200);
    assert!(acme.get(STREAMS_PATH).await.expect(200).array_at(&["items"]).is_empty());
    assert_eq!(code_of(&mut raw).await, Code::Aborted);
}

/// The code that a stream ends with, in time.
async fn code_of(stream: &mut Stream) -> Code {
    let end = async {
        loop {
            if let Part::Broken(end) = stream.receiver.next().await {
                return end.code;
            }
        }
    };
    tokio::time::timeout(GONE_WITHIN, end).await.expect("it ends")
}

#[tokio::test]
async fn what_is_taken_away_ends_at_once() {
    let service = Beside::start().await;
    let hub = hub(&service, "system:strait:agent:*").await;
    let (workspace, mut agent) = smith(&hub, "root:acme").await;
    grant(&workspace, &mut agent, NAMED, &["store", "db"]).await;
    let mut stream = ask(&agent, "/endless");
    assert_eq!(status(&mut stream).await, Ok(200));
    let tlvs = Tlvs { service_type: "tcp", service: "db", ..Tlvs::default() };
    let mut kept = agent.call(&OpenHead::Raw(RawHead::new(&tlvs).unwrap()));
    kept.receiver.accepted().await.unwrap();
    assert!(kept.sender.is_accepted());

    let began = Instant::now();
    let spec = "{spec: {incoming: [{type: tcp, name: db}]}}";
    workspace.merge(&format!("{AGENTS}/smith"), &yaml(spec)).await.expect(200);
    let code = loop {
        match stream.receiver.next().await {
            Part::Data(_) => {}
            Part::Broken(end) => break end.code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Code::Revoked);
    assert!(began.elapsed() < GONE_WITHIN, "{:?}", began.elapsed());
    assert_eq!(status(&mut ask(&agent, "/")).await, Err(Code::NoService));
    agent.offered(|list| list.len() == 1).await;
    // What stays goes on.
    kept.sender.write("GET / HTTP/1.1\r\nhost: db\r\n\r\n".into()).await.unwrap();
    assert!(matches!(kept.receiver.next().await, Part::Data(_)));

    // As do streams when the agent may do nothing any more.
    let suspended = yaml("{spec: {suspended: true}}");
    workspace.merge(&format!("{AGENTS}/smith"), &suspended).await.expect(200);
    let cut = async { while !matches!(kept.receiver.next().await, Part::Broken(_)) {} };
    tokio::time::timeout(GONE_WITHIN, cut).await.unwrap();
}

#[tokio::test]
async fn a_workspace_cannot_grant_itself_what_the_operator_offers_to_others() {
    let service = Beside::start().await;
    let hub = hub(&service, "system:strait:agent:nobodys:*").await;
    let (workspace, mut agent) = smith(&hub, "root:acme").await;
    grant(&workspace, &mut agent, NAMED, &[]).await;
    let mut stream = ask(&agent, "/");
    assert_eq!(status(&mut stream).await, Ok(403));
    denied(&hub, "AgentRule").await;
    assert_eq!(service.asked(), 0);
}

#[tokio::test]
async fn an_agent_that_keeps_its_streams_leaves_some_for_others() {
    let service = Beside::start().await;
    let hub = TestHub::offering(&format!(
        "services:\n\
         - {{name: store, type: front50, url: '{}', concurrent: 4, allow: {{users: ['*']}}}}\n",
        service.url
    ))
    .await;
    let (workspace, mut greedy) = smith(&hub, "root:acme").await;
    grant(&workspace, &mut greedy, NAMED, &["store"]).await;
    let (workspace, mut other) = smith(&hub, "root:other").await;
    grant(&workspace, &mut other, NAMED, &["store"]).await;
    let mut kept = Vec::new();
    let refused = loop {
        let mut stream = ask(&greedy, "/endless");
        match status(&mut stream).await {
            Ok(200) => kept.push(stream),
            other => break other,
        }
    };
    assert_eq!((kept.len(), refused), (3, Err(Code::Overloaded)));
    for _ in 0..3 {
        assert_eq!(status(&mut ask(&other, "/")).await, Ok(200));
    }
    drop(kept.pop());
    let again = async { while status(&mut ask(&greedy, "/")).await != Ok(200) {} };
    tokio::time::timeout(PATIENCE, again).await.expect("it has less than its share");
}

#[tokio::test]
async fn what_the_hub_offers_changes_with_its_file() {
    let service = Beside::start().await;
    let hub = hub(&service, "system:strait:agent:*").await;
    let (workspace, mut agent) = smith(&hub, "root:acme").await;
    grant(&workspace, &mut agent, NAMED, &["store", "db"]).await;
    hub.offer("services: []\n");
    agent.offered(<[Callable]>::is_empty).await;
    assert_eq!(status(&mut ask(&agent, "/")).await, Err(Code::NoService));
    let store = format!(
        "services: [{{name: store, type: front50, url: '{}', allow: {{users: ['*']}}}}]\n",
        service.url
    );
    hub.offer(&store);
    agent.offered(|list| list.len() == 1).await;
    // A mistake changes nothing.
    hub.offer(&store.replace(", allow: {users: ['*']}", ""));
    let metrics = hub.admin().below("");
    let rejected = async {
        let line = "strait_relay_config_reload_total{result=\"rejected\"} 1";
        while !metrics.get("/metrics").await.text().contains(line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, rejected).await.expect("it is looked at");
    assert_eq!(status(&mut ask(&agent, "/")).await, Ok(200));
}

#[tokio::test]
async fn what_a_rule_of_the_hubs_says_is_for_no_agent() {
    let service = Beside::start().await;
    let hub = TestHub::offering(&format!(
        "services:\n\
         - {{name: store, type: front50, url: '{}', allow: {{users: ['*'], denyPaths: ['/canary-*']}}}}\n",
        service.url
    ))
    .await;
    let (workspace, mut agent) = smith(&hub, "root:acme").await;
    grant(&workspace, &mut agent, NAMED, &["store"]).await;
    let mut stream = ask(&agent, "/canary-7");
    let Part::Head(head) = stream.receiver.next().await else { panic!("it is answered") };
    assert_eq!((head.status(), head.rule()), (403, None));
    let Part::Data(text) = stream.receiver.next().await else { panic!("it is told why") };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("allow.denyPaths") && !text.contains("canary-*"), "{text}");
    // Who runs the hub finds it in the log.
    denied(&hub, "AgentRule allow.denyPaths /canary-*").await;
    assert_eq!(service.asked(), 0);
}
