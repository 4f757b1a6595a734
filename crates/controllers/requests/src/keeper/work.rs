//! Deciding, waiting for a turn, and attempts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use strait_reconcile::{Object, ObjectKey};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{Keeper, Message, Wait};
use crate::claim::NotClaimed;
use crate::config::Class;
use crate::decide::{Verdict, decide};
use crate::execution::State;
use crate::flow::{Flow, FlowEnd, Progress, Turn, Wires};
use crate::journal::Entry;
use crate::keeper::steps::Todo;
use crate::observed::{Asked, Observed, observe};
use crate::policy::Workspace;
use crate::status::{Block, Waiting};

/// How often a request that the journal has no room for is looked at.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

/// First wait after a failure; it doubles up to a minute.
const HOLD_FIRST: Duration = Duration::from_millis(500);
const HOLD_LIMIT: Duration = Duration::from_secs(60);

impl Keeper {
    /// Asks the policy, and finds the request its turn.
    pub(super) fn decide(&mut self, key: &Arc<ObjectKey>, object: Option<(Box<Object>, Asked)>) {
        if let Some((item, _)) = self.index.get(key)
            && let Some(wait) = item.waiting
        {
            self.wait_on(key, wait);
            return;
        }
        let Some((object, asked)) = object else {
            self.begin_with(key, Todo::Refresh);
            return;
        };
        let Some(mapping) = self.mapping_of(key) else { return };
        let policy = &self.context.config.policy;
        match decide(policy, &mapping, key, &asked, Workspace::NotAsked) {
            Verdict::NeedsPath => self.begin_with(key, Todo::AskPath(object)),
            Verdict::Reject { rule, failure } => self.reject(key, &rule, failure),
            Verdict::Run(_) => self.find_turn(key, &mapping.class.clone(), Some(object)),
        }
    }

    /// Goes on where the workspace's path is known.
    pub(super) fn decide_in(
        &mut self,
        key: &Arc<ObjectKey>,
        object: Box<Object>,
        workspace: Workspace<'_>,
    ) {
        let Some(mapping) = self.mapping_of(key) else { return };
        let (_, asked) = observe(&mapping, &self.context.claim, &object);
        match decide(&self.context.config.policy, &mapping, key, &asked, workspace) {
            Verdict::Reject { rule, failure } => self.reject(key, &rule, failure),
            Verdict::Run(_) => self.find_turn(key, &mapping.class.clone(), Some(object)),
            Verdict::NeedsPath => {}
        }
    }

    fn find_turn(&mut self, key: &Arc<ObjectKey>, class: &Arc<Class>, object: Option<Box<Object>>) {
        if !class.at_least_once && !self.context.journal.has_room() {
            self.make_wait(key, Waiting::JournalFull, Some(FULL_INTERVAL));
            return;
        }
        let queue = self.queues.entry(class.name.clone()).or_default();
        if queue.turns.len() == 0
            && let Some(turns) = self.context.turns.get(&class.name)
            && let Ok(permit) = turns.clone().try_acquire_owned()
        {
            self.start(key, object, permit);
            return;
        }
        if queue.turns.len() >= class.pending_max {
            queue.beyond += 1;
            self.make_wait(key, Waiting::Quota, None);
            return;
        }
        queue.turns.push(key.clone());
        self.make_wait(key, Waiting::Turn, Some(class.queue_timeout));
        self.ask_turn(&class.name);
    }

    fn make_wait(&mut self, key: &Arc<ObjectKey>, for_what: Waiting, limit: Option<Duration>) {
        let now = self.context.clock.monotonic();
        let since = self.context.clock.now();
        let until = limit.map(|limit| now + limit);
        self.timers.extend(until.map(|until| (until, key.clone())));
        let Some(item) = self.index.get_mut(key) else { return };
        // A retry waits too, but its record says more.
        let told = self.active.get(key).is_some_and(|active| active.entry.is_some());
        let wait = Wait { for_what, since, until, told };
        item.waiting = Some(wait);
        self.wait_on(key, wait);
    }

    fn wait_on(&mut self, key: &Arc<ObjectKey>, wait: Wait) {
        self.set_deadline(key);
        let over = wait.until.is_some_and(|until| until <= self.context.clock.monotonic());
        match wait.for_what {
            Waiting::Turn if over => self.time_out(key, wait.since),
            Waiting::JournalFull if over => {
                self.stop_waiting(key);
                self.begin_with(key, Todo::Refresh);
            }
            _ if !wait.told => self.tell_waiting(key, wait),
            _ => {}
        }
    }

