//! An agent's end of the tunnel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::ClientConfig;
use strait_net::SystemResolver;
use strait_pki::{Authority, ClientIdentity, ClientSubject, PkiError, tunnel_client_config};
use strait_relay::TUNNEL_PROTOCOL;
use strait_relay::dial::{
    Announcement, Member, NoProxy, PROBE_EVERY, Proxy, Route, Setup, Status, Tunnel, Way, Ways,
};
use strait_relay::link::{Memory, Part, Stream};
use strait_relay::services::Transport;
use strait_runtime::{Context, SystemEntropy, Task};
use strait_tunnel::{Config, OpenHead, Role};
use tokio::sync::watch;

use super::PATIENCE;
use super::hub::{DAY, Hub, clock};

/// Runs until it is dropped or ended.
pub(super) struct Agent {
    pub(super) member: Arc<Pass>,
    pub(super) route: watch::Sender<Option<Route>>,
    pub(super) announcements: watch::Sender<Arc<Announcement>>,
    pub(super) status: watch::Receiver<Status>,
    context: Context,
    task: Task<()>,
}

/// A membership by an authority.
pub(super) struct Pass {
    authority: Arc<Authority>,
    /// The certificate is another one whenever it is looked at.
    looks: AtomicUsize,
    /// When the first connection is to be replaced, if before the others.
    pub(super) first_until: Mutex<Option<Timestamp>>,
    pub(super) renewals: AtomicUsize,
}

impl Member for Pass {
    fn tls(&self) -> Result<Arc<ClientConfig>, PkiError> {
        let subject = ClientSubject { user: "smith".into(), ..ClientSubject::default() };
        let issued = self.authority.issue_client(&subject, DAY)?;
        let identity = ClientIdentity::try_from(&issued)?;
        tunnel_client_config(&self.authority.bundle()?, identity, TUNNEL_PROTOCOL, clock())
    }

    fn not_after(&self) -> Timestamp {
        clock().now() + DAY + Duration::from_secs(self.looks.fetch_add(1, Ordering::Relaxed) as u64)
    }

    fn replace_at(&self) -> Timestamp {
        self.first_until.lock().take().unwrap_or_else(|| clock().now() + DAY)
    }

    fn renew(&self) {
        self.renewals.fetch_add(1, Ordering::Relaxed);
    }
}

pub(super) fn route(address: &str, connections: u8) -> Route {
    let addresses = vec![address.to_owned()];
    let way = Way { addresses, transport: Transport::Tls, proxy_file: None };
    Route { way, connections }
}

pub(super) fn ways(proxy: Option<Proxy>, no_proxy: NoProxy) -> Ways {
    Ways::new(proxy, no_proxy, Arc::new(SystemResolver), clock(), Arc::new(SystemEntropy))
}

pub(super) fn announcement(generation: i64) -> Arc<Announcement> {
    let message = format!(r#"{{"t":"services","gen":{generation},"hash":"h","list":[]}}"#);
    Arc::new(Announcement { generation, messages: vec![message.into_bytes()] })
}

impl Agent {
    /// One that reaches a hub directly.
    pub(super) fn of(hub: &Hub, connections: u8) -> Self {
        Self::start(&hub.authority, route(&hub.address.to_string(), connections), None, |_| {})
    }

    pub(super) fn start(
        authority: &Arc<Authority>,
        route: Route,
        first_until: Option<Timestamp>,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let context = Context::of_system();
        let member = Arc::new(Pass {
            authority: authority.clone(),
            looks: AtomicUsize::new(0),
            first_until: Mutex::new(first_until),
            renewals: AtomicUsize::new(0),
        });
        let (route, routes) = watch::channel(Some(route));
        let (announcements, announced) = watch::channel(announcement(1));
        let mut config = Config::new(Role::Agent, Role::Hub, [1; 16]);
        config.limits.keep_alive = Duration::from_secs(1);
        let mut setup = Setup {
            member: member.clone(),
            config,
            route: routes,
            announcements: announced,
            acceptor: Box::new(|| Box::new(|stream, head| echo(stream, &head))),
            memory: Memory::new(64 << 20),
            ways: ways(None, NoProxy::default()),
            probe_every: PROBE_EVERY,
        };
        change(&mut setup);
        let tunnel = Tunnel::new(setup, &context);
        let status = tunnel.status();
        let task = context.tasks.spawn("tunnel-run", tunnel.run());
        Self { member, route, announcements, status, context, task }
    }

    /// Waits until the status is as it should be.
    pub(super) async fn until(&mut self, is: impl FnMut(&Status) -> bool) -> Status {
        let found = tokio::time::timeout(PATIENCE, self.status.wait_for(is)).await;
        found.expect("it comes to that").unwrap().clone()
    }

    pub(super) fn metrics(&self) -> String {
        self.context.metrics.encode()
    }

    pub(super) fn ask_to_end(&self) {
        self.context.shutdown.ask();
    }

    /// Ends.
    pub(super) async fn end(self) {
        self.ask_to_end();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
        assert_eq!(self.status.borrow().open, 0);
    }
}

/// Sends back what comes.
fn echo(stream: Stream, head: &OpenHead) {
    assert!(matches!(head, OpenHead::Raw(_)), "{head:?}");
    tokio::spawn(async move {
        let (mut receiver, mut sender) = stream.split();
        sender.accept();
        while let Part::Data(bytes) = receiver.next().await {
            if sender.write(bytes).await.is_err() {
                return;
            }
        }
        let _ = sender.finish();
    });
}

/// Sends until nobody wants more.
pub(super) fn flood(stream: Stream) {
    tokio::spawn(async move {
        let (_receiver, mut sender) = stream.split();
        sender.accept();
        let much = Bytes::from(vec![1; 64 << 10]);
        while sender.write(much.clone()).await.is_ok() {}
    });
}
