//! What the files and the mirror say when a log is opened.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use strait_runtime::fs::FsError;

use crate::head::Head;
use crate::line::{Entry, LINE_BYTES_MAX};
use crate::read::{Filter, ReadError, list};
use crate::record::{Record, Stage};
use crate::segment::{Segment, segments};

/// How much of a segment's end is read first: more than a line and a torn one.
const WINDOW: u64 = 2 * LINE_BYTES_MAX as u64;

/// Where to go on.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The position that the next line follows.
    pub(crate) head: Head,
    /// The segment to go on in, and where its last good line ends.
    pub(crate) segment: Option<(Segment, u64)>,
    /// What has to be told in the log before anything else.
    pub(crate) notes: Vec<Record>,
}

/// Reads the end of the log and compares it with the mirror. Changes nothing.
pub(crate) fn recover(directory: &Path, mirrored: Option<Head>) -> Result<Recovered, FsError> {
    let mut segments = segments(directory)?;
    let mut newest = None;
    let mut cut = 0;
    let mut head = Head::START;
    while let Some(segment) = segments.pop() {
        let tail = Tail::of(&segment.path).map_err(FsError::new("read", &segment.path))?;
        if newest.is_none() {
            cut = tail.size - tail.end;
            newest = Some((segment, tail.end));
        }
        if let Some(last) = tail.head {
            head = last;
            break;
        }
    }
    let finding = compare(directory, head, mirrored)?;
    let (head, notes) = plan(head, cut, finding);
    Ok(Recovered { head, segment: newest, notes })
}

/// How the mirror stands to the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// The files contain what was mirrored, or nothing was.
    Agreed,
    /// The files end before the mirrored line.
    Ahead(Head),
    /// The files have another line in the place of the mirrored one.
    Replaced(Head),
}

fn compare(directory: &Path, files: Head, mirrored: Option<Head>) -> Result<Finding, FsError> {
    let Some(mirrored) = mirrored.filter(|head| head.seq > 0) else {
        return Ok(Finding::Agreed);
    };
    if mirrored.seq > files.seq {
        return Ok(Finding::Ahead(mirrored));
    }
    if mirrored == files || contains(directory, mirrored)? {
        Ok(Finding::Agreed)
    } else {
        Ok(Finding::Replaced(mirrored))
    }
}

/// Whether the line of that number has that hash. Reads one segment, or the rest of one and the
/// next: the mirror is at most a second behind.
fn contains(directory: &Path, wanted: Head) -> Result<bool, FsError> {
    let filter = Filter { after: Some(wanted.seq - 1), ..Filter::default() };
    let entries = match list(directory, filter) {
        Ok(entries) => entries,
        Err(ReadError::Fs(error)) => return Err(error),
        Err(ReadError::Malformed { .. }) => return Ok(false),
    };
    for entry in entries {
        match entry {
            Ok(entry) => return Ok(entry.head() == wanted && entry.hash_is_right),
            Err(ReadError::Fs(error)) => return Err(error),
            Err(ReadError::Malformed { .. }) => {}
        }
    }
    Ok(false)
}

fn plan(files: Head, cut: u64, finding: Finding) -> (Head, Vec<Record>) {
    let mut notes = Vec::new();
    let mut head = files;
    match finding {
        Finding::Agreed => {}
        Finding::Ahead(mirrored) => {
            head = mirrored;
            let (first, last) = (files.seq + 1, mirrored.seq);
            let outcome = if first == last {
                format!("line {first} is missing")
            } else {
                format!("lines {first} to {last} are missing")
            };
            notes.push(Record::of_the_log(Stage::Truncated, outcome));
        }
        Finding::Replaced(mirrored) => {
            let outcome = format!("line {} is not the one that was mirrored", mirrored.seq);
            notes.push(Record::of_the_log(Stage::Truncated, outcome));
        }
    }
    if cut > 0 {
        let outcome = format!("cut {cut} bytes of unfinished lines");
        notes.push(Record::of_the_log(Stage::Repaired, outcome));
    }
    (head, notes)
}