    /// Sees to it that a request is looked at when its own deadline passes.
    fn set_deadline(&mut self, key: &Arc<ObjectKey>) {
        let item = self.index.get(key).map(|(item, _)| item);
        let observed = item.and_then(|item| item.observed.as_ref());
        if let Some(deadline) = observed.and_then(Observed::deadline_at) {
            let left = deadline.duration_since(self.endpoints.time().now());
            let left = if left.is_positive() { left.unsigned_abs() } else { Duration::ZERO };
            self.timers.insert((self.context.clock.monotonic() + left, key.clone()));
        }
    }

    fn tell_waiting(&mut self, key: &Arc<ObjectKey>, wait: Wait) {
        let item = self.index.get(key).map(|(item, _)| item);
        let Some(observed) = item.and_then(|item| item.observed.as_ref()) else { return };
        let Observed { generation, spec_hash, .. } = *observed;
        let block = Block::waiting(wait.for_what, generation, spec_hash, wait.since);
        self.begin_with(key, Todo::TellWaiting(Box::new(block)));
    }

    pub(super) fn stop_waiting(&mut self, key: &ObjectKey) -> Option<Wait> {
        self.index.get_mut(key).and_then(|item| item.waiting.take())
    }

    pub(super) fn ask_turn(&mut self, class: &Arc<str>) {
        let Some(turns) = self.context.turns.get(class).cloned() else { return };
        let Some(queue) = self.queues.get_mut(class) else { return };
        if queue.turns.len() == 0 || std::mem::replace(&mut queue.asked, true) {
            return;
        }
        let class = class.clone();
        let turn = async move { (class, turns.acquire_owned().await.ok()) };
        self.coming.push(turn.boxed());
    }

    /// A turn of a class came: for whoever waits longest and still does.
    pub(super) fn turn(&mut self, class: &Arc<str>, permit: Option<OwnedSemaphorePermit>) {
        let Some(queue) = self.queues.get_mut(class) else { return };
        queue.asked = false;
        let Some(permit) = permit else { return };
        while let Some(key) = self.queues.get_mut(class).and_then(|queue| queue.turns.pop()) {
            let waits = self.index.get(&key).is_some_and(|(item, _)| {
                item.waiting.is_some_and(|wait| wait.for_what == Waiting::Turn)
            });
            if waits {
                self.start(&key, None, permit);
                break;
            }
        }
        self.refill(class);
        self.ask_turn(class);
    }

    /// Once half of a full queue is through, lets in who did not fit.
    fn refill(&mut self, class: &Arc<str>) {
        let Some(max) = self.pending_max(class) else { return };
        let Some(queue) = self.queues.get_mut(class) else { return };
        if queue.beyond == 0 || queue.turns.len() > max / 2 {
            return;
        }
        let room = max - queue.turns.len();
        queue.beyond = queue.beyond.saturating_sub(room);
        let of_class = |key: &ObjectKey| {
            self.mapping_of(key).is_some_and(|mapping| mapping.class.name == *class)
        };
        let beyond = self.index.iter().filter(|(key, item)| {
            let quota = item.waiting.is_some_and(|wait| wait.for_what == Waiting::Quota);
            quota && of_class(key)
        });
        let keys: Vec<_> = beyond.map(|(key, _)| key.clone()).take(room).collect();
        for key in keys {
            self.stop_waiting(&key);
            let Some(mapping) = self.mapping_of(&key) else { continue };
            self.find_turn(&key, &mapping.class.clone(), None);
        }
    }

    fn pending_max(&self, class: &Arc<str>) -> Option<usize> {
        let mapping = self.mappings.iter().find(|mapping| mapping.class.name == *class);
        mapping.map(|mapping| mapping.class.pending_max)
    }

    fn start(
        &mut self,
        key: &Arc<ObjectKey>,
        object: Option<Box<Object>>,
        permit: OwnedSemaphorePermit,
    ) {
        let waited = self.stop_waiting(key);
        let accepted = waited.map_or_else(|| self.context.clock.now(), |wait| wait.since);
        let begun = self.context.clock.monotonic();
        let Some(flow) = self.flow(key) else { return };
        let before = self.active.get(key).and_then(|active| active.entry.clone());
        let turn = Turn { object, before, accepted, begun };
        self.spawn_flow(key, Some(permit), async move { flow.start(turn).await });
    }

