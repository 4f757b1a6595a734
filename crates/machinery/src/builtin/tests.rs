//! Built-in kinds against what a kube-apiserver 1.34 did (`testdata/apiserver`).

use proptest::prelude::*;

use super::{Kind, kind, kinds, table};
use crate::field::FieldError;
use crate::json::{Map, Value, parse};
use crate::object;

/// The lines of a recording.
fn recorded(lines: &str) -> impl Iterator<Item = Value> {
    lines.lines().map(|line| parse(line.as_bytes()).unwrap())
}

fn kind_of(object: &Value) -> &'static Kind {
    let api_version = object.str_at(&["apiVersion"]).unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    kind(group, version, object.str_at(&["kind"]).unwrap()).unwrap()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    value.array_at(&[name]).iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn told(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(|error| format!("{}: {}", error.path, error.body())).collect()
}

/// An object as it arrives: decoded, in the form in which it is stored.
fn arrived(object: &Value) -> Value {
    let kind = kind_of(object);
    kind.to_stored(kind.decode(object.clone()).unwrap().object).unwrap()
}

#[test]
fn objects_are_kept_as_upstream_keeps_them() {
    for line in recorded(include_str!("../../testdata/apiserver/decode.jsonl")) {
        let given = line.get("given").unwrap();
        let kind = kind_of(given);
        let decoded = kind.decode(given.clone()).unwrap();
        let mut warnings = texts(&line, "warnings");
        let mut unknown = decoded.unknown;
        warnings.sort();
        unknown.sort();
        assert_eq!(unknown, warnings, "{given}");
        let mut object = kind.to_stored(decoded.object).unwrap();
        for server_sets in ["selfLink", "creationTimestamp"] {
            object.remove(&["metadata", server_sets]);
        }
        kind.prepare_for_create(&mut object);
        let returned = kind.from_stored(object).unwrap();
        assert_eq!(Some(&returned), line.get("stored"), "{given}");
    }
}

#[test]
fn malformed_objects_are_refused_in_upstreams_words() {
    for line in recorded(include_str!("../../testdata/apiserver/malformed.jsonl")) {
        let given = line.get("given").unwrap();
        let kind = kind_of(given);
        let error = kind.decode(given.clone()).unwrap_err();
        assert_eq!(kind.refusal(&error).message, line.str_at(&["message"]).unwrap());
    }
}

#[test]
fn invalid_objects_are_refused_in_upstreams_words() {
    for line in recorded(include_str!("../../testdata/apiserver/invalid.jsonl")) {
        let given = line.get("given").unwrap();
        let kind = kind_of(given);
        let mut object = arrived(given);
        kind.prepare_for_create(&mut object);
        assert_eq!(told(&kind.validate(&object)), texts(&line, "errors"), "{given}");
    }
}

#[test]
fn updates_change_what_upstream_lets_them_change() {
    for line in recorded(include_str!("../../testdata/apiserver/updates.jsonl")) {
        let given = line.get("given").unwrap();
        let kind = kind_of(given);
        let subresource = line.str_at(&["subresource"]).unwrap();
        let old = arrived(line.get("old").unwrap());
        let mut object = arrived(given);
        kind.prepare_for_update(&mut object, &old, subresource);
        let errors = kind.validate_update(&object, &old, subresource);
        match line.get("stored") {
            Some(stored) => {
                assert_eq!(told(&errors), Vec::<String>::new(), "{given}");
                assert_eq!(&kind.from_stored(object).unwrap(), stored, "{given}");
            }
            None => {
                let mut expected = texts(&line, "errors");
                let mut told = told(&errors);
                expected.sort();
                expected.dedup();
                told.sort();
                told.dedup();
                assert_eq!(told, expected, "{given}");
            }
        }
    }
}

#[test]
fn the_tables_are_whole() {
    assert_eq!(kinds().len(), 17);
    for kind in kinds() {
        let message = kind.message();
        assert_eq!(message.name(), kind.kind);
        for name in ["apiVersion", "kind", "metadata"] {
            assert!(message.members.iter().any(|member| member.name == name));
        }
        assert!(kind.verbs.is_sorted() && kind.subresources.is_sorted_by_key(|sub| sub.name));
        assert!(kind.plural.starts_with(&*kind.singular), "{}", kind.plural);
    }
    for message in &table().messages {
        let mut numbers: Vec<_> = message.members.iter().map(|member| member.number).collect();
        numbers.retain(|number| *number > 0);
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "a number twice in {}", message.id);
    }
}

#[test]
fn field_labels_lead_into_stored_objects() {
    let event = kind("", "v1", "Event").unwrap();
    let source = event.fields.iter().find(|field| field.label == "source").unwrap();
    let old = object! {"source": object!{"component": "a"}, "reportingComponent": "b"};
    let new = object! {"source": object!{}, "reportingComponent": "b"};
    assert_eq!(source.value(&old), "a");
    assert_eq!(source.value(&new), "b");
    assert_eq!(source.value(&Value::Null), "");
}

/// Trees whose members are often those of some built-in kind.
fn trees() -> impl Strategy<Value = Value> {
    let names: Vec<&str> = table()
        .messages
        .iter()
        .flat_map(|message| message.members.iter().map(|member| member.name))
        .chain(["unknown"])
        .collect();
    let leaves = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-9..9_i64).prop_map(Value::from),
        Just(Value::from("2020-01-01T00:00:00.000001Z")),
        "[a-zA-Z=/+]{0,8}".prop_map(Value::from),
    ];
    leaves.prop_recursive(5, 64, 6, move |inner| {
        let name = prop::sample::select(names.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|members| members.into_iter().collect::<Map>().into()),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_decoded_stays_as_it_is(tree in trees()) {
        for kind in kinds() {
            let Ok(decoded) = kind.decode(tree.clone()) else { continue };
            let again = kind.decode(decoded.object.clone()).unwrap();
            prop_assert_eq!(&again.object, &decoded.object);
            prop_assert_eq!(again.unknown, Vec::<String>::new());
            let stored = kind.to_stored(decoded.object).unwrap();
            let mut prepared = stored.clone();
            kind.prepare_for_create(&mut prepared);
            let _ = kind.validate(&prepared);
            kind.prepare_for_update(&mut prepared, &stored, "");
            let _ = kind.validate_update(&prepared, &stored, "");
        }
    }
}
