//! What is written down of crossings: who, what for, and what came of it. Both ends of a tunnel
//! do, each in a log of its own and with its own view; the request's identifier joins them.
//!
//! What can change something is recorded before it is sent, each time. Reads are recorded before
//! the first of each kind, and then by their number, once a minute; denials likewise.

mod denials;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use strait_audit::{Actor, AuditLog, Object, Record, Stage};
use strait_auth::User;
use strait_runtime::{Shutdown, TaskSet};
use strait_tunnel::Code;

use crate::credential::Subjects;
use crate::message::Failure;
use crate::services::is_safe;
use denials::{Counted, Denials};

/// How often the numbers of reads are written.
const EVERY: Duration = Duration::from_secs(60);
/// Kinds of reads whose numbers are kept; at the limit all are written.
const KINDS_MAX: usize = 16_384;

/// What is recorded of a crossing.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Who.
    pub user: Arc<str>,
    /// Their groups.
    pub groups: Vec<Arc<str>>,
    /// By what credential.
    pub subjects: Arc<Subjects>,
    /// The logical cluster of the agent.
    pub cluster: String,
    /// The agent.
    pub agent: String,
    /// Its service.
    pub service: String,
    /// The method.
    pub method: Method,
    /// The path, without its query.
    pub path: String,
    /// Whether it becomes another protocol.
    pub upgrade: bool,
    /// The request's identifier.
    pub id: String,
    /// The trace that it belongs to; empty for none.
    pub trace: String,
}

/// A trace's id, if there is one.
pub(crate) fn said(trace: &str) -> Option<&str> {
    (!trace.is_empty()).then_some(trace)
}

impl Recorded {
    /// Whether it changes nothing.
    fn is_read(&self) -> bool {
        is_safe(&self.method) && !self.upgrade
    }

    fn record(&self, stage: Stage, outcome: String) -> Record {
        Record {
            stage,
            actor: Actor {
                user: self.user.to_string(),
                groups: self.groups.iter().map(ToString::to_string).collect(),
            },
            object: Object {
                cluster: self.cluster.clone(),
                group: "relay.strait.dev".into(),
                resource: "services".into(),
                namespace: String::new(),
                name: format!("{}.{}", self.service, self.agent),
                uid: self.subjects.credential.to_string(),
            },
            crossing: self.id.clone(),
            rule: String::new(),
            outcome,
        }
    }

    /// All reads that are counted together.
    fn kind(&self) -> Kind {
        (
            self.subjects.credential.clone(),
            self.subjects.cluster.clone(),
            format!("{}.{}", self.service, self.agent),
        )
    }
}

type Kind = (Arc<str>, Arc<str>, String);

/// Writes down crossings.
#[derive(Clone)]
pub struct Recorder {
    audit: AuditLog,
    tasks: TaskSet,
    reads: Arc<Mutex<HashMap<Kind, (Recorded, u64)>>>,
    counted: Counter,
    denials: Arc<Mutex<Denials>>,
}

impl Recorder {
    /// Writes to this log.
    #[must_use]
    pub fn new(audit: AuditLog, tasks: TaskSet) -> Self {
        let counted = Counter::default();
        Self { audit, tasks, reads: Arc::default(), counted, denials: Arc::default() }
    }

    /// Counts the reads that are recorded, one by one or by their number.
    pub(crate) fn reads(&self) -> Counter {
        self.counted.clone()
    }

