//! The serving end of a crossing: streams that the other side opens, taken to the services on
//! offer. It is the agent's for what the hub opens, and the hub's for what agents do.
//!
//! ```text
//! stream ─► request::decide ─► turn ─► credential ─► recorded ─► Pool ─► ACCEPT ─► service
//!    ▲       (403, 404, 413…)   (503)                  (503)   (502, 504)           │
//!    └──────────────── answer::head ◄── framing, checked as bytes ◄─────────────────┘
//! ```
//!
//! The hub decides who may ask; what may be asked for, and with which credential, is decided
//! here and nowhere else. What goes back names no address, no file and no credential. Nothing is
//! sent twice that could have been executed, but what changes nothing and has no body.
//!
//! Limits: streams at once per service (`concurrent`), which agents share at a hub; 1,024 resting connections, 64 of them for
//! 90 s and the others for 10; heads of answers 64 KiB, 8 informational ones; bodies pass through without being kept.

mod answer;
mod credentials;
mod dial;
mod events;
mod exchange;
mod flow;
mod framing;
mod heartbeat;
mod identity;
mod live;
mod metrics;
mod outgoing;
mod peer;
mod pool;
mod postgres;
mod raw;
mod reach;
mod request;
mod rest;
mod seen;
mod shared;
mod single;
#[cfg(test)]
mod tests;
mod trust;
mod turns;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt as _;
use parking_lot::RwLock;
use strait_runtime::Shutdown;
use strait_tunnel::{Code, Directions, OpenHead};
use tokio::sync::watch;

#[cfg(feature = "fuzzing")]
pub use framing::fuzz_answers;
pub use heartbeat::HEARTBEAT_PATH;
pub use live::Side;
pub use metrics::ServingMetrics;
pub use peer::Peer;

use self::flow::Flow;
pub(crate) use self::flow::Progress;
use self::identity::Identities;
pub(crate) use self::identity::OF_PEOPLE;
use self::live::{Context, Live};
use self::seen::Seen;
pub(crate) use self::seen::{NOT_OFFERED, RULES, clipped};
use crate::link::{Acceptor, Canceller, Sender, Stream};
use crate::record::Recorder;
use crate::services::{self, AgentConfig, Change, DRAIN, plan_reload};

/// Between two looks for connections that rest for too long.
const SWEEP: Duration = Duration::from_secs(15);

/// Services out of reach that are looked at at once.
const PROBES_MAX: usize = 16;

/// For whoever serves a stream that was taken away.
const END_WITHIN: Duration = Duration::from_secs(1);

/// The services of an agent or of the hub, as its configuration says now. Clones are the same.
#[derive(Clone)]
pub struct Serving(Arc<Inner>);

struct Inner {
    context: Context,
    current: RwLock<Current>,
}

/// What is offered.
#[derive(Clone)]
struct Current {
    config: Arc<AgentConfig>,
    services: BTreeMap<String, Arc<Live>>,
}

impl Serving {
    /// Offers what a configuration says. Streams are tasks of the context's, and each is written
    /// down by `recorder` before anything of it goes in.
    #[must_use]
    pub fn new(
        side: Side,
        config: AgentConfig,
        metrics: ServingMetrics,
        recorder: Recorder,
        context: &strait_runtime::Context,
    ) -> Self {
        let strait_runtime::Context { clock, tasks, tracer, .. } = context.clone();
        let (identities, reached) = (Arc::new(Identities::new()), watch::Sender::default());
        let context =
            Context { side, clock, tasks, metrics, recorder, tracer, identities, reached };
        let offered = config.services.iter();
        let services = offered
            .map(|(name, service)| {
                let live = Live::new(name, service, config.policy, &context, Shutdown::new());
                (name.clone(), Arc::new(live))
            })
            .collect();
        let current = Current { config: Arc::new(config), services };
        Self(Arc::new(Inner { context, current: RwLock::new(current) }))
    }

    /// Offers what another configuration says. What did not change keeps its connections and
    /// streams; what is gone takes no new streams, and those that are there have [`DRAIN`].
    /// What became of each service is returned.
    pub fn apply(&self, config: AgentConfig) -> BTreeMap<String, Change> {
        let inner = &*self.0;
        let mut current = inner.current.write();
        let changes = plan_reload(&current.config, &config);
        let mut services = BTreeMap::new();
        for (name, service) in &config.services {
            let before = current.services.get(name);
            let change = changes.get(name).copied().unwrap_or(Change::Added);
            let live = match (before, change) {
                (Some(live), Change::Unchanged) if live.policy == config.policy => live.clone(),
                (Some(live), Change::Unchanged | Change::Rules) => {
                    Arc::new(live.changed(service, config.policy))
                }
                (before, _) => {
                    // Streams over the connections that there were go with the service.
                    let withdrawn = before.map(|live| live.kept.withdrawn.clone());
                    let withdrawn = withdrawn.unwrap_or_default();
                    let live = Live::new(name, service, config.policy, &inner.context, withdrawn);
                    Arc::new(live)
                }
            };
            services.insert(name.clone(), live);
        }
        let kept = |name: &String| config.services.contains_key(name);
        let gone = current.services.iter().filter(|(name, _)| !kept(name));
        let gone: Vec<_> = gone.map(|(_, live)| live.kept.withdrawn.clone()).collect();
        *current = Current { config: Arc::new(config), services };
        drop(current);
        for withdrawn in gone {
            withdrawn.ask();
            inner.context.tasks.spawn_daemon("relay.withdraw", async move {
                tokio::time::sleep(DRAIN).await;
                withdrawn.force();
            });
        }
        changes
    }

    /// The configuration that is in use.
    #[must_use]
    pub fn config(&self) -> Arc<AgentConfig> {
        self.0.current.read().config.clone()
    }

