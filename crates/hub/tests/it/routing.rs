//! Which instance gets a stream, and which streams nobody gets.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use strait_relay::link::Part;
use strait_tunnel::{Code, Directions, OpenHead, Response};

use crate::credentials::SERVICES;
use crate::fake_agent::{Acme, CI, FakeAgent, ask};
use crate::harness::{Answer, PATIENCE, until, yaml};
use crate::joining::{AGENTS, Installation, make_agent, token};
use crate::services::offer;
use crate::streams::READS;
use crate::tenants::ROLE_BINDINGS;

/// Asserts an answer of the hub's, in a service's place.
#[track_caller]
fn told(answer: &Answer, code: u16, reason: &str) {
    let said = answer.headers.get("x-strait-error").map(|value| value.to_str().unwrap());
    assert_eq!((answer.status.as_u16(), said), (code, Some(reason)), "{}", answer.text());
}

#[tokio::test]
async fn an_instance_that_comes_back_with_an_old_file_gets_nothing() {
    let acme = Acme::new().await;
    let (first, second) = (acme.install().await, acme.install().await);
    let mut old = FakeAgent::connect(&first, &[offer("ci", "h1")]).await;
    let mut new = FakeAgent::connect(&second, &[offer("ci", "h1")]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    new.offer(&[offer("ci", "h2")]).await;
    old.leave().await;
    old = FakeAgent::connect(&first, &[offer("ci", "h1")]).await;
    for _ in 0..20 {
        assert_eq!(ask(&acme.alice, &mut new).await.status, 200);
    }
    assert_eq!(old.waiting(), 0);
    // It reads the new one: then it is as good as the other.
    old.offer(&[offer("ci", "h2")]).await;
    new.leave().await;
    assert_eq!(ask(&acme.alice, &mut old).await.status, 200);
}

#[tokio::test]
async fn what_an_agent_may_do_holds_for_the_next_request() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let smith = format!("{AGENTS}/smith");
    let stays = tokio::join!(acme.alice.open(Method::GET, CI, "".into()), agent.answer(200));
    for (rule, undo, code, reason) in [
        ("{services: {allow: ['tcp/*']}}", "{services: {allow: ['*']}}", 503, "ServiceWithdrawn"),
        ("{drain: true}", "{drain: false}", 503, "NotAccepted"),
        ("{suspended: true}", "{suspended: false}", 503, "AgentOffline"),
    ] {
        assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
        acme.alice.merge(&smith, &yaml(&format!("{{spec: {rule}}}"))).await.expect(200);
        told(&acme.alice.get(CI).await, code, reason);
        assert_eq!(agent.waiting(), 0, "{rule}");
        acme.alice.merge(&smith, &yaml(&format!("{{spec: {undo}}}"))).await.expect(200);
    }
    drop(stays);
}

#[tokio::test]
async fn what_a_person_may_do_holds_for_the_next_request() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let server = acme.hub.admin().within("root:acme");
    let carol = acme.hub.client("carol", &[]).within("root:acme");
    let (ci, binding) = (format!("{SERVICES}/ci.smith"), format!("{ROLE_BINDINGS}/reads"));
    told(&carol.get(CI).await, 404, "NotFound");
    server.grant("reads", "carol", READS).await;
    for take in ["right", "exposure"] {
        // What was allowed a moment ago is so again, and only what was.
        for _ in 0..2 {
            assert_eq!(ask(&carol, &mut agent).await.status, 200, "{take}");
        }
        let asked = carol.send(Method::POST, CI, None).await;
        told(&asked, 403, "Forbidden");
        match take {
            "right" => server.delete(&binding).await.expect(200),
            _ => {
                acme.alice.merge(&ci, &yaml("{spec: {exposure: {path: false}}}")).await.expect(200)
            }
        };
        told(&carol.get(CI).await, 404, "NotFound");
        assert_eq!(agent.waiting(), 0, "{take}");
        match take {
            "right" => server.grant("again", "carol", READS).await,
            _ => drop(acme.alice.merge(&ci, &yaml("{spec: {exposure: {path: true}}}")).await),
        }
        assert_eq!(ask(&carol, &mut agent).await.status, 200, "{take}");
    }
}

