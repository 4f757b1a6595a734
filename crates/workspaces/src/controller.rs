//! How the hub's own controllers run: keys out of events, one reconciliation per key at a time.
//!
//! A controller gets a key and looks at what is stored, never at the event that brought the key.
//! So it does not matter how often it runs, and a restart, which begins with every object,
//! repairs what was left undone.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use strait_machinery::status::Status;
use strait_runtime::{Shutdown, TaskSet};
use strait_store::{Key, ResourceId, Scope, Store};
use strait_types::{Report, Revision};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// Keys of one controller worked on at once.
const CONCURRENCY: usize = 16;

/// First and longest wait before a key that failed is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Longest that a key waits for a change that it was told to wait for.
const AWAIT_MAX: Duration = Duration::from_secs(30);

/// What a reconciliation came to.
pub(crate) enum Outcome {
    /// The key is as it should be.
    Done,
    /// Something in this scope must change first, after this revision.
    Await(ResourceId, Scope, Revision),
}

/// Makes what is stored what it should be, for one key.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// Name for logs and tasks.
    fn name(&self) -> &'static str;

    /// Resources to follow, each with what its objects mean for this controller's keys.
    fn follows(&self) -> Vec<Follow>;

    /// Works on one key.
    fn reconcile<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Outcome, Status>>;
}

/// The keys that a change of an object concerns.
pub(crate) type Concerns = Arc<dyn Fn(&Key) -> Vec<Key> + Send + Sync>;

/// A resource to follow, and the keys that a change of one of its objects concerns.
pub(crate) struct Follow {
    pub(crate) resource: ResourceId,
    pub(crate) keys: Concerns,
}

impl Follow {
    /// Objects that are keys themselves.
    pub(crate) fn own(resource: ResourceId) -> Self {
        Self { resource, keys: Arc::new(|key| vec![key.clone()]) }
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    /// Everything in `ready`.
    waiting: HashSet<Key>,
    running: HashSet<Key>,
    /// Came again while running.
    again: HashSet<Key>,
    later: BTreeMap<(Instant, u64), Key>,
    count: u64,
    failures: std::collections::HashMap<Key, u32>,
}

impl Queue {
    fn add(&self, key: Key) {
        let mut state = self.state.lock();
        if state.running.contains(&key) {
            state.again.insert(key);
        } else if state.waiting.insert(key.clone()) {
            state.ready.push_back(key);
            self.wake.notify_one();
        }
    }

    fn add_later(&self, key: Key, at: Instant) {
        let mut state = self.state.lock();
        state.count += 1;
        let place = (at, state.count);
        state.later.insert(place, key);
        self.wake.notify_one();
    }

    /// The next key, now being worked on, or when to look again.
    fn take(&self, now: Instant) -> Result<Key, Option<Instant>> {
        let mut state = self.state.lock();
        while let Some(first) = state.later.first_entry()
            && first.key().0 <= now
        {
            let key = first.remove();
            if state.running.contains(&key) {
                state.again.insert(key);
            } else if state.waiting.insert(key.clone()) {
                state.ready.push_back(key);
            }
        }
        let Some(key) = state.ready.pop_front() else {
            return Err(state.later.first_key_value().map(|((at, _), _)| *at));
        };
        state.waiting.remove(&key);
        state.running.insert(key.clone());
        Ok(key)
    }

