//! Revisions that the store has forgotten.

use std::sync::Arc;

use strait_machinery::json::Value;
use strait_store::Options;
use strait_store::engine::Engine as _;
use strait_types::Revision;

use crate::harness::{ASKS, Bench, Fallible, ask};

/// A store that keeps no history, with the asks `a` to `c` in it.
async fn forgetful() -> Bench {
    let options = Options { history_bytes: 0, ..Options::default() };
    let bench = Bench::over(Arc::new(Fallible::default()), options);
    for name in ["a", "b", "c"] {
        assert_eq!(bench.ask("POST", ASKS, &ask(name)).await.0, 201);
    }
    bench
}

fn names(list: &Value) -> String {
    let name = |item: &Value| item.str_at(&["metadata", "name"]).unwrap().to_owned();
    list.array_at(&["items"]).iter().map(name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_list_whose_state_is_gone_says_how_to_go_on() {
    let bench = forgetful().await;
    let (_, page) = bench.ask("GET", &format!("{ASKS}?limit=1"), "").await;
    let token = page.str_at(&["metadata", "continue"]).unwrap();
    bench.ask("DELETE", &format!("{ASKS}/b"), "").await;
    bench.ask("POST", ASKS, &ask("d")).await;

    let (code, expired) = bench.ask("GET", &format!("{ASKS}?limit=1&continue={token}"), "").await;
    assert_eq!((code, expired.str_at(&["reason"])), (410, Some("Expired")));
    let message = expired.str_at(&["message"]).unwrap();
    assert!(message.starts_with("The provided continue parameter is too old"), "{message}");
    let token = expired.str_at(&["metadata", "continue"]).unwrap();
    let (code, rest) = bench.ask("GET", &format!("{ASKS}?continue={token}"), "").await;
    assert_eq!((code, &*names(&rest)), (200, "c d"), "what is there now, behind the first page");
}

#[tokio::test]
async fn an_exact_list_of_a_state_that_is_gone_is_refused() {
    let bench = forgetful().await;
    let exact = format!("{ASKS}?resourceVersionMatch=Exact&resourceVersion=1");
    let (code, expired) = bench.ask("GET", &exact, "").await;
    assert_eq!((code, expired.str_at(&["reason"])), (410, Some("Expired")));
    let newer = format!("{ASKS}?resourceVersionMatch=NotOlderThan&resourceVersion=1");
    assert_eq!(bench.ask("GET", &newer, "").await.0, 200);
}

#[tokio::test]
async fn a_watch_from_a_revision_that_is_gone_is_told_so_in_the_stream() {
    let engine = Arc::new(Fallible::default());
    let first = Bench::over(engine.clone(), Options::default());
    for name in ["a", "b", "c"] {
        assert_eq!(first.ask("POST", ASKS, &ask(name)).await.0, 201);
    }
    first.server.registry().store().close();
    while engine.compact(Revision(3), 100).unwrap() {}

    let bench = Bench::over(engine, Options::default());
    let (code, stream) =
        bench.read("GET", &format!("{ASKS}?watch=true&resourceVersion=1"), "").await;
    assert_eq!(code, 200, "an error before the stream would be tried again for ever");
    let lines: Vec<_> = stream.lines().collect();
    assert_eq!(lines.len(), 1, "{stream}");
    let event = strait_machinery::json::parse(lines[0].as_bytes()).unwrap();
    assert_eq!(event.str_at(&["type"]), Some("ERROR"));
    assert_eq!(event.str_at(&["object", "reason"]), Some("Expired"));
    assert_eq!(event.at(&["object", "code"]).and_then(Value::as_i64), Some(410));

    bench.stop();
    let (code, stream) =
        bench.read("GET", &format!("{ASKS}?watch=true&resourceVersion=3"), "").await;
    assert_eq!((code, &*stream), (200, ""), "the newest is not too old");
}
