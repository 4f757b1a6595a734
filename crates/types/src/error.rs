//! What kind of failure an error is, independent of the crate that met it.

use std::error::Error;
use std::fmt;

/// Decides HTTP status, metric label, exit code and whether a retry can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// The input is wrong; the same input will fail again.
    User,
    /// Nobody proved who is asking.
    Unauthenticated,
    /// Whoever asks may not.
    Denied,
    /// The thing named does not exist.
    NotFound,
    /// The thing is not in the state that the request presumes.
    Conflict,
    /// A size limit.
    TooLarge,
    /// A rate or queue limit; a later try may succeed.
    RateLimited,
    /// The other side of a connection failed.
    Upstream,
    /// A deadline passed.
    Timeout,
    /// The caller or a shutdown ended it.
    Cancelled,
    /// This process cannot do its work (disk, defect).
    Internal,
}

impl ErrorKind {
    /// Every kind, for metrics that must exist before the first failure.
    pub const ALL: [Self; 11] = [
        Self::User,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::RateLimited,
        Self::Upstream,
        Self::Timeout,
        Self::Cancelled,
        Self::Internal,
    ];

    /// A lower-case word, stable, fit for a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::Upstream => "upstream",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// An error that knows its [`ErrorKind`].
pub trait Classified {
    /// The kind of this failure.
    fn kind(&self) -> ErrorKind;
}

/// Prints an error and its chain of sources, each once, joined by `: `.
///
/// Error messages in Strait do not repeat their source, so this is the one place that
/// puts them together. What others' errors repeat at their end is said once.
pub struct Report<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] Outer);

    #[test]
    fn report_prints_the_chain_each_once() {
        assert_eq!(Report(&Outer(Inner)).to_string(), "outer: inner");
        assert_eq!(Report(&Repeating(Outer(Inner))).to_string(), "outer: outer: inner");
    }

    #[test]
    fn kinds_have_distinct_labels() {
        let labels: std::collections::BTreeSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(labels.len(), ErrorKind::ALL.len());
    }
}
