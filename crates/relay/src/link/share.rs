//! What one service has of a connection: its streams that wait to be accepted, and how long its
//! streams stood still.
//!
//! A connection has room for so many streams. A service whose streams nobody accepts would take
//! it all, and the others of the same agent would get nothing; so a service may have no more of
//! them than there is room left: one alone takes half, two a third each, and some is always left.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use strait_tunnel::{OpenError, Stalled};

/// Hears how long streams stood still for want of credit, now and then and at their end.
pub trait Stalls: Send + Sync + fmt::Debug {
    /// So long since it was told last.
    fn stood(&self, stalled: Stalled);
}

/// Why a stream of a service was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// As many of its streams wait to be accepted as may.
    #[error("too many streams of the service wait to be accepted")]
    Stalled,
    /// The connection takes none.
    #[error(transparent)]
    Connection(#[from] OpenError),
}

/// A service's share of a connection. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Share(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: AtomicU32,
    stalls: Option<Arc<dyn Stalls>>,
}

/// A place in it, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Share);

impl Share {
    /// One whose stalls somebody hears of.
    #[must_use]
    pub fn heard_by(stalls: Arc<dyn Stalls>) -> Self {
        Self(Arc::new(Inner { waiting: AtomicU32::new(0), stalls: Some(stalls) }))
    }

    /// How many of its streams wait to be accepted.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.0.waiting.load(Relaxed)
    }

    /// Takes a place where the connection has room for so many more streams. If it has none, that
    /// is no matter of shares.
    pub(super) fn take(&self, room: u32) -> Result<Place, Unopened> {
        let more = |waiting| (waiting < room || room == 0).then_some(waiting + 1);
        let taken = self.0.waiting.fetch_update(Relaxed, Relaxed, more);
        taken.map(|_| Place(self.clone())).map_err(|_| Unopened::Stalled)
    }

    /// A stream of the service stood still.
    pub(super) fn stood(&self, stalled: Stalled) {
        if stalled != Stalled::default()
            && let Some(stalls) = &self.0.stalls
        {
            stalls.stood(stalled);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use strait_tunnel::{Class, Response};

    use super::*;
    use crate::link::Part;
    use crate::link::tests::{get, pair, pattern, until};

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<Stalled>>);

    impl Stalls for Heard {
        fn stood(&self, stalled: Stalled) {
            self.0.lock().push(stalled);
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_told_while_the_stream_is_open_and_at_its_end() {
        let (hub, mut agent, tasks) = pair(1 << 16).await;
        let heard = Arc::new(Heard::default());
        let share = Share::heard_by(heard.clone());
        let open = || hub.link.open_of(&share, &get(), Class::Normal, false).unwrap();
        // The agent takes nothing of what is sent to it.
        let mut up = open();
        let theirs = agent.next().await;
        let mut body = pattern(1 << 20, 5);
        let taken = futures_util::poll!(std::pin::pin!(up.sender.write(body.split_to(1 << 19))));
        assert!(taken.is_pending());
        until(|| {
            hub.link.tell_stalls();
            heard.0.lock().iter().any(|one| !one.sending.is_zero() && one.receiving.is_zero())
        })
        .await;
        drop((up, theirs));

        // The hub takes nothing of what comes.
        heard.0.lock().clear();
        let mut down = open();
        let (_, mut sender) = agent.next().await.split();
        sender.accept();
        sender.send_head(&Response::new(200, []).unwrap(), false).unwrap();
        let writes = tasks.spawn("writes", async move { sender.write(body).await.is_ok() });
        assert!(matches!(down.receiver.next().await, Part::Head(_)));
        until(|| {
            hub.link.tell_stalls();
            heard.0.lock().iter().any(|one| one.sending.is_zero() && !one.receiving.is_zero())
        })
        .await;
        heard.0.lock().clear();
        drop(down);
        assert!(!writes.await.unwrap());
        assert_eq!(heard.0.lock().len(), 1, "what was not told yet is told at the end, once");

        // Who keeps up is not told of.
        heard.0.lock().clear();
        let small = open();
        drop((small, agent.next().await));
        assert!(heard.0.lock().is_empty());
    }
}