/// The end of a segment.
#[derive(Debug, PartialEq, Eq)]
struct Tail {
    /// The position after the last line of the log in it, whether or not its hash is right.
    head: Option<Head>,
    /// Where that line ends; 0 if there is none.
    end: u64,
    size: u64,
}

impl Tail {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        let mut window = WINDOW;
        loop {
            let start = size.saturating_sub(window);
            let length = usize::try_from(size - start).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, start)?;
            // Unless it is the file's, the first line here is not whole.
            let skip = match start {
                0 => 0,
                _ => after_newline(&bytes),
            };
            if let Some((head, end)) = last_line(&bytes[skip..]) {
                let end = start + (skip + end) as u64;
                let head = Some(head);
                return Ok(Self { head, end, size });
            }
            if start == 0 {
                let (head, end) = (None, 0);
                return Ok(Self { head, end, size });
            }
            window = window.saturating_mul(4);
        }
    }
}

fn after_newline(bytes: &[u8]) -> usize {
    let newline = bytes.iter().position(|byte| *byte == b'\n');
    newline.map_or(bytes.len(), |at| at + 1)
}

/// The last whole line that is the log's: its position, and where it ends.
fn last_line(bytes: &[u8]) -> Option<(Head, usize)> {
    let mut end = bytes.len();
    while let Some(newline) = bytes[..end].iter().rposition(|byte| *byte == b'\n') {
        let start = bytes[..newline].iter().rposition(|byte| *byte == b'\n');
        let line = &bytes[start.map_or(0, |at| at + 1)..newline];
        if let Ok(entry) = Entry::parse(line) {
            return Some((entry.head(), newline + 1));
        }
        end = newline;
    }
    None
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::head::Hash;
    use crate::line::seal;
    use crate::testing::record;

    fn head(seq: u64) -> Head {
        let hash = Hash::of(&seq.to_be_bytes());
        Head { seq, hash }
    }

    #[test]
    fn what_is_told_and_where_it_goes_on() {
        for (files, cut, finding, next, told) in [
            (0, 0, Finding::Agreed, 0, vec![]),
            (5, 0, Finding::Agreed, 5, vec![]),
            (5, 7, Finding::Agreed, 5, vec!["repaired: cut 7 bytes of unfinished lines"]),
            (5, 0, Finding::Ahead(head(6)), 6, vec!["truncated: line 6 is missing"]),
            (
                0,
                3,
                Finding::Ahead(head(9)),
                9,
                vec![
                    "truncated: lines 1 to 9 are missing",
                    "repaired: cut 3 bytes of unfinished lines",
                ],
            ),
            (
                5,
                0,
                Finding::Replaced(head(4)),
                5,
                vec!["truncated: line 4 is not the one that was mirrored"],
            ),
        ] {
            let (got, notes) = plan(head(files), cut, finding);
            assert_eq!(got, head(next));
            let notes: Vec<_> =
                notes.iter().map(|note| format!("{}: {}", note.stage, note.outcome)).collect();
            assert_eq!(notes, told);
        }
    }

    #[test]
    fn the_last_line_is_found_behind_any_rubbish() {
        let mut lines = Vec::new();
        let mut head = Head::START;
        for crossing in ["a", "b"] {
            head = seal(&record(crossing), "hub", Timestamp::UNIX_EPOCH, head, &mut lines);
        }
        let end = lines.len() as u64;
        let zeros = vec![0; usize::try_from(3 * WINDOW).unwrap()];
        for rubbish in [&b""[..], b"{\"actor", b"\n", b"nonsense\n\0\0\n{", &zeros] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), [&lines, rubbish].concat()).unwrap();
            let tail = Tail::of(file.path()).unwrap();
            let size = end + rubbish.len() as u64;
            let head = Some(head);
            assert_eq!(tail, Tail { head, end, size });
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &zeros).unwrap();
        let tail = Tail::of(file.path()).unwrap();
        assert_eq!((tail.head, tail.end), (None, 0));
    }
}
