//! The public side, put together: store, audit, API server, workspaces, agents' front door.
//!
//! No rule lives here. [`Hub::start`] builds everything in the order in which it is needed, and
//! [`Hub::stop`] takes it down in the other: say so, stop accepting, end watches, let end what
//! crosses, finish what is being written, close the audit log, close the store.

mod authenticate;
mod carrier;
mod config;
mod crossings;
mod directory;
mod error;
pub mod kubeconfig;
mod operators;
mod own;
mod service;
mod traced;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use strait_apiserver::continuation::{KEY_LENGTH, Sealer};
use strait_apiserver::registry::Registry;
use strait_apiserver::{Health, Server};
use strait_audit::{AuditLog, StoreMirror};
use strait_hooks::{Gateway, Host, Setup};
use strait_net::{
    Check, Checks, Inside, Protocol, ServerMetrics, handler_of_heads, metrics_probe, serve_health,
};
use strait_pki::{Authority, ClientSubject, ServerNames, ServingCertificate, server_config};
use strait_relay::hub::{
    Announcements, Connections, Credentials, Ending, Front, Handlers, Joining, Recorder, Told,
    Tunnels, extras, watch_presence,
};
use strait_relay::link::{Carriage, Memory};
use strait_relay::websocket::TUNNEL_PATH;
use strait_relay::{Agents, TUNNEL_PROTOCOL};
use strait_runtime::{Context, Entropy, RequestIds, Shutdown, Task};
use strait_store::engine::{MemoryEngine, SqliteEngine};
use strait_store::{Options, Store};
use strait_types::{ClusterName, HubId};
use strait_workspaces::System;
use tokio::net::TcpListener;

use directory::Directory;

pub use carrier::USER as HOOKS_USER;
pub use config::{Config, StoreKind};
pub use error::StartError;
pub use own::OwnServices;

/// Life of the serving certificate; renewed at two thirds of it.
const SERVING_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// Life of the administrator's certificate; written anew at every start.
const ADMIN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Bytes that all tunnels together may hold; those of one workspace a quarter.
const RELAY_MEMORY: u64 = 512 << 20;

/// Between saying that it is not ready any more and accepting nothing more: for whoever chooses
/// between hubs to look.
const NOTICE: Duration = Duration::from_secs(2);

/// Time for what is left when nothing crosses any more.
const LAST_TIME: Duration = Duration::from_secs(3);

/// A running hub.
pub struct Hub {
    id: HubId,
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    authority: Arc<Authority>,
    store: Store,
    audit: AuditLog,
    /// Its shutdown is the end of what is accepted.
    context: Context,
    /// The same for the process: it is to end.
    asked: Shutdown,
    /// The end of what serves the rest.
    last: Shutdown,
    ending: Ending,
    listener: Task<()>,
    url: String,
    _directory: Directory,
    metrics: ServerMetrics,
    service: Arc<service::Service>,
    told: Arc<Told>,
    hooks: Option<Gateway>,
}

