//! Files as they change: read again, and applied whole or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{Label, Metrics};

/// How often files are looked at, and how long they must have stayed as they are. A Kubernetes
/// volume changes by a symlink, of which a watch on the file says nothing.
const EVERY: Duration = Duration::from_secs(1);

/// What tells whether files changed: device, inode, length and times of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<Option<Mark>>);

type Mark = (u64, u64, u64, [i64; 4]);

impl Marks {
    /// Of files as they are now. To be taken before they are read, so that no change is missed.
    ///
    /// # Blocking
    /// On the file system.
    #[must_use]
    pub fn of(paths: &[PathBuf]) -> Self {
        let mark = |path: &PathBuf| {
            let data = std::fs::metadata(path).ok()?;
            let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
            Some((data.dev(), data.ino(), data.len(), times))
        };
        Self(paths.iter().map(mark).collect())
    }
}

/// What files say, applied.
pub trait Apply: Send + 'static {
    /// Reads the files, and applies what they say.
    ///
    /// # Errors
    /// Everything that is wrong; then nothing has changed.
    ///
    /// # Blocking
    /// May block on the file system.
    fn apply(&mut self) -> Result<(), Vec<String>>;

    /// Is told that files are looked at.
    fn looks(&mut self) {}
}

/// Applies files again as they change.
pub struct Reload<A> {
    paths: Vec<PathBuf>,
    apply: A,
    /// As they were when they were read last.
    read: Marks,
    /// As they were a moment ago.
    seen: Marks,
    /// Whether what was read last was wrong. It may be another file that is, such as a secret that
    /// is mounted a moment later: it is read until it is right.
    rejected: bool,
    /// What was said to be wrong.
    told: Vec<String>,
    results: Family<Label, Counter>,
}

impl<A: Apply> Reload<A> {
    /// Of files that were applied as they were by these marks. What becomes of changes is counted
    /// under `metric`: `applied`, `rejected`.
    pub fn new(
        paths: Vec<PathBuf>,
        read: Marks,
        apply: A,
        metric: &'static str,
        metrics: &Metrics,
    ) -> Self {
        let results = Family::default();
        metrics.register(metric, "Changed files, by what became of them", results.clone());
        let seen = read.clone();
        Self { paths, apply, read, seen, rejected: false, told: Vec::new(), results }
    }

    /// Looks every second and on SIGHUP, for ever.
    pub async fn run(mut self) {
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => Some(hangup),
            Err(error) => {
                tracing::warn!(err = %error, "SIGHUP is not heard");
                None
            }
        };
        loop {
            let asked = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                () = hung_up(&mut hangup) => true,
            };
            let looked = tokio::task::spawn_blocking(move || {
                self.look(asked);
                self
            });
            let Ok(this) = looked.await else {
                tracing::error!("reading the configuration panicked; changes need a restart now");
                return;
            };
            self = this;
        }
    }

    /// Reads the files if they changed and are not being changed, or if that was asked for.
    ///
    /// # Blocking
    /// On the file system.
    pub fn look(&mut self, asked: bool) {
        self.apply.looks();
        let now = Marks::of(&self.paths);
        let rests = std::mem::replace(&mut self.seen, now.clone()) == now;
        let due = rests && (now != self.read || self.rejected);
        if !due && !asked {
            return;
        }
        self.read = now;
        match self.apply.apply() {
            Ok(()) => {
                (self.rejected, self.told) = (false, Vec::new());
                self.results.get_or_create(&[("result", "applied")]).inc();
                tracing::info!("the configuration was read again");
            }
            Err(mistakes) => self.reject(mistakes),
        }
    }

    /// What was said to be wrong, if what was read last was.
    #[must_use]
    pub fn mistakes(&self) -> &[String] {
        &self.told
    }

    /// Says once what is wrong.
    fn reject(&mut self, mistakes: Vec<String>) {
        self.rejected = true;
        if self.told == mistakes {
            return;
        }
        self.results.get_or_create(&[("result", "rejected")]).inc();
        for mistake in &mistakes {
            tracing::warn!(mistake, "the configuration stays as it was");
        }
        self.told = mistakes;
    }
}

/// Waits for SIGHUP; for ever where it is not heard.
async fn hung_up(signal: &mut Option<Signal>) {
    let heard = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}
