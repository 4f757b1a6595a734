//! What leaves together: a driver that is polled by hand.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use strait_runtime::{Metrics, TaskSet};
use strait_tunnel::{Class, Config, Role, Side};
use tokio::io::duplex;
use tokio::time::Instant;

use super::Link;
use super::tests::{End, TokioClock, get, until};

/// One turn of the driver.
async fn turn(driver: &mut Pin<&mut impl Future>) {
    let over = poll_fn(|context| Poll::Ready(driver.as_mut().poll(context).is_ready())).await;
    assert!(!over);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_alone_leaves_at_once_and_several_leave_together() {
    let tasks = TaskSet::new(&Metrics::new());
    let (near, far) = duplex(1 << 16);
    let clock = Arc::new(TokioClock(Instant::now()));
    let config = Config::new(Role::Hub, Role::Agent, [7; 16]);
    let (hub, driver) = Link::new(near, Side::Acceptor, config, clock, Box::new(|_, _| {}));
    let mut driver = pin!(driver);
    let agent = End::start(far, Side::Dialler, &tasks);
    for _ in 0..100 {
        turn(&mut driver).await;
        tokio::task::yield_now().await;
    }
    assert!(hub.round_trip().is_some() && agent.link.round_trip().is_some(), "both are ready");

    let quiet = hub.carried().sent;
    let mut streams = vec![hub.open(&get(), Class::Normal, true).unwrap()];
    turn(&mut driver).await;
    assert_eq!(hub.carried().sent, quiet, "those that are ready have their turn before");
    turn(&mut driver).await;
    let alone = hub.carried().sent - quiet;
    assert!(alone > 0, "nobody else had anything to say: it has left");

    streams.push(hub.open(&get(), Class::Normal, true).unwrap());
    turn(&mut driver).await;
    streams.push(hub.open(&get(), Class::Normal, true).unwrap());
    turn(&mut driver).await;
    assert_eq!(hub.carried().sent, quiet + alone, "somebody had: those outside have their turn");
    streams.push(hub.open(&get(), Class::Normal, true).unwrap());
    turn(&mut driver).await;
    assert_eq!(hub.carried().sent, quiet + 4 * alone, "all of it has left");

    streams.push(hub.open(&get(), Class::Normal, true).unwrap());
    turn(&mut driver).await;
    streams.extend((0..16).map(|_| hub.open(&get(), Class::Normal, true).unwrap()));
    turn(&mut driver).await;
    assert_eq!(hub.carried().sent, quiet + 21 * alone, "that was enough to begin with");
    until(|| agent.link.usage().streams == 21).await;
}