    /// Looks after what an earlier process started. It takes no turn of others, but a free one.
    pub(super) fn resume(&mut self, key: &Arc<ObjectKey>, entry: Entry) {
        let Some(flow) = self.flow(key) else { return };
        let class = &flow.subject.mapping.class.name;
        let turns = self.context.turns.get(class).cloned();
        let permit = turns.and_then(|turns| turns.try_acquire_owned().ok());
        self.spawn_flow(key, permit, async move { flow.resume(entry).await });
    }

    fn flow(&mut self, key: &Arc<ObjectKey>) -> Option<Flow> {
        let subject = self.subject(key)?;
        let (sender, cancel) = watch::channel(None);
        self.active.entry(key.clone()).or_default().live = Some(sender);
        let wires = Wires { cancel, keeper: self.messages.0.clone() };
        Some(Flow { context: self.context.clone(), subject, wires })
    }

    fn spawn_flow(
        &self,
        key: &Arc<ObjectKey>,
        permit: Option<OwnedSemaphorePermit>,
        flow: impl Future<Output = FlowEnd> + Send + 'static,
    ) {
        let (key, sender) = (key.clone(), self.messages.0.clone());
        self.tasks.spawn("request", async move {
            let end = Box::pin(flow).await;
            drop(permit);
            drop(sender.send(Message::Flow(key, Box::new(end))).await);
        });
    }

    pub(super) fn message(&mut self, message: Message) {
        match message {
            Message::Progress(key, progress) => self.progressed(&key, *progress),
            Message::Flow(key, end) => self.ended(&key, *end),
            Message::Step(key, end) => self.step_ended(&key, *end),
            Message::Compacted(gone) => self.compacted(gone),
        }
    }

    pub(super) fn progressed(&mut self, key: &Arc<ObjectKey>, progress: Progress) {
        match progress {
            Progress::Claimed(object) => self.wrote(key, &object),
            Progress::Recorded(entry) => {
                let active = self.active.entry(key.clone()).or_default();
                active.entry = Some(*entry);
                self.consider(key, None);
            }
        }
    }

    /// Takes an object that a write of our own brought back.
    pub(super) fn wrote(&mut self, key: &Arc<ObjectKey>, object: &Object) {
        let Some(mapping) = self.mapping_of(key) else { return };
        self.index.wrote(object);
        if let Some(item) = self.index.get_mut(key) {
            item.observed = Some(observe(&mapping, &self.context.claim, object).0);
        }
    }

    fn ended(&mut self, key: &Arc<ObjectKey>, end: FlowEnd) {
        let active = self.active.entry(key.clone()).or_default();
        active.live = None;
        match end {
            FlowEnd::Recorded(entry) => {
                active.failures = 0;
                let again = matches!(entry.record.state, State::Retry { .. });
                active.entry = Some(*entry);
                if again {
                    self.stop_waiting(key);
                }
                self.consider(key, None);
            }
            FlowEnd::NotClaimed(NotClaimed::Changed(object)) => {
                self.wrote(key, &object);
                let asked = self
                    .mapping_of(key)
                    .map(|mapping| observe(&mapping, &self.context.claim, &object).1);
                self.consider(key, asked.map(|asked| (object, asked)));
            }
            FlowEnd::NotClaimed(NotClaimed::Gone) => {
                // The watch says so too, in a moment.
                self.tidy(key);
            }
            FlowEnd::NotClaimed(NotClaimed::Hub) | FlowEnd::NotRecorded => self.hold(key),
            FlowEnd::Left => {}
        }
        self.count();
    }

    /// Puts a request off after a failure.
    pub(super) fn hold(&mut self, key: &Arc<ObjectKey>) {
        let jitter = self.context.jitter();
        let now = self.context.clock.monotonic();
        let active = self.active.entry(key.clone()).or_default();
        let whole = HOLD_FIRST.saturating_mul(1 << active.failures.min(10)).min(HOLD_LIMIT);
        active.failures += 1;
        let until = now + whole.mul_f64(jitter);
        active.hold = Some(until);
        self.timers.insert((until, key.clone()));
    }
}
