//! Tasks with names and an owner.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use pin_project_lite::pin_project;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

use crate::Metrics;

/// How long an aborted task gets to reach its next await before it is left behind.
const ABORT_GRACE: Duration = Duration::from_secs(1);

tokio::task_local! {
    static NAME: &'static str;
}

thread_local! {
    static POLLS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has polled tasks, of any set.
pub(crate) fn polls_of_thread() -> u64 {
    POLLS.get()
}

pin_project! {
    /// Counts each poll of a task.
    struct Counted<F> {
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        POLLS.set(POLLS.get().wrapping_add(1));
        self.project().work.poll(context)
    }
}

/// The name of the task that runs here, if any.
pub(crate) fn current_task() -> Option<&'static str> {
    NAME.try_with(|name| *name).ok()
}

/// The owner of every task of a process, or of a part of it. Clones are the same set.
///
/// A panic ends one task: it is logged by the panic hook ([`telemetry`](crate::telemetry)),
/// counted in `strait_runtime_task_panics_total`, and reported to whoever awaits the [`Task`].
#[derive(Clone)]
pub struct TaskSet(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ended: Notify,
    metrics: Metrics,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Set when everything was aborted: what comes later is aborted at once.
    closed: bool,
    running: BTreeMap<u64, Running>,
    /// How many of each name there are: a task is too short to look for its number.
    counts: BTreeMap<&'static str, Gauge>,
}

struct Running {
    name: &'static str,
    daemon: bool,
    /// Absent for the moment between registration and the start.
    handle: Option<AbortHandle>,
}

impl TaskSet {
    /// An empty set that counts in `metrics`.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            ended: Notify::new(),
            metrics: metrics.clone(),
        }))
    }

    /// Starts a task. Dropping the returned [`Task`] leaves it running: the set owns it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.start(name, false, future)
    }

    /// Starts a task that serves the others: [`shutdown`](Self::shutdown) does not wait for it,
    /// and aborts it when the others ended.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_daemon<F>(&self, name: &'static str, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.start(name, true, future)
    }

    fn start<F>(&self, name: &'static str, daemon: bool, future: F) -> Task<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let registered = self.register(name, daemon);
        let id = registered.id;
        // Combined, not awaited: an async block would hold the future twice.
        let work = AssertUnwindSafe(future)
            .catch_unwind()
            .map(move |caught| caught.map_err(|panic| registered.panicked(panic.as_ref())));
        // Not under the lock: a runtime that is ending drops the task, and with it
        // `registered`, right here.
        let work = Counted { work: NAME.scope(name, work) };
        let handle = Handle::current().spawn(work);
        let mut state = self.0.state.lock();
        if state.closed {
            handle.abort();
        } else if let Some(running) = state.running.get_mut(&id) {
            running.handle = Some(handle.abort_handle());
        }
        drop(state);
        Task { name, handle }
    }

    fn register(&self, name: &'static str, daemon: bool) -> Registered {
        let mut state = self.0.state.lock();
        let id = state.next;
        state.next += 1;
        state.running.insert(id, Running { name, daemon, handle: None });
        let count = state.counts.entry(name).or_insert_with(|| self.0.metrics.tasks(name)).clone();
        drop(state);
        count.inc();
        Registered { set: self.clone(), name, id, count }
    }

    /// Waits up to `limit` until every task but the daemons has ended; then aborts whatever is
    /// left, and everything that is spawned later.
    ///
    /// # Errors
    /// Some had to be aborted; the error names them.
    ///
    /// # Cancel safety
    /// Safe: dropped before the end it changes nothing.
    pub async fn shutdown(&self, limit: Duration) -> Result<(), Unfinished> {
        let waited = tokio::time::timeout(limit, self.until(|task| !task.daemon)).await;
        let mut blocked = self.abort_all();
        if waited.is_ok() {
            // What came since then was told to end, not late.
            blocked.clear();
        }
        let gone = tokio::time::timeout(ABORT_GRACE, self.until(|_| true)).await;
        if gone.is_err() {
            for stuck in self.0.state.lock().running.values() {
                blocked.entry(stuck.name).or_insert(1);
            }
        }
        if blocked.is_empty() { Ok(()) } else { Err(Unfinished(blocked)) }
    }

    /// Waits until no task that counts is left.
    async fn until(&self, counts: impl Fn(&Running) -> bool) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // Registered before the look, so that no end falls between them.
            ended.as_mut().enable();
            if !self.0.state.lock().running.values().any(&counts) {
                return;
            }
            ended.await;
        }
    }

    /// Aborts everything; returns how many non-daemons of which name there were.
    fn abort_all(&self) -> BTreeMap<&'static str, usize> {
        let mut state = self.0.state.lock();
        state.closed = true;
        let mut unfinished = BTreeMap::new();
        let mut handles = Vec::new();
        for running in state.running.values_mut() {
            if !running.daemon {
                *unfinished.entry(running.name).or_default() += 1;
            }
            handles.extend(running.handle.take());
        }
        drop(state);
        for handle in handles {
            handle.abort();
        }
        unfinished
    }
}