    /// The messages that announce the services; `generation` counts announcements.
    #[must_use]
    pub fn announcement(&self, generation: i64) -> Vec<Vec<u8>> {
        let current = self.0.current.read().clone();
        let unreached = |name: &str| current.services.get(name)?.out_of_reach();
        services::announcement(&current.config, generation, unreached)
    }

    /// Counts how often a service came within reach, or went out of it: that changes what is to be
    /// announced.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<u64> {
        self.0.context.reached.subscribe()
    }

    /// Takes the streams of a connection to a hub; those of kind control are for `control`.
    pub fn acceptor(&self, mut control: impl FnMut(Stream) + Send + 'static) -> Acceptor {
        let serving = self.clone();
        Box::new(move |stream, head| match head {
            OpenHead::Control => control(stream),
            head => serving.accept(stream, head),
        })
    }

    /// Closes connections to services that rest for too long, and looks whether services that were
    /// out of reach are back, for as long as it is polled.
    pub async fn tend(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let services: Vec<_> = self.0.current.read().services.values().cloned().collect();
        for live in &services {
            live.sweep();
        }
        let probes = services.into_iter().map(|live| async move { live.probe().await });
        let probes = futures_util::stream::iter(probes).buffer_unordered(PROBES_MAX);
        probes.for_each(|()| std::future::ready(())).await;
    }

    /// Takes a stream that a peer opens in its own name. Where it is for a service that there is,
    /// `enter` hears of it and says until when it may go on: then it ends with that code and text.
    /// What `enter` returns lives as long as the stream is served.
    pub(crate) fn accept_from<F>(
        &self,
        peer: &Peer<'_>,
        stream: Stream,
        said: &OpenHead,
        enter: impl FnOnce(Progress) -> F,
    ) where
        F: Future<Output = (Code, &'static str)> + Send + 'static,
    {
        match peer.head(said) {
            Ok(head) => self.take(stream, head, enter),
            Err(_) => stream.sender.reset(Directions::Both, Code::TooLarge, ""),
        }
    }

    /// Refuses a stream that a peer opens to what is not offered to it, and writes that down.
    pub fn refuse(&self, peer: &Peer<'_>, stream: &Stream, said: &OpenHead) {
        stream.sender.reset(Directions::Both, Code::NoService, "");
        // Where there is nothing, nothing was refused.
        if let Ok(head) = peer.head(said)
            && let Some(live) = self.find(&head)
        {
            let flow = Flow::new(self.0.context.clock.clone());
            Seen::new(&live, flow).not_offered(&head);
        }
    }

    /// Gives a stream to its service.
    fn accept(&self, stream: Stream, head: OpenHead) {
        self.take(stream, head, |_| std::future::pending());
    }

    /// The service that a stream is for.
    fn find(&self, head: &OpenHead) -> Option<Arc<Live>> {
        let (kind, name) = head.service()?;
        let live = self.0.current.read().services.get(name).cloned()?;
        // A service has one type and one kind of stream; another one is not on offer.
        let is_type = kind.is_empty() || kind == live.service.kind.as_str();
        (is_type && head.kind() == live.kind).then_some(live)
    }

    fn take<F>(&self, stream: Stream, head: OpenHead, enter: impl FnOnce(Progress) -> F)
    where
        F: Future<Output = (Code, &'static str)> + Send + 'static,
    {
        let context = &self.0.context;
        let Some(live) = self.find(&head) else {
            stream.sender.reset(Directions::Both, Code::NoService, "");
            return seen::unknown(context, &head);
        };
        let flow = Flow::new(context.clock.clone());
        let away = enter(Progress(flow.clone()));
        // Boxed: futures would hold it at every level.
        let seen = Box::new(Seen::new(&live, flow));
        let withdrawn = live.kept.withdrawn.clone();
        let taken = Taken { canceller: stream.sender.canceller(), away };
        match head {
            OpenHead::Http(head) => context.tasks.spawn("relay.stream", async move {
                let serve = pin!(exchange::serve(live, stream, head, seen));
                unless_ended(serve, &withdrawn, taken).await;
            }),
            OpenHead::Raw(head) => context.tasks.spawn("relay.stream", async move {
                let serve = pin!(raw::serve(live, stream, head, seen));
                unless_ended(serve, &withdrawn, taken).await;
            }),
            OpenHead::Control => return,
        };
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.0.current.read();
        f.debug_struct("Serving").field("services", &current.services.keys()).finish()
    }
}

/// How a stream ends that may be taken away from whoever asked.
struct Taken<F> {
    canceller: Canceller,
    /// Resolves when it is to end, and how.
    away: F,
}

/// Serves until that is done, what is served is withdrawn and its time is over, or the stream is
/// taken away.
async fn unless_ended(
    mut serve: Pin<&mut impl Future<Output = ()>>,
    withdrawn: &Shutdown,
    taken: Taken<impl Future<Output = (Code, &'static str)>>,
) {
    let mut away = pin!(taken.away);
    let (code, text) = tokio::select! {
        // Whoever serves it looks at it first, and says then whose it was.
        biased;
        () = &mut serve => return,
        () = withdrawn.forced() => return,
        how = &mut away => how,
    };
    taken.canceller.reset(Directions::Both, code, text);
    // Whoever serves it hears of that.
    drop(tokio::time::timeout(END_WITHIN, serve).await);
}

/// Does something until it is done, or the peer wants no more of the stream: its code. Large work
/// is to be boxed: it is held twice here.
async fn until<T>(sender: &mut Sender, work: impl Future<Output = T>) -> Result<T, Code> {
    let mut work = pin!(work);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => sender.poll_stopped(context).map(Err),
    })
    .await
}
