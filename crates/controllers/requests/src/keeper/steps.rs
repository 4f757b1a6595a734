//! Steps: one call or one write each, in a task of its own.

use std::sync::Arc;

use strait_reconcile::{Object, ObjectKey};
use strait_types::{Report, WorkspacePath};

use super::{Keeper, Message, STEPS_MAX};
use crate::conclude::{Conclusion, conclude};
use crate::context::{Context, Subject};
use crate::execution::{Failure, FailureClass, Limit, Outcome, Record, State};
use crate::journal::{Entry, JournalError};
use crate::observed::{Phase, observe};
use crate::plan::Step;
use crate::policy::Workspace;
use crate::settle::{Ended, Moment, Recovery, recovery, settle};
use crate::status::Block;

/// What a step does.
pub(super) enum Todo {
    /// Read the object.
    Refresh,
    /// Ask for the path of its workspace.
    AskPath(Box<Object>),
    /// Show the hub that it waits.
    TellWaiting(Box<Block>),
    /// Show the hub a status.
    Tell(Box<Block>),
    /// Give the claim back.
    Release,
    /// Journal that the hub knows.
    Acknowledge(Box<Entry>),
    /// Journal an end without work.
    Conclude(Box<Conclusion>),
}

/// What came of a step.
pub(crate) enum StepEnd {
    /// The object as it is now.
    Read(Option<Box<Object>>),
    /// The workspace's path, for a decision about this object.
    Path(Box<Object>, Option<WorkspacePath>),
    /// The hub took the status and shows this object.
    ToldWaiting(Option<Box<Object>>),
    /// As well.
    Told(Box<Block>, Option<Box<Object>>),
    /// The claim is gone.
    Released(Option<Box<Object>>),
    /// The journal has this now.
    Recorded(Box<Entry>),
    /// The record is somebody else's, or the process ends.
    Lost,
    /// It is to be tried again.
    Failed,
    /// The hub does not take these results, however often they are offered.
    Unfit,
}

impl Keeper {
    /// Begins what a plan says.
    pub(super) fn begin(&mut self, key: &Arc<ObjectKey>, step: Step) {
        match step {
            Step::Tell => {
                let block = self.record(key).map(Block::of);
                if let Some(block) = block {
                    self.begin_with(key, Todo::Tell(Box::new(block)));
                }
            }
            Step::Release => self.begin_with(key, Todo::Release),
            Step::Acknowledge => {
                if let Some(entry) = self.entry(key) {
                    self.begin_with(key, Todo::Acknowledge(Box::new(entry)));
                }
            }
            Step::Recover => self.recover(key),
            Step::Finish(outcome) => {
                let waited = self.stop_waiting(key);
                let accepted = waited.map(|wait| wait.since);
                self.conclude(key, State::Finished { outcome }, accepted, "");
            }
            Step::Lost => {
                let message = "it was claimed before, and nobody recorded what became of it";
                let failure = Failure::new(FailureClass::Indeterminate, "OutcomeUnknown", message);
                self.conclude(key, State::Indeterminate { failure }, None, "");
            }
            Step::Wait | Step::WaitUntil(_) | Step::Forget | Step::Decide | Step::Cancel(_) => {}
        }
    }

    fn entry(&self, key: &ObjectKey) -> Option<Entry> {
        self.active.get(key)?.entry.clone()
    }

    fn record(&self, key: &ObjectKey) -> Option<&Record> {
        Some(&self.active.get(key)?.entry.as_ref()?.record)
    }

    pub(super) fn reject(&mut self, key: &Arc<ObjectKey>, rule: &str, failure: Failure) {
        let outcome = Outcome::Rejected { failure };
        self.conclude(key, State::Finished { outcome }, None, rule);
    }

    pub(super) fn time_out(&mut self, key: &Arc<ObjectKey>, since: jiff::Timestamp) {
        self.stop_waiting(key);
        let outcome = Outcome::TimedOut { limit: Limit::Queue };
        self.conclude(key, State::Finished { outcome }, Some(since), "");
    }

