//! Every situation and its answer.

use std::sync::atomic::Ordering;

use strait_hooks::config::Answers;
use strait_hooks::log::AppendError;
use strait_hooks::signature::Scheme;
use strait_runtime::{Context, Tracer};
use strait_types::Sampler;

use super::scene::{
    FakeLog, Options, Scene, github, hex_mac, limits, receiving, signed, status_and_body, unsigned,
};

const BODY: &[u8] = b"{\"zen\":\"x\"}";
const ID: &str = "X-GitHub-Delivery: d1\r\n";
const CLOSE: &str = "Connection: close\r\n";

fn with_mac(mac: &str) -> Vec<u8> {
    unsigned("/hook", BODY, &format!("{CLOSE}X-Hub-Signature-256: {mac}\r\n"))
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: hooks\r\n{CLOSE}\r\n").into_bytes()
}

fn replaced(request: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    assert!(text.contains(from));
    text.replacen(from, to, 1).into_bytes()
}

#[tokio::test]
async fn what_is_not_verified_has_no_span() {
    let mut context = Context::of_system();
    let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
    let (tracer, mut spans) = Tracer::new(Sampler::default(), clock, entropy, &context.metrics);
    context.tracer = tracer;
    let scene = Scene::within(context, Options::default()).await;
    let asked = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let good = signed("/hook", BODY, asked);
    for (request, status, count) in [
        (unsigned("/hook", BODY, &format!("{CLOSE}{asked}")), 401, 0),
        (replaced(&good, "sha256=", "sha256=00"), 401, 0),
        (replaced(&good, "zen", "new"), 401, 0),
        (replaced(&good, "POST", "PUT"), 405, 0),
        (replaced(&good, "application/json", "text/plain"), 415, 0),
        (good, 202, 1),
    ] {
        assert_eq!(status_and_body(&scene.say(&request).await).0, status);
        let mut ended = Vec::new();
        spans.take(&mut ended, usize::MAX);
        assert_eq!(ended.len(), count, "{status}: {ended:?}");
    }
}

