//! Segment files: their names, and their lines.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use strait_runtime::fs::FsError;

use crate::line::LINE_BYTES_MAX;

const SUFFIX: &str = ".jsonl";

/// Digits in a name: enough for every number, so that names sort as numbers do.
const DIGITS: usize = 20;

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The number of its first line, from its name.
    pub(crate) first: u64,
    pub(crate) path: PathBuf,
}

impl Segment {
    pub(crate) fn new(directory: &Path, first: u64) -> Self {
        let path = directory.join(format!("{first:0DIGITS$}{SUFFIX}"));
        Self { first, path }
    }

    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The segments of a directory, oldest first. Other files are not looked at.
pub(crate) fn segments(directory: &Path) -> Result<Vec<Segment>, FsError> {
    let failed = || FsError::new("list", directory);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let first = entry.file_name().to_str().and_then(number);
        found.extend(first.map(|first| Segment::new(directory, first)));
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// What a read of the next line found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line, in the buffer, without its newline.
    Line,
    /// A line that is longer than any of ours; the buffer holds its beginning.
    TooLong,
    /// Bytes at the end without a newline; the buffer holds their beginning. How many.
    Unfinished(u64),
    /// Nothing more.
    End,
}

/// Reads the next line into `buffer`, of which at most [`LINE_BYTES_MAX`] bytes are used.
pub(crate) fn next_line(reader: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Next> {
    buffer.clear();
    let mut total = 0_u64;
    loop {
        let chunk = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        };
        if chunk.is_empty() {
            return Ok(match total {
                0 => Next::End,
                _ => Next::Unfinished(total),
            });
        }
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        let room = LINE_BYTES_MAX - buffer.len();
        buffer.extend_from_slice(&part[..part.len().min(room)]);
        let (used, part) = (part.len() + usize::from(newline.is_some()), part.len());
        total += u64::try_from(part).unwrap_or(u64::MAX);
        reader.consume(used);
        if newline.is_some() {
            return Ok(if total > LINE_BYTES_MAX as u64 { Next::TooLong } else { Next::Line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_numbers_and_others_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        for first in [10, 9, u64::MAX] {
            let segment = Segment::new(directory.path(), first);
            std::fs::write(&segment.path, "").unwrap();
        }
        for other in ["1.jsonl", "notes", "0000000000000000000x.jsonl"] {
            std::fs::write(directory.path().join(other), "").unwrap();
        }
        let found = segments(directory.path()).unwrap();
        let firsts: Vec<_> = found.iter().map(|segment| segment.first).collect();
        assert_eq!(firsts, [9, 10, u64::MAX]);
        assert_eq!(found[0].name(), "00000000000000000009.jsonl");
    }

    #[test]
    fn lines_are_told_from_what_is_none() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("one\n\n{long}\ntwo\ntail");
        let mut reader = io::BufReader::with_capacity(7, text.as_bytes());
        let mut buffer = Vec::new();
        let mut next = || {
            let next = next_line(&mut reader, &mut buffer).unwrap();
            (next, buffer.len())
        };
        assert_eq!(next(), (Next::Line, 3));
        assert_eq!(next(), (Next::Line, 0));
        assert_eq!(next(), (Next::TooLong, LINE_BYTES_MAX));
        assert_eq!(next(), (Next::Line, 3));
        assert_eq!(next(), (Next::Unfinished(4), 4));
        assert_eq!(next(), (Next::End, 0));
    }
}
