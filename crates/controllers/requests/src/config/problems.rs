//! Mistakes, while one document is understood.

use std::fmt::Display;
use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use strait_api::private::Located;
use strait_machinery::field::FieldError;
use strait_machinery::json::Path;
use strait_machinery::yaml::Mistake;
use strait_runtime::units::{parse_bytes, parse_duration};

/// Collects what is wrong with one document.
pub(super) struct Problems<'a> {
    document: &'a Located,
    found: &'a mut Vec<Mistake>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(document: &'a Located, found: &'a mut Vec<Mistake>) -> Self {
        Self { document, found }
    }

    pub(super) fn add(&mut self, error: &FieldError) {
        let mistake = self.document.mistake(error);
        // What the schema said already is not said again.
        let known =
            |other: &Mistake| other.file == mistake.file && other.position == mistake.position;
        if !self.found.iter().any(known) {
            self.found.push(mistake);
        }
    }

    pub(super) fn invalid(&mut self, path: &Path, value: &str, why: impl Display) {
        self.add(&FieldError::invalid(path.clone(), value, why.to_string()));
    }

    /// Reads a text; what is wrong with it is noted.
    pub(super) fn parse<T: FromStr<Err: Display>>(&mut self, path: &Path, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.invalid(path, text, error);
                None
            }
        }
    }

    pub(super) fn duration(&mut self, path: &Path, text: &str) -> Option<Duration> {
        match parse_duration(text) {
            Ok(duration) if duration.is_zero() => self.invalid(path, text, "must be positive"),
            Ok(duration) => return Some(duration),
            Err(error) => self.invalid(path, text, error),
        }
        None
    }

    /// A size in bytes of at most 64 MiB.
    pub(super) fn size(&mut self, path: &Path, text: &str) -> Option<usize> {
        match parse_bytes(text) {
            Ok(bytes @ 1..=SIZE_MAX) => return usize::try_from(bytes).ok(),
            Ok(_) => self.invalid(path, text, "must be between 1 and 64Mi"),
            Err(error) => self.invalid(path, text, error),
        }
        None
    }

    /// A file that must be there and readable now; it may change later.
    pub(super) fn file(&mut self, path: &Path, file: &str) -> Option<PathBuf> {
        match std::fs::File::open(file).and_then(|opened| opened.metadata()) {
            Ok(metadata) if metadata.is_file() => return Some(FilePath::new(file).to_owned()),
            Ok(_) => self.invalid(path, file, "is not a file"),
            Err(error) => self.invalid(path, file, error),
        }
        None
    }
}

const SIZE_MAX: u64 = 64 << 20;
