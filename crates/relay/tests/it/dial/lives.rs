//! Connections come, are replaced, and go.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use strait_relay::link::control::{Message, Refused};
use strait_relay::link::{Part, Stream};
use strait_tunnel::{Class, Code, Drain, OpenHead, RawHead, Tlvs};
use tokio::task::JoinSet;

use super::agent::{Agent, announcement, flood, route};
use super::hub::{Came, Hub, Manner, clock};
use super::wire::{Line, wire};

fn open(came: &Came) -> Stream {
    let head = OpenHead::Raw(RawHead::new(&Tlvs::default()).unwrap());
    came.link.open(&head, Class::Normal, false).unwrap()
}

/// Sends a word there and back.
async fn echo(stream: &mut Stream, word: &'static str) {
    stream.sender.write(Bytes::from_static(word.as_bytes())).await.unwrap();
    assert_eq!(stream.receiver.next().await, Part::Data(Bytes::from_static(word.as_bytes())));
}

async fn finish(mut stream: Stream) {
    stream.sender.finish().unwrap();
    assert_eq!(stream.receiver.next().await, Part::End);
}

fn drain() -> Drain {
    let (grace, hard) = (Duration::from_secs(30), Duration::from_secs(30));
    Drain { code: Code::Draining, grace, hard, text: "restart".into() }
}

#[tokio::test]
async fn so_many_connections_as_are_wanted_announce_and_take_streams() {
    let mut hub = Hub::start(Manner::default()).await;
    let mut agent = Agent::of(&hub, 2);
    let (mut first, mut second) = (hub.next().await, hub.next().await);
    for came in [&mut first, &mut second] {
        assert_eq!(came.services().await, 1);
        let mut stream = open(came);
        echo(&mut stream, "there and back").await;
        finish(stream).await;
    }
    let status = agent.until(|status| status.ready == 2).await;
    assert_eq!((status.wanted, status.open, status.check()), (2, 2, Ok(())));
    agent.route.send_modify(|route| route.as_mut().unwrap().connections = 1);
    agent.until(|status| status.open == 1 && status.ready == 1).await;
    agent.route.send_replace(None);
    let status = agent.until(|status| status.open == 0).await;
    assert_eq!(status.check(), Ok(()), "nobody wants one");
    agent.route.send_replace(Some(route(&hub.address.to_string(), 1)));
    hub.next().await;
    agent.end().await;
}

/// Streams that a flooding agent sends as much on as it may, until this is dropped. There are so many
/// that what a connection lets them have open is more than the machine's buffers take of it.
fn flooded(came: &Came) -> JoinSet<()> {
    let mut streams = JoinSet::new();
    for _ in 0..16 {
        let (mut receiver, _) = open(came).split();
        streams.spawn(async move { while matches!(receiver.next().await, Part::Data(_)) {} });
    }
    streams
}

#[tokio::test]
async fn as_many_connections_again_are_made_where_much_waits_to_be_sent() {
    let mut hub = Hub::start(Manner::default()).await;
    // As many as a hub has that is far away: how quick the machine is makes no difference.
    let route = route(&Line::NARROW.to(hub.address).await.to_string(), 4);
    let mut agent = Agent::start(&hub.authority, route, None, |setup| {
        setup.acceptor = Box::new(|| Box::new(|stream, _| flood(stream)));
    });
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(hub.next().await);
    }
    let status = agent.until(|status| status.ready == 4).await;
    assert_eq!(status.wanted, 4, "{status:?}");
    let streams: Vec<_> = all.iter().map(flooded).collect();
    agent.until(|status| status.wanted == 8).await;
    for _ in 0..4 {
        hub.next().await;
    }
    agent.until(|status| status.ready == 8).await;
    drop(streams);
    agent.end().await;
}

#[tokio::test]
async fn a_hub_that_is_far_away_has_four_connections() {
    let mut hub = Hub::start(Manner::default()).await;
    let route = route(&Line::LONG.to(hub.address).await.to_string(), 1);
    let mut agent = Agent::start(&hub.authority, route, None, |_| {});
    let mut came = Vec::new();
    for _ in 0..4 {
        came.push(hub.next().await);
    }
    let status = agent.until(|status| status.ready == 4).await;
    assert_eq!(status.wanted, 4, "{status:?}");
    agent.end().await;
}

#[tokio::test]
async fn what_changes_is_announced_again_and_not_at_once() {
    let mut hub = Hub::start(Manner::default()).await;
    let agent = Agent::of(&hub, 1);
    let mut came = hub.next().await;
    assert_eq!(came.services().await, 1);
    let begun = clock().monotonic();
    for generation in 2..=50 {
        agent.announcements.send_replace(announcement(generation));
    }
    assert_eq!(came.services().await, 50, "what is old is left out");
    let took = clock().monotonic() - begun;
    assert!(took > Duration::from_millis(900), "{took:?}");
    agent.end().await;
}

