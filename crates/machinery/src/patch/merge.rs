//! JSON Merge Patch.

use super::{Decoded, go_word, undecodable};
use crate::json::{Map, Value, parse_strict};
use crate::status::Status;

/// A merge patch: what is `null` is removed, objects are merged, everything else is replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct MergePatch(Map);

impl MergePatch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 for what is not a JSON object.
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, Status> {
        let parsed = parse_strict(bytes).map_err(undecodable)?;
        match parsed.value {
            Value::Object(map) => Ok(Decoded {
                patch: Self(map),
                strict_errors: parsed
                    .duplicates
                    .iter()
                    .map(|path| format!("duplicate field \"{path}\""))
                    .collect(),
            }),
            Value::Null => Err(Status::bad_request("Invalid JSON Patch")),
            other => Err(undecodable(format_args!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                go_word(&other)
            ))),
        }
    }

    /// Merges the patch into a document.
    pub fn apply(&self, document: &mut Value) {
        merge(document, &self.0);
    }

    /// The members of the patch.
    #[must_use]
    pub const fn as_map(&self) -> &Map {
        &self.0
    }
}

/// RFC 7386 §2.
fn merge(target: &mut Value, patch: &Map) {
    let target = target.make_object();
    for (name, value) in patch.iter() {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(patch) => merge(target.entry(name, Value::object), patch),
            other => {
                target.insert(name, other.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{MAX_DEPTH, STACK_BYTES, parse};
    use proptest::prelude::*;

    fn patched(document: &str, patch: &str) -> String {
        let mut document = parse(document.as_bytes()).unwrap();
        MergePatch::decode(patch.as_bytes()).unwrap().patch.apply(&mut document);
        document.to_string()
    }

    // RFC 7386, appendix A, as far as the patch is an object.
    #[test]
    fn merges_as_the_rfc_says() {
        for (document, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1,"e":null}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
            ("{}", r#"{"a":[{"b":null}]}"#, r#"{"a":[{"b":null}]}"#),
        ] {
            assert_eq!(patched(document, patch), result, "{document} {patch}");
        }
    }

    // Recorded from kube-apiserver 1.34.
    #[test]
    fn what_is_no_patch_is_told() {
        for (bytes, message) in [
            ("null", "Invalid JSON Patch"),
            (
                "[]",
                "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                "\"x\"",
                "error decoding patch: json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            ("{", "error decoding patch: expected a key at byte 1"),
        ] {
            let status = MergePatch::decode(bytes.as_bytes()).unwrap_err();
            assert_eq!((status.code, &*status.message), (400, message), "{bytes}");
        }
    }

    #[test]
    fn duplicates_are_named() {
        let decoded = MergePatch::decode(br#"{"spec":{"n":1,"n":2}}"#).unwrap();
        assert_eq!(decoded.strict_errors, [r#"duplicate field "spec.n""#]);
    }

    #[test]
    fn the_deepest_patch_fits_the_stack() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
        let apply = move || {
            let mut document = parse(deep.as_bytes()).unwrap();
            let patch = MergePatch::decode(deep.replace('1', "2").as_bytes()).unwrap().patch;
            patch.apply(&mut document);
            document.to_bytes().len()
        };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(apply).unwrap();
        assert_eq!(thread.join().unwrap(), 6 * MAX_DEPTH + 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = MergePatch::decode(&bytes);
        }
    }
}
