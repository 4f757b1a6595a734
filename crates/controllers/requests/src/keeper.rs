//! The requests of one endpoint: what is known of each, and what is done about it.
//!
//! One task owns all of it. Events and the ends of what it started come in through channels;
//! after each, [`plan`] says what to do about the request concerned, and a task of its own does
//! it. At most one such step is under way per request, and one attempt; at most [`STEPS_MAX`]
//! steps at once, beyond which requests wait in the order in which they came.
//!
//! Limits: [`KNOWN_MAX`] objects are known, each by its key and what matters of it; more are
//! passed over until the next list. [`MESSAGES_MAX`] messages wait for this task; more hold
//! their senders up.

mod steps;
mod turns;
mod work;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use strait_reconcile::{
    Change, Endpoints, Event, HubPaths, Index, Object, ObjectKey, PathSource, SourceId, Writer,
};
use strait_runtime::TaskSet;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::config::Mapping;
use crate::context::{Context, Subject};
use crate::execution::{Cancel, State};
use crate::flow::{FlowEnd, Progress};
use crate::journal::{Entry, surplus};
use crate::observed::{Asked, Observed, Phase, observe};
use crate::plan::{Past, Presence, Seen, Step, plan};
use crate::status::{Block, Waiting};
use steps::StepEnd;
use turns::Turns;

/// Objects of one endpoint that are known.
const KNOWN_MAX: usize = 200_000;

/// Steps under way at once: what the hub takes, and a few that wait for the disk.
const STEPS_MAX: usize = 128;

/// Messages that wait for the keeper.
const MESSAGES_MAX: usize = 1024;

/// An object that is gone while its work runs may only have moved to another server.
const GONE_GRACE: Duration = Duration::from_secs(10);

/// Once asked to end, how long calls in flight are waited for.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);

/// And after how many more were reported: with the largest results, 256 MiB.
const COMPACT_REPORTED: usize = 1000;

/// How often the journal is looked through for what can be forgotten.
const COMPACT_INTERVAL: Duration = Duration::from_secs(600);

/// What is known of an object.
#[derive(Debug, Default)]
struct Item {
    observed: Option<Observed>,
    /// Who asked, as the hub recorded it.
    user: Option<Box<str>>,
    /// Set while it waits without ever having been started.
    waiting: Option<Wait>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    for_what: Waiting,
    since: Timestamp,
    /// By the monotonic clock; none if it may wait for ever.
    until: Option<Duration>,
    told: bool,
}

/// A request of which there is more than an object.
#[derive(Debug, Default)]
struct Active {
    entry: Option<Entry>,
    /// Set while an attempt runs.
    live: Option<watch::Sender<Option<Cancel>>>,
    /// Whether a step is under way, or waits for its place.
    busy: bool,
    /// Digest of what the hub was told last, and the phase that it then showed.
    told: Option<(u64, Phase)>,
    /// Nothing is tried before that, by the monotonic clock.
    hold: Option<Duration>,
    /// Failures in a row.
    failures: u32,
    /// Since when the object is gone, by the monotonic clock.
    gone: Option<Duration>,
}

/// What comes back from tasks.
pub(crate) enum Message {
    /// What became known on the way of an attempt.
    Progress(Arc<ObjectKey>, Box<Progress>),
    /// Where it ended.
    Flow(Arc<ObjectKey>, Box<FlowEnd>),
    /// What came of a step.
    Step(Arc<ObjectKey>, Box<StepEnd>),
    /// What the journal forgot.
    Compacted(Vec<Entry>),
}

/// A class's queue.
#[derive(Default)]
struct Queue {
    turns: Turns,
    /// Whether a turn was asked for.
    asked: bool,
    /// Requests that did not fit in.
    beyond: usize,
}

type TurnFuture = BoxFuture<'static, (Arc<str>, Option<OwnedSemaphorePermit>)>;

/// Keeps the requests of one endpoint.
pub(crate) struct Keeper {
    context: Arc<Context>,
    endpoints: Endpoints,
    mappings: Vec<Arc<Mapping>>,
    paths: HashMap<SourceId, Arc<dyn PathSource>>,
    tasks: TaskSet,
    index: Index<Item>,
    listed: HashSet<SourceId>,
    active: HashMap<Arc<ObjectKey>, Active>,
    queues: HashMap<Arc<str>, Queue>,
    coming: FuturesUnordered<TurnFuture>,
    timers: BTreeSet<(Duration, Arc<ObjectKey>)>,
    steps: usize,
    backlog: VecDeque<Arc<ObjectKey>>,
    messages: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    compact_at: Duration,
    compacting: bool,
    /// Records that were reported since the journal was last looked through.
    reported: usize,
}

