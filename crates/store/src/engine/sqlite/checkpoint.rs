//! Moves frames of the write-ahead log back into the file, off the writer's path.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::failed;
use crate::engine::EngineError;

/// Commits between two passes: with small transactions some 4 MiB of log.
const COMMITS_PER_PASS: u32 = 500;

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

    /// Counts a commit; enough of them start a pass.
    pub(super) fn wake(&self) {
        let mut state = self.shared.state.lock();
        state.commits += 1;
        if state.commits >= COMMITS_PER_PASS {
            self.shared.wake.notify_one();
        }
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
            shared
                .wake
                .wait_while(&mut state, |state| !state.stop && state.commits < COMMITS_PER_PASS);
            if state.stop {
                return;
            }
            state.commits = 0;
        }
        // A passive pass takes what no reader needs and waits for nobody. What fails here
        // is met again by the writer, who reports it; but for a failed sync, which must not
        // be tried again.
        let pass = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match pass.map_err(failed) {
            Ok(()) => {}
            Err(error @ EngineError::Sync(_)) => {
                shared.state.lock().broken = Some(error);
                return;
            }
            Err(error) => tracing::debug!(err = %error, "checkpoint failed"),
        }
    }
}
