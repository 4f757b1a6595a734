//! What every request of one connection shares.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Extensions;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

use crate::proxied::{Is, Whose};

/// A client's connection. Its requests share one value, so that what is costly to find out about
/// the client is found out once.
pub struct Connection {
    whose: Whose,
    chain: Vec<CertificateDer<'static>>,
    cache: Mutex<Extensions>,
    cut: AtomicBool,
}

impl Connection {
    pub(crate) fn new(whose: Whose, chain: Vec<CertificateDer<'static>>) -> Self {
        Self { whose, chain, cache: Mutex::default(), cut: AtomicBool::new(false) }
    }

    /// Where the client is; `[::]:0` where it came through a socket of this machine.
    #[must_use]
    pub const fn peer(&self) -> SocketAddr {
        self.whose.address
    }

    /// Whether a balancer of TCP passed it on and did not say whose it is. Then [`peer`](Self::peer)
    /// is the balancer, whose word nothing is that comes through it.
    #[must_use]
    pub fn is_nobodys(&self) -> bool {
        self.whose.is == Is::Nobodys
    }

    /// Whether it came through a socket of this machine ([`Server::serve_unix`]).
    ///
    /// [`Server::serve_unix`]: crate::Server::serve_unix
    #[must_use]
    pub fn is_unix(&self) -> bool {
        // No TCP connection comes from an unspecified address, nor does anybody say so.
        self.peer().ip().is_unspecified() && self.peer().port() == 0
    }

    /// The certificates that the client presented, its own first; empty if none. It holds the
    /// key; nothing else was checked.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Waits for nothing more once the connection ends: a client that was too slow is not given
    /// more time.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// The connection's value of this type, made by the first who asks. What may change during
    /// a connection's life (such as a certificate's validity) is still to be checked by whoever
    /// uses it.
    pub fn cached<T, F>(&self, make: F) -> T
    where
        T: Clone + Send + Sync + 'static,
        F: FnOnce(&Self) -> T,
    {
        if let Some(value) = self.cache.lock().get::<T>() {
            return value.clone();
        }
        // Not under the lock: it may take long, or ask for another value. Of two who make it at
        // once, one is kept.
        let made = make(self);
        self.cache.lock().get_or_insert(made).clone()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer", &self.peer())
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_this_machine_has_no_address_at_all() {
        for (peer, expected) in
            [("[::]:0", true), ("127.0.0.1:0", false), ("[::]:1", false), ("192.0.2.1:0", false)]
        {
            let whose = Whose::client(peer.parse().unwrap());
            let connection = Connection::new(whose, Vec::new());
            assert_eq!(connection.is_unix(), expected, "{peer}");
        }
    }

    #[test]
    fn a_value_is_made_once_for_each_type() {
        let whose = Whose::client(([127, 0, 0, 1], 1).into());
        let connection = Connection::new(whose, Vec::new());
        assert_eq!(connection.cached(|c| c.peer().port()), 1);
        assert_eq!(connection.cached::<u16, _>(|_| unreachable!()), 1);
        // One value may be made of another.
        let nested = connection.cached(|c| u32::from(c.cached::<u16, _>(|_| 9)) + 1);
        assert_eq!(nested, 2);
    }
}