impl Hub {
    /// Starts a hub. When this returns, it answers.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    ///
    /// # Blocking
    /// Opens files and makes keys.
    pub async fn start(config: &Config, context: Context) -> Result<Self, StartError> {
        let (asked, last) = (context.shutdown.clone(), Shutdown::new());
        let context = Context { shutdown: Shutdown::new(), ..context };
        let Context { clock, entropy, metrics, tasks, shutdown, tracer } = context.clone();
        let directory = directory::open(&config.data_dir, &*entropy)?;
        // Bound first: a port in use is the likeliest mistake, and the cheapest to find.
        let (listener, address) = bind("--listen", config.listen).await?;
        let scraped = match config.metrics {
            Some(address) => Some(bind("--metrics", address).await?),
            None => None,
        };
        let authority = Arc::new(open_authority(&directory, &context)?);
        let advertised = config.advertised(address);
        let url = format!("https://{}", advertised[0]);
        write_credentials(&directory, &authority, &url)?;
        let store = open_store(config, &directory, &context)?;
        let audit = AuditLog::open(
            strait_audit::Options::new(directory.join("audit"), directory.id().to_string()),
            Box::new(StoreMirror(store.clone())),
            clock.clone(),
            &metrics,
        )?;
        let sealer = open_sealer(&store, &*entropy).await?;
        let recorder = Arc::new(crossings::Recorder(audit.clone()));
        let registry =
            Registry::new(store.clone(), clock.clone(), entropy.clone(), sealer, recorder);
        let handlers = Arc::new(OnceLock::new());
        let system =
            System::new(registry.clone(), &url, &authority.certificate_pem(), extras(&handlers));
        system.start(&tasks, &last).await.map_err(StartError::Bootstrap)?;
        let agents = Agents::new(system.clone());
        let service = Arc::new(Joining::new(
            agents.clone(),
            authority.clone(),
            directory.id().clone(),
            advertised,
            clock.clone(),
            entropy.clone(),
            audit.clone(),
        ));
        let credentials = Arc::new(Credentials::new(
            registry.clone(),
            audit.clone(),
            directory.id(),
            config.relay_token_life_max,
        ));
        tasks.spawn_daemon("credentials", credentials.clone().follow(last.clone()));
        let connections = Arc::new(Connections::new(agents.clone(), directory.id().clone()));
        tasks.spawn_daemon("connections", connections.clone().run(last.clone()));
        let announcements = Announcements::new(agents.clone(), connections.clone());
        let announcements = Arc::new(announcements);
        tasks.spawn_daemon("services", announcements.clone().run(last.clone()));
        let told = Arc::new(Told { connections, announcements });
        let (joining, made) = (service.clone(), credentials.clone());
        let _ = handlers.set(Handlers { joining, credentials: made });
        tasks.spawn_daemon("agent-presence", watch_presence(agents.clone(), last.clone()));
        let memory = Memory::shared(RELAY_MEMORY);
        tasks.spawn_daemon("tunnel-memory", memory.clone().watch());
        let recorder = Recorder::new(audit.clone(), tasks.clone());
        tasks.spawn("reads", recorder.clone().count_reads(last.clone()));
        let (ending, hears) = (config.relay_ending, told.clone());
        let tunnels = Tunnels::new(context.clone(), memory, ending, hears, recorder.clone());
        if let Some(own) = config.relay_services.clone() {
            tunnels.offer(own.offer(recorder.clone(), &context));
        }
        let front = Front::new(
            context.clone(),
            &agents,
            credentials.clone(),
            tunnels.clone(),
            recorder,
            config.relay_trusted_proxies.clone(),
        );
        tasks.spawn_daemon("streams", front.clone().watch_streams(last.clone()));
        let server = Server::new(
            registry,
            health(&store, &audit, &asked),
            Arc::new(strait_apiserver::Metrics::register(&metrics)),
            clock.clone(),
            tasks.clone(),
            shutdown.clone(),
        );
        let service = Arc::new(service::Service {
            authenticator: authenticate::Authenticator {
                authorities: authority.bundle()?,
                hub: directory.id().clone(),
                agents,
                clock: clock.clone(),
            },
            system,
            server,
            joining: service,
            credentials,
            front,
            tunnels,
            metrics: metrics.clone(),
            ids: Arc::new(RequestIds::new(entropy)),
            tracer,
            hooks: ArcSwapOption::empty(),
        });
        let listeners = ServerMetrics::new(&metrics);
        let served = serve(config, listener, &authority, service.clone(), &listeners, &context)?;
        metrics.register_process(&*clock);
        let metrics_address = scraped.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = scraped {
            let probes = [("/metrics", metrics_probe(metrics))].into();
            let (listeners, own) = (listeners.clone(), tasks.clone());
            tasks.spawn("metrics", serve_health(listener, probes, listeners, own, last.clone()));
            tracing::info!(%address, "metrics are served to this machine");
        }
        let id = directory.id().clone();
        tracing::info!(hub = %id, %address, url, "hub is serving");
        Ok(Self {
            id,
            address,
            metrics_address,
            authority,
            store,
            audit,
            context,
            asked,
            last,
            ending: config.relay_ending,
            listener: served,
            url,
            _directory: directory,
            metrics: listeners,
            service,
            told,
            hooks: None,
        })
    }

    /// Takes webhooks as well, on a listener of their own, until the hub ends.
    ///
    /// # Errors
    /// See [`strait_hooks::StartError`]; the hub goes on without them.
    pub async fn take_hooks(&mut self, setup: Setup) -> Result<(), strait_hooks::StartError> {
        let service = &self.service;
        let carrier = carrier::Tunnelled {
            tunnels: service.tunnels.clone(),
            system: service.system.clone(),
            ids: service.ids.clone(),
        };
        let host = Host {
            metrics: self.metrics.clone(),
            audit: Some(self.audit.clone()),
            operators: Some(operators::decide(service)),
            carrier: Some(Arc::new(carrier)),
        };
        let gateway = Gateway::start(setup, host, self.context.clone()).await?;
        self.service.hooks.store(Some(Arc::new(gateway.admin())));
        self.hooks = Some(gateway);
        Ok(())
    }

