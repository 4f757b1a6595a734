//! Crossings are on record before they happen, or do not happen.

use std::sync::atomic::Ordering;

use strait_apiserver::crossing::{REQUESTER, requester_name};
use strait_machinery::json::Value;

use crate::harness::{ASKS, Bench, ask, phase};

fn requester(object: &Value) -> String {
    let annotation = object.str_at(&["metadata", "annotations", REQUESTER]).unwrap();
    requester_name(annotation).unwrap()
}

#[tokio::test]
async fn each_stage_is_recorded_once() {
    let bench = Bench::new();
    let status = format!("{ASKS}/a/status");
    assert_eq!(bench.ask("POST", ASKS, &ask("a")).await.0, 201);
    assert_eq!(bench.crossings.take(), ["Asked alice"]);
    for (to, recorded) in [
        ("Pending", &[][..]),
        ("Accepted", &["Decided alice Accepted"]),
        ("Accepted", &[]),
        ("Running", &["Started alice Running"]),
        ("Succeeded", &["Ended alice Succeeded"]),
    ] {
        assert_eq!(bench.ask("PATCH", &status, &phase(to)).await.0, 200, "{to}");
        assert_eq!(bench.crossings.take(), recorded, "{to}");
    }
    let dry = format!("{ASKS}?dryRun=All");
    assert_eq!(bench.ask("POST", &dry, &ask("b")).await.0, 201);
    assert_eq!(bench.ask("POST", ASKS, &ask("a")).await.0, 409);
    assert_eq!(bench.crossings.take(), [""; 0], "what does not happen is not asked for");
}

#[tokio::test]
async fn nothing_happens_that_cannot_be_recorded() {
    let bench = Bench::new();
    assert_eq!(bench.ask("POST", ASKS, &ask("a")).await.0, 201);
    let (_, before) = bench.ask("GET", ASKS, "").await;
    bench.crossings.fails.store(true, Ordering::SeqCst);

    let (code, refused) = bench.ask("POST", ASKS, &ask("b")).await;
    let message = refused.str_at(&["message"]).unwrap();
    assert_eq!(code, 500);
    assert!(message.contains("the audit log cannot be written"), "{message}");
    let status = format!("{ASKS}/a/status");
    assert_eq!(bench.ask("PATCH", &status, &phase("Accepted")).await.0, 500);
    assert_eq!(bench.ask("GET", ASKS, "").await, (200, before), "nothing was stored");

    // What is not a stage needs no record.
    assert_eq!(bench.ask("PATCH", &status, &phase("Pending")).await.0, 200);
    bench.crossings.fails.store(false, Ordering::SeqCst);
    assert_eq!(bench.ask("POST", ASKS, &ask("b")).await.0, 201);
}

#[tokio::test]
async fn a_crossing_that_is_recorded_but_not_stored_is_recorded_as_that() {
    let bench = Bench::new();
    bench.engine.full.store(true, Ordering::SeqCst);
    assert_eq!(bench.ask("POST", ASKS, &ask("a")).await.0, 500);
    assert_eq!(bench.crossings.take(), ["Asked alice", "Ended alice NotCreated"]);
}

#[tokio::test]
async fn who_asked_is_what_the_server_says_whatever_the_client_says() {
    let bench = Bench::new();
    let forged = ask("a").replace(
        "\"name\"",
        &format!(
            "\"annotations\":{{\"{REQUESTER}\":\"{{\\\"user\\\":\\\"mallory\\\"}}\"}},\"name\""
        ),
    );
    let (code, made) = bench.ask("POST", ASKS, &forged).await;
    assert_eq!((code, &*requester(&made)), (201, "alice"));

    let path = format!("{ASKS}/a");
    let forge = format!(r#"{{"metadata":{{"annotations":{{"{REQUESTER}":"x"}}}}}}"#);
    let remove = format!(r#"{{"metadata":{{"annotations":{{"{REQUESTER}":null}}}}}}"#);
    let bare = r#"{"metadata":{"annotations":null}}"#;
    for patch in [&*forge, &*remove, bare] {
        for url in [path.clone(), format!("{path}/status")] {
            let (code, patched) = bench.ask("PATCH", &url, patch).await;
            assert_eq!((code, &*requester(&patched)), (200, "alice"), "{url} {patch}");
        }
    }
    let mut replacement = made.clone();
    replacement.remove(&["metadata", "annotations"]);
    replacement.remove(&["metadata", "resourceVersion"]);
    replacement.set(&["metadata", "resourceVersion"], {
        let (_, now) = bench.ask("GET", &path, "").await;
        now.str_at(&["metadata", "resourceVersion"]).unwrap().to_owned()
    });
    let (code, replaced) = bench.ask("PUT", &path, &replacement.to_string()).await;
    assert_eq!((code, &*requester(&replaced)), (200, "alice"));
}

#[tokio::test]
async fn a_status_comes_only_by_its_own_path() {
    let bench = Bench::new();
    let with_status =
        ask("a").replace("\"metadata\"", "\"status\":{\"phase\":\"Succeeded\"},\"metadata\"");
    let (_, made) = bench.ask("POST", ASKS, &with_status).await;
    assert!(made.get("status").is_none());
    let path = format!("{ASKS}/a");
    let (_, patched) = bench.ask("PATCH", &path, &phase("Succeeded")).await;
    assert!(patched.get("status").is_none());
    assert_eq!(bench.crossings.take(), ["Asked alice"]);
    let both = r#"{"spec":{"x":1},"status":{"phase":"Pending"}}"#;
    let (_, written) = bench.ask("PATCH", &format!("{path}/status"), both).await;
    assert!(written.get("spec").is_none());
    assert_eq!(written.str_at(&["status", "phase"]), Some("Pending"));
}
