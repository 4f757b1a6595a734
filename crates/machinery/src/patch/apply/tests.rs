//! Operations one by one, and limits.

use super::*;
use crate::json::{STACK_BYTES, parse};
use proptest::prelude::*;

const DOCUMENT: &str = r#"{"spec":{"a":"t","l":[1],"n":null}}"#;

/// Patches of [`DOCUMENT`] and what comes of them.
const PATCHES: &[(&str, &str)] = &[
    ("[]", DOCUMENT),
    (
        r#"[{"op":"add","path":"/spec/b","value":{"x":1}}]"#,
        r#"{"spec":{"a":"t","b":{"x":1},"l":[1],"n":null}}"#,
    ),
    (r#"[{"op":"add","path":"/spec/b"}]"#, r#"{"spec":{"a":"t","b":null,"l":[1],"n":null}}"#),
    (r#"[{"op":"add","path":"/spec/l/0","value":0}]"#, r#"{"spec":{"a":"t","l":[0,1],"n":null}}"#),
    (r#"[{"op":"add","path":"/spec/l/-","value":2}]"#, r#"{"spec":{"a":"t","l":[1,2],"n":null}}"#),
    (r#"[{"op":"add","path":"/spec/l/-1","value":2}]"#, r#"{"spec":{"a":"t","l":[1,2],"n":null}}"#),
    (r#"[{"op":"add","path":"/spec/l/-2","value":2}]"#, r#"{"spec":{"a":"t","l":[2,1],"n":null}}"#),
    (
        r#"[{"op":"add","path":"/spec/l/+01","value":2}]"#,
        r#"{"spec":{"a":"t","l":[1,2],"n":null}}"#,
    ),
    (
        r#"[{"op":"add","path":"/spec/a~1b~0c","value":2}]"#,
        r#"{"spec":{"a":"t","a/b~c":2,"l":[1],"n":null}}"#,
    ),
    (
        r#"[{"op":"remove","path":"/spec/l/-1"},{"op":"remove","path":"/spec/n"}]"#,
        r#"{"spec":{"a":"t","l":[]}}"#,
    ),
    (
        r#"[{"op":"replace","path":"/spec/l/0","value":7}]"#,
        r#"{"spec":{"a":"t","l":[7],"n":null}}"#,
    ),
    (
        r#"[{"op":"replace","path":"/spec/zz","value":7}]"#,
        r#"{"spec":{"a":"t","l":[1],"n":null,"zz":7}}"#,
    ),
    (r#"[{"op":"replace","path":"","value":{"a":1}}]"#, r#"{"a":1}"#),
    (
        r#"[{"op":"move","from":"/spec/l/0","path":"/spec/n"}]"#,
        r#"{"spec":{"a":"t","l":[],"n":1}}"#,
    ),
    (
        r#"[{"op":"copy","from":"/spec/l","path":"/m"}]"#,
        r#"{"m":[1],"spec":{"a":"t","l":[1],"n":null}}"#,
    ),
    (
        r#"[{"op":"copy","from":"/spec/zz","path":"/m"}]"#,
        r#"{"m":null,"spec":{"a":"t","l":[1],"n":null}}"#,
    ),
    (r#"[{"op":"test","path":"/spec/a","value":"t"},{"op":"test","path":"/spec/zz"}]"#, DOCUMENT),
    (
        r#"[{"op":"test","path":"/spec/l","value":[1]},{"op":"test","path":"/spec/n","value":null}]"#,
        DOCUMENT,
    ),
    (r#"[{"op":"test","path":"","value":{"spec":{"a":"t","l":[1],"n":null}}}]"#, DOCUMENT),
];

/// Operations on [`DOCUMENT`] that fail, and why: texts of evanphx/json-patch v4.12, which
/// kube-apiserver 1.34 keeps to itself.
const FAILURES: &[(&str, &str)] = &[
    (r#"{"op":"add"}"#, "add operation failed to decode path: missing value"),
    (r#"{"op":"foo","path":"/a"}"#, "Unexpected kind: foo"),
    (r#"{"path":"/a"}"#, "Unexpected kind: unknown"),
    ("null", "Unexpected kind: unknown"),
    (
        r#"{"op":"remove","path":"/spec/zz"}"#,
        "error in remove for path: '/spec/zz': Unable to remove nonexistent key: zz: missing value",
    ),
    (
        r#"{"op":"remove","path":"/zz/zz"}"#,
        r#"remove operation does not apply: doc is missing path: "/zz/zz": missing value"#,
    ),
    (
        r#"{"op":"remove","path":""}"#,
        r#"remove operation does not apply: doc is missing path: "": missing value"#,
    ),
    (
        r#"{"op":"remove","path":"/spec/l/-"}"#,
        r#"error in remove for path: '/spec/l/-': strconv.Atoi: parsing "-": invalid syntax"#,
    ),
    (
        r#"{"op":"remove","path":"/spec/l/7"}"#,
        "error in remove for path: '/spec/l/7': Unable to access invalid index: 7: invalid index referenced",
    ),
    (r#"{"op":"test","path":"/spec/a","value":"q"}"#, "testing value /spec/a failed: test failed"),
    (r#"{"op":"test","path":"/spec/a"}"#, "testing value /spec/a failed: test failed"),
    (
        r#"{"op":"test","path":"/spec/l/0","value":1.0}"#,
        "testing value /spec/l/0 failed: test failed",
    ),
    (
        r#"{"op":"test","path":"/a/b","value":1}"#,
        "test operation does not apply: is missing path: /a/b: missing value",
    ),
    (
        r#"{"op":"test","path":"/spec/l/4","value":1}"#,
        "error in test for path: '/spec/l/4': Unable to access invalid index: 4: invalid index referenced",
    ),
    (
        r#"{"op":"add","path":"/spec/l/5","value":1}"#,
        "error in add for path: '/spec/l/5': Unable to access invalid index: 5: invalid index referenced",
    ),
    (
        r#"{"op":"add","path":"/spec/l/-3","value":1}"#,
        "error in add for path: '/spec/l/-3': Unable to access invalid index: -3: invalid index referenced",
    ),
    (
        r#"{"op":"add","path":"/spec/l/x","value":1}"#,
        r#"error in add for path: '/spec/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing "x": invalid syntax"#,
    ),
    (
        r#"{"op":"add","path":"/spec/a/b","value":1}"#,
        r#"add operation does not apply: doc is missing path: "/spec/a/b": missing value"#,
    ),
    (
        r#"{"op":"add","path":"spec/n","value":1}"#,
        r#"add operation does not apply: doc is missing path: "spec/n": missing value"#,
    ),
    (
        r#"{"op":"replace"}"#,
        "replace operation failed to decode path: operation missing path field: missing value",
    ),
    (
        r#"{"op":"replace","path":"/spec/l/5","value":1}"#,
        "replace operation does not apply: doc is missing key: /spec/l/5: missing value",
    ),
    (
        r#"{"op":"replace","path":"/zz/zz","value":1}"#,
        "replace operation does not apply: doc is missing path: /zz/zz: missing value",
    ),
    (r#"{"op":"replace","path":"","value":1}"#, "replace operation value must be object or array"),
    (
        r#"{"op":"move","path":"/a"}"#,
        "move operation failed to decode from: operation, missing from field: missing value",
    ),
    (
        r#"{"op":"move","from":"/spec/zz","path":"/a"}"#,
        "error in move for path: 'zz': Unable to remove nonexistent key: zz: missing value",
    ),
    (
        r#"{"op":"move","from":"/spec","path":"/spec/a"}"#,
        "move operation does not apply: doc is missing destination path: /spec/a: missing value",
    ),
    (
        r#"{"op":"copy","from":"/spec/a","path":"/zz/n"}"#,
        "copy operation does not apply: doc is missing destination path: /zz/n: missing value",
    ),
];

fn patched(document: &str, patch: &str) -> Result<String, String> {
    let patch = JsonPatch::decode(patch.as_bytes()).unwrap().patch;
    match patch.apply(parse(document.as_bytes()).unwrap()) {
        Ok(value) => Ok(value.to_string()),
        Err(status) => {
            assert_eq!((status.code, status.reason), (422, "Invalid"));
            let generic = "the server rejected our request due to an error in our request";
            assert_eq!(status.message, generic);
            Err(status.details.unwrap().causes[0].message.clone())
        }
    }
}

#[test]
fn operations_do_what_they_do_in_kubernetes() {
    for (patch, result) in PATCHES {
        assert_eq!(patched(DOCUMENT, patch).as_deref(), Ok(*result), "{patch}");
    }
}

#[test]
fn an_operation_that_fails_says_why() {
    for (patch, why) in FAILURES {
        assert_eq!(patched(DOCUMENT, &format!("[{patch}]")), Err((*why).to_owned()), "{patch}");
    }
}

#[test]
fn all_operations_apply_or_none() {
    let patch = r#"[{"op":"add","path":"/x","value":1},{"op":"test","path":"/x","value":2}]"#;
    assert!(patched(DOCUMENT, patch).is_err());
}

#[test]
fn copies_are_bounded() {
    let document = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_COPIED_BYTES / 2));
    let copy = |to: &str| format!(r#"{{"op":"copy","from":"/a","path":"/{to}"}}"#);
    assert!(patched(&document, &format!("[{}]", copy("b"))).is_ok());
    let why = patched(&document, &format!("[{},{}]", copy("b"), copy("c"))).unwrap_err();
    assert_eq!(
        why,
        "Unable to complete the copy, the accumulated size increase of copy is 3145732, exceeding the limit 3145728"
    );
}

#[test]
fn no_patch_digs_deeper_than_a_document_may_be() {
    let apply = || {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(MAX_DEPTH - 1), "}".repeat(MAX_DEPTH - 1));
        let wrap =
            r#"[{"op":"copy","from":"/a","path":"/b"},{"op":"move","from":"/b","path":"/a/b"}]"#;
        assert!(patched(&deep, wrap).is_ok());
        let fold = r#"[{"op":"copy","from":"/a","path":"/a/a/b"}]"#;
        assert!(patched(&deep, fold).unwrap_err().contains("nested deeper"));
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(apply).unwrap();
    thread.join().unwrap();
}

#[test]
fn shifting_is_bounded() {
    let document = format!("[{}0]", "0,".repeat(99_999));
    let patch = format!(
        "[{}{}]",
        r#"{"op":"remove","path":"/0"},"#.repeat(2_000),
        r#"{"op":"remove","path":"/0"}"#
    );
    assert!(patched(&document, &patch).unwrap_err().contains("shift too many"));
}

proptest! {
    #[test]
    fn no_patch_panics(operations in prop::collection::vec((
        prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]),
        "(/[al01~-]{0,2}){0,3}",
        "(/[al01-]{0,2}){0,3}",
    ), 0..6)) {
        let document = parse(br#"{"a":{"l":[0,{"a":1},[2]],"0":null},"l":[[],{}]}"#).unwrap();
        let operations = operations.into_iter().map(|(kind, path, from)| Operation {
            kind: kind.into(),
            path: Some(path.into()),
            from: Some(from.into()),
            value: 1.into(),
        });
        let _ = JsonPatch { operations: operations.collect() }.apply(document);
    }
}
