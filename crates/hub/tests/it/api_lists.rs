//! Lists: pages, selectors, revisions.

use strait_machinery::json::Value;

use crate::harness::{Client, TestHub, names, revision, yaml};

const SECRETS: &str = "/api/v1/namespaces/space/secrets";

/// A namespace with objects `a` to `g`, each labelled by its name and by whether its place is odd.
async fn seven(hub: &TestHub) -> Client {
    let client = hub.admin();
    client.post("/api/v1/namespaces", &yaml("{metadata: {name: space}}")).await.expect(201);
    for (at, name) in ["a", "b", "c", "d", "e", "f", "g"].iter().enumerate() {
        let odd = if at % 2 == 1 { "yes" } else { "no" };
        let secret =
            format!("{{metadata: {{name: {name}, labels: {{is: {name}, odd: '{odd}'}}}}}}");
        client.post(SECRETS, &yaml(&secret)).await.expect(201);
    }
    client
}

fn token(list: &Value) -> &str {
    list.str_at(&["metadata", "continue"]).unwrap()
}

#[tokio::test]
async fn pages_are_of_one_state_whatever_happens_meanwhile() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let all = client.get(SECRETS).await.expect(200);
    let mut page = client.get(&format!("{SECRETS}?limit=3")).await.expect(200);
    let first = revision(&page);
    let mut items = page.array_at(&["items"]).to_vec();
    assert_eq!(page.at(&["metadata", "remainingItemCount"]).and_then(Value::as_i64), Some(4));

    client.delete(&format!("{SECRETS}/e")).await.expect(200);
    client.merge(&format!("{SECRETS}/f"), &yaml("{stringData: {k: v}}")).await.expect(200);
    client.post(SECRETS, &yaml("{metadata: {name: dd}}")).await.expect(201);

    while page.at(&["metadata", "continue"]).is_some() {
        page =
            client.get(&format!("{SECRETS}?limit=3&continue={}", token(&page))).await.expect(200);
        assert_eq!(revision(&page), first);
        items.extend_from_slice(page.array_at(&["items"]));
    }
    assert!(page.at(&["metadata", "remainingItemCount"]).is_none());
    assert_eq!(items, all.array_at(&["items"]));
    let now = names(&client.get(SECRETS).await.expect(200));
    assert_eq!(now, ["a", "b", "c", "d", "dd", "f", "g"]);
}

#[tokio::test]
async fn a_page_that_holds_everything_is_the_last() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    for (query, count, remaining) in [
        ("limit=7", 7, None),
        ("limit=6", 6, Some(1)),
        ("limit=0", 7, None),
        ("limit=2&labelSelector=odd%3Dyes", 2, None),
        ("limit=3&resourceVersion=0", 7, None),
    ] {
        let list = client.get(&format!("{SECRETS}?{query}")).await.expect(200);
        assert_eq!(names(&list).len(), count, "{query}");
        let counted = list.at(&["metadata", "remainingItemCount"]).and_then(Value::as_i64);
        assert_eq!(counted, remaining, "{query}");
    }
}

#[tokio::test]
async fn a_token_goes_on_with_its_own_list_only() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    client.post("/api/v1/namespaces", &yaml("{metadata: {name: m}}")).await.expect(201);
    let page = client.get(&format!("{SECRETS}?limit=3")).await.expect(200);
    let good = token(&page).to_owned();
    let mut tampered = good.clone().into_bytes();
    let middle = tampered.len() / 2;
    tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let cut = &good[..good.len() - 4];
    for (path, token) in [
        (SECRETS, &*tampered),
        (SECRETS, cut),
        (SECRETS, "x"),
        (SECRETS, "%00"),
        ("/api/v1/namespaces/space/configmaps", &*good),
        ("/api/v1/namespaces/m/secrets", &*good),
        ("/api/v1/secrets", &*good),
    ] {
        let answer = client.get(&format!("{path}?limit=3&continue={token}")).await;
        let message = answer.refused(400, "BadRequest");
        assert!(message.contains("continue key is not valid"), "{path}: {message}");
    }
    let narrowed = format!("{SECRETS}?limit=3&labelSelector=odd%3Dyes&continue={good}");
    client.get(&narrowed).await.refused(400, "BadRequest");
    client.get(&format!("{SECRETS}?limit=3&continue={good}")).await.expect(200);
}

#[tokio::test]
async fn a_token_is_of_no_use_in_another_workspace() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let workspaces = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
    client
        .post(
            workspaces,
            &yaml(
                "{apiVersion: tenancy.kcp.io/v1alpha1, kind: Workspace, metadata: {name: other}}",
            ),
        )
        .await
        .expect(201);
    let ready = |workspace: &Value| workspace.str_at(&["status", "phase"]) == Some("Ready");
    client.wait(workspaces, "other", ready).await;
    let other = client.within("root:other");
    other.post("/api/v1/namespaces", &yaml("{metadata: {name: space}}")).await.expect(201);
    let page = client.get(&format!("{SECRETS}?limit=3")).await.expect(200);
    let foreign = format!("{SECRETS}?limit=3&continue={}", token(&page));
    other.get(&foreign).await.refused(400, "BadRequest");
    client.get(&foreign).await.expect(200);
}

