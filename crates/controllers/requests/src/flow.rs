//! From a turn to an end in the journal: one attempt.
//!
//! The order is fixed: decide, claim, then audit lines and `StartPending` together, then launch.
//! Nothing of it waits for the public status. What a crash leaves at any point is what
//! [`recovery`](crate::settle::recovery) knows.

use std::sync::Arc;
use std::time::Duration;

use strait_audit::Stage;
use strait_machinery::json::Value;
use strait_reconcile::Object;
use strait_types::Report;
use tokio::sync::{mpsc, watch};

use crate::claim::{Claimed, NotClaimed, claim};
use crate::context::{Context, Subject, ending, line};
use crate::execution::{Cancel, Failure, FailureClass, Record, State, Times};
use crate::executor::{Executor, Program, remove};
use crate::journal::{Entry, JournalError};
use crate::keeper::Message;
use crate::plan::Past;
use crate::settle::{Ended, Moment, settle};

/// What an attempt is begun with.
pub(crate) struct Turn {
    /// The object, where it is at hand.
    pub(crate) object: Option<Box<Object>>,
    /// The record of the attempt before, which says which one is next.
    pub(crate) before: Option<Entry>,
    /// When the request was accepted.
    pub(crate) accepted: jiff::Timestamp,
    /// When its turn came, by the monotonic clock.
    pub(crate) begun: Duration,
}

/// What becomes known on the way.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The object as it is after the claim.
    Claimed(Box<Object>),
    /// The journal has this now.
    Recorded(Box<Entry>),
}

/// Where an attempt ends.
#[derive(Debug)]
pub(crate) enum FlowEnd {
    /// The journal has this now.
    Recorded(Box<Entry>),
    /// Nothing was journaled: it was not taken.
    NotClaimed(NotClaimed),
    /// Nothing was journaled: the audit log or the journal took nothing.
    NotRecorded,
    /// The process ends. The next one looks after it.
    Left,
}

/// The ends of a flow's channels.
pub(crate) struct Wires {
    /// Set once the execution is to be ended early.
    pub(crate) cancel: watch::Receiver<Option<Cancel>>,
    /// Where to tell what becomes known.
    pub(crate) keeper: mpsc::Sender<Message>,
}

/// One attempt of one request.
pub(crate) struct Flow {
    pub(crate) context: Arc<Context>,
    pub(crate) subject: Subject,
    pub(crate) wires: Wires,
}

impl Flow {
    /// Takes the request, starts it and sees it through.
    pub(crate) async fn start(mut self, turn: Turn) -> FlowEnd {
        let Turn { object, before, accepted, begun } = turn;
        let past = before.as_ref().map_or(Past::None, |entry| Past::Record(&entry.record));
        let claimed = match claim(&self.context, &self.subject, object, past).await {
            Ok(claimed) => claimed,
            Err(error) => return FlowEnd::NotClaimed(error),
        };
        self.tell(Progress::Claimed(claimed.object.clone())).await;
        if self.cancelled().is_some() || self.context.shutdown.is_asked() {
            return FlowEnd::NotClaimed(NotClaimed::Changed(claimed.object));
        }
        if let Some(before) = &before
            && before.record.spec_hash != claimed.observed.spec_hash
        {
            let message = "the request was changed after it was accepted";
            let failure = Failure::new(FailureClass::User, "SpecChanged", message);
            return self.finish(before.clone(), Ended::Failed(failure)).await;
        }
        let entry = match self.record(&claimed, before.as_ref(), accepted).await {
            Ok(entry) => entry,
            Err(end) => return end,
        };
        self.tell(Progress::Recorded(Box::new(entry.clone()))).await;
        let end = self.run(entry, claimed, begun).await;
        if let Some(before) = before {
            self.supersede(&before, &end).await;
        }
        end
    }

    /// Takes over what an earlier process started.
    pub(crate) async fn resume(mut self, entry: Entry) -> FlowEnd {
        let context = self.context.clone();
        let class = &self.subject.mapping.class.name;
        let Some(Executor::Process(executor)) = context.executors.get(class) else {
            let unknown = "the agent was restarted and can no longer tell";
            return self.finish(entry, Ended::Unknown(unknown)).await;
        };
        match executor.adopt(&context.dir(&entry.id)).await {
            Err(ended) => self.finish(entry, ended).await,
            Ok(program) => {
                if entry.record.cancel.is_some() {
                    executor.cancel(&program).await;
                }
                self.watch(entry, program).await
            }
        }
    }