    /// Records that a stream is about to be opened. Afterwards, and not before, it may be.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn opens(&self, recorded: &Recorded) -> Result<(), Failure> {
        if recorded.is_read() {
            self.counted.inc();
        }
        if recorded.is_read()
            && let Some((_, count)) = self.reads.lock().get_mut(&recorded.kind())
        {
            *count += 1;
            return Ok(());
        }
        let what = format!("relay.stream.open {} {}", recorded.method, recorded.path);
        let record = recorded.record(Stage::Started, clipped(what));
        let written = self.audit.append(vec![record]).await;
        written.map_err(|_| Failure::AuditUnavailable)?;
        if recorded.is_read() {
            let full = {
                let mut reads = self.reads.lock();
                reads.insert(recorded.kind(), (recorded.clone(), 0));
                reads.len() >= KINDS_MAX
            };
            if full {
                self.write_reads().await;
            }
        }
        Ok(())
    }

    /// Records how a stream ended.
    pub(crate) fn ended(
        &self,
        recorded: &Recorded,
        code: Code,
        status: u16,
        [up, down]: [u64; 2],
        took: Duration,
    ) {
        let (method, path, took_ms) = (&recorded.method, &recorded.path, took.as_secs_f64() * 1e3);
        tracing::debug!(
            target: "strait::access",
            workspace = recorded.cluster, user = &*recorded.user,
            credential = &*recorded.subjects.credential, agent = recorded.agent,
            service = recorded.service, %method, path, status, %code, up, down, took_ms,
            id = recorded.id, trace = said(&recorded.trace), "crossed"
        );
        if recorded.is_read() {
            return;
        }
        let what = format!("relay.stream.end {code} {status}, {up} bytes up, {down} down");
        self.write_later("stream-end", recorded.record(Stage::Ended, what));
    }

    /// Records that somebody was refused, and why, or that it happened once more.
    pub(crate) fn denies(&self, recorded: &Recorded, why: &'static str) {
        if self.denials.lock().note(recorded, why) {
            let what = format!("relay.stream.deny {} {}", recorded.method, recorded.path);
            let record =
                Record { rule: why.to_owned(), ..recorded.record(Stage::Decided, clipped(what)) };
            self.write_later("stream-deny", record);
        }
    }

    /// Records that somebody is about to cut streams: their numbers, and what they are.
    /// Afterwards, and not before, they may be.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn cuts(
        &self,
        user: &User,
        streams: impl Iterator<Item = (u64, &Recorded)>,
    ) -> Result<(), Failure> {
        let records = streams.map(|(id, recorded)| {
            let what = format!("relay.stream.cut {id} of {}", recorded.user);
            let groups = user.groups.iter().map(ToString::to_string).collect();
            let actor = Actor { user: user.name.to_string(), groups };
            Record { actor, ..recorded.record(Stage::Decided, what) }
        });
        let written = self.audit.append(records.collect()).await;
        written.map(drop).map_err(|_| Failure::AuditUnavailable)
    }

    fn write_later(&self, task: &'static str, record: Record) {
        let audit = self.audit.clone();
        self.tasks.spawn(task, async move {
            // What cannot be written shows in the log's own health.
            let _ = audit.append(vec![record]).await;
        });
    }

    /// Writes the numbers of reads and denials once a minute, and at the end.
    pub async fn count_reads(self, stop: Shutdown) {
        loop {
            let stopped = tokio::select! {
                () = stop.asked() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            self.write_reads().await;
            self.write_denials().await;
            if stopped {
                return;
            }
        }
    }

    async fn write_reads(&self) {
        let reads = std::mem::take(&mut *self.reads.lock());
        let counted = reads.into_values().filter(|(_, count)| *count > 0);
        let records: Vec<_> = counted
            .map(|(recorded, count)| {
                let what = format!("relay.stream.reads {count} more");
                recorded.record(Stage::Ended, what)
            })
            .collect();
        self.write_all(&records).await;
    }

    async fn write_denials(&self) {
        let Counted { kinds, others } = self.denials.lock().count();
        let mut records: Vec<_> = kinds
            .into_iter()
            .map(|(recorded, why, count)| {
                let what = format!("relay.stream.deny {count} more");
                Record { rule: why.to_owned(), ..recorded.record(Stage::Decided, what) }
            })
            .collect();
        if others > 0 {
            records.push(Record {
                crossing: String::new(),
                stage: Stage::Decided,
                actor: Actor { user: String::new(), groups: Vec::new() },
                object: Object {
                    group: "relay.strait.dev".into(),
                    resource: "services".into(),
                    ..Object::default()
                },
                rule: String::new(),
                outcome: format!("relay.stream.deny {others} of other kinds"),
            });
        }
        self.write_all(&records).await;
    }

    async fn write_all(&self, records: &[Record]) {
        for batch in records.chunks(256) {
            if self.audit.append(batch.to_vec()).await.is_err() {
                tracing::error!("the numbers of reads and denials cannot be recorded");
                return;
            }
        }
    }
}

/// As much of a text as fits a record beside the rest.
fn clipped(mut text: String) -> String {
    const LENGTH_MAX: usize = 4 << 10;
    if text.len() > LENGTH_MAX {
        let mut end = LENGTH_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What user alice does by a credential at smith/ci.
    pub(super) fn recorded(method: Method, credential: &str) -> Recorded {
        let subjects = Subjects {
            credential: credential.into(),
            key: None,
            user: "alice".into(),
            cluster: "c1".into(),
            agent: "smith".into(),
            service: "ci".into(),
            issued: jiff::Timestamp::UNIX_EPOCH,
        };
        Recorded {
            user: subjects.user.clone(),
            groups: Vec::new(),
            cluster: subjects.cluster.to_string(),
            agent: subjects.agent.to_string(),
            service: subjects.service.to_string(),
            subjects: Arc::new(subjects),
            method,
            path: "/".into(),
            upgrade: false,
            id: "r1".into(),
            trace: String::new(),
        }
    }
}
