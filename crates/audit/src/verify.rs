//! Checking that nobody changed the files.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use strait_runtime::fs::FsError;

use crate::head::Head;
use crate::line::Entry;
use crate::record::Stage;
use crate::segment::{Next, Segment, next_line, segments};

/// At most this many faults are described; the rest are counted.
pub const FAULTS_MAX: usize = 1_000;

/// What was found in a log's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many files.
    pub segments: u64,
    /// How many lines that are the log's.
    pub lines: u64,
    /// How many of them say that a torn tail was cut.
    pub repairs: u64,
    /// The newest position.
    pub head: Option<Head>,
    /// The mirrored position, if no line has it: lines are gone, or the chain is another one.
    pub missing_head: Option<Head>,
    /// Bytes at the end that are no whole line: of a line that is being written, or was when
    /// the machine stopped. The next opening cuts them.
    pub unfinished_bytes: u64,
    /// The first [`FAULTS_MAX`], in their order.
    pub faults: Vec<Fault>,
    /// How many there are.
    pub fault_count: u64,
}

impl Report {
    /// Whether every line is there and as it was written.
    #[must_use]
    pub const fn is_intact(&self) -> bool {
        self.fault_count == 0 && self.missing_head.is_none()
    }

    fn fault(&mut self, segment: &Segment, line: u64, seq: Option<u64>, kind: FaultKind) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { file: segment.name(), line, seq, kind });
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The segment's file name.
    pub file: String,
    /// The line in it, counted from 1.
    pub line: u64,
    /// The line's own number, if it can be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)?;
        if let Some(seq) = self.seq {
            write!(f, " (seq {seq})")?;
        }
        write!(f, ": {}", self.kind)
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is no line of the log.
    Malformed(&'static str),
    /// It was changed after it was written.
    WrongHash,
    /// The line before it is not the one that it was written after.
    WrongPrevious,
    /// Lines are missing before it: the first and the last of them.
    Missing(u64, u64),
    /// Its number is not greater than that of the line before.
    OutOfOrder,
    /// The log itself found, when it was opened, that lines had been lost; its own words.
    Truncated(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => f.write_str(why),
            Self::WrongHash => f.write_str("it was changed: its hash is wrong"),
            Self::WrongPrevious => f.write_str("it does not follow from the line before it"),
            Self::Missing(first, last) if first == last => {
                write!(f, "line {first} is missing before it")
            }
            Self::Missing(first, last) => {
                write!(f, "lines {first} to {last} are missing before it")
            }
            Self::OutOfOrder => f.write_str("its number is not greater than the one before"),
            Self::Truncated(outcome) => write!(f, "the log was truncated: {outcome}"),
        }
    }
}

/// Reads every line of a log and checks the chain, and that `mirrored`, a position that was kept
/// elsewhere, lies on it. Needs memory for one line, and works beside a running log if `mirrored`
/// was read before.
///
/// # Errors
/// A file cannot be read. What is wrong *in* the files is in the report.
pub fn verify(directory: &Path, mirrored: Option<Head>) -> Result<Report, FsError> {
    let mut mirrored = mirrored.filter(|head| *head != Head::START);
    let mut report = Report::default();
    let segments = segments(directory)?;
    let last = segments.len().saturating_sub(1);
    let mut buffer = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        report.segments += 1;
        let failed = || FsError::new("read", &segment.path);
        let mut reader = BufReader::new(File::open(&segment.path).map_err(failed())?);
        for line in 1.. {
            match next_line(&mut reader, &mut buffer).map_err(failed())? {
                Next::Line => {
                    check(&mut report, segment, line, &buffer);
                    mirrored = mirrored.filter(|head| report.head != Some(*head));
                }
                Next::TooLong => {
                    report.fault(segment, line, None, FaultKind::Malformed("it is too long"));
                }
                Next::Unfinished(bytes) if index == last => report.unfinished_bytes = bytes,
                Next::Unfinished(_) => {
                    report.fault(segment, line, None, FaultKind::Malformed("it has no end"));
                }
                Next::End => break,
            }
        }
    }
    report.missing_head = mirrored;
    Ok(report)
}

fn check(report: &mut Report, segment: &Segment, line: u64, bytes: &[u8]) {
    let entry = match Entry::parse(bytes) {
        Ok(entry) => entry,
        Err(why) => return report.fault(segment, line, None, FaultKind::Malformed(why)),
    };
    let mut fault = |kind| report.fault(segment, line, Some(entry.seq), kind);
    if !entry.hash_is_right {
        fault(FaultKind::WrongHash);
    }
    let before = fault_in_chain(report.head.unwrap_or(Head::START), &entry);
    let hole_is_told = matches!(before, Some(FaultKind::Missing(..)));
    if let Some(kind) = before {
        report.fault(segment, line, Some(entry.seq), kind);
    }
    match entry.record.stage {
        Stage::Repaired => report.repairs += 1,
        Stage::Truncated if !hole_is_told => {
            let kind = FaultKind::Truncated(entry.record.outcome.clone());
            report.fault(segment, line, Some(entry.seq), kind);
        }
        _ => {}
    }
    report.lines += 1;
    // What the line says: a change shows once, not in every line after it.
    report.head = Some(entry.head());
}