#[tokio::test]
async fn a_request_is_answered_by_what_it_is() {
    let mut near = github("/near", Answers::Strait);
    near.source.addresses = vec!["192.0.2.0/24".parse().unwrap()];
    let mut sources = vec![github("/hook", Answers::Strait), near];
    sources.push(receiving("/open", Scheme::None, Answers::Strait, ""));
    let limits = strait_hooks::config::Limits { body: 1_000, ..limits() };
    let scene = Scene::new(Options { sources, limits, ..Options::default() }).await;
    let good = signed("/hook", BODY, ID);
    let mac = hex_mac(BODY);
    let large = vec![b'x'; 1_001];
    for (name, request, status, body) in [
        ("kept", good.clone(), 202, "{\"duplicate\":false,\"id\":\"d1\"}"),
        ("again", good.clone(), 200, "{\"duplicate\":true,\"id\":\"d1\"}"),
        ("other body", signed("/hook", b"{}", ID), 202, "{\"duplicate\":false,\"id\":\"d1\"}"),
        ("below", signed("/hook/a/b?c=d", BODY, "X-GitHub-Delivery: d2\r\n"), 202, "d2"),
        ("out", signed("/hook/../b", BODY, ID), 404, "404 page not found"),
        ("unknown", signed("/hooks", BODY, ID), 404, "404 page not found"),
        ("get", replaced(&good, "POST", "GET"), 405, ""),
        ("put", replaced(&good, "POST", "PUT"), 405, ""),
        ("far", signed("/near", BODY, ID), 403, ""),
        ("far, forwarded", signed("/near", BODY, "X-Forwarded-For: 192.0.2.1\r\n"), 403, ""),
        ("text", replaced(&good, "application/json", "text/plain"), 415, ""),
        ("no type", replaced(&good, "Content-Type: application/json\r\n", ""), 415, ""),
        ("large", signed("/hook", &large, ID), 413, ""),
        ("expects", signed("/hook", BODY, "Expect: a-miracle\r\n"), 417, ""),
        ("unsigned", unsigned("/hook", BODY, CLOSE), 401, ""),
        ("wrong", with_mac(&format!("sha256={}", "0".repeat(64))), 401, ""),
        ("short", with_mac("sha256=00"), 401, ""),
        ("sha1", with_mac("sha1=0000000000000000000000000000000000000000"), 401, ""),
        (
            "twice",
            signed("/hook", BODY, &format!("X-Hub-Signature-256: sha256={mac}\r\n")),
            401,
            "",
        ),
        ("changed", replaced(&good, "\"x\"", "\"y\""), 401, ""),
        ("anything", unsigned("/open", b"\xff", CLOSE), 202, "\"duplicate\":false"),
        ("livez", get("/livez"), 200, "ok"),
        ("readyz", get("/readyz"), 200, "ok"),
        ("head", replaced(&get("/livez"), "GET", "HEAD"), 200, ""),
        ("healthz", get("/healthz"), 404, "404 page not found"),
    ] {
        let answer = scene.say(request).await;
        let (got, said) = status_and_body(&answer);
        assert_eq!(got, status, "{name}: {answer}");
        let fits = if body.is_empty() { said.is_empty() } else { said.contains(body) };
        assert!(fits, "{name}: {answer}");
        let retry = answer.contains("retry-after: ");
        assert_eq!(retry, status == 503, "{name}");
    }
    for (metric, value) in [
        ("strait_hooks_inbound_total{source=\"hook\",result=\"accepted\"}", "3"),
        ("strait_hooks_inbound_total{source=\"hook\",result=\"duplicate\"}", "1"),
        ("strait_hooks_duplicates_total{source=\"hook\"}", "1"),
        ("strait_hooks_same_id_other_body_total{source=\"hook\"}", "1"),
        ("strait_hooks_reject_total{source=\"hook\",reason=\"signature_mismatch\"}", "2"),
        ("strait_hooks_reject_total{source=\"near\",reason=\"address\"}", "2"),
        ("strait_hooks_reject_total{source=\"\",reason=\"path\"}", "3"),
        ("strait_hooks_budget_bytes", "0"),
        ("strait_hooks_ack_seconds_count", "4"),
    ] {
        assert_eq!(scene.metric(metric), value, "{metric}");
    }
    let offered = scene.deliveries.offered.lock();
    let below = &offered.iter().find(|(_, event)| &*event.delivery == "d2").unwrap().1;
    assert_eq!((&*below.path, &*below.query), ("/a/b", "c=d"));
    assert_eq!(scene.deliveries.redriven.lock().len(), 1);
    let own = &offered.last().unwrap().1.delivery;
    assert_eq!(own.len(), 36, "one of ours: {own}");
}