impl Keeper {
    /// Keeps what that endpoint serves, and looks after what the journal has of it.
    pub(crate) fn new(
        context: Arc<Context>,
        endpoints: Endpoints,
        mappings: Vec<Arc<Mapping>>,
        tasks: TaskSet,
        entries: Vec<Entry>,
    ) -> Self {
        let mut active: HashMap<Arc<ObjectKey>, Active> = HashMap::new();
        for entry in entries {
            let Some(key) = entry.record.request.key() else { continue };
            active.insert(Arc::new(key), Active { entry: Some(entry), ..Active::default() });
        }
        let compact_at = context.clock.monotonic() + COMPACT_INTERVAL;
        Self {
            context,
            endpoints,
            mappings,
            paths: HashMap::new(),
            tasks,
            index: Index::new(KNOWN_MAX),
            listed: HashSet::new(),
            active,
            queues: HashMap::new(),
            coming: FuturesUnordered::new(),
            timers: BTreeSet::new(),
            steps: 0,
            backlog: VecDeque::new(),
            messages: mpsc::channel(MESSAGES_MAX),
            compact_at,
            compacting: false,
            reported: 0,
        }
    }

    /// Works until the shutdown is asked for, and then until calls in flight are answered, at
    /// most three seconds. Programs go on without it.
    pub(crate) async fn run(mut self) {
        let shutdown = self.context.shutdown.clone();
        let resources = self.mappings.iter().map(|mapping| mapping.resource.clone()).collect();
        let mut events = self.endpoints.follow(resources, &shutdown);
        for key in self.active.keys().cloned().collect::<Vec<_>>() {
            self.consider(&key, None);
        }
        while !shutdown.is_asked() {
            let tick = self.until_tick();
            tokio::select! {
                () = shutdown.asked() => {}
                Some(event) = events.recv() => self.take(event),
                Some(message) = self.messages.1.recv() => self.message(message),
                Some((class, permit)) = self.coming.next() => self.turn(&class, permit),
                () = tokio::time::sleep(tick) => self.tick(),
            }
        }
        let drained = tokio::time::timeout(DRAIN_LIMIT, self.drain());
        tokio::select! {
            () = shutdown.forced() => {}
            _ = drained => {}
        }
    }

    /// Takes ends, without beginning anything, until nothing runs.
    async fn drain(&mut self) {
        while self.steps > 0 || self.active.values().any(|active| active.live.is_some()) {
            match self.messages.1.recv().await {
                Some(message) => self.message(message),
                None => return,
            }
        }
    }

    fn take(&mut self, event: Event) {
        let listed = match &event {
            Event::Listed(source) => Some(*source),
            _ => None,
        };
        let source = match &event {
            Event::Began(source)
            | Event::Applied(source, _)
            | Event::Deleted(source, _)
            | Event::Listed(source) => *source,
        };
        match self.index.take(event) {
            Change::None => {}
            Change::Applied(key, object) => self.applied(&key, source, object),
            Change::Gone(keys) => keys.iter().for_each(|key| self.gone(key)),
            Change::Full(object) => {
                self.context.metrics.overflow.inc();
                tracing::warn!(request = %object.key, "too many requests are known already");
            }
        }
        if let Some(source) = listed
            && self.listed.insert(source)
        {
            // Records whose objects did not come are no longer unseen.
            let unseen = |key: &&Arc<ObjectKey>| self.index.get(key).is_none();
            for key in self.active.keys().filter(unseen).cloned().collect::<Vec<_>>() {
                self.consider(&key, None);
            }
        }
        self.count();
    }

    fn count(&self) {
        let metrics = &self.context.metrics;
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.known.set(number(self.index.len()));
        metrics.waiting.set(number(self.queues.values().map(|queue| queue.turns.len()).sum()));
        metrics
            .running
            .set(number(self.active.values().filter(|active| active.live.is_some()).count()));
    }

