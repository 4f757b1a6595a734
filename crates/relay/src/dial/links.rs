//! The connections that take streams to the hub.

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

    pub(super) fn choose(&self, tried: &[u64]) -> Option<Chosen> {
        let open = || self.links.iter().filter(|(_, link)| link.is_open());
        let new = open().filter(|(number, _)| !tried.contains(number));
        let least = new.min_by_key(|(_, link)| link.open_streams());
        // Where there is one alone it is tried again.
        let (number, link) = least.or_else(|| open().next())?;
        Some(Chosen { number: *number, link: link.clone() })
    }
}
