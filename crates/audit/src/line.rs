//! A line: sealed, and read back.

use jiff::Timestamp;
use strait_machinery::json::{self, Map, Value};

use crate::head::{Hash, Head};
use crate::record::{RECORD_BYTES_MAX, Record};

const API_VERSION: &str = "audit.strait.dev/v1alpha1";

/// No line is longer, the newline included: a byte takes at most six when escaped (`\u0000`),
/// and the log's own members take under a kilobyte.
pub(crate) const LINE_BYTES_MAX: usize = 6 * RECORD_BYTES_MAX + (4 << 10);

/// Deeper than any line; what is deeper is not parsed, so that no tree of it needs a deep stack.
const DEPTH_MAX: usize = 4;

const MEMBERS: usize = 12;

/// Appends one line to `out` and returns the position after it.
pub(crate) fn seal(
    record: &Record,
    writer: &str,
    time: Timestamp,
    after: Head,
    out: &mut Vec<u8>,
) -> Head {
    let seq = after.seq + 1;
    let mut line = Map::new();
    line.insert("apiVersion", API_VERSION);
    line.insert("writer", writer);
    line.insert("seq", Value::from(seq));
    line.insert("time", format!("{time:.6}"));
    line.insert("prev", after.hash.to_string());
    record.write_into(&mut line);
    let mut line = Value::Object(line);
    let hash = Hash::of(&line.to_bytes());
    line.make_object().insert("hash", hash.to_string());
    line.write_into(out);
    out.push(b'\n');
    Head { seq, hash }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The line's number.
    pub seq: u64,
    /// When it was written.
    pub time: Timestamp,
    /// Who wrote it.
    pub writer: String,
    /// What happened.
    pub record: Record,
    /// The hash of the line before, as this line has it.
    pub prev: Hash,
    /// This line's own hash, as it says itself.
    pub hash: Hash,
    /// Whether `hash` is right.
    pub hash_is_right: bool,
    /// The line as it stands in the file, without the newline.
    pub text: String,
}

