//! Events are found, shown, replayed and purged.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use strait_hooks::Position;
use strait_hooks::state::{Backend, Change};

use super::scene::{Scene, at};

#[tokio::test]
async fn events_are_selected_newest_first() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    for (query, expected) in [
        ("", &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1][..]),
        ("id=3&id=7&id=99", &[7, 3]),
        ("delivery=delivery-4", &[4]),
        ("source=forge&limit=2", &[10, 9]),
        ("source=other", &[]),
        ("event=push&since=5m", &[9, 7, 5]),
        ("action=opened&until=7m", &[2]),
        ("repository=acme/o*", &[9, 7, 5, 3, 1]),
        ("since=2026-11-21T11:58:00Z", &[10, 9, 8]),
        ("backend=one&state=dead", &[7, 6]),
        ("backend=one&state=waiting", &[10, 9, 8]),
        ("backend=one&state=delivered", &[5, 4, 3, 2, 1]),
        ("backend=two&state=delivered", &[]),
        ("state=dead&state=delivered&event=push", &[7, 5, 3, 1]),
        ("state=purged", &[]),
    ] {
        assert_eq!(api.ids(query).await, expected, "{query}");
    }
    for (token, method, path) in [
        ("viewer", Method::GET, "/events?backend=one&backend=unknown"),
        ("repairer", Method::POST, "/replay?backend=unknown"),
    ] {
        let (status, why) = api.fails(token, method, path).await;
        assert_eq!((status, &*why), (400, "no backend is called \"unknown\"; there are: one, two"));
    }
    let (status, why) = api.fails("viewer", Method::GET, "/events?state=lost&limit=0").await;
    assert_eq!(status, 400);
    assert!(why.contains("state: \"lost\"") && why.contains("limit: \"0\""), "{why}");
}

#[tokio::test]
async fn a_list_goes_on_where_a_page_ended() {
    let scene = Scene::new().await;
    scene.append(1_200, |_| at(0)).await;
    let api = scene.serve().await;
    let (mut found, mut next) = (Vec::new(), String::new());
    loop {
        let list = api.get(&format!("/events?event=push&limit=37{next}")).await;
        let items = list["items"].as_array().unwrap().clone();
        found.extend(items.iter().map(|item| item["id"].as_u64().unwrap()));
        let Some(token) = list["metadata"]["continue"].as_str() else { break };
        next = format!("&continue={token}");
    }
    let expected: Vec<u64> = (1..=1_210).rev().filter(|id| id % 2 == 1).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn an_event_is_shown_with_what_became_of_it_and_nothing_secret() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let event = api.get("/events/8").await;
    let waits = json!({"name": "two", "state": "waiting"});
    let expected = json!([
        {"name": "one", "state": "waiting", "attempts": 2, "why": "status 500",
         "until": "2026-11-21T12:00:00.000Z"},
        waits,
    ]);
    assert_eq!(event["backends"], expected);
    for (member, expected) in [
        ("id", json!(8)),
        ("delivery", json!("delivery-8")),
        ("received", json!("2026-11-21T11:58:00.000Z")),
        ("event", json!("pull_request")),
        ("action", json!("opened")),
        ("repository", json!("acme/two")),
        ("contentType", json!("application/json")),
    ] {
        assert_eq!(event[member], expected, "{member}");
    }
    assert_eq!(api.get("/events/6").await["backends"][0]["why"], "rejected with status 404");
    let dead = api.get("/events/7").await;
    assert_eq!(dead["backends"][0]["why"], "too old; last: no answer in time");
    let status = api.get("/status").await;
    assert_eq!(status["items"][0]["url"], "https://one.example/hook");
    assert_eq!(status["items"][0]["dead"], 2);
    let all = format!("{event}{status}{}", api.get("/events").await);
    assert!(!all.contains("canary") && !all.contains("secret"), "{all}");
    for id in ["11", "0", "x", "08", "-1", "99999999999999999999"] {
        let (status, _) = api.fails("viewer", Method::GET, &format!("/events/{id}")).await;
        assert_eq!(status, 404, "{id}");
    }
}

#[tokio::test]
async fn a_body_is_given_out_as_it_came_and_audited_before() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let response = api.call("reader", Method::GET, "/payloads/3", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    let expected = super::scene::event(3, at(7)).body;
    assert_eq!(response.body(), &expected);
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-content-type-options", "nosniff"),
        ("content-disposition", "attachment; filename=\"event-3\""),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(scene.audited(), ["token:reader started: payloads 3 read"]);
    let (status, _) = api.fails("reader", Method::GET, "/payloads/11").await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn without_an_audit_line_nothing_happens() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    scene.kept.audit.close().await;
    for (token, method, path) in [
        ("reader", Method::GET, "/payloads/3"),
        ("repairer", Method::POST, "/replay?id=6"),
        ("repairer", Method::POST, "/purge?id=6"),
    ] {
        assert_eq!(api.fails(token, method, path).await.0, 503, "{path}");
    }
    assert_eq!(api.ids("backend=one&state=dead").await, [7, 6]);
}

fn counts(line: &Value) -> (u64, u64) {
    assert_eq!(line["done"], true, "{line}");
    (line["events"].as_u64().unwrap(), line["deliveries"].as_u64().unwrap())
}

