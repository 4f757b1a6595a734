//! Backends that come, change and go, and who they prove to be.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Response;
use parking_lot::Mutex;
use strait_hooks::config::Config;
use strait_hooks::deliver::{Deliveries, Keep, Options};
use strait_hooks::schedule::Outcome;
use strait_net::{Body, Resolve, ServerMetrics, handler};
use strait_pki::{Authority, ClientSubject, ServerNames, ServingCertificate, server_config};
use strait_runtime::{Shutdown, SystemClock, SystemEntropy};
use strait_types::HubId;
use tokio::net::TcpListener;

use super::scene::{Scene, config, config_with, event, url};
use super::server::{Reply, Server};

const DAY: Duration = Duration::from_secs(86_400);

fn of(backends: &[(&str, &Server)]) -> Config {
    let members: Vec<_> = backends.iter().map(|(name, at)| (*name, url(at.address))).collect();
    config(&members.iter().map(|(name, members)| (*name, &**members)).collect::<Vec<_>>())
}

#[tokio::test]
async fn backends_come_change_and_go_while_events_do() {
    let scene = Scene::new();
    let (one, two) = (Server::ok(&scene.tasks).await, Server::ok(&scene.tasks).await);
    let hung = Server::start(&scene.tasks, |_, _| Reply::Hang).await;
    let gateway = scene.start(&of(&[("one", &one), ("gone", &hung), ("moved", &hung)])).await;
    gateway.send("first").await;
    one.came(1).await;
    hung.came(2).await;
    assert!(gateway.deliveries.has_backend("forge"));
    assert!(!gateway.deliveries.has_backend("other"));

    // What is in flight at the old address is not dropped: it ends with its time.
    let moved = format!("{}, timeout: 1s", url(hung.address));
    let config =
        config(&[("one", &url(one.address)), ("moved", &moved), ("two", &url(two.address))]);
    gateway.apply(&config).await;
    let names: Vec<_> = gateway.deliveries.status().await.into_iter().map(|s| s.name).collect();
    assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["one", "moved", "two"]);
    gateway.send("second").await;
    one.came(2).await;
    two.came(1).await;
    assert_eq!(two.texts(), ["second"], "from its addition on");
    gateway.deliveries.drain(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn the_events_of_a_source_that_came_later_are_filtered() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let before = Config { sources: Vec::new(), ..of(&[]) };
    let gateway = scene.start(&before).await;
    let members = format!("{}, filter: {{events: [pull_request]}}", url(server.address));
    gateway.apply(&config(&[("one", &members)])).await;
    gateway.send("a push").await;
    let mut wanted = gateway.event("a pull request");
    wanted.headers.insert("x-github-event", http::HeaderValue::from_static("pull_request"));
    gateway.take(wanted).await;
    server.came(1).await;
    gateway.idle("one").await;
    assert_eq!(server.texts(), ["a pull request"]);
}

#[tokio::test]
async fn what_waits_goes_to_the_backend_s_new_address() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let busy = Server::start(&scene.tasks, |_, _| Reply::Status(503)).await;
    let gateway = scene.start(&of(&[("one", &busy)])).await;
    for text in ["a", "b", "c"] {
        gateway.send(text).await;
    }
    gateway.until("one", |one| one.waiting == 3 && one.last.is_some()).await;
    gateway.apply(&of(&[("one", &server)])).await;
    gateway.send("d").await;
    server.came(4).await;
    gateway.idle("one").await;
    let mut texts = server.texts();
    texts.sort();
    assert_eq!(texts, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_removed_backend_is_forgotten_and_new_when_it_comes_back() {
    let scene = Scene::new();
    let busy = Server::start(&scene.tasks, |_, _| Reply::Status(503)).await;
    let gateway = scene.start(&of(&[("one", &busy)])).await;
    gateway.send("a").await;
    gateway.until("one", |one| one.last.is_some()).await;
    gateway.apply(&of(&[])).await;
    assert!(!gateway.deliveries.has_backend("forge"));
    let server = Server::ok(&scene.tasks).await;
    gateway.apply(&of(&[("one", &server)])).await;
    gateway.send("b").await;
    server.came(1).await;
    gateway.idle("one").await;
    assert_eq!(server.texts(), ["b"]);

    // So it is when it was left out of a start.
    gateway.kill().await;
    scene.start(&of(&[])).await.kill().await;
    let gateway = scene.start(&of(&[("one", &server)])).await;
    gateway.send("c").await;
    server.came(2).await;
    assert_eq!(server.texts(), ["b", "c"]);
}

#[derive(Debug)]
struct Names(Mutex<IpAddr>);

impl Resolve for Names {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let address = *self.0.lock();
        async move { Ok(vec![address]) }.boxed()
    }
}