    /// Audit lines and `StartPending`, both durable before anything is launched.
    async fn record(
        &self,
        claimed: &Claimed,
        before: Option<&Entry>,
        accepted: jiff::Timestamp,
    ) -> Result<Entry, FlowEnd> {
        let Self { context, subject, .. } = self;
        if !context.audit.healthy() {
            // What cannot be written anyway need not be taken back from the journal.
            return Err(FlowEnd::NotRecorded);
        }
        let executor = subject.mapping.class.executor.kind();
        let now = context.clock.now();
        let attempt = match before.map(|entry| &entry.record.state) {
            Some(State::Retry { attempt, .. }) => *attempt,
            _ => 1,
        };
        let accepted = before.and_then(|entry| entry.record.times.accepted).unwrap_or(accepted);
        let times = Times {
            accepted: Some(accepted),
            claimed: Some(now),
            // A call is made at once; a program when its gate opens.
            started: (executor == "http").then_some(now),
            finished: None,
        };
        let record = Record {
            request: subject.request(claimed.user.as_deref()),
            attempt,
            class: (&*subject.mapping.class.name).into(),
            executor: executor.into(),
            spec_hash: claimed.observed.spec_hash,
            generation: claimed.observed.generation,
            times,
            cancel: None,
            state: State::StartPending,
        };
        let lines = vec![
            line(&record.request, Stage::Decided, &claimed.rule, "allowed"),
            line(&record.request, Stage::Started, "", executor),
        ];
        let again = before.filter(|entry| entry.record.attempt == attempt);
        let journaled = async {
            match again {
                Some(before) => context.journal.update(before, record.clone()).await,
                None => context.journal.create(record.clone()).await,
            }
        };
        let (audited, journaled) = tokio::join!(context.audit.append(lines), journaled);
        match (audited, journaled) {
            (Ok(_), Ok(entry)) => Ok(entry),
            (Ok(_), Err(error)) => {
                self.log("the journal took no start", &error);
                let lines = vec![line(&record.request, Stage::Ended, "", "NotStarted")];
                // The log goes on without it if it must: nothing was started.
                let _ = context.audit.append(lines).await;
                Err(FlowEnd::NotRecorded)
            }
            (Err(error), Ok(entry)) => {
                self.log("the audit log took no start", &error);
                Err(self.withdraw(entry, again).await)
            }
            (Err(error), Err(_)) => {
                self.log("neither audit log nor journal took a start", &error);
                Err(FlowEnd::NotRecorded)
            }
        }
    }

    /// Takes a `StartPending` back, after which nothing was launched.
    async fn withdraw(&self, entry: Entry, again: Option<&Entry>) -> FlowEnd {
        let journal = &self.context.journal;
        for wait in self.context.backoff() {
            let undone = match again {
                Some(before) => {
                    let undone = journal.update(&entry, before.record.clone()).await;
                    undone.map(|entry| FlowEnd::Recorded(Box::new(entry)))
                }
                None => journal.withdraw(&entry).await.map(|()| FlowEnd::NotRecorded),
            };
            match undone {
                Ok(end) => return end,
                Err(JournalError::Changed) => return FlowEnd::Left,
                Err(error) => self.log("cannot take a start back yet", &error),
            }
            if self.stopped_for(wait).await {
                break;
            }
        }
        FlowEnd::Left
    }

    async fn run(&mut self, entry: Entry, claimed: Claimed, begun: Duration) -> FlowEnd {
        let context = self.context.clone();
        let class = &self.subject.mapping.class;
        if let Some(cancel) = self.cancelled() {
            let entry = self.journal_cancel(entry, cancel).await;
            return self.finish(entry, Ended::Cancelled).await;
        }
        let limit = self.time_left(&claimed);
        match context.executors.get(&class.name) {
            Some(Executor::Http(_)) => self.call(entry, &claimed.params, limit, begun).await,
            Some(Executor::Process(_)) => self.execute(entry, &claimed.params, limit, begun).await,
            None => unreachable!("every class of a configuration has an executor"),
        }
    }

