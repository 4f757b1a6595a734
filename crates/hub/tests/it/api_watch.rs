//! Following objects.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use strait_machinery::json::Value;

use crate::harness::{Client, Events, TestHub, names, revision, yaml};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn kind(event: &Value) -> &str {
    event.str_at(&["type"]).unwrap()
}

fn object(event: &Value) -> &Value {
    event.get("object").unwrap()
}

fn name(object: &Value) -> &str {
    object.str_at(&["metadata", "name"]).unwrap_or_default()
}

async fn make(client: &Client, name: &str, label: &str) -> Value {
    let map = format!("{{metadata: {{name: {name}, labels: {{l: {label}}}}}}}");
    client.post(MAPS, &yaml(&map)).await.expect(201)
}

/// Asserts the type and name of the next event and returns its object.
async fn next(events: &mut Events, expected: &str) -> Value {
    let event = events.next().await;
    assert_eq!(format!("{} {}", kind(&event), name(object(&event))), expected);
    object(&event).clone()
}

/// Makes, changes and deletes a few objects of this writer, each in turn.
async fn write_much(client: Client, writer: usize) {
    for round in 0..12 {
        let path = format!("{MAPS}/w{writer}-{}", round % 3);
        let map =
            format!("{{metadata: {{name: w{writer}-{}}}, data: {{r: '{round}'}}}}", round % 3);
        match round % 4 {
            3 => drop(client.delete(&path).await),
            _ if client.put(&path, &yaml(&map)).await.status == 200 => {}
            _ => drop(client.post(MAPS, &yaml(&map)).await.expect(201)),
        }
    }
}

#[tokio::test]
async fn a_list_and_the_events_after_it_give_the_state_under_many_writers() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for writer in 0..4 {
        make(&client, &format!("w{writer}-0"), "x").await;
    }
    let list = client.get(MAPS).await.expect(200);
    let mut last = revision(&list);
    let mut state: BTreeMap<String, Value> = list
        .array_at(&["items"])
        .iter()
        .map(|item| (name(item).to_owned(), item.clone()))
        .collect();
    let mut events = client.watch(&format!("{MAPS}?watch=true&resourceVersion={last}")).await;
    let writers = (0..4).map(|writer| write_much(client.clone(), writer));
    let follow = async {
        loop {
            let event = events.next().await;
            let object = object(&event);
            assert!(revision(object) > last, "revisions rise, and none comes twice");
            last = revision(object);
            let known = state.contains_key(name(object));
            match kind(&event) {
                "ADDED" => assert!(!known, "{event}"),
                "MODIFIED" | "DELETED" => assert!(known, "{event}"),
                other => panic!("{other}"),
            }
            if kind(&event) == "DELETED" {
                state.remove(name(object));
            } else {
                state.insert(name(object).to_owned(), object.clone());
            }
            if name(object) == "last" {
                return state;
            }
        }
    };
    let write = async {
        join_all(writers).await;
        make(&client, "last", "x").await;
    };
    let (state, ()) = tokio::join!(follow, write);
    let list = client.get(MAPS).await.expect(200);
    let found: Vec<_> = state.into_values().collect();
    assert_eq!(list.array_at(&["items"]), found);
}

#[tokio::test]
async fn a_watch_from_an_older_revision_replays_what_came_after() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let first = make(&client, "a", "x").await;
    client.merge(&format!("{MAPS}/a"), &yaml("{data: {k: v}}")).await.expect(200);
    client.delete(&format!("{MAPS}/a")).await.expect(200);
    make(&client, "a", "x").await;
    let hub = hub.restart().await;
    let client = hub.admin();
    let mut events =
        client.watch(&format!("{MAPS}?watch=true&resourceVersion={}", revision(&first))).await;
    next(&mut events, "MODIFIED a").await;
    let deleted = next(&mut events, "DELETED a").await;
    assert_eq!(deleted.str_at(&["data", "k"]), Some("v"), "what it last was");
    let again = next(&mut events, "ADDED a").await;
    assert!(revision(&again) > revision(&deleted));
    assert_ne!(again.at(&["metadata", "uid"]), first.at(&["metadata", "uid"]));
}

#[tokio::test]
async fn a_watch_without_a_revision_begins_with_the_state() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    make(&client, "a", "x").await;
    for query in ["", "&resourceVersion=0"] {
        let mut events = client.watch(&format!("{MAPS}?watch=true&labelSelector=l{query}")).await;
        next(&mut events, "ADDED a").await;
    }
    let mut events = client
        .watch(&format!(
            "{MAPS}?watch=true&labelSelector=l&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        ))
        .await;
    next(&mut events, "ADDED a").await;
    let end = next(&mut events, "BOOKMARK ").await;
    let mark = ["metadata", "annotations", "k8s.io/initial-events-end"];
    assert_eq!(end.str_at(&mark), Some("true"));
    assert_eq!(revision(&end), revision(&client.get(MAPS).await.expect(200)));
    let made = make(&client, "b", "x").await;
    assert_eq!(next(&mut events, "ADDED b").await, made);
}

#[tokio::test]
async fn objects_enter_and_leave_a_selection() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    make(&client, "a", "x").await;
    make(&client, "b", "z").await;
    let mut events = client.watch(&format!("{MAPS}?watch=true&labelSelector=l%3Dx")).await;
    next(&mut events, "ADDED a").await;
    let relabel = |label: &str| yaml(&format!("{{metadata: {{labels: {{l: {label}}}}}}}"));
    let left = client.merge(&format!("{MAPS}/a"), &relabel("z")).await.expect(200);
    let deleted = next(&mut events, "DELETED a").await;
    assert_eq!(deleted.str_at(&["metadata", "labels", "l"]), Some("x"), "as it was when it fitted");
    assert_eq!(revision(&deleted), revision(&left));
    client.merge(&format!("{MAPS}/b"), &relabel("x")).await.expect(200);
    next(&mut events, "ADDED b").await;
    client.merge(&format!("{MAPS}/b"), &yaml("{data: {k: v}}")).await.expect(200);
    next(&mut events, "MODIFIED b").await;
    client.delete(&format!("{MAPS}/a")).await.expect(200);
    client.delete(&format!("{MAPS}/b")).await.expect(200);
    next(&mut events, "DELETED b").await;
}