#[tokio::test]
async fn a_service_runs_no_more_at_once_than_its_object_says() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let ci = format!("{SERVICES}/ci.smith");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {concurrent: 1}}}")).await.expect(200);
    let opened = acme.alice.open(Method::GET, CI, "".into());
    let (response, stream) = tokio::join!(opened, agent.answer(200));
    told(&acme.alice.get(CI).await, 503, "Overloaded");
    assert_eq!(agent.waiting(), 0);
    stream.sender.finish().unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
}

#[tokio::test]
async fn a_service_is_asked_no_more_often_than_its_object_says() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let ci = format!("{SERVICES}/ci.smith");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {requestsPerSecond: 1}}}")).await.expect(200);
    tokio::spawn(async move {
        loop {
            agent.answer(200).await.sender.finish().unwrap();
        }
    });
    let asked = async {
        loop {
            let answer = acme.alice.get(CI).await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("it is too often");
    told(&answer, 429, "TooManyRequests");
    assert_eq!(answer.headers.get("retry-after").unwrap(), "1");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {requestsPerSecond: 0}}}")).await.expect(200);
    for _ in 0..20 {
        assert_eq!(acme.alice.get(CI).await.status, 200);
    }
}

#[tokio::test]
async fn an_upload_that_is_refused_in_its_middle_is_repeated_whole() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let sent: Bytes = (0..300_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    let asked = acme.alice.open(Method::POST, CI, sent.clone());
    let served = async {
        // As an agent does that is being drained: what came is less than all, and nothing is done.
        let mut refused = agent.next().await;
        assert!(matches!(refused.receiver.next().await, Part::Data(_)));
        refused.sender.reset(Directions::Both, Code::Draining, "");
        let mut stream = agent.next().await;
        stream.sender.accept();
        let mut got = Vec::new();
        while let Part::Data(bytes) = stream.receiver.next().await {
            got.extend_from_slice(&bytes);
        }
        stream.sender.send_head(&Response::new(201, []).unwrap(), true).unwrap();
        got
    };
    let (answer, got) = tokio::join!(asked, served);
    assert_eq!((answer.status().as_u16(), got.len()), (201, sent.len()));
    assert!(got == sent, "other bytes");
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_by_a_certificate() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    for (method, site, refused) in [
        ("POST", "cross-site", true),
        ("POST", "same-site", true),
        ("POST", "same-origin", false),
        ("GET", "cross-site", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let fields = [("sec-fetch-site", site)];
        let asked = acme.alice.open_with(method, CI, &fields, "".into());
        if refused {
            let answer = asked.await;
            assert_eq!(answer.headers()["x-strait-error"], "CrossSite", "{site}");
            assert_eq!(answer.status(), 403);
            continue;
        }
        let (answer, ()) = tokio::join!(asked, async {
            agent.answer(200).await.sender.finish().unwrap();
        });
        assert_eq!(answer.status(), 200, "{site}");
    }
    assert_eq!(agent.waiting(), 0);
}

#[tokio::test]
async fn what_one_instance_has_no_room_for_another_does() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let full = async |agent: &mut FakeAgent| {
        agent.next().await.sender.reset(Directions::Both, Code::Overloaded, "7");
    };
    // One alone is not asked again at once.
    let (answer, ()) = tokio::join!(acme.alice.get(CI), full(&mut agent));
    told(&answer, 503, "Overloaded");
    assert!(answer.text().contains("7 requests already run on ci"), "{}", answer.text());
    assert_eq!(answer.headers.get("retry-after").unwrap(), "1");
    assert_eq!(agent.waiting(), 0);
    let other = acme.install().await;
    let mut other = FakeAgent::connect(&other, &[offer("ci", "h1")]).await;
    for _ in 0..10 {
        let asked = acme.alice.send_bytes(Method::POST, CI, Bytes::from_static(b"{}"));
        let served = async {
            loop {
                tokio::select! {
                    () = full(&mut agent) => {}
                    stream = other.answer(200) => break stream.sender.finish().unwrap(),
                }
            }
        };
        let (answer, ()) = tokio::join!(asked, served);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_service_that_nobody_accepts_leaves_the_others_of_its_agent() {
    let acme = Acme::new().await;
    let offers = [offer("ci", "h1"), offer("wiki", "h1")];
    // The control stream is one of them; of the others a service that waits alone has half.
    let mut agent = FakeAgent::with_room(&acme.install().await, &offers, 64).await;
    acme.alice.wait(SERVICES, "wiki.smith", |_| true).await;
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let alice = acme.alice.clone();
        waits.spawn(async move { alice.get(CI).await });
    }
    until(|| agent.waiting() == 32).await;
    let answer = acme.alice.get(CI).await;
    told(&answer, 503, "Overloaded");
    assert!(answer.text().contains("32 requests already wait for smith"), "{}", answer.text());
    assert_eq!(answer.headers.get("retry-after").unwrap(), "1");
    let wiki = acme.alice.get("/services/relay/smith/wiki/");
    let served = async {
        for _ in 0..32 {
            drop(agent.next().await);
        }
        agent.answer(200).await.sender.finish().unwrap();
    };
    assert_eq!(tokio::join!(wiki, served).0.status, 200);
    let metrics = acme.hub.admin().below("").get("/metrics").await.text();
    let line = metrics.lines().find(|line| line.starts_with("strait_relay_stalled_total{"));
    assert!(line.unwrap().ends_with("service=\"ci\"} 1"), "{line:?}");
}

#[tokio::test]
async fn what_a_connection_has_no_room_for_goes_over_the_instances_other_one() {
    let acme = Acme::new().await;
    let installation = acme.install().await;
    let mut narrow = FakeAgent::with_room(&installation, &[offer("ci", "h1")], 16).await;
    let mut wide = FakeAgent::connect(&installation, &[offer("ci", "h1")]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    // Those of the narrow one are accepted, and stay.
    let (mut asked, mut held) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let (answer, stream) =
            tokio::join!(acme.alice.open(Method::GET, CI, Bytes::new()), async {
                tokio::select! {
                    stream = narrow.answer(200) => stream,
                    stream = wide.answer(200) => stream,
                }
            });
        assert_eq!(answer.status(), 200);
        asked.push(answer);
        held.push(stream);
    }
}

#[tokio::test]
async fn a_large_body_leaves_small_streams_the_instances_other_connection() {
    const PIECE: usize = 256 << 10;
    let acme = Acme::new().await;
    let installation = acme.install().await;
    let mut one = FakeAgent::connect(&installation, &[offer("ci", "h1")]).await;
    let mut other = FakeAgent::connect(&installation, &[offer("ci", "h1")]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    let download = acme.alice.open(Method::GET, CI, Bytes::new());
    let taken = async {
        tokio::select! {
            stream = one.answer(200) => (stream, true),
            stream = other.answer(200) => (stream, false),
        }
    };
    let (download, (mut stream, is_one)) = tokio::join!(download, taken);
    let mut body = download.into_body();
    let quiet = if is_one { &mut other } else { &mut one };
    for _ in 0..20 {
        let read = async {
            let mut count = 0;
            while count < PIECE {
                count += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
            }
        };
        let (written, ()) = tokio::join!(stream.sender.write(vec![0; PIECE].into()), read);
        written.unwrap();
        assert_eq!(ask(&acme.alice, quiet).await.status, 200);
    }
}

#[tokio::test]
async fn an_instance_that_does_not_reach_a_service_is_asked_last() {
    let acme = Acme::new().await;
    let mut out = offer("ci", "h1");
    out.ready = false;
    let mut out = FakeAgent::connect(&acme.install().await, &[out]).await;
    let mut agent = acme.smith().await;
    for _ in 0..20 {
        assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
    }
    assert_eq!(out.waiting(), 0);
    agent.leave().await;
    assert_eq!(ask(&acme.alice, &mut out).await.status, 200);
}

#[tokio::test]
async fn a_trace_crosses_as_it_came_if_it_is_one() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (said, expected) in [(trace, trace), ("00-1-2-01", "")] {
        let client = acme.alice.header("traceparent", said);
        let served = async {
            let (stream, head) = agent.opened().await.unwrap();
            stream.sender.accept();
            stream.sender.send_head(&Response::new(204, []).unwrap(), true).unwrap();
            head
        };
        let (answer, head) = tokio::join!(client.get(CI), served);
        assert_eq!(answer.status, 204);
        let OpenHead::Http(head) = head else { panic!("{head:?}") };
        assert_eq!(head.parts().tlvs.trace, expected.as_bytes());
        let mut fields = head.fields();
        let own = fields.find(|field| field.is("traceparent")).unwrap();
        assert_eq!(own.value, said.as_bytes());
    }
}

#[tokio::test]
async fn an_instance_is_not_avoided_for_what_another_agents_of_its_name_did() {
    let acme = Acme::new().await;
    make_agent(&acme.alice, "jones", "{}").await;
    let instance = Installation::new().instance;
    let connect = async |agent: &str| {
        let token = token(&acme.alice, agent, "{}").await;
        let one = Installation { instance: instance.clone(), ..Installation::new() };
        FakeAgent::connect(&one.join(&acme.hub, &token).await, &[offer("ci", "h1")]).await
    };
    let (mut same, mut jones) = (connect("smith").await, connect("jones").await);
    let mut other = acme.smith().await;
    acme.alice.wait(SERVICES, "ci.jones", |_| true).await;
    for _ in 0..5 {
        let fails = async {
            let stream = jones.next().await;
            stream.sender.reset(Directions::Both, Code::ConnectFailed, "");
            stream
        };
        let asked = acme.alice.get("/services/relay/jones/ci/job");
        told(&tokio::join!(asked, fails).0, 502, "ConnectFailed");
    }
    // Either of smith's gets the first request, and the other the second while that waits.
    let ask = || {
        let alice = acme.alice.clone();
        tokio::spawn(async move { alice.get(CI).await.status })
    };
    let first = ask();
    let (stream, idle) = tokio::select! {
        stream = same.next() => (stream, &mut other),
        stream = other.next() => (stream, &mut same),
    };
    let second = ask();
    idle.answer(200).await.sender.finish().unwrap();
    assert_eq!(second.await.unwrap(), 200);
    stream.sender.accept();
    stream.sender.send_head(&Response::new(200, []).unwrap(), true).unwrap();
    assert_eq!(first.await.unwrap(), 200);
}

#[tokio::test]
async fn streams_that_are_opened_together_go_to_all_connections() {
    let acme = Acme::new().await;
    let installation = acme.install().await;
    let offers = [offer("ci", "h1")];
    let mut one = FakeAgent::connect(&installation, &offers).await;
    let mut two = FakeAgent::connect(&installation, &offers).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    let asked: Vec<_> = (0..4)
        .map(|_| {
            let alice = acme.alice.clone();
            tokio::spawn(async move { alice.get(CI).await.status })
        })
        .collect();
    let taken = async { [one.next().await, two.next().await, one.next().await, two.next().await] };
    for stream in tokio::time::timeout(PATIENCE, taken).await.expect("two each") {
        stream.sender.accept();
        stream.sender.send_head(&Response::new(200, []).unwrap(), true).unwrap();
    }
    for status in asked {
        assert_eq!(status.await.unwrap(), 200);
    }
}
