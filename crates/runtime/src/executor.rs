//! The tokio runtime of every Strait process.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

use strait_machinery::json::STACK_BYTES;
use tokio::runtime::{Builder, Runtime};

use crate::BusyPoll;

/// Threads for calls that block: name lookups and files outside the threads that own them.
/// More would only queue at the disk.
const BLOCKING_THREADS: usize = 32;

/// Makes a multi-threaded runtime whose threads have the stack that walks over untrusted trees
/// need ([`STACK_BYTES`]) and are named `strait-0`, `strait-1`, … A single worker may wait awake:
/// `busy_poll` has to [run](BusyPoll::run) on it then. Of several, one that works does not see what
/// another sleeps for.
///
/// # Errors
/// The kernel gives no threads or no event queue.
pub fn build_runtime(
    worker_threads: NonZeroUsize,
    busy_poll: Option<&BusyPoll>,
) -> io::Result<Runtime> {
    let next = AtomicUsize::new(0);
    let mut builder = Builder::new_multi_thread();
    if let Some(busy_poll) = busy_poll {
        let (before, after) = (busy_poll.clone(), busy_poll.clone());
        builder.on_thread_park(move || before.before_sleep());
        builder.on_thread_unpark(move || after.after_sleep());
    }
    builder
        .worker_threads(worker_threads.get())
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK_BYTES)
        .thread_name_fn(move || format!("strait-{}", next.fetch_add(1, Ordering::Relaxed)))
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use strait_machinery::json::{MAX_DEPTH, parse};

    use super::*;
    use crate::{Metrics, TaskSet};

    #[test]
    fn workers_are_named_and_walk_the_deepest_tree() {
        let runtime = build_runtime(NonZeroUsize::MIN, None).unwrap();
        let nested = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        let name = runtime.block_on(async {
            let tasks = TaskSet::new(&Metrics::new());
            let walk = async move {
                let tree = parse(nested.as_bytes()).unwrap();
                assert_eq!(tree.to_bytes().len(), nested.len());
                std::thread::current().name().map(str::to_owned)
            };
            tasks.spawn("walk", walk).await.unwrap()
        });
        assert_eq!(name.as_deref(), Some("strait-0"));
    }
}
