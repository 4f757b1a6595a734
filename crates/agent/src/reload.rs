//! The agent's files as they change: applied again, whole or not at all. What is wrong with them is
//! told to this machine line by line, and to the hub as a place and a kind.

use std::sync::Arc;

use parking_lot::Mutex;
use strait_machinery::json::Value;
use strait_relay::services::{Rejected, Why};
use strait_runtime::{Apply, Context, Reload};

use crate::files::{Files, Told};
use crate::relay::Relay;

/// Applies what changes of the agent's files.
pub(crate) struct Changes {
    files: Files,
    relay: Relay,
    /// What of the documents holds since the start.
    fixed: Vec<Value>,
    mistakes: Mistakes,
}

/// What is wrong with files that changed, and so were not applied. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Mistakes(Arc<Mutex<Vec<String>>>);

impl Mistakes {
    /// Whether the agent goes by what its files say.
    ///
    /// # Errors
    /// What is wrong with them, for people on this machine.
    pub(crate) fn check(&self) -> Result<(), String> {
        let lines = self.0.lock();
        if lines.is_empty() { Ok(()) } else { Err(lines.join("; ")) }
    }
}

impl Changes {
    /// Of files that said this at the start.
    pub(crate) fn reload(
        files: Files,
        told: &Told,
        relay: Relay,
        mistakes: &Mistakes,
        context: &Context,
    ) -> Reload<Self> {
        let (fixed, paths) = (told.fixed.clone(), files.paths.clone());
        let this = Self { files, relay, fixed, mistakes: mistakes.clone() };
        Reload::new(paths, told.read.clone(), this, "strait_relay_config_reload", &context.metrics)
    }
}

impl Changes {
    fn try_apply(&self) -> Result<(), (Rejected, Vec<String>)> {
        let told = self.files.read().map_err(|errors| {
            let lines = errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
            let unreadable = || Rejected::elsewhere(Why::Unreadable, lines.len());
            let of_files = Some(&errors.mistakes).filter(|_| errors.files.is_empty());
            let rejected = of_files.and_then(|mistakes| Rejected::of(mistakes));
            (rejected.unwrap_or_else(unreadable), lines)
        })?;
        let listens = self.relay.apply(told.relay);
        listens.map_err(|lines| (Rejected::elsewhere(Why::Listen, lines.len()), lines))?;
        for warning in &told.warnings {
            tracing::warn!(mistake = %warning, "the configuration is unwise");
        }
        if told.fixed != self.fixed {
            tracing::warn!("what changed for requests needs a restart");
        }
        Ok(())
    }
}

impl Apply for Changes {
    fn apply(&mut self) -> Result<(), Vec<String>> {
        let (rejected, lines) = match self.try_apply() {
            Ok(()) => (None, Vec::new()),
            Err((rejected, lines)) => (Some(rejected), lines),
        };
        self.relay.tell(rejected);
        self.mistakes.0.lock().clone_from(&lines);
        if lines.is_empty() { Ok(()) } else { Err(lines) }
    }

    fn looks(&mut self) {
        self.relay.refresh();
    }
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
        let (relay, route) = Relay::for_test(directory.path());
        let files = Files { paths: vec![path.clone()], allow_insecure: false };
        let told = files.read().unwrap();
        let mistakes = Mistakes::default();
        let mut reload = Changes::reload(files, &told, relay.clone(), &mistakes, &context);
        relay.apply(told.relay).unwrap();
        assert_eq!(connections(&route.borrow()), 2);

        write("hub: {connections: 3}");
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 2, "it may be in the middle of its change");
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 3);

        write("hub: {connections: 9}");
        reload.look(true);
        assert_eq!(connections(&route.borrow()), 3);
        let told = reload.mistakes().join("\n");
        assert!(told.contains("agent.yaml:3:7: hub.connections: Invalid value: 9"), "{told}");
        assert!(mistakes.check().unwrap_err().contains("Invalid value: 9"));
        let said = |wanted: &str| {
            let announced = relay.announced();
            assert!(announced.contains(wanted), "{announced}");
            assert!(!announced.contains(directory.path().to_str().unwrap()), "{announced}");
        };
        said(
            r#"{"t":"config","rejected":{"file":"agent.yaml","line":3,"column":7,"why":"Invalid","more":0}}"#,
        );

        std::fs::remove_file(&path).unwrap();
        reload.look(true);
        assert_eq!(connections(&route.borrow()), 3, "no file is a mistake");
        said(r#""file":"","line":0,"column":0,"why":"Unreadable""#);

        write("hub: {connections: 1}");
        reload.look(false);
        reload.look(false);
        assert_eq!(connections(&route.borrow()), 1);
        said(r#"{"t":"config","rejected":null}"#);
        assert_eq!(mistakes.check(), Ok(()));
        let metrics = context.metrics.encode();
        for (result, count) in [("applied", 2), ("rejected", 2)] {
            let line = format!("config_reload_total{{result=\"{result}\"}} {count}");
            assert!(metrics.contains(&line), "{metrics}");
        }
    }
}
