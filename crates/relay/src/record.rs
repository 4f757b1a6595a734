//! What is written down of crossings: who, what for, and what came of it. Both ends of a tunnel
//! do, each in a log of its own and with its own view; the request's identifier joins them.
//!
//! What can change something is recorded before it is sent, each time. Reads are recorded before
//! the first of each kind, and then by their number, once a minute; denials likewise.

mod denials;
mod kind;

use std::collections::HashMap;
use std::net::IpAddr;
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
pub use kind::Kind;

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
    /// By what credential, and where: the logical cluster, the agent, its service.
    pub subjects: Arc<Subjects>,
    /// From where, if that is known.
    pub client: Option<IpAddr>,
    /// The method.
    pub method: Method,
    /// The path, without its query.
    pub path: String,
    /// What its stream carries.
    pub kind: Kind,
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
        is_safe(&self.method) && self.kind == Kind::Http
    }

    fn record(&self, stage: Stage, outcome: String) -> Record {
        Record {
            stage,
            actor: Actor {
                user: self.user.to_string(),
                groups: self.groups.iter().map(ToString::to_string).collect(),
            },
            object: Object {
                cluster: self.subjects.cluster.to_string(),
                group: "relay.strait.dev".into(),
                resource: "services".into(),
                namespace: String::new(),
                name: self.of_agent(),
                uid: self.subjects.credential.to_string(),
            },
            crossing: self.id.clone(),
            rule: String::new(),
            outcome,
        }
    }

    /// An event of this request, as it begins: what, and from where. Its line is bounded.
    fn event(&self, name: &str) -> String {
        let mut text = format!("relay.stream.{name} {} {}", self.method, self.path);
        clip(&mut text);
        if let Some(client) = self.client {
            text.push_str(&format!(" from {client}"));
        }
        text
    }

    /// The service, and its agent behind it.
    fn of_agent(&self) -> String {
        format!("{}.{}", self.subjects.service, self.subjects.agent)
    }

    /// All reads that are counted together.
    fn read(&self) -> Read {
        (self.subjects.credential.clone(), self.subjects.cluster.clone(), self.of_agent())
    }
}

type Read = (Arc<str>, Arc<str>, String);

/// Why somebody was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial<'a> {
    /// The reason that they are told.
    pub reason: &'static str,
    /// Which rule, where it is one of those who write this log.
    pub rule: &'static str,
    /// What the rule says, if it is to be told.
    pub detail: Option<&'a str>,
}

impl Denial<'_> {
    /// Of a reason alone.
    #[must_use]
    pub const fn of(reason: &'static str) -> Self {
        Self { reason, rule: "", detail: None }
    }
}

impl std::fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason)?;
        let texts = [self.rule, self.detail.unwrap_or_default()];
        texts.iter().filter(|text| !text.is_empty()).try_for_each(|text| write!(f, " {text}"))
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) code: Code,
    /// Of the answer; 0 where there is none.
    pub(crate) status: u16,
    /// Bytes to the service, and from it.
    pub(crate) bytes: [u64; 2],
    pub(crate) took: Duration,
    /// The installation that served it; empty where that is this one, or none did.
    pub(crate) instance: &'a str,
}

/// Writes down crossings.
#[derive(Clone)]
pub struct Recorder {
    audit: AuditLog,
    tasks: TaskSet,
    reads: Arc<Mutex<HashMap<Read, (Recorded, u64)>>>,
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

