//! What attempts end with, and what follows.

use std::time::Duration;

use strait_hooks::breaker::Breaker;
use strait_hooks::schedule::{Outcome, Reason};
use strait_hooks::state::{Backend, Became};
use strait_hooks::{Event, Position};
use tokio::net::TcpSocket;

use super::scene::{Gateway, Scene, config, url};
use super::server::{Reply, Server};

fn became(gateway: &Gateway, backend: &str, position: Position) -> Option<Became> {
    gateway.state.read(|table| table.became(Backend::of(backend), position))
}

/// Lets a second pass until the server was called so often.
async fn pass(scene: &Scene, server: &Server, count: usize) {
    let came = server.came(count);
    let passing = async {
        loop {
            scene.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = came => {}
        () = passing => {}
    }
}

#[tokio::test]
async fn three_backends_get_an_event_once_each() {
    let scene = Scene::new();
    let servers = [
        Server::ok(&scene.tasks).await,
        Server::ok(&scene.tasks).await,
        Server::ok(&scene.tasks).await,
    ];
    let [one, two, three] = servers.each_ref().map(|server| url(server.address));
    let extra = "headers: {add: {x-team: ours}, passAlso: [x-own]}";
    let two = format!("{two}, {extra}");
    let gateway = scene.start(&config(&[("one", &one), ("two", &two), ("three", &three)])).await;
    let mut event = gateway.event("{\"a\": 1}");
    event.path = "/below".into();
    event.query = "x=1".into();
    event.headers.insert("x-own", "kept".parse().unwrap());
    event.headers.insert("x-github-hook-id", "7".parse().unwrap());
    event.headers.insert("connection", "close, X-GitHub-Hook-Id".parse().unwrap());
    gateway.take(event).await;
    for (server, name) in servers.iter().zip(["one", "two", "three"]) {
        server.came(1).await;
        gateway.idle(name).await;
        let hits = server.hits();
        assert_eq!(hits.len(), 1);
        let hit = &hits[0];
        assert_eq!(hit.uri, "/hooks/below?team=a&x=1");
        assert_eq!(hit.text(), "{\"a\": 1}");
        assert_eq!(hit.headers["host"], server.address.to_string());
        assert_eq!(hit.headers["x-github-event"], "push");
        assert_eq!(hit.headers["x-hub-signature-256"], "sha256=00");
        for absent in ["authorization", "cookie", "x-github-hook-id", "connection"] {
            assert!(!hit.headers.contains_key(absent), "{absent}");
        }
        assert_eq!(hit.headers.contains_key("x-own"), name == "two");
        assert_eq!(hit.headers.contains_key("x-team"), name == "two");
    }
    let labels = "{backend=\"one\",class=\"delivered\"}";
    let name = format!("strait_hooks_deliver_attempts_total{labels}");
    assert_eq!(gateway.metric(&name), "1");
    let name = "sprayproxy_http_response_time_duration_seconds_count";
    assert_eq!(gateway.metric(name), "3");
}

#[tokio::test]
async fn connections_are_used_again() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let backend = format!("{}, inFlight: 2", url(server.address));
    let gateway = scene.start(&config(&[("one", &backend)])).await;
    for number in 0..500 {
        gateway.send(&number.to_string()).await;
    }
    server.came(500).await;
    gateway.idle("one").await;
    assert!(server.connections() <= 5, "{}", server.connections());
    let mut texts = server.texts();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 500);
    let low = gateway.state.read(|table| table.low_water(Backend::of("one")));
    assert_eq!(low, Some(Position(500)));
}

