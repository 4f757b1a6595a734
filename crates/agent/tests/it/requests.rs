//! A request's way, as its tenant and both audit logs see it.

use strait_machinery::json::Value;

use crate::harness::{Client, yaml};
use crate::site::{REQUESTS, Site};

const ALLOW: &str = "{name: demo, effect: allow, match: {workspaces: ['root:demo', 'root:other']}}";

fn request(name: &str, digit: u8) -> Value {
    let digest = format!("sha256:{}", digit.to_string().repeat(64));
    yaml(&format!(
        "{{apiVersion: signing.example.strait.dev/v1alpha1, kind: SigningRequest,
          metadata: {{name: {name}}}, spec: {{digest: '{digest}', keyName: dev}}}}"
    ))
}

async fn ask(client: &Client, name: &str, digit: u8) -> String {
    let made = client.post(REQUESTS, &request(name, digit)).await.expect(201);
    made.str_at(&["metadata", "uid"]).unwrap().to_owned()
}

async fn phase(client: &Client, name: &str, phase: &str) -> Value {
    let fits = |object: &Value| {
        let free = object.array_at(&["metadata", "finalizers"]).is_empty();
        let over = !matches!(phase, "Running");
        object.str_at(&["status", "phase"]) == Some(phase) && (free || !over)
    };
    client.wait(REQUESTS, name, fits).await
}

/// `True Succeeded`, of the condition of that type.
fn condition(object: &Value, kind: &str) -> String {
    let conditions = object.array_at(&["status", "conditions"]);
    let found = conditions.iter().find(|one| one.str_at(&["type"]) == Some(kind)).unwrap();
    format!("{} {}", found.str_at(&["status"]).unwrap(), found.str_at(&["reason"]).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_crosses_and_both_sides_keep_book() {
    let site = Site::new().await;
    let agent = site.agent(ALLOW).await;
    let demo = site.within("root:demo");
    site.service.hold();
    let uid = ask(&demo, "release-1", 1).await;
    let running = phase(&demo, "release-1", "Running").await;
    assert_eq!(condition(&running, "Succeeded"), "Unknown Running");
    assert_eq!(running.str_at(&["status", "completionTime"]), None);
    site.service.let_answer();
    let over = phase(&demo, "release-1", "Succeeded").await;
    assert_eq!(condition(&over, "Succeeded"), "True Succeeded");
    assert_eq!(over.str_at(&["status", "signature"]), Some("c2lnbmVk"));
    assert!(over.str_at(&["status", "completionTime"]).is_some());
    assert!(!over.to_string().contains("inside"), "only what the class names comes back");
    assert_eq!(site.service.asked().len(), 1);
    agent.stop().await;
    let [hub, own] = site.audited(&uid);
    assert_eq!(own, ["decided demo allowed", "started  http", "ended  Succeeded"]);
    assert!(hub[0].starts_with("asked"), "{hub:?}");
    assert!(hub.last().unwrap().starts_with("ended"), "{hub:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_no_rule_allows_is_rejected_without_a_word_of_the_policy() {
    let site = Site::new().await;
    let agent = site.agent("{name: wanted, effect: allow, match: {users: [somebody]}}").await;
    let demo = site.within("root:demo");
    let mut forged = request("release-1", 1);
    let requester = r#"{"user":"somebody"}"#;
    forged.set(&["metadata", "annotations", "requests.strait.dev/requester"], requester);
    demo.post(REQUESTS, &forged).await.expect(201);
    let over = phase(&demo, "release-1", "Rejected").await;
    assert_eq!(condition(&over, "Succeeded"), "False Rejected");
    assert_eq!(condition(&over, "Accepted"), "False Rejected");
    assert!(over.str_at(&["status", "completionTime"]).is_some());
    let said = over.get("status").unwrap().to_string();
    assert!(!said.contains("wanted") && !said.contains("somebody"), "{said}");
    assert!(site.service.asked().is_empty());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_name_in_two_workspaces_never_meet() {
    let site = Site::new().await;
    let agent = site.agent(ALLOW).await;
    let (demo, other) = (site.within("root:demo"), site.within("root:other"));
    let uids = [ask(&demo, "release-1", 1).await, ask(&other, "release-1", 2).await];
    for client in [&demo, &other] {
        phase(client, "release-1", "Succeeded").await;
    }
    let mut asked = site.service.asked();
    asked.sort();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains("sha256:111") && asked[1].contains("sha256:222"), "{asked:?}");
    demo.delete(&format!("{REQUESTS}/release-1")).await.expect(200);
    assert_eq!(other.get(&format!("{REQUESTS}/release-1")).await.status, 200);
    agent.stop().await;
    assert!(uids.iter().all(|uid| site.audited(uid)[1].len() == 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_while_no_agent_is_there_is_done_when_one_comes() {
    let site = Site::new().await;
    let demo = site.within("root:demo");
    ask(&demo, "release-1", 1).await;
    let waiting = demo.get(&format!("{REQUESTS}/release-1")).await.expect(200);
    assert!(matches!(waiting.str_at(&["status", "phase"]), None | Some("Pending")));
    let agent = site.agent(ALLOW).await;
    phase(&demo, "release-1", "Succeeded").await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_deleted_while_it_runs_goes_at_once_and_runs_once() {
    let site = Site::new().await;
    let agent = site.agent(ALLOW).await;
    let demo = site.within("root:demo");
    site.service.hold();
    let uid = ask(&demo, "release-1", 1).await;
    phase(&demo, "release-1", "Running").await;
    let path = format!("{REQUESTS}?watch=true&fieldSelector=metadata.name=release-1");
    let mut events = demo.watch(&path).await;
    assert!(demo.delete(&format!("{REQUESTS}/release-1")).await.status.is_success());
    while events.next().await.str_at(&["type"]) != Some("DELETED") {}
    // Another one of that name is another request.
    site.service.let_answer();
    site.service.let_answer();
    ask(&demo, "release-1", 2).await;
    phase(&demo, "release-1", "Succeeded").await;
    agent.stop().await;
    assert_eq!(site.service.asked().len(), 2);
    assert!(site.audited(&uid)[1].last().unwrap().starts_with("ended"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_stays_over_when_the_agent_starts_again() {
    let site = Site::new().await;
    let demo = site.within("root:demo");
    for (name, digit) in [("release-1", 1), ("release-2", 2)] {
        let agent = site.agent(ALLOW).await;
        ask(&demo, name, digit).await;
        phase(&demo, name, "Succeeded").await;
        agent.stop().await;
    }
    assert_eq!(site.service.asked().len(), 2);
}
