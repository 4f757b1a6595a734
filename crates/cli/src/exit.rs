//! How the program ends.

use std::process::ExitCode;

use crate::output;

/// An exit code with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done,
    /// The answer is no.
    No,
    /// It failed.
    Failed,
    /// The command line or a configuration is wrong (`EX_USAGE`).
    Usage,
    /// The other side refused (`EX_NOPERM`).
    NotAllowed,
    /// The other side is not who it should be (`EX_CONFIG`).
    NotTrusted,
    /// As a program that was run ended.
    Of(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Failed => 2,
            Exit::Usage => 64,
            Exit::NotAllowed => 77,
            Exit::NotTrusted => 78,
            Exit::Of(code) => code,
        })
    }
}

/// Why the program ends badly: one line per mistake.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) lines: Vec<String>,
}

impl Failure {
    /// Wrong usage or configuration.
    pub(crate) const fn usage(lines: Vec<String>) -> Self {
        Self { exit: Exit::Usage, lines }
    }

    /// Anything else that went wrong.
    pub(crate) fn failed(why: &str) -> Self {
        Self { exit: Exit::Failed, lines: vec![why.to_owned()] }
    }

    /// Says why, on standard error.
    pub(crate) fn explain(&self) {
        self.lines.iter().for_each(|line| output::note(line));
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, lines: vec![strait_types::Report(&error).to_string()] }
    }
}