    fn recover(&mut self, key: &Arc<ObjectKey>) {
        let Some(entry) = self.entry(key) else { return };
        let Some(mapping) = self.mapping_of(key) else { return };
        let ended = match recovery(&entry.record) {
            Recovery::Adopt => {
                self.resume(key, entry);
                return;
            }
            Recovery::Again => {
                let message = "the agent was restarted before it began";
                let failure = Failure::new(FailureClass::Infrastructure, "Restarted", message);
                Ended::NotBegun(failure.retryable())
            }
            Recovery::Unknown => {
                Ended::Unknown("the agent was restarted while the service had the request")
            }
        };
        let moment = Moment {
            now: self.context.clock.now(),
            deadline_passed: false,
            jitter: self.context.jitter(),
        };
        let state = settle(&mapping.class, &entry.record, ended, &moment);
        self.conclude(key, state, None, "");
    }

    fn conclude(
        &mut self,
        key: &Arc<ObjectKey>,
        state: State,
        accepted: Option<jiff::Timestamp>,
        rule: &str,
    ) {
        let before = self.entry(key);
        let item = self.index.get(key).map(|(item, _)| item);
        let observed = item.and_then(|item| item.observed.as_ref());
        let known = before.as_ref().map(|entry| (entry.record.spec_hash, entry.record.generation));
        let seen = observed.map(|observed| (observed.spec_hash, observed.generation));
        let Some((spec_hash, generation)) = known.or(seen) else { return };
        let user = item.and_then(|item| item.user.as_deref()).map(str::to_owned);
        let rule = rule.to_owned();
        let conclusion = Conclusion { before, state, spec_hash, generation, user, accepted, rule };
        self.begin_with(key, Todo::Conclude(Box::new(conclusion)));
    }

    /// Begins a step, or has it wait for its place: then it is planned anew when that comes.
    pub(super) fn begin_with(&mut self, key: &Arc<ObjectKey>, todo: Todo) {
        if self.context.shutdown.is_asked() {
            return;
        }
        let full = self.steps >= STEPS_MAX;
        let subject = self.subject(key);
        let active = self.active.entry(key.clone()).or_default();
        if std::mem::replace(&mut active.busy, true) {
            return;
        }
        let Some(subject) = subject else {
            // No server is known yet.
            active.busy = false;
            self.hold(key);
            return;
        };
        if full {
            self.backlog.push_back(key.clone());
            return;
        }
        self.steps += 1;
        let (context, sender, key) = (self.context.clone(), self.messages.0.clone(), key.clone());
        self.tasks.spawn("request-step", async move {
            let end = tokio::select! {
                end = perform(&context, &subject, todo) => end,
                () = context.shutdown.forced() => StepEnd::Lost,
            };
            drop(sender.send(Message::Step(key, Box::new(end))).await);
        });
    }

    pub(super) fn step_ended(&mut self, key: &Arc<ObjectKey>, end: StepEnd) {
        self.steps -= 1;
        if let Some(active) = self.active.get_mut(key) {
            active.busy = false;
        }
        self.took(key, end);
        if let Some(next) = self.backlog.pop_front() {
            if let Some(active) = self.active.get_mut(&next) {
                active.busy = false;
            }
            self.consider(&next, None);
        }
    }

