//! Deliveries that come twice, at once, or while something changes.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use strait_hooks::config::Answers;
use strait_hooks::ingest::Receiving;
use strait_hooks::log::{AppendError, Log, Options as LogOptions};
use strait_hooks::secrets::{Place, Secrets};
use strait_hooks::signature::Scheme;
use strait_runtime::{Clock, Metrics, SystemClock};
use tokio::io::AsyncWriteExt;

use super::scene::{
    FakeLog, Options, SECRET, Scene, eventually, github, one_answer, signed, status_and_body,
};

const BODY: &[u8] = b"{}";
const ID: &str = "X-GitHub-Delivery: d1\r\n";

#[tokio::test]
async fn equal_deliveries_at_one_moment_are_appended_once() {
    for (error, firsts, others) in [(None, 202, 200), (Some(AppendError::Full), 503, 503)] {
        let log = FakeLog::stuck();
        *log.error.lock() = error;
        let scene = Scene::new(Options { log: Some(log), ..Options::default() }).await;
        let mut streams = Vec::new();
        for _ in 0..8 {
            let mut stream = scene.connect().await;
            stream.write_all(&signed("/hook", BODY, ID)).await.unwrap();
            streams.push(stream);
        }
        // Were each appended, seven would wait for ever, or be answered as firsts.
        scene.log.turns.add_permits(if error.is_none() { 1 } else { 8 });
        let answers = join_all(streams.iter_mut().map(one_answer)).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| status_and_body(answer).0).collect();
        statuses.sort_unstable();
        let mut due = vec![others; 7];
        due.push(firsts);
        assert_eq!(statuses, due);
        let appended = usize::from(error.is_none());
        assert_eq!(scene.log.events.lock().len(), appended);
        assert_eq!(scene.deliveries.offered.lock().len(), appended);
    }
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_not_waited_for() {
    let wait = Duration::from_millis(50);
    let log = Some(FakeLog::stuck());
    let scene = Scene::new(Options { log, wait, ..Options::default() }).await;
    for _ in 0..2 {
        // The second waits for the first, and no longer than it.
        let answer = scene.say(signed("/hook", BODY, ID)).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: "), "{answer}");
    }
    assert_eq!(scene.ingest.checks().report("readyz", &[], false).0, 500);
    scene.log.turns.add_permits(9);
    eventually(|| scene.deliveries.offered.lock().len() == 1).await;
    let answer = scene.say(signed("/hook", BODY, ID)).await;
    assert_eq!(status_and_body(&answer), (200, "{\"duplicate\":true,\"id\":\"d1\"}"));
    assert_eq!(scene.log.events.lock().len(), 1);
    assert_eq!(scene.ingest.checks().report("readyz", &[], false).0, 200);
}

#[tokio::test]
async fn what_is_appended_is_delivered_though_its_sender_left() {
    let log = Some(FakeLog::stuck());
    let scene = Scene::new(Options { log, ..Options::default() }).await;
    let mut stream = scene.connect().await;
    stream.write_all(&signed("/hook", BODY, ID)).await.unwrap();
    eventually(|| scene.log.begun.load(Ordering::Relaxed) == 1).await;
    drop(stream);
    eventually(|| scene.metric("strait_net_connections") == "0").await;
    scene.log.turns.add_permits(1);
    eventually(|| scene.deliveries.offered.lock().len() == 1).await;
}

/// A directory as a secret volume has it: `secret` goes over `..data` to a directory of its own.
fn publish(dir: &Path, version: &str, secret: &str) {
    std::fs::create_dir(dir.join(version)).unwrap();
    std::fs::write(dir.join(version).join("secret"), secret).unwrap();
    symlink(version, dir.join("..next")).unwrap();
    std::fs::rename(dir.join("..next"), dir.join("..data")).unwrap();
}

#[tokio::test]
async fn secrets_rotate_under_requests() {
    let dir = tempfile::tempdir().unwrap();
    publish(dir.path(), "one", SECRET);
    let file = dir.path().join("secret");
    symlink("..data/secret", &file).unwrap();
    let places = vec![Place::File(file)];
    let secrets = Secrets::load(Scheme::Github, places, |_| None, SystemClock.now()).unwrap();
    let mut receiving = github("/hook", Answers::Strait);
    receiving.secrets = Arc::new(secrets);
    let sources = vec![receiving];
    let scene = Scene::new(Options { sources, ..Options::default() }).await;

    let request = signed("/hook", b"{\"a\": 1}", "");
    let (begin, end) = request.split_at(request.len() - 4);
    let mut underway = Vec::new();
    for _ in 0..8 {
        let mut stream = scene.connect().await;
        stream.write_all(begin).await.unwrap();
        underway.push(stream);
    }
    let taken = "strait_hooks_budget_bytes";
    eventually(|| scene.metric(taken) == "64").await;
    publish(dir.path(), "two", "another\n");
    scene.ingest.refresh_secrets();
    for mut stream in underway {
        stream.write_all(end).await.unwrap();
        assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 202 "));
    }
    assert!(scene.say(&request).await.starts_with("HTTP/1.1 401 "));
    publish(dir.path(), "three", SECRET);
    scene.ingest.refresh_secrets();
    assert!(scene.say(&request).await.starts_with("HTTP/1.1 202 "));
    assert_eq!(scene.metric("strait_hooks_secret_age_seconds{source=\"hook\"}"), "0");
}

#[tokio::test]
async fn a_new_configuration_ends_no_request_and_forgets_nothing() {
    let scene = Scene::new(Options::default()).await;
    let kept = signed("/hook", BODY, ID);
    assert_eq!(status_and_body(&scene.say(&kept).await).0, 202);
    let request = signed("/hook", b"{\"a\": 1}", "");
    let (begin, end) = request.split_at(request.len() - 4);
    let mut stream = scene.connect().await;
    stream.write_all(begin).await.unwrap();
    eventually(|| scene.metric("strait_hooks_budget_bytes") == "8").await;

    scene.ingest.serve(vec![github("/other", Answers::Strait)], false);
    stream.write_all(end).await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 202 "));
    assert_eq!(status_and_body(&scene.say(&kept).await).0, 404);

    let moved = Receiving { ..github("/other", Answers::Strait) };
    scene.ingest.serve(vec![moved, github("/hook", Answers::Strait)], false);
    let again = signed("/other", BODY, ID);
    assert_eq!(status_and_body(&scene.say(&again).await).0, 202);
    scene.ingest.serve(vec![github("/other", Answers::Strait)], false);
    assert_eq!(status_and_body(&scene.say(&again).await).0, 200, "it is still known");
}

#[tokio::test]
async fn what_the_log_holds_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene::new(Options::default()).await;
    scene.say(signed("/hook", BODY, ID)).await;
    let event = scene.log.events.lock()[0].clone();
    let (log, _) = Log::open(dir.path(), LogOptions::default(), &Metrics::new()).unwrap();
    log.append(event).await.unwrap();

    let scene = Scene::new(Options::default()).await;
    scene.ingest.recall(&log).unwrap();
    for (body, status) in [(BODY, 200), (&b"[]"[..], 202)] {
        let answer = scene.say(signed("/hook", body, ID)).await;
        assert_eq!(status_and_body(&answer).0, status);
    }
    log.close().await;
}