#[tokio::test]
async fn what_is_selected_is_replayed_once_it_is_not_only_counted() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let (status, why) = api.fails("repairer", Method::POST, "/replay").await;
    assert_eq!((status, why.contains("all=true")), (400, true), "{why}");
    let dead = "/replay?backend=one&state=dead";
    assert_eq!(counts(&api.change(&format!("{dead}&dryRun=true")).await), (2, 2));
    assert_eq!(api.ids("backend=one&state=dead").await, [7, 6]);
    assert!(scene.audited().is_empty());
    assert_eq!(counts(&api.change(dead).await), (2, 2));
    assert!(api.ids("backend=one&state=dead").await.is_empty());
    assert_eq!(api.ids("backend=one&state=waiting").await, [10, 9, 8, 7, 6]);
    assert_eq!(
        scene.audited(),
        [
            "token:repairer started: events  replay?backend=one&state=dead",
            "token:repairer ended: events  replay done: 2 events, 2 deliveries",
        ]
    );
    // What was delivered is delivered again, too; what waits is not; facts select as in lists.
    assert_eq!(counts(&api.change("/replay?repository=acme/one&since=8m").await), (2, 2));
    assert_eq!(counts(&api.change("/replay?all").await), (3, 3));
    assert_eq!(counts(&api.change("/replay?all").await), (0, 0));
}

#[tokio::test]
async fn a_backend_that_came_later_gets_old_events_when_it_is_named() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    let added =
        api.call("registrar", Method::POST, "/backends", r#"{"url":"https://late.example"}"#);
    assert_eq!(added.await.status(), StatusCode::OK);
    let late = scene.fake.backends.lock()[2].name.clone();
    let (backend, from) = (Backend::of(&late), Position(11));
    scene.kept.state.record(&[Change::Added { backend, from }]).unwrap();
    assert_eq!(counts(&api.change("/replay?id=2").await), (1, 1));
    assert_eq!(counts(&api.change(&format!("/replay?id=2&backend={late}")).await), (1, 1));
    assert_eq!(api.ids(&format!("backend={late}&state=waiting")).await, [2]);
}

#[tokio::test]
async fn a_purge_of_whole_events_takes_them_and_their_bodies_away() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    assert_eq!(api.fails("repairer", Method::POST, "/purge").await.0, 400);
    assert_eq!(counts(&api.change("/purge?id=5&id=6").await), (2, 3));
    for id in [5, 6] {
        let (status, _) = api.fails("reader", Method::GET, &format!("/payloads/{id}")).await;
        assert_eq!(status, 410);
    }
    // What it was is known; what it said is not.
    let event = api.get("/events/5").await;
    assert_eq!((&event["purged"], &event["repository"]), (&json!(true), &Value::Null));
    let delivered = json!({"name": "one", "state": "delivered"});
    let purged = json!({"name": "two", "state": "purged"});
    assert_eq!(event["backends"], json!([delivered, purged]));
    assert_eq!(api.ids("state=purged").await, [6, 5]);
    assert!(!api.ids("backend=two&state=waiting").await.contains(&5));
    // Nothing brings it back.
    assert_eq!(counts(&api.change("/replay?id=5&id=6").await), (0, 0));
    assert_eq!(counts(&api.change("/purge?id=5").await), (0, 0));
}

#[tokio::test]
async fn a_purge_at_a_backend_leaves_the_event() {
    let scene = Scene::new().await;
    let api = scene.serve().await;
    assert_eq!(counts(&api.change("/purge?state=dead").await), (2, 2));
    assert_eq!(api.ids("state=purged").await, [7, 6]);
    assert_eq!(api.ids("backend=two&state=waiting").await.len(), 10);
    let response = api.call("reader", Method::GET, "/payloads/6", "").await;
    assert_eq!(response.status(), StatusCode::OK);
    // What is delivered cannot be taken out.
    assert_eq!(counts(&api.change("/purge?backend=one&state=delivered").await), (0, 0));
}

#[tokio::test]
async fn what_a_filter_kept_away_is_neither_delivered_nor_lost() {
    let scene = Scene::new().await;
    let filtered = |first, last| Change::Unwanted {
        backend: Backend::of("two"),
        first: Position(first),
        last: Position(last),
    };
    scene.kept.state.record(&[filtered(2, 4), filtered(9, 9)]).unwrap();
    let api = scene.serve().await;
    assert_eq!(api.ids("state=filtered").await, [9, 4, 3, 2]);
    assert_eq!(api.ids("backend=two&state=delivered").await, [0; 0]);
    assert_eq!(api.ids("backend=one&state=filtered").await, [0; 0]);
    let event = api.get("/events/9").await;
    let at = [("one", "waiting"), ("two", "filtered")];
    let at = at.map(|(name, state)| json!({"name": name, "state": state}));
    assert_eq!(event["backends"], json!(at));
    // There is nothing to take out; asked for anew, its filter decides once more.
    assert_eq!(counts(&api.change("/purge?state=filtered").await), (0, 0));
    assert_eq!(counts(&api.change("/replay?backend=two&state=filtered").await), (4, 4));
    assert_eq!(api.ids("state=filtered").await, [0; 0]);
}
