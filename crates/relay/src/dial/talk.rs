//! What is said on a connection about the connection: what is offered, notes, the end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use strait_runtime::{Shutdown, TaskSet};
use strait_tunnel::{Class, Code, Directions, Drain, OpenHead};
use tokio::sync::watch;

use super::{Inner, LEAVE_WITHIN};
use crate::link::control::{Listener, Message, Speaker, shown};
use crate::link::{Acceptor, Link, Receiver, Stopped};

/// Between two announcements.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// Time for exchanges to end on a connection that is let go.
const GRACE: Duration = Duration::from_secs(30);

/// Time for long streams to end on one that is replaced.
const HARD: Duration = Duration::from_secs(600);

/// The same at the agent's end: a little of the time is for the last bytes.
const HARD_AT_END: Duration = Duration::from_secs(28);

/// Refusals of services that are logged of one answer.
const REFUSALS_SHOWN: usize = 10;

/// The conversation on one connection.
pub(super) struct Talk {
    inner: Arc<Inner>,
    /// Asked when the connection is to be let go.
    leave: Shutdown,
    acknowledged: watch::Sender<i64>,
}

impl Talk {
    /// Before a connection is made: with what takes the streams that the hub opens on it.
    pub(super) fn new(inner: &Arc<Inner>) -> (Self, Acceptor) {
        let leave = inner.context.shutdown.child();
        let acknowledged = watch::Sender::new(i64::MIN);
        let talk = Self { inner: inner.clone(), leave, acknowledged };
        let mut offered = (inner.setup.acceptor)();
        let mut ear = Some(talk.ear());
        let acceptor: Acceptor = Box::new(move |stream, head| match head {
            OpenHead::Control => match ear.take() {
                Some(ear) => {
                    let (receiver, sender) = stream.split();
                    sender.accept();
                    // The other half lives as long, or the stream would end for both.
                    let tasks = ear.tasks.clone();
                    tasks.spawn("tunnel-ear", async move {
                        ear.listen(receiver).await;
                        drop(sender);
                    });
                }
                None => {
                    let text = "there is one control stream";
                    stream.sender.reset(Directions::Both, Code::Protocol, text);
                }
            },
            head => offered(stream, head),
        });
        (talk, acceptor)
    }

    fn ear(&self) -> Ear {
        Ear {
            inner: self.inner.clone(),
            tasks: self.inner.context.tasks.clone(),
            acknowledged: self.acknowledged.clone(),
        }
    }

    /// Begins to talk on a connection that is ready, for as long as it lives.
    pub(super) fn start(&self, link: &Link) {
        let mouth = Mouth {
            inner: self.inner.clone(),
            link: link.clone(),
            leave: self.leave.clone(),
            ear: self.ear(),
        };
        self.inner.context.tasks.spawn("tunnel-talk", mouth.talk());
    }

    /// Waits until the hub has acknowledged what is offered now, or for so long.
    pub(super) async fn acknowledged(&self, limit: Duration) {
        let generation = self.inner.setup.announcements.borrow().generation;
        let mut acknowledged = self.acknowledged.subscribe();
        let known = acknowledged.wait_for(|known| *known >= generation);
        if tokio::time::timeout(limit, known).await.is_err() {
            tracing::debug!(generation, "the hub did not acknowledge what is offered");
        }
    }

    /// Lets the connection end once its streams have.
    pub(super) fn leave(&self) {
        self.leave.ask();
    }
}

/// What speaks on a connection.
struct Mouth {
    inner: Arc<Inner>,
    link: Link,
    leave: Shutdown,
    ear: Ear,
}

impl Mouth {
    async fn talk(self) {
        let Self { inner, link, leave, ear } = self;
        let Ok(stream) = link.open(&OpenHead::Control, Class::Interactive, false) else {
            return;
        };
        let (receiver, mut sender) = stream.split();
        let tasks = ear.tasks.clone();
        tasks.spawn("tunnel-ear", ear.listen(receiver));
        let clock = inner.context.clock.clone();
        let mut speaker = Speaker::new(&mut sender, &*clock);
        tokio::select! {
            _ = link.closed() => return,
            () = leave.asked() => {}
            never = announce(&mut speaker, &inner) => match never {},
        }
        let ends = inner.context.shutdown.is_asked();
        if ends {
            let deadline = u64::try_from(LEAVE_WITHIN.as_millis()).unwrap_or(u64::MAX);
            let message = Message::Draining { deadline }.to_bytes();
            let said = tokio::time::timeout(Duration::from_secs(1), speaker.say(&message));
            drop(said.await);
        }
        let hard = if ends { HARD_AT_END } else { HARD };
        let text = if ends { "the agent ends" } else { "the agent has another connection" };
        let grace = GRACE.min(hard);
        inner.metrics.drained("agent");
        link.drain(Drain { code: Code::Draining, grace, hard, text: text.to_owned() });
        tokio::select! {
            _ = link.closed() => return,
            () = inner.context.shutdown.asked() => {}
        }
        if tokio::time::timeout(HARD_AT_END, link.closed()).await.is_err() {
            link.cut(Code::Draining, text);
        }
    }
}

/// Says what is offered, now and as it changes, until nobody listens.
async fn announce(speaker: &mut Speaker<'_>, inner: &Inner) -> Infallible {
    let mut announcements = inner.setup.announcements.clone();
    loop {
        let announcement = announcements.borrow_and_update().clone();
        for message in &announcement.messages {
            if let Err(Stopped(code)) = speaker.say(message).await {
                tracing::warn!(%code, "the hub does not take what is offered");
                return std::future::pending().await;
            }
        }
        tokio::time::sleep(ANNOUNCE_EVERY).await;
        if announcements.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// What listens to the hub on a connection.
struct Ear {
    inner: Arc<Inner>,
    tasks: TaskSet,
    acknowledged: watch::Sender<i64>,
}

impl Ear {
    async fn listen(self, receiver: Receiver) {
        let clock = self.inner.context.clock.clone();
        let mut listener = Listener::new(receiver, &*clock);
        loop {
            match listener.next().await {
                Ok(Some(message)) => self.hear(message),
                Ok(None) => return,
                Err(error) => {
                    let err = error.to_string();
                    tracing::warn!(err, "the hub is not understood");
                    return;
                }
            }
        }
    }

    fn hear(&self, message: Message) {
        match message {
            Message::ServicesAck { r#gen, refused } => {
                for one in refused.iter().take(REFUSALS_SHOWN) {
                    let (service, reason) = (shown(&one.name), shown(&one.reason));
                    tracing::warn!(service, reason, "the hub does not take a service");
                }
                self.acknowledged.send_replace(r#gen);
            }
            Message::Note { level, text } => match (&*level, shown(&text)) {
                ("error" | "warn", note) => tracing::warn!(note, "the hub says"),
                (_, note) => tracing::info!(note, "the hub says"),
            },
            Message::Renew => self.inner.setup.member.renew(),
            Message::Incoming { list } => {
                self.inner.offered.send_if_modified(|known| {
                    let changes = known.as_ref() != Some(&list);
                    *known = Some(list);
                    changes
                });
            }
            // What an agent says, and what this one has no use for.
            Message::Services(_)
            | Message::Config { .. }
            | Message::Draining { .. }
            | Message::Hubs { .. }
            | Message::Unknown => {}
        }
    }
}
