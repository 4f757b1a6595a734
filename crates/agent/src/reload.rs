//! The agent's files as they change: applied again, whole or not at all.

use strait_machinery::json::Value;
use strait_runtime::{Apply, Context, Reload};

use crate::files::{Files, Told};
use crate::relay::Relay;

/// Applies what changes of the agent's files.
pub(crate) struct Changes {
    files: Files,
    relay: Relay,
    /// What of the documents holds since the start.
    fixed: Vec<Value>,
}

impl Changes {
    /// Of files that said this at the start.
    pub(crate) fn reload(
        files: Files,
        told: &Told,
        relay: Relay,
        context: &Context,
    ) -> Reload<Self> {
        let (fixed, paths) = (told.fixed.clone(), files.paths.clone());
        let this = Self { files, relay, fixed };
        Reload::new(paths, told.read.clone(), this, "strait_relay_config_reload", &context.metrics)
    }
}

impl Apply for Changes {
    fn apply(&mut self) -> Result<(), Vec<String>> {
        let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let told = self.files.read().map_err(|errors| lines(errors.to_string()))?;
        self.relay.apply(told.relay)?;
        for warning in &told.warnings {
            tracing::warn!(mistake = %warning, "the configuration is unwise");
        }
        if told.fixed != self.fixed {
            tracing::warn!("what changed for requests needs a restart");
        }
        Ok(())
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
        let mut reload = Changes::reload(files, &told, relay.clone(), &context);
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
