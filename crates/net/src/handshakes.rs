//! Turns for TLS handshakes: so many of all, and of those so many of one client. Who begins them and
//! goes no further holds up itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::peers::client_of;

pub(crate) struct Handshakes {
    all: Semaphore,
    /// Of one client.
    most: usize,
    /// Only those that have or want some, and how many.
    clients: Mutex<HashMap<IpAddr, (Arc<Semaphore>, usize)>>,
}

/// A handshake that may go on while this lives.
pub(crate) struct Turn<'h> {
    _all: SemaphorePermit<'h>,
    _own: Option<(OwnedSemaphorePermit, Client<'h>)>,
}

/// One of a client's handshakes, with a turn or without.
struct Client<'h> {
    of: &'h Handshakes,
    address: IpAddr,
    turns: Arc<Semaphore>,
}

impl Handshakes {
    pub(crate) fn new(all: usize, most: usize) -> Self {
        Self { all: Semaphore::new(all), most, clients: Mutex::default() }
    }

    /// Waits for a turn: of a client at this address, or of one of many who share theirs.
    ///
    /// # Errors
    /// Never: none of its semaphores is closed.
    ///
    /// # Cancel safety
    /// Safe; the place in the line is lost.
    pub(crate) async fn turn(&self, address: Option<IpAddr>) -> Result<Turn<'_>, AcquireError> {
        let own = match address {
            Some(address) => {
                let client = self.client(client_of(address));
                Some((client.turns.clone().acquire_owned().await?, client))
            }
            None => None,
        };
        Ok(Turn { _all: self.all.acquire().await?, _own: own })
    }

    fn client(&self, address: IpAddr) -> Client<'_> {
        let mut clients = self.clients.lock();
        let known = clients.entry(address);
        let (turns, users) = known.or_insert_with(|| (Arc::new(Semaphore::new(self.most)), 0));
        *users += 1;
        Client { of: self, address, turns: turns.clone() }
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut known) = self.of.clients.lock().entry(self.address) {
            known.get_mut().1 -= 1;
            if known.get().1 == 0 {
                known.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_holds_many_turns_waits_and_others_do_not() {
        let handshakes = Handshakes::new(4, 2);
        let turn = |text: &str| handshakes.turn(Some(text.parse().unwrap()));
        let mut held = vec![turn("192.0.2.1").await.unwrap(), turn("192.0.2.1").await.unwrap()];
        let mut third = Box::pin(turn("192.0.2.1"));
        assert!(third.as_mut().now_or_never().is_none());
        held.push(turn("192.0.2.2").await.unwrap());
        // Many behind one address are bound by all alone.
        held.push(handshakes.turn(None).await.unwrap());
        assert!(turn("192.0.2.3").now_or_never().is_none());
        // Whoever waits for its own waits in no other line.
        held.pop();
        let other = turn("192.0.2.3").now_or_never().unwrap().unwrap();
        held.remove(0);
        let third = third.await.unwrap();
        drop((held, other, third));
        assert!(handshakes.clients.lock().is_empty());
        assert_eq!(handshakes.all.available_permits(), 4);
    }

    #[tokio::test]
    async fn who_gives_up_is_forgotten() {
        let handshakes = Handshakes::new(1, 1);
        let address = Some("2001:db8::1".parse().unwrap());
        let held = handshakes.turn(address).await.unwrap();
        let mut waits = Box::pin(handshakes.turn(Some("2001:db8::2".parse().unwrap())));
        assert!(waits.as_mut().now_or_never().is_none(), "one client has a whole /64");
        drop(held);
        drop(waits);
        assert!(handshakes.clients.lock().is_empty());
    }
}