    /// Where webhooks come to, if they do.
    #[must_use]
    pub fn hooks_address(&self) -> Option<SocketAddr> {
        self.hooks.as_ref().map(Gateway::address)
    }

    /// What checks credentials for services.
    #[must_use]
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.service.credentials
    }

    /// What takes requests for services.
    #[must_use]
    pub fn front(&self) -> &Arc<Front> {
        &self.service.front
    }

    /// What hears of agents' tunnels.
    #[must_use]
    pub const fn told(&self) -> &Arc<Told> {
        &self.told
    }

    /// The hub's identifier.
    #[must_use]
    pub const fn id(&self) -> &HubId {
        &self.id
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where this machine reads its metrics without a credential, if anywhere.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Its address as clients reach it, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// PEM of its CA.
    #[must_use]
    pub fn ca(&self) -> String {
        self.authority.certificate_pem()
    }

    /// Ends the hub: it is not ready any more, then accepts nothing more; what crosses ends or is
    /// cut ([`Ending`]), what is being written is finished, files are closed. Forced, what crosses
    /// is cut at once.
    pub async fn stop(mut self) {
        self.asked.ask();
        let forced = self.asked.clone();
        let is_forced = tokio::select! {
            () = self.drain() => false,
            () = forced.forced() => true,
        };
        self.context.shutdown.ask();
        self.last.ask();
        let limit = if is_forced { Duration::ZERO } else { LAST_TIME };
        if let Err(unfinished) = self.context.tasks.shutdown(limit).await {
            tracing::warn!(%unfinished, "some work did not end in time");
        }
        self.audit.close().await;
        let store = self.store.clone();
        // Closing waits for the writer, which may sync.
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        if closed.is_err() {
            tracing::error!("closing the store panicked");
        }
        tracing::info!(hub = %self.id, "hub ended");
    }
}

impl Hub {
    /// Takes nothing new, and waits for what is there.
    async fn drain(&mut self) {
        let Ending { grace, hard } = self.ending;
        tokio::time::sleep(NOTICE.min(grace)).await;
        self.context.shutdown.ask();
        let streams = self.service.front.live().count();
        tracing::info!(streams, ?grace, ?hard, "nothing more is accepted, what crosses may end");
        let hooks = self.hooks.take();
        let front = self.service.front.clone();
        let requests = tokio::time::timeout(grace, &mut self.listener);
        let hooks = async {
            if let Some(hooks) = hooks {
                hooks.stop().await
            }
        };
        // What is left of requests is named with the other work.
        let _ = tokio::join!(hooks, front.drain(), requests);
    }
}

