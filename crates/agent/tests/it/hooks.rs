//! Webhooks to a service of an agent, by a real hub.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use strait_hooks::Setup;
use strait_hooks::config::{self, Disk};
use tokio::net::TcpStream;

use crate::harness::PATIENCE;
use crate::site::Site;

const CONFIG: &str = "apiVersion: hooks.strait.dev/v1alpha1\nkind: HooksConfig\n\
    listen: 127.0.0.1:0\n\
    sources: [{name: forge, path: /forge, scheme: none}]\n\
    backends: [{name: ci, sources: [forge], workspace: 'root:provider', agent: smith, service: ci}]\n";

/// Waits until a line of the hub's metrics begins so.
async fn until(site: &Site, line: &str) {
    let client = site.within("root").below("");
    let there = async {
        while !client.get("/metrics").await.text().lines().any(|one| one.starts_with(line)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, there).await.unwrap_or_else(|_| panic!("never {line:?}"));
}

#[tokio::test]
async fn a_webhook_waits_for_its_agent_and_the_agent_answers_heartbeats() {
    let mut site = Site::new().await;
    let directory = site.hub.directory().join("hooks");
    let config = config::read("hooks.yaml", CONFIG, Some(&directory), &Disk { in_hub: true });
    site.hub.hub_mut().take_hooks(Setup::new(config.unwrap(), |_| None)).await.unwrap();
    let hooks = site.hub.hub().hooks_address().unwrap();
    let stream = TcpStream::connect(hooks).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/forge")
        .header("host", "hooks")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"{\"digest\": \"x\"}")))
        .unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::ACCEPTED);
    until(&site, "strait_hooks_deliver_attempts_total{backend=\"ci\",class=\"refused\"} 1").await;

    let services = format!(
        "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n\
         services: [{{name: ci, type: http, url: '{}'}}]\n",
        site.service.url()
    );
    let agent = site.agent_with(&services).await;
    until(&site, "strait_hooks_deliver_attempts_total{backend=\"ci\",class=\"delivered\"} 1").await;
    until(&site, "strait_hooks_backend_last_roundtrip_seconds{backend=\"ci\"} ").await;
    agent.stop().await;
}
