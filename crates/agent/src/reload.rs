//! The files as they change: read again, and applied whole or not at all.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use strait_runtime::{Context, Label};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::files::{Files, Told};
use crate::relay::Relay;

/// How often files are looked at, and how long they must have stayed as they are. A Kubernetes
/// volume changes by a symlink, of which a watch on the file says nothing.
const EVERY: Duration = Duration::from_secs(1);

/// What tells whether a file changed: device, inode, length and times.
type Marks = Vec<Option<(u64, u64, u64, [i64; 4])>>;

/// Applies changes of files.
pub(crate) struct Reload {
    files: Files,
    relay: Relay,
    /// What of the documents holds since the start.
    fixed: Vec<strait_machinery::json::Value>,
    /// As they were when they were read last.
    read: Marks,
    /// As they were a moment ago.
    seen: Marks,
    /// Whether what was read last was right. It may be another file that is wrong, such as a
    /// secret that is mounted a moment later: it is read until it is right.
    rejected: bool,
    /// What was said to be wrong.
    told: Vec<String>,
    results: Family<Label, Counter>,
}

impl Reload {
    /// Of files that said this at the start.
    pub(crate) fn new(files: Files, told: &Told, relay: Relay, context: &Context) -> Self {
        let results = Family::default();
        let help = "Changed files of the agent, by what became of them";
        context.metrics.register("strait_relay_config_reload", help, results.clone());
        let (fixed, read) = (told.fixed.clone(), marks(&files.paths));
        let seen = read.clone();
        Self { files, relay, fixed, read, seen, rejected: false, told: Vec::new(), results }
    }

    /// Looks every second and on SIGHUP, for ever.
    pub(crate) async fn run(mut self) {
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

    /// Reads the files if they changed and are not being changed. Blocks on the file system.
    fn look(&mut self, asked: bool) {
        self.relay.refresh();
        let now = marks(&self.files.paths);
        let rests = std::mem::replace(&mut self.seen, now.clone()) == now;
        let due = rests && (now != self.read || self.rejected);
        if !due && !asked {
            return;
        }
        self.read = now;
        match self.files.read() {
            Ok(told) => self.apply(told),
            Err(errors) => {
                self.rejected = true;
                self.reject(errors.to_string().lines().map(str::to_owned).collect());
            }
        }
    }

    fn apply(&mut self, told: Told) {
        (self.rejected, self.told) = (false, Vec::new());
        for warning in &told.warnings {
            tracing::warn!(mistake = %warning, "the configuration is unwise");
        }
        self.results.get_or_create(&[("result", "applied")]).inc();
        self.relay.apply(told.relay);
        tracing::info!("the configuration was read again");
        if told.fixed != self.fixed {
            tracing::warn!("what changed for requests needs a restart");
        }
    }

    /// Says once what is wrong.
    fn reject(&mut self, mistakes: Vec<String>) {
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

fn marks(paths: &[PathBuf]) -> Marks {
    let mark = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        let times = [data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec()];
        Some((data.dev(), data.ino(), data.len(), times))
    };
    paths.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use strait_relay::dial::Route;

    use super::*;

    const HEAD: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";

    fn connections(route: &Option<Route>) -> u8 {
        route.as_ref().map_or(0, |route| route.connections)
    }

    #[tokio::test]
    async fn a_change_is_applied_when_it_rests_and_a_mistake_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.yaml");
        let write = |rest: &str| {
            // Beside it and moved, as a volume does: another inode each time.
            let beside = directory.path().join("beside");
            std::fs::write(&beside, format!("{HEAD}{rest}")).unwrap();
            std::fs::rename(&beside, &path).unwrap();
        };
        write("");
        let context = Context::of_system();
        let (relay, route) = Relay::for_test();
        let files = Files { paths: vec![path.clone()], allow_insecure: false };
        let told = files.read().unwrap();
        let mut reload = Reload::new(files, &told, relay.clone(), &context);
        relay.apply(told.relay);
        assert_eq!(connections(&route.borrow()), 2);

        write("hub: {connections: 3}");
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 2, "it may be in the middle of its change");
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 3);

        write("hub: {connections: 9}");
        reload.look(true);
        assert_eq!(connections(&route.borrow()), 3);
        let told = reload.told.join("\n");
        assert!(told.contains("agent.yaml:3:7: hub.connections: Invalid value: 9"), "{told}");

        std::fs::remove_file(&path).unwrap();
        reload.look(true);
        assert_eq!(connections(&route.borrow()), 3, "no file is a mistake");

        write("hub: {connections: 1}");
        reload.look(false);
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 1);
        let metrics = context.metrics.encode();
        for (result, count) in [("applied", 2), ("rejected", 2)] {
            let line = format!("config_reload_total{{result=\"{result}\"}} {count}");
            assert!(metrics.contains(&line), "{metrics}");
        }
    }
}
