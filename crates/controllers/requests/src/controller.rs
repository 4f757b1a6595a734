//! The request crossing, put together.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use strait_audit::AuditLog;
use strait_reconcile::{Clients, Endpoint, Endpoints, FeedMetrics};
use strait_runtime::fs::{FsError, create_private_dir, sync_dir};
use strait_runtime::{Clock, Entropy, Metrics, Shutdown, TaskSet};
use strait_sandbox::exec::Launcher;
use strait_store::Store;
use strait_types::{Classified, ErrorKind, HubId, InstanceId};
use tokio::sync::Semaphore;

use crate::config::{Config, EndpointConfig};
use crate::context::Context;
use crate::executor::{Executor, ExecutorError, remove};
use crate::journal::{Entry, Journal, JournalError};
use crate::keeper::Keeper;
use crate::metrics::RequestMetrics;
use crate::observed::CLAIM_PREFIX;

/// What the controller stands on.
pub struct Dependencies {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for waits only.
    pub entropy: Arc<dyn Entropy>,
    /// Where its tasks run.
    pub tasks: TaskSet,
    /// Where it counts.
    pub metrics: Metrics,
    /// The agent's audit log: nothing starts that it did not take.
    pub audit: AuditLog,
    /// The journal's store, which nothing else writes to.
    pub journal: Store,
    /// Makes clients for the hub and the URLs that it lists.
    pub clients: Arc<dyn Clients>,
    /// The hub that the agent joined.
    pub hub: Uri,
    /// Its id.
    pub hub_id: HubId,
    /// This installation of the agent.
    pub instance: InstanceId,
    /// Directory of executions; made if it is missing.
    pub exec_dir: PathBuf,
    /// Starts supervisors: this binary with `__exec`.
    pub launcher: Launcher,
}

/// The controller cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A class's executor.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The directory of executions.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl Classified for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Journal(error) => error.kind(),
            Self::Executor(_) => ErrorKind::User,
            Self::Fs(error) => error.kind(),
        }
    }
}

/// Runs the requests of every endpoint of a configuration.
pub struct Controller {
    keepers: Vec<Keeper>,
    /// Records of earlier attempts that another stands for.
    superseded: Vec<Entry>,
    context: Arc<Context>,
    tasks: TaskSet,
}

impl Controller {
    /// Replays the journal and gets everything ready; nothing is begun before
    /// [`run`](Self::run). `shutdown` ends it.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Blocking
    /// Reads the directory of executions.
    pub fn new(
        config: Config,
        dependencies: Dependencies,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let Dependencies { clock, entropy, tasks, metrics, audit, journal, clients, .. } =
            dependencies;
        if !config.is_empty() && config.policy.is_empty() {
            tracing::warn!("no policy has a rule: every request is rejected");
        }
        create_private_dir(&dependencies.exec_dir)?;
        let (journal, entries) =
            Journal::open(journal, dependencies.hub_id, clock.clone(), &metrics)?;
        sweep(&dependencies.exec_dir, &entries)?;
        let (mut newest, superseded) = newest_attempts(entries);
        let mut executors = HashMap::new();
        let mut turns = HashMap::new();
        for mapping in config.endpoints.values().flat_map(|endpoint| &endpoint.mappings) {
            let class = &mapping.class;
            let executor = Executor::new(class, &dependencies.launcher, &clock)?;
            executors.insert(class.name.clone(), executor);
            turns.insert(class.name.clone(), Arc::new(Semaphore::new(class.concurrency)));
        }
        let feed_metrics = FeedMetrics::new(&metrics);
        let endpoints: Vec<_> = config
            .endpoints
            .iter()
            .map(|(name, EndpointConfig { workspace, slice, mappings })| {
                let endpoint = Endpoint {
                    name: name.clone(),
                    hub: dependencies.hub.clone(),
                    workspace: workspace.clone(),
                    slice: slice.clone(),
                };
                let endpoints = Endpoints::new(
                    endpoint,
                    clients.clone(),
                    clock.clone(),
                    entropy.clone(),
                    feed_metrics.clone(),
                    tasks.clone(),
                );
                (name.clone(), endpoints, mappings.clone())
            })
            .collect();
        let instance = dependencies.instance.as_str();
        let context = Arc::new(Context {
            config,
            journal,
            audit,
            clock,
            entropy,
            claim: format!("{CLAIM_PREFIX}{instance}").into(),
            instance: instance.into(),
            exec_dir: dependencies.exec_dir,
            executors,
            turns,
            metrics: RequestMetrics::new(&metrics),
            shutdown,
        });
        let keepers = endpoints.into_iter().map(|(name, endpoints, mappings)| {
            let own = newest.extract_if(.., |entry| {
                let request = &entry.record.request;
                let mapped = |one: &Arc<crate::config::Mapping>| {
                    one.resource.group_resource() == request.group_resource()
                };
                *request.endpoint == *name && mappings.iter().any(mapped)
            });
            let own = own.collect();
            Keeper::new(context.clone(), endpoints, mappings, tasks.clone(), own)
        });
        let keepers = keepers.collect();
        for entry in newest {
            let request = format!("{:?}", entry.record.request.key());
            tracing::warn!(request, "a record belongs to nothing that is configured now");
        }
        Ok(Self { keepers, superseded, context, tasks })
    }

    /// Works until the shutdown is asked for, and then until calls in flight are answered, at
    /// most three seconds. Programs go on, and the next process looks after them.
    pub async fn run(self) {
        for entry in self.superseded {
            if let Err(error) = self.context.journal.withdraw(&entry).await {
                let err = strait_types::Report(&error).to_string();
                tracing::warn!(err, "the record of an earlier attempt stays");
            }
        }
        let keepers = self.keepers.into_iter();
        let keepers: Vec<_> =
            keepers.map(|keeper| self.tasks.spawn("requests", keeper.run())).collect();
        for keeper in keepers {
            // A panic was logged; the others go on.
            drop(keeper.await);
        }
        self.context.shutdown.asked().await;
    }
}

/// Of several attempts of one request the newest counts.
fn newest_attempts(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let mut newest: HashMap<_, Entry> = HashMap::new();
    let mut superseded = Vec::new();
    for entry in entries {
        let request = &entry.record.request;
        let key = (request.endpoint.clone(), request.uid.clone(), request.cluster.clone());
        let older = match newest.remove(&key) {
            Some(other) if other.record.attempt > entry.record.attempt => {
                newest.insert(key, other);
                Some(entry)
            }
            other => {
                newest.insert(key, entry);
                other
            }
        };
        superseded.extend(older);
    }
    (newest.into_values().collect(), superseded)
}

/// Removes directories of executions that the journal does not know, or knows to be over.
fn sweep(dir: &std::path::Path, entries: &[Entry]) -> Result<(), FsError> {
    use crate::execution::State;
    let live = |entry: &&Entry| matches!(entry.record.state, State::StartPending | State::Launched);
    let live: HashSet<_> = entries.iter().filter(live).map(|entry| entry.id.as_str()).collect();
    let read = |error: io::Error| FsError::new("read", dir)(error);
    let mut swept = false;
    for found in std::fs::read_dir(dir).map_err(read)? {
        let found = found.map_err(read)?;
        if found.file_name().to_str().is_none_or(|name| !live.contains(name)) {
            swept |= remove(&found.path())?;
        }
    }
    // The next attempt of an execution that never began has its directory anew.
    if swept { sync_dir(dir) } else { Ok(()) }
}