    fn applied(&mut self, key: &Arc<ObjectKey>, source: SourceId, object: Box<Object>) {
        let Some(mapping) = self.mapping(source) else { return };
        let (observed, asked) = observe(&mapping, &self.context.claim, &object);
        let Some(item) = self.index.get_mut(key) else { return };
        item.observed = Some(observed);
        item.user = asked.user.as_deref().map(Into::into);
        if let Some(active) = self.active.get_mut(key) {
            active.gone = None;
        }
        self.consider(key, Some((object, asked)));
    }

    fn gone(&mut self, key: &Arc<ObjectKey>) {
        let now = self.context.clock.monotonic();
        let Some(active) = self.active.get_mut(key) else { return };
        if active.live.is_some() {
            active.gone = Some(now);
            self.timers.insert((now + GONE_GRACE, key.clone()));
        } else {
            self.consider(key, None);
        }
    }

    fn mapping(&self, source: SourceId) -> Option<Arc<Mapping>> {
        let kind = self.endpoints.source(source)?.kind;
        self.mappings.get(kind).cloned()
    }

    /// The mapping of a request, by its object or, where that is gone, by its record.
    fn mapping_of(&self, key: &ObjectKey) -> Option<Arc<Mapping>> {
        if let Some((_, source)) = self.index.get(key) {
            return self.mapping(source);
        }
        let request = &self.active.get(key)?.entry.as_ref()?.record.request;
        let resource = request.group_resource();
        self.mappings.iter().find(|one| one.resource.group_resource() == resource).cloned()
    }

    /// How to reach a request's object; none while no server of its kind is known.
    fn subject(&mut self, key: &Arc<ObjectKey>) -> Option<Subject> {
        let mapping = self.mapping_of(key)?;
        let source = match self.index.get(key) {
            Some((_, source)) => source,
            None => {
                let same = |one: &Arc<Mapping>| Arc::ptr_eq(one, &mapping);
                let kind = self.mappings.iter().position(same)?;
                *self.endpoints.sources(kind).first()?
            }
        };
        let api = self.endpoints.source(source)?.api;
        let clock = &self.context.clock;
        let paths = self
            .paths
            .entry(source)
            .or_insert_with(|| Arc::new(HubPaths::new(api.clone(), clock.clone())));
        Some(Subject {
            key: key.clone(),
            writer: Writer::new(api.clone(), mapping.resource.clone()),
            mapping,
            paths: paths.clone(),
            time: api.time().clone(),
        })
    }

