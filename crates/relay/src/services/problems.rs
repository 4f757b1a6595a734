//! Collects what is wrong with a document, and what is only unwise.

use std::fmt::Display;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_runtime::units::{parse_bytes, parse_duration};

use super::files::Files;

/// What was found so far.
pub(super) struct Problems<'a> {
    pub(super) files: &'a dyn Files,
    /// Whether it is about services of the hub's own.
    pub(super) of_hub: bool,
    /// Whether `insecure` may be written.
    pub(super) allow_insecure: bool,
    pub(super) errors: Vec<FieldError>,
    pub(super) warnings: Vec<FieldError>,
}

impl Problems<'_> {
    pub(super) fn add(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    pub(super) fn invalid(&mut self, path: &Path, value: &str, why: impl Display) {
        self.add(FieldError::invalid(path.clone(), value, why.to_string()));
    }

    pub(super) fn forbidden(&mut self, path: Path, why: impl Into<String>) {
        self.add(FieldError::forbidden(path, why));
    }

    /// What could be made of a text; why not is noted.
    pub(super) fn made<T, E: Display>(
        &mut self,
        path: &Path,
        text: &str,
        made: Result<T, E>,
    ) -> Option<T> {
        made.map_err(|error| self.invalid(path, text, error)).ok()
    }

    /// A positive duration.
    pub(super) fn duration(&mut self, path: &Path, text: &str) -> Option<Duration> {
        let duration = self.made(path, text, parse_duration(text))?;
        if duration.is_zero() {
            self.invalid(path, text, "must be positive");
            return None;
        }
        Some(duration)
    }

    /// A duration, or none for 0.
    pub(super) fn maybe_duration(&mut self, path: &Path, text: &str) -> Option<Option<Duration>> {
        let duration = self.made(path, text, parse_duration(text))?;
        Some(Some(duration).filter(|duration| !duration.is_zero()))
    }

    /// A positive number of bytes.
    pub(super) fn bytes(&mut self, path: &Path, text: &str) -> Option<u64> {
        let bytes = self.made(path, text, parse_bytes(text))?;
        if bytes == 0 {
            self.invalid(path, text, "must be positive");
            return None;
        }
        Some(bytes)
    }

    /// A file that can be read.
    pub(super) fn file(&mut self, path: &Path, file: &str) -> PathBuf {
        let state = self.files.look(FilePath::new(file));
        self.made(path, file, state);
        file.into()
    }

    /// A file with a secret.
    pub(super) fn secret(&mut self, path: &Path, file: &str) -> PathBuf {
        let state = self.files.look(FilePath::new(file));
        if self.made(path, file, state).is_some_and(|state| state.open_to_others) {
            let why = "everybody on this machine may read it; chmod 600 it, or 640";
            self.warnings.push(FieldError::invalid(path.clone(), file, why));
        }
        file.into()
    }
}