#[tokio::test]
async fn a_watch_of_one_name_sees_that_one() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    make(&client, "a", "x").await;
    let path = "?watch=true&fieldSelector=metadata.name%3Db";
    let mut here = client.watch(&format!("{MAPS}{path}")).await;
    let mut everywhere = client.watch(&format!("/api/v1/configmaps{path}")).await;
    make(&client, "b", "x").await;
    make(&client, "c", "x").await;
    client.delete(&format!("{MAPS}/b")).await.expect(200);
    for events in [&mut here, &mut everywhere] {
        next(events, "ADDED b").await;
        next(events, "DELETED b").await;
    }
}

#[tokio::test]
async fn a_watch_may_show_tables_or_metadata_alone() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    make(&client, "a", "x").await;
    let path = format!("{MAPS}?watch=true&labelSelector=l");
    let of = |kind: &str| {
        client.header("accept", &format!("application/json;as={kind};v=v1;g=meta.k8s.io"))
    };
    let mut tables = of("Table").watch(&path).await;
    let mut metadata = of("PartialObjectMetadata").watch(&path).await;
    let first = tables.next().await;
    assert_eq!(object(&first).array_at(&["columnDefinitions"]).len(), 3);
    assert_eq!(object(&first).array_at(&["rows"])[0].array_at(&["cells"])[0].as_str(), Some("a"));
    assert_eq!(object(&metadata.next().await).str_at(&["kind"]), Some("PartialObjectMetadata"));
    make(&client, "b", "x").await;
    let second = tables.next().await;
    assert!(object(&second).array_at(&["columnDefinitions"]).is_empty(), "columns come once");
    assert!(object(&metadata.next().await).get("data").is_none());
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_with_a_bookmark_before() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    let made = make(&client, "a", "x").await;
    let path = format!("{MAPS}?watch=true&resourceVersion={}", revision(&made));
    let mut plain = client.watch(&format!("{path}&timeoutSeconds=1")).await;
    let mut marked =
        client.watch(&format!("{path}&timeoutSeconds=3&allowWatchBookmarks=true")).await;
    let other =
        client.post("/api/v1/namespaces/default/secrets", &yaml("{metadata: {name: s}}")).await;
    assert!(plain.more().await.is_none());
    let mark = next(&mut marked, "BOOKMARK ").await;
    assert!(revision(&mark) >= revision(&other.expect(201)), "quiet watches move on too");
    assert!(marked.more().await.is_none());
}

#[tokio::test]
async fn watches_end_when_the_hub_stops() {
    let mut hub = TestHub::start().await;
    let mut events = hub.admin().watch(&format!("{MAPS}?watch=true&labelSelector=none")).await;
    let (_, end) = tokio::join!(hub.stop(), events.more());
    assert!(end.is_none());
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_the_rights_that_it_was_opened_with() {
    let hub = TestHub::start().await;
    let admin = hub.admin();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = "{metadata: {name: watcher}, rules: [
        {apiGroups: [''], resources: [configmaps], resourceNames: [a], verbs: [watch]},
        {nonResourceURLs: [/], verbs: [access]}]}";
    admin.post(&format!("{rbac}/clusterroles"), &yaml(role)).await.expect(201);
    for user in ["stays", "goes"] {
        let group = "apiGroup: rbac.authorization.k8s.io";
        let binding = format!(
            "{{metadata: {{name: {user}}}, roleRef: {{{group}, kind: ClusterRole, name: watcher}},
               subjects: [{{{group}, kind: User, name: {user}}}]}}"
        );
        admin.post(&format!("{rbac}/clusterrolebindings"), &yaml(&binding)).await.expect(201);
    }
    // Rights on the one object that the selector names.
    let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Da");
    let mut stays = hub.client("stays", &[]).watch(&path).await;
    let mut goes = hub.client("goes", &[]).watch(&path).await;
    admin.delete(&format!("{rbac}/clusterrolebindings/goes")).await.expect(200);
    assert!(goes.more().await.is_none());
    make(&admin, "a", "x").await;
    next(&mut stays, "ADDED a").await;
}

#[tokio::test]
async fn options_of_a_watch_that_make_no_sense_are_refused() {
    let hub = TestHub::start().await;
    let client = hub.admin();
    for (query, code, reason) in [
        ("sendInitialEvents=true", 422, "Invalid"),
        ("resourceVersionMatch=NotOlderThan&resourceVersion=1", 422, "Invalid"),
        ("timeoutSeconds=x", 400, "BadRequest"),
        ("resourceVersion=x", 400, "BadRequest"),
        ("labelSelector=a%20b", 400, "BadRequest"),
        ("fieldSelector=data.k%3Dv", 400, "BadRequest"),
    ] {
        client.get(&format!("{MAPS}?watch=true&{query}")).await.refused(code, reason);
    }
    let yaml = client.header("accept", "application/yaml");
    assert_eq!(yaml.get(&format!("{MAPS}?watch=true")).await.status, 406);
    let named = client.get(&format!("{MAPS}/kube-root-ca.crt?watch=true")).await.expect(200);
    assert_eq!(name(&named), "kube-root-ca.crt", "one object is read, not followed");
    assert_eq!(names(&client.get(MAPS).await.expect(200)).len(), 1);
}
