//! The examples of RFC 6901, and texts that are hardly JSON.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

#[test]
fn pointers_are_those_of_the_rfc() {
    // RFC 6901, section 5.
    let document = json!({
        "foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5,
        "k\"l": 6, " ": 7, "m~n": 8
    });
    let text = document.to_string();
    for (name, value) in [
        ("", Some(document)),
        ("/foo", Some(json!(["bar", "baz"]))),
        ("/foo/0", Some(json!("bar"))),
        ("/foo/1", Some(json!("baz"))),
        ("/foo/2", None),
        ("/foo/00", None),
        ("/foo/-", None),
        ("/foo/0/x", None),
        ("/", Some(json!(0))),
        ("/a~1b", Some(json!(1))),
        ("/c%d", Some(json!(2))),
        ("/k\"l", Some(json!(6))),
        ("/i\\j", Some(json!(5))),
        ("/ ", Some(json!(7))),
        ("/m~0n", Some(json!(8))),
        ("/nothing", None),
    ] {
        assert_eq!(find(text.as_bytes(), &[&pointer(name)]), [value], "{name}");
        assert_eq!(pointer(name).to_string(), name);
    }
    for text in ["foo", "/~", "/~2", "/a~", "#/foo"] {
        assert_eq!(text.parse::<Pointer>(), Err(InvalidPointer), "{text}");
    }
}

#[test]
fn several_are_found_in_one_pass() {
    let text = br#"{"a":{"b":1,"c":[{"d":"x"}]},"e":null}"#;
    let pointers = ["/a/c/0/d", "/a", "/a/b", "/e", "/a/b", "/f"].map(pointer);
    let found = find(text, &pointers.each_ref());
    let a = json!({"b": 1, "c": [{"d": "x"}]});
    let one = Some(json!(1));
    assert_eq!(found, [Some(json!("x")), Some(a), one.clone(), Some(Value::Null), one, None]);
}

#[test]
fn the_last_of_a_name_counts_and_what_is_no_json_has_nothing() {
    let a = pointer("/a/b");
    for (text, value) in [
        (r#"{"a":{"b":1},"a":{"b":2}}"#, Some(json!(2))),
        (r#"{"a":{"b":1},"a":{"c":2}}"#, None),
        (r#"{"a":{"b":1},"a":3}"#, None),
        (r#"{"a":{"b":1}"#, None),
        (r#"{"a":{"b":1}} x"#, None),
        (r#"{"a":{"b":1},"c":tru}"#, None),
        ("", None),
        ("{\"a\":{\"b\":1},\"c\":\"\\u00e4\\n\"}", Some(json!(1))),
        (r#"{"\u0061":{"b":"\u0062"}}"#, Some(json!("b"))),
    ] {
        assert_eq!(find(text.as_bytes(), &[&a]), [value], "{text}");
    }
    let deep = "[".repeat(1 << 20);
    assert_eq!(find(deep.as_bytes(), &[&a]), [None]);
}

proptest! {
    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[\\[\\]{}\",:0-9a/~-]{0,60}") {
        let pointers = ["", "/0", "/a", "/a/0/a"].map(pointer);
        let _ = find(&bytes, &pointers.each_ref());
        let _ = find(text.as_bytes(), &pointers.each_ref());
        let _ = text.parse::<Pointer>();
    }

    #[test]
    fn finds_what_a_tree_has(names in prop::collection::vec("[ab01~/]{0,2}", 0..4), elements in prop::collection::vec("[ab]", 0..3)) {
        let pointer = Pointer(names.iter().map(|name| name.as_str().into()).collect());
        let tree = json!({"a": {"b": elements, "a": {"0": 1}}, "b": elements, "": {"a": "x"}, "~": 2});
        let expected = tree.pointer(&pointer.to_string()).cloned();
        prop_assert_eq!(find(tree.to_string().as_bytes(), &[&pointer]), [expected]);
        prop_assert_eq!(pointer.to_string().parse(), Ok(pointer));
    }
}
