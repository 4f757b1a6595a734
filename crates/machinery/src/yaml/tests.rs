//! Texts against what `sigs.k8s.io/yaml` made of them (`testdata/yaml`), mistakes and limits.

use super::*;
use crate::json::{MAX_DEPTH, Path, STACK_BYTES, Segment, parse as parse_json};
use proptest::prelude::*;

fn json(text: &str) -> Value {
    parse_json(text.as_bytes()).unwrap()
}

/// The first document, `null` if there is none.
fn read(text: &str) -> Value {
    parse(text).unwrap().into_iter().next().map_or(Value::Null, |document| document.value)
}

#[test]
fn texts_are_read_as_upstream_reads_them() {
    for line in include_str!("../../testdata/yaml/read.jsonl").lines() {
        let case = json(line);
        assert_eq!(Some(&read(case.str_at(&["text"]).unwrap())), case.get("value"), "{line}");
    }
}

#[test]
fn values_are_written_as_upstream_writes_them() {
    for line in include_str!("../../testdata/yaml/write.jsonl").lines() {
        let case = json(line);
        let text = to_text(case.get("value").unwrap());
        assert_eq!(Some(&*text), case.str_at(&["text"]), "{line}");
    }
}

#[test]
fn merged_members_give_way_to_written_ones() {
    for (text, value) in [
        ("b: &b {x: 1, z: 2}\nc: {<<: *b, z: 3}", r#"{"b":{"x":1,"z":2},"c":{"x":1,"z":3}}"#),
        ("b: &b {x: 1, z: 2}\nc: {z: 3, <<: *b}", r#"{"b":{"x":1,"z":2},"c":{"x":1,"z":3}}"#),
        (
            "a: &a {x: 1}\nb: &b {x: 2, z: 3}\nc: {<<: [*a, *b]}",
            r#"{"a":{"x":1},"b":{"x":2,"z":3},"c":{"x":1,"z":3}}"#,
        ),
        ("a: {\"<<\": 1}", r#"{"a":{"<<":1}}"#),
    ] {
        assert_eq!(read(text), json(value), "{text}");
    }
}

#[test]
fn a_text_has_documents() {
    let values = |text| {
        let documents = parse(text).unwrap();
        documents.into_iter().map(|document| document.value.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(values(""), [""; 0]);
    assert_eq!(values("# nothing\n"), [""; 0]);
    assert_eq!(values("---\n"), ["null"]);
    assert_eq!(
        values("a: 1\n---\n---\n- b\n...\n---\nc\n"),
        [r#"{"a":1}"#, "null", r#"["b"]"#, r#""c""#]
    );
    // Anchors end with their document.
    assert!(parse("a: &x 1\n---\nb: *x\n").is_err());
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, told) in [
        ("a: 1\na: 2\n", "line 2, column 1: key \"a\" already set in map"),
        ("x:\n  {b: 1, 'b': 2}\n", "line 2, column 10: key \"b\" already set in map"),
        ("1: a\n0x1: b\n", "line 2, column 1: key \"1\" already set in map"),
        ("a: .inf\n", "line 1, column 4: unsupported value: .inf"),
        ("a:\n- .NaN\n", "line 2, column 3: unsupported value: .NaN"),
        ("[a]: b\n", "line 1, column 1: unsupported map key"),
        ("~: b\n", "line 1, column 1: unsupported map key"),
        ("a: !!int b\n", "line 1, column 10: cannot decode !!str `b` as a !!int"),
        ("a: !!binary '*'\n", "line 1, column 13: !!binary value contains invalid base64 data"),
        ("a: !!map [b]\n", "line 1, column 10: cannot decode !!seq as a !!map"),
        (
            "a: {<<: 1}\n",
            "line 1, column 9: map merge requires map or sequence of maps as the value",
        ),
        ("a: &x [*x]\n", "line 1, column 8: an anchor's value contains itself"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.to_string(), told, "{text}");
    }
    // What the parser says of syntax is its own.
    for (text, line) in
        [("a: b: c\n", 1), ("a: 1\n b: 2\n", 2), ("a: [\n", 1), ("a: 'b\n", 2), ("a: *x\n", 1)]
    {
        let error = parse(text).unwrap_err();
        assert_eq!(error.position().line, line, "{text}: {error}");
        assert!(!error.what().is_empty());
    }
}

#[test]
fn every_value_has_a_place() {
    let text = "# comment\nspec:\n  rules:\n  - name: a\n    \"to\": {x: 1}\n  - *b\n";
    let text = format!("base: &b {{name: q}}\n{text}");
    let document = parse(&text).unwrap().pop().unwrap();
    let spec = |segments: &[Segment]| {
        let mut path = Path::of(&["spec", "rules"]);
        segments.iter().for_each(|segment| path.push(segment.clone()));
        let Position { line, column } = document.places.nearest(&path);
        (line, column)
    };
    let field = |name: &str| Segment::Field(name.into());
    assert_eq!(document.places.position(), Position { line: 1, column: 1 });
    assert_eq!(document.places.nearest(&Path::of(&["spec"])), Position { line: 3, column: 1 });
    assert_eq!(spec(&[]), (4, 3));
    assert_eq!(spec(&[Segment::Index(0)]), (5, 5));
    assert_eq!(spec(&[Segment::Index(0), field("name")]), (5, 5));
    assert_eq!(spec(&[Segment::Index(0), field("to")]), (6, 5));
    assert_eq!(spec(&[Segment::Index(0), Segment::Key("to".into()), field("x")]), (6, 12));
    assert_eq!(spec(&[Segment::Index(1)]), (7, 5));
    // What is not there is at what would hold it.
    assert_eq!(spec(&[Segment::Index(0), field("gone"), field("far")]), (5, 5));
    assert_eq!(spec(&[Segment::Index(9)]), (4, 3));
    assert_eq!(spec(&[field("name")]), (4, 3));
}

#[test]
fn nesting_is_bounded() {
    let flow = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let block = |levels| "- ".repeat(levels) + "a";
    for nested in [&flow as &dyn Fn(usize) -> String, &block] {
        assert!(parse(&nested(MAX_NESTING - 1)).is_ok());
        assert!(parse(&nested(MAX_NESTING + 2)).is_err());
        assert!(parse(&nested(100_000)).is_err());
    }
}

#[test]
fn the_number_of_values_is_bounded() {
    let list = |length: usize| format!("[{}]", vec!["1"; length].join(","));
    assert!(parse(&list(1000)).is_ok());
    let error = parse(&list(MAX_NODES + 1)).unwrap_err();
    assert!(error.what().contains("more than 1600000 values"), "{error}");
}

#[test]
fn what_aliases_copy_is_bounded() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let copies = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{copies}]\n");
    }
    let error = parse(&text).unwrap_err();
    assert_eq!(error.what(), "document contains excessive aliasing");
    assert!(parse("a: &a [x]\nb: [*a, *a, *a]\n").is_ok());
}

#[test]
fn deep_values_do_not_become_large_texts() {
    let run = || {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let value = json(&format!("{}1{}", open.repeat(MAX_DEPTH), close.repeat(MAX_DEPTH)));
            assert!(to_text(&value).len() <= 8 * MAX_DEPTH);
        }
        let wide = format!(
            "{}{}{}",
            "[".repeat(1000),
            vec!["[[],[]]"; 100_000].join(","),
            "]".repeat(1000)
        );
        let value = json(&wide);
        assert_eq!(to_text(&value), format!("{value}\n"));
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,12}",
        "[ \t\na-c:#'\"|>?&*!%@`,\\[\\]{}~<=.0-9xXyYnNoOeE_+-]{0,12}",
        "([a-z]{1,9} ){8,20}",
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "([ \n\ta-c0-9:#'\"|>?&*!%@,\\[\\]{}~<.+-]|\\PC|---\n|<<: |\\*a|&a|!!int ){0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_written_is_read_again(value in values()) {
        prop_assert_eq!(read(&to_text(&value)), value);
    }

    #[test]
    fn json_is_yaml(value in values()) {
        prop_assert_eq!(read(&value.to_string()), value);
    }
}
