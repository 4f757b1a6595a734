//! Listing what crossed.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use jiff::Timestamp;
use strait_runtime::fs::FsError;
use strait_types::{Classified, ErrorKind};

use crate::line::Entry;
use crate::record::Stage;
use crate::segment::{Next, Segment, next_line, segments};

/// Which lines are wanted: those that match everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this request's uid.
    pub crossing: Option<String>,
    /// Only this stage.
    pub stage: Option<Stage>,
    /// Only this user's doing.
    pub user: Option<String>,
    /// Only this logical cluster.
    pub cluster: Option<String>,
    /// Only lines with a greater number.
    pub after: Option<u64>,
    /// Only from this moment on.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        fn is<T: PartialEq + ?Sized>(wanted: Option<&T>, got: &T) -> bool {
            wanted.is_none_or(|wanted| wanted == got)
        }
        let record = &entry.record;
        is(self.crossing.as_deref(), &*record.crossing)
            && is(self.stage.as_ref(), &record.stage)
            && is(self.user.as_deref(), &*record.actor.user)
            && is(self.cluster.as_deref(), &*record.object.cluster)
            && self.after.is_none_or(|after| entry.seq > after)
            && self.from.is_none_or(|from| entry.time >= from)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// A line or file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The line; the listing can go on after it.
    #[error("{file} line {line}: {why}")]
    Malformed {
        /// The segment's file name.
        file: String,
        /// Counted from 1.
        line: u64,
        /// In a few words.
        why: &'static str,
    },
}

impl Classified for ReadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Fs(error) => error.kind(),
            Self::Malformed { .. } => ErrorKind::Internal,
        }
    }
}

/// The lines of a log in their order, those that `filter` takes. Reads as it goes, and works
/// beside a running log. Hashes are computed but wrong ones do not stop it: see
/// [`Entry::hash_is_right`].
///
/// # Errors
/// The directory cannot be read.
pub fn list(directory: &Path, filter: Filter) -> Result<Entries, ReadError> {
    let mut segments = segments(directory)?;
    if let Some(after) = filter.after {
        // The last segment that can begin at or before the first wanted line.
        let begin = segments.partition_point(|segment| segment.first <= after.saturating_add(1));
        segments.drain(..begin.saturating_sub(1));
    }
    Ok(Entries { segments: segments.into_iter(), current: None, filter, buffer: Vec::new() })
}

/// The lines of a log, read on demand. After an error about a line it goes on with the next.
#[derive(Debug)]
pub struct Entries {
    segments: std::vec::IntoIter<Segment>,
    current: Option<Open>,
    filter: Filter,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    segment: Segment,
    reader: BufReader<File>,
    line: u64,
}

impl Entries {
    /// The next line of any kind; none at the end of the current segment.
    fn next_in_segment(&mut self) -> Option<Result<Entry, ReadError>> {
        let open = self.current.as_mut()?;
        open.line += 1;
        let malformed =
            |why| ReadError::Malformed { file: open.segment.name(), line: open.line, why };
        let next = next_line(&mut open.reader, &mut self.buffer);
        match next.map_err(FsError::new("read", &open.segment.path)) {
            Ok(Next::Line) => Some(Entry::parse(&self.buffer).map_err(malformed)),
            Ok(Next::TooLong) => Some(Err(malformed("it is too long"))),
            // In the last segment it may be on its way.
            Ok(Next::Unfinished(_)) if self.segments.len() == 0 => None,
            Ok(Next::Unfinished(_)) => Some(Err(malformed("it has no end"))),
            Ok(Next::End) => None,
            Err(error) => {
                self.current = None;
                Some(Err(error.into()))
            }
        }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_in_segment() {
                Some(Ok(entry)) if !self.filter.takes(&entry) => {}
                Some(result) => return Some(result),
                None => {
                    let segment = self.segments.next()?;
                    match File::open(&segment.path) {
                        Ok(file) => {
                            self.current =
                                Some(Open { segment, reader: BufReader::new(file), line: 0 });
                        }
                        Err(error) => {
                            self.current = None;
                            return Some(Err(FsError::new("open", &segment.path)(error).into()));
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Logged, record};

    fn crossings(log: &Logged, filter: Filter) -> Vec<String> {
        let entries = list(log.path(), filter).unwrap();
        entries.map(|entry| entry.unwrap().record.crossing).collect()
    }

    #[test]
    fn filters_narrow_the_list() {
        let log = Logged::with_small_segments();
        for (index, crossing) in ["a", "b", "a", "c", "a"].iter().enumerate() {
            let mut record = record(crossing);
            if index == 4 {
                record.stage = Stage::Ended;
                record.actor.user = "jo".into();
                record.object.cluster = "root".into();
            }
            log.append(vec![record]);
        }
        assert!(segments(log.path()).unwrap().len() > 2);

        let all = Filter::default;
        assert_eq!(crossings(&log, all()), ["a", "b", "a", "c", "a"]);
        let only = |crossing: &str| Some(crossing.to_owned());
        let a = Filter { crossing: only("a"), ..all() };
        assert_eq!(crossings(&log, a.clone()).len(), 3);
        let ended = Filter { stage: Some(Stage::Ended), ..a };
        assert_eq!(crossings(&log, ended).len(), 1);
        for (user, cluster, count) in [("jo", "root", 1), ("jo", "x", 0), ("al", "root", 0)] {
            let filter = Filter { user: only(user), cluster: only(cluster), ..all() };
            assert_eq!(crossings(&log, filter).len(), count, "{user} {cluster}");
        }
    }

    #[test]
    fn numbers_and_times_narrow_the_list() {
        let log = Logged::with_small_segments();
        for crossing in ["a", "b", "c", "d"] {
            log.append(vec![record(crossing)]);
            log.clock.advance(std::time::Duration::from_secs(10));
        }
        for (after, expected) in [(0, "abcd"), (1, "bcd"), (3, "d"), (4, ""), (u64::MAX, "")] {
            let filter = Filter { after: Some(after), ..Filter::default() };
            assert_eq!(crossings(&log, filter).concat(), expected, "after {after}");
        }
        let start = Logged::START;
        let at = |seconds| Timestamp::from_second(start + seconds).ok();
        let filter = Filter { from: at(10), until: at(30), ..Filter::default() };
        assert_eq!(crossings(&log, filter), ["b", "c"]);
    }

    #[test]
    fn a_malformed_line_is_named_and_passed_over() {
        let log = Logged::new();
        log.append(vec![record("a"), record("b"), record("c")]);
        let path = &segments(log.path()).unwrap()[0].path;
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<_> = text.lines().collect();
        lines[1] = "{}";
        std::fs::write(path, lines.join("\n") + "\nunfinished").unwrap();

        let entries: Vec<_> = list(log.path(), Filter::default()).unwrap().collect();
        let [Ok(first), Err(error), Ok(last)] = &entries[..] else {
            panic!("{entries:?}");
        };
        assert_eq!((first.seq, last.seq), (1, 3));
        assert_eq!(error.to_string(), "00000000000000000001.jsonl line 2: it is not an audit line");
    }
}
