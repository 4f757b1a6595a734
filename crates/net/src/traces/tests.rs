//! Against a collector on loopback.

use std::net::SocketAddr;

use http::Response;
use http::header::AUTHORIZATION;
use parking_lot::Mutex as Lock;
use serde_json::Value;
use strait_runtime::{SpanKind, Tracer};
use strait_types::Sampler;
use tokio::sync::mpsc;

use super::*;
use crate::body::{Body, collect};
use crate::server::{Handler, Limits, handler};
use crate::testing::Scene;

/// A collector that answers with these statuses, the last of them for ever; what it was sent.
fn collector(answers: &[u16]) -> (Handler, mpsc::Receiver<(HeaderMap, Value)>) {
    let (sent, received) = mpsc::channel(64);
    let answers = Arc::new(Lock::new(answers.to_vec()));
    let handler = handler(move |_, request| {
        let (sent, answers) = (sent.clone(), answers.clone());
        async move {
            let (head, body) = request.into_parts();
            assert_eq!((head.method, head.uri.path()), (Method::POST, "/v1/traces"));
            let body = collect(body, 1 << 20).await.unwrap();
            sent.send((head.headers, serde_json::from_slice(&body).unwrap())).await.unwrap();
            let mut answers = answers.lock();
            let status = if answers.len() > 1 { answers.remove(0) } else { answers[0] };
            let mut response = Response::new(Body::from("{}"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response
        }
    });
    (handler, received)
}

struct Rig {
    scene: Scene,
    tracer: Tracer,
    exporter: Arc<TraceExporter>,
}

fn rig(scene: Scene, address: SocketAddr) -> Rig {
    let context = Context { metrics: scene.registry.clone(), ..Context::of_system() };
    let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
    let (tracer, spans) = Tracer::new(Sampler::default(), clock, entropy, &context.metrics);
    let url = format!("https://localhost:{}/v1/traces", address.port()).parse().unwrap();
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer x"))]);
    let target = TraceTarget { url, headers, service: "strait-test".into() };
    let tls = Some(scene.client_config());
    let mut exporter = TraceExporter::new(target, tls, spans, &context);
    let own = Arc::get_mut(&mut exporter).unwrap();
    let (first, longest) = (Duration::from_millis(1), Duration::from_millis(4));
    own.backoff = Backoff::new(first, longest, context.entropy);
    Rig { scene, tracer, exporter }
}

impl Rig {
    fn end(&self, count: usize) {
        for _ in 0..count {
            drop(self.tracer.enter("hub.relay", SpanKind::Server, || b""));
        }
    }

    /// Sent, refused by the collector, given up.
    fn counts(&self) -> [u64; 3] {
        let counts = &self.exporter.counts;
        [&counts.sent, &counts.refused, &counts.lost].map(Counter::get)
    }

    async fn until(&self, expected: [u64; 3]) {
        let reached = async {
            while self.counts() != expected {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(Duration::from_secs(60), reached).await;
        waited.unwrap_or_else(|_| panic!("{:?} became of them", self.counts()));
    }
}

fn spans_of(request: &Value) -> usize {
    request.pointer("/resourceSpans/0/scopeSpans/0/spans").unwrap().as_array().unwrap().len()
}

#[tokio::test]
async fn what_ended_is_posted_in_batches_with_what_the_collector_wants_to_see() {
    let scene = Scene::new();
    let (handler, mut received) = collector(&[200]);
    let (address, _served) = scene.serve(Limits::default(), handler).await;
    let rig = rig(scene, address);
    rig.end(BATCH + 3);
    rig.scene.tasks.spawn_daemon("traces", rig.exporter.clone().run());
    let (headers, first) = received.recv().await.unwrap();
    let (_, second) = received.recv().await.unwrap();
    assert_eq!([spans_of(&first), spans_of(&second)], [BATCH, 3]);
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    assert_eq!(headers[AUTHORIZATION], "Bearer x");
    let resource = first.pointer("/resourceSpans/0/resource/attributes/0").unwrap();
    assert_eq!(resource["value"]["stringValue"], "strait-test");
    rig.until([BATCH as u64 + 3, 0, 0]).await;
    let line = "strait_net_spans_total{outcome=\"sent\"}";
    assert_eq!(rig.scene.metric(line), (BATCH + 3).to_string());
}

#[tokio::test]
async fn only_what_may_be_taken_later_is_repeated() {
    for (answers, posts, expected) in [
        (&[429, 502, 503, 504, 200][..], 5, [256, 0, 0]),
        (&[503][..], TRIES, [0, 0, 256]),
        (&[400][..], 1, [0, 256, 0]),
        (&[500][..], 1, [0, 256, 0]),
        (&[302][..], 1, [0, 256, 0]),
    ] {
        let scene = Scene::new();
        let (handler, mut received) = collector(answers);
        let (address, _served) = scene.serve(Limits::default(), handler).await;
        let rig = rig(scene, address);
        rig.end(BATCH);
        rig.scene.tasks.spawn_daemon("traces", rig.exporter.clone().run());
        for _ in 0..posts {
            received.recv().await.unwrap();
        }
        rig.until(expected).await;
        assert!(received.try_recv().is_err(), "{answers:?}");
    }
}

#[tokio::test]
async fn without_a_collector_spans_are_given_up_and_counted() {
    // Nobody listens there.
    let rig = rig(Scene::new(), "127.0.0.1:1".parse().unwrap());
    rig.end(BATCH);
    rig.scene.tasks.spawn_daemon("traces", rig.exporter.clone().run());
    rig.until([0, 0, BATCH as u64]).await;
}

#[tokio::test]
async fn a_collector_that_does_not_answer_costs_no_more_than_a_full_queue_and_the_time_to_flush() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = rig(Scene::new(), listener.local_addr().unwrap());
    let full = strait_runtime::trace::SPANS_MAX;
    rig.end(full + 5);
    let refused = "strait_runtime_queue_refused_total{queue=\"spans\"}";
    assert_eq!(rig.scene.metric(refused), "5");
    // It takes the connection and says nothing.
    let silent = rig.scene.tasks.spawn_daemon("silent", async move {
        let accepted = listener.accept().await;
        std::future::pending::<()>().await;
        drop(accepted);
    });
    rig.exporter.flush(Duration::from_millis(50)).await;
    assert_eq!(rig.counts(), [0, 0, full as u64]);
    drop(silent);
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent_and_what_was_cut_off_again() {
    let scene = Scene::new();
    let (handler, mut received) = collector(&[503, 200]);
    let (address, _served) = scene.serve(Limits::default(), handler).await;
    let mut rig = rig(scene, address);
    let patient = Backoff::new(PAUSE[1], PAUSE[1], Context::of_system().entropy);
    Arc::get_mut(&mut rig.exporter).unwrap().backoff = patient;
    rig.end(BATCH);
    let mut run = Box::pin(rig.exporter.clone().run());
    tokio::select! {
        () = &mut run => unreachable!("it goes on for ever"),
        first = received.recv() => assert_eq!(spans_of(&first.unwrap().1), BATCH),
    }
    drop(run);
    rig.end(7);
    rig.exporter.flush(Duration::from_secs(60)).await;
    let again: Vec<usize> = std::iter::from_fn(|| received.try_recv().ok())
        .map(|(_, request)| spans_of(&request))
        .collect();
    assert_eq!(again, [BATCH, 7]);
    assert_eq!(rig.counts(), [BATCH as u64 + 7, 0, 0]);
}

#[test]
fn a_collector_may_say_when() {
    for (status, after, expected) in [
        (200, None, Outcome::Taken(0)),
        (503, Some("7"), Outcome::Later(Some(Duration::from_secs(7)), String::new())),
        (429, Some("Wed, 21 Oct 2026 07:28:00 GMT"), Outcome::Later(None, String::new())),
        (401, Some("7"), Outcome::Refused(String::new())),
    ] {
        let after = after.map(|text| (RETRY_AFTER, HeaderValue::from_static(text)));
        let status = StatusCode::from_u16(status).unwrap();
        let got = match outcome_of(status, &after.into_iter().collect(), b"{}") {
            Outcome::Later(after, _) => Outcome::Later(after, String::new()),
            Outcome::Refused(_) => Outcome::Refused(String::new()),
            taken => taken,
        };
        assert_eq!(got, expected);
    }
}
