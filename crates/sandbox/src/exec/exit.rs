//! How an execution ended, as its `exit` file says.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strait_runtime::fs::{FsError, read_capped, sync_dir, write_atomic};

use super::spec::{EXIT, STDERR, STDOUT};

/// A few fields.
const EXIT_BYTES_MAX: usize = 64 << 10;

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// What became of the program.
    pub ending: Ending,
    /// When it was started, by the wall clock; none if it was not.
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it had ended.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub finished: Timestamp,
    /// Whether standard error had more than was kept.
    pub stderr_truncated: bool,
}

/// What became of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Ending {
    /// The gate never opened: nothing was executed.
    NeverStarted,
    /// The kernel did not start it: nothing was executed.
    NotExecuted {
        /// What the kernel said.
        error: String,
    },
    /// It ended by itself.
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// Somebody else's signal ended it.
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// The supervisor stopped it.
    Stopped {
        /// What for.
        why: Stop,
    },
}

/// Why a supervisor stops its program. The first reason counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stop {
    /// It ran as long as it may.
    TimeLimit,
    /// The agent asked.
    Cancelled,
    /// It wrote more to standard output than it may.
    OutputTooLarge,
    /// What it wrote could not be stored.
    OutputNotStored,
    /// The supervisor itself was told to end by a signal.
    Terminated,
}

impl Exit {
    /// Puts the file in place after everything that it speaks of is durable: the outputs, their
    /// names, and the directory's own name.
    pub(super) fn write(&self, dir: &Path) -> Result<(), FsError> {
        for output in [STDOUT, STDERR] {
            let path = dir.join(output);
            match std::fs::File::open(&path).and_then(|file| file.sync_all()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(FsError::new("sync", &path)(error));
                }
                _ => {}
            }
        }
        sync_dir(dir)?;
        sync_dir(&dir.join(".."))?;
        let bytes = serde_json::to_vec(self).expect("an exit is plain data");
        write_atomic(&dir.join(EXIT), &bytes, 0o600)
    }

    /// Reads the file; none if there is none.
    pub(super) fn read(dir: &Path) -> Result<Option<Self>, FsError> {
        let path = dir.join(EXIT);
        let bytes = match read_capped(&path, EXIT_BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.io().kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| FsError::new("understand", &path)(error.into()))
    }
}

fn write_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

mod optional_time {
    use super::{Deserializer, Serializer, Timestamp, read_time, write_time};

    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => write_time(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        read_time(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("k");
        std::fs::create_dir(&dir).unwrap();
        assert_eq!(Exit::read(&dir).unwrap(), None);
        let time: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        for (ending, started) in [
            (Ending::NeverStarted, None),
            (Ending::NotExecuted { error: "no such file".into() }, None),
            (Ending::Exited { code: 3 }, Some(time)),
            (Ending::Killed { signal: 9 }, Some(time)),
            (Ending::Stopped { why: Stop::TimeLimit }, Some(time)),
        ] {
            let exit = Exit { ending, started, finished: time, stderr_truncated: true };
            exit.write(&dir).unwrap();
            assert_eq!(Exit::read(&dir).unwrap(), Some(exit));
        }
        std::fs::write(dir.join(EXIT), b"{\"ending\":").unwrap();
        assert!(Exit::read(&dir).is_err());
    }
}
