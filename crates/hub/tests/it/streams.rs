//! Streams that are open: seen, cut, decided again; what is written down and counted of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use strait_audit::{Filter, list};
use strait_machinery::json::Value;
use strait_relay::hub::STREAMS_PATH;
use strait_relay::link::control::Announced;
use strait_relay::link::{Part, Stream};
use strait_runtime::{Clock as _, SystemClock};
use strait_tunnel::{Code, Directions, Drain, Field, Response};
use tokio::io::AsyncWriteExt as _;

use crate::credentials::{SERVICES, token};
use crate::fake_agent::{Acme, CI, FakeAgent, end_of};
use crate::harness::{Client, PATIENCE, until, yaml};
use crate::joining::AGENTS;
use crate::services::offer;
use crate::tenants::ROLE_BINDINGS;

/// Longest time until a stream that is cut is over.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// Streams are decided again when they are so old.
const AGAIN: Duration = Duration::from_secs(61);

/// What carol needs to read from `ci`.
pub(crate) const READS: &str = "[{nonResourceURLs: ['/'], verbs: [access]},
  {apiGroups: [relay.strait.dev], resources: [services/connect], verbs: [get]}]";

/// A stream that stays open: the client's end and the agent's.
pub(crate) async fn stay(client: &Client, agent: &mut FakeAgent, path: &str) -> (Incoming, Stream) {
    let (response, stream) =
        tokio::join!(client.open(Method::GET, path, "".into()), agent.answer(200));
    assert_eq!(response.status(), 200);
    (response.into_body(), stream)
}

/// Waits until both ends know that a stream was cut.
pub(crate) async fn assert_cut((body, mut stream): (Incoming, Stream)) {
    match end_of(&mut stream).await {
        Part::Broken(end) => assert_eq!(end.code, Code::Revoked),
        other => panic!("{other:?}"),
    }
    let read = tokio::time::timeout(PATIENCE, body.collect()).await.expect("the answer ends");
    assert!(read.is_err(), "what was cut must not look whole");
}

async fn streams(client: &Client) -> Vec<Value> {
    client.get(STREAMS_PATH).await.expect(200).array_at(&["items"]).to_vec()
}

/// Lines of the hub's audit log about streams: `who rule outcome`.
fn audited(acme: &Acme, what: &str) -> Vec<String> {
    let lines = list(&acme.hub.directory().join("audit"), Filter::default()).unwrap();
    let lines = lines.map(|line| line.unwrap().record);
    let lines = lines.filter(|line| line.outcome.starts_with(what));
    lines.map(|line| format!("{} {} {}", line.actor.user, line.rule, line.outcome)).collect()
}

