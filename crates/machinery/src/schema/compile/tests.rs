//! Schemas against what `apiextensions-apiserver` said of them (`testdata/apiextensions`), and
//! what is Strait's own.

use super::*;
use crate::field::MAX_ERRORS;
use crate::object;
use crate::schema::tests::{json, list, object_meta, of_x, texts};
use crate::schema::{ListType, Shape};
use proptest::prelude::*;

fn errors(schema: &Value) -> Vec<String> {
    match compile(schema, &Path::of(&["schema"]), &object_meta()) {
        Ok(_) => Vec::new(),
        Err(errors) => texts(&errors),
    }
}

fn errors_of_x(schema: &str) -> Vec<String> {
    let schema = json(&format!(r#"{{"type":"object","properties":{{"x":{schema}}}}}"#));
    errors(&schema).iter().map(|error| error.replacen("schema.properties[x]", "x", 1)).collect()
}

#[test]
fn schemas_are_refused_as_upstream_refuses_them() {
    for line in include_str!("../../../testdata/apiextensions/schemas.jsonl").lines() {
        let case = json(line);
        let mut told = errors(case.get("schema").unwrap());
        told.sort_unstable();
        told.dedup();
        assert_eq!(told, list(&case, "errors"), "{line}");
    }
}

#[test]
fn one_rule_is_supported() {
    let refused = r#"only the rule "self == oldSelf" is supported by this release"#;
    for (rule, told) in [
        ("self==oldSelf", None),
        (" self  == oldSelf\t", None),
        ("self >= oldSelf", Some(format!(r#"Invalid value: "self >= oldSelf": {refused}"#))),
        ("oldSelf == self", Some(format!(r#"Invalid value: "oldSelf == self": {refused}"#))),
    ] {
        let schema = object! {
            "type": "string", "x-kubernetes-validations": vec![object! {"rule": rule}]
        };
        let expected = told.map(|told| format!("x.x-kubernetes-validations[0].rule: {told}"));
        assert_eq!(errors_of_x(&schema.to_string()), Vec::from_iter(expected), "{rule}");
    }
    for (member, told) in [
        (r#""messageExpression": "'a'""#, "messageExpression"),
        (r#""optionalOldSelf": true"#, "optionalOldSelf"),
    ] {
        let schema = format!(
            r#"{{"type":"string","x-kubernetes-validations":[{{"rule":"self == oldSelf",{member}}}]}}"#
        );
        let path = format!("x.x-kubernetes-validations[0].{told}");
        let expected = format!("{path}: Forbidden: not supported by this release");
        assert_eq!(errors_of_x(&schema), [expected]);
    }
}

#[test]
fn rules_blame_the_field_that_they_name() {
    for (field_path, told) in
        [("", ""), (".a", "a"), ("['a']", "a"), (".a.b", "a[b]"), (r".a['b.\'c']", "a[b.'c]")]
    {
        let schema = object! {
            "type": "object",
            "properties": object! {
                "a": json(r#"{"type":"object","additionalProperties":{"type":"string"}}"#)
            },
            "x-kubernetes-validations": vec![object! {"rule": "self == oldSelf", "fieldPath": field_path}]
        };
        let schema = of_x(&schema.to_string());
        let rules = &schema.as_object().unwrap().property("x").unwrap().schema.rules;
        assert_eq!(rules[0].blame.to_string(), told);
    }
    for bad in ["a", ".", ".b", ".a.b.c", "[a]", "['a", ".a[0]", ".a['b'"] {
        let schema = object! {
            "type": "object",
            "properties": object! {
                "a": json(r#"{"type":"object","additionalProperties":{"type":"string"}}"#)
            },
            "x-kubernetes-validations": vec![object! {"rule": "self == oldSelf", "fieldPath": bad}]
        };
        let told = errors_of_x(&schema.to_string());
        let expected = format!(
            r#"x.x-kubernetes-validations[0].fieldPath: Invalid value: "{bad}": must be a valid path"#
        );
        assert_eq!(told, [expected]);
    }
}

#[test]
fn members_of_the_wrong_type_are_refused() {
    for (schema, told) in [
        ("3", "x: Invalid value: 3: must be an object"),
        (r#"{"type":3}"#, "x.type: Invalid value: 3: must be a string"),
        (
            r#"{"type":"string","maxLength":"3"}"#,
            r#"x.maxLength: Invalid value: "3": must be an integer"#,
        ),
        (
            r#"{"type":"string","maxLength":1.5}"#,
            "x.maxLength: Invalid value: 1.5: must be an integer",
        ),
        (
            r#"{"type":"string","maxLength":-1}"#,
            "x.maxLength: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            r#"{"type":"integer","minimum":true}"#,
            "x.minimum: Invalid value: true: must be a number",
        ),
        (
            r#"{"type":"string","nullable":"no"}"#,
            r#"x.nullable: Invalid value: "no": must be a boolean"#,
        ),
        (r#"{"type":"string","enum":{}}"#, r#"x.enum: Invalid value: "object": must be an array"#),
        (r#"{"type":"object","required":[1]}"#, "x.required: Invalid value: 1: must be a string"),
        (
            r#"{"type":"object","properties":[]}"#,
            r#"x.properties: Invalid value: "array": must be an object"#,
        ),
        (r#"{"type":"object","anyOf":[1]}"#, "x.anyOf[0]: Invalid value: 1: must be an object"),
    ] {
        assert_eq!(errors_of_x(schema), [told]);
    }
}

#[test]
fn the_size_of_a_schema_is_bounded() {
    let nested = |levels: usize| {
        let open = r#"{"type":"array","items":"#.repeat(levels);
        errors_of_x(&format!(r#"{open}{{"type":"string"}}{}"#, "}".repeat(levels)))
    };
    assert_eq!(nested(MAX_DEPTH - 2), [""; 0]);
    let told = nested(MAX_DEPTH - 1);
    assert!(told[0].ends_with("Forbidden: must not be nested deeper than 100 levels"), "{told:?}");

    let wide = |members: usize| {
        let members =
            (0..members).map(|at| (Box::from(format!("m{at}")), json(r#"{"type":"string"}"#)));
        errors(&object! {"type": "object", "properties": Value::Object(members.collect())})
    };
    assert_eq!(wide(MAX_NODES - 1), [""; 0]);
    assert_eq!(wide(MAX_NODES).len(), 1);

    let patterns = |count: usize| {
        let member = |at: usize| {
            let schema = object! {"type": "string", "pattern": format!("^{at}[a-z]{{900}}$")};
            (Box::from(format!("m{at}")), schema)
        };
        let members = (0..count).map(member).collect();
        errors(&object! {"type": "object", "properties": Value::Object(members)})
    };
    assert_eq!(patterns(100), [""; 0]);
    let told = patterns(300);
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("Forbidden: the patterns of the schema are too large in all"));
}

#[test]
fn what_is_told_is_bounded() {
    let members = (0..1000).map(|at| (Box::from(format!("m{at}")), json("{}")));
    let told = errors(&object! {"type": "object", "properties": Value::Object(members.collect())});
    assert_eq!(told.len(), MAX_ERRORS);
    let name = "n".repeat(MAX_NAME_BYTES + 1);
    let told = errors_of_x(&format!(r#"{{"type":"object","properties":{{"{name}":{{}}}}}}"#));
    assert_eq!(told, ["x.properties: Too long: may not be more than 1024 bytes"]);
    let keys = vec!["k"; MAX_MAP_KEYS + 1];
    let told = errors_of_x(&format!(r#"{{"type":"array","x-kubernetes-list-map-keys":{keys:?}}}"#));
    assert_eq!(told, ["x.x-kubernetes-list-map-keys: Too many: 65: must have at most 64 items"]);
}

#[test]
fn a_compiled_schema_says_what_the_text_said() {
    let text = r#"{
        "type": "object",
        "description": "D",
        "title": "T",
        "required": ["b", "z"],
        "properties": {
            "b": {"type": "string", "maxLength": 3, "default": "x", "nullable": true},
            "a": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}
            },
            "i": {"x-kubernetes-int-or-string": true},
            "p": {"x-kubernetes-preserve-unknown-fields": true},
            "n": {"type": "integer", "minimum": 1, "exclusiveMinimum": true, "enum": [2, 3]}
        }
    }"#;
    let schema = of_x(text);
    let root = schema.as_object().unwrap();
    for implied in ["apiVersion", "kind", "metadata"] {
        assert!(root.property(implied).is_some());
    }
    let schema = &root.property("x").unwrap().schema;
    let x = schema.as_object().unwrap();
    assert_eq!(&*schema.description, "D");
    assert_eq!(schema.annotations.as_ref().unwrap().get("title"), Some(&"T".into()));
    assert_eq!(x.required_undeclared, ["z".into()]);
    assert!(x.property("apiVersion").is_none());
    let names: Vec<_> = x.properties.iter().map(|property| &*property.name).collect();
    assert_eq!(names, ["a", "b", "i", "n", "p"]);
    let b = x.property("b").unwrap();
    assert!(b.required && b.schema.nullable);
    assert_eq!(b.schema.default, Some("x".into()));
    assert_eq!(b.schema.bounds.as_ref().unwrap().max_length, Some(3));
    let Shape::Array(a) = &x.property("a").unwrap().schema.shape else {
        panic!("not an array");
    };
    assert_eq!(a.list_type, ListType::Map(vec!["k".into()]));
    assert!(matches!(x.property("i").unwrap().schema.shape, Shape::IntOrString));
    let p = &x.property("p").unwrap().schema;
    assert!(p.preserve_unknown && matches!(p.shape, Shape::Any));
    let n = &x.property("n").unwrap().schema;
    assert_eq!(n.bounds.as_ref().unwrap().minimum, Some((1.0, true)));
    assert_eq!(n.enumeration, [2.into(), 3.into()]);
}

#[test]
fn what_is_said_of_metadata_is_added_to_what_it_is() {
    let schema = json(
        r#"{"type":"object","properties":{
            "metadata":{"type":"object","properties":{"name":{"type":"string","maxLength":3}}}
        }}"#,
    );
    let schema = compile(&schema, &Path::root(), &object_meta()).unwrap();
    let metadata = &schema.as_object().unwrap().property("metadata").unwrap().schema;
    let members = metadata.as_object().unwrap();
    assert_eq!(
        members.property("name").unwrap().schema.bounds.as_ref().unwrap().max_length,
        Some(3)
    );
    assert!(members.property("labels").is_some());
    assert_eq!(metadata.definition, object_meta().definition);
}

/// JSON that is nearly a schema.
fn schema_like() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "object|array|string|integer|set|map|atomic|[.]a|self == oldSelf|[(]a[)]*|\\PC{0,3}"
            .prop_map(Value::from),
    ];
    let key = "type|properties|items|additionalProperties|required|enum|default|pattern|format|\
               anyOf|allOf|oneOf|not|nullable|minimum|maxLength|multipleOf|a|metadata|rule|fieldPath|\
               x-kubernetes-(preserve-unknown-fields|embedded-resource|int-or-string|list-type|\
               list-map-keys|map-type|validations)";
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((key, inner), 0..6).prop_map(|members| {
                Value::Object(
                    members.into_iter().map(|(key, value)| (Box::from(key), value)).collect(),
                )
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_schema_panics(mut schema in schema_like(), value in schema_like()) {
        use crate::schema::{default, prune, validate};
        if schema.as_object().is_some() {
            schema.set(&["type"], "object");
        }
        if let Ok(schema) = compile(&schema, &Path::root(), &object_meta()) {
            let mut pruned = value.clone();
            prune::prune(&mut pruned, &schema);
            let _ = default::apply(&mut pruned, &schema);
            let _ = validate::validate(&value, &schema, &Path::root());
            let _ = validate::validate_update(&value, &pruned, &schema, &Path::root());
        }
    }
}
