//! What is held at most.

use std::time::Duration;

use super::scene::{Scene, config_with, url};
use super::server::{Reply, Server};

#[tokio::test]
async fn bodies_in_memory_are_bounded_and_nobody_takes_another_s_share() {
    const SHARE: usize = (8 << 20) / strait_hooks::deliver::MEMORY_SHARE;
    let scene = Scene::new();
    let well = Server::ok(&scene.tasks).await;
    let hung = Server::start(&scene.tasks, |_, _| Reply::Hang).await;
    let config = config_with(
        "limits: {body: 1MiB, memory: 8MiB}",
        &[("hung", &url(hung.address)), ("well", &url(well.address))],
    );
    let gateway = scene.start(&config).await;
    let body = "x".repeat(100_000);
    let mut most = 0;
    for _ in 0..200 {
        gateway.send(&body).await;
        let held = gateway.metric("strait_hooks_deliver_budget_bytes").parse().unwrap();
        most = most.max(held);
    }
    well.came(200).await;
    gateway.idle("well").await;
    // Fewer than its 32 places would take.
    let held: usize = gateway.metric("strait_hooks_deliver_budget_bytes").parse().unwrap();
    assert!(held < SHARE && most <= SHARE, "{held} {most}");
    assert!(held > SHARE / 2, "{held}");
    gateway.deliveries.drain(Duration::from_millis(10)).await;
    assert_eq!(gateway.metric("strait_hooks_deliver_budget_bytes"), "0");
}

#[tokio::test]
async fn an_event_that_is_larger_than_a_share_is_delivered() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let config = config_with(
        "limits: {body: 1MiB, memory: 1MiB}",
        &[("one", &url(server.address)), ("two", &url(server.address))],
    );
    let gateway = scene.start(&config).await;
    let body = "x".repeat(1 << 20);
    for _ in 0..3 {
        gateway.send(&body).await;
    }
    server.came(6).await;
    gateway.idle("one").await;
    gateway.idle("two").await;
}

#[tokio::test]
async fn a_large_body_is_looked_into_beside_others() {
    let scene = Scene::new();
    let server = Server::ok(&scene.tasks).await;
    let members = format!("{}, inFlight: 1, order: /key", url(server.address));
    let gateway = scene.start(&config_with("", &[("one", &members)])).await;
    let large = format!("{{\"x\": \"{}\", \"key\": \"a\"}}", "x".repeat(1 << 20));
    for body in [large.as_str(), "{\"key\": \"a\"}"] {
        gateway.send(body).await;
    }
    server.came(2).await;
    gateway.idle("one").await;
    let lengths: Vec<_> = server.hits().iter().map(|hit| hit.body.len()).collect();
    assert_eq!(lengths, [large.len(), 12]);
}
