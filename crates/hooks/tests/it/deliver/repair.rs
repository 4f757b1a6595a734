//! What is repaired: by a restart, by an operator, by a sender that sends again.

use std::sync::Arc;
use std::time::Duration;

use strait_hooks::Position;
use strait_hooks::schedule::Reason;
use strait_hooks::state::{Backend, Became};

use super::scene::{Gateway, Scene, config, config_with, url};
use super::server::{Reply, Server};

fn named(name: &str) -> Vec<Arc<str>> {
    vec![name.into()]
}

/// A gateway of one backend, which asks for a minute at the first attempt and takes what comes later.
async fn held_up(scene: &Scene) -> (Server, Gateway) {
    let busy = |count, _: &_| {
        if count == 0 { Reply::With(503, "retry-after", "60") } else { Reply::Status(200) }
    };
    let server = Server::start(&scene.tasks, busy).await;
    let members = format!("{}, inFlight: 1", url(server.address));
    let gateway = scene.start(&config(&[("one", &members)])).await;
    (server, gateway)
}

#[tokio::test]
async fn a_restart_in_the_middle_repeats_only_what_was_in_flight() {
    let scene = Scene::new();
    // Every third hangs.
    let script = |_, hit: &super::server::Hit| {
        let number: usize = hit.text().parse().unwrap();
        if number.is_multiple_of(3) { Reply::Hang } else { Reply::Status(200) }
    };
    let server = Server::start(&scene.tasks, script).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    for number in 0..60 {
        gateway.send(&number.to_string()).await;
    }
    server.came(60).await;
    gateway.until("one", |one| one.waiting == 0 && one.in_flight == 20).await;
    gateway.kill().await;

    let server = Server::ok(&scene.tasks).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    server.came(20).await;
    gateway.idle("one").await;
    let numbers: Vec<usize> = server.texts().iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 20);
    assert!(numbers.iter().all(|number| number.is_multiple_of(3)), "{numbers:?}");

    // A drain leaves nothing to repeat.
    gateway.send("100").await;
    server.came(21).await;
    gateway.deliveries.drain(super::scene::LONG).await;
    gateway.kill().await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    gateway.idle("one").await;
    assert_eq!(server.hits().len(), 21);
}

