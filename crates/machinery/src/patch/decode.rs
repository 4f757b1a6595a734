//! JSON Patch: what was sent.

use super::{Decoded, MAX_OPERATIONS, go_word, undecodable};
use crate::json::{Map, Value, parse_strict};
use crate::status::Status;

/// Operations, to be applied in order and all or none.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPatch {
    pub(super) operations: Vec<Operation>,
}

/// One operation as written: what is missing fails when it is applied.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    pub kind: Box<str>,
    pub path: Option<Box<str>>,
    pub from: Option<Box<str>>,
    pub value: Value,
}

impl JsonPatch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 for what is not an array of operations, 413 for more than [`MAX_OPERATIONS`].
    pub fn decode(bytes: &[u8]) -> Result<Decoded<Self>, Status> {
        let parsed = parse_strict(bytes).map_err(undecodable)?;
        let elements = match parsed.value {
            Value::Array(elements) => elements,
            // Go reads null as the empty list.
            Value::Null => Vec::new(),
            other => return Err(wrong(&other, "value", "[]handlers.jsonPatchOp")),
        };
        if elements.len() > MAX_OPERATIONS {
            return Err(too_many(elements.len()));
        }
        let mut strict_errors = Vec::new();
        let mut operations = Vec::with_capacity(elements.len());
        for (at, element) in elements.into_iter().enumerate() {
            operations.push(match element {
                Value::Object(map) => operation(map, at, &mut strict_errors)?,
                Value::Null => Operation::of(&Map::new())?,
                other => return Err(wrong(&other, "value", "handlers.jsonPatchOp")),
            });
        }
        let duplicates = parsed.duplicates.iter();
        strict_errors
            .extend(duplicates.map(|path| format!("json patch duplicate field \"{path}\"")));
        Ok(Decoded { patch: Self { operations }, strict_errors })
    }
}

fn operation(map: Map, at: usize, strict_errors: &mut Vec<String>) -> Result<Operation, Status> {
    for name in map.keys().filter(|name| !matches!(*name, "op" | "path" | "from" | "value")) {
        strict_errors.push(format!("json patch unknown field \"[{at}].{name}\""));
    }
    Operation::of(&map)
}

impl Operation {
    fn of(map: &Map) -> Result<Self, Status> {
        let text = |name: &str| match map.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => {
                let place = format!("struct field jsonPatchOp.{name}");
                Err(wrong(other, &place, "string"))
            }
        };
        Ok(Self {
            kind: text("op")?.unwrap_or_else(|| "unknown".into()),
            path: text("path")?,
            from: text("from")?,
            value: map.get("value").cloned().unwrap_or_default(),
        })
    }
}

fn wrong(value: &Value, place: &str, wanted: &str) -> Status {
    let found = go_word(value);
    undecodable(format_args!("json: cannot unmarshal {found} into Go {place} of type {wanted}"))
}

fn too_many(count: usize) -> Status {
    let mut status = Status::too_large(0);
    status.message = format!(
        "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
    );
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Recorded from kube-apiserver 1.34.
    #[test]
    fn what_is_no_patch_is_told() {
        for (bytes, end) in [
            ("{}", "json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
            ("[5]", "json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
            (
                r#"[{"op":"add","path":5}]"#,
                "json: cannot unmarshal number into Go struct field jsonPatchOp.path of type string",
            ),
            ("[", "unexpected end of input at byte 1"),
        ] {
            let status = JsonPatch::decode(bytes.as_bytes()).unwrap_err();
            let message = format!("error decoding patch: {end}");
            assert_eq!((status.code, status.message), (400, message), "{bytes}");
        }
    }

    #[test]
    fn unknown_and_duplicate_members_are_named() {
        let decoded = JsonPatch::decode(
            br#"[{"op":"test","path":"/a"},{"op":"add","path":"/n","foo":1,"op":"add"}]"#,
        );
        assert_eq!(
            decoded.unwrap().strict_errors,
            [r#"json patch unknown field "[1].foo""#, r#"json patch duplicate field "[1].op""#]
        );
    }

    #[test]
    fn operations_are_bounded() {
        let of = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
        assert!(JsonPatch::decode(of(MAX_OPERATIONS).as_bytes()).is_ok());
        let status = JsonPatch::decode(of(MAX_OPERATIONS + 1).as_bytes()).unwrap_err();
        let message = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
        assert_eq!(
            (status.code, status.reason, &*status.message),
            (413, "RequestEntityTooLarge", message)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = JsonPatch::decode(&bytes);
        }
    }
}
