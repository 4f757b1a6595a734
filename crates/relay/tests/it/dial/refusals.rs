//! What stands in the way, by name.

use strait_relay::dial::NoProxy;
use strait_tunnel::Code;

use super::agent::{Agent, route, ways};
use super::hub::{Hub, Manner, authority};
use super::wire::proxy;

/// Row 41: CVE-2024-22030.
#[tokio::test]
async fn another_authority_is_named_with_the_one_that_is_expected() {
    let hub = Hub::start(Manner::default()).await;
    let expected = authority();
    let address = hub.address.to_string();
    let mut agent = Agent::start(&expected, route(&address, 2), None, |_| {});
    let status = agent.until(|status| status.failure.is_some()).await;
    let key = expected.spki_sha256().to_string();
    let text = format!(
        "{address} presented a certificate by \"CN=Strait hub CA {}\"; expected hub CA {}: \
         an inspecting proxy is in the way",
        strait_types::HubId::from_random([7; 16]),
        &key[..16]
    );
    assert_eq!(status.check(), Err(text));
    agent.end().await;
}

#[tokio::test]
async fn a_hub_that_takes_the_agent_no_more_is_named_in_readiness() {
    for (code, name) in [(Code::Auth, "AUTH"), (Code::Revoked, "REVOKED")] {
        let mut hub = Hub::start(Manner::default()).await;
        let mut agent = Agent::of(&hub, 1);
        let came = hub.next().await;
        agent.until(|status| status.ready == 1).await;
        came.link.cut(code, "suspended\u{7}");
        let status = agent.until(|status| status.failure.is_some()).await;
        let text = format!("the hub ended the connection: suspended ({name})");
        assert_eq!(status.check(), Err(text));
        agent.end().await;
    }
}

#[tokio::test]
async fn a_server_that_takes_no_tunnels_is_told_apart() {
    let hub = Hub::start(Manner { protocol: b"http/1.1", ..Manner::default() }).await;
    let mut agent = Agent::of(&hub, 1);
    let failure = agent.until(|status| status.failure.is_some()).await.failure.unwrap();
    let text = "takes no tunnels: this is an older hub, or another server's port";
    assert!(failure.ends_with(text), "{failure}");
    agent.end().await;
}

#[tokio::test]
async fn all_addresses_are_tried() {
    let mut hub = Hub::start(Manner::default()).await;
    let mut several = route("127.0.0.1:1", 1);
    several.way.addresses.extend(["no address".to_owned(), hub.address.to_string()]);
    let agent = Agent::start(&hub.authority, several, None, |_| {});
    hub.next().await;
    agent.end().await;
}

#[tokio::test]
async fn a_proxy_is_asked_for_the_hub_and_given_its_password() {
    const BASIC: &str = "Basic am86czNjcmV0";
    let mut hub = Hub::start(Manner::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy");
    for (authorization, user) in [(None, ""), (Some(BASIC), "jo:s3cret@")] {
        let (address, mut requests) = proxy(hub.address, authorization).await;
        std::fs::write(&file, format!("http://{user}{address}\n")).unwrap();
        // Only the proxy knows where that is.
        let to = "hub.example:443";
        let mut by_file = route(to, 1);
        by_file.way.proxy_file = Some(file.clone());
        let agent = Agent::start(&hub.authority, by_file, None, |_| {});
        hub.next().await;
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("CONNECT hub.example:443 HTTP/1.1\r\n"), "{request}");
        assert_eq!(request.contains("Authorization"), authorization.is_some());
        agent.end().await;

        let url = format!("http://{user}{address}");
        let by_environment = |list: &'static str| {
            let url = url.parse().unwrap();
            move |setup: &mut strait_relay::dial::Setup| {
                setup.ways = ways(Some(url), NoProxy::new(list));
            }
        };
        let agent =
            Agent::start(&hub.authority, route(to, 1), None, by_environment("other.example"));
        hub.next().await;
        requests.recv().await.unwrap();
        agent.end().await;
        let direct = route(&hub.address.to_string(), 1);
        let agent = Agent::start(&hub.authority, direct, None, by_environment("127.0.0.0/8"));
        hub.next().await;
        assert!(requests.try_recv().is_err(), "the proxy is not asked");
        agent.end().await;
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_connect_is_named() {
    let hub = Hub::start(Manner::default()).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxy");
    let (address, _requests) = proxy(hub.address, Some("Basic eA==")).await;
    for (url, text) in [
        (
            format!("http://{address}"),
            format!("the proxy {address} wants a user and a password (407); its URL has none"),
        ),
        (
            format!("http://jo:s3cret@{address}"),
            format!(
                "the proxy {address} wants a user and a password (407) and takes not those that \
                 its URL has"
            ),
        ),
        (
            "http://jo:s3cret@127.0.0.1:1".to_owned(),
            "cannot connect to the proxy 127.0.0.1:1: Connection refused (os error 111)".to_owned(),
        ),
        (
            "ftp://jo:s3cret@x".to_owned(),
            format!(
                "the proxy's file cannot be used: {} is not the URL of a proxy such as \
                 http://user:password@proxy.example:3128",
                file.display()
            ),
        ),
    ] {
        std::fs::write(&file, url).unwrap();
        let mut by_file = route("hub.example:443", 1);
        by_file.way.proxy_file = Some(file.clone());
        let mut agent = Agent::start(&hub.authority, by_file, None, |_| {});
        let status = agent.until(|status| status.failure.is_some()).await;
        assert_eq!(status.failure.unwrap(), text);
        agent.end().await;
    }
}
