//! Operators: what they see and change, and where they come to.

use std::sync::Arc;

use strait_audit::{AuditLog, FileMirror};
use strait_net::{Handler, Limits, ServerMetrics, handler, listen_unix};
use strait_pki::FileCertificate;
use strait_runtime::{Context, Task};
use strait_types::Report;
use tokio::net::UnixListener;

use super::disk::Disk;
use super::listen::{Bound, server};
use super::{Host, StartError, blocking};
use crate::admin::{Admin, Authorizer, Backends, Kept, Parts, Purged};
use crate::config::{self, AdminListener, Cluster, Config, Source};
use crate::deliver::{DeliverError, Deliveries};
use crate::ingest::Ingest;

/// Connections of operators.
const CONNECTIONS: u32 = 256;

/// The operators' side of a gateway.
pub(super) struct Operators {
    pub(super) admin: Admin,
    /// None where nobody can prove who asks.
    pub(super) authorizer: Option<Arc<Authorizer>>,
    pub(super) backends: Option<Arc<Backends>>,
    /// The gateway's own; a hub closes its own itself.
    audit: Option<AuditLog>,
}

impl Operators {
    /// Opens what operators look at.
    pub(super) async fn open(
        config: &Config,
        host: &Host,
        disk: Option<&Disk>,
        deliveries: &Deliveries,
        ingest: &Ingest,
        context: &Context,
    ) -> Result<Self, StartError> {
        let mut own = None;
        let kept = match disk {
            None => None,
            Some(disk) => {
                let audit = match &host.audit {
                    Some(audit) => audit.clone(),
                    None => own.insert(open_audit(disk, context).await?).clone(),
                };
                let (directory, floor) = (disk.path.clone(), disk.log.floor());
                let purged = blocking(move || Purged::open(&directory, floor)).await?;
                let (log, state) = (disk.log.clone(), disk.state.clone());
                Some(Kept { log, state, purged: Arc::new(purged), audit })
            }
        };
        let backends = match &config.dynamic_backends {
            None => None,
            Some(dynamic) => {
                let audit = kept.as_ref().map(|kept| kept.audit.clone());
                let (dynamic, deliveries) = (dynamic.clone(), Arc::new(deliveries.clone()));
                let directory = disk.map(|disk| disk.path.clone());
                let open = move || Backends::open(dynamic, directory.as_deref(), deliveries, audit);
                let backends = blocking(open).await?;
                let (sources, configured) = (config.sources.clone(), config.backends.clone());
                backends.apply(sources, configured).await.map_err(StartError::Backends)?;
                Some(Arc::new(backends))
            }
        };
        let authorizer = authorizer(config, host, context).await?;
        let admin = Admin::new(Parts {
            kept,
            deliveries: Arc::new(deliveries.clone()),
            backends: backends.clone(),
            metrics: context.metrics.clone(),
            ready: ingest.checks(),
            clock: context.clock.clone(),
            tasks: context.tasks.clone(),
            shutdown: context.shutdown.clone(),
        });
        Ok(Self { admin, authorizer, backends, audit: own })
    }

    /// Serves the operators' listener, if there is one.
    pub(super) async fn serve(
        &self,
        admin: Option<&config::Admin>,
        metrics: &ServerMetrics,
        context: &Context,
    ) -> Result<Option<(Task<()>, Option<Arc<FileCertificate>>)>, StartError> {
        let (Some(admin), Some(authorizer)) = (admin, &self.authorizer) else { return Ok(None) };
        let limits = Limits { connections: CONNECTIONS, ..Limits::default() };
        let handler = self.admin.handler(authorizer.clone());
        Ok(Some(match &admin.listen {
            AdminListener::Tcp(at) => {
                let bound = Bound::new(at, context).await?;
                let certificate = bound.certificate.clone();
                (bound.serve(limits, metrics, context, handler), certificate)
            }
            AdminListener::Unix(path) => {
                let failed = |source| StartError::Socket { path: path.clone(), source };
                let listener =
                    listen_unix(path).and_then(UnixListener::from_std).map_err(failed)?;
                let served = server(None, limits, metrics, context).serve_unix(listener, handler);
                (context.tasks.spawn("hooks-operators", served), None)
            }
        }))
    }

    /// Answers at the public listener what sprayproxy answered there: `/backends`, to those who
    /// prove that they may; the rest is for `next`.
    pub(super) fn in_front_of(&self, next: Handler) -> Handler {
        let (Some(backends), Some(authorizer)) = (self.backends.clone(), self.authorizer.clone())
        else {
            return next;
        };
        handler(move |connection, request| {
            let (backends, authorizer) = (backends.clone(), authorizer.clone());
            let next = next.clone();
            async move {
                if request.uri().path() != crate::admin::backends::PATH {
                    return next(connection, request.into()).await.into_http();
                }
                let answered = backends.answer(&authorizer, &connection, request).await;
                answered.expect("the path is theirs")
            }
        })
    }

    /// Delivers to the backends of a configuration and to those that were added.
    pub(super) async fn apply(
        &self,
        config: &Config,
        deliveries: &Deliveries,
    ) -> Result<(), String> {
        let (sources, configured) = (config.sources.clone(), config.backends.clone());
        match &self.backends {
            Some(backends) => {
                let applied = backends.apply(sources, configured).await;
                applied.map_err(|error| Report(&*error).to_string())
            }
            None => {
                let applied = deliveries.apply(&sources, &configured).await;
                applied.map_err(|error: DeliverError| Report(&error).to_string())
            }
        }
    }

    /// Closes what is the gateway's own.
    pub(super) async fn close(&self) {
        if let Some(audit) = &self.audit {
            audit.close().await;
        }
    }
}

/// The backends that deliveries begin with: those of the configuration, and those that were added
/// before.
pub(super) async fn known(config: &Config, disk: Option<&Disk>) -> Result<Config, StartError> {
    let (Some(dynamic), Some(disk)) = (&config.dynamic_backends, disk) else {
        return Ok(config.clone());
    };
    let (dynamic, directory) = (dynamic.clone(), disk.path.clone());
    let (sources, configured): (Vec<Source>, _) = (config.sources.clone(), config.backends.clone());
    let known = move || Backends::known(&dynamic, &directory, sources, configured);
    Ok(Config { backends: blocking(known).await?, ..config.clone() })
}

/// In a hub the hub says who may; elsewhere the configuration does. Without either, whoever wants
/// to change backends is asked for a token of the cluster that this runs in.
async fn authorizer(
    config: &Config,
    host: &Host,
    context: &Context,
) -> Result<Option<Arc<Authorizer>>, StartError> {
    if let Some(decide) = &host.operators {
        return Ok(Some(Arc::new(Authorizer::hub(decide.clone()))));
    }
    let clock = context.clock.clone();
    let authorizer = match (&config.admin, &config.dynamic_backends) {
        (Some(admin), _) => Authorizer::open(admin, clock).await?,
        (None, Some(_)) => Authorizer::of_cluster(&Cluster::Here, clock).await?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(authorizer)))
}

async fn open_audit(disk: &Disk, context: &Context) -> Result<AuditLog, StartError> {
    let options =
        strait_audit::Options::new(disk.path.join("audit"), disk.directory.id().to_string());
    let mirror = Box::new(FileMirror(disk.path.join("audit-head")));
    let (clock, metrics) = (context.clock.clone(), context.metrics.clone());
    blocking(move || AuditLog::open(options, mirror, clock, &metrics)).await
}