    /// The class's limit, or what is left until the request's deadline.
    fn time_left(&self, claimed: &Claimed) -> Duration {
        let limit = self.subject.mapping.class.execution_timeout;
        let left = claimed.observed.deadline_at().map(|deadline| {
            let left = deadline.duration_since(self.subject.time.now());
            if left.is_positive() { left.unsigned_abs() } else { Duration::ZERO }
        });
        left.map_or(limit, |left| left.min(limit)).max(Duration::from_millis(1))
    }

    fn launched(&self, begun: Duration) {
        let Context { metrics, clock, .. } = &*self.context;
        let took = clock.monotonic().saturating_sub(begun);
        metrics.start_seconds.observe(took.as_secs_f64());
        metrics.launched(self.subject.mapping.class.executor.kind());
    }

    async fn call(
        &mut self,
        entry: Entry,
        params: &Value,
        limit: Duration,
        begun: Duration,
    ) -> FlowEnd {
        let context = self.context.clone();
        let class = self.subject.mapping.class.clone();
        let Some(Executor::Http(executor)) = context.executors.get(&class.name) else {
            unreachable!("the caller looked");
        };
        let resource = self.subject.mapping.resource.group_resource();
        // The same for every attempt: the service's own memory spans them.
        let key = context.journal.id(&resource, &self.subject.key, 1);
        self.launched(begun);
        let mut call = std::pin::pin!(executor.call(&key, params, limit));
        let cancel = tokio::select! {
            biased;
            ended = &mut call => return self.finish(entry, ended).await,
            () = context.shutdown.forced() => return FlowEnd::Left,
            cancel = wish(&mut self.wires.cancel) => cancel,
        };
        // Nothing takes a request back that was sent; its answer may still come.
        let entry = self.journal_cancel(entry, cancel).await;
        let ended = tokio::select! {
            biased;
            ended = &mut call => ended,
            () = context.shutdown.forced() => return FlowEnd::Left,
            () = tokio::time::sleep(class.cancel_grace) => {
                Ended::Unknown("it was given up while the service had the request")
            }
        };
        self.finish(entry, ended).await
    }

    async fn execute(
        &mut self,
        entry: Entry,
        params: &Value,
        limit: Duration,
        begun: Duration,
    ) -> FlowEnd {
        let context = self.context.clone();
        let class = self.subject.mapping.class.clone();
        let Some(Executor::Process(executor)) = context.executors.get(&class.name) else {
            unreachable!("the caller looked");
        };
        let dir = context.dir(&entry.id);
        let prepared = match executor.prepare(&dir, params, limit).await {
            Ok(prepared) => prepared,
            Err(ended) => return self.finish(entry, ended).await,
        };
        let mut record = entry.record.clone();
        record.state = State::Launched;
        record.times.started = Some(context.clock.now());
        let entry = match context.journal.update(&entry, record).await {
            Ok(entry) => entry,
            Err(JournalError::Changed) => return FlowEnd::Left,
            Err(error) => {
                self.log("the journal took no launch", &error);
                let message = "the agent cannot keep its journal";
                let failure = Failure::new(FailureClass::Infrastructure, "JournalFailed", message);
                return self.finish(entry, Ended::NotBegun(failure.retryable())).await;
            }
        };
        self.tell(Progress::Recorded(Box::new(entry.clone()))).await;
        if context.shutdown.is_asked() {
            // The gate never opened, and its supervisor says so to the next process.
            return FlowEnd::Left;
        }
        match executor.start(prepared).await {
            Err(ended) => self.finish(entry, ended).await,
            Ok(program) => {
                self.launched(begun);
                self.watch(entry, program).await
            }
        }
    }

    /// Sees a program through.
    async fn watch(&mut self, mut entry: Entry, mut program: Program) -> FlowEnd {
        let context = self.context.clone();
        let class = self.subject.mapping.class.clone();
        let Some(Executor::Process(executor)) = context.executors.get(&class.name) else {
            unreachable!("the caller looked");
        };
        let ended = loop {
            let known = entry.record.cancel.is_some();
            tokio::select! {
                biased;
                ended = executor.wait(&mut program) => break ended,
                // It goes on without this process.
                () = context.shutdown.asked() => return FlowEnd::Left,
                cancel = wish(&mut self.wires.cancel), if !known => {
                    entry = self.journal_cancel(entry, cancel).await;
                    executor.cancel(&program).await;
                }
            }
        };
        let dir = context.dir(&entry.id);
        let end = self.finish(entry, ended).await;
        if matches!(end, FlowEnd::Recorded(_)) {
            // Results are in the journal. What cannot be removed now is swept at the next start.
            drop(tokio::task::spawn_blocking(move || remove(&dir)).await);
        }
        end
    }

