//! Services of the hub's own: what agents may call, read from a file and again as it changes.

use std::path::{Path, PathBuf};

use strait_api::private::Source;
use strait_relay::record::{Event, Recorder};
use strait_relay::serve::{Serving, ServingMetrics, Side};
use strait_relay::services::{AgentConfig, Disk, HUB, read_of_hub};
use strait_runtime::fs::read_capped;
use strait_runtime::{Apply, Context, Marks, Reload};
use strait_types::Report;

/// Generous for what people write.
const FILE_BYTES_MAX: usize = 4 << 20;

/// What a file says that the hub offers to agents.
#[derive(Clone, Debug)]
pub struct OwnServices {
    path: PathBuf,
    /// The file, as it was when it was read.
    read: Marks,
    config: AgentConfig,
    /// What is unwise, one line each.
    warnings: Vec<String>,
}

impl OwnServices {
    /// Reads a file, which has one AgentConfig.
    ///
    /// # Errors
    /// Everything that is wrong, one line each.
    ///
    /// # Blocking
    /// Reads the file, and opens those that it names.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let marks = Marks::of(&[path.to_owned()]);
        let bytes =
            read_capped(path, FILE_BYTES_MAX).map_err(|error| vec![Report(&error).to_string()])?;
        let file = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|_| vec![format!("{file}: is not UTF-8")])?;
        let lines = |all: Vec<_>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let read = read_of_hub(&Source { file: &file, text: &text }, &Disk).map_err(lines)?;
        let Some(checked) = read else {
            return Err(vec![format!("{file}: there is no AgentConfig in it")]);
        };
        let warnings = lines(checked.warnings);
        Ok(Self { path: path.to_owned(), read: marks, config: checked.config, warnings })
    }

    /// Offers them, and what the file says later.
    pub(crate) fn offer(self, recorder: Recorder, context: &Context) -> Serving {
        self.warn();
        let Context { tasks, metrics, .. } = context;
        let (writes, served) = (recorder.clone(), ServingMetrics::new(metrics));
        let serving = Serving::new(Side::Hub, self.config, served, recorder, context);
        let (path, told) = (self.path.clone(), Vec::new());
        let again = Again { path, serving: serving.clone(), recorder: writes, told };
        let reload =
            Reload::new(vec![self.path], self.read, again, "strait_relay_config_reload", metrics);
        tasks.spawn_daemon("own-services", reload.run());
        tasks.spawn_daemon("services-tend", serving.clone().tend());
        serving
    }

    fn warn(&self) {
        for mistake in &self.warnings {
            tracing::warn!(mistake, "the configuration is unwise");
        }
    }
}

struct Again {
    path: PathBuf,
    serving: Serving,
    recorder: Recorder,
    /// What was wrong when it was read last.
    told: Vec<String>,
}

impl Again {
    fn note(&self, what: String) {
        let (user, agent) = ("system:strait:hub", HUB);
        self.recorder.notes(Event { user, cluster: "", agent, instance: "", what });
    }
}

impl Apply for Again {
    fn apply(&mut self) -> Result<(), Vec<String>> {
        match OwnServices::read(&self.path) {
            Ok(read) => {
                self.note("relay.config.reload".to_owned());
                read.warn();
                self.serving.apply(read.config);
                self.told.clear();
                Ok(())
            }
            Err(mistakes) => {
                // It is read again and again until it is right.
                if self.told != mistakes {
                    self.note(format!("relay.config.reject {} mistakes", mistakes.len()));
                    self.told.clone_from(&mistakes);
                }
                Err(mistakes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_right_or_every_mistake_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            OwnServices::read(&path).map(|read| read.config.services.len())
        };
        let head = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
        let service = "services: [{name: a, type: http, url: 'http://a'";
        assert_eq!(read(&format!("{head}{service}, allow: {{users: ['*']}}}}]")), Ok(1));
        for (text, expected) in [
            (String::new(), "there is no AgentConfig in it"),
            (
                format!("{head}{service}}}]"),
                "services.yaml:3:12: services[0].allow.users: Required",
            ),
        ] {
            let told = read(&text).unwrap_err().join("\n");
            assert!(told.contains(expected), "{told}");
        }
        assert!(OwnServices::read(&directory.path().join("none")).is_err());
    }
}
