//! A gateway, put together: listeners, what is kept, deliveries, and what changes meanwhile.
//!
//! No rule lives here. [`Gateway::start`] opens everything in the order in which it is needed,
//! and [`Gateway::stop`] ends it in the other: accept nothing more, answer who is there, let
//! attempts end, close the log.

mod change;
mod disk;
mod glue;
mod listen;
mod operators;
mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use strait_audit::AuditLog;
use strait_net::{BoxError, ServerMetrics};
use strait_pki::PkiError;
use strait_runtime::fs::FsError;
use strait_runtime::{Context, DataDirError, Task};
use strait_types::{Classified, ErrorKind};

use self::disk::Disk;
use self::listen::{Bound, metrics_limits, show};
use self::operators::Operators;
use self::upkeep::Upkeep;
use crate::admin::{Admin, AuthorizerError, Decide};
use crate::config::{Ack, Answers, Config, Limits};
use crate::deliver::{self, Carrier, DeliverError, Deliveries, Keep, MEMORY_SHARE};
use crate::ingest::{ACK_WAIT, Acknowledge, Ingest, server_limits};
use crate::log::{OpenError, ReadError};
use crate::secrets::SecretError;
use crate::state::StateError;

/// Time for requests to be answered when the gateway ends.
const REQUESTS_TIME: Duration = Duration::from_secs(10);

/// Time for attempts that are under way then. What does not end is delivered after the next
/// start.
const ATTEMPTS_TIME: Duration = Duration::from_secs(5);

/// Says what the configuration is if that is not what it was before, or what is wrong with it.
/// Blocks on the file system.
pub type Changed = Box<dyn FnMut() -> Option<Result<Config, Vec<String>>> + Send>;

/// Looks a variable of the environment up.
pub type Variable = fn(&str) -> Option<String>;

/// What a gateway is told.
pub struct Setup {
    config: Config,
    variable: Variable,
    changed: Option<Changed>,
}

impl Setup {
    /// A configuration that stays as it is, and where it finds secrets that are in variables.
    #[must_use]
    pub const fn new(config: Config, variable: Variable) -> Self {
        Self { config, variable, changed: None }
    }

    /// The same with changes, which are asked for every second.
    #[must_use]
    pub fn with_changes(self, changed: Changed) -> Self {
        Self { changed: Some(changed), ..self }
    }
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup")
            .field("config", &self.config)
            .field("changes", &self.changed.is_some())
            .finish()
    }
}

/// What a gateway uses of the process that it runs in.
pub struct Host {
    /// Where listeners count.
    pub metrics: ServerMetrics,
    /// Where changes by operators are recorded; a log of its own where there is none.
    pub audit: Option<AuditLog>,
    /// Who says what operators may, if not the configuration.
    pub operators: Option<Decide>,
    /// What reaches services behind agents: the process, if it is a hub.
    pub carrier: Option<Arc<dyn Carrier>>,
}