fn fault_in_chain(before: Head, entry: &Entry) -> Option<FaultKind> {
    let expected = before.seq.saturating_add(1);
    if entry.seq < expected {
        Some(FaultKind::OutOfOrder)
    } else if entry.seq > expected {
        Some(FaultKind::Missing(expected, entry.seq - 1))
    } else if entry.prev != before.hash {
        Some(FaultKind::WrongPrevious)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Logged, record};

    /// A log of lines 1 to 6, two in a segment.
    fn log() -> Logged {
        let log = Logged::with_small_segments();
        for pair in [["a", "b"], ["c", "d"], ["e", "f"]] {
            log.append(pair.map(record).into());
        }
        log
    }

    fn text_of(log: &Logged, index: usize) -> (std::path::PathBuf, String) {
        let segment = segments(log.path()).unwrap().swap_remove(index);
        let text = std::fs::read_to_string(&segment.path).unwrap();
        (segment.path, text)
    }

    fn faults(log: &Logged) -> Vec<String> {
        let report = verify(log.path(), None).unwrap();
        assert_eq!(report.fault_count, report.faults.len() as u64);
        report.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_untouched_log_is_intact() {
        let log = log();
        let report = verify(log.path(), None).unwrap();
        assert!(report.is_intact(), "{report:?}");
        assert_eq!((report.segments, report.lines, report.repairs), (3, 6, 0));
        assert_eq!(report.head, Some(log.head()));
        assert_eq!(report.unfinished_bytes, 0);
    }

    #[test]
    fn a_mirrored_position_must_lie_on_the_chain() {
        let log = log();
        let head = log.head();
        let verified = |mirrored| verify(log.path(), Some(mirrored)).unwrap();
        assert!(verified(head).is_intact());
        assert!(verified(Head::START).is_intact());
        let foreign = Head { seq: 2, hash: head.hash };
        assert_eq!(verified(foreign).missing_head, Some(foreign));
        let (path, text) = text_of(&log, 2);
        let first = text.lines().next().unwrap();
        std::fs::write(path, format!("{first}\n")).unwrap();
        let report = verified(head);
        assert_eq!((report.fault_count, report.missing_head), (0, Some(head)));
        assert!(!report.is_intact());
    }

    #[test]
    fn a_change_is_named_with_its_place() {
        let log = log();
        let (path, text) = text_of(&log, 1);
        std::fs::write(path, text.replace("\"crossing\":\"d\"", "\"crossing\":\"x\"")).unwrap();
        assert_eq!(
            faults(&log),
            ["00000000000000000003.jsonl line 2 (seq 4): it was changed: its hash is wrong"]
        );
    }

    #[test]
    fn a_change_with_a_new_hash_breaks_the_next_line() {
        let log = log();
        let (path, text) = text_of(&log, 1);
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let changed = Entry::parse(lines[0].as_bytes()).unwrap();
        let before = Head { seq: 2, hash: changed.prev };
        let mut forged = Vec::new();
        crate::line::seal(&record("x"), "hub", changed.time, before, &mut forged);
        lines[0] = String::from_utf8(forged).unwrap().trim_end().to_owned();
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
        assert_eq!(
            faults(&log),
            [
                "00000000000000000003.jsonl line 2 (seq 4): it does not follow from the line before it"
            ]
        );
    }

    #[test]
    fn lost_lines_and_files_are_counted() {
        let log = log();
        let (path, text) = text_of(&log, 0);
        std::fs::write(&path, text.lines().next().unwrap().to_owned() + "\n").unwrap();
        let file = "00000000000000000003.jsonl line 1 (seq 3)";
        assert_eq!(faults(&log), [format!("{file}: line 2 is missing before it")]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(faults(&log), [format!("{file}: lines 1 to 2 are missing before it")]);
    }

    #[test]
    fn repeated_and_foreign_lines_are_faults() {
        let log = log();
        let (path, text) = text_of(&log, 1);
        let long = "x".repeat(crate::line::LINE_BYTES_MAX + 1);
        std::fs::write(path, format!("{text}{text}nonsense\n{long}\nno end")).unwrap();
        let file = "00000000000000000003.jsonl line";
        assert_eq!(
            faults(&log),
            [
                format!("{file} 3 (seq 3): its number is not greater than the one before"),
                format!("{file} 5: it is not JSON"),
                format!("{file} 6: it is too long"),
                format!("{file} 7: it has no end"),
            ]
        );
    }

    #[test]
    fn an_unfinished_end_is_no_fault() {
        let log = log();
        let (path, text) = text_of(&log, 2);
        std::fs::write(path, format!("{text}{{\"actor\"")).unwrap();
        let report = verify(log.path(), None).unwrap();
        assert!(report.is_intact());
        assert_eq!((report.lines, report.unfinished_bytes), (6, 8));
    }

    #[test]
    fn faults_are_counted_beyond_those_described() {
        let log = log();
        let (path, _) = text_of(&log, 2);
        std::fs::write(path, "nonsense\n".repeat(FAULTS_MAX + 5)).unwrap();
        let report = verify(log.path(), None).unwrap();
        assert_eq!(report.faults.len(), FAULTS_MAX);
        assert_eq!(report.fault_count, FAULTS_MAX as u64 + 5);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let error = verify(Path::new("/nonexistent/audit"), None).unwrap_err();
        assert_eq!(error.to_string(), "cannot list /nonexistent/audit");
    }
}
