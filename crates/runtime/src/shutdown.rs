//! Asking a process, or a part of it, to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::TaskSet;

/// A request to end, in two steps: *asked* (finish what was begun, take nothing new) and
/// *forced* (stop now). Clones are the same request; a child hears its parent, and can be asked
/// alone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    asked: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// A request that nobody has made yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A request for a part: made with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { asked: self.asked.child_token(), forced: self.forced.child_token() }
    }

    /// Asks this part and its children to finish.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    /// Tells this part and its children to stop now. Implies [`ask`](Self::ask).
    pub fn force(&self) {
        self.asked.cancel();
        self.forced.cancel();
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.is_cancelled()
    }

    /// Waits until somebody asks.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn asked(&self) {
        self.asked.cancelled().await;
    }

    /// Waits until somebody forces.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn forced(&self) {
        self.forced.cancelled().await;
    }

    /// From now on the first SIGINT or SIGTERM asks and the second forces, for as long as
    /// `tasks` live. Their default action (ending the process) is gone.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn follow_signals(&self, tasks: &TaskSet) -> io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        tasks.spawn_daemon("signals", async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                };
                if shutdown.is_asked() {
                    tracing::warn!(signal = name, "stopping now");
                    shutdown.force();
                } else {
                    tracing::info!(signal = name, "finishing; once more to stop now");
                    shutdown.ask();
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::Metrics;

    #[test]
    fn a_child_hears_its_parent_but_not_the_reverse() {
        let parent = Shutdown::new();
        let (first, second) = (parent.child(), parent.child());
        first.ask();
        assert!(first.is_asked() && !parent.is_asked() && !second.is_asked());
        parent.ask();
        assert!(second.is_asked());
        assert!(!second.forced.is_cancelled());
        parent.force();
        assert!(second.forced.is_cancelled());
    }

    #[tokio::test]
    async fn the_first_signal_asks_and_the_second_forces() {
        let tasks = TaskSet::new(&Metrics::new());
        let shutdown = Shutdown::new();
        shutdown.follow_signals(&tasks).unwrap();

        kill_process(getpid(), Signal::INT).unwrap();
        shutdown.asked().await;
        assert!(!shutdown.forced.is_cancelled());
        kill_process(getpid(), Signal::TERM).unwrap();
        shutdown.forced().await;
    }
}
