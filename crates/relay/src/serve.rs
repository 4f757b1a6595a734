//! The agent's end of a crossing: streams that the hub opens, taken to the services on offer.
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
//! Limits: streams at once per service (`concurrent`), 64 resting connections for 90 s each,
//! heads of answers 64 KiB, 8 informational ones; bodies pass through without being kept.

mod answer;
mod credentials;
mod dial;
mod exchange;
mod flow;
mod framing;
mod heartbeat;
mod identity;
mod live;
mod metrics;
mod pool;
mod raw;
mod reader;
mod request;
mod seen;
#[cfg(test)]
mod tests;
mod trust;

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::RwLock;
use strait_runtime::{Clock, Shutdown, TaskSet};
use strait_tunnel::{Code, Directions, OpenHead};

pub use heartbeat::HEARTBEAT_PATH;
pub use metrics::ServingMetrics;

use self::flow::Flow;
use self::live::{Context, Live};
pub(crate) use self::seen::RULES;
use self::seen::Seen;
use crate::link::{Acceptor, Sender, Stream};
use crate::record::Recorder;
use crate::services::{self, AgentConfig, Change, DRAIN, Target, plan_reload};

/// Between two looks for connections that rest for too long.
const SWEEP: Duration = Duration::from_secs(15);

/// The services of an agent, as its configuration says now. Clones are the same.
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
    /// Offers what a configuration says, under an agent's name. Streams are tasks of `tasks`, and
    /// each is written down by `recorder` before anything of it goes in.
    #[must_use]
    pub fn new(
        agent: &str,
        config: AgentConfig,
        clock: Arc<dyn Clock>,
        tasks: TaskSet,
        metrics: ServingMetrics,
        recorder: Recorder,
    ) -> Self {
        let context = Context { agent: agent.into(), clock, tasks, metrics, recorder };
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
        services::announcement(&self.config(), generation, |_| true)
    }

    /// Takes the streams of a connection to a hub; those of kind control are for `control`.
    pub fn acceptor(&self, mut control: impl FnMut(Stream) + Send + 'static) -> Acceptor {
        let serving = self.clone();
        Box::new(move |stream, head| match head {
            OpenHead::Control => control(stream),
            head => serving.accept(stream, head),
        })
    }

    /// Closes connections to services that rest for too long, for as long as it is polled.
    pub async fn tend(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let services: Vec<_> = self.0.current.read().services.values().cloned().collect();
            for live in services {
                live.sweep();
            }
        }
    }

    /// Gives a stream to its service.
    fn accept(&self, stream: Stream, head: OpenHead) {
        let (is_raw, tlvs) = match &head {
            OpenHead::Http(request) => (false, request.parts().tlvs),
            OpenHead::Raw(raw) => (true, raw.tlvs()),
            OpenHead::Control => return,
        };
        let found = self.0.current.read().services.get(tlvs.service).cloned();
        // A service has one type and one kind of stream; another one is not on offer.
        let found = found.filter(|live| {
            let named =
                tlvs.service_type.is_empty() || tlvs.service_type == live.service.kind.as_str();
            named && is_raw == matches!(live.service.target, Target::Tcp { .. })
        });
        let Some(live) = found else {
            stream.sender.reset(Directions::Both, Code::NoService, "");
            return;
        };
        let context = &self.0.context;
        let flow = Flow::new(context.clock.clone());
        let kind = if is_raw { "raw" } else { "http" };
        let seen = Seen::new(&live, flow, kind, &tlvs);
        let withdrawn = live.kept.withdrawn.clone();
        match head {
            OpenHead::Http(head) => context.tasks.spawn("relay.stream", async move {
                let serve = pin!(exchange::serve(live, stream, head, seen));
                unless_forced(serve, &withdrawn).await;
            }),
            OpenHead::Raw(head) => context.tasks.spawn("relay.stream", async move {
                let serve = pin!(raw::serve(live, stream, head, seen));
                unless_forced(serve, &withdrawn).await;
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

/// Serves until that is done, or what is served is withdrawn and its time is over.
async fn unless_forced(serve: Pin<&mut impl Future<Output = ()>>, withdrawn: &Shutdown) {
    tokio::select! {
        () = serve => {}
        () = withdrawn.forced() => {}
    }
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
