//! Webhooks to a service of an agent, by a real hub.

use std::net::SocketAddr;

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

/// Has the hub take webhooks for the agent's service; where.
pub(crate) async fn gateway(site: &mut Site) -> SocketAddr {
    let directory = site.hub.directory().join("hooks");
    let config = config::read("hooks.yaml", CONFIG, Some(&directory), &Disk { in_hub: true });
    let hub = site.hub.hub_mut();
    hub.take_hooks(Setup::new(config.unwrap(), |_| None)).await.unwrap();
    hub.hooks_address().unwrap()
}

/// What a gateway answers a webhook with such fields.
pub(crate) async fn post(
    gateway: SocketAddr,
    fields: &[(&str, &str)],
    body: &'static str,
) -> StatusCode {
    let stream = TcpStream::connect(gateway).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post("/forge").header("host", "hooks").header("content-type", "application/json");
    let request =
        fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
    sender.send_request(request).await.unwrap().status()
}

#[tokio::test]
async fn a_webhook_waits_for_its_agent_and_the_agent_answers_heartbeats() {
    let mut site = Site::new().await;
    let hooks = gateway(&mut site).await;
    let status = post(hooks, &[], "{\"digest\": \"x\"}").await;
    assert_eq!(status, StatusCode::ACCEPTED);
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