#[tokio::test]
async fn the_hubs_messages_are_heard() {
    let mut hub = Hub::start(Manner::default()).await;
    let mut agent = Agent::of(&hub, 1);
    let came = hub.next().await;
    let refused = vec![Refused { name: "ci".into(), reason: "too\nlong".into() }];
    let note = |level: &str| Message::Note { level: level.into(), text: "x\u{1b}".into() };
    let mut said = vec![Message::ServicesAck { r#gen: 1, refused }, note("warn"), note("odd")];
    said.extend([Message::Hubs { list: Vec::new() }, Message::Draining { deadline: 1 }]);
    said.push(Message::Renew);
    let kept = came.say(&said).await;
    let renewed = async {
        while agent.member.renewals.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(super::PATIENCE, renewed).await.unwrap();
    // A second control stream is none; the first goes on, as do all others.
    let mut another = came.say(&[]).await;
    assert_eq!(another.stopped().await, Code::Protocol);
    echo(&mut open(&came), "still there").await;
    drop(kept);
    agent.until(|status| status.ready == 1).await;
    agent.end().await;
}

/// An agent whose first connection is to be replaced soon.
fn until_soon(hub: &Hub) -> Agent {
    let soon = clock().now() + Duration::from_millis(300);
    Agent::start(&hub.authority, route(&hub.address.to_string(), 1), Some(soon), |_| {})
}

/// The next connection, which announces its services, and a stream on it.
async fn carrying(hub: &mut Hub) -> (Came, Stream) {
    let mut came = hub.next().await;
    assert_eq!(came.services().await, 1);
    let mut stream = open(&came);
    echo(&mut stream, "before").await;
    (came, stream)
}

/// What the next connection has to be before this one is let go.
async fn is_replaced(hub: &mut Hub, old: Came, mut stream: Stream) {
    let mut new = hub.next().await;
    assert_eq!(new.services().await, 1);
    assert!(old.link.is_open(), "the new one is not acknowledged yet");
    let _kept = new.acknowledge(1).await;
    assert_eq!(old.link.draining().await.unwrap().code, Code::Draining);
    assert!(new.link.is_open());
    echo(&mut stream, "what goes on is not disturbed").await;
    finish(stream).await;
    assert_eq!(old.link.closed().await.code, Code::None);
}

#[tokio::test]
async fn before_a_certificate_ends_another_connection_is_there_and_announced() {
    let mut hub = Hub::start(Manner::default()).await;
    let agent = until_soon(&hub);
    let (old, stream) = carrying(&mut hub).await;
    is_replaced(&mut hub, old, stream).await;
    agent.end().await;
}

#[tokio::test]
async fn who_may_have_no_other_connection_keeps_the_one_there_is() {
    let mut hub = Hub::start(Manner::default()).await;
    let agent = until_soon(&hub);
    let (old, stream) = carrying(&mut hub).await;
    hub.next().await.link.cut(Code::Internal, "one too many");
    is_replaced(&mut hub, old, stream).await;
    agent.end().await;
}

#[tokio::test]
async fn another_route_is_taken_before_the_old_one_is_left() {
    let mut hub = Hub::start(Manner::default()).await;
    let agent = Agent::of(&hub, 1);
    let (old, stream) = carrying(&mut hub).await;
    let another = "127.0.0.1:1".to_owned();
    agent.route.send_modify(|route| route.as_mut().unwrap().way.addresses.insert(0, another));
    is_replaced(&mut hub, old, stream).await;
    agent.end().await;
}

#[tokio::test]
async fn while_a_hub_drains_its_agents_come_back_before_the_old_connection_ends() {
    let spread = Duration::from_millis(200);
    let mut hub = Hub::start(Manner { spread, ..Manner::default() }).await;
    let mut agent = Agent::of(&hub, 1);
    let mut old = hub.next().await;
    assert_eq!(old.services().await, 1);
    let mut stream = open(&old);
    echo(&mut stream, "before").await;
    old.link.drain(drain());
    let mut new = hub.next().await;
    assert_eq!(new.services().await, 1);
    agent.until(|status| (status.ready, status.open) == (1, 2)).await;
    echo(&mut stream, "after").await;
    finish(stream).await;
    assert_eq!(old.link.closed().await.code, Code::None);
    echo(&mut open(&new), "on the new one").await;
    assert!(agent.metrics().contains("\nstrait_relay_drains_total{by=\"hub\"} 1"));
    agent.end().await;
}

#[tokio::test]
async fn an_agent_that_ends_says_so_and_finishes() {
    let mut hub = Hub::start(Manner::default()).await;
    let agent = Agent::of(&hub, 2);
    let mut all = [hub.next().await, hub.next().await];
    let mut streams = Vec::new();
    for came in &mut all {
        assert_eq!(came.services().await, 1);
        let mut stream = open(came);
        echo(&mut stream, "before").await;
        streams.push(stream);
    }
    agent.ask_to_end();
    for came in &mut all {
        assert_eq!(came.hear().await, Message::Draining { deadline: 30_000 });
        assert_eq!(came.link.draining().await.unwrap().code, Code::Draining);
    }
    assert!(agent.metrics().contains("\nstrait_relay_drains_total{by=\"agent\"} 2"));
    for mut stream in streams {
        echo(&mut stream, "after").await;
        finish(stream).await;
    }
    agent.end().await;
    for came in &all {
        assert_eq!(came.link.closed().await.code, Code::None);
    }
}

#[tokio::test]
async fn a_connection_that_has_fallen_silent_is_made_anew() {
    let keep_alive = Duration::from_secs(1);
    let mut hub = Hub::start(Manner { keep_alive, ..Manner::default() }).await;
    let (address, silence) = wire(hub.address).await;
    let mut agent = Agent::start(&hub.authority, route(&address.to_string(), 1), None, |_| {});
    let mut old = hub.next().await;
    assert_eq!(old.services().await, 1);
    let begun = clock().monotonic();
    silence.send_replace(true);
    agent.until(|status| status.ready == 0).await;
    // A third of the time with the standard keep-alive would be 15 s in all.
    let took = clock().monotonic() - begun;
    assert!(took < Duration::from_secs(5), "{took:?}");
    silence.send_replace(false);
    let mut new = hub.next().await;
    assert_eq!(new.services().await, 1);
    agent.end().await;
}