/// Listens where a flag says, and tells where that is.
async fn bind(
    flag: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn open_authority(directory: &Directory, context: &Context) -> Result<Authority, StartError> {
    let pki = directory.join("pki");
    let (clock, entropy) = (context.clock.clone(), context.entropy.clone());
    if let Some(authority) = Authority::load(&pki, clock.clone(), entropy.clone())? {
        return Ok(authority);
    }
    let authority = Authority::create(directory.id(), clock, entropy)?;
    authority.save(&pki)?;
    Ok(authority)
}

/// Writes what the machine's administrator needs to enter.
fn write_credentials(
    directory: &Directory,
    authority: &Authority,
    url: &str,
) -> Result<(), StartError> {
    let subject = ClientSubject {
        user: "admin".into(),
        group: Some(strait_auth::groups::MASTERS.to_owned()),
        uri: None,
    };
    let admin = authority.issue_client(&subject, ADMIN_LIFE)?;
    let ca = authority.certificate_pem();
    let (certificate, key) = (admin.certificate_pem(), admin.key_pem()?);
    let server = format!("{url}/clusters/{}", ClusterName::root());
    let context = kubeconfig::Context {
        name: "root",
        server: &server,
        certificate: &certificate,
        key: key.expose(),
    };
    let text = kubeconfig::render(&ca, &[context], "root");
    strait_runtime::fs::write_atomic(&directory.join("admin.kubeconfig"), text.as_bytes(), 0o600)?;
    strait_runtime::fs::write_atomic(&directory.join("ca.crt"), ca.as_bytes(), 0o644)?;
    Ok(())
}

fn open_store(
    config: &Config,
    directory: &Directory,
    context: &Context,
) -> Result<Store, StartError> {
    let (clock, metrics) = (context.clock.clone(), &context.metrics);
    let store = match config.store {
        StoreKind::Sqlite => {
            let engine = SqliteEngine::open(&directory.join("store.db"))?;
            Store::open(Arc::new(engine), Options::default(), clock, metrics)
        }
        StoreKind::Memory => {
            Store::open(Arc::new(MemoryEngine::new()), Options::default(), clock, metrics)
        }
    };
    store.map_err(|error| StartError::Store(error.into()))
}

/// The key that seals continue tokens lives in the store, so that a restart opens old tokens.
async fn open_sealer(store: &Store, entropy: &dyn Entropy) -> Result<Sealer, StartError> {
    const NAME: &str = "continue-key";
    let stored = store.meta(NAME).map_err(|error| StartError::Store(error.into()))?;
    if let Some(Ok(key)) = stored.map(<[u8; KEY_LENGTH]>::try_from) {
        return Ok(Sealer::new(&key));
    }
    let mut key = [0; KEY_LENGTH];
    entropy.fill(&mut key);
    store.set_meta(NAME, key.to_vec()).await.map_err(StartError::Commit)?;
    Ok(Sealer::new(&key))
}

fn health(store: &Store, audit: &AuditLog, shutdown: &Shutdown) -> Health {
    let (store, audit, shutdown) = (store.clone(), audit.clone(), shutdown.clone());
    let store: Check = Arc::new(move || match store.health() {
        strait_store::Health::Good => Ok(()),
        strait_store::Health::Full => Err("no space left".into()),
        strait_store::Health::Failing => Err("the storage fails".into()),
    });
    let audit: Check =
        Arc::new(
            move || {
                if audit.healthy() { Ok(()) } else { Err("the audit log takes no lines".into()) }
            },
        );
    let shutdown: Check =
        Arc::new(move || if shutdown.is_asked() { Err("shutting down".into()) } else { Ok(()) });
    let ready = Checks::new().with("store", store).with("audit", audit).with("shutdown", shutdown);
    Health { live: Checks::new(), ready }
}

fn serve(
    config: &Config,
    listener: TcpListener,
    authority: &Arc<Authority>,
    service: Arc<service::Service>,
    metrics: &ServerMetrics,
    context: &Context,
) -> Result<Task<()>, StartError> {
    let names = config.server_names(listener.local_addr().unwrap_or(config.listen));
    let names = ServerNames::new(names.iter().map(String::as_str))?;
    let certificate = ServingCertificate::new(authority.clone(), names, SERVING_LIFE)?;
    let tls = server_config(certificate.clone(), &[TUNNEL_PROTOCOL], context.clock.clone())?;
    let clock = context.clock.clone();
    context.tasks.spawn_daemon("serving-certificate", async move {
        loop {
            let next = certificate.renew_if_due();
            let wait = match next {
                Ok(at) => Duration::try_from(at.duration_since(clock.now())).unwrap_or_default(),
                Err(error) => {
                    let error = strait_types::Report(&error).to_string();
                    tracing::error!(err = error, "the serving certificate cannot be renewed");
                    Duration::ZERO
                }
            };
            // Looked at hourly: a machine that slept must not wait out the rest.
            tokio::time::sleep(wait.clamp(Duration::from_secs(60), Duration::from_secs(3600)))
                .await;
        }
    });
    let tunnels = service.clone();
    let protocol = |carriage| Protocol {
        alpn: TUNNEL_PROTOCOL,
        serve: {
            let tunnels = tunnels.clone();
            Arc::new(move |connection, io| tunnels.clone().tunnel(connection, carriage, io).boxed())
        },
    };
    let server = strait_net::Server {
        tls: Some(tls.clone()),
        protocol: Some(protocol(Carriage::Direct)),
        proxies: config.relay_trusted_proxies.networks().to_vec(),
        ..strait_net::Server::plain(
            metrics.clone(),
            context.tasks.clone(),
            context.shutdown.clone(),
        )
    };
    let tunnelled = service.clone();
    let answer = handler_of_heads(move |connection, request| {
        let service = tunnelled.clone();
        async move { service.answer_inside(connection, request).await }
    });
    let carried =
        strait_net::Server { protocol: Some(protocol(Carriage::WebSocket)), ..server.clone() };
    let inside = Inside::new(&tls, carried, answer);
    let tasks = context.tasks.clone();
    let answer = handler_of_heads(move |connection, request| {
        let (service, inside, tasks) = (service.clone(), inside.clone(), tasks.clone());
        async move {
            if request.uri().path() == TUNNEL_PATH {
                let request = request.into_parts();
                let origin = service.front.origin(&connection, &request.fields);
                return service::carry(origin.as_peer(), request, inside, &tasks);
            }
            service.answer(connection, request).await
        }
    });
    Ok(context.tasks.spawn("listener", server.serve(listener, answer)))
}