/// A gateway does not start. For the operator: it names paths and addresses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port.
    #[error("cannot listen on {address}: choose another, or end what uses it")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The operators' socket.
    #[error("cannot listen on the socket {}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Who operators are cannot be told.
    #[error(transparent)]
    Authorizer(#[from] AuthorizerError),
    /// The audit log.
    #[error("cannot open the audit log")]
    Audit(#[from] strait_audit::OpenError),
    /// A file.
    #[error(transparent)]
    File(#[from] FsError),
    /// A certificate.
    #[error("cannot use the certificate of a listener")]
    Certificate(#[from] PkiError),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// Nothing can be written where webhooks are to be kept.
    #[error(
        "webhooks are acknowledged once they are on disk, and {path} cannot be written. In a pod, \
         add to the container `volumeMounts: [{{name: hooks, mountPath: {path}}}]` and to the pod \
         `volumes: [{{name: hooks, emptyDir: {{}}}}]`, or a claim that outlives it; or keep \
         nothing and let senders wait for every backend, with --ack=sync"
    )]
    Volume {
        /// The directory.
        path: String,
        /// What the system says.
        #[source]
        source: FsError,
    },
    /// The log.
    #[error("cannot open the event log")]
    Log(#[from] OpenError),
    /// The log.
    #[error("cannot read the event log")]
    Read(#[from] ReadError),
    /// The state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A backend.
    #[error(transparent)]
    Deliver(#[from] DeliverError),
    /// Backends that were added before.
    #[error("cannot deliver to the backends that were added")]
    Backends(#[source] BoxError),
    /// A secret.
    #[error("source {name}: {}", join(.errors))]
    Secrets {
        /// The source.
        name: Arc<str>,
        /// What is wrong with each.
        errors: Vec<SecretError>,
    },
}

fn join(errors: &[SecretError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Classified for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Directory(error) => error.kind(),
            Self::Listen { .. } | Self::Secrets { .. } | Self::Volume { .. } => ErrorKind::User,
            Self::Certificate(error) => error.kind(),
            _ => ErrorKind::Internal,
        }
    }
}

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    secure: bool,
    deliveries: Deliveries,
    operators: Arc<Operators>,
    disk: Option<Disk>,
    listeners: Vec<Task<()>>,
    context: Context,
}

impl Gateway {
    /// Starts a gateway. When this returns, it takes webhooks.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Panics
    /// The runtime ended meanwhile.
    pub async fn start(setup: Setup, host: Host, context: Context) -> Result<Self, StartError> {
        let Setup { config, variable, changed } = setup;
        // Bound first: a port in use is the likeliest mistake, and the cheapest to find.
        let public = Bound::new(&config.listen, &context).await?;
        let (address, secure) = (public.address, config.listen.tls.is_some());
        let shown = match &config.metrics {
            Some(metrics) => Some(Bound::new(metrics, &context).await?),
            None => None,
        };
        let disk = match config.ack {
            Ack::Durable => Some(open(&config, &context).await?),
            Ack::Sync => None,
        };
        let keep = disk.as_ref().map_or(Keep::Nothing, Disk::keep);
        let mut options = deliver::Options::new(context.clone());
        options.carrier.clone_from(&host.carrier);
        let known = operators::known(&config, disk.as_ref()).await?;
        let deliveries = Deliveries::start(&known, keep, options).await?;
        let acknowledge = match &disk {
            Some(disk) => Acknowledge::Durable(Arc::new(disk.log.clone()), ACK_WAIT),
            None => Acknowledge::AtOnce,
        };
        let backends = Arc::new(deliveries.clone());
        let memory = config.limits.memory - config.limits.memory / MEMORY_SHARE;
        let limits = Limits { memory, ..config.limits.clone() };
        let ingest = Ingest::new(limits, acknowledge, backends, context.clone());
        let operators =
            Operators::open(&config, &host, disk.as_ref(), &deliveries, &ingest, &context).await?;
        let operators = Arc::new(operators);
        let mut upkeep = Upkeep::new(
            config.clone(),
            ingest.clone(),
            deliveries.clone(),
            operators.clone(),
            &context.metrics,
        );
        upkeep.certificates.extend(public.certificate.clone());
        upkeep.certificates.extend(shown.as_ref().and_then(|shown| shown.certificate.clone()));
        (upkeep.changed, upkeep.variable) = (changed, variable);
        upkeep.receive(&context)?;
        if let Some(disk) = &disk {
            let (log, ingest) = (disk.log.clone(), ingest.clone());
            blocking(move || ingest.recall(&log)).await?;
        }
        let limits = server_limits(&config.limits);
        let mut handler = ingest.handler();
        if is_compatible(&config) {
            handler = operators.in_front_of(handler);
        }
        let metrics = &host.metrics;
        let mut listeners = vec![public.serve(limits, metrics, &context, handler)];
        listeners.extend(shown.map(|shown| {
            let limits = metrics_limits();
            shown.serve(limits, metrics, &context, show(context.metrics.clone()))
        }));
        let served = operators.serve(config.admin.as_ref(), metrics, &context).await?;
        if let Some((listener, certificate)) = served {
            listeners.push(listener);
            upkeep.certificates.extend(certificate);
        }
        context.tasks.spawn_daemon("hooks-upkeep", upkeep.run(context.clone()));
        tracing::info!(%address, sources = config.sources.len(), "webhooks are taken");
        Ok(Self { address, secure, deliveries, operators, disk, listeners, context })
    }

    /// Where webhooks come to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// What answers operators.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.operators.admin.clone()
    }

    /// Ends the gateway: senders are answered, attempts that are under way end, the log is
    /// closed.
    pub async fn stop(self) {
        self.context.shutdown.ask();
        if tokio::time::timeout(REQUESTS_TIME, join_all(self.listeners)).await.is_err() {
            tracing::warn!("some senders were not answered in time");
        }
        self.deliveries.drain(ATTEMPTS_TIME).await;
        drop(self.deliveries);
        self.operators.close().await;
        if let Some(Disk { directory, log, state, .. }) = self.disk {
            log.close().await;
            // Its end waits for a sync.
            let closed = tokio::task::spawn_blocking(move || drop((state, directory)));
            if closed.await.is_err() {
                tracing::error!("closing the state panicked");
            }
        }
        tracing::info!("gateway ended");
    }
}

/// Whether a source is answered as sprayproxy answered, which had `/backends` beside it.
fn is_compatible(config: &Config) -> bool {
    config.sources.iter().any(|source| source.answers == Answers::Sprayproxy)
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn open(config: &Config, context: &Context) -> Result<Disk, StartError> {
    let (path, context) = (config.data_dir.clone(), context.clone());
    blocking(move || Disk::open(&path, &context)).await
}

async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StartError>
where
    T: Send + 'static,
    E: Into<StartError> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("it does not panic, and the runtime does not end before it").map_err(Into::into)
}
