//! What `schema/tests.rs` does not compare with upstream.

use super::*;
use crate::field::MAX_ERRORS;
use crate::schema::tests::{json, of_x, texts};

fn errors(schema: &str, value: &str) -> Vec<String> {
    texts(&validate(&json(value), &of_x(schema), &Path::root()))
}

fn update_errors(schema: &str, old: &str, new: &str) -> Vec<String> {
    texts(&validate_update(&json(new), &json(old), &of_x(schema), &Path::root()))
}

#[test]
fn paths_start_at_the_base_and_texts_do_not() {
    let schema = of_x(r#"{"type":"string","minLength":2}"#);
    let base = Path::of(&["spec", "template"]);
    let told = texts(&validate(&json(r#"{"x":"a"}"#), &schema, &base));
    let expected =
        r#"spec.template.x: Invalid value: "a": x in body should be at least 2 chars long"#;
    assert_eq!(told, [expected]);
}

#[test]
fn rules_wait_until_types_are_right() {
    let schema = r#"{"type":"object","properties":{
        "a":{"type":"string","maxLength":3,"x-kubernetes-validations":[{"rule":"self == oldSelf"}]},
        "b":{"type":"integer"}
    }}"#;
    let unchecked = "<nil>: Invalid value: null: some validation rules were not checked because \
                     the object was invalid; correct the existing errors to complete validation";
    let wrong = r#"x.b: Invalid value: "string": x.b in body must be of type integer: "string""#;
    assert_eq!(errors(schema, r#"{"x":{"b":"c"}}"#), [wrong, unchecked]);
    let update = |new| update_errors(schema, r#"{"x":{"a":"1"}}"#, new);
    assert_eq!(update(r#"{"x":{"a":"2","b":"c"}}"#), [wrong, unchecked]);
    let broken = r#"x.a: Invalid value: "string": failed rule: self == oldSelf"#;
    assert_eq!(update(r#"{"x":{"a":"2","b":3}}"#), [broken]);
}

#[test]
fn whole_numbers_are_integers_however_they_are_written() {
    let schema = r#"{"type":"integer","enum":[1,1000,9007199254740993]}"#;
    for good in ["1", "1.0", "1e3", "9007199254740993"] {
        assert_eq!(errors(schema, &format!(r#"{{"x":{good}}}"#)), [""; 0], "{good}");
    }
    // Of the wrong type, not among those listed, or both.
    for (bad, count) in [("1.5", 2), ("9007199254740992", 1), ("1e300", 2)] {
        assert_eq!(errors(schema, &format!(r#"{{"x":{bad}}}"#)).len(), count, "{bad}");
    }
    let rule = r#"{"type":"integer","x-kubernetes-validations":[{"rule":"self == oldSelf"}]}"#;
    assert_eq!(update_errors(rule, r#"{"x":1}"#, r#"{"x":1.0}"#), [""; 0]);
}

#[test]
fn bounds_are_exact_for_large_integers() {
    let schema = r#"{"type":"integer","maximum":9007199254740992,"minimum":-0.5}"#;
    assert_eq!(errors(schema, r#"{"x":9007199254740992}"#), [""; 0]);
    assert_eq!(errors(schema, r#"{"x":9007199254740993}"#).len(), 1);
    assert_eq!(errors(schema, r#"{"x":0}"#), [""; 0]);
    assert_eq!(errors(schema, r#"{"x":-1}"#).len(), 1);
}

#[test]
fn rules_of_a_resource_see_its_names_only() {
    let schema = r#"{
        "type":"object","x-kubernetes-embedded-resource":true,
        "x-kubernetes-preserve-unknown-fields":true,
        "x-kubernetes-validations":[{"rule":"self == oldSelf"}]
    }"#;
    let resource = |metadata: &str| {
        format!(r#"{{"x":{{"apiVersion":"v1","kind":"K","metadata":{metadata}}}}}"#)
    };
    let old = resource(r#"{"name":"a","labels":{"a":"b"}}"#);
    assert_eq!(update_errors(schema, &old, &resource(r#"{"name":"a"}"#)), [""; 0]);
    assert_eq!(update_errors(schema, &old, &resource(r#"{"name":"b"}"#)).len(), 1);
}

#[test]
fn lists_in_metadata_may_repeat() {
    let value = r#"{"metadata":{"name":"a","finalizers":["a/b","a/b"]}}"#;
    assert_eq!(errors(r#"{"type":"string"}"#, value), [""; 0]);
}

#[test]
fn a_hundred_errors_are_told() {
    let schema = r#"{"type":"array","items":{"type":"string"}}"#;
    let numbers: Vec<_> = (0..1000).map(|at| at.to_string()).collect();
    let value = format!(r#"{{"x":[{}]}}"#, numbers.join(","));
    assert_eq!(errors(schema, &value).len(), MAX_ERRORS);
}

#[test]
fn work_is_bounded() {
    let schema = r#"{"type":"string","pattern":"^([a-z]{1,900}|[a-y]{1,900})*1$"}"#;
    let value = |length: usize| format!(r#"{{"x":"{}"}}"#, "a".repeat(length));
    assert_eq!(errors(schema, &value(10)).len(), 1);
    let told = errors(schema, &value(1_000_000));
    assert_eq!(told, ["<nil>: Forbidden: checking the value takes too many steps"]);

    // As many members to miss as there are objects, and values to compare as there are listed.
    let names: Vec<_> = (0..1000).map(|at| at.to_string()).collect();
    for (schema, value) in [
        (format!(r#"{{"type":"object","required":{names:?}}}"#), "{}"),
        (format!(r#"{{"type":"string","enum":{names:?}}}"#), "\"\""),
    ] {
        let schema = of_x(&format!(r#"{{"type":"array","items":{schema}}}"#));
        let list = json(&format!(r#"{{"x":[{}]}}"#, vec![value; 1000].join(",")));
        let left = Cell::new(MAX_STEPS - 1_000_000);
        let told = texts(&without_rules(&list, &schema, &Path::root(), &left));
        assert!(told[0].ends_with("checking the value takes too many steps"));
        assert!(told.iter().map(String::len).sum::<usize>() < 10 << 20);
    }
}

#[test]
fn what_is_told_is_bounded() {
    let key = "k".repeat(100_000);
    let list = vec!["1"; 1000].join(",");
    let value = format!(r#"{{"x":{{"{key}":[{list}]}}}}"#);
    for items in [
        r#""items":{"type":"string"}"#,
        r#""items":{"type":"integer"},"x-kubernetes-list-type":"set""#,
    ] {
        let schema =
            format!(r#"{{"type":"object","additionalProperties":{{"type":"array",{items}}}}}"#);
        let told = errors(&schema, &value);
        assert!(!told.is_empty());
        assert!(told.iter().map(String::len).sum::<usize>() < 5 << 20);
    }
}
