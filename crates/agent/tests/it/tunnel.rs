//! The agent's connections, at a real hub.

use std::time::Duration;

use crate::harness::{PATIENCE, context, yaml};
use crate::site::Site;

const SERVICES: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
    services: [{name: ci, type: http, url: 'http://127.0.0.1:1'}]\n";

/// Waits until a probe has a line.
async fn until(site: &Site, probe: &str, line: &str) {
    let said = async {
        while !site.probe(probe).await.contains(line) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("never {line:?}"));
}

#[tokio::test]
async fn an_agent_with_services_is_connected_and_leaves() {
    let site = Site::new().await;
    let agent = site.agent_with(SERVICES).await;
    until(&site, "/readyz", "200 OK").await;
    site.connections(2).await;
    let begun = std::time::Instant::now();
    agent.stop().await;
    // Nothing crosses: nothing has to be waited for.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_has_joined_needs_no_token_any_more() {
    let mut site = Site::new().await;
    let token = std::mem::replace(&mut site.token, "none".into());
    // To join it takes one.
    let (agent, _) = site.start("", context());
    let why = agent.task.await.unwrap_err().into_panic();
    let why = why.downcast::<String>().unwrap();
    assert!(why.contains("--token-file: no token"), "{why}");
    site.token = token;
    site.agent_with("").await.stop().await;
    site.token = "none".into();
    site.agent_with("").await.stop().await;
}

#[tokio::test]
async fn services_that_come_later_are_connected_for() {
    let site = Site::new().await;
    let agent = site.agent_with("").await;
    site.connections(0).await;
    site.write(SERVICES);
    site.connections(2).await;
    agent.stop().await;
}

#[tokio::test]
async fn readiness_says_why_there_is_no_connection() {
    let site = Site::new().await;
    site.agent_with("").await.stop().await;
    let elsewhere = format!("{SERVICES}hub: {{addresses: ['127.0.0.1:1']}}\n");
    let (agent, is_connected) = site.start(&elsewhere, context());
    until(&site, "/readyz", "tunnel: cannot connect to 127.0.0.1:1: ").await;
    site.write(SERVICES);
    until(&site, "/readyz", "200 OK").await;
    tokio::time::timeout(PATIENCE, is_connected).await.unwrap().expect("reports go there as well");
    agent.stop().await;
}

#[tokio::test]
async fn a_service_is_reached_through_the_hub() {
    let site = Site::new().await;
    let agent = site.agent_with(&SERVICES.replace("http://127.0.0.1:1", site.service.url())).await;
    site.connections(2).await;
    let provider = site.within("root:provider");
    let services = "/apis/relay.strait.dev/v1alpha1/services";
    provider.wait(services, "ci.smith", |_| true).await;
    let answer = provider.post("/services/relay/smith/ci/", &yaml("{digest: x}")).await;
    let answer = answer.expect(200);
    assert!(answer.str_at(&["signature"]).is_some(), "{answer:?}");
    agent.stop().await;
}