#[tokio::test]
async fn an_event_that_the_disk_spoilt_is_a_dead_letter() {
    let scene = Scene::new();
    let refusing = Server::start(&scene.tasks, |_, _| Reply::Status(500)).await;
    let gateway = scene.start(&config(&[("one", &url(refusing.address))])).await;
    let mut positions = Vec::new();
    for text in ["whole-1", "spoilt-2", "whole-3"] {
        positions.push(gateway.send(text).await);
    }
    gateway.kill().await;
    for entry in std::fs::read_dir(scene.dir.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(at) = bytes.windows(8).position(|window| window == b"spoilt-2") {
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let server = Server::ok(&scene.tasks).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    server.came(2).await;
    gateway.until("one", |one| one.dead == 1 && one.waiting == 0).await;
    let mut texts = server.texts();
    texts.sort();
    assert_eq!(texts, ["whole-1", "whole-3"]);
    let became =
        gateway.state.read(|table| table.became(Backend::of("one"), positions[1])).unwrap();
    assert!(matches!(became, Became::Dead { reason: Reason::Unusable, .. }), "{became:?}");
}

#[tokio::test]
async fn replays_redrives_and_purges() {
    let scene = Scene::new();
    let first = |count, _: &_| if count < 2 { Reply::Status(404) } else { Reply::Status(200) };
    let server = Server::start(&scene.tasks, first).await;
    let other = Server::ok(&scene.tasks).await;
    let members = format!("{}, inFlight: 1", url(server.address));
    let config = config(&[("one", &members), ("two", &url(other.address))]);
    let gateway = scene.start(&config).await;
    let (a, b) = (gateway.send("a").await, gateway.send("b").await);
    gateway.until("one", |one| one.dead == 2).await;
    gateway.idle("two").await;

    // A sender sends one again: only where it is dead.
    assert_eq!(gateway.deliveries.redrive(a).await, 1);
    server.came(3).await;
    gateway.until("one", |one| one.dead == 1 && one.in_flight == 0 && one.waiting == 0).await;
    assert_eq!(gateway.deliveries.redrive(a).await, 0);
    assert_eq!(other.hits().len(), 2);

    // An operator takes the other out, which is then no dead letter any more.
    let purged = gateway.deliveries.purge(&named("one"), &[a, b, Position(99)]).await.unwrap();
    assert_eq!(purged, 1);
    assert_eq!(gateway.idle("one").await.dead, 0);

    // And has all of them delivered once more.
    let all = [a, b, Position(99)];
    let count = gateway.deliveries.replay(&[named("one"), named("two")].concat(), &all).await;
    assert_eq!(count.unwrap(), 4);
    server.came(5).await;
    other.came(4).await;
    gateway.idle("one").await;
    gateway.idle("two").await;
    assert_eq!(server.texts(), ["a", "b", "a", "a", "b"]);
}

#[tokio::test]
async fn what_is_taken_out_while_it_waits_is_not_delivered() {
    let scene = Scene::new();
    let (server, gateway) = held_up(&scene).await;
    let a = gateway.send("a").await;
    server.came(1).await;
    gateway.until("one", |one| one.last.is_some()).await;
    let b = gateway.send("b").await;
    gateway.send("c").await;
    assert_eq!(gateway.deliveries.purge(&named("one"), &[a, b]).await.unwrap(), 2);
    gateway.deliveries.wake("one");
    server.came(2).await;
    gateway.idle("one").await;
    assert_eq!(server.texts(), ["a", "c"]);
}

#[tokio::test]
async fn an_attempt_that_ends_after_the_purge_brings_nothing_back() {
    for status in [200, 404, 503] {
        let scene = Scene::new();
        let (open, gate) = tokio::sync::watch::channel(false);
        let held = move |_: usize, _: &_| Reply::Held(gate.clone(), status);
        let server = Server::start(&scene.tasks, held).await;
        let config = config(&[("one", &url(server.address))]);
        let gateway = scene.start(&config).await;
        let a = gateway.send("a").await;
        server.came(1).await;
        assert_eq!(gateway.deliveries.purge(&named("one"), &[a]).await.unwrap(), 1);
        open.send_replace(true);
        assert_eq!(gateway.idle("one").await.dead, 0, "{status}");
        assert_eq!(gateway.deliveries.purge(&named("one"), &[a]).await.unwrap(), 0, "once");
        assert_eq!(gateway.deliveries.redrive(a).await, 0);
        gateway.kill().await;
        let gateway = scene.start(&config).await;
        gateway.deliveries.wake("one");
        gateway.idle("one").await;
        let became = gateway.state.read(|table| table.became(Backend::of("one"), a));
        assert_eq!(became, Some(Became::Purged), "{status}");
        assert_eq!(server.hits().len(), 1);
    }
}

#[tokio::test]
async fn what_is_asked_for_anew_is_tried_at_once_and_once_at_a_time() {
    let scene = Scene::new();
    let (open, gate) = tokio::sync::watch::channel(false);
    let script = move |count, _: &_| match count {
        0 => Reply::Status(500),
        _ => Reply::Held(gate.clone(), 200),
    };
    let server = Server::start(&scene.tasks, script).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    let anew = async |position| {
        assert_eq!(gateway.deliveries.purge(&named("one"), &[position]).await.unwrap(), 1);
        let asked = [position, position];
        gateway.deliveries.replay(&named("one"), &asked).await.unwrap();
    };
    let a = gateway.send("a").await;
    gateway.until("one", |one| one.last.is_some() && one.in_flight == 0).await;
    // It was put off, and the clock stands still.
    anew(a).await;
    server.came(2).await;
    // Now it is in flight.
    anew(a).await;
    gateway.deliveries.wake("one");
    gateway.send("b").await;
    server.came(3).await;
    assert_eq!(server.texts(), ["a", "a", "b"]);
    let status = gateway.until("one", |one| one.waiting == 0).await;
    assert_eq!(status.in_flight, 2);
    open.send_replace(true);
    gateway.idle("one").await;
    assert_eq!(server.texts(), ["a", "a", "b"]);
}

#[tokio::test]
async fn what_is_asked_for_anew_before_it_was_missed_is_delivered_once() {
    let scene = Scene::new();
    let (server, gateway) = held_up(&scene).await;
    gateway.send("a").await;
    gateway.until("one", |one| one.last.is_some()).await;
    let b = gateway.send("b").await;
    assert_eq!(gateway.deliveries.purge(&named("one"), &[b]).await.unwrap(), 1);
    assert_eq!(gateway.deliveries.replay(&named("one"), &[b]).await.unwrap(), 1);
    gateway.deliveries.wake("one");
    gateway.idle("one").await;
    let mut texts = server.texts();
    texts.sort();
    assert_eq!(texts, ["a", "a", "b"]);
}

#[tokio::test]
async fn what_was_appended_and_never_offered_is_delivered() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let gateway = scene.start(&config(&[("one", &url(server.address))])).await;
    gateway.log.append(gateway.event("lost in the middle")).await.unwrap();
    gateway.send("offered").await;
    gateway.log.append(gateway.event("lost at the end")).await.unwrap();
    server.came(3).await;
    gateway.idle("one").await;
    let mut texts = server.texts();
    texts.sort();
    assert_eq!(texts, ["lost at the end", "lost in the middle", "offered"]);
}

#[tokio::test]
async fn positions_may_come_in_any_order() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let members = format!("{}, inFlight: 1", url(server.address));
    let gateway = scene.start(&config(&[("one", &members)])).await;
    let mut taken = Vec::new();
    for number in 0..20 {
        let event = Arc::new(gateway.event(&number.to_string()));
        taken.push((gateway.log.append((*event).clone()).await.unwrap(), event));
    }
    taken.rotate_left(7);
    for (position, event) in &taken {
        gateway.deliveries.offer(*position, event);
        gateway.deliveries.offer(*position, event);
    }
    server.came(20).await;
    gateway.idle("one").await;
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(server.texts(), expected);
}

