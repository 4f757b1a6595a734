//! YAML as Kubernetes reads and writes it (`sigs.k8s.io/yaml` on go-yaml v2, YAML 1.1).
//!
//! Reading: `yes`, `no`, `on`, `off`, `y` and `n` are booleans; `0644`, `0o644`, `0x1f`, `0b1`
//! and `1_000` are integers; timestamps stay text; keys become strings; `<<` merges. Beside the
//! values stands where each was written ([`Places`]), so that a mistake in a file can be shown.
//!
//! Bounds: [`MAX_NESTING`], [`MAX_NODES`], and [`MAX_ALIASED_BYTES`] for what anchors and
//! aliases repeat. The size of the text is the caller's matter.

mod mistake;
mod places;
mod read;
mod scalar;
mod style;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;

use strait_types::{Classified, ErrorKind};

use crate::json::Value;

pub use mistake::Mistake;
pub use places::Places;
pub use read::parse;
pub use write::to_text;

/// Deepest nesting of collections.
pub const MAX_NESTING: usize = 250;
/// Most values in all documents of a text, keys not counted: what a request body of the largest
/// size can hold.
pub const MAX_NODES: usize = 1_600_000;
/// Most bytes, about, that anchors and aliases may copy.
pub const MAX_ALIASED_BYTES: usize = 3 << 20;

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// One document of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What it says.
    pub value: Value,
    /// Where it says it.
    pub places: Places,
}

/// The text is not YAML, or not YAML that can be JSON, or too much of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {what}")]
pub struct YamlError {
    what: String,
    position: Position,
}

impl YamlError {
    /// What is wrong.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }
}

impl Classified for YamlError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