    /// Journals the wish for an early end, after which the claim can go.
    async fn journal_cancel(&self, mut entry: Entry, cancel: Cancel) -> Entry {
        let mut record = entry.record.clone();
        record.cancel = Some(cancel);
        match self.context.journal.update(&entry, record.clone()).await {
            Ok(updated) => {
                self.tell(Progress::Recorded(Box::new(updated.clone()))).await;
                updated
            }
            Err(error) => {
                // It is ended all the same; only the claim stays until the end is journaled.
                self.log("the journal took no cancellation", &error);
                entry.record = record;
                entry
            }
        }
    }

    /// Journals what became of an attempt, however long the disk refuses: what ended is told to
    /// nobody before it is durable.
    async fn finish(&self, entry: Entry, ended: Ended) -> FlowEnd {
        let Context { clock, journal, audit, metrics, .. } = &*self.context;
        let deadline_passed = match &ended {
            Ended::OutOfTime => entry.record.times.started.is_some_and(|started| {
                let ran = clock.now().duration_since(started).unsigned_abs();
                ran < self.subject.mapping.class.execution_timeout
            }),
            _ => false,
        };
        let moment = Moment { now: clock.now(), deadline_passed, jitter: self.context.jitter() };
        let mut record = entry.record.clone();
        record.state = settle(&self.subject.mapping.class, &record, ended, &moment);
        record.times.finished = Some(moment.now);
        metrics.ended(&record.state);
        let mut lines = Some(vec![line(&record.request, Stage::Ended, "", &ending(&record))]);
        let mut updated = None;
        for wait in self.context.backoff() {
            let auditing = async {
                match lines.clone() {
                    Some(lines) => audit.append(lines).await.map(|_| ()),
                    None => Ok(()),
                }
            };
            let journaling = async {
                match updated.take() {
                    Some(updated) => Ok(updated),
                    None => journal.update(&entry, record.clone()).await,
                }
            };
            let (audited, journaled) = tokio::join!(auditing, journaling);
            match audited {
                Ok(()) => lines = None,
                Err(error) => self.log("the audit log took no end", &error),
            }
            match journaled {
                Ok(entry) if lines.is_none() => return FlowEnd::Recorded(Box::new(entry)),
                Ok(entry) => updated = Some(entry),
                Err(JournalError::Changed) => return FlowEnd::Left,
                Err(error) => self.log("the journal took no end", &error),
            }
            if self.stopped_for(wait).await {
                break;
            }
        }
        FlowEnd::Left
    }

    /// Lets go of the record of the attempt before, once another stands for the request.
    async fn supersede(&self, before: &Entry, end: &FlowEnd) {
        if let FlowEnd::Recorded(entry) = end
            && entry.id != before.id
            && let Err(error) = self.context.journal.withdraw(before).await
        {
            self.log("the record of an earlier attempt stays", &error);
        }
    }

    fn cancelled(&self) -> Option<Cancel> {
        *self.wires.cancel.borrow()
    }

    async fn tell(&self, progress: Progress) {
        // Nobody listens only when the process ends.
        let progress = Message::Progress(self.subject.key.clone(), Box::new(progress));
        drop(self.wires.keeper.send(progress).await);
    }

    /// Waits; true if the process must end now.
    async fn stopped_for(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.context.shutdown.forced() => true,
            () = tokio::time::sleep(wait) => false,
        }
    }

    fn log(&self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        let err = Report(error).to_string();
        tracing::error!(request = %self.subject.key, err, "{what}");
    }
}

/// Waits for a wish.
async fn wish(cancel: &mut watch::Receiver<Option<Cancel>>) -> Cancel {
    let wish = match cancel.wait_for(Option::is_some).await {
        Ok(wish) => *wish,
        Err(_) => None,
    };
    match wish {
        Some(wish) => wish,
        // Whoever could wish is gone: the process ends.
        None => std::future::pending().await,
    }
}