#[tokio::test]
async fn a_backend_that_hangs_holds_its_own_places_only() {
    let scene = Scene::new();
    let well = Server::ok(&scene.tasks).await;
    let hung = Server::start(&scene.tasks, |_, _| Reply::Hang).await;
    let backends =
        [("hung", format!("{}, inFlight: 4", url(hung.address))), ("well", url(well.address))];
    let backends = backends.each_ref().map(|(name, members)| (*name, members.as_str()));
    let gateway = scene.start(&config(&backends)).await;
    for number in 0..100 {
        gateway.send(&number.to_string()).await;
    }
    well.came(100).await;
    gateway.idle("well").await;
    let status = gateway.until("hung", |one| one.in_flight == 4).await;
    assert_eq!((status.waiting, status.in_flight), (96, 4));
    gateway.deliveries.drain(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn what_a_status_leads_to() {
    let scene = Scene::new();
    for (reply, reason) in [
        (Reply::Status(404), Reason::Rejected(404)),
        (Reply::With(301, "location", "http://169.254.169.254/"), Reason::Redirected(301)),
    ] {
        let scene = Scene::new();
        let server = Server::start(&scene.tasks, move |_, _| reply.clone()).await;
        let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
        let position = gateway.send("a").await;
        let status = gateway.until("one", |one| one.dead == 1).await;
        assert_eq!(status.waiting, 0);
        let dead = became(&gateway, "one", position);
        assert!(
            matches!(dead, Some(Became::Dead { attempts: 1, reason: why, .. }) if why == reason),
            "{dead:?}"
        );
        assert_eq!(server.hits().len(), 1);
    }

    let flaky = |count, _: &_| match count {
        0 => Reply::Status(500),
        1 => Reply::With(429, "retry-after", "30"),
        _ => Reply::Status(200),
    };
    let server = Server::start(&scene.tasks, flaky).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    let position = gateway.send("a").await;
    server.came(1).await;
    gateway.until("one", |one| one.waiting == 1).await;
    pass(&scene, &server, 2).await;
    let status = gateway.until("one", |one| one.last == Some(Outcome::Status(429))).await;
    assert!(matches!(status.breaker, Breaker::Open { asked: true, .. }), "{status:?}");
    let before = strait_runtime::Clock::monotonic(&*scene.clock);
    pass(&scene, &server, 3).await;
    let after = strait_runtime::Clock::monotonic(&*scene.clock);
    assert!(after - before >= Duration::from_secs(29), "{before:?} {after:?}");
    gateway.idle("one").await;
    assert_eq!(became(&gateway, "one", position), Some(Became::Delivered));
}

#[tokio::test]
async fn a_backend_that_refuses_is_tried_again_whatever_the_wall_clock_does() {
    let scene = Scene::new();
    // Held by somebody who does not listen.
    let held = TcpSocket::new_v4().unwrap();
    held.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = held.local_addr().unwrap();
    let gateway = scene.start(&config(&[("one", &url(address))])).await;
    for text in ["a", "b", "c", "d"] {
        gateway.send(text).await;
    }
    let is_open = |breaker| matches!(breaker, Breaker::Open { .. });
    gateway.until("one", |one| is_open(one.breaker) && one.in_flight == 0).await;
    // A day back.
    scene.clock.set_wall("2025-12-31T00:00:00Z".parse().unwrap());
    drop(held);
    let server = Server::start_at(&scene.tasks, address).await;
    pass(&scene, &server, 4).await;
    let status = gateway.idle("one").await;
    assert!(matches!(status.breaker, Breaker::Closed { .. }));
}

#[tokio::test]
async fn a_backend_that_is_known_to_be_back_is_tried_at_once() {
    let scene = Scene::new();
    let script = |count, _: &_| if count < 3 { Reply::Status(503) } else { Reply::Status(200) };
    let server = Server::start(&scene.tasks, script).await;
    let backend = format!("{}, inFlight: 1", url(server.address));
    let gateway = scene.start(&config(&[("one", &backend)])).await;
    gateway.send("a").await;
    for count in 1..=3 {
        server.came(count).await;
        let is_open = |breaker| matches!(breaker, Breaker::Open { .. });
        gateway.until("one", |one| is_open(one.breaker)).await;
        gateway.deliveries.wake("one");
    }
    server.came(4).await;
    gateway.idle("one").await;
}

#[tokio::test]
async fn a_stuck_key_holds_up_no_other() {
    let scene = Scene::new();
    let stuck = |_, hit: &super::server::Hit| {
        if hit.text().contains("stuck") { Reply::Hang } else { Reply::Status(200) }
    };
    let server = Server::start(&scene.tasks, stuck).await;
    let members = format!("{}, order: /repository/full_name", url(server.address));
    let gateway = scene.start(&config(&[("one", &members)])).await;
    let body = |repository: &str, number: usize| {
        format!("{{\"repository\": {{\"full_name\": \"{repository}\"}}, \"n\": {number}}}")
    };
    for number in 0..20 {
        for repository in ["a/stuck", "a/one", "a/two"] {
            gateway.send(&body(repository, number)).await;
        }
    }
    server.came(41).await;
    let status = gateway.until("one", |one| one.waiting == 19 && one.in_flight == 1).await;
    assert_eq!(status.waiting, 19);
    let texts = server.texts();
    for repository in ["a/one", "a/two"] {
        let came: Vec<_> = texts.iter().filter(|text| text.contains(repository)).collect();
        let expected: Vec<_> = (0..20).map(|number| body(repository, number)).collect();
        assert_eq!(came, expected.iter().collect::<Vec<_>>());
    }

    // The order is that of the log after a restart, too.
    gateway.kill().await;
    let server = Server::ok(&scene.tasks).await;
    let members = format!("{}, order: /repository/full_name", url(server.address));
    let gateway = scene.start(&config(&[("one", &members)])).await;
    gateway.send(&body("a/stuck", 20)).await;
    server.came(21).await;
    gateway.idle("one").await;
    let expected: Vec<_> = (0..21).map(|number| body("a/stuck", number)).collect();
    assert_eq!(server.texts(), expected);
}

/// Waits until everything up to a position is settled at a backend.
async fn settled(gateway: &Gateway, backend: &str, position: Position) {
    let settled = async {
        while gateway.state.read(|table| table.low_water(Backend::of(backend))) != Some(position) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::scene::LONG, settled).await.unwrap();
}

#[tokio::test]
async fn a_backend_gets_what_passes_its_filter() {
    let scene = Scene::new();
    let (all, some) = (Server::ok(&scene.tasks).await, Server::ok(&scene.tasks).await);
    let filter = "filter: {events: [push], repositories: [\"acme/*\"], equals: {/ref: main}}";
    let some_members = format!("{}, {filter}", url(some.address));
    let config = config(&[("all", &url(all.address)), ("some", &some_members)]);
    let gateway = scene.start(&config).await;
    let of = |gateway: &Gateway, kind: &'static str, repository: &str, at: &str| -> Event {
        let body =
            format!("{{\"repository\":{{\"full_name\":\"{repository}\"}},\"ref\":\"{at}\"}}");
        let mut event = gateway.event(&body);
        event.headers.insert("x-github-event", kind.parse().unwrap());
        event
    };
    for (kind, repository, at) in [
        ("push", "acme/site", "main"),
        ("push", "acme/site", "dev"),
        ("issues", "acme/site", "main"),
        ("push", "other/site", "main"),
    ] {
        gateway.take(of(&gateway, kind, repository, at)).await;
    }
    let mut foreign = of(&gateway, "push", "acme/site", "main");
    foreign.source = "other".into();
    let last = gateway.take(foreign).await;
    all.came(4).await;
    some.came(1).await;
    gateway.idle("some").await;
    assert_eq!(some.hits().len(), 1);
    // What is not wanted holds nothing back.
    settled(&gateway, "some", last).await;
    let seen = (1..=5).map(|at| became(&gateway, "some", Position(at)));
    let (got, not) = (Some(Became::Delivered), Some(Became::Unwanted));
    assert_eq!(seen.collect::<Vec<_>>(), [got, not, not, not, not]);

    // Nor is it delivered if only the restart finds it.
    gateway.kill().await;
    let gateway = scene.start(&config).await;
    let unseen = of(&gateway, "issues", "acme/site", "main");
    gateway.log.append(unseen).await.unwrap();
    gateway.kill().await;
    let gateway = scene.start(&config).await;
    all.came(5).await;
    gateway.idle("some").await;
    assert_eq!((all.hits().len(), some.hits().len()), (5, 1));
    settled(&gateway, "some", Position(6)).await;
    assert_eq!(became(&gateway, "some", Position(6)), not);
}
