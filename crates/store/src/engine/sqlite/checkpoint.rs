//! Moves frames of the write-ahead log back into the file, off the writer's path.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::failed;
use crate::engine::EngineError;

/// Commits between two passes: with small transactions some 4 MiB of log.
const COMMITS_PER_PASS: u32 = 500;

/// Log between two passes, roughly, in bytes.
const BYTES_PER_PASS: usize = 8 << 20;

/// Log, in bytes, from which the writer makes a pass itself: the thread has fallen far behind.
const BYTES_BEHIND: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    commits: u32,
    bytes: usize,
    stop: bool,
    /// A sync that failed. No other pass follows.
    broken: Option<EngineError>,
}

impl Checkpointer {
    pub(super) fn start(connection: Connection) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store-checkpoint".into())
            .spawn(move || run(&connection, &of_thread))
            .expect("a thread can be started when the process starts");
        Self { shared, thread: Some(thread) }
    }

    /// Whether every sync of a pass succeeded; the writer asks before it does anything.
    ///
    /// # Errors
    /// The sync that failed, once.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        self.shared.state.lock().broken.take().map_or(Ok(()), Err)
    }

    /// Counts a commit and what it added to the log; enough of them start a pass. True if the
    /// caller should make one.
    pub(super) fn wake(&self, bytes: usize) -> bool {
        let mut state = self.shared.state.lock();
        state.commits += 1;
        state.bytes += bytes;
        if state.is_due() {
            self.shared.wake.notify_one();
        }
        state.bytes >= BYTES_BEHIND
    }

    /// Makes a pass on the caller's connection.
    ///
    /// # Errors
    /// A sync failed; what else does is met again.
    pub(super) fn catch_up(&self, connection: &Connection) -> Result<(), EngineError> {
        self.shared.state.lock().start_anew();
        pass(connection)
    }
}

impl State {
    const fn is_due(&self) -> bool {
        self.commits >= COMMITS_PER_PASS || self.bytes >= BYTES_PER_PASS
    }

    const fn start_anew(&mut self) {
        (self.commits, self.bytes) = (0, 0);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(connection: &Connection, shared: &Shared) {
    loop {
        {
            let mut state = shared.state.lock();
            shared.wake.wait_while(&mut state, |state| !state.stop && !state.is_due());
            if state.stop {
                return;
            }
            state.start_anew();
        }
        if let Err(error) = pass(connection) {
            shared.state.lock().broken = Some(error);
            return;
        }
    }
}

/// A passive pass takes what no reader needs and waits for nobody. What fails is met again by
/// the writer, who reports it; but for a failed sync, which must not be tried again.
fn pass(connection: &Connection) -> Result<(), EngineError> {
    let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    match done.map_err(failed) {
        Err(error @ EngineError::Sync(_)) => Err(error),
        Err(error) => {
            tracing::debug!(err = %error, "checkpoint failed");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