    /// Records that a stream is about to be opened at an instance, which is empty where that goes
    /// without saying. Afterwards, and not before, it may be.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn opens(&self, recorded: &Recorded, instance: &str) -> Result<(), Failure> {
        if recorded.is_read() {
            self.counted.inc();
        }
        if recorded.is_read()
            && let Some((_, count)) = self.reads.lock().get_mut(&recorded.read())
        {
            *count += 1;
            return Ok(());
        }
        let what = recorded.event("open") + &at(instance);
        let record = recorded.record(Stage::Started, what);
        let written = self.audit.append(vec![record]).await;
        written.map_err(|_| Failure::AuditUnavailable)?;
        if recorded.is_read() {
            let full = {
                let mut reads = self.reads.lock();
                reads.insert(recorded.read(), (recorded.clone(), 0));
                reads.len() >= KINDS_MAX
            };
            if full {
                self.write_reads().await;
            }
        }
        Ok(())
    }

    /// Records how a stream ended.
    pub(crate) fn ended(&self, recorded: &Recorded, ended: Ended<'_>) {
        let Ended { code, status, bytes: [up, down], took, instance } = ended;
        let client = recorded.client.map(tracing::field::display);
        let subjects = &*recorded.subjects;
        let (method, path, took_ms) = (&recorded.method, &recorded.path, took.as_secs_f64() * 1e3);
        tracing::debug!(
            target: "strait::access",
            workspace = &*subjects.cluster, user = &*recorded.user,
            credential = &*subjects.credential, agent = &*subjects.agent,
            service = &*subjects.service, instance = said(instance), client, %method, path, status,
            %code, up, down, took_ms, id = recorded.id, trace = said(&recorded.trace), "crossed"
        );
        if recorded.is_read() {
            return;
        }
        let (took, at) = (took.as_millis(), at(instance));
        let what =
            format!("relay.stream.end {code} {status}, {up} bytes up, {down} down, {took} ms{at}");
        self.write_later("stream-end", recorded.record(Stage::Ended, what));
    }

    /// Records that somebody was refused, and why, or that it happened once more.
    pub(crate) fn denies(&self, recorded: &Recorded, why: Denial<'_>) {
        if self.denials.lock().note(recorded, (why.reason, why.rule)) {
            let mut rule = why.to_string();
            clip(&mut rule);
            let record = Record { rule, ..recorded.record(Stage::Decided, recorded.event("deny")) };
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

    /// Records an event of an agent or of a configuration, which is no crossing.
    pub fn notes(&self, event: Event<'_>) {
        self.write_later("event", event.record());
    }

    /// The same before it happens. Afterwards, and not before, it may.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub async fn allows(&self, event: Event<'_>) -> Result<(), Failure> {
        let written = self.audit.append(vec![event.record()]).await;
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
                let why = Denial { reason: why.0, rule: why.1, detail: None };
                Record { rule: why.to_string(), ..recorded.record(Stage::Decided, what) }
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

/// What happened to an agent, or to what one goes by.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Who did it.
    pub user: &'a str,
    /// The logical cluster; empty for none.
    pub cluster: &'a str,
    /// The agent, or who offers services.
    pub agent: &'a str,
    /// Its installation; empty where it is about none.
    pub instance: &'a str,
    /// The event's name and what else there is to it. Nothing secret.
    pub what: String,
}

impl Event<'_> {
    fn record(self) -> Record {
        let Self { user, cluster, agent, instance, mut what } = self;
        clip(&mut what);
        Record {
            crossing: instance.to_owned(),
            stage: Stage::Started,
            actor: Actor { user: user.to_owned(), groups: Vec::new() },
            object: Object {
                cluster: cluster.to_owned(),
                group: "relay.strait.dev".into(),
                resource: "agents".into(),
                name: agent.to_owned(),
                ..Object::default()
            },
            rule: String::new(),
            outcome: what,
        }
    }
}

/// Where a stream is served, behind what is said of it.
fn at(instance: &str) -> String {
    if instance.is_empty() { String::new() } else { format!(" at {instance}") }
}

/// Leaves as much of a text as fits a record beside the rest.
pub(crate) fn clip(text: &mut String) {
    const LENGTH_MAX: usize = 4 << 10;
    if text.len() > LENGTH_MAX {
        let mut end = LENGTH_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
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
            subjects: Arc::new(subjects),
            client: None,
            method,
            path: "/".into(),
            kind: Kind::Http,
            id: "r1".into(),
            trace: String::new(),
        }
    }
}