#[tokio::test]
async fn sprayproxys_sources_answer_as_it_did() {
    let sources = || {
        let both = ["/", "/proxy"];
        both.map(|path| github(path, Answers::Sprayproxy)).into()
    };
    let limits = strait_hooks::config::Limits { body: 1_000, ..limits() };
    let scene = Scene::new(Options { sources: sources(), limits, ..Options::default() }).await;
    let good = signed("/proxy", BODY, ID);
    for (name, request, status, body) in [
        ("kept", good.clone(), 200, "proxied"),
        ("again", good.clone(), 200, "proxied"),
        ("root", signed("/?a=b", BODY, ID), 200, "proxied"),
        (
            "form",
            replaced(&good, "application/json", "application/x-www-form-urlencoded"),
            200,
            "proxied",
        ),
        ("empty", signed("/", b"", ID), 200, "proxied"),
        ("unsigned", unsigned("/proxy", BODY, CLOSE), 400, "bad request"),
        ("changed", replaced(&good, "\"x\"", "\"y\""), 400, "bad request"),
        ("text", replaced(&good, "application/json", "text/plain"), 400, "bad request"),
        ("large", signed("/proxy", &[b'x'; 1_001], ID), 413, "request body too large"),
        ("below", signed("/proxy/x", BODY, ID), 404, "404 page not found"),
        ("slash", signed("/proxy/", BODY, ID), 404, "404 page not found"),
        ("put", replaced(&good, "POST", "PUT"), 404, "404 page not found"),
        ("incoming", signed("/incoming", BODY, ID), 404, "404 page not found"),
        ("get", get("/"), 200, "healthy"),
        ("get proxy", get("/proxy"), 200, "healthy"),
        ("get healthz", get("/healthz"), 200, "healthy"),
    ] {
        let answer = scene.say(request).await;
        assert_eq!(status_and_body(&answer), (status, body), "{name}: {answer}");
    }
    assert_eq!(scene.metric("sprayproxy_http_inbound_requests_total"), "10");
    scene.deliveries.none.store(true, Ordering::Relaxed);
    assert_eq!(status_and_body(&scene.say(&good).await).0, 503);

    let options = Options { sources: sources(), log: None, ..Options::default() };
    let scene = Scene::new(options).await;
    for (fail, status, body) in [(false, 200, "proxied"), (true, 502, "failed to proxy")] {
        scene.deliveries.fail.store(fail, Ordering::Relaxed);
        let answer = scene.say(&good).await;
        assert_eq!(status_and_body(&answer), (status, body));
    }
    assert_eq!(scene.deliveries.offered.lock().len(), 2);
}

#[tokio::test]
async fn without_a_log_the_backends_decide() {
    let scene = Scene::new(Options { log: None, ..Options::default() }).await;
    let good = signed("/hook", BODY, ID);
    for (fail, status) in [(false, 202), (false, 202), (true, 502)] {
        scene.deliveries.fail.store(fail, Ordering::Relaxed);
        assert_eq!(status_and_body(&scene.say(&good).await).0, status);
    }
}

#[tokio::test]
async fn trouble_of_ours_asks_to_try_again() {
    let scene = Scene::new(Options::default()).await;
    for (error, status, ready) in [
        (Some(AppendError::Busy), 503, 500),
        (Some(AppendError::Full), 503, 500),
        (None, 202, 200),
        (Some(AppendError::TooLarge), 413, 200),
        (Some(AppendError::Closed), 503, 500),
    ] {
        *scene.log.error.lock() = error;
        let answer = scene.say(signed("/hook", BODY, "")).await;
        assert_eq!(status_and_body(&answer), (status, status_and_body(&answer).1), "{error:?}");
        assert_eq!(answer.contains("retry-after: 10"), status == 503, "{error:?}");
        let (got, _) = scene.ingest.checks().report("readyz", &[], false);
        assert_eq!(got.as_u16(), ready, "{error:?}");
    }
    scene.deliveries.none.store(true, Ordering::Relaxed);
    let answer = scene.say(signed("/hook", BODY, "")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 10"), "{answer}");

    let log = Some(FakeLog::new());
    let scene = Scene::new(Options { store_only: true, log, ..Options::default() }).await;
    scene.deliveries.none.store(true, Ordering::Relaxed);
    assert_eq!(status_and_body(&scene.say(signed("/hook", BODY, "")).await).0, 202);
}

#[tokio::test]
async fn credentials_are_not_kept() {
    let scene = Scene::new(Options::default()).await;
    let more = "Authorization: Bearer x\r\nCookie: a=b\r\nProxy-Authorization: c\r\nX-Kept: y\r\n";
    scene.say(signed("/hook", BODY, more)).await;
    let events = scene.log.events.lock();
    let headers = &events[0].headers;
    assert!(headers.contains_key("x-kept"));
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert!(!headers.contains_key(name), "{name}");
    }
}
