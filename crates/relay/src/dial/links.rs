//! The connections that take streams to the hub.

use super::load::Busy;
use crate::link::Link;

/// Those that are ready, with numbers that are never used again.
#[derive(Default)]
pub(super) struct Links {
    next: u64,
    links: Vec<(u64, Link)>,
}

/// A connection that takes a stream.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its number.
    pub number: u64,
    /// The connection.
    pub link: Link,
}

impl Links {
    pub(super) fn add(&mut self, link: Link) -> u64 {
        self.next += 1;
        self.links.push((self.next, link));
        self.next
    }

    pub(super) fn remove(&mut self, number: u64) {
        self.links.retain(|(own, _)| *own != number);
    }

    /// How busy each is that takes streams.
    pub(super) fn busy(&self) -> Vec<Busy> {
        let open = self.links.iter().filter(|(_, link)| link.is_open());
        let busy = |link: &Link| Busy {
            delay: link.queueing(),
            on_its_way: link.on_its_way(),
            nearest: link.nearest(),
        };
        open.map(|(_, link)| busy(link)).collect()
    }

    pub(super) fn choose(&self, tried: &[u64]) -> Option<Chosen> {
        let open = || self.links.iter().filter(|(_, link)| link.is_open());
        let new = open().filter(|(number, _)| !tried.contains(number));
        let least = new.min_by_key(|(_, link)| link.open_streams());
        // Where there is one alone it is tried again.
        let (number, link) = least.or_else(|| open().next())?;
        Some(Chosen { number: *number, link: link.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use strait_runtime::{Metrics, SystemClock, TaskSet};
    use strait_tunnel::{Class, Code, Config, Drain, OpenHead, RawHead, Role, Side, Tlvs};
    use tokio::io::duplex;

    use super::*;

    /// An agent's end of a connection, and its hub's.
    async fn pair(tasks: &TaskSet) -> (Link, Link) {
        let (near, far) = duplex(1 << 16);
        let clock = Arc::new(SystemClock);
        let config = |own, other| Config::new(own, other, [1; 16]);
        let hold = |kept: tokio::sync::mpsc::Sender<_>| {
            Box::new(move |stream, _| drop(kept.try_send(stream)))
        };
        let (kept, mut streams) = tokio::sync::mpsc::channel(16);
        let (agent, driver) = Link::new(
            near,
            Side::Dialler,
            config(Role::Agent, Role::Hub),
            clock.clone(),
            hold(kept.clone()),
        );
        tasks.spawn_daemon("agent", driver);
        let (hub, driver) =
            Link::new(far, Side::Acceptor, config(Role::Hub, Role::Agent), clock, hold(kept));
        tasks.spawn_daemon("hub", driver);
        agent.ready().await.unwrap();
        tasks.spawn_daemon("streams", async move {
            let mut all = Vec::new();
            while let Some(stream) = streams.recv().await {
                all.push(stream);
            }
        });
        (agent, hub)
    }

    #[tokio::test]
    async fn a_stream_goes_to_the_least_busy_connection_that_takes_it() {
        let tasks = TaskSet::new(&Metrics::new());
        let mut links = Links::default();
        assert!(links.choose(&[]).is_none());
        let ((one, hub), (two, _far)) = (pair(&tasks).await, pair(&tasks).await);
        assert_eq!([links.add(one.clone()), links.add(two)], [1, 2]);
        let chosen = |links: &Links, tried: &[u64]| links.choose(tried).map(|one| one.number);
        let raw = OpenHead::Raw(RawHead::new(&Tlvs { service: "db", ..Tlvs::default() }).unwrap());
        let _open = one.open(&raw, Class::Normal, false).unwrap();
        assert_eq!(chosen(&links, &[]), Some(2));
        assert_eq!(chosen(&links, &[2]), Some(1));
        // All were tried: then one of them again.
        assert!(chosen(&links, &[1, 2]).is_some());
        let time = Duration::from_secs(10);
        let text = String::new();
        hub.drain(Drain { code: Code::Draining, grace: time, hard: time, text });
        assert!(one.draining().await.is_some());
        assert_eq!(chosen(&links, &[2]), Some(2), "the other takes nothing more");
        links.remove(2);
        assert_eq!(chosen(&links, &[]), None);
    }
}
