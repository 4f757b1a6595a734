//! Requests through proxies before the hub. Those at 127.0.0.9 are trusted ([`config`]).
//!
//! [`config`]: crate::harness::config

use http::header::SEC_WEBSOCKET_PROTOCOL;
use rustls::pki_types::ServerName;
use strait_machinery::json::{Value, parse};
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::websocket::{Pipe, Role};
use strait_tunnel::OpenHead;
use tokio_rustls::TlsConnector;

use crate::credentials::make;
use crate::fake_agent::{Acme, CI, FakeAgent};
use crate::harness::{Client, PATIENCE};
use crate::joining::AGENTS;
use crate::raw::client::{ask, fields, key};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// What the agent is told of where a request comes from: the address that the hub saw, what of
/// the field is believed, and the client.
async fn told(client: &Client, agent: &mut FakeAgent) -> [String; 3] {
    let serve = async {
        let opened = tokio::time::timeout(PATIENCE, agent.opened()).await.unwrap();
        let (stream, OpenHead::Http(head)) = opened.unwrap() else { panic!("a request") };
        stream.sender.accept();
        let answer = strait_tunnel::Response::new(204, []).unwrap();
        stream.sender.send_head(&answer, true).unwrap();
        let tlvs = head.parts().tlvs;
        let identity = parse(tlvs.identity).unwrap();
        let (peer, ip) = (tlvs.client.unwrap().ip(), identity.str_at(&["ip"]).unwrap());
        let told = [peer.to_string(), tlvs.forwarded.to_owned(), ip.to_owned()];
        // What was not read of the request is not missed.
        drop(stream);
        told
    };
    let (answer, told) = tokio::join!(client.get(CI), serve);
    assert_eq!(answer.status, 204);
    told
}

#[tokio::test]
async fn a_trusted_proxys_word_says_who_asks_and_nobody_elses() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let (near, proxy) = (acme.alice.clone(), acme.alice.from(9));
    for (client, value, expected) in [
        (&near, "192.0.2.7", ["127.0.0.1", "", "127.0.0.1"]),
        (&proxy, "192.0.2.7", ["127.0.0.9", "192.0.2.7", "192.0.2.7"]),
        (&proxy, "192.0.2.7, 198.51.100.1", ["127.0.0.9", "198.51.100.1", "198.51.100.1"]),
        (&proxy, "192.0.2.7, unknown", ["127.0.0.9", "", "127.0.0.9"]),
        (&proxy, "0.0.0.0", ["127.0.0.9", "", "127.0.0.9"]),
    ] {
        let client = client.header(FORWARDED_FOR, value).header("forwarded", "for=203.0.113.1");
        assert_eq!(told(&client, &mut agent).await, expected, "{value}");
    }
    assert_eq!(told(&proxy, &mut agent).await, ["127.0.0.9", "", "127.0.0.9"]);
}

#[tokio::test]
async fn a_trusted_balancer_says_whose_a_connection_is_and_then_nobody_adds_to_that() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let proxy = acme.alice.from(9);
    let named = proxy.passed_on("PROXY TCP4 192.0.2.7 127.0.0.1 8080 443\r\n");
    let behind = proxy.passed_on("PROXY TCP4 127.0.0.9 127.0.0.1 8080 443\r\n");
    let nobodys = proxy.passed_on("PROXY UNKNOWN\r\n");
    for (client, expected) in [
        // Somebody's, so the field is not the balancer's word.
        (&nobodys, ["127.0.0.9", "", "127.0.0.9"]),
        (&named, ["192.0.2.7", "", "192.0.2.7"]),
        // Of a proxy of HTTP that stands before it, as that proxy says.
        (&behind, ["127.0.0.9", "198.51.100.1", "198.51.100.1"]),
    ] {
        let client = client.header(FORWARDED_FOR, "198.51.100.1");
        assert_eq!(told(&client, &mut agent).await, expected);
    }
    let opened = acme.hub.admin().below("").get("/metrics").await.text();
    assert!(!opened.contains("failures_total{reason=\"proxy\"}"), "{opened}");
}

#[tokio::test]
async fn a_token_for_a_network_is_good_there_whatever_others_say() {
    let acme = Acme::new().await;
    let mut agent = acme.smith().await;
    let token = make(&acme.alice, "ci.smith", "{networks: [192.0.2.0/24]}").await;
    let bearer = format!("Bearer {}", token.str_at(&["token"]).unwrap());
    let near = acme.hub.anonymous().below("").header("authorization", &bearer);
    let proxy = near.from(9);
    for (client, value) in [
        (&near, "192.0.2.7"),
        (&proxy, "192.0.2.7, 198.51.100.1"),
        (&proxy, "192.0.2.7, unknown"),
        (&proxy, ""),
    ] {
        let answer = client.header(FORWARDED_FOR, value).get(CI).await;
        let why = answer.headers["x-strait-error"].to_str().unwrap();
        assert_eq!((answer.status.as_u16(), why), (403, "CredentialScope"), "{value}");
    }
    let within = proxy.header(FORWARDED_FOR, "198.51.100.1, 192.0.2.7");
    assert_eq!(told(&within, &mut agent).await[2], "192.0.2.7");
}

#[tokio::test]
async fn an_agent_inside_a_websocket_is_where_a_trusted_proxy_saw_it() {
    let acme = Acme::new().await;
    let installation = acme.install().await;
    for (last, expected) in [(9, "192.0.2.7"), (1, "127.0.0.1")] {
        let mut head = fields(&key(), None);
        head.insert(SEC_WEBSOCKET_PROTOCOL, "strait-tunnel.v1".parse().unwrap());
        head.insert(FORWARDED_FOR, "198.51.100.1, 192.0.2.7".parse().unwrap());
        let (_, io) = ask(&acme.hub.anonymous().from(last), "/tunnel", head).await.unwrap();
        let pipe = Pipe::new(io, Role::Client).await;
        let connector = TlsConnector::from(installation.tls_for(&[TUNNEL_PROTOCOL]));
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let agent = FakeAgent::over(connector.connect(name, pipe).await.unwrap(), &[]).await;
        let is_there = |agent: &Value| {
            let instances = agent.array_at(&["status", "instances"]);
            instances.iter().any(|one| one.str_at(&["address"]) == Some(expected))
        };
        acme.alice.wait(AGENTS, "smith", is_there).await;
        agent.leave().await;
    }
}