#[tokio::test]
async fn tokens_outlive_a_restart() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let page = client.get(&format!("{SECRETS}?limit=3")).await.expect(200);
    let hub = hub.restart().await;
    let rest = hub.admin().get(&format!("{SECRETS}?continue={}", token(&page))).await.expect(200);
    assert_eq!(names(&rest), ["d", "e", "f", "g"]);
}

#[tokio::test]
async fn selectors_narrow_a_list() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    for (query, expected) in [
        ("labelSelector=odd%3Dyes", "b d f"),
        ("labelSelector=odd!%3Dyes", "a c e g"),
        ("labelSelector=is+in+(a,b),odd%3Dno", "a"),
        ("labelSelector=is%20notin%20(a,b,c)", "d e f g"),
        ("labelSelector=!is", ""),
        ("labelSelector=is,odd", "a b c d e f g"),
        ("labelSelector=none", ""),
        ("fieldSelector=metadata.name%3Dc", "c"),
        ("fieldSelector=metadata.name!%3Dc", "a b d e f g"),
        ("fieldSelector=metadata.name%3Dc,metadata.namespace%3Dspace", "c"),
        ("fieldSelector=metadata.name%3Dc&labelSelector=odd%3Dyes", ""),
    ] {
        let query = query.replace('+', "%20");
        let list = client.get(&format!("{SECRETS}?{query}")).await.expect(200);
        assert_eq!(names(&list).join(" "), expected, "{query}");
    }
    for (query, part) in [
        ("labelSelector=a%20b", "unable to parse requirement"),
        ("labelSelector=a%3D%3D%3Db", "unable to parse requirement"),
        ("labelSelector=a%20in%20(", "unable to parse requirement"),
        ("fieldSelector=data.k%3Dv", "field label not supported: data.k"),
        ("fieldSelector=metadata.name", "invalid selector"),
    ] {
        let message = client.get(&format!("{SECRETS}?{query}")).await.refused(400, "BadRequest");
        assert!(message.contains(part), "{query}: {message}");
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let page = client.get(&format!("{SECRETS}?limit=1")).await.expect(200);
    let with_token = format!("continue={}&resourceVersion=5", token(&page));
    for (query, code, reason) in [
        ("limit=x", 400, "BadRequest"),
        ("timeoutSeconds=x", 400, "BadRequest"),
        ("timeout=x", 400, "BadRequest"),
        ("resourceVersion=x", 400, "BadRequest"),
        (&*with_token, 400, "BadRequest"),
        ("resourceVersionMatch=Exact", 422, "Invalid"),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422, "Invalid"),
        ("resourceVersionMatch=Sometimes&resourceVersion=1", 422, "Invalid"),
        ("sendInitialEvents=true", 422, "Invalid"),
    ] {
        client.get(&format!("{SECRETS}?{query}")).await.refused(code, reason);
    }
}

#[tokio::test]
async fn a_list_can_be_of_an_older_state() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let before = client.get(SECRETS).await.expect(200);
    client.delete(&format!("{SECRETS}/a")).await.expect(200);
    let exact =
        format!("{SECRETS}?resourceVersionMatch=Exact&resourceVersion={}", revision(&before));
    assert_eq!(client.get(&exact).await.expect(200), before);
    let newer = exact.replace("Exact", "NotOlderThan");
    assert_eq!(names(&client.get(&newer).await.expect(200)).len(), 6);
}

#[tokio::test]
async fn a_revision_that_is_still_to_come_is_waited_for_and_then_refused() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let next = revision(&client.get(SECRETS).await.expect(200)) + 1;
    let later = format!("{SECRETS}?resourceVersion={next}");
    let first = format!("{SECRETS}/a");
    let (list, _) = tokio::join!(client.get(&later), client.delete(&first));
    assert_eq!(names(&list.expect(200)).len(), 6);

    let never = client.get(&format!("{SECRETS}?resourceVersion=999999999")).await;
    let message = never.refused(504, "Timeout");
    assert!(message.starts_with("Timeout: Too large resource version: 999999999"), "{message}");
    let status = never.json();
    let cause = &status.array_at(&["details", "causes"])[0];
    assert_eq!(cause.str_at(&["reason"]), Some("ResourceVersionTooLarge"));
    assert_eq!(never.headers["retry-after"], "1");
}

#[tokio::test]
async fn large_lists_are_whole_and_compressed_where_wanted() {
    let hub = TestHub::start().await;
    let client = seven(&hub).await;
    let filler = "x".repeat(100_000);
    for name in ["big-one", "big-two", "big-three"] {
        let secret = format!("{{metadata: {{name: {name}}}, stringData: {{k: {filler}}}}}");
        client.post(SECRETS, &yaml(&secret)).await.expect(201);
    }
    let plain = client.get(SECRETS).await;
    assert_eq!(names(&plain.expect(200)).len(), 10);
    assert!(!plain.headers.contains_key("content-encoding"));
    let packed = client.header("accept-encoding", "gzip").get(SECRETS).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.len() < plain.body.len() / 10);
}
