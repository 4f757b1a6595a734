//! A service that is offered now: its settings, and what is kept for it between streams.

use std::sync::Arc;
use std::time::Duration;

use strait_runtime::{Clock, Shutdown, TaskSet, Tracer};
use strait_tunnel::Kind;
use tokio::sync::watch;

use super::credentials::Current;
use super::dial::{Dialer, Place};
use super::identity::{Identities, Identity};
use super::metrics::{Series, ServingMetrics};
use super::pool::Pool;
use super::reach::Reach;
use super::trust::{Offered, TlsSource};
use super::turns::{Turn, Turns};
use crate::link::control::Unreached;
use crate::record::{self, Recorder};
use crate::services::{Credentials, HUB, HttpTarget, Policy, Service, Target};

/// How long a stream waits for its turn.
const TURN: Duration = Duration::from_secs(1);

/// Streams of a service that wait before they are accepted, for their turn or a connection. As
/// many as a hub lets one service have on the two connections that there are mostly.
const WAITING_MAX: usize = 2_048;

/// What every service is made with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) side: Side,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: TaskSet,
    pub(super) metrics: ServingMetrics,
    pub(super) recorder: Recorder,
    pub(super) tracer: Tracer,
    pub(super) identities: Arc<Identities>,
    /// Counts how often a service came within reach, or went out of it.
    pub(super) reached: watch::Sender<u64>,
}

/// On which side services are.
#[derive(Clone, Debug)]
pub enum Side {
    /// Inside, behind an agent of this name.
    Agent(Arc<str>),
    /// Beside the hub, for agents.
    Hub,
}

impl Side {
    /// What people call whoever serves.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Agent(name) => name,
            Self::Hub => HUB,
        }
    }

    /// The same, to be kept.
    pub(super) fn shared_name(&self) -> Arc<str> {
        match self {
            Self::Agent(name) => name.clone(),
            Self::Hub => HUB.into(),
        }
    }

    /// Who shares a service with others: a workspace, beside the hub. Its agents are one, however
    /// many it makes. Behind an agent it is the hub that knows people apart.
    fn sharing<'w>(&self, who: &'w Identity) -> Option<&'w str> {
        match self {
            Self::Agent(_) => None,
            Self::Hub => Some(&who.ws),
        }
    }
}

/// A service under its present settings.
pub(super) struct Live {
    pub(super) name: Arc<str>,
    pub(super) service: Arc<Service>,
    pub(super) policy: Policy,
    pub(super) context: Context,
    pub(super) kept: Arc<Kept>,
    /// The one kind of stream that it has.
    pub(super) kind: Kind,
    pub(super) series: Series,
    turns: Turns,
}

/// What outlives a change of rules and limits.
pub(super) struct Kept {
    pub(super) way: Way,
    pub(super) credential: Current,
    /// Asked when the service is offered no more, forced when its streams must end.
    pub(super) withdrawn: Shutdown,
    waiting: Turns,
}

/// How a service is reached.
pub(super) enum Way {
    Http(Box<Pool>),
    Tcp(Dialer),
}

impl Live {
    /// A service that is new, or needs new connections.
    pub(super) fn new(
        name: &str,
        service: &Arc<Service>,
        policy: Policy,
        context: &Context,
        withdrawn: Shutdown,
    ) -> Self {
        let clock = context.clock.clone();
        let way = match &service.target {
            Target::Tcp { host, port, tls, starttls } => Way::Tcp(Dialer {
                service: name.to_owned(),
                place: Place::Tcp { host: host.clone(), port: *port },
                tls: tls
                    .as_ref()
                    .map(|trust| TlsSource::new(trust.clone(), &Credentials::None, clock.clone())),
                starttls: *starttls,
                reach: Reach::new(context.reached.clone()),
            }),
            Target::Http(http) => Way::Http(Box::new(pool(name, http, context))),
        };
        let credentials = match &service.target {
            Target::Http(http) => http.credentials.clone(),
            Target::Tcp { .. } => Credentials::None,
        };
        let credential = Current::new(name, &credentials, clock);
        let waiting = Turns::new(WAITING_MAX);
        let kept = Arc::new(Kept { way, credential, withdrawn, waiting });
        Self::with(name, service, policy, context, kept)
    }

