//! What to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strait_runtime::fs::{FsError, read_capped};
use strait_types::{Classified, ErrorKind};

pub(super) const SPEC: &str = "spec.json";
pub(super) const INPUT: &str = "in";
pub(super) const WORK: &str = "out";
pub(super) const STDOUT: &str = "stdout";
pub(super) const STDERR: &str = "stderr";
pub(super) const EXIT: &str = "exit";
pub(super) const SOCKET: &str = "sock";

/// Generous for a command line; a class's file is smaller.
const SPEC_BYTES_MAX: usize = 1 << 20;

/// A program and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, without the program itself. Never interpreted by a shell.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Longest running time.
    pub time_limit: Duration,
    /// Between SIGTERM and SIGKILL when a limit or a signal to the supervisor stops it.
    pub grace: Duration,
    /// Standard output beyond this stops the program.
    pub stdout_bytes_max: u64,
    /// Standard error beyond this is dropped.
    pub stderr_bytes_max: u64,
}

/// A specification that no program can be started from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// The program is searched for nowhere.
    #[error("the program's path {} is not absolute", .0.display())]
    Relative(PathBuf),
    /// A text that the kernel would cut off.
    #[error("{0} contains a zero byte")]
    ZeroByte(&'static str),
    /// A variable's name is empty or contains `=`.
    #[error("{0:?} is not a variable's name")]
    Variable(String),
}

impl Classified for InvalidSpec {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl Spec {
    /// Checks what the kernel would refuse or misunderstand.
    ///
    /// # Errors
    /// See [`InvalidSpec`].
    pub fn check(&self) -> Result<(), InvalidSpec> {
        if !self.program.is_absolute() {
            return Err(InvalidSpec::Relative(self.program.clone()));
        }
        if self.program.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(InvalidSpec::ZeroByte("the program's path"));
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(InvalidSpec::ZeroByte("an argument"));
        }
        if self.env.values().any(|value| value.contains('\0')) {
            return Err(InvalidSpec::ZeroByte("a variable"));
        }
        let named = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        match self.env.keys().find(|name| !named(name)) {
            Some(name) => Err(InvalidSpec::Variable(name.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checked specification is text throughout")
    }

    /// Reads the specification of an execution's directory.
    pub(super) fn read(dir: &Path) -> Result<Self, FsError> {
        let path = dir.join(SPEC);
        let bytes = read_capped(&path, SPEC_BYTES_MAX)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| FsError::new("understand", &path)(error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            program: "/bin/true".into(),
            args: vec!["a".into()],
            env: [("A".to_owned(), "b".to_owned())].into(),
            time_limit: Duration::from_secs(1),
            grace: Duration::ZERO,
            stdout_bytes_max: 1,
            stderr_bytes_max: 1,
        }
    }

    #[test]
    fn what_the_kernel_would_misunderstand_is_refused() {
        assert_eq!(spec().check(), Ok(()));
        let text = |change: &dyn Fn(&mut Spec)| {
            let mut spec = spec();
            change(&mut spec);
            spec.check().unwrap_err().to_string()
        };
        assert_eq!(
            text(&|s| s.program = "bin/true".into()),
            "the program's path bin/true is not absolute"
        );
        assert_eq!(text(&|s| s.args.push("a\0b".into())), "an argument contains a zero byte");
        assert_eq!(
            text(&|s| drop(s.env.insert("X".into(), "\0".into()))),
            "a variable contains a zero byte"
        );
        for name in ["", "A=B", "A\0"] {
            let named = text(&|s| drop(s.env.insert(name.into(), String::new())));
            assert_eq!(named, format!("{name:?} is not a variable's name"));
        }
    }

    #[test]
    fn a_specification_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(SPEC), spec().to_bytes()).unwrap();
        assert_eq!(Spec::read(dir.path()).unwrap(), spec());
        std::fs::write(dir.path().join(SPEC), b"{}").unwrap();
        assert!(Spec::read(dir.path()).is_err());
    }
}