impl fmt::Debug for TaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.0.state.lock().running.len();
        f.debug_struct("TaskSet").field("running", &running).finish_non_exhaustive()
    }
}

/// A place in the set, given back however the task ends.
struct Registered {
    set: TaskSet,
    name: &'static str,
    id: u64,
    count: Gauge,
}

impl Registered {
    fn panicked(&self, panic: &(dyn Any + Send)) -> TaskError {
        self.set.0.metrics.panics(self.name).inc();
        TaskError::Panicked { name: self.name, message: panic_message(panic).to_owned() }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = self.set.0.state.lock().running.remove(&self.id);
        drop(gone);
        self.count.dec();
        self.set.0.ended.notify_waiters();
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}

/// A task's result, to be awaited by whoever wants it.
///
/// # Cancel safety
/// Dropping it does not end the task.
#[derive(Debug)]
pub struct Task<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, TaskError>>,
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let aborted = TaskError::Aborted { name: self.name };
        let result = std::task::ready!(Pin::new(&mut self.handle).poll(context));
        Poll::Ready(result.unwrap_or(Err(aborted)))
    }
}

/// A task gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// A defect.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// The task's name.
        name: &'static str,
        /// What the panic said.
        message: String,
    },
    /// A shutdown ended it.
    #[error("task {name} was aborted")]
    Aborted {
        /// The task's name.
        name: &'static str,
    },
}

/// Tasks did not end in time and were aborted: how many of which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished(pub BTreeMap<&'static str, usize>);

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tasks did not end in time:")?;
        for (at, (name, count)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {name}")?;
            if *count > 1 {
                write!(f, " ({count})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Unfinished {}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> (TaskSet, Metrics) {
        let metrics = Metrics::new();
        (TaskSet::new(&metrics), metrics)
    }

    #[tokio::test]
    async fn a_task_returns_its_result_and_knows_its_name() {
        let (tasks, metrics) = set();
        let task = tasks.spawn("answer", async { (42, current_task()) });
        assert_eq!(task.await, Ok((42, Some("answer"))));
        tasks.shutdown(Duration::MAX).await.unwrap();
        assert_eq!(metrics.tasks("answer").get(), 0);
        assert_eq!(current_task(), None);
    }

    #[tokio::test]
    async fn a_panic_is_counted_and_reported() {
        let (tasks, metrics) = set();
        let task = tasks.spawn("faulty", async { panic!("by {}", "test") });
        let error = task.await.unwrap_err();
        assert_eq!(error.to_string(), "task faulty panicked: by test");
        assert_eq!(metrics.panics("faulty").get(), 1);
        tasks.shutdown(Duration::MAX).await.unwrap();
    }

    #[tokio::test]
    async fn shutdown_waits_for_the_others_and_aborts_daemons() {
        let (tasks, _) = set();
        let (finish, finished) = tokio::sync::oneshot::channel::<()>();
        let daemon = tasks.spawn_daemon("forever", std::future::pending::<()>());
        tasks.spawn("last", finished);
        tasks.spawn("finisher", async move { finish.send(()) });
        tasks.shutdown(Duration::MAX).await.unwrap();
        assert_eq!(daemon.await, Err(TaskError::Aborted { name: "forever" }));
    }

    #[tokio::test]
    async fn shutdown_names_whom_it_had_to_abort() {
        let (tasks, metrics) = set();
        let stuck = tasks.spawn("stuck", std::future::pending::<()>());
        tasks.spawn("stuck", std::future::pending::<()>());
        tasks.spawn("also", std::future::pending::<()>());
        let error = tasks.shutdown(Duration::ZERO).await.unwrap_err();
        assert_eq!(error.to_string(), "tasks did not end in time: also, stuck (2)");
        assert_eq!(stuck.await, Err(TaskError::Aborted { name: "stuck" }));
        assert_eq!(metrics.tasks("stuck").get(), 0);
    }

    #[tokio::test]
    async fn a_task_that_comes_too_late_is_aborted() {
        let (tasks, _) = set();
        tasks.shutdown(Duration::ZERO).await.unwrap();
        let late = tasks.spawn("late", std::future::pending::<()>());
        let late = tokio::time::timeout(Duration::from_secs(60), late).await;
        assert_eq!(late.unwrap(), Err(TaskError::Aborted { name: "late" }));
    }

    #[test]
    fn a_runtime_that_ends_first_leaves_no_task_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (tasks, metrics) = set();
        runtime.block_on(async {
            tasks.spawn("orphan", std::future::pending::<()>());
        });
        drop(runtime);
        assert_eq!(metrics.tasks("orphan").get(), 0);
    }
}