/// Waits until the audit log has so many such lines.
async fn audited_until(acme: &Acme, what: &str, count: usize) -> Vec<String> {
    let found = async {
        loop {
            let lines = audited(acme, what);
            if lines.len() >= count {
                return lines;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it is recorded")
}

#[tokio::test]
async fn a_stream_is_seen_and_cut_at_once_and_only_in_its_workspace() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    let open = stay(alice, &mut agent, &format!("{CI}?secret=1")).await;
    let all = streams(alice).await;
    let [stream] = &all[..] else { panic!("{all:?}") };
    for (path, expected) in [
        (&["spec", "user"][..], "alice"),
        (&["spec", "agent"], "smith"),
        (&["spec", "direction"], "ToAgent"),
        (&["spec", "service"], "ci"),
        (&["spec", "path"], "/job"),
        (&["kind"], "Stream"),
    ] {
        assert_eq!(stream.str_at(path), Some(expected), "{stream}");
    }
    assert!(!stream.to_string().contains("secret"), "{stream}");
    assert_eq!(stream.at(&["status", "code"]), Some(&200.into()));
    let spelt = STREAMS_PATH.replace("/streams", "/%73treams");
    let same = alice.get(&spelt).await.expect(200);
    assert_eq!(same.array_at(&["items"]).len(), 1, "{same}");
    let one = format!("{STREAMS_PATH}/{}", stream.str_at(&["metadata", "name"]).unwrap());
    assert_eq!(alice.get(&one).await.expect(200).at(&["spec"]), stream.at(&["spec"]));

    let other = acme.hub.workspace("root:other").await;
    other.get(STREAMS_PATH).await.refused(404, "NotFound");
    other.bind("relay", "root", "relay.strait.dev").await;
    assert!(streams(&other).await.is_empty());
    other.get(&one).await.refused(404, "NotFound");
    other.delete(&one).await.refused(404, "NotFound");
    let bob = acme.hub.client("bob", &[]).within("root:acme");
    bob.get(STREAMS_PATH).await.refused(403, "Forbidden");
    let lists = "[{nonResourceURLs: ['/'], verbs: [access]},
        {apiGroups: [relay.strait.dev], resources: [streams], verbs: [list]}]";
    acme.hub.admin().within("root:acme").grant("lists", "bob", lists).await;
    let may = async { while bob.get(STREAMS_PATH).await.status != 200 {} };
    tokio::time::timeout(PATIENCE, may).await.unwrap();
    bob.get(&one).await.refused(403, "Forbidden");
    bob.delete(&one).await.refused(403, "Forbidden");
    bob.delete(&format!("{STREAMS_PATH}?fieldSelector=spec.user%3Dalice"))
        .await
        .refused(403, "Forbidden");
    alice.put(&one, &Value::object()).await.refused(405, "MethodNotAllowed");
    assert_eq!(streams(alice).await.len(), 1);

    let begun = Instant::now();
    alice.delete(&one).await.expect(200);
    let [line] = &audited(&acme, "relay.stream.cut")[..] else { panic!("it is recorded first") };
    assert!(line.starts_with("alice ") && line.ends_with(" of alice"), "{line}");
    // It is listed no more, though its end takes a moment.
    assert!(streams(alice).await.is_empty());
    alice.delete(&one).await.refused(404, "NotFound");
    assert_cut(open).await;
    assert!(begun.elapsed() < CUT_WITHIN, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_deletion_that_is_only_tried_or_is_refused_cuts_nothing() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    let _open = stay(alice, &mut agent, CI).await;
    let name = streams(alice).await[0].str_at(&["metadata", "name"]).unwrap().to_owned();
    let [one, many] = [format!("/{name}?"), "?fieldSelector=spec.user%3Dalice&".to_owned()];
    for (which, query, options, code) in [
        (&one, "dryRun=All", "", 200),
        (&many, "dryRun=All", "", 200),
        (&one, "", "{kind: DeleteOptions, apiVersion: v1, dryRun: [All]}", 200),
        (&many, "", "{dryRun: [All]}", 200),
        (&one, "dryRun=x", "", 422),
        (&one, "", "{dryRun: All}", 400),
        (&one, "", "{kind: Pod, apiVersion: v1}", 400),
        (&one, "", "{preconditions: {uid: u}}", 400),
        (&many, "", "{preconditions: {resourceVersion: '1'}}", 400),
    ] {
        let path = format!("{STREAMS_PATH}{which}{query}");
        let options = Some(options).filter(|options| !options.is_empty()).map(yaml);
        let answer = alice.send(Method::DELETE, &path, options.as_ref()).await;
        assert_eq!(answer.status, code, "{path} {options:?}");
    }
    let other = alice.header("impersonate-user", "bob");
    other.delete(&format!("{STREAMS_PATH}/{name}")).await.refused(403, "Forbidden");
    assert_eq!(streams(alice).await.len(), 1);
    // Before a stream is cut that is recorded.
    assert!(audited(&acme, "relay.stream.cut").is_empty());
}

#[tokio::test]
async fn streams_are_a_kind_of_each_workspace_with_agents() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let group = "/apis/relay.strait.dev/v1alpha1";
    let listed = acme.alice.get(group).await.expect(200);
    let found = listed.array_at(&["resources"]).iter();
    let found = found.clone().find(|own| own.str_at(&["name"]) == Some("streams")).unwrap();
    assert_eq!(found.at(&["verbs"]).unwrap().to_string(), r#"["delete","get","list"]"#);
    assert_eq!(
        (found.str_at(&["kind"]), found.str_at(&["singularName"])),
        (Some("Stream"), Some("stream"))
    );
    let schema = acme.alice.get(&format!("/openapi/v3{group}")).await.expect(200);
    assert!(schema.to_string().contains("It is stored nowhere"), "kubectl explain");
    acme.hub.workspace("root:plain").await.get(group).await.refused(404, "NotFound");

    let open = stay(&acme.alice, &mut agent, CI).await;
    let accept = |text| acme.alice.header("accept", text);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = accept(table).get(STREAMS_PATH).await.expect(200);
    let names = table.array_at(&["columnDefinitions"]).iter();
    let names: Vec<_> = names.map(|column| column.str_at(&["name"]).unwrap()).collect();
    assert_eq!(names[..5], ["Name", "Direction", "User", "Agent", "Service"]);
    let row = &table.array_at(&["rows"])[0];
    let cells: Vec<_> = row.array_at(&["cells"])[1..7].iter().map(ToString::to_string).collect();
    assert_eq!(cells, [r#""ToAgent""#, r#""alice""#, r#""smith""#, r#""ci""#, r#""GET""#, "200"]);
    let name = row.array_at(&["cells"])[0].as_str().unwrap();
    assert_eq!(row.str_at(&["object", "kind"]), Some("PartialObjectMetadata"));
    let one = format!("{STREAMS_PATH}/{name}");
    let yaml = accept("application/yaml").get(&one).await.text();
    assert!(yaml.contains("\nkind: Stream\n"), "{yaml}");
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = accept(partial).get(&format!("{STREAMS_PATH}/")).await.expect(200);
    assert_eq!(partial.str_at(&["kind"]), Some("PartialObjectMetadataList"));
    for (query, count) in [
        ("labelSelector=a%3Db", 0),
        ("labelSelector=!a", 1),
        (&*format!("fieldSelector=metadata.name%3D{name}"), 1),
        ("fieldSelector=metadata.name%3D0", 0),
    ] {
        let list = acme.alice.get(&format!("{STREAMS_PATH}?{query}")).await.expect(200);
        assert_eq!(list.array_at(&["items"]).len(), count, "{query}");
    }
    for (path, code, reason) in [
        ("?watch=true", 405, "MethodNotAllowed"),
        ("?labelSelector=%21%21", 400, "BadRequest"),
        ("/7/status", 404, "NotFound"),
    ] {
        acme.alice.get(&format!("{STREAMS_PATH}{path}")).await.refused(code, reason);
    }
    acme.alice.create(STREAMS_PATH, &Value::object()).await.refused(405, "MethodNotAllowed");
    acme.alice.delete(&one).await.expect(200);
    assert_cut(open).await;
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_is_cut_and_not_sent_again() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let waits = tokio::spawn({
        let alice = acme.alice.clone();
        async move { alice.get(CI).await }
    });
    // Nobody accepted it: it could be tried elsewhere.
    let stream = agent.next().await;
    let other = acme.smith().await;
    acme.alice.delete(&format!("{STREAMS_PATH}?fieldSelector=spec.user%3Dalice")).await.expect(200);
    let answer = tokio::time::timeout(CUT_WITHIN, waits).await.expect("it is told").unwrap();
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(answer.headers.get("x-strait-error").unwrap(), "Aborted");
    assert_eq!((agent.waiting(), other.waiting()), (0, 0));
    drop(stream);
}

#[tokio::test]
async fn what_an_agents_own_rules_refuse_is_recorded() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let refuses = async {
        let stream = agent.next().await;
        let field = Field::new("x-strait-error", b"AgentRule");
        stream.sender.send_head(&Response::new(403, [field]).unwrap(), true).unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(acme.alice.get(CI), refuses);
    assert_eq!(answer.status, 403);
    let denied = audited_until(&acme, "relay.stream.deny", 1).await;
    assert_eq!(denied, ["alice AgentRule relay.stream.deny GET /job from 127.0.0.1"]);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_as_well() {
    let acme = Acme::new().await;
    let mut agent = FakeAgent::connect(&acme.install().await, &[]).await;
    let upgrades = Announced { protocols: vec!["upgrade".into()], ..offer("ci", "h1") };
    agent.offer(&[upgrades]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    let mut client = acme.alice.connect().await;
    let request = format!(
        "GET /clusters/root:acme{CI} HTTP/1.1\r\nHost: hub\r\nConnection: upgrade\r\n\
         Upgrade: bytes\r\n\r\n"
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let (receiver, mut sender) = agent.answer(101).await.split();
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let floods = tokio::spawn(async move {
        let piece = bytes::Bytes::from(vec![0; 64 << 10]);
        while sender.write(piece.clone()).await.is_ok() {
            count.fetch_add(piece.len(), Relaxed);
        }
        drop(receiver);
    });
    // More than the stream's credit: the hub has taken some of it to the client.
    until(|| written.load(Relaxed) >= 2 << 20).await;
    let front = acme.hub.hub().front();
    let begun = Instant::now();
    acme.alice
        .delete(&format!("{STREAMS_PATH}?fieldSelector=spec.agent%3Dsmith"))
        .await
        .expect(200);
    tokio::time::timeout(PATIENCE, floods).await.expect("the agent is told").unwrap();
    until(|| front.live().count() == 0).await;
    assert!(begun.elapsed() < CUT_WITHIN, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn streams_are_cut_by_whose_they_are() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let server = acme.hub.admin().within("root:acme");
    let own = stay(&acme.alice, &mut agent, CI).await;
    let mut others = stay(&server, &mut agent, CI).await;
    let select = |text: &str| format!("{STREAMS_PATH}?fieldSelector={text}");
    acme.alice.delete(STREAMS_PATH).await.refused(400, "BadRequest");
    acme.alice.delete(&select("spec.path%3D/")).await.refused(400, "BadRequest");
    for (text, count) in [("spec.agent%3Dsmith", 2), ("spec.user%3Dalice", 1), ("spec.user%3Dx", 0)]
    {
        let list = acme.alice.get(&select(text)).await.expect(200);
        assert_eq!(list.array_at(&["items"]).len(), count, "{text}");
    }
    let first = acme.alice.get(&format!("{STREAMS_PATH}?limit=1")).await.expect(200);
    let next = first.str_at(&["metadata", "continue"]).unwrap();
    let next = format!("{STREAMS_PATH}?limit=1&continue={next}");
    let second = acme.alice.get(&next).await.expect(200);
    assert_eq!((first.array_at(&["items"]).len(), second.array_at(&["items"]).len()), (1, 1));
    assert_ne!(first.at(&["items"]), second.at(&["items"]));
    assert_eq!(second.str_at(&["metadata", "continue"]), None);
    let begun = Instant::now();
    acme.alice.delete(&select("spec.user%3Dalice,spec.agent%3Dsmith")).await.expect(200);
    assert_cut(own).await;
    assert!(begun.elapsed() < CUT_WITHIN, "{:?}", begun.elapsed());
    // The other one goes on.
    others.1.sender.write("more".into()).await.unwrap();
    let frame = others.0.frame().await.unwrap().unwrap();
    assert_eq!(frame.data_ref().map(|bytes| &bytes[..]), Some(&b"more"[..]));
}

#[tokio::test]
async fn who_may_not_any_more_has_no_stream_any_more() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let alice = &acme.alice;
    let server = acme.hub.admin().within("root:acme");
    server.grant("reads", "carol", READS).await;
    let carol = acme.hub.client("carol", &[]).within("root:acme");
    let (ci, smith) = (format!("{SERVICES}/ci.smith"), format!("{AGENTS}/smith"));
    let binding = format!("{ROLE_BINDINGS}/reads");
    for rule in ["rbac", "exposure", "ceiling", "suspended"] {
        let open = stay(if rule == "rbac" { &carol } else { alice }, &mut agent, CI).await;
        let front = acme.hub.hub().front();
        let later = || SystemClock.monotonic() + AGAIN;
        front.decide_due(later()).await;
        assert_eq!(front.live().count(), 1, "{rule}");
        let (path, patch) = match rule {
            "rbac" => (&binding, None),
            "exposure" => (&ci, Some("{spec: {exposure: {path: false}}}")),
            "ceiling" => (&smith, Some("{spec: {services: {allow: ['tcp/*']}}}")),
            _ => (&smith, Some("{spec: {suspended: true}}")),
        };
        match patch {
            Some(patch) => alice.merge(path, &yaml(patch)).await.expect(200),
            None => server.delete(path).await.expect(200),
        };
        let ends = async {
            while front.live().count() > 0 {
                // Each time a minute later, as the task would.
                front.decide_due(later() + AGAIN).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ends).await.unwrap_or_else(|_| panic!("{rule}"));
        assert_cut(open).await;
        let undo = match rule {
            "exposure" => (&ci, "{spec: {exposure: {path: true}}}"),
            _ => (&smith, "{spec: {services: {allow: ['*']}}}"),
        };
        alice.merge(undo.0, &yaml(undo.1)).await.expect(200);
    }
    let denied = audited_until(&acme, "relay.stream.deny", 3).await;
    for (user, why) in [("carol", "NotFound"), ("alice", "NotFound"), ("alice", "ServiceWithdrawn")]
    {
        let begins = format!("{user} {why} ");
        assert!(denied.iter().any(|line| line.starts_with(&begins)), "{begins}: {denied:?}");
    }
}

#[tokio::test]
async fn no_stream_outlives_its_token() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let text = token(&acme.alice, "ci.smith").await;
    let bearer = acme.hub.anonymous().below("").header("authorization", &format!("Bearer {text}"));
    let open = stay(&bearer, &mut agent, CI).await;
    let front = acme.hub.hub().front();
    let minutes = |count: u64| SystemClock.monotonic() + Duration::from_secs(count * 60);
    front.decide_due(minutes(30)).await;
    front.decide_due(minutes(59)).await;
    assert_eq!(front.live().count(), 1);
    front.decide_due(minutes(60)).await;
    assert_cut(open).await;
}

#[tokio::test]
async fn denials_are_recorded_and_a_flood_of_them_is_not() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    agent.offer(&[offer("ci", "h1"), offer("db", "h1")]).await;
    acme.alice.wait(SERVICES, "db.smith", |_| true).await;
    let server = acme.hub.admin().within("root:acme");
    server.grant("reads", "carol", READS).await;
    let carol = acme.hub.client("carol", &[]).within("root:acme");
    for _ in 0..20 {
        assert_eq!(carol.post(CI, &Value::object()).await.status, 403);
    }
    // What is for nobody denied nothing.
    assert_eq!(acme.alice.get("/services/relay/smith/none/").await.status, 404);
    assert_eq!(acme.hub.anonymous().within("root:acme").get(CI).await.status, 401);
    let text = token(&acme.alice, "ci.smith").await;
    let bearer = acme.hub.anonymous().below("").header("authorization", &format!("Bearer {text}"));
    assert_eq!(bearer.get("/services/relay/smith/db/").await.status, 403);
    let denied = audited_until(&acme, "relay.stream.deny", 4).await;
    let of = |begins: &str| denied.iter().filter(|line| line.starts_with(begins)).count();
    assert_eq!(of("carol Forbidden relay.stream.deny POST /job"), 3, "{denied:?}");
    assert_eq!((of("alice CredentialScope "), denied.len()), (1, 4), "{denied:?}");
    assert_eq!(agent.waiting(), 0);
}

#[tokio::test]
async fn streams_are_counted_by_service_as_long_as_there_is_one() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let root = acme.hub.admin().below("");
    let lines = |text: String, of: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains(of)).map(str::to_owned).collect()
    };
    let own = format!("workspace=\"{}\",agent=\"smith\"", acme.alice.cluster().await);
    let (body, stream) = stay(&acme.alice, &mut agent, CI).await;
    let text = root.get("/metrics").await.text();
    for line in [
        format!("strait_relay_streams_open{{{own},service=\"ci\",kind=\"http\"}} 1"),
        "strait_relay_recorded_reads_total 1".to_owned(),
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    assert!(text.contains("\nstrait_relay_budget_ratio "), "{text}");
    let certificate = format!("strait_relay_certificate_expiry_seconds{{{own}}} ");
    let left = lines(text, &certificate).pop().unwrap();
    let left: f64 = left.rsplit(' ').next().unwrap().parse().unwrap();
    // An agent's is for a day.
    assert!((3_600.0..=86_400.0).contains(&left), "{left}");
    stream.sender.finish().unwrap();
    body.collect().await.unwrap();
    assert_eq!(acme.alice.get("/services/relay/smith/none/").await.status, 404);
    let ended =
        format!("strait_relay_streams_total{{{own},service=\"ci\",kind=\"http\",code=\"NONE\"}} 1");
    let counted = async {
        loop {
            let text = root.get("/metrics").await.text();
            if text.contains(&ended) {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(PATIENCE, counted).await.expect("it is counted");
    assert!(text.contains("strait_relay_refused_total{reason=\"NotFound\"} 1"), "{text}");
    // An agent may say anything of its service's time: what is left is nothing, or all of it.
    for took in [Duration::MAX, Duration::ZERO] {
        let serve = async {
            let stream = agent.next().await;
            let head = Response::timed(200, [], took).unwrap();
            stream.sender.send_head(&head, true).unwrap();
            stream
        };
        assert_eq!(tokio::join!(acme.alice.get(CI), serve).0.status, 200);
    }
    let text = root.get("/metrics").await.text();
    let added = format!("strait_relay_added_seconds_count{{{own},service=\"ci\",class=\"2xx\"}} 2");
    assert!(text.contains(&added), "{text}");
    let sum = lines(text, &added.replace("_count{", "_sum{").replace(" 2", " ")).pop().unwrap();
    let sum: f64 = sum.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(sum > 0.0 && sum < PATIENCE.as_secs_f64(), "{sum}");
    let (body, stream) = stay(&acme.alice, &mut agent, CI).await;
    stream.sender.reset(Directions::Both, Code::UpstreamReset, "");
    body.collect().await.unwrap_err();
    let (body, _stream) = stay(&acme.alice, &mut agent, CI).await;
    drop(body);
    let (code, grace, text) = (Code::Draining, PATIENCE, String::new());
    agent.link().drain(Drain { code, grace, hard: grace, text });
    for line in [
        "resets_total{code=\"UPSTREAM_RESET\",by=\"service\"} 1",
        "resets_total{code=\"CANCEL\",by=\"client\"} 1",
        "drains_total{by=\"agent\"} 1",
    ] {
        let line = format!("\nstrait_relay_{line}");
        let there = async { while !root.get("/metrics").await.text().contains(&line) {} };
        tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never {line}"));
    }
    agent.leave().await;
    let gone = async { while !lines(root.get("/metrics").await.text(), &own).is_empty() {} };
    tokio::time::timeout(PATIENCE, gone).await.expect("nothing is said of who is gone");
}
