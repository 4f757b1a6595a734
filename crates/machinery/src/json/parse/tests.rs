//! What is read, and what is refused where.

use super::*;
use crate::json::STACK_BYTES;
use proptest::prelude::*;

fn text(input: &str) -> Result<String, String> {
    parse(input.as_bytes()).map(|value| value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn reads_every_kind_of_value() {
    for (input, output) in [
        ("null", "null"),
        (" [ 1 , 2.50 , -3e+2 ] ", "[1,2.50,-3e+2]"),
        (r#"{"b":{},"a":[]}"#, r#"{"a":[],"b":{}}"#),
        (r#""\u0041\ud83d\ude00\n""#, "\"A😀\\n\""),
        (r#""\ud83dx""#, "\"\u{fffd}x\""),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
    ] {
        assert_eq!(text(input).as_deref(), Ok(output), "{input}");
    }
}

#[test]
fn refuses_what_is_not_json() {
    for (input, error) in [
        ("", "unexpected end of input at byte 0"),
        ("{", "expected a key at byte 1"),
        ("[1", "unexpected end of input at byte 2"),
        ("[1,]", "expected a value at byte 3"),
        (r#"{"a":1,}"#, "expected a key at byte 7"),
        (r#"{"a" 1}"#, "expected : at byte 5"),
        ("[1}", "expected , or ] at byte 2"),
        ("1 2", "unexpected text after the value at byte 2"),
        ("01", "unexpected text after the value at byte 1"),
        ("1.", "expected a digit at byte 2"),
        ("-", "expected a digit at byte 1"),
        ("tru", "expected a value at byte 0"),
        ("\"\u{1}\"", "control character in a string at byte 1"),
        (r#""\x""#, "unknown escape at byte 2"),
        (r#""\u12g4""#, "expected four hexadecimal digits at byte 5"),
        ("18446744073709551616", "number is out of range at byte 0"),
        ("1e999", "number is out of range at byte 0"),
    ] {
        assert_eq!(text(input), Err(error.to_owned()), "{input}");
    }
    assert_eq!(parse(b"\"\xff\"").unwrap_err().to_string(), "invalid UTF-8 at byte 1");
}

#[test]
fn keys_are_told_in_the_order_of_the_text() {
    let text = r#"{"b":{"x":1,"x":[{"k":1},{"k":2,"l":{}}]},"a":2}"#;
    let expected = ["b", "b.x", "b.x", "b.x[0].k", "b.x[1].k", "b.x[1].l", "a"];
    assert_eq!(paths_of_keys(text), expected);
    assert!(paths_of_keys("{").is_empty());
}

#[test]
fn names_duplicate_keys_by_path() {
    let parsed =
        parse_strict(br#"{"spec":{"list":[{},{"a":1,"a":2}],"x":0,"x":1},"spec2":1}"#).unwrap();
    assert_eq!(parsed.duplicates, ["spec.list[1].a", "spec.x"]);
    assert_eq!(parsed.value.at(&["spec", "x"]), Some(&1.into()));
}

#[test]
fn depth_is_bounded_and_usable() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let on_our_stack = move || {
        let deep = parse(nested(MAX_DEPTH).as_bytes()).unwrap();
        assert_eq!(deep.clone(), deep);
        assert_eq!(deep.to_bytes().len(), 2 * MAX_DEPTH);
        drop(deep);
        let error = parse(nested(MAX_DEPTH + 1).as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "nesting is too deep at byte 10000");
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(on_our_stack);
    thread.unwrap().join().unwrap();
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e15..1e15f64).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(value in any_value()) {
        prop_assert_eq!(&parse(&value.to_bytes()).unwrap(), &value);
        prop_assert_eq!(parse(&value.to_pretty_bytes()).unwrap(), value);
    }

    #[test]
    fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = parse_strict(&bytes);
    }
}