    fn presence(&self, key: &ObjectKey) -> Presence<'_> {
        if let Some((item, _)) = self.index.get(key) {
            return item.observed.as_ref().map_or(Presence::Unseen, Presence::Here);
        }
        let now = self.context.clock.monotonic();
        let gone = self.active.get(key).and_then(|active| active.gone);
        if gone.is_some_and(|gone| now.saturating_sub(gone) < GONE_GRACE) {
            return Presence::Unseen;
        }
        let Some(mapping) = self.mapping_of(key) else { return Presence::Unseen };
        let kind = self.mappings.iter().position(|one| Arc::ptr_eq(one, &mapping));
        let sources = self.endpoints.sources(kind.unwrap_or_default());
        let complete = sources.iter().all(|source| self.listed.contains(source));
        if sources.is_empty() || !complete { Presence::Unseen } else { Presence::Gone }
    }

    fn next(&self, key: &Arc<ObjectKey>) -> Step {
        let active = self.active.get(key);
        let record = active.and_then(|active| active.entry.as_ref()).map(|entry| &entry.record);
        let live = active.and_then(|active| active.live.as_ref());
        let past = match record {
            Some(record) => Past::Record(record),
            None if live.is_none() && self.is_forgotten(key) => Past::Forgotten,
            None => Past::None,
        };
        plan(&Seen {
            object: self.presence(key),
            past,
            alive: live.is_some(),
            ending: live.is_some_and(|live| live.borrow().is_some()),
            told: active.is_some_and(|active| self.is_told(key, active)),
            now: self.endpoints.time().now(),
            local: self.context.clock.now(),
        })
    }

    fn is_forgotten(&self, key: &ObjectKey) -> bool {
        let Some(mapping) = self.mapping_of(key) else { return false };
        let resource = mapping.resource.group_resource();
        let journal = &self.context.journal;
        journal.is_forgotten(&journal.id(&resource, key, 1))
    }

    /// Whether the hub shows what the journal says: it took that very status and shows what it
    /// then showed, or, where an earlier process told it, it shows that phase.
    fn is_told(&self, key: &ObjectKey, active: &Active) -> bool {
        let Some(entry) = &active.entry else { return true };
        let Some((item, _)) = self.index.get(key) else { return true };
        let shown = item.observed.as_ref().map_or(Phase::None, |observed| observed.phase);
        let block = Block::of(&entry.record);
        match &active.told {
            Some((told, showed)) => *told == block.digest() && *showed == shown,
            None => shown == block.phase && !matches!(entry.record.state, State::Finished { .. }),
        }
    }

    /// Does what is to be done next about a request.
    fn consider(&mut self, key: &Arc<ObjectKey>, object: Option<(Box<Object>, Asked)>) {
        let step = self.next(key);
        if let Step::Cancel(cancel) = step {
            if let Some(live) = self.active.get(key).and_then(|active| active.live.as_ref()) {
                live.send_replace(Some(cancel));
            }
            return;
        }
        if self.context.shutdown.is_asked() {
            return;
        }
        let now = self.context.clock.monotonic();
        match self.active.get(key) {
            // It is considered again when the step ends.
            Some(active) if active.busy => return,
            // Or when its time has come.
            Some(Active { hold: Some(hold), .. }) if *hold > now => return,
            _ => {}
        }
        match step {
            Step::Wait | Step::Cancel(_) => self.tidy(key),
            Step::WaitUntil(time) => {
                let wait = time.duration_since(self.context.clock.now());
                let wait = if wait.is_positive() { wait.unsigned_abs() } else { Duration::ZERO };
                self.timers.insert((now + wait, key.clone()));
            }
            Step::Forget => self.forget(key),
            Step::Decide => self.decide(key, object),
            step => self.begin(key, step),
        }
    }

    fn forget(&mut self, key: &Arc<ObjectKey>) {
        if let Some(active) = self.active.get_mut(key) {
            let kept =
                active.entry.take_if(|entry| matches!(entry.record.state, State::Reported { .. }));
            // A reported record stays until it is compacted.
            *active = Active { entry: kept, ..Active::default() };
        }
        self.tidy(key);
    }

    /// Lets go of what says nothing.
    fn tidy(&mut self, key: &Arc<ObjectKey>) {
        let idle = |active: &Active| {
            active.entry.is_none() && active.live.is_none() && !active.busy && active.hold.is_none()
        };
        if self.active.get(key).is_some_and(idle) {
            self.active.remove(key);
        }
    }

    fn until_tick(&self) -> Duration {
        if self.reported >= COMPACT_REPORTED {
            return Duration::ZERO;
        }
        let next = self.timers.first().map_or(self.compact_at, |(due, _)| *due);
        next.min(self.compact_at).saturating_sub(self.context.clock.monotonic())
    }

    fn tick(&mut self) {
        let now = self.context.clock.monotonic();
        while let Some((due, key)) = self.timers.pop_first() {
            if due > now {
                self.timers.insert((due, key));
                break;
            }
            if let Some(active) = self.active.get_mut(&key) {
                active.hold.take_if(|hold| *hold <= now);
            }
            self.consider(&key, None);
        }
        if now >= self.compact_at || self.reported >= COMPACT_REPORTED {
            self.reported = 0;
            self.compact_at = now + COMPACT_INTERVAL;
            self.compact();
        }
    }

    /// Forgets what the journal need not keep.
    fn compact(&mut self) {
        if self.compacting {
            return;
        }
        let entries = self.active.values().filter_map(|active| active.entry.as_ref());
        let going = surplus(entries, self.context.clock.now());
        if going.is_empty() {
            return;
        }
        self.compacting = true;
        let (context, sender) = (self.context.clone(), self.messages.0.clone());
        self.tasks.spawn_daemon("journal-compaction", async move {
            let gone = match context.journal.forget(&going).await {
                Ok(()) => going,
                Err(error) => {
                    let err = strait_types::Report(&error).to_string();
                    tracing::warn!(err, "the journal cannot be compacted");
                    Vec::new()
                }
            };
            drop(sender.send(Message::Compacted(gone)).await);
        });
    }

    fn compacted(&mut self, gone: Vec<Entry>) {
        self.compacting = false;
        let more = !gone.is_empty();
        for entry in gone {
            let Some(key) = entry.record.request.key().map(Arc::new) else { continue };
            if let Some(active) = self.active.get_mut(&key) {
                active.entry.take_if(|kept| kept.id == entry.id);
            }
            self.tidy(&key);
        }
        if more {
            self.compact();
        }
    }
}