impl Entry {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// What is wrong with it, in a few words.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "it is not text")?;
        if depth(line) > DEPTH_MAX {
            return Err("it is not an audit line");
        }
        let mut value = json::parse(line).map_err(|_| "it is not JSON")?;
        if value.to_bytes() != line {
            return Err("it is not in canonical form");
        }
        let entry = Self::read(&value, text).ok_or("it is not an audit line")?;
        value.remove(&["hash"]);
        Ok(Self { hash_is_right: Hash::of(&value.to_bytes()) == entry.hash, ..entry })
    }

    fn read(line: &Value, text: &str) -> Option<Self> {
        let exact = line.as_object()?.len() == MEMBERS
            && line.at(&["actor"])?.as_object()?.len() == 2
            && line.at(&["object"])?.as_object()?.len() == 6
            && line.str_at(&["apiVersion"])? == API_VERSION;
        if !exact {
            return None;
        }
        let seq = line.at(&["seq"])?.as_i64()?;
        Some(Self {
            seq: u64::try_from(seq).ok()?,
            time: line.str_at(&["time"])?.parse().ok()?,
            writer: line.str_at(&["writer"])?.to_owned(),
            record: Record::read_from(line)?,
            prev: line.str_at(&["prev"])?.parse().ok()?,
            hash: line.str_at(&["hash"])?.parse().ok()?,
            hash_is_right: false,
            text: text.to_owned(),
        })
    }

    /// The position after this line, as the line says.
    pub(crate) const fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// How deep containers nest, without looking into strings.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Actor, Object, Stage};
    use crate::testing::record;

    fn sealed(record: &Record) -> (Vec<u8>, Head) {
        let mut out = Vec::new();
        let time = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let head = seal(record, "hub1", time, Head::START, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        (out, head)
    }

    #[test]
    fn a_line_is_exactly_this() {
        let record = Record {
            crossing: "7c1d".into(),
            stage: Stage::Decided,
            actor: Actor { user: "jo".into(), groups: vec!["dev".into(), "all".into()] },
            object: Object {
                cluster: "37qd".into(),
                group: "signing.example.strait.dev".into(),
                resource: "signingrequests".into(),
                namespace: "default".into(),
                name: "release-1".into(),
                uid: "7c1d".into(),
            },
            rule: "allow-release".into(),
            outcome: "allowed".into(),
        };
        let (line, head) = sealed(&record);
        let text = String::from_utf8(line.clone()).unwrap();
        let (before, after) = (
            r#"{"actor":{"groups":["dev","all"],"user":"jo"},"apiVersion":"audit.strait.dev/v1alpha1","crossing":"7c1d","#,
            r#""object":{"cluster":"37qd","group":"signing.example.strait.dev","name":"release-1","namespace":"default","resource":"signingrequests","uid":"7c1d"},"outcome":"allowed","prev":"0000000000000000000000000000000000000000000000000000000000000000","rule":"allow-release","seq":1,"stage":"decided","time":"2026-01-02T03:04:05.123456Z","writer":"hub1"}"#,
        );
        assert_eq!(text, format!("{before}\"hash\":\"{}\",{after}", head.hash));
        // The hash is of the line without itself, by any tool.
        assert_eq!(head.hash, Hash::of(format!("{before}{after}").as_bytes()));

        let entry = Entry::parse(&line).unwrap();
        assert_eq!((entry.head(), entry.hash_is_right), (head, true));
        assert_eq!((entry.record, entry.prev), (record, Hash::ZERO));
        assert_eq!((entry.writer.as_str(), entry.text), ("hub1", text));
    }

    #[test]
    fn a_changed_line_has_a_wrong_hash() {
        let (line, head) = sealed(&record("a"));
        let text = String::from_utf8(line).unwrap();
        let changed = text.replace("\"asked\"", "\"ended\"");
        let entry = Entry::parse(changed.as_bytes()).unwrap();
        assert_eq!((entry.hash_is_right, entry.hash), (false, head.hash));
    }

    #[test]
    fn anything_else_is_not_a_line() {
        let (line, _) = sealed(&record("a"));
        let text = String::from_utf8(line).unwrap();
        let deep = "[".repeat(LINE_BYTES_MAX);
        for (wrong, why) in [
            (String::new(), "it is not JSON"),
            ("{}".into(), "it is not an audit line"),
            ("null".into(), "it is not an audit line"),
            (deep, "it is not an audit line"),
            (format!("{text} "), "it is not in canonical form"),
            (text.replace("v1alpha1", "v1"), "it is not an audit line"),
            (text.replace("\"seq\":1", "\"seq\":-1"), "it is not an audit line"),
            (text.replace("\"seq\":1", "\"seq\":\"1\""), "it is not an audit line"),
            (text.replace("\"asked\"", "\"x\""), "it is not an audit line"),
            (text.replace("\"rule\":\"\",", ""), "it is not an audit line"),
            (text.replace("\"rule\"", "\"z\":1,\"rule\""), "it is not in canonical form"),
            (text[..text.len() / 2].to_owned(), "it is not JSON"),
        ] {
            assert_eq!(Entry::parse(wrong.as_bytes()), Err(why), "{wrong:.80}");
        }
        assert_eq!(Entry::parse(b"\xff"), Err("it is not text"));
    }

    fn any_record() -> impl Strategy<Value = Record> {
        (any::<[String; 4]>(), prop::collection::vec(".*", 0..4)).prop_map(
            |([user, name, rule, outcome], groups)| Record {
                actor: Actor { user, groups },
                object: Object { name, ..Object::default() },
                rule,
                outcome,
                ..record("x")
            },
        )
    }

    proptest! {
        #[test]
        fn every_record_reads_back(record in any_record()) {
            let (line, _) = sealed(&record);
            prop_assert!(line.len() <= 6 * record.size() + (4 << 10));
            let entry = Entry::parse(&line).unwrap();
            prop_assert!(entry.hash_is_right);
            prop_assert_eq!(entry.record, record);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::parse(&bytes);
        }
    }
}