#[tokio::test]
async fn addresses_are_checked_at_each_connection() {
    let scene = Scene::new();
    let close = |_, _: &_| Reply::With(200, "connection", "close");
    let server = Server::start(&scene.tasks, close).await;
    let names = Arc::new(Names(Mutex::new([127, 0, 0, 1].into())));
    let named = format!("url: \"http://backend.example:{}/\"", server.address.port());
    let mut config = config(&[("open", &named), ("guarded", &named)]);
    config.backends[1].allow_private = false;
    let resolver = names.clone();
    let gateway = scene.start_with(&config, |options| options.resolver = resolver, 1 << 20).await;
    gateway.send("a").await;
    let status = gateway.until("guarded", |one| one.last.is_some()).await;
    assert_eq!(status.last, Some(Outcome::Forbidden));
    gateway.idle("open").await;
    assert_eq!(server.hits().len(), 1);

    // The name now stands for what nobody opened.
    *names.0.lock() = [169, 254, 169, 254].into();
    gateway.send("b").await;
    let status = gateway.until("open", |one| one.last != Some(Outcome::Status(200))).await;
    assert_eq!(status.last, Some(Outcome::Forbidden));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_private_authority_and_a_client_certificate() {
    let scene = Scene::new();
    let authority = Authority::create(
        &HubId::from_random([7; 16]),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
    );
    let authority = Arc::new(authority.unwrap());
    let names = ServerNames::new(["127.0.0.1"]).unwrap();
    let serving = ServingCertificate::new(authority.clone(), names, DAY).unwrap();
    let context = scene.context();
    let metrics = ServerMetrics::new(&context.metrics);
    let server = strait_net::Server {
        tls: Some(server_config(serving, &[], Arc::new(SystemClock)).unwrap()),
        ..strait_net::Server::plain(metrics, context.tasks.clone(), Shutdown::new())
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let answer = {
        let seen = seen.clone();
        handler(move |connection, _| {
            seen.lock().push(!connection.certificates().is_empty());
            async { Response::new(Body::empty()) }
        })
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    context.tasks.spawn_daemon("tls", server.serve(listener, answer));

    let subject = ClientSubject { user: "gateway".to_owned(), ..ClientSubject::default() };
    let issued = authority.issue_client(&subject, DAY).unwrap();
    let write = |name: &str, text: &str| {
        let path = scene.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ca = write("ca", &authority.bundle().unwrap().to_pem());
    let certificate = write("crt", &issued.certificate_pem());
    let key = write("key", issued.key_pem().unwrap().expose());
    let at = format!("url: \"https://{address}/\"");
    let identity = format!("certFile: {certificate}, keyFile: {key}");
    let config = config_with(
        "ack: sync",
        &[
            ("known", &format!("{at}, tls: {{caFile: {ca}, {identity}}}")),
            ("nameless", &format!("{at}, tls: {{caFile: {ca}}}")),
            ("careless", &format!("{at}, tls: {{insecure: true}}")),
            ("public", &at),
        ],
    );
    // The certificates are of today.
    let mut options = Options::new(scene.context());
    options.context.clock = Arc::new(SystemClock);
    let deliveries = Deliveries::start(&config, Keep::Nothing, options).await.unwrap();
    let event = Arc::new(event("{}", jiff::Timestamp::now()));
    let outcomes = deliveries.at_once(&event).await;
    let outcomes: Vec<_> = outcomes.iter().map(|(name, outcome)| (&**name, *outcome)).collect();
    let ok = Outcome::Status(200);
    let expected =
        [("known", ok), ("nameless", ok), ("careless", ok), ("public", Outcome::Refused)];
    assert_eq!(outcomes, expected);
    let mut seen = seen.lock().clone();
    seen.sort_unstable();
    assert_eq!(seen, [false, false, true]);
}

#[tokio::test]
async fn without_a_log_events_are_tried_once_at_all_backends_at_the_same_time() {
    let scene = Scene::new();
    let well = Server::ok(&scene.tasks).await;
    let wrong = Server::start(&scene.tasks, |_, _| Reply::Status(500)).await;
    let hung = Server::start(&scene.tasks, |_, _| Reply::Hang).await;
    let slow = format!("{}, timeout: 1s", url(hung.address));
    let config = config(&[
        ("well", &url(well.address)),
        ("wrong", &url(wrong.address)),
        ("hung", &slow),
        ("hung-too", &slow),
        ("foreign", &format!("{}, sources: [other]", url(well.address))),
    ]);
    let options = Options::new(scene.context());
    let deliveries = Deliveries::start(&config, Keep::Nothing, options).await.unwrap();
    let event = Arc::new(event("{}", jiff::Timestamp::UNIX_EPOCH));
    let outcomes = deliveries.at_once(&event).await;
    let outcomes: Vec<_> = outcomes.iter().map(|(name, outcome)| (&**name, *outcome)).collect();
    let expected = [
        ("well", Outcome::Status(202)),
        ("wrong", Outcome::Status(500)),
        ("hung", Outcome::TimedOut),
        ("hung-too", Outcome::TimedOut),
    ];
    assert_eq!(outcomes, expected);
    assert_eq!((well.hits().len(), wrong.hits().len(), hung.hits().len()), (1, 1, 2));
    deliveries.offer(strait_hooks::Position(1), &event);
    assert_eq!(deliveries.redrive(strait_hooks::Position(1)).await, 0);
    deliveries.drain(Duration::ZERO).await;
}
