//! Backends behind agents of another hub, which has a server's part of one.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use strait_hooks::deliver::{HEARTBEAT_PATH, Options};
use strait_hooks::schedule::Outcome;
use strait_hooks::state::Became;
use strait_net::{Body, ServerMetrics, handler};
use strait_pki::{Authority, ServerNames, ServingCertificate, server_config};
use strait_runtime::{Clock, Shutdown, SystemClock, SystemEntropy};
use strait_types::HubId;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::private::{became, connected, read};
use super::scene::{LONG, Scene, event};

/// What a hub was asked: the path, the usual credential and the other.
type Asked = (String, String, String);

/// A hub that takes everything, with the PEM of its authority.
async fn hub(scene: &Scene) -> (std::net::SocketAddr, String, watch::Sender<Vec<Asked>>) {
    let (clock, id) = (Arc::new(SystemClock), HubId::from_random([7; 16]));
    let authority =
        Arc::new(Authority::create(&id, clock.clone(), Arc::new(SystemEntropy)).unwrap());
    let names = ServerNames::new(["127.0.0.1"]).unwrap();
    let day = Duration::from_secs(86_400);
    let serving = ServingCertificate::new(authority.clone(), names, day).unwrap();
    let context = scene.context();
    let metrics = ServerMetrics::new(&context.metrics);
    let server = strait_net::Server {
        tls: Some(server_config(serving, &[], clock).unwrap()),
        ..strait_net::Server::plain(metrics, scene.tasks.clone(), Shutdown::new())
    };
    let asked = watch::Sender::new(Vec::new());
    let seen = asked.clone();
    let answer = handler(move |_, request| {
        let field = |name: &str| {
            let value = request.headers().get(name);
            value.map_or("", |value| value.to_str().unwrap()).to_owned()
        };
        let path = request.uri().to_string();
        let heartbeat = path.ends_with(HEARTBEAT_PATH);
        let ended = [field("authorization"), field("x-opsmx-token")].concat().ends_with("ended");
        let one = (path, field("authorization"), field("x-opsmx-token"));
        seen.send_modify(|all| all.push(one));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = match (ended, heartbeat) {
            (true, _) => StatusCode::UNAUTHORIZED,
            (false, true) => StatusCode::NO_CONTENT,
            (false, false) => StatusCode::ACCEPTED,
        };
        if ended {
            response.headers_mut().insert("x-strait-error", "CredentialExpired".parse().unwrap());
        }
        async { response }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    scene.tasks.spawn_daemon("hub", server.serve(listener, answer));
    (address, authority.bundle().unwrap().to_pem(), asked)
}

#[tokio::test]
async fn without_a_hub_around_another_is_asked_with_the_token_of_the_moment() {
    let scene = Scene::new();
    let (address, authority, asked) = hub(&scene).await;
    let file = |name: &str| scene.dir.path().join(name);
    std::fs::write(file("ca"), authority).unwrap();
    std::fs::write(file("token"), "first\n").unwrap();
    let backend = |name: &str, rest: &str| {
        let (token, ca) = (file("token"), file("ca"));
        format!(
            "{{name: {name}, sources: [forge], workspace: 'root:acme', agent: smith, service: pac, \
             path: '/in?team=a', hub: 'https://{address}', tokenFile: {}, tls: {{caFile: {}}}{rest}}}",
            token.display(),
            ca.display(),
        )
    };
    let own = backend("own", ", headers: {add: {Authorization: of the service}}");
    let config = read(&format!("{}\n- {own}", backend("one", "")));
    // The certificates are of today.
    let today = |options: &mut Options| options.context.clock = Arc::new(SystemClock);
    let gateway = scene.start_with(&config, today, 1 << 20).await;
    let until = async |wanted: &[(&str, &str, &str)]| {
        let has = |all: &Vec<Asked>| {
            wanted.iter().all(|(path, usual, other)| {
                all.iter().any(|one| (&*one.0, &*one.1, &*one.2) == (path, usual, other))
            })
        };
        let mut seen = asked.subscribe();
        let found = tokio::time::timeout(LONG, seen.wait_for(has)).await;
        assert!(found.is_ok(), "{:?}", asked.borrow());
    };
    let front = "/clusters/root:acme/services/relay/smith/pac";
    let (beat, hook) = (&*format!("{front}{HEARTBEAT_PATH}"), &*format!("{front}/in?team=a"));
    gateway.send("{}").await;
    until(&[
        (beat, "Bearer first", ""),
        (hook, "Bearer first", ""),
        (hook, "of the service", "first"),
    ])
    .await;
    for name in ["one", "own"] {
        let whole = gateway.until(name, |one| one.heartbeat.is_some() && one.last.is_some()).await;
        assert_eq!(whole.last, Some(Outcome::Status(202)));
    }

    std::fs::write(file("token"), "second").unwrap();
    gateway.send("{}").await;
    until(&[(hook, "Bearer second", ""), (hook, "of the service", "second")]).await;

    assert_eq!(connected(&gateway), "1");
    let usable =
        |name| gateway.metric(&format!("strait_hooks_backend_token_usable{{backend=\"{name}\"}}"));
    assert_eq!((usable("one"), usable("own")), ("1".to_owned(), "1".to_owned()));
    std::fs::write(file("token"), "ended").unwrap();
    let position = gateway.take(event("{}", SystemClock.now())).await;
    for name in ["one", "own"] {
        gateway
            .until(name, |one| one.last == Some(Outcome::TokenRefused) && one.in_flight == 0)
            .await;
        assert_eq!(usable(name), "0");
    }
    let now = became(&gateway, position);
    assert!(matches!(now, Some(Became::Waiting { .. })), "no dead letter: {now:?}");

    for unusable in ["", "\u{1}"] {
        std::fs::write(file("token"), unusable).unwrap();
        let before = asked.borrow().len();
        gateway.deliveries.wake("one");
        gateway.until("one", |one| one.last == Some(Outcome::NoToken) && one.in_flight == 0).await;
        assert_eq!(asked.borrow().len(), before, "nothing is sent without a token");
    }

    std::fs::write(file("token"), "third").unwrap();
    for name in ["one", "own"] {
        gateway.deliveries.wake(name);
        gateway.idle(name).await;
        assert_eq!(usable(name), "1");
    }
}

#[tokio::test]
async fn a_token_is_usable_as_soon_as_its_file_is_mended_though_its_hub_is_not_reached() {
    let scene = Scene::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let file = scene.dir.path().join("token");
    let gateway = {
        let token = file.display();
        let config = read(&format!(
            "{{name: one, sources: [forge], workspace: 'root:acme', agent: smith, service: pac, \
             hub: 'https://{nobody}', tokenFile: {token}}}"
        ));
        scene.start_with(&config, |_| {}, 1 << 20).await
    };
    let usable = || gateway.metric("strait_hooks_backend_token_usable{backend=\"one\"}");
    gateway.send("{}").await;
    gateway.until("one", |one| one.last == Some(Outcome::NoToken) && one.in_flight == 0).await;
    assert_eq!(usable(), "0");

    std::fs::write(&file, "first").unwrap();
    gateway.deliveries.wake("one");
    gateway.until("one", |one| one.last == Some(Outcome::Refused) && one.in_flight == 0).await;
    assert_eq!(usable(), "1");
}
