//! A store without space takes no writes, says so, and is read as before.

use std::sync::atomic::Ordering;

use crate::harness::{ASKS, Bench, ask};

#[tokio::test]
async fn writes_fail_clearly_and_reads_go_on_while_there_is_no_space() {
    let bench = Bench::new();
    assert_eq!(bench.ask("POST", ASKS, &ask("a")).await.0, 201);
    let before = bench.ask("GET", ASKS, "").await;
    bench.engine.full.store(true, Ordering::SeqCst);
    let path = format!("{ASKS}/a");
    let label = r#"{"metadata":{"labels":{"l":"x"}}}"#;
    for (method, url, body) in
        [("POST", ASKS, &*ask("b")), ("PATCH", &*path, label), ("DELETE", &*path, "")]
    {
        let (code, status) = bench.ask(method, url, body).await;
        let message = status.str_at(&["message"]).unwrap();
        assert_eq!(code, 500, "{method}");
        assert!(message.contains("no space left, nothing was written"), "{method}: {message}");
    }
    assert_eq!(bench.ask("GET", ASKS, "").await, before);
    assert_eq!(bench.ask("GET", &path, "").await.0, 200);

    bench.engine.full.store(false, Ordering::SeqCst);
    assert_eq!(bench.ask("POST", ASKS, &ask("b")).await.0, 201);
    assert_eq!(bench.ask("PATCH", &path, label).await.0, 200);
}
