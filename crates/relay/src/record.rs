//! What is written down of crossings: who, what for, and what came of it. Both ends of a tunnel
//! do, each in a log of its own and with its own view; the request's identifier joins them.
//!
//! What can change something is recorded before it is sent, each time. Reads are recorded before
//! the first of each kind, and then by their number, once a minute; denials likewise.

mod event;
mod few;
mod kind;

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
use crate::map::Map;
use crate::message::Failure;
use crate::services::is_safe;
pub use event::Event;
use few::{Counted, Few, Limits};
pub use kind::Kind;

/// How often the numbers of reads are written.
const EVERY: Duration = Duration::from_secs(60);
/// Kinds of reads whose numbers are kept; at the limit all are written.
const KINDS_MAX: usize = 16_384;

/// Of denials: who by which credential, where, for what, and why not.
type Denied = (Arc<str>, Arc<str>, String, Why);

/// A reason, and the rule behind it.
type Why = (&'static str, &'static str);

const DENIALS: Limits = Limits { first: 3, kinds: [32, 512] };

/// Of connections: the logical cluster, the agent, its installation.
type Connects = (Arc<str>, String, String);

/// As many as an installation keeps; all installations that a workspace may have come back at once
/// where a hub starts.
const CONNECTS: Limits = Limits { first: 8, kinds: [8_000, 16_384] };

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

    /// What is said of all that are counted together: nothing of one of them alone, which could be
    /// long, but the identifier of the first.
    fn of_kind(&self) -> Self {
        Self {
            user: self.user.clone(),
            groups: self.groups.clone(),
            subjects: self.subjects.clone(),
            client: None,
            method: self.method.clone(),
            path: String::new(),
            kind: self.kind,
            id: self.id.clone(),
            trace: String::new(),
        }
    }

    /// All reads that are counted together.
    fn read(&self) -> Read {
        let Subjects { credential, cluster, agent, service, .. } = &*self.subjects;
        [credential, cluster, agent, service].map(Arc::clone)
    }
}

type Read = [Arc<str>; 4];

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
    reads: Arc<Mutex<Map<Read, (Recorded, u64)>>>,
    counted: Counter,
    denials: Arc<Mutex<Few<Denied, Recorded>>>,
    connects: Arc<Mutex<Few<Connects, Record>>>,
}

impl Recorder {
    /// Writes to this log.
    #[must_use]
    pub fn new(audit: AuditLog, tasks: TaskSet) -> Self {
        let counted = Counter::default();
        let denials = Arc::new(Mutex::new(Few::new(DENIALS)));
        let connects = Arc::new(Mutex::new(Few::new(CONNECTS)));
        Self { audit, tasks, reads: Arc::default(), counted, denials, connects }
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
                // Another first one may have been counted since.
                reads.entry(recorded.read()).or_insert_with(|| (recorded.of_kind(), 0));
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
        let subjects = &recorded.subjects;
        let kind = (
            subjects.credential.clone(),
            subjects.cluster.clone(),
            recorded.of_agent(),
            (why.reason, why.rule),
        );
        if self.denials.lock().note(kind, &subjects.cluster, || recorded.of_kind()) {
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

    /// Records that an installation of an agent is about to connect, or counts that it does so once
    /// more in this minute; whether it is a line of its own. Afterwards, and not before, it may.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub(crate) async fn connects(&self, event: Event<'_>) -> Result<bool, Failure> {
        let cluster: Arc<str> = event.cluster.into();
        let kind = (cluster.clone(), event.agent.to_owned(), event.instance.to_owned());
        let record = event.record();
        if !self.connects.lock().note(kind, &cluster, || record.clone()) {
            return Ok(false);
        }
        let written = self.audit.append(vec![record]).await;
        written.map(|_| true).map_err(|_| Failure::AuditUnavailable)
    }

    fn write_later(&self, task: &'static str, record: Record) {
        let audit = self.audit.clone();
        self.tasks.spawn(task, async move {
            // What cannot be written shows in the log's own health.
            let _ = audit.append(vec![record]).await;
        });
    }

    /// Writes the numbers of reads, denials and connections once a minute, and at the end.
    pub async fn count_reads(self, stop: Shutdown) {
        loop {
            let stopped = tokio::select! {
                () = stop.asked() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            self.write_reads().await;
            self.write_denials().await;
            self.write_connects().await;
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
            .map(|((.., why), recorded, count)| {
                let what = format!("relay.stream.deny {count} more");
                let why = Denial { reason: why.0, rule: why.1, detail: None };
                Record { rule: why.to_string(), ..recorded.record(Stage::Decided, what) }
            })
            .collect();
        if others > 0 {
            let what = format!("relay.stream.deny {others} of other kinds");
            records.push(of_nobody(Stage::Decided, "services", what));
        }
        self.write_all(&records).await;
    }

    async fn write_connects(&self) {
        let Counted { kinds, others } = self.connects.lock().count();
        let more = |count| format!("relay.agent.connect {count} more");
        let kinds = kinds.into_iter();
        let mut records: Vec<_> =
            kinds.map(|(_, record, count)| Record { outcome: more(count), ..record }).collect();
        if others > 0 {
            let what = format!("relay.agent.connect {others} of other instances");
            records.push(of_nobody(Stage::Started, "agents", what));
        }
        self.write_all(&records).await;
    }

    async fn write_all(&self, records: &[Record]) {
        for batch in records.chunks(256) {
            if self.audit.append(batch.to_vec()).await.is_err() {
                tracing::error!("the numbers of reads, denials and connections cannot be recorded");
                return;
            }
        }
    }
}

/// A number of what many did.
fn of_nobody(stage: Stage, resource: &str, outcome: String) -> Record {
    Record {
        crossing: String::new(),
        stage,
        actor: Actor { user: String::new(), groups: Vec::new() },
        object: Object {
            group: "relay.strait.dev".into(),
            resource: resource.into(),
            ..Object::default()
        },
        rule: String::new(),
        outcome,
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
        text.truncate(text.floor_char_boundary(LENGTH_MAX));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use strait_audit::{FileMirror, Options};
    use strait_runtime::{Metrics, SystemClock};

    use super::*;
    use crate::credential::subjects;

    /// What user alice does by a credential at smith/ci.
    fn recorded(method: Method, credential: &str) -> Recorded {
        let subjects = subjects(credential);
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

    #[tokio::test]
    async fn reads_that_begin_together_are_all_counted() {
        let (directory, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let options = Options::new(directory.path().join("audit"), "smith-1".into());
        let mirror = Box::new(FileMirror(directory.path().join("mirror")));
        let audit = AuditLog::open(options, mirror, Arc::new(SystemClock), &metrics).unwrap();
        let recorder = Recorder::new(audit, TaskSet::new(&metrics));
        let long = Recorded { path: "/x".repeat(8_000), ..recorded(Method::GET, "t1") };
        let begin = || Box::pin(recorder.opens(&long, ""));
        let (mut first, mut second) = (begin(), begin());
        // Both are the first of their kind, as far as either can see.
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        first.await.unwrap();
        for _ in 0..5 {
            begin().await.unwrap();
        }
        second.await.unwrap();
        let reads = recorder.reads.lock();
        let [(kept, count)] = reads.values().collect::<Vec<_>>()[..] else { panic!("{reads:?}") };
        assert_eq!((*count, &*kept.path), (5, ""));
    }
}