    fn took(&mut self, key: &Arc<ObjectKey>, end: StepEnd) {
        let progress =
            matches!(end, StepEnd::Told(..) | StepEnd::Released(_) | StepEnd::Recorded(_));
        if progress && let Some(active) = self.active.get_mut(key) {
            (active.failures, active.hold) = (0, None);
        }
        match end {
            StepEnd::Failed => self.hold(key),
            // What the hub once took stays as it is.
            StepEnd::Unfit
                if !matches!(
                    self.record(key),
                    Some(Record { state: State::Finished { .. }, .. })
                ) =>
            {
                self.hold(key);
            }
            StepEnd::Unfit => {
                let message = "the results do not fit the request's status";
                let failure = Failure::new(FailureClass::Backend, "ResultRefused", message);
                let outcome = Outcome::Failed { failure };
                self.conclude(key, State::Finished { outcome }, None, "");
            }
            StepEnd::Lost => {}
            StepEnd::Read(Some(object)) => {
                self.wrote(key, &object);
                let asked = self
                    .mapping_of(key)
                    .map(|mapping| observe(&mapping, &self.context.claim, &object).1);
                self.consider(key, asked.map(|asked| (object, asked)));
            }
            // The watch says so too, in a moment.
            StepEnd::Read(None) => self.tidy(key),
            StepEnd::Path(object, path) => {
                let workspace = path.as_ref().map_or(Workspace::Unconfirmed, Workspace::Confirmed);
                // It may have changed its mind meanwhile.
                if self.next(key) == Step::Decide {
                    self.decide_in(key, object, workspace);
                } else {
                    self.consider(key, None);
                }
            }
            StepEnd::ToldWaiting(object) => {
                if let Some(wait) = self.index.get_mut(key).and_then(|item| item.waiting.as_mut()) {
                    wait.told = true;
                }
                self.shown(key, object);
            }
            StepEnd::Told(block, object) => {
                let mapping = self.mapping_of(key);
                let shows = object.as_ref().zip(mapping).map(|(object, mapping)| {
                    observe(&mapping, &self.context.claim, object).0.phase
                });
                if let Some(active) = self.active.get_mut(key) {
                    active.told = Some((block.digest(), shows.unwrap_or(Phase::None)));
                }
                self.shown(key, object);
            }
            StepEnd::Released(object) => self.shown(key, object),
            StepEnd::Recorded(entry) => {
                self.stop_waiting(key);
                self.reported += usize::from(matches!(entry.record.state, State::Reported { .. }));
                self.active.entry(key.clone()).or_default().entry = Some(*entry);
                self.consider(key, None);
            }
        }
    }

    fn shown(&mut self, key: &Arc<ObjectKey>, object: Option<Box<Object>>) {
        if let Some(object) = &object {
            self.wrote(key, object);
        }
        self.consider(key, None);
    }
}

async fn perform(context: &Context, subject: &Subject, todo: Todo) -> StepEnd {
    let Subject { key, mapping, writer, .. } = subject;
    let boxed = |object: Option<Object>| object.map(Box::new);
    let status = |block: &Block| block.patch(mapping, &context.instance);
    let hub = match todo {
        Todo::Refresh => writer.get(key).await.map(|object| StepEnd::Read(boxed(object))),
        Todo::AskPath(object) => {
            let path = subject.paths.path(&key.cluster).await;
            path.map(|path| StepEnd::Path(object, path))
        }
        Todo::TellWaiting(block) => {
            let told = writer.merge_status(key, status(&block)).await;
            told.map(|object| StepEnd::ToldWaiting(boxed(object)))
        }
        Todo::Tell(block) => match writer.merge_status(key, status(&block)).await {
            // Larger than an object may be, or not as its schema wants it.
            Err(error) if block.has_results() && matches!(error.code(), Some(400 | 413 | 422)) => {
                let err = Report(&error).to_string();
                tracing::error!(request = %key, err, "the hub does not take the results");
                return StepEnd::Unfit;
            }
            told => told.map(|object| StepEnd::Told(block, boxed(object))),
        },
        Todo::Release => {
            let released = writer.remove_finalizer(key, &context.claim).await;
            released.map(|object| StepEnd::Released(boxed(object)))
        }
        Todo::Acknowledge(entry) => return acknowledge(context, subject, &entry).await,
        Todo::Conclude(conclusion) => {
            let concluded = conclude(context, subject, *conclusion).await;
            return concluded.map_or(StepEnd::Lost, |entry| StepEnd::Recorded(Box::new(entry)));
        }
    };
    hub.unwrap_or_else(|error| {
        context.metrics.hub_failures.inc();
        let err = Report(&error).to_string();
        tracing::warn!(request = %key, err, "the hub did not do its part; trying again");
        StepEnd::Failed
    })
}

async fn acknowledge(context: &Context, subject: &Subject, entry: &Entry) -> StepEnd {
    let mut record = entry.record.clone();
    if let State::Finished { outcome } = record.state {
        record.state = State::Reported { outcome };
    }
    match context.journal.update(entry, record).await {
        Ok(entry) => StepEnd::Recorded(Box::new(entry)),
        Err(JournalError::Changed) => StepEnd::Lost,
        Err(error) => {
            let err = Report(&error).to_string();
            tracing::error!(request = %subject.key, err, "the journal took no acknowledgement");
            StepEnd::Failed
        }
    }
}
