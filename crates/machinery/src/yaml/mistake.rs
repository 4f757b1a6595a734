//! What is wrong in a file that a person wrote, and where.

use std::fmt;

use strait_types::{Classified, ErrorKind};

use super::Position;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// What is wrong, with the field's path.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: {}", self.file, self.message)
    }
}

impl Classified for Mistake {
    fn kind(&self) -> ErrorKind {
        ErrorKind::User
    }
}
