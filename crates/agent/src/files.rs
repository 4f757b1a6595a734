//! What the agent's files say: requests to take, services to offer.

use std::path::{Path, PathBuf};

use strait_api::private::Source;
use strait_machinery::json::Value;
use strait_machinery::yaml::{self, Mistake};
use strait_relay::services::{self, AgentConfig, Disk, FileState};
use strait_requests::ConfigErrors;
use strait_runtime::Marks;
use strait_runtime::fs::read_capped;
use strait_types::Redacted;

/// Generous for what people write.
const FILE_BYTES_MAX: usize = 4 << 20;

/// Files of documents; those of all files belong together.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Where they are.
    pub paths: Vec<PathBuf>,
    /// Whether services may be trusted without a look at their certificates.
    pub allow_insecure: bool,
}

/// What files say, checked.
#[derive(Debug, Default)]
pub struct Told {
    /// What to do, and for whom.
    pub requests: strait_requests::Config,
    /// What to offer; none where no file has an AgentConfig.
    pub relay: Option<AgentConfig>,
    /// What is unwise.
    pub warnings: Vec<Mistake>,
    /// The documents that need a restart to change.
    pub(crate) fixed: Vec<Value>,
    /// The files, as they were when they were read.
    pub(crate) read: Marks,
}

impl Files {
    /// Reads and checks all files.
    ///
    /// # Errors
    /// Everything that is wrong anywhere.
    ///
    /// # Blocking
    /// Reads the files, and opens those that they name.
    pub fn read(&self) -> Result<Told, ConfigErrors> {
        self.read_with(&Disk)
    }

    /// The same for another machine: the files that they name are there and not here.
    ///
    /// # Errors
    /// Everything else that is wrong anywhere.
    ///
    /// # Blocking
    /// Reads the files.
    pub fn read_for_elsewhere(&self) -> Result<Told, ConfigErrors> {
        self.read_with(&Elsewhere)
    }

    fn read_with(&self, named: &dyn services::Files) -> Result<Told, ConfigErrors> {
        let mut told = Told { read: Marks::of(&self.paths), ..Told::default() };
        let requests = strait_requests::load(&self.paths);
        let mut errors = match requests {
            Ok(requests) => {
                told.requests = requests;
                ConfigErrors { files: Vec::new(), mistakes: Vec::new() }
            }
            Err(errors) => errors,
        };
        for path in &self.paths {
            // What cannot be read was told.
            let Ok(text) = read_capped(path, FILE_BYTES_MAX) else { continue };
            let Ok(text) = String::from_utf8(text) else { continue };
            let file = path.display().to_string();
            let source = Source { file: &file, text: &text };
            self.read_relay(&source, named, &mut told, &mut errors.mistakes);
        }
        if errors.files.is_empty() && errors.mistakes.is_empty() {
            return Ok(told);
        }
        let order = |mistake: &Mistake| {
            let file =
                self.paths.iter().position(|path| path.display().to_string() == mistake.file);
            (file, mistake.position)
        };
        errors.mistakes.sort_by_key(order);
        // What is no YAML is told by both.
        errors.mistakes.dedup();
        Err(errors)
    }

    fn read_relay(
        &self,
        source: &Source<'_>,
        named: &dyn services::Files,
        told: &mut Told,
        mistakes: &mut Vec<Mistake>,
    ) {
        match services::read(source, named, self.allow_insecure) {
            Ok(None) => {}
            Ok(Some(checked)) => {
                told.warnings.extend(checked.warnings);
                if told.relay.replace(checked.config).is_some() {
                    let message = "another file has an AgentConfig already".to_owned();
                    let position = yaml::Position { line: 1, column: 1 };
                    mistakes.push(Mistake { file: source.file.to_owned(), position, message });
                }
            }
            Err(found) => mistakes.extend(found),
        }
        let documents =
            yaml::parse(source.text).unwrap_or_default().into_iter().map(|one| one.value);
        let fixed = |one: &Value| !one.is_null() && one.str_at(&["kind"]) != Some("AgentConfig");
        told.fixed.extend(documents.filter(fixed));
    }
}

/// Files that are taken to be there.
struct Elsewhere;

impl services::Files for Elsewhere {
    fn look(&self, _: &Path) -> Result<FileState, String> {
        Ok(FileState { open_to_others: false })
    }

    fn read(&self, _: &Path) -> Result<Redacted<Vec<u8>>, String> {
        Err("is on another machine".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = "apiVersion: relay.strait.dev/v1alpha1\nkind: AgentConfig\n";
    const ENDPOINT: &str = "apiVersion: requests.strait.dev/v1alpha1\nkind: RemoteEndpoint\n\
        metadata: {name: a}\nspec: {workspace: 'root:a', endpointSlice: a}\n";

    fn read(texts: &[&str]) -> Result<Told, Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let paths = texts.iter().enumerate().map(|(index, text)| {
            let path = directory.path().join(format!("{index}.yaml"));
            std::fs::write(&path, text).unwrap();
            path
        });
        let files = Files { paths: paths.collect(), allow_insecure: false };
        let home = format!("{}/", directory.path().display());
        let lines = |errors: ConfigErrors| {
            errors.to_string().lines().map(|line| line.replace(&home, "")).collect()
        };
        files.read().map_err(lines)
    }

    #[test]
    fn one_file_may_say_everything_or_one_thing() {
        for (texts, offers, fixed) in [
            (&[][..], false, 0),
            (&[AGENT], true, 0),
            (&[ENDPOINT], false, 1),
            (&[&format!("{ENDPOINT}---\n{AGENT}---\n")], true, 1),
            (&[ENDPOINT, AGENT], true, 1),
        ] {
            let told = read(texts).unwrap();
            assert_eq!((told.relay.is_some(), told.fixed.len()), (offers, fixed), "{texts:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_once_and_in_order() {
        let relay = format!("{AGENT}services: [{{name: a, type: http}}]\n");
        let both = format!("{relay}---\n{}", ENDPOINT.replace("root:a", "a:"));
        let both: &[&str] = &[&both, AGENT];
        let table: &[(&[&str], &[&str])] = &[
            (both, &["0.yaml:3:12: services[0].url: Required", "0.yaml:8:8: spec.workspace"]),
            (&["a: ["], &["0.yaml:"]),
            (&[AGENT, AGENT], &["1.yaml:1:1: another file has an AgentConfig already"]),
            (&["kind: Agentconfig\n"], &["0.yaml:1:1: kind: Unsupported value: \"Agentconfig\""]),
        ];
        for (texts, expected) in table {
            let told = read(texts).unwrap_err();
            assert_eq!(told.len(), expected.len(), "{told:?}");
            for (line, start) in told.iter().zip(*expected) {
                assert!(line.starts_with(start), "{line}");
            }
        }
    }
}