#[tokio::test]
async fn old_events_are_removed_and_undelivered_ones_are_told_of() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let busy = Server::start(&scene.tasks, |_, _| Reply::Status(503)).await;
    let config = config_with(
        "retention: {delivered: 1h, undelivered: 2h}",
        &[("well", &url(server.address)), ("busy", &url(busy.address))],
    );
    let body = "x".repeat(3_000);
    let gateway = scene.start_with(&config, |_| {}, 16 << 10).await;
    for _ in 0..20 {
        gateway.send(&body).await;
    }
    server.came(20).await;
    gateway.idle("well").await;
    scene.clock.advance(Duration::from_secs(3 * 3_600));
    gateway.kill().await;
    let gateway = scene.start_with(&config, |_| {}, 16 << 10).await;
    let name = "strait_hooks_deliver_dropped_total{backend=\"busy\",reason=\"age\"}";
    let told = async {
        while gateway.metric(name).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::scene::LONG, told).await.unwrap();
    let gone = usize::try_from(gateway.log.floor().0 - 1).unwrap();
    assert!(gone > 0 && gone < 20, "never the newest segment");
    assert_eq!(gateway.metric(name), gone.to_string());
    gateway.until("busy", |one| one.in_flight == 0).await;
    gateway.deliveries.wake("busy");
    gateway.until("busy", |one| one.waiting + one.in_flight == 20 - gone).await;
}

#[tokio::test]
async fn a_log_that_is_larger_than_it_may_be_gives_up_its_oldest_while_it_runs() {
    const DISK: u64 = 64 << 10;
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let busy = Server::start(&scene.tasks, |_, _| Reply::Status(503)).await;
    let config = config_with(
        "limits: {disk: 64KiB}",
        &[("well", &url(server.address)), ("busy", &url(busy.address))],
    );
    let gateway = scene.start_with(&config, |_| {}, 16 << 10).await;
    let body = "x".repeat(3_000);
    for count in 1..=60 {
        gateway.send(&body).await;
        server.came(count).await;
    }
    let within = async {
        while gateway.log.bytes() > DISK {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::scene::LONG, within).await.expect("no minute has to pass");
    let name = "strait_hooks_deliver_dropped_total{backend=\"busy\",reason=\"disk\"}";
    let gone = gateway.log.floor().0 - 1;
    assert!(gone > 0 && gone < 60, "{gone}");
    let told = async {
        while gateway.metric(name) != gone.to_string() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::scene::LONG, told).await.unwrap();
    let well = "strait_hooks_deliver_dropped_total{backend=\"well\",reason=\"disk\"}";
    assert_eq!(gateway.metric(well), "", "what was delivered is not missed");
    // What is left is still delivered, and what comes is taken.
    gateway.send(&body).await;
    server.came(61).await;
    gateway.until("busy", |one| one.in_flight == 0).await;
    gateway.deliveries.wake("busy");
    gateway
        .until("busy", |one| {
            u64::try_from(one.waiting + one.in_flight).is_ok_and(|left| left <= 61 - gone)
        })
        .await;
}
