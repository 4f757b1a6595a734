//! What everything that works on requests has in common.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strait_audit::{Actor, AuditLog, Object as Audited, Record as Line, Stage};
use strait_reconcile::{HubTime, ObjectKey, PathSource, Writer};
use strait_runtime::{Backoff, Clock, Entropy, Shutdown};
use tokio::sync::Semaphore;

use crate::config::{Config, Mapping};
use crate::execution::{Outcome, Record, Request, State};
use crate::executor::Executor;
use crate::journal::Journal;
use crate::metrics::RequestMetrics;

const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// Shared by everything of a process that works on requests.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) journal: Journal,
    pub(crate) audit: AuditLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// This agent's finalizer.
    pub(crate) claim: Box<str>,
    /// This agent's instance, as statuses name it.
    pub(crate) instance: Box<str>,
    /// Where executions have their directories.
    pub(crate) exec_dir: PathBuf,
    /// By class.
    pub(crate) executors: HashMap<Arc<str>, Executor>,
    /// How many of a class may run, by class.
    pub(crate) turns: HashMap<Arc<str>, Arc<Semaphore>>,
    pub(crate) metrics: RequestMetrics,
    pub(crate) shutdown: Shutdown,
}

/// A request, and how to reach what belongs to it.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) key: Arc<ObjectKey>,
    pub(crate) mapping: Arc<Mapping>,
    pub(crate) writer: Writer,
    pub(crate) paths: Arc<dyn PathSource>,
    pub(crate) time: HubTime,
}

impl Context {
    /// Waits between tries of what must be done.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(BACKOFF_FIRST, BACKOFF_LIMIT, self.entropy.clone())
    }

    /// The directory of an execution.
    pub(crate) fn dir(&self, id: &crate::execution::ExecutionId) -> PathBuf {
        self.exec_dir.join(id.as_str())
    }

    /// Between half and whole.
    pub(crate) fn jitter(&self) -> f64 {
        let mut draw = [0; 4];
        self.entropy.fill(&mut draw);
        let share = f64::from(u32::from_le_bytes(draw)) / f64::from(u32::MAX);
        share.mul_add(0.5, 0.5)
    }
}

impl Subject {
    /// The request, as records keep it.
    pub(crate) fn request(&self, user: Option<&str>) -> Request {
        let ObjectKey { endpoint, cluster, namespace, name, uid } = &*self.key;
        let resource = &self.mapping.resource;
        Request {
            endpoint: (&**endpoint).into(),
            group: (&*resource.group).into(),
            version: (&*resource.version).into(),
            resource: (&*resource.resource).into(),
            cluster: cluster.as_str().into(),
            namespace: namespace.clone(),
            name: name.clone(),
            uid: uid.to_string().into(),
            requester: user.unwrap_or_default().into(),
        }
    }
}

/// A line for the audit log. Its actor is who asked, as the hub recorded it.
pub(crate) fn line(request: &Request, stage: Stage, rule: &str, outcome: &str) -> Line {
    Line {
        crossing: request.uid.to_string(),
        stage,
        actor: Actor { user: request.requester.to_string(), groups: Vec::new() },
        object: Audited {
            cluster: request.cluster.to_string(),
            group: request.group.to_string(),
            resource: request.resource.to_string(),
            namespace: request.namespace.as_deref().unwrap_or_default().to_owned(),
            name: request.name.to_string(),
            uid: request.uid.to_string(),
        },
        rule: rule.to_owned(),
        outcome: outcome.to_owned(),
    }
}

/// What the audit log says of the end of an attempt.
pub(crate) fn ending(record: &Record) -> String {
    match &record.state {
        State::Finished { outcome } | State::Reported { outcome } => match outcome {
            Outcome::Succeeded { .. } => "Succeeded".to_owned(),
            Outcome::Failed { failure } => format!("Failed {}", failure.code),
            Outcome::Rejected { failure } => format!("Rejected {}", failure.code),
            Outcome::Cancelled => "Cancelled".to_owned(),
            Outcome::TimedOut { limit } => format!("TimedOut {limit:?}"),
            Outcome::Abandoned => "Abandoned".to_owned(),
        },
        State::Retry { failure, .. } => format!("Retrying {}", failure.code),
        State::Indeterminate { .. } => "Indeterminate".to_owned(),
        State::StartPending | State::Launched => String::new(),
    }
}