    /// Ends the work on a key. After a failure it comes back later.
    fn done(&self, key: &Key, failed: bool) {
        let mut state = self.state.lock();
        state.running.remove(key);
        let again = state.again.remove(key);
        let retry = if failed {
            let failures = state.failures.entry(key.clone()).or_default();
            *failures = failures.saturating_add(1);
            Some(RETRY_FIRST.saturating_mul(1 << (*failures - 1).min(10)).min(RETRY_MAX))
        } else {
            state.failures.remove(key);
            None
        };
        drop(state);
        if again {
            self.add(key.clone());
        } else if let Some(retry) = retry {
            self.add_later(key.clone(), Instant::now() + retry);
        }
    }
}

/// Runs a controller until `stop`.
pub(crate) fn start(
    controller: Arc<dyn Reconcile>,
    store: &Store,
    tasks: &TaskSet,
    stop: &Shutdown,
) {
    let queue = Arc::new(Queue::default());
    for follow in controller.follows() {
        let (store, queue, stop) = (store.clone(), queue.clone(), stop.clone());
        tasks.spawn_daemon(controller.name(), async move {
            tokio::select! {
                () = stop.asked() => {}
                () = feed(&store, &follow, &queue) => {}
            }
        });
    }
    let (store, tasks_of_loop, stop) = (store.clone(), tasks.clone(), stop.clone());
    tasks.spawn_daemon(controller.name(), async move {
        tokio::select! {
            () = stop.asked() => {}
            () = work(&controller, &store, &queue, &tasks_of_loop) => {}
        }
    });
}

/// Turns what is stored, and then every change, into keys.
async fn feed(store: &Store, follow: &Follow, queue: &Queue) {
    let key_of = |cluster, name| Key::new(follow.resource.clone(), cluster, name);
    loop {
        let snapshot = store.snapshot(&follow.resource);
        for (cluster, name, _) in snapshot.iter(&Scope::All) {
            for key in (follow.keys)(&key_of(cluster.clone(), name.clone())) {
                queue.add(key);
            }
        }
        let watch = store.watch(&follow.resource, Scope::All, snapshot.revision());
        let Ok(mut watch) = watch else {
            continue;
        };
        while let Ok(events) = watch.next().await {
            for event in events {
                for key in (follow.keys)(&key_of(event.cluster.clone(), event.name.clone())) {
                    queue.add(key);
                }
            }
        }
        tracing::warn!(resource = ?follow.resource, "a controller lost its place and starts over");
    }
}

async fn work(controller: &Arc<dyn Reconcile>, store: &Store, queue: &Arc<Queue>, tasks: &TaskSet) {
    let places = Arc::new(Semaphore::new(CONCURRENCY));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let key = loop {
            match queue.take(Instant::now()) {
                Ok(key) => break key,
                Err(None) => queue.wake.notified().await,
                Err(Some(at)) => {
                    tokio::select! {
                        () = queue.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        };
        let (controller, store, queue) = (controller.clone(), store.clone(), queue.clone());
        let tasks_of_key = tasks.clone();
        tasks.spawn(controller.name(), async move {
            let result = controller.reconcile(&key).await;
            queue.done(&key, result.is_err());
            match result {
                Ok(Outcome::Done) => {}
                Ok(Outcome::Await(resource, scope, after)) => {
                    tasks_of_key.spawn_daemon(controller.name(), async move {
                        let change = async {
                            if let Ok(mut watch) = store.watch(&resource, scope, after) {
                                let _ = watch.next().await;
                            }
                        };
                        let _ = tokio::time::timeout(AWAIT_MAX, change).await;
                        queue.add(key);
                    });
                }
                // Others write as well.
                Err(status) if status.reason == "Conflict" => {
                    tracing::debug!(controller = controller.name(), ?key, "looked at again");
                }
                Err(status) => {
                    tracing::warn!(
                        controller = controller.name(),
                        ?key,
                        err = %Report(&status),
                        "reconciliation failed"
                    );
                }
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_store::ObjectName;
    use strait_types::ClusterName;

    fn key(name: &str) -> Key {
        let resource = ResourceId::new("g", "r", "");
        Key::new(resource, ClusterName::root(), ObjectName::cluster_scoped(name))
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_at_a_time() {
        let queue = Queue::default();
        queue.add(key("a"));
        queue.add(key("a"));
        let now = Instant::now();
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.add(key("a"));
        assert_eq!(queue.take(now), Err(None));
        queue.done(&key("a"), false);
        assert_eq!(queue.take(now), Ok(key("a")));
        queue.done(&key("a"), false);
        assert_eq!(queue.take(now), Err(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_key_comes_back_later_and_later() {
        let queue = Queue::default();
        queue.add(key("a"));
        let mut waits = Vec::new();
        for _ in 0..12 {
            let now = Instant::now();
            let taken = queue.take(now).or_else(|at| {
                let at = at.expect("the key waits");
                waits.push(at - now);
                queue.take(at)
            });
            assert_eq!(taken, Ok(key("a")));
            queue.done(&key("a"), true);
        }
        assert!(waits.is_sorted());
        assert_eq!(waits.first(), Some(&RETRY_FIRST));
        assert_eq!(waits.last(), Some(&RETRY_MAX));
    }
}