    /// The same service under other rules and limits.
    pub(super) fn changed(&self, service: &Arc<Service>, policy: Policy) -> Self {
        let mut next = Self::with(&self.name, service, policy, &self.context, self.kept.clone());
        if service.limits.concurrent == self.service.limits.concurrent {
            next.turns = self.turns.clone();
        }
        next
    }

    fn with(
        name: &str,
        service: &Arc<Service>,
        policy: Policy,
        context: &Context,
        kept: Arc<Kept>,
    ) -> Self {
        let turns = usize::try_from(service.limits.concurrent).unwrap_or(usize::MAX);
        let turns = Turns::new(turns);
        let (kind, label) = match &service.target {
            Target::Http(_) => (Kind::Http, record::Kind::Http),
            Target::Tcp { .. } => (Kind::Raw, record::Kind::Raw),
        };
        let series = context.metrics.of(name, label.as_str());
        let (service, context) = (service.clone(), context.clone());
        Self { name: name.into(), service, policy, context, kept, kind, series, turns }
    }

    /// A place among the streams that are not accepted yet, for as long as it is held; none where
    /// too many wait.
    pub(super) fn wait(&self, who: &Identity) -> Option<Turn> {
        self.kept.waiting.try_take(self.context.side.sharing(who))
    }

    /// A turn among the streams of this service; none where it does not come in time.
    pub(super) async fn turn(&self, who: &Identity) -> Option<Turn> {
        let peer = self.context.side.sharing(who);
        // Most wait for nothing, and need no timer.
        match self.turns.try_take(peer) {
            Some(turn) => Some(turn),
            None => tokio::time::timeout(TURN, self.turns.take(peer)).await.ok()?,
        }
    }

    /// What the hub is told where a stream waits for its turn too long: how many run. Nothing was
    /// accepted, so another instance may take it.
    pub(super) fn running(&self) -> String {
        self.turns.taken().to_string()
    }

    /// Why the service cannot be connected to, as far as was seen; none where it can.
    pub(super) fn out_of_reach(&self) -> Option<Unreached> {
        self.dialer().reach.out()
    }

    /// Looks whether a service that was out of reach is back.
    pub(super) async fn probe(&self) {
        if self.out_of_reach().is_some() {
            // What is wrong was logged.
            drop(Box::pin(self.dialer().dial(Offered::Nothing, self.service.limits.dial)).await);
        }
    }

    pub(super) fn dialer(&self) -> &Dialer {
        match &self.kept.way {
            Way::Http(pool) => pool.dialer(),
            Way::Tcp(dialer) => dialer,
        }
    }

    /// Closes connections that rest for too long.
    pub(super) fn sweep(&self) {
        if let Way::Http(pool) = &self.kept.way {
            pool.sweep();
        }
    }
}

fn pool(name: &str, http: &HttpTarget, context: &Context) -> Pool {
    let url = &http.url;
    let (host, port) = url.endpoint();
    let place = match url.socket() {
        Some(path) => Place::Unix(path.to_owned()),
        None => Place::Tcp { host: host.to_owned(), port },
    };
    let source = || TlsSource::new(http.trust.clone(), &http.credentials, context.clock.clone());
    let tls = url.is_secure().then(source);
    let reach = Reach::new(context.reached.clone());
    let dialer = Dialer { service: name.to_owned(), place, tls, starttls: None, reach };
    let Context { clock, tasks, metrics, .. } = context.clone();
    Pool::new(dialer, http.protocol, clock, tasks, metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_the_hub_is_shared_by_workspaces_and_not_by_their_agents() {
        let who = |user: &str, ws: &str| {
            let json = format!(r#"{{"user":"{user}","ws":"{ws}"}}"#);
            Identity::parse(json.as_bytes()).unwrap()
        };
        let [one, other, apart] = [who("a", "1x"), who("b", "1x"), who("c", "2y")];
        let [hub, agent] = [Side::Hub, Side::Agent("smith".into())];
        assert_eq!(hub.sharing(&one), hub.sharing(&other));
        assert_ne!(hub.sharing(&one), hub.sharing(&apart));
        assert_eq!(agent.sharing(&one), None);
    }
}
