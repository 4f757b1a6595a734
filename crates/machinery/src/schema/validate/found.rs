//! What is told of the errors of a value.

use crate::field::{FieldError, MAX_ERRORS};
use crate::json::{Path, Segment};

/// Most bytes, about, of all paths of errors: a path repeats the keys of a value, which may be as
/// large as the value itself.
const MAX_PATH_BYTES: usize = 1 << 20;

/// Errors, no more than are told.
pub(super) struct Found {
    errors: Vec<FieldError>,
    path_bytes: usize,
}

impl Found {
    pub(super) fn new(errors: Vec<FieldError>) -> Self {
        let mut found = Self { errors: Vec::new(), path_bytes: 0 };
        errors.into_iter().for_each(|error| found.add(error));
        found
    }

    /// Whether looking for more makes no sense.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS || self.path_bytes > MAX_PATH_BYTES
    }

    pub(super) fn add(&mut self, error: FieldError) {
        if !self.is_full() {
            self.path_bytes += path_bytes(&error.path);
            self.errors.push(error);
        }
    }

    pub(super) fn as_slice(&self) -> &[FieldError] {
        &self.errors
    }

    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }
}

/// About how many bytes a path takes.
pub(super) fn path_bytes(path: &Path) -> usize {
    let length = |segment: &Segment| match segment {
        Segment::Field(name) | Segment::Key(name) => name.len(),
        Segment::Index(_) => 0,
    };
    path.segments().iter().map(|segment| length(segment) + 32).sum()
}
