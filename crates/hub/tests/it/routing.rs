//! Which instance gets a stream, and which streams nobody gets.

use crate::credentials::SERVICES;
use crate::fake_agent::{Acme, CI, FakeAgent, ask};
use crate::harness::{Answer, PATIENCE, yaml};
use crate::joining::AGENTS;
use crate::services::offer;

/// Asserts an answer of the hub's, in a service's place.
#[track_caller]
fn told(answer: &Answer, code: u16, reason: &str) {
    let said = answer.headers.get("x-strait-error").map(|value| value.to_str().unwrap());
    assert_eq!((answer.status.as_u16(), said), (code, Some(reason)), "{}", answer.text());
}

#[tokio::test]
async fn an_instance_that_comes_back_with_an_old_file_gets_nothing() {
    let acme = Acme::new().await;
    let (first, second) = (acme.install().await, acme.install().await);
    let mut old = FakeAgent::connect(&first, &[offer("ci", "h1")]).await;
    let mut new = FakeAgent::connect(&second, &[offer("ci", "h1")]).await;
    acme.alice.wait(SERVICES, "ci.smith", |_| true).await;
    new.offer(&[offer("ci", "h2")]).await;
    old.leave().await;
    old = FakeAgent::connect(&first, &[offer("ci", "h1")]).await;
    for _ in 0..20 {
        assert_eq!(ask(&acme.alice, &mut new).await.status, 200);
    }
    assert_eq!(old.waiting(), 0);
    // It reads the new one: then it is as good as the other.
    old.offer(&[offer("ci", "h2")]).await;
    new.leave().await;
    assert_eq!(ask(&acme.alice, &mut old).await.status, 200);
}

#[tokio::test]
async fn what_an_agent_may_do_holds_for_the_next_request() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let smith = format!("{AGENTS}/smith");
    let stays = tokio::join!(acme.alice.open(http::Method::GET, CI, "".into()), agent.answer(200));
    for (rule, undo, code, reason) in [
        ("{services: {allow: ['tcp/*']}}", "{services: {allow: ['*']}}", 503, "ServiceWithdrawn"),
        ("{drain: true}", "{drain: false}", 503, "NotAccepted"),
        ("{suspended: true}", "{suspended: false}", 503, "AgentOffline"),
    ] {
        assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
        acme.alice.merge(&smith, &yaml(&format!("{{spec: {rule}}}"))).await.expect(200);
        told(&acme.alice.get(CI).await, code, reason);
        assert_eq!(agent.waiting(), 0, "{rule}");
        acme.alice.merge(&smith, &yaml(&format!("{{spec: {undo}}}"))).await.expect(200);
    }
    drop(stays);
}

#[tokio::test]
async fn a_service_runs_no_more_at_once_than_its_object_says() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let ci = format!("{SERVICES}/ci.smith");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {concurrent: 1}}}")).await.expect(200);
    let opened = acme.alice.open(http::Method::GET, CI, "".into());
    let (response, stream) = tokio::join!(opened, agent.answer(200));
    told(&acme.alice.get(CI).await, 503, "Overloaded");
    assert_eq!(agent.waiting(), 0);
    stream.sender.finish().unwrap();
    http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    assert_eq!(ask(&acme.alice, &mut agent).await.status, 200);
}

#[tokio::test]
async fn a_service_is_asked_no_more_often_than_its_object_says() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let ci = format!("{SERVICES}/ci.smith");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {requestsPerSecond: 1}}}")).await.expect(200);
    tokio::spawn(async move {
        loop {
            agent.answer(200).await.sender.finish().unwrap();
        }
    });
    let asked = async {
        loop {
            let answer = acme.alice.get(CI).await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("it is too often");
    told(&answer, 429, "TooManyRequests");
    assert_eq!(answer.headers.get("retry-after").unwrap(), "1");
    acme.alice.merge(&ci, &yaml("{spec: {limits: {requestsPerSecond: 0}}}")).await.expect(200);
    for _ in 0..20 {
        assert_eq!(acme.alice.get(CI).await.status, 200);
    }
}
